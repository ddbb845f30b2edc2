"""The writing end of a topic's log: one active segment, sealed when it is full or old."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar
from zlib import crc32

from wtp.broker.embedded.files import disk_error, write_all
from wtp.broker.embedded.records import OVERHEAD, RECORD, RECORD_MAGIC, SUMS
from wtp.broker.embedded.recovery import save_index
from wtp.broker.embedded.segment import Segment
from wtp.broker.embedded.syncing import Syncing
from wtp.broker.embedded.tail import TailBudget
from wtp.broker.embedded.values import Entry, FsyncPolicy, Position
from wtp.errors import StorageError, UsageError

T = TypeVar("T")

SEGMENT_BYTES = 64 * 1024 * 1024
"""A segment this large is sealed: retention drops whole segments, recovery scans one per topic."""

COPY_BYTES = 16 * 1024
"""Below this a record is copied together for one write(); above, writev() saves the copy."""


@dataclass(slots=True)
class LogOptions:
    """What the logs of one store share.

    Attributes:
        fsync: When data is forced to the disk.
        new_ledger: Gives a ledger id above all earlier ones and above its argument.
        segment_bytes: Size at which a segment is sealed.
        budget: Memory for the newest entries.
        report: Takes a sentence about damage.
        out_of_files: Called when no file can be opened any more; closes idle ones.
        before_drop: Called with (topic, first position that stays) before segments are dropped.
    """

    fsync: FsyncPolicy
    new_ledger: Callable[[int], int]
    segment_bytes: int = SEGMENT_BYTES
    budget: TailBudget = field(default_factory=TailBudget)
    report: Callable[[str], None] = lambda sentence: None
    out_of_files: Callable[[], None] = lambda: None
    before_drop: Callable[[str, Position], None] = lambda topic, position: None


class Appender:
    """Appends entries of one ledger to segment files.

    Args:
        folder: The topic's folder.
        ledger: Ledger id of all entries appended.
        options: What the store's logs share.
        segments: All segments of the log, oldest first; each one begun is added.

    Attributes:
        ledger: Ledger id of all entries appended.
        next: Number of the next entry.
        active: The segment that is written, None before the first append and after sealing.
        tail: The newest entries in memory.
        syncing: fsync of what is written.
        segment_bytes: Size at which a segment is sealed.
    """

    def __init__(
        self, folder: Path, ledger: int, segments: list[Segment], options: LogOptions
    ) -> None:
        self.ledger = ledger
        self.next = 0
        self.active: Segment | None = None
        self.tail = options.budget.tail()
        self.syncing = Syncing(folder, options.fsync, lambda: self.next, self._sync_failed)
        self._folder = folder
        self._options = options
        self._segments = segments
        self.segment_bytes = options.segment_bytes
        self._fd = -1
        self._room = 0  # Size at which the open file is full; 0 when no file is open.
        self._failure: StorageError | None = None

    def append(self, blob: bytes, publish_ms: int, messages: int) -> Position:
        """Write one entry (see `TopicLog.append`)."""
        segment = self.active
        if segment is None or segment.size >= self._room:
            segment = self._ready()
        entry, size = self.next, len(blob)
        try:
            head = RECORD.pack(RECORD_MAGIC, size, entry, publish_ms, messages)
        except struct.error:
            raise UsageError("An entry has an impossible publish time or message count.") from None
        head_sum = crc32(head, segment.salt)
        head += SUMS.pack(head_sum, crc32(blob, head_sum))
        try:
            if size < COPY_BYTES:
                written = os.write(self._fd, head + blob)
            else:
                written = os.writev(self._fd, (head, blob))
            if written != OVERHEAD + size:
                write_all(self._fd, (head + blob)[written:])
        except OSError as error:
            self._cut_back(segment)
            raise disk_error("write", segment.path, error) from error
        segment.note(entry, segment.size, segment.size + OVERHEAD + size, publish_ms)
        self.next = entry + 1
        position = Position(self.ledger, entry)
        self.tail.put(entry, Entry(position, publish_ms, messages, blob))
        return position

    def seal(self) -> None:
        """End the active segment: write its index; the next append begins another one."""
        segment, self.active = self.active, None
        self.idle()
        if segment is not None:
            segment.changed_ms = last_write_ms(segment)
            save_index(segment)

    def idle(self) -> None:
        """Close the file until the next append."""
        self.syncing.retire()
        self._fd = -1
        self._room = 0

    def close(self, reason: StorageError) -> None:
        """Seal, sync and close; later appends raise `reason`."""
        self.seal()
        self.syncing.close()
        self._options.budget.drop(self.tail)
        self._failure = reason

    def _ready(self) -> Segment:
        """Return a segment with room whose file is open."""
        failure = self._failure or self.syncing.failure
        if failure:
            raise failure
        segment = self.active
        if segment is not None and segment.size < self.segment_bytes:
            self._fd = self._open(partial(_reopen, segment))
        else:
            self.seal()
            create = partial(Segment.create, self._folder, self.ledger, self.next)
            segment, self._fd = self._open(create)
            self._segments.append(segment)
        self.syncing.watch(self._fd, new_file=True)
        self.active, self._room = segment, self.segment_bytes
        return segment

    def _sync_failed(self, sentence: str) -> None:
        self._room = 0  # The next append meets the failure in `_ready`.
        self._options.report(sentence)

    def _open(self, open_file: Callable[[], T]) -> T:
        try:
            return open_file()
        except OSError as error:
            if error.errno not in {errno.EMFILE, errno.ENFILE}:
                raise disk_error("open a segment in", self._folder, error) from error
        self._options.out_of_files()
        try:
            return open_file()
        except OSError as error:
            raise disk_error("open a segment in", self._folder, error) from error

    def _cut_back(self, segment: Segment) -> None:
        """Take back what an append that failed has left in the file."""
        try:
            os.ftruncate(self._fd, segment.size)
            os.lseek(self._fd, segment.size, os.SEEK_SET)
        except OSError as error:
            self._failure = disk_error("repair", segment.path, error)
            self._room = 0
            self._options.report(
                f"{segment.path} may have a torn record at offset {segment.size}: "
                "the topic takes no more entries until it is opened again."
            )


def _reopen(segment: Segment) -> int:
    fd = os.open(segment.path, os.O_RDWR)
    os.lseek(fd, segment.size, os.SEEK_SET)
    return fd


def last_write_ms(segment: Segment) -> int:
    """Return the Unix time of the last write to a segment's file, in milliseconds."""
    try:
        return segment.path.stat().st_mtime_ns // 1_000_000
    except OSError:
        return segment.created_ms
