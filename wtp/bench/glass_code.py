"""Finds and reads the test picture's block code wherever it stands: on a screen, before a camera.

`wtp.media.testsrc` draws the code into a corner of the picture; on a screen the window stands
somewhere, and before a camera the code has any size. The first bits of the time are known, as it is
about now: they are looked for at every place and size, and the checksum has the last word.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wtp.media.testsrc import CODE_COLUMNS, CODE_ROWS

Luma = NDArray[np.uint8]

CONTRAST = 40
"""Least difference of luma between a dark and a bright block."""

STEP = 0.4
"""Of a block, from one place that is tried to the next: the middle of a block is hit by one."""

SCALE_STEP = 1.02
"""From one size that is tried to the next: over 16 blocks it comes to a third of a block."""

SMALLEST_PX = 5.0
"""Blocks of fewer pixels cannot be told apart before a camera."""

SPREAD = 0.2
"""Of a block on each side of its middle: what is averaged."""

FAR_US = 60_000_000
"""A time further from now than this is none of ours, whatever its checksum says."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a code stands: left upper corner and side of a block, in pixels."""

    x: float
    y: float
    side: float


def camera_sides(width: int) -> list[float]:
    """Sides of a block that are tried where the size is not known.

    Args:
        width: Of the camera's picture; the code takes a fortieth of it to the whole.
    """
    found = [max(SMALLEST_PX, width / 160)]
    while found[-1] < width / CODE_COLUMNS:
        found.append(found[-1] * SCALE_STEP)
    return found


class CodeReader:
    """Reads the code of one picture after the other, and looks for it while it is not known where.

    Args:
        sides: Sides of a block that are possible, in pixels.
        now_us: The clock that draws the times, to within a minute.

    Attributes:
        place: Where the code was found; None before.
    """

    def __init__(self, sides: Sequence[float], now_us: Callable[[], int]) -> None:
        self.place: Place | None = None
        self._sides = sides
        self._now_us = now_us

    def read(self, luma: Luma) -> int | None:
        """The time in a picture, Unix µs; None when there is none that can be read."""
        if self.place is None:
            self.place = self.search(luma)
        return None if self.place is None else self._value(luma, self.place)[0]

    def search(self, luma: Luma) -> Place | None:
        """Where a code stands in a picture; the place at which it is read most clearly."""
        best, best_margin = None, 0.0
        for side in self._sides:
            for place in self._candidates(luma, side):
                value, margin = self._value(luma, place)
                if value is not None and margin > best_margin:
                    best, best_margin = place, margin
        return best

    def _candidates(self, luma: Luma, side: float) -> Iterator[Place]:
        """Places whose first row of blocks holds the first bits of a time of about now."""
        height, width = luma.shape
        xs = np.arange(0.0, width - CODE_COLUMNS * side + 1, side * STEP)
        ys = np.arange(0.0, height - CODE_ROWS * side + 1, side * STEP)
        if not (xs.size and ys.size):
            return
        columns = (xs[:, None] + (np.arange(CODE_COLUMNS) + 0.5) * side).astype(np.intp)
        rows = (ys + 0.5 * side).astype(np.intp)
        row = luma[rows[:, None, None], columns[None]].astype(np.int16)
        low, high = row.min(axis=2), row.max(axis=2)
        bits = row > ((low + high) // 2)[:, :, None]
        first = self._now_us().to_bytes(8, "big", signed=True)[: CODE_COLUMNS // 8]
        wanted = np.unpackbits(np.frombuffer(first, np.uint8)).astype(bool)
        hits = (bits == wanted).all(axis=2) & (high - low > CONTRAST)
        for at_y, at_x in np.argwhere(hits):
            yield Place(float(xs[at_x]), float(ys[at_y]), side)

    def _value(self, luma: Luma, place: Place) -> tuple[int | None, float]:
        """The time at a place, and how clearly the least clear block was told."""
        means = _means(luma, place)
        if means is None:
            return None, 0.0
        middle = (means.min() + means.max()) / 2
        code = np.packbits(means > middle).tobytes()
        number = int.from_bytes(code[:8], "big", signed=True)
        if zlib.crc32(code[:8]) != int.from_bytes(code[8:], "big"):
            return None, 0.0
        if abs(number - self._now_us()) > FAR_US:
            return None, 0.0
        return number, float(np.abs(means - middle).min())


def _means(luma: Luma, place: Place) -> NDArray[Any] | None:
    """Mean luma around the middle of each block; None where the code would stick out."""
    reach = max(0, int(place.side * SPREAD))
    around = np.arange(-reach, reach + 1)
    middles = [
        (start + (np.arange(count) + 0.5) * place.side).astype(np.intp)[:, None] + around
        for start, count in ((place.y, CODE_ROWS), (place.x, CODE_COLUMNS))
    ]
    rows, columns = middles
    if rows[-1, -1] >= luma.shape[0] or columns[-1, -1] >= luma.shape[1]:
        return None
    means: NDArray[Any] = luma[rows[:, :, None, None], columns[None, None]].mean(axis=(1, 3))
    return means
