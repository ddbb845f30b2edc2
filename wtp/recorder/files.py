"""The files of a recording: new, whole up to the last fragment, with errors that say what to do."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from wtp.consumer.output import open_new, storage


class PartFile:
    """A file that libavformat writes to; it goes back and forth in it.

    When the disk is full, what was written of the last fragment is cut off again.

    Args:
        path: Where.
        force: Whether a file that exists may be replaced.

    Raises:
        UsageError: It exists and `force` is false.
        StorageError: It cannot be opened.
    """

    def __init__(self, path: Path, *, force: bool) -> None:
        self.path = path
        self.size_bytes = 0
        self._whole_bytes = 0
        self._at = 0
        self._descriptor = open_new(path, force=force)

    def write(self, data: bytes) -> int:
        """Write all of it where we are.

        Raises:
            StorageError: The disk is full, ...
        """
        rest = memoryview(data)
        try:
            with storage(str(self.path)):
                while rest:
                    written = os.pwrite(self._descriptor, rest, self._at)
                    self._at += written
                    rest = rest[written:]
        except BaseException:
            self._cut()
            raise
        self.size_bytes = max(self.size_bytes, self._at)
        return len(data)

    def mark(self) -> None:
        """What is written up to here can be played."""
        self._whole_bytes = self.size_bytes

    def _cut(self) -> None:
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, self._whole_bytes)
            self.size_bytes = self._whole_bytes

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size_bytes}[whence]
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        """Where we are."""
        return self._at

    @property
    def closed(self) -> bool:
        """Whether it is complete."""
        return self._descriptor < 0

    def close(self) -> None:
        """Close it; may be called more than once."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
