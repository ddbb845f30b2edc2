"""Every picture source behind one interface.

A source is a blocking iterator for a thread of its own; it never runs on an event loop. `close` may
be called from any thread and ends the iterator promptly, also while it waits for the next picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol, runtime_checkable

from wtp.errors import UsageError
from wtp.media.pace import Pacer
from wtp.media.picture import Picture
from wtp.media.testsrc import Pattern

MAX_FPS = 1000.0
DEFAULT_SIZE = (640, 480)
DEFAULT_FPS = 30.0


class Source(Protocol):
    """Where pictures come from.

    Attributes:
        name: What it is, for people.
        width: Of every picture, in pixels, even.
        height: Of every picture, in pixels, even.
        fps: Nominal pictures per second.
    """

    name: str
    width: int
    height: int
    fps: float

    def pictures(self) -> Iterator[Picture]:
        """Deliver pictures in presentation order, each at its time; blocks; call it once.

        Raises:
            MediaError: The source failed on the way.
        """
        ...

    def close(self) -> None:
        """End `pictures` and give everything back; safe from any thread, more than once."""
        ...


@runtime_checkable
class Returning(Protocol):
    """A source that may be lost and come back.

    Attributes:
        returned: Called when it is back, in the thread that takes pictures; None at first.
    """

    returned: Callable[[], None] | None


def open_source(
    spec: str,
    *,
    size: tuple[int, int] | None = None,
    fps: float | None = None,
    loop: bool = False,
    now_us: Callable[[], int],
    pace: bool = True,
) -> Source:
    """Open `testsrc`, a file, a URL or `-` (standard input).

    Args:
        spec: Which.
        size: Width and height that pictures are scaled to; None keeps those of the source.
        fps: Most pictures per second; None keeps those of the source.
        loop: Start a file again when it ends, its times going on.
        now_us: The clock that capture stamps are read from.
        pace: Deliver at the pictures' own times; False delivers as fast as they can be made.

    Raises:
        MediaError: It cannot be opened, or there is no video in it.
        UsageError: Size or rate make no sense.
    """
    check_fps(fps)
    if spec == "testsrc":
        return PatternSource(size or DEFAULT_SIZE, fps or DEFAULT_FPS, now_us=now_us, pace=pace)
    from wtp.media.file import FileSource

    return FileSource(spec, size=size, fps=fps, loop=loop, now_us=now_us, pace=pace)


def check_fps(fps: float | None) -> None:
    """Refuse a rate that makes no sense.

    Raises:
        UsageError: Not within 0 < fps <= 1000.
    """
    if fps is not None and not 0 < fps <= MAX_FPS:
        raise UsageError(
            f"{fps:g} pictures per second is not possible.", hint=f"Use 0 < fps <= {MAX_FPS:g}."
        )


class PatternSource:
    """The test pattern, live: a picture that is due while nobody takes it is never drawn.

    Args:
        size: Width and height in pixels, even.
        fps: Pictures per second.
        now_us: The clock whose time is drawn into each picture.
        pace: False draws as fast as pictures are taken.
    """

    def __init__(
        self,
        size: tuple[int, int],
        fps: float,
        *,
        now_us: Callable[[], int],
        pace: bool = True,
    ) -> None:
        self.name = "testsrc"
        self.width, self.height = size
        self.fps = fps
        self._pattern = Pattern(*size)
        self._now_us = now_us
        self._pace = pace
        self._pacer = Pacer()

    def pictures(self) -> Iterator[Picture]:
        """Deliver pictures until closed; `pts_us` counts every slot, also those left out."""
        slot = 0
        while True:
            pts_us = round(slot * 1e6 / self.fps)
            late_us = self._pacer.wait(pts_us if self._pace else 0)
            if late_us is None:
                return
            if self._pace and late_us * self.fps >= 1e6:
                slot += int(late_us * self.fps / 1e6)
                pts_us = round(slot * 1e6 / self.fps)
            capture_us = self._now_us()
            planes = self._pattern.draw(capture_us)
            yield Picture(planes, self.width, self.height, capture_us, pts_us)
            slot += 1

    def close(self) -> None:
        """End `pictures`."""
        self._pacer.close()
