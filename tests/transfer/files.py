"""Files as objects, for tests of the receiving end."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from wtp.transfer import parts
from wtp.transfer.inbox import Inbox
from wtp.transfer.parts import Announcement, Written

CHUNK_BYTES = 100
TRACK = "room/ann/file"


@dataclass
class Sent:
    """A file as a sender would send it; `chunks` may be tampered with."""

    name: str
    data: bytes
    file: str = ""
    chunk_bytes: int = CHUNK_BYTES
    modified_us: int = 1_700_000_000_000_000
    chunks: list[Written] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.file = (
            self.file or hashlib.sha256(self.name.encode("utf-8", "replace")).hexdigest()[:32]
        )
        size = self.chunk_bytes
        for index in range(-(-len(self.data) // size)):
            payload = self.data[index * size : (index + 1) * size]
            self.chunks.append((payload, parts.chunk_attributes(self.file, index, payload)))

    @property
    def head(self) -> Written:
        size = len(self.data)
        return parts.write_announcement(
            Announcement(self.file, "ee" * 16, self.name, size, self.modified_us, self.chunk_bytes)
        )

    @property
    def end(self) -> Written:
        sha256 = hashlib.sha256(self.data).hexdigest()
        return parts.write_end(parts.End(self.file, sha256, len(self.data)))

    @property
    def all(self) -> list[Written]:
        return [self.head, *self.chunks, self.end]


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def give(inbox: Inbox, objects: list[Written], track: str = TRACK, run: str = "r1") -> list[str]:
    return [inbox.take(track, run, attributes, payload) for payload, attributes in objects]


def files_in(folder: Path) -> dict[str, bytes]:
    """What a user sees there: the hidden folder is left out."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".wtp-files" not in path.parts
    }


def left_over(folder: Path) -> list[str]:
    """What is kept of unfinished files."""
    hidden = folder / ".wtp-files"
    return sorted(p.name for p in hidden.iterdir() if p.suffix in (".part", ".chunks", ".json"))


@contextmanager
def receiving(folder: Path, *, force: bool = False) -> Iterator[Inbox]:
    """An open inbox."""
    inbox = Inbox(folder, force=force)
    inbox.open()
    try:
        yield inbox
    finally:
        inbox.close()
