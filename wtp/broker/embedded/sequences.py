"""Producers' last sequence ids: a snapshot, and a scan of what was appended after it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from wtp.broker.embedded.files import read_json, write_json
from wtp.broker.embedded.log import TopicLog
from wtp.broker.embedded.values import EARLIEST, Position

MAX_PRODUCERS = 10_000
"""Names kept per topic, the longest silent go (brokerDeduplicationMaxNumberOfProducers)."""

SNAPSHOT_ENTRIES = 1000
"""A scan over more entries than this leaves a snapshot behind."""

_READ_ENTRIES = 500
_READ_BYTES = 1024 * 1024


class SequenceFile:
    """The sequence table of one topic.

    Args:
        path: The file.
        sync: Force it to the disk.
        report: Told about damage.
    """

    def __init__(self, path: Path, *, sync: bool, report: Callable[[str], None]) -> None:
        self._path = path
        self._sync = sync
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._dirty = False
        self._position = EARLIEST
        self._sequences: dict[str, int] = {}
        found = read_json(path, report)
        if found is not None:
            self._position = Position(*found["position"])
            self._sequences = found["sequences"]

    @property
    def used(self) -> bool:
        """Whether there is a snapshot."""
        return bool(self._sequences)

    def load(self, log: TopicLog) -> dict[str, int]:
        """Return each producer's last sequence id in a log."""
        with self._lock:
            self._check(log)
            scanned = self._advance(log, log.end)
        if scanned >= SNAPSHOT_ENTRIES:
            self.flush()
        return dict(self._sequences)

    def offer(self, sequences: Mapping[str, int], position: Position) -> bool:
        """Take a newer snapshot; tells whether a flush is due."""
        with self._lock:
            if position <= self._position:
                return False
            self._sequences, self._position = dict(sequences), position
            self._dirty = True
        return True

    def cover(self, log: TopicLog, stop: Position) -> None:
        """Have all entries below `stop` in the snapshot on the disk: they are about to be dropped.

        Raises:
            StorageError: The disk refuses.
        """
        with self._lock:
            self._check(log)
            self._advance(log, stop)
        self.flush()

    @property
    def due(self) -> bool:
        """Whether there is something to flush."""
        return self._dirty

    def discard(self) -> None:
        """The topic is being deleted: write nothing any more."""
        with self._writing, self._lock:
            self._dirty = False

    def flush(self) -> None:
        """Write the snapshot when it is newer than the file.

        Raises:
            StorageError: The disk refuses; the next flush tries again.
        """
        with self._writing:
            with self._lock:
                if not self._dirty:
                    return
                self._dirty = False
                kept = dict(list(self._sequences.items())[-MAX_PRODUCERS:])
                value = {"position": self._position, "sequences": kept}
            try:
                write_json(self._path, value, sync=self._sync)
            except BaseException:
                self._dirty = True
                raise

    def _check(self, log: TopicLog) -> None:
        """Drop a snapshot that speaks of entries that a power cut took from the log."""
        if self._position >= log.first and not log.valid(self._position):
            self._position, self._sequences = EARLIEST, {}

    def _advance(self, log: TopicLog, stop: Position) -> int:
        scanned = 0
        at = log.next_position(self._position)
        while at < stop:
            entries = log.read(at, _READ_ENTRIES, _READ_BYTES)
            for entry in entries:
                if entry.position >= stop:
                    break
                self._take(entry.blob)
                self._position = entry.position
                scanned += 1
            at = log.next_position(entries[-1].position) if entries else stop
        self._dirty = self._dirty or scanned > 0
        if len(self._sequences) > MAX_PRODUCERS:
            self._sequences = dict(list(self._sequences.items())[-MAX_PRODUCERS:])
        return scanned

    def _take(self, blob: bytes) -> None:
        named = sequence_of(blob)
        if named is not None:
            name, sequence = named
            last = self._sequences.pop(name, -1)  # Goes to the end: the longest silent are first.
            self._sequences[name] = max(last, sequence)


def sequence_of(blob: bytes) -> tuple[str, int] | None:
    """Return producer name and (highest) sequence id of an entry.

    None for a blob without them and for a chunk that is not the last one of its message, which
    does not count yet. Field numbers are those of MessageMetadata in PulsarApi.proto:
    producer_name 1, sequence_id 2, highest_sequence_id 24, num_chunks_from_msg 27, chunk_id 29.
    """
    at = 6 if blob[:2] == b"\x0e\x01" else 0
    start = at + 4
    stop = start + int.from_bytes(blob[at:start])
    if stop > len(blob):
        return None
    name: str | None = None
    numbers: dict[int, int] = {}
    try:
        while start < stop:
            tag, start = _varint(blob, start)
            kind = tag & 7
            if kind == 0:
                numbers[tag >> 3], start = _varint(blob, start)
                continue
            size, start = _varint(blob, start) if kind == 2 else (8 if kind == 1 else 4, start)
            if tag == 10:
                name = blob[start : start + size].decode()
            start += size
    except (IndexError, UnicodeDecodeError):
        return None
    sequence = numbers.get(24) or numbers.get(2)
    unfinished = 29 in numbers and numbers[29] != numbers.get(27, 1) - 1
    if name is None or sequence is None or unfinished:
        return None
    return name, sequence


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = data[at]
    if value < 128:
        return value, at + 1
    value &= 127
    shift = 7
    while True:
        at += 1
        byte = data[at]
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at + 1
        shift += 7
