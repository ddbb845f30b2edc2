"""Reading a file to be sent: chunks ahead of the network, the SHA-256 on the way."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

from wtp.errors import MediaError
from wtp.transfer.faults import reading
from wtp.transfer.names import shown
from wtp.transfer.walk import Entry

HASH_BYTES = 64 * 1024 * 1024
"""How much of what was sent before is read for its hash in one go: under a second."""


class ChunkReader:
    """Chunks of a file, in order. Every call blocks: for a thread; calls wait for each other.

    Args:
        entry: The file.
        chunk_bytes: Size of a chunk.

    Attributes:
        index: The chunk that `read` returns next.

    Raises:
        MediaError: It cannot be opened, or is not what it was when it was looked at.
    """

    def __init__(self, entry: Entry, chunk_bytes: int) -> None:
        self.index = 0
        self._entry = entry
        self._chunk_bytes = chunk_bytes
        self._hash = hashlib.sha256()
        self._lock = threading.Lock()
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
        if not entry.follow:
            flags |= os.O_NOFOLLOW
        with reading(str(entry.path)):
            self._file = os.open(entry.path, flags)
        try:
            self._check()
        except BaseException:
            self.close()
            raise

    def read(self) -> bytes:
        """The next chunk; empty at the end.

        Raises:
            MediaError: It cannot be read, or it was changed meanwhile.
        """
        with self._lock:
            if self._chunk_bytes * self.index >= self._entry.size_bytes:
                self._check()
                return b""
            payload = self._take()
            self.index += 1
            return payload

    def skip(self, count: int) -> bool:
        """Read chunks for the hash only, until `count` are behind; a bounded time at once.

        Returns:
            Whether they are; call it again otherwise.
        """
        done = 0
        with self._lock:
            while self.index < count and done < HASH_BYTES:
                done += len(self._take())
                self.index += 1
            return self.index >= count

    def sha256(self) -> str:
        """Of all that was read, hex."""
        return self._hash.hexdigest()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
            self._file = -1

    def _take(self) -> bytes:
        size = min(self._chunk_bytes, self._entry.size_bytes - self._chunk_bytes * self.index)
        with reading(str(self._entry.path)):
            payload = os.read(self._file, size)
            while 0 < len(payload) < size and (more := os.read(self._file, size - len(payload))):
                payload += more
        if len(payload) < size:
            raise _changed(self._entry.path)
        self._hash.update(payload)
        return payload

    def _check(self) -> None:
        with reading(str(self._entry.path)):
            info = os.fstat(self._file)
        same = (info.st_size, info.st_mtime_ns) == (self._entry.size_bytes, self._entry.modified_ns)
        if not same:
            raise _changed(self._entry.path)


def _changed(path: Path) -> MediaError:
    return MediaError(
        f"{shown(str(path))} was changed while it was sent.",
        hint="Send it again when nobody writes to it.",
        code="file-changed",
    )
