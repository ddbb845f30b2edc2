"""One topic (or partition) of a replay: a reader, its bounded queue, and where it ends."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from wtp.clock import monotonic_us
from wtp.consumer.item import Place, read_place
from wtp.errors import BrokerUnavailable, WtpError
from wtp.replayer.merge import Entry
from wtp.replayer.placed import Placed, place_in_time
from wtp.replayer.ports import Broker, Message, Reader
from wtp.replayer.request import Request, Span
from wtp.replayer.survey import open_reader
from wtp.replayer.when import NEVER_US

QUEUE = 1000
"""Messages that the broker's client holds at most, twice, and this queue once more."""

MIN_QUEUE = 4

QUEUE_BYTES = 16 * 1024 * 1024
"""Payload bytes in the queue of one topic; a single larger one still passes. The client counts
messages only: it holds as many as make up these bytes, by the size of those at the topic's ends.
"""

AFTER_US = 10_000_000
"""So far beyond the end of the span a topic is read for objects that came late."""

LIVE_US = 1_000_000
"""Who reaches the newest message of less than so long ago has caught up."""

RETRY_S = 0.5


class Source:
    """Reads one topic from a position on into a bounded queue.

    Each topic has a broker client of its own: the client's one listener thread waits while a queue
    is full, and must not keep another topic waiting with it.

    Args:
        client: The broker.
        topic: Full name of a topic or partition.
        request: What is wanted of it.
        wake: Set whenever there is something new.
        note: Is told what happens.
    """

    def __init__(
        self,
        client: Broker,
        topic: str,
        request: Request,
        wake: asyncio.Event,
        note: Callable[[str], None],
    ) -> None:
        self.topic = topic
        self.client = client
        self.queue: deque[Entry] = deque()
        self.seen_us = -NEVER_US
        self.ended = False
        self.live = False
        self.skipped = 0
        """Messages outside the span, or not asked for."""
        self._request, self._wake, self._note = request, wake, note
        self._choosy = bool(request.kinds or request.publisher or request.track)
        self._span = Span()
        self._reader: Reader | None = None
        self._end: Place | None = None
        self._asked_us = 0
        self._place: Place = (-1, -1, -1)
        self._position = ""
        self._track_us: dict[str, int] = {}
        self._bytes = 0
        self._queue = QUEUE
        self._room = asyncio.Event()
        self._closed = False

    @property
    def free(self) -> bool:
        """Whether nothing needs to be waited for."""
        return self.ended or self.live

    @property
    def connected(self) -> bool:
        """Whether the broker is there at this moment."""
        return self.ended or self._reader is None or self._reader.connected

    async def open(self, span: Span, start: str, end: Place | None, size_bytes: int = 0) -> None:
        """Begin to read.

        Args:
            span: What of it is wanted.
            start: `earliest` or a position; "" for nothing of what is there.
            end: Place of the newest message; None for an empty topic.
            size_bytes: How large its messages are, as far as is known.
        """
        self._span, self._end = span, end
        nothing, inclusive = not start or end is None, True
        if nothing and not self._request.follow:
            self.ended = True
            return
        if nothing:
            self.live = True
            start = f"{end[0]}:{end[1]}" if end else "earliest"
            inclusive = end is None
            self._place = end or self._place
        self._position = start
        self._queue = max(MIN_QUEUE, min(QUEUE, QUEUE_BYTES // max(1, size_bytes)))
        self._reader = await open_reader(
            self.client, self.topic, start=start, inclusive=inclusive, queue=self._queue
        )

    async def run(self) -> None:
        """Fill the queue until the end, or for ever when following."""
        while self._reader is not None:
            if self._at_end():
                await self._arrive()
            self._wake.set()
            if self.ended:
                return
            if self._full:
                await self._wait_for_room()
                continue
            try:
                await self._fill(self._reader)
            except BrokerUnavailable:
                if self._closed:
                    return
                await self._open_again()

    async def _fill(self, reader: Reader) -> None:
        """Take one message, and with it all that is there and fits."""
        self._take(await reader.receive())
        while reader.waiting and not self._full and not self.ended and not self._at_end():
            self._take(await reader.receive())

    @property
    def _full(self) -> bool:
        return len(self.queue) >= QUEUE or self._bytes > QUEUE_BYTES

    def _at_end(self) -> bool:
        done = self.live or self.ended
        return not done and (self._end is None or self._place >= self._end)

    async def _arrive(self) -> None:
        """The newest message known was read: the end, or time to look for a newer one."""
        if not self._request.follow:
            self.ended = True
            return
        if monotonic_us() - self._asked_us < LIVE_US:
            self.live = True
            return
        self._asked_us = monotonic_us()
        newest = await self.client.last_position(self.topic)
        if newest is not None and read_place(newest)[:2] > self._place[:2]:
            self._end = read_place(newest)
        else:
            self.live = True

    async def _wait_for_room(self) -> None:
        """Wait until the queue was emptied; whoever was live has fallen behind by then."""
        if self.live:
            self.live, self._end, self._asked_us = False, self._place, 0
        self._room.clear()
        await self._room.wait()

    def took(self) -> None:
        """The queue was emptied."""
        self._bytes = 0
        self._room.set()

    def _take(self, message: Message) -> None:
        """Place one message on the time line, unless it is not wanted."""
        place = read_place(message.position)
        if place <= self._place:
            return  # repeated after a reconnection
        self._place, self._position = place, message.position
        at_us, placed_by = place_in_time(message)
        self.seen_us = max(self.seen_us, at_us)
        span = self._span
        if at_us > span.to_us + AFTER_US or (span.to_place and place >= span.to_place):
            self.ended = True
        if (
            not span.from_us <= at_us <= span.to_us
            or (span.from_place and place < span.from_place)
            or (span.to_place and place > span.to_place)
            or (self._choosy and not self._request.wants(message.properties, message.key))
        ):
            self.skipped += 1
            return
        # A track keeps its order even where its stamps do not.
        sort_us = max(at_us, self._track_us.get(message.key, at_us))
        self._track_us[message.key] = sort_us
        self._bytes += len(message.payload)
        self.queue.append((sort_us, Placed(message, at_us, placed_by, self.live)))

    async def _open_again(self) -> None:
        """Go on behind the last message, as soon as the broker lets us."""
        started = self._place[0] >= 0
        while not self._closed:
            try:
                self._reader = await open_reader(
                    self.client,
                    self.topic,
                    start=self._position,
                    inclusive=not started,
                    queue=self._queue,
                )
            except WtpError as error:
                self._note(f"{self.topic} cannot be read at the moment: {error.message}")
                await asyncio.sleep(RETRY_S)
            else:
                return

    async def close(self) -> None:
        """Stop reading."""
        self._closed = True
        if self._reader is not None:
            await self._reader.close()
