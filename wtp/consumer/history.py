"""Joining a topic with its last objects: some of the past first, then live without gap or repeat.

As for key frames (`join`), one reader does it: it starts so far back that enough of what is wanted
lies between there and the newest message, and then simply goes on.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from wtp.consumer.feed import DEEP_QUEUE, Feed, Reading
from wtp.consumer.item import read_place
from wtp.consumer.join import EMPTY, SILENCE_S, Entry, Joined, newest_entry
from wtp.consumer.ports import Broker, Message, Subscription
from wtp.errors import BrokerError

WIDER = (1, 8, 64)
"""How many times as many messages to go back, where only some are of the track that is wanted."""

EARLIER_MS = (3_600_000, 86_400_000)
"""To go back by time when the newest ledger holds too few: an hour, then the default retention."""

MAX_HELD_BYTES = 64 * 1024 * 1024
"""Payload bytes held while going back; above, the oldest are left out."""


class Tail:
    """The last wanted messages of what is read.

    Args:
        count: How many.
        wants: Tells whether a message is wanted.
    """

    def __init__(self, count: int, wants: Callable[[Message], bool]) -> None:
        self.held: deque[Message] = deque()
        self.first_ms: int | None = None
        self._count, self._wants = count, wants
        self._bytes = 0

    def add(self, message: Message) -> None:
        """Take the next message, in the topic's order."""
        if self.first_ms is None:
            self.first_ms = message.publish_ms
        if not self._wants(message):
            return
        self.held.append(message)
        self._bytes += len(message.payload)
        while len(self.held) > self._count or self._bytes > MAX_HELD_BYTES:
            self._bytes -= len(self.held.popleft().payload)

    @property
    def full(self) -> bool:
        """Whether there are as many as were wanted."""
        return len(self.held) >= self._count or self._bytes > MAX_HELD_BYTES // 2


async def join_history(
    client: Broker, topic: str, count: int, wants: Callable[[Message], bool]
) -> Joined:
    """Join a topic live, beginning with its last objects.

    Args:
        client: The broker.
        topic: Full name of a topic or of one partition.
        count: Objects of the past, at most.
        wants: Tells whether a message is one of those that are read.

    Raises:
        BrokerError: The topic cannot be read.
    """
    newest = await newest_entry(client, topic)
    if newest is None:
        return Joined(await client.reader(topic, start="latest", queue=DEEP_QUEUE))
    if newest == EMPTY:
        return Joined(await client.reader(topic, start="earliest", queue=DEEP_QUEUE))
    ledger, entry = newest
    for factor in WIDER:
        start = max(0, entry + 1 - factor * count)
        reader = await client.reader(topic, start=f"{ledger}:{start}", queue=DEEP_QUEUE)
        tail = await _read_tail(reader, newest, Tail(count, wants))
        if tail.full or start == 0 or factor == WIDER[-1]:
            break
        await reader.close()
    if start == 0:
        for earlier_ms in EARLIER_MS:
            if tail.full:
                break
            tail = await _earlier(reader, newest, tail, earlier_ms, Tail(count, wants))
    return Joined(reader, list(tail.held), newest)


async def _earlier(
    reader: Subscription, newest: Entry, tail: Tail, earlier_ms: int, empty: Tail
) -> Tail:
    """Look into the ledgers before the newest one; if they cannot be read, `tail` stays."""
    if tail.first_ms is None:
        return tail
    try:
        await reader.seek_ms(tail.first_ms - earlier_ms)
    except BrokerError:
        return tail
    return await _read_tail(reader, newest, empty, sought=True)


async def _read_tail(
    reader: Subscription, newest: Entry, tail: Tail, *, sought: bool = False
) -> Tail:
    """Read up to the newest place.

    Args:
        reader: Is not closed when this is cancelled; its owner does.
        newest: Where to stop, inclusive.
        tail: Takes what is read.
        sought: Whether the reader has just gone back: newer messages that it had already taken
            come again and are left out.
    """
    while True:
        try:
            async with asyncio.timeout(SILENCE_S):
                message = await reader.receive()
        except TimeoutError:
            return tail
        entry = read_place(message.position)[:2]
        if sought and tail.first_ms is None and entry > newest:
            continue
        tail.add(message)
        if entry >= newest:
            return tail


class HistoryFeed(Feed):
    """A topic that is joined with its last objects.

    Args:
        broker: Where it is.
        topic: Full name of a topic or partition.
        reading: How it goes on.
        take: Gets each message in order and whether it was published after joining.
        note: Is told what happens.
        count: Objects of the past, at most.
        wants: Tells whether a message is one of those that are read.

    Attributes:
        past_left: Objects of the past that were not handed on yet.
    """

    def __init__(
        self,
        broker: Broker,
        topic: str,
        reading: Reading,
        take: Callable[[Feed, Message, bool], Awaitable[None]],
        note: Callable[[str], None],
        *,
        count: int,
        wants: Callable[[Message], bool],
    ) -> None:
        super().__init__(broker, topic, reading, take, note)
        self.past_left = 0
        self._count, self._wants = count, wants

    async def open(self, *, fresh: bool = False) -> None:
        """Join the topic; one that was waited for has no past.

        Raises:
            NotFound: There is no such topic.
            BrokerError: It cannot be read.
            BrokerUnavailable: The broker is not there.
        """
        if fresh:
            await super().open(fresh=True)
            return
        joined = await join_history(self._broker, self.topic, self._count, self._wants)
        self._subscription = joined.reader
        self._first, self._newest = joined.first, joined.last
        self.past_left = len(joined.first)

    async def _hand_on(self, message: Message) -> None:
        await super()._hand_on(message)
        self.past_left = max(0, self.past_left - 1)
