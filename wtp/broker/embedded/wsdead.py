"""Messages that were delivered too often go to a topic of their own, as Pulsar's clients do it."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from wtp.broker.embedded.answers import SendReceipt
from wtp.broker.embedded.commands import KeyValue, MessageIdData, Producer, Send
from wtp.broker.embedded.frames import blob_of
from wtp.broker.embedded.metadata import Metadata
from wtp.broker.embedded.numbers import Cmd
from wtp.broker.naming import parse_topic

if TYPE_CHECKING:
    from wtp.broker.embedded.wslink import LocalClient
    from wtp.broker.embedded.wsmessages import Content
    from wtp.broker.embedded.wsoptions import ConsumerOptions
    from wtp.broker.embedded.wsowed import Owed

PRODUCER_ID = 1
Buried = tuple[int, list[MessageIdData]]
"""Consumer id, and what it has to acknowledge now."""


class DeadLetters:
    """The way of one consumer's dead letters.

    Args:
        client: Its connection.
        options: Names topic and subscription.
    """

    def __init__(self, client: LocalClient, options: ConsumerOptions) -> None:
        self._client = client
        self._options = options
        self._waiting: deque[Owed] = deque()
        self._under_way: dict[int, Owed] = {}
        self._done: list[Buried] = []
        self._name = ""
        self._sequence = 0
        self._opened = False

    def add(self, owed: Owed) -> None:
        """A message has had its last chance."""
        self._waiting.append(owed)

    def closed(self) -> None:
        """The broker closed the producer: what has no receipt is sent again."""
        self._opened = False
        self._waiting.extend(self._under_way.values())
        self._under_way.clear()

    async def bury(self) -> list[Buried]:
        """Send what waits; returns what has its receipt and can be acknowledged.

        Raises:
            BrokerError: The topic of dead letters cannot be opened.
        """
        while self._waiting:
            if not self._opened:
                await self._open()
            owed = self._waiting.popleft()
            for content in owed.last_chance:
                if content.batch_index < 0 or content.batch_index in owed.left:
                    self._send(owed, content)
        done, self._done = self._done, []
        return done

    async def _open(self) -> None:
        topic = self._options.dead_letter
        if await self._client.partitions(topic):
            topic = str(parse_topic(topic).part(0))
        success = await self._client.ask(
            Cmd.PRODUCER,
            lambda request: Producer(topic, PRODUCER_ID, request, user_provided_name=False),
        )
        self._name, self._opened = success.name, True

    def _send(self, owed: Owed, content: Content) -> None:
        _, ledger, entry = owed.key
        origin = f"{ledger}:{entry}:-1"
        properties = {
            **content.properties,
            "REAL_TOPIC": self._options.topic,
            "REAL_SUBSCRIPTION": self._options.subscription,
            "ORIGIN_MESSAGE_ID": origin,
            "ORIGIN_MESSAGE_IDY_TIME": origin,  # spelt so in Pulsar's clients
        }
        metadata = Metadata(
            producer_name=self._name,
            sequence_id=self._sequence,
            publish_ms=time.time_ns() // 1_000_000,
            properties=[KeyValue(key, value) for key, value in properties.items()],
            partition_key=content.key,
            event_ms=content.event_ms or None,
        )
        self._under_way[self._sequence] = owed
        send = Send(PRODUCER_ID, self._sequence)
        self._sequence += 1
        self._client.send(Cmd.SEND, send, blob_of(metadata.encode(), content.payload))

    def receipt(self, body: bytes, *, good: bool) -> None:
        """A dead letter is stored; one that is not comes again with the next session."""
        if not good:
            self._opened = False
            return
        owed = self._under_way.pop(SendReceipt.decode(body).sequence_id, None)
        if owed is not None and owed not in self._under_way.values():
            self._done.append((owed.key[0], owed.places))
