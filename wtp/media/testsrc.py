"""A moving test picture that carries its capture time as a block code a program can read.

The code lies in the top left corner: 6 rows of 16 square blocks, dark for 0 and bright for 1. It
holds the 64-bit time (big-endian, two's complement) and its CRC-32, so that a picture that was
damaged, scaled or is not ours reads as None and not as a wrong time.
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

from wtp.media.picture import Planes, check_size, empty_planes, plane_views

CODE_ROWS, CODE_COLUMNS = 6, 16
DARK, BRIGHT = 32, 220
"""Luma of a 0 and a 1: off the ends of the limited range, so that ringing is not clipped."""
NEUTRAL = 128

SPEED_PX_PER_S = 120
"""How fast the pattern moves; enough to make an encoder work, slow enough for 2.5 Mbit/s."""

GRAIN = 4
"""Strength of the texture in luma steps: brings the encoded sizes near those of real footage."""


def block_px(width: int, height: int) -> int:
    """Side of one block of the code in pixels: 16 at 640x480, so that blocks fall on macroblocks.

    Returns:
        A multiple of 4, or 0 when the picture is too small for a code (under 160 x 48).
    """
    return min(width // 40, height // 12) & ~3


def write_code(planes: Planes, capture_us: int) -> None:
    """Draw `capture_us` into the top left corner; does nothing when the picture is too small.

    Args:
        planes: The picture, changed in place.
        capture_us: Unix time in µs.
    """
    y, u, v = plane_views(planes)
    side = block_px(y.shape[1], y.shape[0])
    if not side:
        return
    number = capture_us.to_bytes(8, "big", signed=True)
    code = number + zlib.crc32(number).to_bytes(4, "big")
    bits = np.unpackbits(np.frombuffer(code, np.uint8)).reshape(CODE_ROWS, CODE_COLUMNS)
    blocks = np.where(bits, np.uint8(BRIGHT), np.uint8(DARK))
    rows, columns = CODE_ROWS * side, CODE_COLUMNS * side
    y[:rows, :columns] = blocks.repeat(side, axis=0).repeat(side, axis=1)
    u[: rows // 2, : columns // 2] = NEUTRAL
    v[: rows // 2, : columns // 2] = NEUTRAL


def read_code(planes: Planes) -> int | None:
    """Read the time that `write_code` drew.

    Returns:
        Unix time in µs, or None when there is no code or it is damaged.
    """
    height, width = planes.shape[0] * 2 // 3, planes.shape[1]
    side = block_px(width, height)
    if not side:
        return None
    corner = planes[: CODE_ROWS * side, : CODE_COLUMNS * side]
    blocks = corner.reshape(CODE_ROWS, side, CODE_COLUMNS, side)
    edge = side // 4
    middles = blocks[:, edge : side - edge, :, edge : side - edge].mean(axis=(1, 3))
    code = np.packbits(middles > (DARK + BRIGHT) / 2).tobytes()
    number, checksum = code[:8], int.from_bytes(code[8:], "big")
    if zlib.crc32(number) != checksum:
        return None
    return int.from_bytes(number, "big", signed=True)


class Pattern:
    """Draws the test picture: a gradient that scrolls, a box that wanders, and the code.

    Args:
        width: In pixels, even.
        height: In pixels, even.

    Raises:
        UsageError: The size is odd or impossible.
    """

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = check_size((width, height))
        self._period = 256
        self._luma = _stripes(width + self._period, height)
        self._u, self._v = _tints(width // 2 + self._period // 2, height // 2)
        self._box = min(width, height) // 6 & ~1

    def draw(self, capture_us: int) -> Planes:
        """Draw the picture of one moment: the same time gives the same picture.

        Args:
            capture_us: Unix time in µs; goes into the code and moves the pattern.
        """
        planes = empty_planes(self.width, self.height)
        y, u, v = plane_views(planes)
        moved = capture_us * SPEED_PX_PER_S // 1_000_000
        shift = moved % self._period & ~1
        y[:] = self._luma[:, shift : shift + self.width]
        u[:] = self._u[:, shift // 2 : shift // 2 + self.width // 2]
        v[:] = self._v[:, shift // 2 : shift // 2 + self.width // 2]
        self._draw_box(y, u, v, moved)
        write_code(planes, capture_us)
        return planes

    def _draw_box(self, y: Planes, u: Planes, v: Planes, moved: int) -> None:
        box = self._box
        left = _bounce(moved, self.width - box)
        top = _bounce(moved * 2 // 3, self.height - box)
        y[top : top + box, left : left + box] = 200
        half = box // 2
        u[top // 2 : top // 2 + half, left // 2 : left // 2 + half] = 90
        v[top // 2 : top // 2 + half, left // 2 : left // 2 + half] = 200


def _bounce(distance: int, room: int) -> int:
    """Position (even) of something that goes to and fro between 0 and `room`."""
    place = distance % (2 * room)
    return min(place, 2 * room - place) & ~1


def _stripes(width: int, height: int) -> NDArray[np.uint8]:
    across = np.abs(np.arange(width) % 256 - 128)
    down = np.arange(height) * 64 // height
    grain = np.random.default_rng(1).integers(0, GRAIN, (height, width))
    return (16 + across[None, :] + down[:, None] + grain).astype(np.uint8)


def _tints(width: int, height: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    wave = np.abs(np.arange(width) % 128 - 64)
    down = np.arange(height) * 64 // height
    u = 80 + wave[None, :] + down[:, None] // 2
    v = 176 - wave[None, :] // 2 - down[:, None]
    return u.astype(np.uint8), v.astype(np.uint8)
