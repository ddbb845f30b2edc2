"""Glass to glass on a display: the reader of codes, the eye, the display, and the whole path."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wtp.bench import glass, glass_eye
from wtp.bench.glass_code import CodeReader, Luma, Place, camera_sides
from wtp.bench.glass_display import some_display
from wtp.bench.glass_eye import Look, see, watch
from wtp.bench.latency import configuration
from wtp.bench.path import LocalPath
from wtp.config.schema import PublishSettings
from wtp.errors import MediaError, MissingLibrary
from wtp.media.picture import Picture, empty_planes, plane_views
from wtp.media.testsrc import Pattern, write_code

NOW_US = 1_790_000_000_000_000
SIZE = (640, 480)
PATIENCE_S = 60.0


def now_us() -> int:
    return NOW_US


def screen(drawn_us: int, x: int, y: int, size: tuple[int, int] = (1280, 800)) -> Luma:
    """A desktop with the test picture somewhere on it."""
    desktop = np.random.default_rng(7).integers(0, 255, (size[1], size[0])).astype(np.uint8)
    film = plane_views(Pattern(*SIZE).draw(drawn_us))[0]
    desktop[y : y + SIZE[1], x : x + SIZE[0]] = film
    return desktop


def filmed(drawn_us: int, width: int, factor: float, x: int, y: int) -> Luma:
    """What a camera makes of it: another size, blurred, dim, noisy, with a bright surrounding."""
    film = plane_views(Pattern(*SIZE).draw(drawn_us))[0].astype(np.float32)
    rows, columns = (np.arange(int(side * factor)) / factor for side in (SIZE[1], SIZE[0]))
    scaled = film[rows.astype(int)][:, columns.astype(int)]
    height = width * 3 // 4
    view = np.full((height, width), 180.0, np.float32)
    scaled = scaled[: height - y, : width - x]
    view[y : y + scaled.shape[0], x : x + scaled.shape[1]] = scaled
    blurred = (view + np.roll(view, 1, 0) + np.roll(view, 1, 1) + np.roll(view, 2, 1)) / 4
    noise = np.random.default_rng(3).normal(0, 6, view.shape)
    return np.clip(blurred * 0.6 + 40 + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(("x", "y"), [(0, 0), (37, 211), (639, 319)])
def test_the_code_is_found_anywhere_on_a_screen(x: int, y: int) -> None:
    reader = CodeReader([16], now_us)
    assert reader.read(screen(NOW_US - 20_000, x, y)) == NOW_US - 20_000
    assert reader.place is not None
    assert abs(reader.place.x - x) <= 6
    assert abs(reader.place.y - y) <= 6
    assert reader.read(screen(NOW_US + 13_000, x, y)) == NOW_US + 13_000


@pytest.mark.parametrize(("width", "factor", "x", "y"), [(1280, 1.37, 90, 41), (640, 0.71, 60, 77)])
def test_the_code_is_found_before_a_camera(width: int, factor: float, x: int, y: int) -> None:
    reader = CodeReader(camera_sides(width), now_us)
    assert reader.read(filmed(NOW_US - 45_678, width, factor, x, y)) == NOW_US - 45_678


def test_what_is_no_code_of_now_is_not_read() -> None:
    reader = CodeReader([16], now_us)
    noise = np.random.default_rng(1).integers(0, 255, (800, 1280)).astype(np.uint8)
    assert reader.read(noise) is None
    assert reader.read(np.full((800, 1280), 90, np.uint8)) is None
    assert reader.read(screen(NOW_US - 3600 * 10**6, 8, 8)) is None
    assert reader.read(np.zeros((20, 20), np.uint8)) is None
    damaged = screen(NOW_US, 100, 100)
    damaged[180:196, 100:400] = 255
    assert reader.read(damaged) is None
    reader.place = Place(1270.0, 790.0, 16)
    assert reader.read(noise) is None


class Film:
    """A source of pictures whose codes and times are known: the stand-in for screen and camera."""

    name, width, height, fps = "film", 640, 480, 100.0

    def __init__(self, frames: list[tuple[int, int | None]]) -> None:
        """Take (when it is seen, when it was drawn; None: unreadable) of each picture."""
        self._frames = frames
        self.now_us = frames[0][0]
        self.closed = False

    def pictures(self) -> Iterator[Picture]:
        for at_us, drawn_us in self._frames:
            planes = empty_planes(self.width, self.height)
            planes[:] = 128
            if drawn_us is not None:
                write_code(planes, drawn_us)
            self.now_us = at_us
            yield Picture(planes, self.width, self.height, at_us, 0)

    def close(self) -> None:
        self.closed = True


def test_latency_is_that_of_the_first_sight_of_each_picture() -> None:
    """Pictures every 40 ms, visible after 30 ms, seen every 10 ms, every tenth unreadable."""
    frames: list[tuple[int, int | None]] = []
    for i in range(500):
        at_us = NOW_US + i * 10_000
        drawn_us = NOW_US + (at_us - NOW_US - 30_000) // 40_000 * 40_000
        frames.append((at_us, None if i % 10 == 9 else drawn_us))
    film = Film(frames)
    reader = CodeReader([16], lambda: film.now_us)
    sight = watch(film, reader, lambda: film.now_us, warmup_s=1.0, duration_s=3.0)
    assert film.closed
    assert sight is not None
    figures = sight.snapshot()
    assert 70 <= figures["n"] <= 77
    assert figures["p50_ms"] == pytest.approx(30, rel=0.01)
    assert figures["max_ms"] <= 40.1
    assert figures["sampling_ms"] == pytest.approx(10, rel=0.01)
    assert figures["grabbed"] == 301
    assert figures["unreadable"] == 30
    assert figures["confidence_percent"] == pytest.approx(90, abs=0.5)
    assert sum(second["n"] for second in figures["timeline"]) == figures["n"]


def test_a_display_without_a_code_is_given_up() -> None:
    late_us = round(glass_eye.SEARCH_S * 1e6) + 1
    film = Film([(NOW_US, None), (NOW_US + late_us, None), (NOW_US + late_us + 1, NOW_US)])
    reader = CodeReader([16], lambda: film.now_us)
    assert watch(film, reader, lambda: film.now_us, 0.0, 1.0) is None


def test_a_picture_that_moves_is_found_again() -> None:
    class Moved(Film):
        def pictures(self) -> Iterator[Picture]:
            for i, picture in enumerate(super().pictures()):
                if i >= 20:
                    planes = empty_planes(self.width, self.height)
                    planes[:] = 128
                    luma = plane_views(planes)[0]
                    luma[100:200, 200:460] = plane_views(picture.planes)[0][:100, :260]
                    picture = Picture(planes, self.width, self.height, picture.capture_us, 0)
                yield picture

    film = Moved([(NOW_US + i * 10_000, NOW_US + i * 10_000 - 5_000) for i in range(200)])
    reader = CodeReader([16], lambda: film.now_us)
    sight = watch(film, reader, lambda: film.now_us, 0.0, 10.0)
    assert sight is not None
    assert sight.frames - sight.readable == glass_eye.RESCUE
    assert sight.latency.n == sight.readable


async def test_no_display_and_no_xvfb_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MissingLibrary) as caught:
        async with some_display(SIZE, lambda _: None):
            pass
    assert "apt install xvfb" in caught.value.hint
    with pytest.raises(MediaError, match="cannot see a virtual display"):
        async with some_display(SIZE, lambda _: None, seen=True):
            pass


async def test_the_display_of_the_session_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":42")
    said: list[str] = []
    async with some_display(SIZE, said.append) as display:
        assert (display.name, display.own, said) == (":42", False, [])
        assert display.environment == {"DISPLAY": ":42"}


async def test_a_camera_that_is_not_there_is_said() -> None:
    look = Look({"DISPLAY": ":0"}, SIZE, 0, 0.0, 0.1, camera="/dev/video-none")
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(MediaError, match="no camera /dev/video-none") as caught:
            await see(look)
    assert caught.value.hint


HOLD = """
import asyncio
from wtp.bench.glass_display import some_display
async def main():
    async with some_display((320, 240), lambda text: None) as display:
        print(display.name, flush=True)
        await asyncio.sleep(300)
