"""The log of one topic partition: append-only segments in one folder.

Appends go to the active segment, which is sealed when it is full or old, and when the log is
closed. Every run of the log begins a new ledger, so that a number cut off with a torn tail is never
given to another entry. The newest entries are also held in memory (`tail.py`).
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wtp.broker.embedded.appender import Appender, LogOptions, last_write_ms
from wtp.broker.embedded.files import disk_error
from wtp.broker.embedded.recovery import recover, remove_segment
from wtp.broker.embedded.segment import Segment
from wtp.broker.embedded.values import EARLIEST, Entry, FsyncPolicy, Position
from wtp.errors import StorageError

SEGMENT_AGE_S = 3600.0
"""A segment this old is sealed at the next sweep, or at a part of the retention time."""

PARTS = 8
"""Retention is exact to about this part of its time or size: segments are made that small."""

MIN_SEGMENT_BYTES = 1024 * 1024
"""Segments are not made smaller than this for a small retention size."""


class TopicLog:
    """Entries of one persistent topic partition, in the order they were appended.

    Made by `Store.open_topic`; one object per topic, used from one thread (the event loop).

    Args:
        name: Complete topic name.
        folder: Folder of its own.
        options: What the store's logs share.

    Attributes:
        name: Complete topic name.
        folder: Where its files lie.

    Raises:
        StorageError: The folder cannot be read or repaired.
    """

    def __init__(self, name: str, folder: Path, options: LogOptions) -> None:
        self.name = name
        self.folder = folder
        self._options = options
        self._segments = recover(folder, options.report)
        newest = self._segments[-1].ledger if self._segments else -1
        ledger = options.new_ledger(newest)
        self._appender = Appender(folder, ledger, self._segments, options)
        self._appended_before = 0

    @property
    def first(self) -> Position:
        """Position of the oldest entry, or `end` when there is none."""
        return self.next_position(EARLIEST)

    @property
    def last(self) -> Position | None:
        """Position of the newest entry, None when there is none."""
        appender = self._appender
        if appender.tail.low < appender.next:
            return Position(appender.ledger, appender.next - 1)
        found = self.previous_position(self.end)
        return None if found == EARLIEST else found

    @property
    def end(self) -> Position:
        """Position that the next append gets."""
        return Position(self._appender.ledger, self._appender.next)

    @property
    def entries(self) -> int:
        """Number of entries that can be read."""
        return sum(segment.count for segment in self._segments)

    @property
    def size_bytes(self) -> int:
        """Size on disk."""
        return sum(segment.size for segment in self._segments)

    @property
    def appended(self) -> int:
        """Entries appended since the log was opened."""
        return self._appender.next

    def ledgers(self) -> list[tuple[int, int, int]]:
        """Return (ledger, entries, bytes) of each ledger, oldest first."""
        found: dict[int, tuple[int, int]] = {}
        for segment in self._segments:
            entries, size = found.get(segment.ledger, (0, 0))
            found[segment.ledger] = entries + segment.count, size + segment.size
        return [(ledger, *sums) for ledger, sums in found.items()]

    def append(self, blob: bytes, publish_ms: int, messages: int) -> Position:
        """Write one entry; it is in the page cache (and survives kill -9) when this returns.

        Args:
            blob: Magic, checksum, metadata size, metadata and payload, as received.
            publish_ms: The producer's publish time, Unix milliseconds.
            messages: Number of messages in it.

        Raises:
            StorageError: The disk is full or broken; nothing of the entry is left in the log.
            UsageError: `publish_ms` or `messages` is negative or too large for its field.
        """
        return self._appender.append(blob, publish_ms, messages)

    def read(self, position: Position, max_entries: int, max_bytes: int) -> list[Entry]:
        """Return entries from the first one at or behind `position` on.

        Any position is allowed (`EARLIEST`, trimmed ones, between two ledgers). The list may be
        shorter than asked for, and is empty only at the end. At least one entry is returned when
        there is one, even if it is larger than `max_bytes`.

        Args:
            position: Where to begin, inclusive.
            max_entries: Most entries to return.
            max_bytes: Most bytes of blobs to return.

        Raises:
            StorageError: The disk refuses.
        """
        ledger, entry = position
        tail = self._appender.tail
        if ledger == self._appender.ledger and entry >= tail.low:
            return tail.take(entry, max_entries, max_bytes)
        for segment in self._from(position):
            start = _number_in(segment, ledger, entry)
            if start >= segment.next:
                continue
            with self._opened(segment) as fd:
                if fd is None:
                    continue
                found = segment.read(fd, start, max_entries, max_bytes, self._options.report)
            if found:
                return found
        return []

    def next_position(self, position: Position) -> Position:
        """Return the position of the first entry behind `position`, or `end`."""
        ledger, entry = position
        appender = self._appender
        if ledger == appender.ledger and appender.tail.low <= entry + 1 < appender.next:
            return Position(ledger, entry + 1)
        for segment in self._from(position):
            found = _number_in(segment, ledger, entry + 1)
            if found < segment.next:
                return Position(segment.ledger, found)
        return self.end

    def previous_position(self, position: Position) -> Position:
        """Return the position of the last entry before `position`, or `EARLIEST`."""
        ledger, entry = position
        for segment in reversed(self._segments):
            if (segment.ledger, segment.first) < position:
                found = segment.before(entry if segment.ledger == ledger else segment.next)
                if found >= segment.first:
                    return Position(segment.ledger, found)
        return EARLIEST

    def valid(self, position: Position) -> bool:
        """Tell whether an entry lies at exactly this position."""
        return self.next_position(Position(position.ledger, position.entry - 1)) == position and (
            position != self.end
        )

    def seek_time(self, publish_ms: int) -> Position:
        """Return the position of the first entry published at that time or later, or `end`."""
        for segment in self._segments:
            if segment.max_publish_ms >= publish_ms:
                with self._opened(segment) as fd:
                    if fd is None:
                        continue
                    found = segment.find_time(fd, publish_ms, self._options.report)
                if found < segment.next:
                    return Position(segment.ledger, found)
        return self.end

    def count_between(self, start: Position, stop: Position) -> int:
        """Count the entries with start <= position < stop.

        A subscription's backlog is `count_between(next_position(mark_delete), end)`.
        """
        return sum(count for _, count in self._overlap(start, stop))

    def size_between(self, start: Position, stop: Position) -> int:
        """Estimate the bytes of the entries with start <= position < stop."""
        parts = self._overlap(start, stop)
        return sum(segment.size * count // max(1, segment.count) for segment, count in parts)

    async def durable(self, position: Position) -> None:
        """Wait until the entry at `position` may be acknowledged under the fsync policy.

        Returns at once unless the policy is `always`; then fsync runs in a thread, once for all
        entries that wait.

        Raises:
            StorageError: The disk did not take it.
        """
        appender = self._appender
        if self._options.fsync is FsyncPolicy.ALWAYS and position.ledger == appender.ledger:
            await appender.syncing.wait(position.entry + 1)

    def sync(self) -> None:
        """Force what was appended to the disk, from any thread; nothing happens when none was."""
        if self._appender.syncing.due:
            self._appender.syncing.sync()

    def trim(
        self, now_ms: int, retention_s: float, retention_bytes: int, keep_from: Position | None
    ) -> int:
        """Drop whole segments that nobody needs, and seal the active one when it is old.

        Args:
            now_ms: Unix time in milliseconds.
            retention_s: Age after which acknowledged data goes; -1 for never.
            retention_bytes: Size that acknowledged data may have; -1 for any.
            keep_from: First position that the slowest durable subscription still needs; None when
                there is no durable subscription.

        Returns:
            Number of segments dropped.

        Raises:
            StorageError: The disk refuses.
        """
        self._age_active(now_ms, retention_s, retention_bytes)
        needed = self.end if keep_from is None else keep_from
        excess = self.size_bytes - retention_bytes if retention_bytes >= 0 else 0
        dropped = 0
        for segment in self._segments:
            old = 0 <= retention_s * 1000 <= max(0, now_ms - segment.changed_ms)
            large = excess > 0 and (segment is not self._appender.active or retention_bytes == 0)
            if not (old or large) or Position(segment.ledger, segment.next - 1) >= needed:
                break
            excess -= segment.size
            dropped += 1
        if dropped:
            self._drop(dropped)
        return dropped

    def idle(self, *, force: bool = False) -> None:
        """Close the file until the next append when nothing was appended since the last call."""
        if force or self._appended_before == self.appended:
            self._appender.idle()
        self._appended_before = self.appended

    def close(self) -> None:
        """Seal the log, sync it unless the policy is `never`, and close the files."""
        reason = StorageError(f"The log of {self.name} is closed.", hint="Open the topic again.")
        self._appender.close(reason)

    def _age_active(self, now_ms: int, retention_s: float, retention_bytes: int) -> None:
        appender, active = self._appender, self._appender.active
        size = self._options.segment_bytes
        if retention_bytes > 0:
            size = min(size, max(MIN_SEGMENT_BYTES, retention_bytes // PARTS))
        appender.segment_bytes = size
        if active is None:
            return
        active.changed_ms = last_write_ms(active)
        age_s = min(SEGMENT_AGE_S, retention_s / PARTS) if retention_s > 0 else SEGMENT_AGE_S
        if now_ms - active.created_ms >= age_s * 1000 or active.size >= size:
            appender.seal()

    def _drop(self, count: int) -> None:
        if self._segments[count - 1] is self._appender.active:
            self._appender.seal()
        gone, stays = self._segments[:count], self._segments[count:]
        first = Position(stays[0].ledger, stays[0].first) if stays else self.end
        self._options.before_drop(self.name, first)
        for segment in gone:
            remove_segment(segment.path)
            self._segments.remove(segment)
        if first.ledger == self._appender.ledger:
            self._appender.tail.forget_before(first.entry)

    def _from(self, position: Position) -> list[Segment]:
        """Return the segment that may hold a position, and all behind it."""
        at = bisect_right(self._segments, position, key=_start)
        return self._segments[max(0, at - 1) :]

    def _overlap(self, start: Position, stop: Position) -> Iterator[tuple[Segment, int]]:
        for segment in self._from(start):
            if (segment.ledger, segment.first) >= stop:
                return
            low = start.entry if segment.ledger == start.ledger else segment.first
            high = stop.entry if segment.ledger == stop.ledger else segment.next
            if segment.ledger >= start.ledger:
                yield segment, segment.count_between(low, high)

    @contextmanager
    def _opened(self, segment: Segment) -> Iterator[int | None]:
        """Open a segment to read it; None when its file is gone, whose entries are lost then."""
        try:
            fd = os.open(segment.path, os.O_RDONLY)
        except FileNotFoundError:
            if segment.lose(segment.first, segment.next - 1):
                self._options.report(f"{segment.path} is gone, offset 0: its entries are lost.")
            yield None
            return
        except OSError as error:
            raise disk_error("open", segment.path, error) from error
        try:
            yield fd
        finally:
            os.close(fd)


def _number_in(segment: Segment, ledger: int, entry: int) -> int:
    """First readable number in a segment at or behind a position; `next` when there is none."""
    if segment.ledger < ledger:
        return segment.next
    return segment.at_or_after(entry if segment.ledger == ledger else 0)


def _start(segment: Segment) -> Position:
    return Position(segment.ledger, segment.first)
