"""Screens: a virtual one, and none."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from itertools import islice

import numpy as np
import pytest

from wtp.clock import monotonic_us
from wtp.errors import MediaError, MissingLibrary, UsageError
from wtp.media import screen as subject
from wtp.media.screen import Screen, ScreenSource, find_screen, list_screens, open_screen

WIDTH, HEIGHT = 401, 301
ALL = Screen(0, 0, 0, 3000, 1080, "all screens")
TWO = [ALL, Screen(1, 0, 0, 1920, 1080), Screen(2, 1920, 0, 1080, 1080)]


@pytest.fixture(scope="module")
def display() -> Iterator[str]:
    """A virtual screen of an odd size, on a number that Xvfb chooses."""
    read, write = os.pipe()
    words = ["Xvfb", "-displayfd", str(write), "-screen", "0", f"{WIDTH}x{HEIGHT}x24", "-noreset"]
    with subprocess.Popen(words, pass_fds=[write], stderr=subprocess.DEVNULL) as server:
        os.close(write)
        with os.fdopen(read) as answer:
            number = answer.readline().strip()
        assert number, "Xvfb does not start"
        try:
            yield f":{number}"
        finally:
            server.terminate()


@pytest.fixture
def desktop(display: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)


@pytest.mark.device
@pytest.mark.usefixtures("desktop")
def test_a_screen_is_captured_at_its_rate_less_an_odd_row_and_column() -> None:
    assert [s.region for s in list_screens()] == [f"0,0,{WIDTH}x{HEIGHT}"] * 2
    source = open_screen("1", fps=50, now_us=monotonic_us)
    assert (source.width, source.height, source.fps) == (WIDTH - 1, HEIGHT - 1, 50)
    pictures = list(islice(source.pictures(), 5))
    source.close()
    assert {p.planes.shape for p in pictures} == {((HEIGHT - 1) * 3 // 2, WIDTH - 1)}
    assert all(p.pts_us % 20_000 == 0 for p in pictures)
    stamps = [p.capture_us or 0 for p in pictures]
    assert stamps == sorted(stamps)
    assert stamps[-1] - stamps[0] > 60_000
    assert list(source.pictures()) == []


SHOW = """
import cv2, numpy, sys
cv2.namedWindow("w", cv2.WINDOW_NORMAL)
cv2.resizeWindow("w", 400, 300)
cv2.moveWindow("w", 0, 0)
picture = numpy.zeros((300, 400, 3), numpy.uint8)
picture[:] = (255, 0, 0)
while cv2.imshow("w", picture) or cv2.waitKey(20) != 27:
    pass
"""


@pytest.mark.device
@pytest.mark.device("opencv")
@pytest.mark.usefixtures("desktop")
def test_what_a_program_shows_is_seen_in_its_colour() -> None:
    source = open_screen("40,60,64x64", fps=20, now_us=monotonic_us)
    with subprocess.Popen([sys.executable, "-c", SHOW], stderr=subprocess.DEVNULL) as program:
        try:
            for picture in islice(source.pictures(), 600):
                blue, green, red = picture.bgr()[32, 32].astype(int)
                if blue > 230 and green < 25 and red < 25:
                    break
            else:
                pytest.fail("The window is not seen.")
        finally:
            program.kill()
            source.close()


@pytest.mark.device
@pytest.mark.usefixtures("desktop")
@pytest.mark.parametrize("without_opencv", [False, True])
def test_a_region_scaled(monkeypatch: pytest.MonkeyPatch, without_opencv: bool) -> None:
    if without_opencv:
        monkeypatch.setattr(subject, "has_cv2", lambda: False)
    source = open_screen("10,20,101x51", size=(64, 48), now_us=monotonic_us)
    assert source.name == "screen region 10,20,101x51"
    picture = next(source.pictures())
    source.close()
    assert picture.planes.shape == (72, 64)
    assert picture.planes[:48].max() < 235


@pytest.mark.device
@pytest.mark.usefixtures("desktop")
def test_a_screen_that_is_lost_comes_back(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(subject, "LOST_RETRY_S", 0.01)
    failing = iter([False, False, True, True, False])
    real = subject._Grabber.grab

    def grab(self: subject._Grabber, screen: Screen) -> np.ndarray:
        if next(failing, False):
            raise MediaError("Screen 1 delivers no more pictures.", code="screen-lost")
        pixels: np.ndarray = real(self, screen)
        return pixels

    monkeypatch.setattr(subject._Grabber, "grab", grab)
    source = open_screen("1", fps=100, now_us=monotonic_us)
    assert len(list(islice(source.pictures(), 6))) == 6
    source.close()
    assert caplog.text.count("Trying again") == 1
    assert "screen 1 is back" in caplog.text


@pytest.mark.device
@pytest.mark.usefixtures("desktop")
def test_a_screen_that_stays_away_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "LOST_RETRY_S", 0.0)
    source = ScreenSource(Screen(1, 5000, 5000, 100, 100), now_us=monotonic_us)
    with pytest.raises(MediaError, match="delivers no more pictures"):
        next(source.pictures())


@pytest.mark.device
@pytest.mark.usefixtures("desktop")
def test_closing_ends_the_wait() -> None:
    source = open_screen("1", fps=0.1, now_us=monotonic_us)
    first = threading.Event()

    def take() -> None:
        for _ in source.pictures():
            first.set()

    thread = threading.Thread(target=take)
    thread.start()
    assert first.wait(60)
    source.close()
    thread.join(5)
    assert not thread.is_alive()


def test_screens_are_found_by_number_and_region() -> None:
    assert find_screen("2", TWO) is TWO[2]
    assert find_screen("0", TWO) is ALL
    assert find_screen("1920,0,640x480", TWO) == Screen(-1, 1920, 0, 640, 480)
    left = [Screen(0, -100, 0, 200, 100), Screen(1, -100, 0, 100, 100)]
    assert find_screen("-100,0,20x20", left).left == -100


@pytest.mark.parametrize("spec", ["3", "2900,0,200x100", "-1,0,100x100", "0,0,0x0"])
def test_what_is_not_on_the_desktop_lists_what_is(spec: str) -> None:
    if spec == "0,0,0x0":
        with pytest.raises(MediaError, match="0x0"):
            ScreenSource(find_screen(spec, TWO), now_us=monotonic_us)
        return
    with pytest.raises(MediaError, match=r"no screen|not on the screen") as caught:
        find_screen(spec, TWO)
    assert "2 (1080x1080 at 1920,0)" in caught.value.hint


@pytest.mark.parametrize("spec", ["", "main", "1x2", "0,0,100"])
def test_what_is_no_screen_at_all(spec: str) -> None:
    with pytest.raises(UsageError, match="is no screen"):
        find_screen(spec, TWO)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux")
@pytest.mark.parametrize(
    ("variables", "code", "says"),
    [
        ({}, "no-display", "DISPLAY is not set"),
        ({"DISPLAY": ":0", "WAYLAND_DISPLAY": "wayland-0"}, "wayland", "Wayland session"),
        ({"DISPLAY": ":4711"}, "no-display", "display :4711 cannot be opened"),
    ],
)
def test_no_display(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], code: str, says: str
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(MediaError, match=says) as caught:
        open_screen("1", now_us=monotonic_us)
    assert caught.value.code == code
    assert caught.value.hint


def test_without_mss_the_rest_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mss", None)
    with pytest.raises(MissingLibrary, match="mss cannot be loaded") as caught:
        list_screens()
    assert "wtp[screen]" in caught.value.hint
