"""Pictures of several tracks side by side in one, as OpenCV shows it.

A picture is scaled once, as planes, and converted once, straight into its place. A single picture
is neither scaled nor framed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from wtp.media.libraries import load_cv2
from wtp.media.picture import Picture, Pixels, Planes, empty_planes, plane_views

MAX_WIDTH, MAX_HEIGHT = 1280, 960
"""Of a grid in pixels; the window scales it further."""

EMPTY_SIZE = (640, 480)
"""Of a grid without pictures, and of a tile that has none yet."""

SHADE = 3
"""Text stands on the picture with its light divided by this."""

TEXT_SCALE, LINE_PX = 0.45, 18
WHITE = (255, 255, 255)

Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Tile:
    """A place in the grid, in pixels."""

    left: int
    top: int
    width: int
    height: int


def arrange(sizes: Sequence[Size]) -> tuple[Size, list[Tile]]:
    """Where pictures go: rows of equal tiles, as square a grid as their number allows.

    Args:
        sizes: Width and height of each.

    Returns:
        The size of the whole, and a tile for each; a single picture has its own size.
    """
    if not sizes:
        return EMPTY_SIZE, []
    if len(sizes) == 1:
        return sizes[0], [Tile(0, 0, *sizes[0])]
    columns = math.ceil(math.sqrt(len(sizes)))
    rows = math.ceil(len(sizes) / columns)
    width, height = max(w for w, _ in sizes), max(h for _, h in sizes)
    scale = min(1.0, MAX_WIDTH / (columns * width), MAX_HEIGHT / (rows * height))
    width, height = max(2, int(width * scale) & ~1), max(2, int(height * scale) & ~1)
    places = [divmod(n, columns) for n in range(len(sizes))]
    tiles = [Tile(column * width, row * height, width, height) for row, column in places]
    return (columns * width, rows * height), tiles


def fit(size: Size, tile: Tile) -> Tile:
    """Where a picture of a size lies in its tile: in its proportions, in the middle, even."""
    scale = min(1.0, tile.width / size[0], tile.height / size[1])
    width, height = max(2, int(size[0] * scale) & ~1), max(2, int(size[1] * scale) & ~1)
    left = tile.left + (tile.width - width) // 2
    return Tile(left, tile.top + (tile.height - height) // 2, width, height)


class Grid:
    """Draws pictures and text; for one thread.

    Attributes:
        pixels: The whole, blue, green, red.

    Raises:
        MissingLibrary: OpenCV cannot be loaded.
    """

    def __init__(self) -> None:
        self._cv2 = load_cv2()
        self._sizes: dict[str, Size] = {}
        self._tiles: dict[str, Tile] = {}
        self.pixels: Pixels = np.zeros((EMPTY_SIZE[1], EMPTY_SIZE[0], 3), np.uint8)

    def place(self, sizes: Mapping[str, Size]) -> bool:
        """Lay the tiles out anew when names or sizes have changed; all is black then.

        Returns:
            Whether it did.
        """
        if sizes == self._sizes:
            return False
        (width, height), tiles = arrange(list(sizes.values()))
        self._sizes = dict(sizes)
        self._tiles = dict(zip(sizes, tiles, strict=True))
        self.pixels = np.zeros((height, width, 3), np.uint8)
        return True

    def draw(self, name: str, picture: Picture) -> None:
        """Draw a picture in its tile."""
        cv2 = self._cv2
        at = fit((picture.width, picture.height), self._tiles[name])
        planes = picture.planes
        if (at.width, at.height) != (picture.width, picture.height):
            planes = self._scaled(planes, at.width, at.height)
        cv2.cvtColor(planes, cv2.COLOR_YUV2BGR_I420, dst=self._part(at))

    def _scaled(self, planes: Planes, width: int, height: int) -> Planes:
        scaled = empty_planes(width, height)
        for plane, into in zip(plane_views(planes), plane_views(scaled), strict=True):
            size = (into.shape[1], into.shape[0])
            self._cv2.resize(plane, size, dst=into, interpolation=self._cv2.INTER_LINEAR)
        return scaled

    def _part(self, at: Tile) -> Pixels:
        return self.pixels[at.top : at.top + at.height, at.left : at.left + at.width]

    def write(self, name: str, lines: Sequence[str]) -> None:
        """Write lines at the lower end of a tile, over what is drawn there."""
        tile = self._tiles[name]
        self._write(self._part(tile), lines)

    def say(self, name: str, lines: Sequence[str]) -> None:
        """Write lines in a tile and nothing else."""
        part = self._part(self._tiles[name])
        part[:] = 0
        self._write(part, lines)

    def say_all(self, lines: Sequence[str]) -> None:
        """Write lines where no tile is."""
        self.pixels[:] = 0
        self._write(self.pixels, lines)

    def _write(self, part: Pixels, lines: Sequence[str]) -> None:
        cv2 = self._cv2
        height = min(part.shape[0], LINE_PX * len(lines) + 6)
        strip = part[part.shape[0] - height :]
        strip //= SHADE
        for number, line in enumerate(lines):
            text = line.encode("ascii", "replace").decode()
            at = (6, LINE_PX * (number + 1) - 2)
            drawn = np.ascontiguousarray(strip)
            cv2.putText(
                drawn, text, at, cv2.FONT_HERSHEY_SIMPLEX, TEXT_SCALE, WHITE, 1, cv2.LINE_AA
            )
            strip[:] = drawn
