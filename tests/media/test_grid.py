from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.watcher.fakes import code_of
from wtp.media.grid import EMPTY_SIZE, MAX_HEIGHT, MAX_WIDTH, Grid, arrange, fit
from wtp.media.picture import Picture
from wtp.media.testsrc import Pattern

pytestmark = pytest.mark.device("opencv")

SIDES = st.tuples(st.integers(8, 2000), st.integers(8, 1200)).map(lambda s: (s[0] * 2, s[1] * 2))


def picture(width: int, height: int, at_us: int = 7) -> Picture:
    return Picture(Pattern(width, height).draw(at_us), width, height)


@given(sizes=st.lists(SIDES, min_size=2, max_size=32))
def test_tiles_do_not_overlap_and_hold_their_pictures(sizes: list[tuple[int, int]]) -> None:
    (width, height), tiles = arrange(sizes)
    assert width <= MAX_WIDTH
    assert height <= MAX_HEIGHT
    taken = set()
    for size, tile in zip(sizes, tiles, strict=True):
        assert (tile.left, tile.top) not in taken
        taken.add((tile.left, tile.top))
        at = fit(size, tile)
        assert tile.left <= at.left <= at.left + at.width <= tile.left + tile.width <= width
        assert tile.top <= at.top <= at.top + at.height <= tile.top + tile.height <= height
        assert at.width % 2 == at.height % 2 == 0
        assert at.width >= 2 <= at.height


def test_a_single_picture_is_shown_as_it_is() -> None:
    grid = Grid()
    one = picture(320, 240)
    assert grid.place({"a": (320, 240)})
    assert not grid.place({"a": (320, 240)})
    grid.draw("a", one)
    assert (grid.pixels == one.bgr()).all()


def test_five_pictures_of_several_sizes_share_the_window_and_stay_readable() -> None:
    grid = Grid()
    sizes = {**{str(n): (640, 480) for n in range(4)}, "wide": (1280, 720)}
    grid.place(sizes)
    _, tiles = arrange(list(sizes.values()))
    for n in range(4):
        grid.draw(str(n), picture(640, 480, 1_700_000_000_000_000 + n))
    grid.draw("wide", picture(1280, 720))
    for n in range(4):
        at = fit((640, 480), tiles[n])
        assert (at.width, at.height) == (320, 240)
        part = grid.pixels[at.top : at.top + at.height, at.left : at.left + at.width]
        assert code_of(part) == 1_700_000_000_000_000 + n


def test_text_stands_at_the_lower_end_and_leaves_the_rest() -> None:
    grid = Grid()
    grid.place({"a": (320, 240)})
    one = picture(320, 240)
    grid.draw("a", one)
    grid.write("a", ["cam/video  320x240", "delay 60 ms \u2028"])
    assert (grid.pixels[:190] == one.bgr()[:190]).all()
    assert (grid.pixels[200:] != one.bgr()[200:]).any()
    grid.say("a", ["Waiting for a key frame."])
    assert not grid.pixels[:200].any()
    assert grid.pixels[200:].any()


def test_an_empty_grid_can_say_why() -> None:
    grid = Grid()
    assert grid.pixels.shape == (EMPTY_SIZE[1], EMPTY_SIZE[0], 3)
    grid.say_all(["Waiting for pictures."])
    assert grid.pixels.any()
