"""What a room needs of a real window, in a process of its own, since Qt keeps state."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.media.test_window import display

__all__ = ["display"]

pytestmark = [pytest.mark.device("display", "opencv"), pytest.mark.tool("Xvfb")]

SCRIPT = """
import cv2, numpy as np
from wtp.media.sink import WindowSink

def size():
    return tuple(cv2.getWindowImageRect("room")[2:])

def show(width, height, until):
    for _ in range(100):
        assert sink.show_pixels(np.zeros((height, width, 3), np.uint8))
        if size() == until:
            return
    raise AssertionError((width, height, size()))

sink = WindowSink("room")
show(320, 240, (320, 240))
show(640, 480, (640, 480))
sink.turn_full()
assert sink.look_after()
sink.turn_full()
assert sink.look_after()
cv2.resizeWindow("room", 200, 150)
show(640, 480, (200, 150))
show(320, 240, (200, 150))
pressed = iter([-1, ord("m"), -1, 27])
cv2.waitKey = lambda wait: next(pressed, -1)
keys = []
while sink.look_after():
    keys.append(sink.key)
assert keys == [-1, ord("m"), -1], keys
assert not sink.show_pixels(np.zeros((240, 320, 3), np.uint8))
print("done")
"""


def test_it_follows_the_grid_until_the_viewer_chooses_a_size(display: str) -> None:
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env=os.environ | {"DISPLAY": display},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == "done\n"