asyncio.run(main())
"""


TIED = """
import multiprocessing, time
from wtp.bench.glass_direct import tie_to_parent
def hold():
    tie_to_parent()
    print("held", flush=True)
    time.sleep(300)
if __name__ == "__main__":
    process = multiprocessing.get_context("spawn").Process(target=hold)
    process.start()
    process.join()
"""


def test_the_eye_ends_with_the_bench(tmp_path: Path) -> None:
    script = tmp_path / "tied.py"
    script.write_text(TIED)
    with subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        process.kill()
        # Its end comes when nobody has the pipe open any more: the child, too, has gone.
        assert process.stdout.read() == b""


def servers(*, child_of: int = 0, pid: int = 0) -> list[int]:
    """X servers that run: children of a process, or the one of that pid."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = stat.read_text(encoding="utf-8").partition("(")[2].rpartition(")")
        except OSError:
            continue
        state, parent = rest.split()[:2]
        one = int(stat.parent.name)
        if name == "Xvfb" and state != "Z" and (int(parent) == child_of or one == pid):
            found.append(one)
    return found


@pytest.mark.tool("Xvfb")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs prctl and /proc")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_its_own_display_ends_with_the_bench(how: signal.Signals) -> None:
    env = {key: value for key, value in os.environ.items() if key != "DISPLAY"}
    with subprocess.Popen(
        [sys.executable, "-c", HOLD], env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        name = process.stdout.readline().strip()
        assert name.startswith(":")
        (server,) = servers(child_of=process.pid)
        process.send_signal(how)
        process.wait(PATIENCE_S)
    end = time.monotonic() + PATIENCE_S
    while servers(pid=server) and time.monotonic() < end:
        time.sleep(0.05)
    assert not servers(pid=server)


@pytest.mark.e2e
@pytest.mark.device("display", "opencv")
@pytest.mark.tool("Xvfb")
@pytest.mark.timeout(180)
async def test_a_window_of_a_consumer_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole path in its processes, up to a window on a display of its own."""
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setattr(glass, "START_S", PATIENCE_S)
    small = PublishSettings(size="320x240", bitrate="500k")
    config = configuration(small, 1.0, 0.3, "interval")
    said: list[str] = []
    async with some_display((320, 240), said.append) as display, LocalPath() as path:
        await path.make_rooms()
        words = ["--source", "testsrc", "--size", "320x240", "--name", "bench", *path.room_args]
        await path.start("publish", words, path.router_args)
        run = await glass._look(path, config, path.topic("video"), display, said.append)
    assert "virtual display of its own (Xvfb :" in said[0]
    assert run["n"] > 0
    assert 0 < run["p50_ms"] <= run["p90_ms"] <= run["p99_ms"] <= run["max_ms"]
    assert 0 < run["sampling_ms"] <= run["sampling_p99_ms"]
    assert run["grabbed"] >= run["n"] + run["unreadable"]
    share = 100 * (run["grabbed"] - run["unreadable"]) / run["grabbed"]
    assert run["confidence_percent"] == pytest.approx(share, abs=0.01)
    decoded = run["drawn_to_decoded"]
    assert decoded["decoded"] == decoded["n"] + decoded["unreadable"]
    assert decoded["histogram"]
    for part in (run, decoded):
        assert part["dropped"] == sum(part["dropped_by_hop"]["consumer"].values())
    assert not servers(child_of=os.getpid())


@pytest.mark.parametrize("camera", ["", "0"])
async def test_figures_of_a_display_say_what_they_are(
    camera: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def through(*_: Any) -> dict[str, Any]:
        return {"p50_ms": 20.0, "baseline": {"p50_ms": 16.0}}

    monkeypatch.setenv("DISPLAY", ":42")
    monkeypatch.setattr(glass, "_through", through)
    monkeypatch.setattr(glass, "LocalPath", lambda _: contextlib.nullcontext())
    config = {**configuration(PublishSettings(), 1.0, 0.3, "interval"), "camera": camera}
    shown = await glass.run({**config, "display": True})
    assert (shown["from"], shown["to"], shown["ratio_p50"]) == ("drawn", "visible", 1.25)
    assert shown["clock_error_ms"] == 0
    assert shown["configuration"]["shown_on"] == ":42"
    assert any("sampling_ms" in note for note in shown["notes"])
    assert any("camera" in note for note in shown["notes"]) == bool(camera)
    decoded = await glass.run(config)
    assert (decoded["to"], decoded.get("notes")) == ("decoded", None)
