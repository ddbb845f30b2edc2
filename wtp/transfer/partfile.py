"""One file while it is received: its bytes, and a journal of the chunks that are there.

<key>.part     the file; a chunk lies where it belongs
<key>.chunks   8 bytes for each chunk: index and CRC-32C, big endian, written after its bytes
<key>.json     the announcement and its track
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
from collections.abc import Iterator
from pathlib import Path

from wtp.transfer.faults import writing
from wtp.transfer.parts import Announcement, checksum

_RECORD = struct.Struct("!II")
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


class PartFile:
    """A file that is not whole yet. Every call blocks: for a thread.

    Args:
        stem: Path of its files without their endings.
        announcement: What it will be.

    Attributes:
        got: Chunks that are there.
        got_bytes: Their bytes.
    """

    def __init__(self, stem: Path, announcement: Announcement) -> None:
        self.path = stem.with_suffix(".part")
        self._journal = stem.with_suffix(".chunks")
        self._about = stem.with_suffix(".json")
        self._one = announcement
        self._name = announcement.name
        self._there = bytearray()
        self._files: tuple[int, int] | None = None
        self._hash = hashlib.sha256()
        self._hashed = 0
        self.got = 0
        self.got_bytes = 0
        self._load()

    # What is there

    def has(self, index: int) -> bool:
        """Whether a chunk is there."""
        at = index >> 3
        return at < len(self._there) and bool(self._there[at] & 1 << (index & 7))

    @property
    def whole(self) -> bool:
        """Whether all chunks are there."""
        return self.got == self._one.chunks

    def missing(self) -> Iterator[tuple[int, int]]:
        """Runs of chunks that are not there: the first, and the last."""
        start = -1
        for index in range(self._one.chunks):
            if self.has(index):
                if start >= 0:
                    yield start, index - 1
                start = -1
            elif start < 0:
                start = index
        if start >= 0:
            yield start, self._one.chunks - 1

    # Writing

    def add(self, index: int, crc32c: int, payload: bytes) -> None:
        """Write a chunk that is not there, then its line in the journal.

        Raises:
            StorageError: The disk is full; what was there before still is.
        """
        part, journal = self._open()
        with writing(self._name):
            self._write(part, payload, index * self._one.chunk_bytes)
            # A line that a full disk cut short is written over.
            self._write(journal, _RECORD.pack(index, crc32c), self.got * _RECORD.size)
        self._mark(index)
        if index == self._hashed:
            self._hash.update(payload)
            self._hashed += 1

    def check(self, sha256: str) -> bool:
        """Whether the file, all of it there, is what was sent; blocks longer after a restart."""
        part, _ = self._open()
        with writing(self._name):
            while self._hashed < self._one.chunks:
                self._hash.update(self._read(part, self._hashed))
                self._hashed += 1
        return self._hash.hexdigest() == sha256

    def weed(self) -> list[int]:
        """Forget the chunks whose bytes on disk are not those that came.

        Returns:
            Their indexes.
        """
        part, journal = self._open()
        bad: list[int] = []
        good: list[bytes] = []
        with writing(self._name):
            for index, crc32c in _records(os.pread(journal, self.got * _RECORD.size, 0)):
                if checksum(self._read(part, index)) == crc32c:
                    good.append(_RECORD.pack(index, crc32c))
                else:
                    bad.append(index)
            os.ftruncate(journal, 0)
            self._write(journal, b"".join(good), 0)
        self.close()
        self._load()
        return bad

    def forget(self) -> None:
        """Begin anew: nothing of it can be trusted."""
        _, journal = self._open()
        with writing(self._name):
            os.ftruncate(journal, 0)
        self.close()
        self._load()

    def close(self) -> None:
        """Close its files; they stay."""
        files, self._files = self._files, None
        for file in files or ():
            os.close(file)

    def remove(self) -> None:
        """Remove its files; the part itself may be elsewhere by now."""
        self.close()
        for path in (self._journal, self._about, self.path):
            with contextlib.suppress(OSError):
                path.unlink()

    def ready(self) -> Path:
        """Give it its full length and time; the path that can be moved into place.

        Raises:
            StorageError: It cannot be written.
        """
        part, _ = self._open()
        with writing(self._name):
            os.ftruncate(part, self._one.size_bytes)
            modified_ns = self._one.modified_us * 1000
            os.utime(part, ns=(modified_ns, modified_ns))
        self.close()
        return self.path

    def _open(self) -> tuple[int, int]:
        if self._files is None:
            with writing(self._name):
                part = os.open(self.path, _FLAGS, 0o666)
                try:
                    self._files = part, os.open(self._journal, _FLAGS, 0o600)
                except BaseException:
                    os.close(part)
                    raise
        return self._files

    def _load(self) -> None:
        """Take what the journal of an earlier run says, as far as the bytes can be there."""
        self._there = bytearray()
        self._hash, self._hashed = hashlib.sha256(), 0
        self.got = self.got_bytes = 0
        with writing(self._name):
            try:
                records = self._journal.read_bytes()
                size_bytes = self.path.stat().st_size
            except FileNotFoundError:
                return
        for count, (index, _) in enumerate(_records(records)):
            end = index * self._one.chunk_bytes
            fits = index < self._one.chunks and end + self._one.size_of(index) <= size_bytes
            if not fits or self.has(index):  # from there on it is none of ours: others overwrite it
                self.got = count
                return
            self._mark(index)

    def _mark(self, index: int) -> None:
        self._there.extend(bytes(max(0, (index >> 3) + 1 - len(self._there))))
        self._there[index >> 3] |= 1 << (index & 7)
        self.got += 1
        self.got_bytes += self._one.size_of(index)

    def _read(self, part: int, index: int) -> bytes:
        return os.pread(part, self._one.size_of(index), index * self._one.chunk_bytes)

    @staticmethod
    def _write(file: int, data: bytes, offset: int) -> None:
        rest = memoryview(data)
        while rest:
            count = os.pwrite(file, rest, offset)
            rest, offset = rest[count:], offset + count


def _records(data: bytes) -> Iterator[tuple[int, int]]:
    whole = len(data) - len(data) % _RECORD.size
    return _RECORD.iter_unpack(data[:whole])
