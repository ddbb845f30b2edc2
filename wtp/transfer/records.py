"""What a receiving folder remembers: files that have come, and files that are coming.

<folder>/.wtp-files/received.jsonl    a line for each file that was put in its place
<folder>/.wtp-files/<key>.json        what is known of a file that is not whole yet
<folder>/.wtp-files/lock              held by the one process that receives into the folder
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from wtp.errors import StorageError
from wtp.transfer.faults import writing
from wtp.transfer.names import HIDDEN, Names
from wtp.transfer.parts import Announcement

MAX_REMEMBERED = 100_000
"""Received files that are remembered; older ones would be received again if they came again."""


@dataclass(frozen=True, slots=True)
class Coming:
    """A file that is not whole yet.

    Attributes:
        track: Its full track.
        run: The publisher run that sent of it last.
        announcement: What it will be.
        names: Its place in the folder.
        sha256: As its end said; empty before that.
    """

    track: str
    run: str
    announcement: Announcement
    names: Names
    sha256: str = ""


class Records:
    """The hidden folder. Every call blocks: for a thread.

    Args:
        folder: The receiving folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / HIDDEN
        self._lock = -1
        self._received: OrderedDict[str, str] = OrderedDict()

    def open(self) -> None:
        """Make and lock the hidden folder, and read what was received.

        Raises:
            StorageError: It cannot be written, or another process receives here.
        """
        with writing(str(self.folder)):
            with contextlib.suppress(FileExistsError):
                self.folder.mkdir(mode=0o700)
            if self.folder.is_symlink() or not self.folder.is_dir():
                raise StorageError(
                    f"{self.folder} is no folder.", hint="Remove it, or choose another --save."
                )
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            self._lock = os.open(self.folder / "lock", flags, 0o600)
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self.close()
                raise StorageError(
                    f"Another process receives files into {self.folder.parent}.",
                    hint="Give each its own folder: --save DIR.",
                    code="busy",
                ) from None
            self._read()

    def close(self) -> None:
        """Unlock it."""
        if self._lock >= 0:
            os.close(self._lock)
        self._lock = -1

    def stem(self, key: str) -> Path:
        """Path of a coming file's files, without their endings."""
        return self.folder / key

    def received_in(self, key: str) -> str | None:
        """The publisher run whose file was received; None when none was."""
        return self._received.get(key)

    def received(self, key: str, run: str) -> None:
        """Note that a file is in its place.

        Raises:
            StorageError: The disk is full.
        """
        self._received[key] = run
        self._received.move_to_end(key)
        with writing(str(self._list)), self._list.open("a", encoding="ascii") as out:
            out.write(json.dumps({"key": key, "run": run}) + "\n")

    def coming(self, key: str, one: Coming) -> None:
        """Note what is known of a file that is coming.

        Raises:
            StorageError: The disk is full.
        """
        path = self.stem(key).with_suffix(".json")
        fresh = path.with_suffix(".new")
        values = {
            "track": one.track,
            "run": one.run,
            "announcement": asdict(one.announcement),
            "names": one.names,
            "sha256": one.sha256,
        }
        with writing(str(path)):
            fresh.write_text(json.dumps(values), "ascii")
            fresh.replace(path)

    def unfinished(self) -> Iterator[tuple[str, Coming]]:
        """Files of earlier runs that were not whole; damaged notes are left out."""
        for path in sorted(self.folder.glob("*.json")):
            try:
                values = json.loads(path.read_text("ascii"))
                about = Announcement(**values["announcement"])
                names = tuple(values["names"])
                found = Coming(values["track"], values["run"], about, names, values["sha256"])
            except (OSError, ValueError, TypeError, KeyError):
                continue
            yield path.stem, found

    @property
    def _list(self) -> Path:
        return self.folder / "received.jsonl"

    def _read(self) -> None:
        """Read the list; lines that a full disk or a kill cut short are left out."""
        try:
            lines = self._list.read_text("ascii", "replace").split("\n")
        except FileNotFoundError:
            return
        for line in lines:
            try:
                values = json.loads(line)
                self._received[values["key"]] = values["run"]
            except (ValueError, KeyError, TypeError):
                continue
        if len(lines) - 1 > len(self._received) or len(self._received) > MAX_REMEMBERED:
            self._rewrite()

    def _rewrite(self) -> None:
        while len(self._received) > MAX_REMEMBERED:
            self._received.popitem(last=False)
        fresh = self._list.with_suffix(".new")
        pairs = self._received.items()
        fresh.write_text(
            "".join(json.dumps({"key": key, "run": run}) + "\n" for key, run in pairs), "ascii"
        )
        fresh.replace(self._list)
