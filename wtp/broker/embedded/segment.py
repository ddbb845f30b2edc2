"""One segment file of a topic, with its sparse index: reading, seeking, known damage."""

from __future__ import annotations

import os
import time
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from pathlib import Path

from wtp.broker.embedded.files import disk_error, write_all
from wtp.broker.embedded.records import (
    DATA_START,
    OVERHEAD,
    Record,
    check_record,
    pack_header,
    resync,
)
from wtp.broker.embedded.values import Entry, Position

INDEX_BYTES = 256 * 1024
"""Distance of two points of the sparse index: one read; the index of 1 GiB stays below 100 KiB."""

WINDOW_BYTES = 256 * 1024
"""What one read takes from the disk at least."""


class Segment:
    """What is known about one segment file, with its sparse index.

    Attributes:
        path: The file.
        ledger: Ledger of all its entries.
        first: Number of the first entry.
        next: Number behind the last entry.
        size: Bytes up to the end of the last good record.
        max_publish_ms: Latest publish time in it.
        changed_ms: Unix time of the last write, set when it is sealed.
        holes: Ranges of entry numbers lost to damage, inclusive, ascending.
    """

    __slots__ = (
        "changed_ms",
        "created_ms",
        "first",
        "hint",
        "holes",
        "last_point",
        "ledger",
        "max_publish_ms",
        "next",
        "path",
        "point_entries",
        "point_max_ms",
        "point_offsets",
        "salt",
        "size",
    )

    def __init__(self, path: Path, salt: int, ledger: int, first: int, created_ms: int) -> None:
        self.path = path
        self.salt = salt
        self.ledger = ledger
        self.first = first
        self.created_ms = created_ms
        self.next = first
        self.size = DATA_START
        self.max_publish_ms = 0
        self.changed_ms = created_ms
        self.holes: list[tuple[int, int]] = []
        self.last_point = -INDEX_BYTES
        # Point i: the record number, its offset, and the latest publish time before it.
        self.point_entries = array("Q")
        self.point_offsets = array("Q")
        self.point_max_ms = array("Q")
        self.hint = (first, DATA_START)

    @classmethod
    def create(cls, folder: Path, ledger: int, first: int) -> tuple[Segment, int]:
        """Create a file; returns the segment and its descriptor, placed at the end.

        Raises:
            OSError: The disk refuses; nothing is left behind.
        """
        path = folder / f"{ledger:012d}-{first:012d}.seg"
        salt = int.from_bytes(os.urandom(4))
        created_ms = time.time_ns() // 1_000_000
        header = pack_header(salt, ledger, first, created_ms)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o640)
        try:
            write_all(fd, header)
        except OSError:
            os.close(fd)
            path.unlink(missing_ok=True)
            raise
        return cls(path, salt, ledger, first, created_ms), fd

    @property
    def count(self) -> int:
        """Number of entries that can be read."""
        return self.next - self.first - sum(last - first + 1 for first, last in self.holes)

    def note(self, entry: int, offset: int, stop: int, publish_ms: int) -> None:
        """Take up a record that lies from `offset` to `stop`, the last one so far."""
        if offset - self.last_point >= INDEX_BYTES:
            self.last_point = offset
            self.point_entries.append(entry)
            self.point_offsets.append(offset)
            self.point_max_ms.append(self.max_publish_ms)
        if publish_ms > self.max_publish_ms:
            self.max_publish_ms = publish_ms
        self.next = entry + 1
        self.size = stop

    def lose(self, first: int, last: int) -> bool:
        """Take up a range of lost entries; tells whether any of them was not known as lost."""
        fresh = [n for n in range(first, last + 1) if not self.lost(n)]
        if not fresh:
            return False
        ranges = sorted([*self.holes, (first, last)])
        merged = [ranges[0]]
        for low, high in ranges[1:]:
            if low <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
            else:
                merged.append((low, high))
        self.holes = merged
        return True

    def lost(self, entry: int) -> bool:
        """Tell whether an entry is known to be lost."""
        return any(first <= entry <= last for first, last in self.holes)

    def at_or_after(self, entry: int) -> int:
        """Return the first readable entry number from `entry` on; `next` when there is none."""
        entry = max(entry, self.first)
        for first, last in self.holes:
            if first <= entry <= last:
                entry = last + 1
        return min(entry, self.next)

    def before(self, entry: int) -> int:
        """Return the last readable entry number below `entry`; `first - 1` when there is none."""
        entry = min(entry, self.next) - 1
        for first, last in reversed(self.holes):
            if first <= entry <= last:
                entry = first - 1
        return max(entry, self.first - 1)

    def count_between(self, start: int, stop: int) -> int:
        """Count readable entries with start <= number < stop."""
        start, stop = max(start, self.first), min(stop, self.next)
        lost = sum(max(0, min(last + 1, stop) - max(first, start)) for first, last in self.holes)
        return max(0, stop - start - lost)

    def load_all(self) -> bytes:
        """Return the whole file.

        Raises:
            StorageError: The disk refuses.
        """
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise disk_error("read", self.path, error) from error

    def read(
        self, fd: int, entry: int, max_entries: int, max_bytes: int, report: Callable[[str], None]
    ) -> list[Entry]:
        """Return entries from number `entry` on; at least one if there is one.

        Args:
            fd: The open file.
            entry: First number wanted; must not be above `next`.
            max_entries: Most entries to return.
            max_bytes: Stop after this many bytes of blobs.
            report: Told about damage that was not known.
        """
        ledger, found = self.ledger, list[Entry]()
        for record, blob, end in self._records(fd, entry, report, max_bytes):
            if record.entry < entry:
                continue
            if found and len(blob) > max_bytes:
                break
            position = Position(ledger, record.entry)
            found.append(Entry(position, record.publish_ms, record.messages, blob))
            max_bytes -= len(blob)
            self.hint = (record.entry + 1, end)
            if len(found) >= max_entries or max_bytes <= 0:
                break
        return found

    def find_time(self, fd: int, publish_ms: int, report: Callable[[str], None]) -> int:
        """Return the number of the first entry published then or later; `next` for none."""
        point = bisect_left(self.point_max_ms, publish_ms) - 1
        entry = self.point_entries[point] if point >= 0 else self.first
        for record, _, _ in self._records(fd, entry, report, WINDOW_BYTES):
            if record.entry >= entry and record.publish_ms >= publish_ms:
                return record.entry
        return self.next

    def offset_of(self, entry: int) -> tuple[int, int]:
        """Return a record number at or below `entry` that is known, and its offset."""
        if self.hint[0] == entry:
            return self.hint
        point = bisect_right(self.point_entries, entry) - 1
        if point < 0:
            return self.first, DATA_START
        return self.point_entries[point], self.point_offsets[point]

    def _records(
        self, fd: int, entry: int, report: Callable[[str], None], want_bytes: int
    ) -> Iterator[tuple[Record, bytes, int]]:
        """Yield records with blob and end offset, from a known offset at or before `entry` on."""
        expected, at = self.offset_of(entry)
        window = min(max(want_bytes, WINDOW_BYTES), 4 * WINDOW_BYTES)
        data, base = self._pread(fd, window, at), at
        while at < self.size:
            found = check_record(data, at - base, self.salt)
            if isinstance(found, Record) and found.entry >= expected:
                at = base + found.stop
                self._lost_before(expected, found.entry, at, report)
                expected = found.entry + 1
                yield found, data[found.start : found.stop], at
                continue
            held = base + len(data)
            need = base + found if isinstance(found, int) else at + OVERHEAD
            if held < need <= self.size:
                more = self._pread(fd, max(window, need - at), at)
                if at + len(more) >= need:
                    data, base = more, at
                    continue
            rest = self._pread(fd, self.size - at, at)
            at = min(self.size, at + resync(rest, 0, self.salt, expected))
            data, base = self._pread(fd, window, at), at
            if not data:
                break
        self._lost_before(expected, self.next, self.size, report)

    def _pread(self, fd: int, size: int, at: int) -> bytes:
        try:
            return os.pread(fd, min(size, self.size - at), at)
        except OSError as error:
            raise disk_error("read", self.path, error) from error

    def _lost_before(
        self, first: int, stop: int, offset: int, report: Callable[[str], None]
    ) -> None:
        if stop > first and self.lose(first, stop - 1):
            report(
                f"{self.path} is damaged before offset {offset}: entries {first} to {stop - 1} "
                f"of ledger {self.ledger} are lost, the rest is served."
            )
