"""What a recording is asked to hold, and where it goes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from wtp.errors import StorageError, UsageError
from wtp.media.mux_formats import Container, container_of
from wtp.model import Kind
from wtp.replayer.when import EARLIEST, Moment

KINDS = (Kind.VIDEO, Kind.SCREEN, Kind.AUDIO, Kind.CHAT)
"""What can go into a recording."""

MIN_SEGMENT_S = 1.0
MAX_NAMED = 3


@dataclass(frozen=True, slots=True)
class RecordRequest:
    """What to record.

    Attributes:
        path: The first file; further ones are called `stem-002`, `stem-003`, ...
        kinds: Which kinds; none for all that a recording can hold.
        publisher: Only objects of this publisher; empty for all.
        track: Only tracks of this name; empty for all.
        start: Where to begin; None for now.
        end: Where to end, inclusive; None for the end of what is there.
        follow: Go on live at the end of what is there; implied when there is no start.
        segment_s: A new file after so long, at a key picture; 0 for never.
        force: Replace files that exist.
        wait: Wait for a broker or a room that is not there.
        duration_s: Seconds to record for, by the clock; 0 for no limit.
    """

    path: Path
    kinds: tuple[Kind, ...] = ()
    publisher: str = ""
    track: str = ""
    start: Moment | None = None
    end: Moment | None = None
    follow: bool = False
    segment_s: float = 0.0
    force: bool = False
    wait: bool = False
    duration_s: float = 0.0

    @property
    def container(self) -> Container:
        """What the files are, by the name's ending."""
        return container_of(self.path)

    @property
    def live(self) -> bool:
        """Whether it goes on until it is stopped."""
        return self.follow or (self.start is None and self.end is None)

    @property
    def moment(self) -> Moment:
        """Where to begin when it is not live from now on."""
        return self.start or EARLIEST

    def part(self, number: int) -> Path:
        """The file of a number, from 1 on."""
        if number == 1:
            return self.path
        return self.path.with_name(f"{self.path.stem}-{number:03d}{self.path.suffix}")

    def check(self) -> None:
        """Refuse what cannot be meant or written, before anything is asked.

        Raises:
            UsageError: The name has no container's ending, a file exists, ...
            StorageError: The folder is not there or cannot be written.
        """
        _ = self.container
        for kind in self.kinds:
            if kind not in KINDS:
                raise UsageError(
                    f"{kind} cannot go into a recording.",
                    hint=f"A recording holds {', '.join(KINDS)}; `wtp consume {kind} --save DIR` "
                    "saves others.",
                )
        if self.segment_s and self.segment_s < MIN_SEGMENT_S:
            raise UsageError("A segment is too short.", hint="Write --segment 10m, 1s at least.")
        if self.end is not None and self.follow:
            raise UsageError("--follow has no end, --to is one.", hint="Leave one of them out.")
        folder = self.path.parent
        if not folder.is_dir():
            raise StorageError(f"There is no folder {folder}.", hint=f"Make it: mkdir -p {folder}")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise StorageError(f"{folder} cannot be written.", hint="Choose another folder.")
        if self.path.is_dir():
            raise UsageError(f"{self.path} is a folder.", hint="Name a file in it.")
        if not self.force:
            self._check_free()

    def _check_free(self) -> None:
        parts = self.path.parent.glob(f"{_literal(self.path.stem)}-[0-9][0-9][0-9]*")
        taken = [path for path in (self.path, *sorted(parts)) if path.is_file()]
        taken = [path for path in taken if path.suffix == self.path.suffix]
        if taken:
            more = f" and {len(taken) - MAX_NAMED} more" if len(taken) > MAX_NAMED else ""
            names = ", ".join(str(path) for path in taken[:MAX_NAMED])
            raise UsageError(
                f"{names}{more} would be in the way.",
                hint="Choose another name, or --force to replace what is there.",
            )


def _literal(text: str) -> str:
    """A name as a pattern that matches it alone."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in text)
