"""What the window shows: the newest picture of every track in a grid, and words where none is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from wtp.watcher.roster import Publisher, Track

if TYPE_CHECKING:
    from wtp.media.grid import Grid
    from wtp.media.picture import Picture, Pixels

News: TypeAlias = "Sequence[tuple[Publisher, Track, Picture | None]]"
"""Every track with pictures, in the order of the grid, and its next picture where there is one."""


class Drawing:
    """Keeps a grid up to date; for one thread.

    Args:
        grid: Is drawn on.

    Attributes:
        names: Whether names and delays are drawn.
    """

    def __init__(self, grid: Grid, *, names: bool = False) -> None:
        self.names = names
        self._grid = grid
        self._pictures: dict[str, Picture] = {}
        self._said: dict[str, str] = {}

    @property
    def pixels(self) -> Pixels:
        """The whole, blue, green, red."""
        return self._grid.pixels

    def update(self, news: News) -> bool:
        """Draw what is new; returns whether anything has changed."""
        names = [track.name for _, track, _ in news]
        self._pictures = {n: p for n, p in self._pictures.items() if n in names}
        for _, track, picture in news:
            if picture is not None:
                track.size = (picture.width, picture.height)
                self._pictures[track.name] = picture
            elif track.refused:
                self._pictures.pop(track.name, None)
        moved = self._grid.place({name: self._size(name) for name in names})
        if moved:
            self._said = {}
        changed = moved
        for publisher, track, picture in news:
            shown = self._pictures.get(track.name) if moved else picture
            changed |= self._draw(publisher, track, shown)
        if not news:
            changed |= self._say("", ["Waiting for pictures."], self._grid.say_all)
        return changed

    def _size(self, name: str) -> tuple[int, int]:
        from wtp.media.grid import EMPTY_SIZE

        picture = self._pictures.get(name)
        return (picture.width, picture.height) if picture is not None else EMPTY_SIZE

    def _draw(self, publisher: Publisher, track: Track, picture: Picture | None) -> bool:
        name = track.name
        if picture is not None:
            self._grid.draw(name, picture)
            self._said.pop(name, None)
            if self.names:
                self._grid.write(name, [describe(publisher, track)])
            return True
        if name in self._pictures:
            return False  # it stands still until the next key frame
        lines = [f"{_short(track)}  {track.codec}", "Waiting for a key frame."]
        if track.refused:
            lines[1] = "This cannot be decoded here."
        return self._say(name, lines, lambda text: self._grid.say(name, text))

    def _say(self, name: str, lines: list[str], write: Callable[[list[str]], None]) -> bool:
        """Write lines unless they stand there already."""
        text = "\n".join(lines)
        if self._said.get(name) == text:
            return False
        self._said[name] = text
        write(lines)
        return True


def describe(publisher: Publisher, track: Track) -> str:
    """The line drawn on a picture: name, size, codec, delay and its parts."""
    size = "x".join(map(str, track.size))
    seen_us = publisher.shown_delay_us
    delay = "?" if seen_us is None or not publisher.timeline.known else f"{seen_us / 1000:.0f} ms"
    parts = [_short(track), size, track.codec, f"delay {delay}"]
    parts.append(f"buffer {track.buffered_us / 1000:.0f} ms")
    if publisher.sync.last_us is not None:
        parts.append(f"sync {publisher.sync.last_us / 1000:+.0f} ms")
    return "  ".join(parts)


def _short(track: Track) -> str:
    """Publisher and name of a track."""
    return track.name.partition("/")[2] or track.name
