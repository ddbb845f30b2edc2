"""A topic's log in memory: what a non-persistent topic uses between arrival and delivery."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from itertools import islice

from wtp.broker.embedded.log import TopicLog
from wtp.broker.embedded.values import EARLIEST, Entry, Position


class MemoryLog(TopicLog):
    """Entries of one ledger, kept until `clear`.

    Args:
        name: Complete topic name.
        ledger: Id of the only ledger.
    """

    def __init__(self, name: str, ledger: int = 0) -> None:
        self.name = name
        self._ledger = ledger
        self._entries: deque[Entry] = deque()
        self._next = 0
        self._size_bytes = 0

    @property
    def first(self) -> Position:
        """Position of the oldest entry, or `end`."""
        return Position(self._ledger, self._next - len(self._entries))

    @property
    def last(self) -> Position | None:
        """Position of the newest entry ever, None before the first one."""
        return Position(self._ledger, self._next - 1) if self._next else None

    @property
    def end(self) -> Position:
        """Position that the next append gets."""
        return Position(self._ledger, self._next)

    @property
    def entries(self) -> int:
        """Number of entries that can be read."""
        return len(self._entries)

    @property
    def size_bytes(self) -> int:
        """Bytes of the entries that can be read."""
        return self._size_bytes

    def append(self, blob: bytes, publish_ms: int, messages: int) -> Position:
        """Keep one entry."""
        position = Position(self._ledger, self._next)
        self._entries.append(Entry(position, publish_ms, messages, blob))
        self._next += 1
        self._size_bytes += len(blob)
        return position

    def clear(self) -> None:
        """Drop all entries; numbers go on."""
        self._entries.clear()
        self._size_bytes = 0

    def _index(self, position: Position) -> int:
        if position <= self.first:
            return 0
        if position >= self.end:
            return len(self._entries)
        return position.entry - self.first.entry

    def read(self, position: Position, max_entries: int, max_bytes: int) -> list[Entry]:
        """Return entries from the first one at or behind `position` on."""
        found: list[Entry] = []
        at = self._index(position)
        for entry in islice(self._entries, at, at + max_entries):
            max_bytes -= len(entry.blob)
            if found and max_bytes < 0:
                break
            found.append(entry)
        return found

    def next_position(self, position: Position) -> Position:
        """Return the position of the first entry behind `position`, or `end`."""
        if position < self.first:
            return self.first
        return min(Position(self._ledger, position.entry + 1), self.end)

    def previous_position(self, position: Position) -> Position:
        """Return the position of the last entry before `position`, or `EARLIEST`."""
        if position <= self.first:
            return EARLIEST
        return Position(self._ledger, min(position, self.end).entry - 1)

    def valid(self, position: Position) -> bool:
        """Tell whether an entry lies at exactly this position."""
        return self.first <= position < self.end

    def seek_time(self, publish_ms: int) -> Position:
        """Return the position of the first entry published at that time or later, or `end`."""
        at = bisect_left(self._entries, publish_ms, key=lambda entry: entry.publish_ms)
        return Position(self._ledger, self.first.entry + at)

    def count_between(self, start: Position, stop: Position) -> int:
        """Count the entries with start <= position < stop."""
        return max(self._index(stop) - self._index(start), 0)

    def size_between(self, start: Position, stop: Position) -> int:
        """Add up the bytes of the entries with start <= position < stop."""
        part = islice(self._entries, self._index(start), self._index(stop))
        return sum(len(entry.blob) for entry in part)

    async def durable(self, position: Position) -> None:
        """Return at once."""

    def ledgers(self) -> list[tuple[int, int, int]]:
        """Return the only ledger."""
        return [(self._ledger, self.entries, self.size_bytes)]

    def trim(
        self, now_ms: int, retention_s: float, retention_bytes: int, keep_from: Position | None
    ) -> int:
        """Do nothing: entries live for one settling only."""
        return 0

    def close(self) -> None:
        """Drop all entries."""
        self.clear()
