"""Screens through mss behind the same interface as every other source."""

from __future__ import annotations

import importlib
import logging
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from wtp.errors import MediaError, MissingLibrary, UsageError
from wtp.media.frames import planes_of
from wtp.media.libraries import has_cv2, load_av, load_cv2
from wtp.media.pace import Pacer
from wtp.media.picture import Picture, Planes, check_size, even_size
from wtp.media.source import check_fps

DEFAULT_FPS = 15.0
LOST_TRIES, LOST_RETRY_S = 10, 1.0
"""How often, and how long apart, a screen that fails is opened again."""

REGION = re.compile(r"(-?\d{1,5}),(-?\d{1,5}),(\d{1,5})x(\d{1,5})")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Screen:
    """A part of the desktop.

    Attributes:
        number: What `--screen` takes; 0 is all screens together, -1 a region.
        left: Of its left edge on the desktop, in pixels; likewise `top`.
        width: In pixels; likewise `height`.
        name: What the system calls it; may be empty.
    """

    number: int
    left: int
    top: int
    width: int
    height: int
    name: str = ""

    @property
    def region(self) -> str:
        """As `--screen` takes it: `0,0,1920x1080`."""
        return f"{self.left},{self.top},{self.width}x{self.height}"

    @property
    def area(self) -> dict[str, int]:
        """As mss takes it."""
        names = ("left", "top", "width", "height")
        return {name: getattr(self, name) for name in names}

    def within(self, other: Screen) -> bool:
        """Whether it lies inside another."""
        return (
            self.left >= other.left
            and self.top >= other.top
            and self.left + self.width <= other.left + other.width
            and self.top + self.height <= other.top + other.height
        )


def load_mss() -> ModuleType:
    """Import mss.

    Raises:
        MissingLibrary: It cannot be loaded.
    """
    try:
        return importlib.import_module("mss")
    except (ImportError, OSError) as error:
        raise MissingLibrary(
            f"mss cannot be loaded, which screens need: {error}.",
            hint="Install it (pip install 'wtp[screen]'). All but --screen works without it.",
        ) from error


def list_screens() -> list[Screen]:
    """All screens together (number 0), then each.

    Raises:
        MediaError: There is no display.
        MissingLibrary: mss cannot be loaded.
    """
    with _Grabber() as grabber:
        return grabber.screens()


def open_screen(
    spec: str,
    *,
    size: tuple[int, int] | None = None,
    fps: float = DEFAULT_FPS,
    now_us: Callable[[], int],
) -> ScreenSource:
    """Open a screen.

    Args:
        spec: Its number from 1 on, 0 for all together, or a region `LEFT,TOP,WIDTHxHEIGHT`.
        size: Width and height it is scaled to; None keeps its own, less an odd row or column.
        fps: Pictures per second.
        now_us: The clock for capture stamps.

    Raises:
        MediaError: There is no display, or no such screen.
        MissingLibrary: mss cannot be loaded.
        UsageError: The argument, size or rate make no sense.
    """
    check_fps(fps)
    if size:
        check_size(size)
    screen = find_screen(spec, list_screens())
    return ScreenSource(screen, size=size, fps=fps, now_us=now_us)


def find_screen(spec: str, screens: list[Screen]) -> Screen:
    """The screen that somebody means.

    Raises:
        MediaError: There is none of that number, or the region lies outside.
        UsageError: It is neither a number nor a region.
    """
    listed = "; ".join(f"{s.number} ({s.width}x{s.height} at {s.left},{s.top})" for s in screens)
    hint = f"There are: {listed}; 0 is all together. A region lies inside 0."
    if spec.isdecimal():
        for screen in screens:
            if screen.number == int(spec):
                return screen
        raise MediaError(f"There is no screen {spec}.", hint=hint, code="no-screen")
    match = REGION.fullmatch(spec)
    if match is None:
        raise UsageError(
            f"{spec!r} is no screen.",
            hint="Use a number, or LEFT,TOP,WIDTHxHEIGHT such as 0,0,1280x720.",
        )
    left, top, width, height = (int(number) for number in match.groups())
    region = Screen(-1, left, top, width, height)
    if not region.within(screens[0]):
        raise MediaError(f"Region {spec} is not on the screen.", hint=hint, code="no-screen")
    return region


