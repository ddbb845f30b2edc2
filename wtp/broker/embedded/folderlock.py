"""One broker per data folder: the lock file and the format file."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

from wtp.broker.embedded.files import disk_error
from wtp.errors import StorageError

FORMAT = b"wtp-broker 1\n"
"""Content of the file FORMAT; the number changes when older programs cannot read the folder."""


class FolderLock:
    """Holds a data folder for this process until `release`; the kernel lets go at its death.

    Args:
        folder: The data folder; made when it does not exist.

    Raises:
        StorageError: Code `locked` when another process holds it, `format` when it was written by
            another version, or what the disk answers.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "lock"
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o750)
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o640)
        except OSError as error:
            raise disk_error("open", self._path, error) from error
        try:
            self._take(folder)
            self._check_format(folder / "FORMAT")
            self.announce({})
        except BaseException:
            os.close(self._fd)
            raise

    def announce(self, addresses: dict[str, str]) -> None:
        """Write who holds the folder into the lock file, for `holder`.

        Args:
            addresses: Where this broker answers, e.g. `{"broker": "pulsar://127.0.0.1:6650"}`.
        """
        content = json.dumps({"pid": os.getpid(), **addresses}).encode() + b"\n"
        try:
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, content, 0)
        except OSError as error:
            raise disk_error("write", self._path, error) from error

    def release(self) -> None:
        """Let go of the folder."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _take(self, folder: Path) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = holder(folder).get("pid", "unknown")
            raise StorageError(
                f"Data folder {folder} is in use by the broker with process id {pid}.",
                hint=f"Use that broker, stop it (kill {pid}), or choose another folder (--data).",
                code="locked",
            ) from None
        except OSError as error:
            raise disk_error("lock", self._path, error) from error

    def _check_format(self, path: Path) -> None:
        try:
            found = path.read_bytes() if path.exists() else b""
            if not found:
                path.write_bytes(FORMAT)
        except OSError as error:
            raise disk_error("open", path, error) from error
        if found and found != FORMAT:
            raise StorageError(
                f"{path} says {found[:40]!r}: the folder was written by another version.",
                hint=f"Use that version, another folder (--data), or restore {FORMAT!r} in it.",
                code="format",
            )


def holder(folder: Path) -> dict[str, str]:
    """Return what the process that holds (or held) a folder said about itself: pid, addresses."""
    try:
        said = json.loads((folder / "lock").read_bytes())
    except (OSError, ValueError):
        return {}
    return {str(k): str(v) for k, v in said.items()} if isinstance(said, dict) else {}
