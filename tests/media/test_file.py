from __future__ import annotations

import hashlib
import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from wtp.clock import monotonic_us
from wtp.errors import MediaError, UsageError
from wtp.media.file import FileSource, turned
from wtp.media.picture import plane_views
from wtp.media.source import open_source

from .footage import BASE_US, clip, drawn, frozen_clock, write_tone, write_video


def luma_numbers(source: FileSource) -> list[int]:
    """The number that each picture of a `write_video` file carries."""
    right = source.width * 3 // 4
    return [round((int(p.planes[source.height // 2, right]) - 20) / 5) for p in source.pictures()]


def unpaced(spec: Path | str, **options: object) -> FileSource:
    return FileSource(str(spec), now_us=frozen_clock, pace=False, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "size", "count"), [("bigbuckbunny", (1280, 720), 132), ("bikes", (640, 272), 250)]
)
def test_every_frame_once_in_presentation_order(
    name: str, size: tuple[int, int], count: int
) -> None:
    source = unpaced(clip(name))
    seen = [(p.pts_us, hashlib.md5(p.planes.tobytes()).digest()) for p in source.pictures()]
    assert (source.width, source.height, source.fps, source.damaged) == (*size, 25, 0)
    with av.open(clip(name)) as container:
        frames = list(container.decode(video=0))
    times = [round((f.pts or 0) * (f.time_base or 0) * 1_000_000) for f in frames]
    wanted = [hashlib.md5(f.to_ndarray().tobytes()).digest() for f in frames]
    assert [at for at, _ in seen] == [at - times[0] for at in times]
    assert [digest for _, digest in seen] == wanted
    assert len(seen) == count


def test_b_frames_come_in_presentation_order(tmp_path: Path) -> None:
    path = write_video(tmp_path / "b.mp4", 40, options={"bf": "3", "b_strategy": "0"})
    assert luma_numbers(unpaced(path)) == list(range(40))


def test_uneven_times_are_kept(tmp_path: Path) -> None:
    slots = [0, 1, 5, 6, 20, 21]
    path = write_video(tmp_path / "vfr.mkv", 6, fps=50, pts=slots)
    assert [p.pts_us for p in unpaced(path).pictures()] == [slot * 20_000 for slot in slots]


def test_times_that_start_late_start_at_zero(tmp_path: Path) -> None:
    path = write_video(tmp_path / "late.mkv", 3, fps=50, pts=[500, 501, 502])
    assert [p.pts_us for p in unpaced(path).pictures()] == [0, 20_000, 40_000]


def test_pictures_are_paced_and_stamped_with_the_time_they_are_due(tmp_path: Path) -> None:
    path = write_video(tmp_path / "paced.mp4", 10)
    source = open_source(str(path), now_us=monotonic_us)
    arrivals = [(p.capture_us, p.pts_us, monotonic_us()) for p in source.pictures()]
    start_us = arrivals[0][0]
    assert start_us is not None
    for capture_us, pts_us, arrived_us in arrivals:
        assert capture_us == start_us + pts_us
        assert arrived_us >= capture_us
    assert arrivals[-1][1] == 300_000
    assert arrivals[5][2] - (arrivals[5][0] or 0) < 30_000


def test_a_slow_taker_still_gets_every_frame(tmp_path: Path) -> None:
    path = write_video(tmp_path / "slow.mp4", 10, fps=100)
    source = FileSource(str(path), now_us=monotonic_us)
    pictures = source.pictures()
    first = next(pictures)
    time.sleep(0.15)
    rest = list(pictures)
    assert len(rest) == 9
    assert rest[-1].capture_us == (first.capture_us or 0) + 90_000


def test_unpaced_pictures_carry_the_time_they_were_made() -> None:
    source = unpaced(clip("bikes"))
    assert {p.capture_us for p in itertools.islice(source.pictures(), 5)} == {BASE_US}


def test_loop_goes_on_with_the_times() -> None:
    source = unpaced(clip("bikes"), loop=True)
    times = [p.pts_us for p in itertools.islice(source.pictures(), 501)]
    source.close()
    assert times == [40_000 * i for i in range(501)]


def test_loop_repeats_the_pictures(tmp_path: Path) -> None:
    path = write_video(tmp_path / "loop.mp4", 5, options={"bf": "2"})
    source = unpaced(path, loop=True)
    right = source.width * 3 // 4
    numbers = [
        round((int(p.planes[20, right]) - 20) / 5) for p in itertools.islice(source.pictures(), 12)
    ]
    source.close()
    assert numbers == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1]


@pytest.mark.parametrize(("fps", "count"), [(12.5, 125), (10, 100), (100, 250), (1, 10)])
def test_fps_limits(fps: float, count: int) -> None:
    source = unpaced(clip("bikes"), fps=fps)
    assert source.fps == min(fps, 25)
    times = [p.pts_us for p in source.pictures()]
    assert len(times) == count
    assert times[0] == 0


def test_size_scales() -> None:
    source = unpaced(clip("bikes"), size=(320, 180))
    picture = next(source.pictures())
    assert (source.width, source.height) == (320, 180) == (picture.width, picture.height)
    assert picture.planes.shape == (270, 320)
    full = next(unpaced(clip("bikes")).pictures())
    assert abs(plane_views(picture.planes)[0].mean() - plane_views(full.planes)[0].mean()) < 2


def test_odd_sizes_lose_a_row_and_a_column(tmp_path: Path) -> None:
    path = write_video(tmp_path / "odd.mkv", 4, size=(65, 49), codec="ffv1")
    source = unpaced(path)
    assert (source.width, source.height) == (64, 48)
    assert luma_numbers(source) == [0, 1, 2, 3]


@pytest.mark.parametrize("pix_fmt", ["yuv422p", "yuv444p", "yuv420p10le", "gray", "yuvj420p"])
def test_other_pixel_formats_become_i420(tmp_path: Path, pix_fmt: str) -> None:
    codec = "mjpeg" if pix_fmt == "yuvj420p" else "ffv1"
    path = write_video(tmp_path / "format.mkv", 3, codec=codec, pix_fmt=pix_fmt)
    assert luma_numbers(unpaced(path)) == [0, 1, 2]


@pytest.mark.parametrize("angle", [90, 180, 270])
def test_a_turned_video_is_shown_upright(tmp_path: Path, angle: int) -> None:
    path = write_video(tmp_path / "turned.mp4", 3, size=(64, 48), rotation=angle)
    picture = next(unpaced(path).pictures())
    assert (picture.width, picture.height) == ((64, 48) if angle == 180 else (48, 64))
    y = plane_views(picture.planes)[0].astype(int)
    top, bottom = y[0].mean(), y[-1].mean()
    left, right = y[:, 0].mean(), y[:, -1].mean()
    # The dark half is on the left; FFmpeg's display rotation turns counterclockwise.
    dark = min((top, "top"), (bottom, "bottom"), (left, "left"), (right, "right"))[1]
    assert dark == {90: "bottom", 180: "right", 270: "top"}[angle]


def test_turning_four_times_changes_nothing() -> None:
    (picture,) = drawn(64, 48, 1)
    once = turned(picture.planes, 1)
    assert once.shape == (96, 48)
    assert (turned(once, 3) == picture.planes).all()


def test_a_missing_file() -> None:
    with pytest.raises(MediaError, match="No such file") as caught:
        open_source("/nowhere/film.mp4", now_us=frozen_clock)
    assert caught.value.hint


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="cannot be opened"):
        open_source(str(tmp_path), now_us=frozen_clock)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = write_video(tmp_path / "secret.mp4", 2)
    path.chmod(0)
    with pytest.raises(MediaError, match="Permission denied"):
        open_source(str(path), now_us=frozen_clock)


@pytest.mark.parametrize("content", [b"", b"no film at all\n" * 50, bytes(5000)])
def test_a_file_that_is_no_video(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(content)
    with pytest.raises(MediaError, match=r"film\.mp4"):
        open_source(str(path), now_us=frozen_clock)


def test_a_file_with_sound_only(tmp_path: Path) -> None:
    path = write_tone(tmp_path / "tone.wav")
    with pytest.raises(MediaError, match=r"no video in .*only audio"):
        open_source(str(path), now_us=frozen_clock)


def test_a_codec_that_nobody_knows(tmp_path: Path) -> None:
    path = write_video(tmp_path / "known.mkv", 3)
    data = path.read_bytes()
    assert b"V_MPEG4/ISO/AVC" in data
    path.write_bytes(data.replace(b"V_MPEG4/ISO/AVC", b"V_NOONE/ISO/AVC"))
    with pytest.raises(MediaError, match=r"codec|can be decoded"):
        open_source(str(path), now_us=frozen_clock)


def test_damaged_pictures_are_left_out_and_counted(tmp_path: Path) -> None:
    path = write_video(tmp_path / "whole.ts", 60, options={"g": "10", "bf": "0"})
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 40] = np.random.default_rng(3).bytes(40)
    damaged = tmp_path / "damaged.ts"
    damaged.write_bytes(data)
    source = unpaced(damaged)
    numbers = [p.pts_us for p in source.pictures()]
    assert 30 < len(numbers) <= 60
    assert numbers == sorted(set(numbers))


def test_a_cut_file_ends_where_it_is_cut(tmp_path: Path) -> None:
    path = write_video(tmp_path / "whole.mkv", 40, options={"bf": "0"})
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    numbers = luma_numbers(unpaced(cut))
    assert 5 < len(numbers) < 40
    assert numbers == list(range(len(numbers)))


def test_an_url_that_does_not_answer() -> None:
    with pytest.raises(MediaError, match="refused"):
        open_source("http://127.0.0.1:9/film.mp4", now_us=frozen_clock)


def test_standard_input_cannot_be_looped() -> None:
    with pytest.raises(UsageError, match="looped"):
        open_source("-", loop=True, now_us=frozen_clock)


FROM_STDIN = """
import sys, threading, time
from wtp.media.source import open_source
source = open_source("-", now_us=lambda: 0, pace=False)
pictures = source.pictures()
count = 0
if sys.argv[1] == "all":
    count = len(list(pictures))
else:
    threading.Timer(0.3, source.close).start()
    begin = time.monotonic()
    count = sum(1 for _ in pictures)
    assert time.monotonic() - begin < 20
print(source.name, source.width, count)
"""


@pytest.mark.parametrize("close", [False, True])
def test_standard_input(tmp_path: Path, close: bool) -> None:
    film = write_video(tmp_path / "film.mkv", 200, options={"bf": "0"}).read_bytes()
    assert len(film) < 65536, "more than a pipe holds"
    with subprocess.Popen(
        [sys.executable, "-c", FROM_STDIN, "close" if close else "all"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as child:
        assert child.stdin
        assert child.stdout
        child.stdin.write(film)
        child.stdin.flush()
        if not close:
            child.stdin.close()
        answer = child.stdout.read().decode().split()
        assert child.wait(60) == 0
    assert answer[:3] == ["standard", "input", "64"]
    assert 150 < int(answer[3]) <= 200 if close else answer[3] == "200"


def test_pictures_are_taken_once() -> None:
    source = unpaced(clip("bikes"))
    assert next(source.pictures()).pts_us == 0
    assert list(source.pictures()) == []


def test_a_closed_standard_input_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(MediaError, match="Standard input is closed"):
        open_source("-", now_us=monotonic_us)


@pytest.mark.parametrize("scheme", ["http", "rtsp"])
def test_a_url_that_nobody_serves(scheme: str, free_port: Callable[[], int]) -> None:
    with pytest.raises(MediaError) as caught:
        open_source(f"{scheme}://127.0.0.1:{free_port()}/x", now_us=monotonic_us)
    assert caught.value.hint.startswith("Check the URL, and that its server runs")
