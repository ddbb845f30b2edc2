"""Files of the data folder: whole-file replacement with a checksum, and disk errors in words."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from zlib import crc32

from wtp.errors import StorageError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}


def disk_error(what: str, path: Path, cause: OSError) -> StorageError:
    """Translate an error of the operating system.

    Args:
        what: What was tried: "write", "open", ...
        path: The file or folder.
        cause: The error.
    """
    reason = (cause.strerror or str(cause)).lower()
    message = f"Cannot {what} {path}: {reason}."
    if cause.errno in _FULL:
        hint = "Free space on that disk or lower the retention; writing goes on by itself then."
        return StorageError(message, hint=hint, code="disk-full")
    if cause.errno in _READ_ONLY:
        hint = "Make the folder writable for this user, or choose another one with --data."
        return StorageError(message, hint=hint, code="read-only")
    return StorageError(message, hint="Check the disk, or choose another folder with --data.")


def write_all(fd: int, data: bytes) -> None:
    """Write all of `data`; a short write is followed by the rest or by its error.

    Raises:
        OSError: The disk refuses the rest.
    """
    while data:
        written = os.write(fd, data)
        if not written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        data = data[written:]


def sync_folder(folder: Path) -> None:
    """Force the names in a folder to the disk; a folder that is gone is no error."""
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def copy_path(path: Path) -> Path:
    """Where the last synced generation of a whole file is kept a second time."""
    return path.with_name(path.name + ".copy")


def write_whole(path: Path, content: bytes, *, sync: bool) -> None:
    """Replace a file in one step: a reader after a kill finds the new content or the old one.

    Args:
        path: The file.
        content: New content.
        sync: Force it to the disk, and write it a second time beside it, so that a power cut
            during later unsynced writes, or a bit that flips, does not lose it.

    Raises:
        StorageError: The disk refuses; the old content is still in place.
    """
    for target in (copy_path(path), path) if sync else (path,):
        fresh = path.with_name(path.name + ".new")
        try:
            with open(fresh, "wb") as file:
                file.write(b"%08x\n" % crc32(content) + content)
                if sync:
                    file.flush()
                    os.fsync(file.fileno())
            os.replace(fresh, target)
        except OSError as error:
            _remove_quietly(fresh)
            raise disk_error("write", path, error) from error
    if sync:
        sync_folder(path.parent)


def read_whole(path: Path, report: Callable[[str], None]) -> bytes | None:
    """Read what `write_whole` wrote; a damaged file gives way to its copy.

    Args:
        path: The file.
        report: Told about a checksum that does not fit.

    Returns:
        The content, or None when neither is there and good.

    Raises:
        StorageError: The disk refuses.
    """
    for candidate in (path, copy_path(path)):
        try:
            raw = candidate.read_bytes()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise disk_error("read", candidate, error) from error
        if raw[:9] == b"%08x\n" % crc32(raw[9:]):
            return raw[9:]
        report(f"{candidate} is damaged: its checksum, at offset 0, does not fit.")
    return None


def write_json(path: Path, value: object, *, sync: bool) -> None:
    """`write_whole` of a JSON value."""
    write_whole(path, json.dumps(value, separators=(",", ":")).encode(), sync=sync)


def read_json(path: Path, report: Callable[[str], None]) -> Any:
    """`read_whole` of a JSON value; None when there is none."""
    raw = read_whole(path, report)
    return None if raw is None else json.loads(raw)


def _remove_quietly(path: Path) -> None:
    with suppress(OSError):
        path.unlink(missing_ok=True)
