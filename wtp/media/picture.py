"""A decoded picture, and views of its planes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from wtp.errors import MediaError, UsageError
from wtp.media.libraries import has_cv2, load_av, load_cv2

Planes: TypeAlias = NDArray[np.uint8]
"""I420: `height * 3 // 2` rows of `width` bytes, C-contiguous; Y, then U, then V.

Limited range and the BT.601 matrix, as OpenCV's `COLOR_BGR2YUV_I420` makes it; width and height are
even. Every source and decoder delivers this, whatever came in.
"""

Pixels: TypeAlias = NDArray[np.uint8]
"""`height` x `width` x 3 bytes."""

MIN_SIDE, MAX_SIDE = 16, 8192
"""Limits of width and height in pixels, so that a forged header cannot ask for gigabytes."""

MAX_PIXELS = 7680 * 4320
"""Largest picture, in pixels (8K UHD)."""


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A decoded picture (a frame).

    Attributes:
        planes: Its pixels; treat them as read-only, others may hold them too.
        width: In pixels, even.
        height: In pixels, even.
        capture_us: When it was captured, Unix µs, or None when unknown.
        pts_us: Presentation time within its source in µs; starts at 0.
    """

    planes: Planes
    width: int
    height: int
    capture_us: int | None = None
    pts_us: int = 0

    def bgr(self) -> Pixels:
        """The picture as blue, green, red bytes (height x width x 3)."""
        return _pixels(self.planes, "bgr")

    def rgb(self) -> Pixels:
        """The picture as red, green, blue bytes (height x width x 3)."""
        return _pixels(self.planes, "rgb")


def plane_views(planes: Planes) -> tuple[Planes, Planes, Planes]:
    """Views (no copies) of Y (height x width), U and V (each height/2 x width/2)."""
    width = planes.shape[1]
    height = planes.shape[0] * 2 // 3
    size, quarter = width * height, width * height // 4
    flat = planes.reshape(-1)
    chroma = (height // 2, width // 2)
    return (
        planes[:height],
        flat[size : size + quarter].reshape(chroma),
        flat[size + quarter :].reshape(chroma),
    )


def empty_planes(width: int, height: int) -> Planes:
    """Uninitialised planes for a picture of that (even) size."""
    return np.empty((height * 3 // 2, width), np.uint8)


def even_size(width: int, height: int) -> tuple[int, int]:
    """The size without the last odd column and row, which 4:2:0 cannot carry.

    Raises:
        MediaError: The size is outside what is handled.
    """
    check_pixels(width, height)
    return width & ~1, height & ~1


def check_pixels(width: int, height: int) -> None:
    """Refuse a size that no live picture has.

    Raises:
        MediaError: A side is outside 16..8192, or there are more pixels than 8K has.
    """
    sides = min(width, height) >= MIN_SIDE and max(width, height) <= MAX_SIDE
    if not sides or width * height > MAX_PIXELS:
        raise MediaError(
            f"A picture of {width}x{height} is not handled.",
            hint=f"Sides are {MIN_SIDE} to {MAX_SIDE} pixels, {MAX_PIXELS} pixels at most.",
        )


def check_size(size: tuple[int, int]) -> tuple[int, int]:
    """Return a size that a user asked for when it is possible.

    Raises:
        UsageError: A side is odd or outside 16..8192, or there are more pixels than 8K has.
    """
    width, height = size
    try:
        check_pixels(width, height)
    except MediaError as error:
        raise UsageError(error.message, hint=error.hint) from None
    if width % 2 or height % 2:
        raise UsageError(
            f"Size {width}x{height} is odd.",
            hint=f"Use even sides, for example {width & ~1}x{height & ~1}.",
        )
    return size


def _pixels(planes: Planes, order: str) -> Pixels:
    pixels: Any
    if has_cv2():
        cv2 = load_cv2()
        code = cv2.COLOR_YUV2BGR_I420 if order == "bgr" else cv2.COLOR_YUV2RGB_I420
        pixels = cv2.cvtColor(planes, code)
    else:
        frame = load_av().VideoFrame.from_ndarray(planes, format="yuv420p")
        pixels = frame.to_ndarray(format=f"{order}24", threads=1)
    result: Pixels = pixels
    return result
