"""All topics of a room as one sequence, by capture time, with bounded memory.

Within a topic objects lie in the order of the broker, which differs from that of capture by as much
as the tracks' delays differ. So an object goes out once every topic that still has something known
to come has been read `SLACK_US` beyond it. Only the topic that is furthest behind is read on: one
with few objects neither fills the memory nor stalls the others.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from wtp.replayer.placed import Placed
from wtp.replayer.when import NEVER_US

SLACK_US = 1_000_000
"""How far the capture times of a topic may run against its order."""

MAX_HELD_BYTES = 64 * 1024 * 1024
MAX_HELD = 20_000
"""Held at most, in all; beyond, the earliest goes out whatever is still to come."""


Entry = tuple[int, Placed]
"""Time to sort by, µs, which never runs back within a track; and the message."""


class Feed(Protocol):
    """A topic as the merge sees it.

    Attributes:
        queue: Objects read and not taken yet.
        seen_us: The largest time read so far.
        free: Whether nothing of it needs to be waited for: at its end, or live.
        ended: Whether nothing will come any more.
    """

    queue: deque[Entry]
    seen_us: int

    @property
    def free(self) -> bool:
        """See above."""
        ...

    @property
    def ended(self) -> bool:
        """See above."""
        ...

    def took(self) -> None:
        """Its queue was emptied."""
        ...


class Merge:
    """Puts the objects of several feeds in order.

    Args:
        feeds: The topics.
        slack_us: How far times may run against a topic's order.
    """

    def __init__(self, feeds: Sequence[Feed], slack_us: int = SLACK_US) -> None:
        self.feeds = feeds
        self.slack_us = slack_us
        self.late = 0
        """Objects that came behind the point up to which others had gone out."""
        self._marks = dict.fromkeys(range(len(feeds)), -NEVER_US)
        self._heap: list[tuple[int, int, Placed]] = []
        self._count = 0
        self._bytes = 0
        self._bound_us = -NEVER_US
        self._out_us = -NEVER_US

    def __len__(self) -> int:
        return len(self._heap)

    @property
    def held_bytes(self) -> int:
        """Payload bytes that wait for their turn."""
        return self._bytes

    @property
    def full(self) -> bool:
        """Whether as much is held as may be."""
        return self._bytes > MAX_HELD_BYTES or len(self._heap) > MAX_HELD

    def take_in(self) -> None:
        """Take from the feeds what is needed to know which object is next."""
        while True:
            lowest = -1
            for number, feed in enumerate(self.feeds):
                if feed.free:
                    if feed.queue and not self.full:
                        self._drain(number, feed)
                    continue
                if not feed.queue:
                    self._marks[number] = feed.seen_us - self.slack_us
                if lowest < 0 or self._marks[number] < self._marks[lowest]:
                    lowest = number
            if lowest < 0:
                self._bound_us = NEVER_US
                return
            self._bound_us = self._marks[lowest]
            feed = self.feeds[lowest]
            due = self._heap and self._heap[0][0] <= self._bound_us
            if due or self.full or not feed.queue:
                return
            self._drain(lowest, feed)

    def _drain(self, number: int, feed: Feed) -> None:
        heap, out_us = self._heap, self._out_us
        for sort_us, placed in feed.queue:
            self._count += 1
            self._bytes += len(placed.message.payload)
            self.late += sort_us < out_us
            heapq.heappush(heap, (sort_us, self._count, placed))
        feed.queue.clear()
        self._marks[number] = feed.seen_us - self.slack_us
        feed.took()

    def next_us(self) -> int | None:
        """The time of the next object; None when it is not known yet, or nothing is left."""
        if not self._heap:
            return None
        at_us = self._heap[0][0]
        return at_us if at_us <= self._bound_us or self.full else None

    def pop(self) -> Placed:
        """Take the next object out."""
        sort_us, _, placed = heapq.heappop(self._heap)
        self._bytes -= len(placed.message.payload)
        self._out_us = max(self._out_us, sort_us)
        return placed

    @property
    def finished(self) -> bool:
        """Whether nothing is held and every feed has come to its end."""
        return not self._heap and all(feed.ended and not feed.queue for feed in self.feeds)
