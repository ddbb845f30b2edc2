"""A consumer or a reader over a WebSocket."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from wtp.broker.embedded.commands import (
    Ack,
    MessageIdData,
    Redeliver,
    Subscribe,
    Unsubscribe,
)
from wtp.broker.embedded.numbers import LATEST_ID, NO_ID, Cmd, SubType
from wtp.broker.embedded.wschunks import Chunks
from wtp.broker.embedded.wsdead import DeadLetters
from wtp.broker.embedded.wsfast import ack_body, encode_id, flow_body, read_head, read_three
from wtp.broker.embedded.wsmessages import (
    Content,
    contents,
    delivery,
    read_message_id,
)
from wtp.broker.embedded.wsowed import Owed, OwedEntries
from wtp.broker.embedded.wssession import WsSession, spoken
from wtp.broker.naming import parse_topic
from wtp.errors import WtpError

if TYPE_CHECKING:
    from wtp.broker.embedded.core import Core
    from wtp.broker.embedded.wsoptions import ConsumerOptions

HIGH_BYTES = 1024 * 1024
LOW_BYTES = 256 * 1024
"""Payload bytes here above which the broker delivers no more, and below which it goes on."""

YIELD_EVERY = 32
"""Messages after which others on the loop get a turn."""

_SHARING = (SubType.SHARED, SubType.KEY_SHARED)
_log = logging.getLogger(__name__)


_Entry = tuple[int, int, int, bytes]
"""Ledger, entry, redelivery count and blob."""


@dataclass(slots=True)
class _Part:
    """The consumer of one partition.

    Attributes:
        topic: Its topic.
        consumer_id: On the connection.
        start: Where it begins, exclusive.
        gone: The broker closed it.
        permits: What it has pushed and not asked for anew.
        queue: Entries that wait to be pushed.
    """

    topic: str
    consumer_id: int
    start: MessageIdData
    gone: bool = False
    permits: int = 0
    queue: deque[_Entry] = field(default_factory=deque)


class WsConsumer(WsSession):
    """Pushes messages and takes acknowledgements.

    Args:
        core: The broker.
        peer: Address of the client.
        options: What it asked for.
        idle_s: Silence that ends it.
    """

    def __init__(
        self, core: Core, peer: tuple[str, int], options: ConsumerOptions, idle_s: float
    ) -> None:
        super().__init__(core, peer, idle_s)
        self._options = options
        self._parts: list[_Part] = []
        self._partitioned = False
        self._credit = 0 if options.pull else options.queue
        self._owed = OwedEntries(options.ack_timeout_ms / 1000, options.nack_delay_ms / 1000)
        self._chunks = Chunks()
        self._dead = DeadLetters(self.client, options)
        self._news = asyncio.Event()
        self._due = asyncio.Event()
        self._pushed = 0
        self._paused = False

    @property
    def _shares(self) -> bool:
        return self._options.kind in _SHARING

    async def open(self) -> None:
        """Subscribe to the topic, or to each of its partitions."""
        options = self._options
        count = await self.client.partitions(options.topic)
        name = parse_topic(options.topic)
        topics = [str(name.part(n)) for n in range(count)] or [options.topic]
        self._partitioned = count > 0
        self._parts = [_Part(topic, n, options.start) for n, topic in enumerate(topics)]
        for part in self._parts:
            await self._subscribe(part)

    async def _subscribe(self, part: _Part) -> None:
        options, start = self._options, part.start
        await self.client.ask(
            Cmd.SUBSCRIBE,
            lambda request: Subscribe(
                part.topic,
                options.subscription,
                int(options.kind),
                part.consumer_id,
                request,
                options.consumer or None,
                options.priority,
                options.durable,
                None if options.durable else start,
                initial_position=int(start.ledger == NO_ID),
            ),
        )
        part.gone = False
        self._flow(part, options.queue)

    def _flow(self, part: _Part, permits: int) -> None:
        if permits > 0:
            self.client.send_encoded(Cmd.FLOW, flow_body(part.consumer_id, permits))

    # --- from the broker ---------------------------------------------------------------------

    def message(self, body: bytes, blob: bytes) -> None:
        """An entry came: it waits until it may be pushed."""
        consumer_id, redeliveries, ledger, entry = read_three(body)
        if consumer_id >= len(self._parts):
            return
        self._parts[consumer_id].queue.append((ledger, entry, redeliveries, blob))
        self.client.waiting_bytes += len(blob)
        if self.client.waiting_bytes > HIGH_BYTES and not self._paused:
            self._paused = True
            self.client.pause()
        self._news.set()

    def receipt(self, body: bytes, *, good: bool) -> None:
        """A dead letter was stored, or not."""
        self._dead.receipt(body, good=good)
        self._due.set()

    def producer_closed(self, producer_id: int) -> None:
        """The topic of dead letters was closed."""
        self._dead.closed()

    def consumer_closed(self, consumer_id: int) -> None:
        """The subscription was moved, or the topic closed: come back."""
        if consumer_id < len(self._parts):
            self._parts[consumer_id].gone = True
            self._due.set()

    # --- to the client -----------------------------------------------------------------------

    async def write(self) -> None:
        """Push messages as far as the client's acknowledgements allow."""
        while True:
            part = self._next_part()
            if part is None or self._credit < 1:
                self._news.clear()
                await self._news.wait()
                continue
            await self._push(part, *part.queue.popleft())
            self._pushed += 1
            if self._pushed % YIELD_EVERY == 0:
                await asyncio.sleep(0)

    def _next_part(self) -> _Part | None:
        """The next partition with a message, in turns."""
        count = len(self._parts)
        for step in range(count):
            part = self._parts[(self._pushed + step) % count]
            if part.queue:
                return part
        return None

    async def _push(
        self, part: _Part, ledger: int, entry: int, redeliveries: int, blob: bytes
    ) -> None:
        self.client.waiting_bytes -= len(blob)
        if self._paused and self.client.waiting_bytes < LOW_BYTES:
            self._paused = False
            self.client.resume()
        head, payload = read_head(blob)
        place = MessageIdData(ledger, entry)
        whole = self._chunks.add(head, payload, place)
        if whole is None:
            self._taken(part, 1)
            return
        found = contents(head, whole.payload)
        owed = None
        if not self._options.reader:
            owed = self._owe(part, place, whole.places, found, redeliveries)
        partition = part.consumer_id if self._partitioned else -1
        for one in found:
            if not self._wanted(part, place, one):
                continue
            while self._credit < 1:
                self._news.clear()
                await self._news.wait()
            if owed is not None and not self._owed.holds(owed):
                break  # all of it is on its way again
            self._credit -= 1
            where = encode_id(ledger, entry, partition, one.batch_index, one.batch_size)
            await self.send(delivery(one, where, redeliveries))
        part.start = place
        if self._options.reader:
            self._acknowledge(part.consumer_id, whole.places)
        self._taken(part, max(len(found), 1))

    def _taken(self, part: _Part, messages: int) -> None:
        """Ask for as many messages as were pushed, from time to time."""
        part.permits += messages
        if not part.queue or part.permits > self._options.queue // 2:
            permits, part.permits = part.permits, 0
            self._flow(part, permits)

    def _wanted(self, part: _Part, place: MessageIdData, content: Content) -> bool:
        """Whether a message lies behind the start, which the broker takes as inclusive."""
        start = part.start
        if not self._options.reader or start.ledger in (NO_ID, LATEST_ID):
            return True
        if (place.ledger, place.entry) != (start.ledger, start.entry):
            return True
        index = -1 if start.batch_index is None else start.batch_index
        return 0 <= index < content.batch_index

    def _owe(
        self,
        part: _Part,
        place: MessageIdData,
        places: list[MessageIdData],
        found: list[Content],
        redeliveries: int,
    ) -> Owed:
        owed = Owed(
            (part.consumer_id, place.ledger, place.entry),
            places,
            {content.batch_index for content in found},
        )
        most = self._options.most_redeliveries
        if most and redeliveries >= most:
            owed.last_chance = found
        self._owed.add(owed, asyncio.get_running_loop().time())
        self._due.set()
        return owed

    # --- from the client ---------------------------------------------------------------------

    async def text(self, text: str) -> None:
        """Take an acknowledgement or a command."""
        command = _command(text)
        kind = command.get("type")
        if kind == "isEndOfTopic":
            await self.send('{"endOfTopic":false}')
        elif self._options.reader:
            self._allow(1)
        elif kind == "permit":
            self._permit(command.get("permitMessages"))
        elif kind == "unsubscribe":
            await self._unsubscribe()
        else:
            place = read_message_id(_named_message(command))
            if kind == "negativeAcknowledge":
                self._nack(place)
            else:
                self._ack(place)

    def _allow(self, messages: int) -> None:
        if messages > 0:
            self._credit = min(self._credit + messages, 1 << 31)
            self._news.set()

    def _permit(self, messages: object) -> None:
        if not isinstance(messages, int) or isinstance(messages, bool):
            raise spoken("Missing required permitMessages field for 'permit' command")
        if self._options.pull:
            self._allow(messages)

    async def _unsubscribe(self) -> None:
        for part in self._parts:
            try:
                await self.client.ask(Cmd.UNSUBSCRIBE, partial(Unsubscribe, part.consumer_id))
            except WtpError as error:
                _log.info("not unsubscribed from %s: %s", part.topic, error.message)

    def _consumer_of(self, place: MessageIdData) -> int:
        partition = place.partition if self._partitioned else 0
        if partition is None or not 0 <= partition < len(self._parts):
            raise spoken("The message id is none of this topic.")
        return partition

    def _ack(self, place: MessageIdData) -> None:
        consumer_id = self._consumer_of(place)
        freed, places = self._owed.ack(consumer_id, place)
        self._acknowledge(consumer_id, places)
        if not self._options.pull:
            self._allow(freed)

    def _acknowledge(self, consumer_id: int, places: list[MessageIdData]) -> None:
        if len(places) == 1:
            body = ack_body(consumer_id, places[0].ledger, places[0].entry)
            self.client.send_encoded(Cmd.ACK, body)
        elif places:
            self.client.send(Cmd.ACK, Ack(consumer_id, 0, places))

    def _nack(self, place: MessageIdData) -> None:
        now_s = asyncio.get_running_loop().time()
        freed = self._owed.nack(self._consumer_of(place), place, now_s)
        self._due.set()
        if not self._options.pull:
            self._allow(freed)

    # --- what comes again --------------------------------------------------------------------

    async def upkeep(self) -> None:
        """Have delivered again what is due; subscribe again where the broker closed a consumer."""
        loop = asyncio.get_running_loop()
        while True:
            self._due.clear()
            for part in self._parts:
                if part.gone:
                    self._forget(part)
                    await self._subscribe(part)
            for owed in list(self._owed.due(loop.time())):
                self._again(owed)
            for places in await self._dead.bury():
                self._acknowledge(*places)
            next_s = self._owed.next_s()
            try:
                async with asyncio.timeout_at(next_s):
                    await self._due.wait()
            except TimeoutError:
                continue

    def _again(self, owed: Owed) -> None:
        """Ask for an entry once more, or give it up."""
        part = self._parts[owed.key[0]]
        if owed.last_chance:
            freed = self._owed.drop(owed)
            self._dead.add(owed)
        elif self._shares:
            freed = self._owed.drop(owed)
            self.client.send(Cmd.REDELIVER, Redeliver(part.consumer_id, owed.places))
        else:
            freed = 0
            self._forget(part)
            self.client.send(Cmd.REDELIVER, Redeliver(part.consumer_id))
        if not self._options.pull:
            self._allow(freed)

    def _forget(self, part: _Part) -> None:
        """Everything of a consumer comes again: drop what is here."""
        freed = self._owed.drop_all(part.consumer_id)
        blobs = [blob for *_, blob in part.queue]
        part.queue.clear()
        self.client.waiting_bytes -= sum(map(len, blobs))
        permits, part.permits = part.permits, 0
        if not part.gone:
            self._flow(part, permits + sum(read_head(blob)[0].num_messages or 1 for blob in blobs))
        if not self._options.pull:
            self._allow(freed)


def _command(text: str) -> dict[str, Any]:
    try:
        command = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise spoken(f"The command is no JSON: {error}") from error
    if not isinstance(command, dict):
        raise spoken("The command is no JSON object")
    return command


def _named_message(command: dict[str, Any]) -> str:
    text = command.get("messageId")
    if not isinstance(text, str):
        raise spoken("The command names no message")
    return text
