"""The sender's journal: how many chunks of each file the broker has.

    <spool>/files-<transfer>.log      lines `<file> <chunks>` and `<file> done`; the last one counts

Objects are sent and receipted in their order, so what the broker has of a file are its first
chunks. A sender that was broken off reads it and sends the rest; at the end it is removed. It may
lag behind the receipts: then some chunks are sent twice, and the receiver leaves them out.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import threading
from pathlib import Path

from wtp.errors import UsageError
from wtp.transfer.faults import writing

_LINE = re.compile(r"([0-9a-f]{32}) ([0-9]{1,7}|done)")
DONE = -1


class Spool:
    """The journal of one transfer. Every call blocks: for a thread.

    Args:
        folder: Where journals are; is made.
        transfer: The transfer's identity.
    """

    def __init__(self, folder: Path, transfer: str) -> None:
        self.path = folder / f"files-{transfer}.log"
        self._file = -1
        self._whole = True
        self._lock = threading.Lock()

    def open(self) -> dict[str, int]:
        """Open or make it, for this process alone.

        Returns:
            Chunks that the broker has, by file; `DONE` when its end is there too.

        Raises:
            StorageError: The folder cannot be written.
            UsageError: Another process sends the same at this moment.
        """
        with writing(str(self.path)):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
            self._file = os.open(self.path, flags, 0o600)
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self.close()
                raise UsageError(
                    "Another wtp publish is sending these files to the same place.",
                    hint="Wait until it has ended.",
                    code="busy",
                ) from None
            text = self.path.read_text("ascii", "replace")
        self._whole = not text or text.endswith("\n")
        return parse(text)

    def write(self, counts: dict[str, int]) -> None:
        """Note how many chunks of these files the broker has.

        Raises:
            StorageError: The disk is full.
        """
        with self._lock, writing(str(self.path)):
            if self._file < 0 or not counts:
                return
            lines = [f"{file} {'done' if n == DONE else n}\n" for file, n in counts.items()]
            if not self._whole:  # a line that a full disk or a kill cut short
                lines.insert(0, "\n")
            data = "".join(lines).encode("ascii")
            self._whole = False
            while data:
                data = data[os.write(self._file, data) :]
            self._whole = True

    def remove(self) -> None:
        """All is done."""
        if self._file >= 0:
            with contextlib.suppress(OSError):
                self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Close it; it stays for the next run."""
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
            self._file = -1


def parse(text: str) -> dict[str, int]:
    """Chunks by file; lines that are none are left out."""
    counts: dict[str, int] = {}
    for line in text.split("\n")[:-1]:
        if match := _LINE.fullmatch(line):
            counts[match[1]] = DONE if match[2] == "done" else int(match[2])
    return counts