class ScreenSource:
    """Pictures of a screen at a steady rate; one that is due while nobody takes it is left out.

    Args:
        screen: Which part of the desktop.
        size: Scale to this; None keeps its own, less an odd last row or column.
        fps: Pictures per second.
        now_us: The clock for capture stamps.

    Raises:
        MediaError: It is too small or too large.
    """

    def __init__(
        self,
        screen: Screen,
        *,
        size: tuple[int, int] | None = None,
        fps: float = DEFAULT_FPS,
        now_us: Callable[[], int],
    ) -> None:
        number = screen.number
        self.name = f"screen {number}" if number >= 0 else f"screen region {screen.region}"
        self.width, self.height = size or even_size(screen.width, screen.height)
        self.fps = fps
        self._screen = screen
        self._now_us = now_us
        self._pacer = Pacer()
        self._lock = threading.Lock()
        self._running = False
        self._slot = 0

    def pictures(self) -> Iterator[Picture]:
        """Deliver pictures until closed.

        Raises:
            MediaError: The screen was lost and did not come back.
        """
        with self._lock:
            if self._running or self._pacer.closed:
                return
            self._running = True
        tries = 0
        while not self._pacer.closed:
            try:
                with _Grabber() as grabber:
                    for picture in self._taken(grabber):
                        if tries:
                            _log.warning("%s is back.", self.name)
                        tries = 0
                        yield picture
            except MediaError as error:
                tries += 1
                if tries == 1:
                    _log.warning("%s Trying again.", error.message)
                if tries > LOST_TRIES:
                    raise
                self._pacer.pause(LOST_RETRY_S)

    def close(self) -> None:
        """End `pictures`."""
        self._pacer.close()

    def _taken(self, grabber: _Grabber) -> Iterator[Picture]:
        while True:
            late_us = self._pacer.wait(round(self._slot * 1e6 / self.fps))
            if late_us is None:
                return
            self._slot += int(late_us * self.fps / 1e6)
            capture_us = self._now_us()
            planes = self._planes(grabber.grab(self._screen))
            pts_us = round(self._slot * 1e6 / self.fps)
            self._slot += 1
            yield Picture(planes, self.width, self.height, capture_us, pts_us)

    def _planes(self, bgra: Any) -> Planes:
        if not has_cv2():
            frame = load_av().VideoFrame.from_ndarray(np.ascontiguousarray(bgra), format="bgra")
            return planes_of(frame, self.width, self.height)
        cv2 = load_cv2()
        rows, columns = bgra.shape[:2]
        if columns - self.width in (0, 1) and rows - self.height in (0, 1):
            bgra = np.ascontiguousarray(bgra[: self.height, : self.width])
        else:
            bgra = cv2.resize(bgra, (self.width, self.height), interpolation=cv2.INTER_AREA)
        planes: Planes = cv2.cvtColor(bgra, cv2.COLOR_BGRA2YUV_I420)
        return planes


class _Grabber:
    """An open connection to the display, for the thread that made it.

    Raises:
        MediaError: There is no display.
        MissingLibrary: mss cannot be loaded.
    """

    def __init__(self) -> None:
        mss = load_mss()
        self._error: type[Exception] = mss.ScreenShotError
        _check_display()
        options = {"with_cursor": True} if sys.platform.startswith("linux") else {}
        try:
            self._mss: Any = mss.MSS(**options)
        except (self._error, OSError) as error:
            raise MediaError(
                f"The display {os.environ.get('DISPLAY', '')} cannot be opened.",
                hint="Check DISPLAY and that you may use it (xdpyinfo says), or start one: "
                "Xvfb :99 & DISPLAY=:99.",
                code="no-display",
            ) from error

    def __enter__(self) -> _Grabber:
        return self

    def __exit__(self, *_: object) -> None:
        self._mss.close()

    def screens(self) -> list[Screen]:
        found = []
        for number, one in enumerate(self._mss.monitors):
            name = "all screens" if number == 0 else str(one.get("output") or one.get("name") or "")
            left, top = int(one["left"]), int(one["top"])
            found.append(Screen(number, left, top, int(one["width"]), int(one["height"]), name))
        return found

    def grab(self, screen: Screen) -> Any:
        """Its pixels: rows x columns x (blue, green, red, unused)."""
        try:
            shot = self._mss.grab(screen.area)
        except (self._error, OSError) as error:
            raise MediaError(
                f"Screen {screen.region} delivers no more pictures.",
                hint="Check that it is still there; `wtp devices screens` lists all.",
                code="screen-lost",
            ) from error
        return np.frombuffer(shot.raw, np.uint8).reshape(shot.height, shot.width, 4)


def _check_display() -> None:
    """Say why there is nothing to see, before X says it in its own words.

    Raises:
        MediaError: There is no display, or one that shows nothing to other programs.
    """
    if not sys.platform.startswith("linux"):
        return
    if os.environ.get("WAYLAND_DISPLAY"):
        raise MediaError(
            "This is a Wayland session: it shows no program what is on the screen.",
            hint="Log in with X11 (Xorg), or pipe a recorder of your desktop into --source -. "
            "For an X server beside it, unset WAYLAND_DISPLAY.",
            code="wayland",
        )
    if not os.environ.get("DISPLAY"):
        raise MediaError(
            "There is no display: DISPLAY is not set.",
            hint="Run it inside the desktop session, or set DISPLAY=:0; without a screen, "
            "use --source testsrc.",
            code="no-display",
        )
