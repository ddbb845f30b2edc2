"""Where decoded pictures go: a window, or the terminal."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wtp.errors import MediaError, MissingLibrary, UsageError
from wtp.media.libraries import load_cv2
from wtp.media.picture import Picture, Pixels, plane_views

X11_FOLDER = Path("/tmp/.X11-unix")  # noqa: S108 - where X servers put their sockets
X11_PORT = 6000
_CONNECT_S = 1.0

SAMPLES = 3
"""Pixels looked at per side of one half block; more looks the same and costs time."""


class WindowSink:
    """A window on the desktop; use it from one thread, the main one where possible.

    Make it before PyAV is loaded: the wheels of both bring X libraries of their own, and with
    PyAV's loaded first OpenCV waits for ever.

    Args:
        title: Of the window.

    Attributes:
        key: Code of the key that was pressed in the last turn; -1 for none.

    Raises:
        MediaError: There is no display.
        MissingLibrary: OpenCV cannot be loaded, or was built without windows.
    """

    def __init__(self, title: str) -> None:
        self._check_display()
        self._cv2 = load_cv2()
        self._title = title
        self._open = False
        try:
            plain = self._cv2.WINDOW_GUI_NORMAL  # without Qt's tool bar and status line
            flags = self._cv2.WINDOW_NORMAL | self._cv2.WINDOW_KEEPRATIO | plain
            self._cv2.namedWindow(title, flags)
        except self._cv2.error as error:
            raise MissingLibrary(
                "This OpenCV was built without windows.",
                hint="Use --preview, or install opencv-python instead of opencv-python-headless.",
            ) from error
        self._open = True
        self._size: tuple[int, int] | None = None
        self._full = False
        self.key = -1

    def show(self, picture: Picture) -> bool:
        """Show a picture.

        Returns:
            False when the window was closed or q or Escape was pressed: stop then.
        """
        return self.show_pixels(picture.bgr()) if self._open else False

    def show_pixels(self, pixels: Pixels) -> bool:
        """Show blue, green, red bytes (height x width x 3); returns as `show` does."""
        cv2 = self._cv2
        if self._open and self._size is not None and not self._visible():
            # imshow would open a closed window again.
            self.close()
        if not self._open:
            return False
        size = (pixels.shape[1], pixels.shape[0])
        if size != self._size:
            self._resize(size)
        cv2.imshow(self._title, pixels)
        return self.look_after()

    def _resize(self, size: tuple[int, int]) -> None:
        """Follow the size of what is shown, unless the viewer has chosen another."""
        cv2 = self._cv2
        now = tuple(cv2.getWindowImageRect(self._title)[2:])
        if self._size is None or now == self._size:
            cv2.resizeWindow(self._title, *size)
        self._size = size

    def look_after(self) -> bool:
        """Let the window system have its turn and take a key; returns as `show` does."""
        if not self._open:
            return False
        key = self._cv2.waitKey(1)
        self.key = key & 0xFF if key >= 0 else -1
        if self.key in (ord("q"), 27) or not self._visible():
            self.close()
        return self._open

    def turn_full(self) -> None:
        """Fill the screen, or stop doing so."""
        cv2 = self._cv2
        self._full = not self._full
        mode = cv2.WINDOW_FULLSCREEN if self._full else cv2.WINDOW_NORMAL
        cv2.setWindowProperty(self._title, cv2.WND_PROP_FULLSCREEN, mode)

    def close(self) -> None:
        """Close the window; may be called more than once."""
        if self._open:
            self._open = False
            if self._visible():
                self._cv2.destroyWindow(self._title)
            self._cv2.waitKey(1)

    def _visible(self) -> bool:
        cv2 = self._cv2
        try:
            return bool(cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) >= 1)
        except cv2.error:
            # After its last window is gone, Qt's part of OpenCV refuses even to be asked.
            return False

    @staticmethod
    def _check_display() -> None:
        # OpenCV's Qt ends the whole process when it finds no display; so look first.
        if not sys.platform.startswith("linux"):
            return
        display = os.environ.get("DISPLAY", "")
        if display and _answers(display):
            return
        problem = f"DISPLAY={display} does not answer" if display else "DISPLAY is not set"
        raise MediaError(
            f"There is no display for a window: {problem}.",
            hint="Run it in a desktop session, with ssh -X, or use --preview for the terminal.",
            code="no-display",
        )


def _answers(display: str) -> bool:
    """Whether an X server listens at `[host]:number[.screen]` (X(7), "display names")."""
    host, _, rest = display.rpartition(":")
    number = rest.partition(".")[0]
    if not number.isdecimal():
        return False
    if host in ("", "unix"):
        return any(
            _connects(address)
            for address in (str(X11_FOLDER / f"X{number}"), f"\0{X11_FOLDER}/X{number}")
        )
    try:
        socket.create_connection((host, X11_PORT + int(number)), _CONNECT_S).close()
    except (OSError, OverflowError):
        return False
    return True


def _connects(address: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_CONNECT_S)
        try:
            probe.connect(address)
        except OSError:
            return False
    return True


class PreviewSink:
    """Turns pictures into text: a half block per two pixels, in 24-bit colour.

    Args:
        columns: Width of the text in characters.
        rows: Its height in lines; a line shows two rows of pixels.

    Raises:
        UsageError: There is no room.
    """

    def __init__(self, columns: int, rows: int) -> None:
        if columns < 1 or rows < 1:
            raise UsageError(
                f"A preview of {columns}x{rows} characters has no room.", hint="Enlarge it."
            )
        self.columns, self.rows = columns, rows

    def lines(self, picture: Picture) -> list[str]:
        """Draw a picture, in its proportions, in the middle of the text.

        Returns:
            `rows` lines of `columns` visible characters, each ending with a colour reset.
        """
        wide, high = self._fit(picture.width, picture.height)
        colours = _sample(picture, wide, high)
        left = (self.columns - wide) // 2
        margin, rest = " " * left, " " * (self.columns - wide - left)
        above = (self.rows - high // 2) // 2
        blank = " " * self.columns
        drawn = [
            f"{margin}{_line(upper, lower)}\x1b[0m{rest}"
            for upper, lower in zip(colours[0::2], colours[1::2], strict=True)
        ]
        return [blank] * above + drawn + [blank] * (self.rows - above - len(drawn))

    def _fit(self, width: int, height: int) -> tuple[int, int]:
        """Size in half blocks, which are square, of the picture; the height is even."""
        scale = min(self.columns / width, self.rows * 2 / height)
        high = min(self.rows * 2, max(2, round(height * scale / 2) * 2))
        return min(self.columns, max(1, round(width * scale))), high


def _line(upper: list[list[int]], lower: list[list[int]]) -> str:
    """One line; a cell of the same colours as the one before it costs one character."""
    cells = []
    before = None
    for pair in zip(upper, lower, strict=True):
        if pair == before:
            cells.append("▀")
        else:
            (r, g, b), (s, h, c) = before = pair
            cells.append(f"\x1b[38;2;{r};{g};{b};48;2;{s};{h};{c}m▀")
    return "".join(cells)


def _sample(picture: Picture, wide: int, high: int) -> list[list[list[int]]]:
    """Mean colours of a grid of `high` x `wide` areas, as [row][column] = [r, g, b]."""
    y, u, v = (_means(plane, wide, high) for plane in plane_views(picture.planes))
    # BT.601, limited range to full range (ITU-R BT.601-7, section 2.5).
    light, blue, red = 1.164 * (y - 16), u - 128, v - 128
    rgb = np.stack(
        (light + 1.596 * red, light - 0.813 * red - 0.392 * blue, light + 2.017 * blue), axis=-1
    )
    cells: list[list[list[int]]] = np.clip(rgb + 0.5, 0, 255).astype(np.uint8).tolist()
    return cells


def _means(plane: NDArray[np.uint8], wide: int, high: int) -> NDArray[np.float32]:
    """Mean of `SAMPLES` x `SAMPLES` evenly spread pixels of each area; also enlarges."""
    height, width = plane.shape
    down = np.arange(high * SAMPLES) * height // (high * SAMPLES)
    across = np.arange(wide * SAMPLES) * width // (wide * SAMPLES)
    grid = plane[down][:, across].reshape(high, SAMPLES, wide, SAMPLES)
    means: NDArray[np.float32] = grid.mean(axis=(1, 3), dtype=np.float32)
    return means
