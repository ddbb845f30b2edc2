"""A file that was announced, and how far it is."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from wtp.clock import monotonic_us
from wtp.transfer.names import Names, fold, shown
from wtp.transfer.partfile import PartFile
from wtp.transfer.parts import Announcement
from wtp.transfer.records import Coming

SHOWN_RUNS = 5
RATE_US, NOTE_US = 2_000_000, 100_000
"""The rate is that of the last two seconds; figures are made anew ten times a second."""


@dataclass(slots=True)
class Incoming:
    """A file that was announced. `part`: None when its chunks are left out, for `reason`."""

    key: str
    about: Coming
    part: PartFile | None = None
    reason: str = ""

    @property
    def name(self) -> str:
        """Its name for messages."""
        return shown("/".join(self.about.names) or self.about.announcement.name)

    @property
    def place(self) -> Names:
        """Its place as a system that ignores case sees it."""
        return folded(self.about.names)

    def progress(self) -> str:
        """`3 of 240 chunks are missing (17, 40-41)`; empty when its chunks are left out."""
        if self.part is None:
            return ""
        chunks = self.about.announcement.chunks
        runs = []
        for first, last in self.part.missing():
            runs.append(f"{first}" if first == last else f"{first}-{last}")
            if len(runs) > SHOWN_RUNS:
                runs[-1] = "..."
                break
        missing = f"{chunks - self.part.got} of {chunks} chunks are missing"
        return f"{missing} ({', '.join(runs)})" if runs else "its end has not come"

    def figures(self) -> dict[str, Any]:
        """Its progress as plain values."""
        one, part = self.about.announcement, self.part
        return {
            "name": self.name,
            "track": self.about.track,
            "size_bytes": one.size_bytes,
            "bytes": part.got_bytes if part else 0,
            "missing": one.chunks - (part.got if part else 0),
            "ended": bool(self.about.sha256),
        }


class Rate:
    """Bytes a second over the last two seconds."""

    def __init__(self) -> None:
        self.total = 0
        self._past: deque[tuple[int, int]] = deque()

    def due(self) -> bool:
        """Whether the last figure is a tenth of a second old."""
        return not self._past or monotonic_us() - self._past[-1][0] >= NOTE_US

    def per_second(self) -> float:
        """The rate now."""
        now_us = monotonic_us()
        self._past.append((now_us, self.total))
        while now_us - self._past[0][0] > RATE_US:
            self._past.popleft()
        began_us, began = self._past[0]
        return (self.total - began) * 1e6 / (now_us - began_us) if now_us > began_us else 0.0


def folded(names: Names) -> Names:
    """Names as a system that ignores case sees them."""
    return tuple(fold(name) for name in names)


def alike(one: Announcement, other: Announcement) -> bool:
    """Whether chunks of one announcement fit the other."""
    first, second = ((a.name, a.size_bytes, a.chunk_bytes, a.folder) for a in (one, other))
    return first == second


def listed(values: Iterable[int]) -> str:
    """The first few of some numbers."""
    texts = [str(value) for value in values]
    return ", ".join(texts[:SHOWN_RUNS]) + (", ..." if len(texts) > SHOWN_RUNS else "")
