from __future__ import annotations

import re

import numpy as np
import pytest

from wtp.errors import MediaError, UsageError
from wtp.media.picture import Picture
from wtp.media.sink import PreviewSink, WindowSink

from .footage import drawn

ESCAPE = re.compile(r"\x1b\[[0-9;]*m")
CELL = re.compile(r"\x1b\[38;2;(\d+);(\d+);(\d+);48;2;(\d+);(\d+);(\d+)m")


def halves(width: int, height: int) -> Picture:
    """White above, black below."""
    planes = np.full((height * 3 // 2, width), 128, np.uint8)
    planes[: height // 2] = 235
    planes[height // 2 : height] = 16
    return Picture(planes, width, height)


@pytest.mark.parametrize("grid", [(80, 23), (80, 46), (40, 23), (1, 1), (200, 60), (7, 31)])
@pytest.mark.parametrize("size", [(640, 480), (1280, 720), (160, 640)])
def test_lines_fill_the_given_space(grid: tuple[int, int], size: tuple[int, int]) -> None:
    columns, rows = grid
    lines = PreviewSink(columns, rows).lines(drawn(*size, 1)[0])
    assert len(lines) == rows
    for line in lines:
        visible = ESCAPE.sub("", line)
        assert len(visible) == columns
        assert set(visible) <= {" ", "▀"}
        assert "▀" not in line or "\x1b[0m" in line
    assert any("▀" in line for line in lines)


def test_proportions_are_kept() -> None:
    lines = [ESCAPE.sub("", line) for line in PreviewSink(80, 23).lines(drawn(640, 480, 1)[0])]
    assert max(line.count("▀") for line in lines) == 61
    wide = [ESCAPE.sub("", line) for line in PreviewSink(80, 40).lines(drawn(1280, 720, 1)[0])]
    assert sum("▀" in line for line in wide) == 22


def test_colours_are_those_of_the_picture() -> None:
    lines = PreviewSink(8, 3).lines(halves(80, 60))
    upper, middle, lower = (CELL.search(line) for line in lines)
    assert upper is not None
    assert middle is not None
    assert lower is not None
    assert upper.groups() == ("255",) * 6
    assert middle.groups() == ("255",) * 3 + ("0",) * 3
    assert lower.groups() == ("0",) * 6


def test_equal_neighbours_cost_one_character() -> None:
    lines = PreviewSink(80, 23).lines(halves(640, 480))
    assert all(len(CELL.findall(line)) == 1 for line in lines)


@pytest.mark.parametrize("display", ["", ":987", "127.0.0.1:9", "nonsense", ":x", "h:99999"])
def test_a_window_without_a_display(display: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", display)
    with pytest.raises(MediaError, match="DISPLAY") as caught:
        WindowSink("film")
    assert "--preview" in caught.value.hint
    assert caught.value.code == "no-display"


def test_a_preview_needs_room() -> None:
    with pytest.raises(UsageError, match="80x0"):
        PreviewSink(80, 0)
