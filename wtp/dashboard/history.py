"""The last two minutes of a figure, a point a second."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

POINTS = 120
"""Points of a history: two minutes."""

SERIES = (
    "objects_s", "bits_s", "dropped_s", "p50_ms", "p99_ms", "last_ms", "receipt_p99_ms"
)  # fmt: skip
"""Figures that have a history, of everything and of each track."""

MAX_TRACKS = 256
"""Tracks with a history; those that come later have none while these are there."""

Point = Mapping[str, float | None]


class History:
    """Histories of everything and of each track that is there."""

    def __init__(self) -> None:
        self._all = _empty()
        self._tracks: dict[str, dict[str, deque[float | None]]] = {}

    def add(self, whole: Point, tracks: Mapping[str, Point]) -> None:
        """Take the figures of one second; an unknown one (None) is a gap in the line."""
        _append(self._all, whole)
        for name in self._tracks.keys() - tracks.keys():
            del self._tracks[name]
        for name, point in tracks.items():
            if name not in self._tracks and len(self._tracks) < MAX_TRACKS:
                self._tracks[name] = _empty()
            if name in self._tracks:
                _append(self._tracks[name], point)

    def snapshot(self) -> dict[str, list[float | None]]:
        """The history of everything, oldest first, by figure."""
        return _plain(self._all)

    def track(self, name: str) -> dict[str, list[float | None]]:
        """The history of one track, oldest first, by figure; empty for a stranger."""
        return _plain(self._tracks.get(name, {}))

    def names(self) -> Iterable[str]:
        """Tracks that have a history."""
        return self._tracks.keys()


def _empty() -> dict[str, deque[float | None]]:
    return {name: deque(maxlen=POINTS) for name in SERIES}


def _append(lines: Mapping[str, deque[float | None]], point: Point) -> None:
    for name, line in lines.items():
        line.append(point.get(name))


def _plain(lines: Mapping[str, deque[float | None]]) -> dict[str, list[float | None]]:
    return {name: list(line) for name, line in lines.items()}
