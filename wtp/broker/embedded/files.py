"""Files of the data folder: whole-file replacement with a checksum, and disk errors in words."""

from __future__ import annotations

import errno
import os
from pathlib import Path
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


def old_path(path: Path) -> Path:
    """Where `write_whole` keeps the generation before."""
    return path.with_name(path.name + ".old")


def write_whole(path: Path, content: bytes, *, sync: bool) -> None:
    """Replace a file in one step; the generation before stays beside it with the suffix `.old`.

    A reader after a kill finds the new content or the old one, never a mixture.

    Args:
        path: The file.
        content: New content, without line structure of its own.
        sync: Force it to the disk before the old one gives way.

    Raises:
        StorageError: The disk refuses; the old content is still in place.
    """
    fresh = path.with_name(path.name + ".new")
    try:
        with open(fresh, "wb") as file:
            file.write(b"%08x\n" % crc32(content))
            file.write(content)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        if path.exists():
            os.replace(path, old_path(path))
        os.replace(fresh, path)
        if sync:
            sync_folder(path.parent)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise disk_error("write", path, error) from error


def read_whole(path: Path, damage: list[str]) -> bytes | None:
    """Read what `write_whole` wrote; a damaged file gives way to the generation before.

    Args:
        path: The file.
        damage: Gets a sentence when a checksum does not fit.

    Returns:
        The content, or None when there is no good generation.

    Raises:
        StorageError: The disk refuses.
    """
    for candidate in (path, old_path(path)):
        try:
            raw = candidate.read_bytes()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise disk_error("read", candidate, error) from error
        if raw[8:9] == b"\n" and raw[:8] == b"%08x" % crc32(raw[9:]):
            return raw[9:]
        damage.append(f"{candidate} is damaged (checksum at offset 0); an older copy is used.")
    return None
