"""Which files are to be sent, and what they are called there."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from wtp.errors import MediaError, UsageError
from wtp.transfer.faults import reading
from wtp.transfer.names import shown
from wtp.transfer.parts import MAX_SIZE_BYTES


@dataclass(frozen=True, slots=True)
class Entry:
    """A file to send.

    Attributes:
        path: Where it is.
        name: What it is called there, `/` between folders.
        size_bytes: Its size when it was looked at.
        modified_ns: When it was changed last, Unix ns.
        folder: Whether it is a folder without anything in it.
        follow: Whether a link is followed: the path was named, not found.
    """

    path: Path
    name: str
    size_bytes: int
    modified_ns: int
    folder: bool = False
    follow: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """What there is to send. `skipped`: sentences on what was left out."""

    entries: tuple[Entry, ...]
    skipped: tuple[str, ...]

    @property
    def total_bytes(self) -> int:
        """Bytes of all files."""
        return sum(entry.size_bytes for entry in self.entries)


def find(paths: Sequence[Path]) -> Found:
    """All files of these paths, folders with everything below them; blocks.

    A file keeps its own name, one in a folder its place from that folder's name on. Links that are
    named are followed; links found in a folder, devices, pipes and sockets are left out.

    Raises:
        MediaError: A path does not exist or cannot be read, or is neither file nor folder.
        UsageError: Two files would have the same name, or there is nothing to send.
    """
    entries: list[Entry] = []
    skipped: list[str] = []
    for path in paths:
        entries.extend(_below(path, skipped))
    _distinct(entries)
    if not entries:
        raise UsageError("There is no file to send.", hint="Name at least one file or folder.")
    return Found(tuple(entries), tuple(skipped))


def _below(path: Path, skipped: list[str]) -> Iterable[Entry]:
    with reading(str(path)):
        info = path.stat()
    name = path.name if path.name not in ("", "..") else path.resolve().name
    if stat.S_ISREG(info.st_mode):
        yield _entry(path, name, info, follow=True)
    elif stat.S_ISDIR(info.st_mode):
        yield from _walk(path, name, skipped)
    else:
        raise MediaError(
            f"{shown(str(path))} is no file and no folder.",
            hint="--data sends what a pipe or device gives.",
        )


def _walk(folder: Path, name: str, skipped: list[str]) -> Iterator[Entry]:
    """Everything below a folder, in the order of its names; no recursion, so any depth."""
    waiting = [(folder, name)]
    while waiting:
        here, called = waiting.pop()
        with reading(str(here)), os.scandir(here) as found:
            children = sorted(found, key=lambda one: one.name)
        if not children and called:
            yield Entry(here, called, 0, 0, folder=True)
        folders = []
        for child in children:
            inner = f"{called}/{child.name}" if called else child.name
            with reading(child.path):
                info = child.stat(follow_symlinks=False)
            if stat.S_ISDIR(info.st_mode):
                folders.append((Path(child.path), inner))
            elif stat.S_ISREG(info.st_mode):
                yield _entry(Path(child.path), inner, info)
            else:
                what = "a link" if child.is_symlink() else "no file"
                skipped.append(f"{shown(child.path)} is {what} and was left out.")
        waiting += reversed(folders)


def _entry(path: Path, name: str, info: os.stat_result, *, follow: bool = False) -> Entry:
    if info.st_size > MAX_SIZE_BYTES:
        raise MediaError(
            f"{shown(str(path))} is larger than 4 TiB.", hint="Send it in parts, see split(1)."
        )
    return Entry(path, name, info.st_size, info.st_mtime_ns, follow=follow)


def _distinct(entries: Iterable[Entry]) -> None:
    seen: dict[str, Path] = {}
    for entry in entries:
        other = seen.setdefault(entry.name, entry.path)
        if other is not entry.path:
            raise UsageError(
                f"{shown(str(other))} and {shown(str(entry.path))} would have the same name.",
                hint="Send them one after the other, or give the folder that holds both.",
            )
