from __future__ import annotations

import itertools
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from wtp.clock import monotonic_us
from wtp.errors import MediaError, UsageError
from wtp.media import cameras as subject
from wtp.media.camera import CameraSource, open_camera
from wtp.media.cameras import Camera, list_cameras
from wtp.media.testsrc import read_code
from wtp.media.v4l2 import CameraFormat, users_of

from .footage import BASE_US, clip, drawn, frozen_clock, write_video


class FakeCapture:
    """What `cv2.VideoCapture` offers of an opened device, with pictures of ours."""

    def __init__(self, count: int, *, size: tuple[int, int] = (320, 240), fps: float = 30) -> None:
        self.pictures = iter([p.bgr() for p in drawn(*size, count)])
        self.fps = fps
        self.released = threading.Event()
        self.current: np.ndarray | None = None
        self.stamp_ms = 0.0

    def grab(self) -> bool:
        assert not self.released.is_set(), "read after release"
        self.current = next(self.pictures, None)
        return self.current is not None

    def retrieve(self) -> tuple[bool, np.ndarray | None]:
        return self.current is not None, self.current

    def get(self, what: int) -> float:
        return self.fps if what == 5 else self.stamp_ms

    def release(self) -> None:
        self.released.set()


def until_lost(source: CameraSource) -> list[int]:
    """Times of the pictures up to the error of a lost camera."""
    times: list[int] = []

    def take() -> None:
        for picture in source.pictures():
            times.append(picture.pts_us)  # noqa: PERF401 - those before the error count

    with pytest.raises(MediaError, match="delivers no more"):
        take()
    return times


def devices(root: Path, *entries: tuple[int, int, str]) -> Path:
    for number, index, name in entries:
        folder = root / f"video{number}"
        folder.mkdir()
        (folder / "index").write_text(f"{index}\n")
        (folder / "name").write_text(f"{name}\n")
    return root


def test_a_file_stands_in_for_a_camera() -> None:
    source = open_camera(clip("bikes"), now_us=monotonic_us)
    assert (source.width, source.height, source.fps) == (640, 272, 25)
    begin = time.monotonic()
    pictures = list(itertools.islice(source.pictures(), 6))
    assert 0.15 < time.monotonic() - begin < 20
    times = [p.pts_us for p in pictures]
    assert times[0] == 0
    assert times == sorted(set(times))
    stamps = [p.capture_us or 0 for p in pictures]
    assert [stamp - stamps[0] for stamp in stamps] == times


def test_colours_arrive_as_they_were_seen() -> None:
    source = CameraSource(FakeCapture(3), "fake", now_us=frozen_clock)
    picture = next(source.pictures())
    (wanted,) = drawn(320, 240, 2)[1:]
    assert np.abs(picture.bgr().astype(int) - wanted.bgr()).mean() < 3
    assert read_code(picture.planes) == wanted.capture_us


def test_size_scales_and_odd_sizes_are_cut() -> None:
    source = CameraSource(FakeCapture(3), "fake", size=(160, 120), now_us=frozen_clock)
    assert next(source.pictures()).planes.shape == (180, 160)
    capture = FakeCapture(2)
    capture.pictures = iter([np.zeros((241, 321, 3), np.uint8)] * 2)
    odd = CameraSource(capture, "odd", now_us=frozen_clock)
    assert (odd.width, odd.height) == (320, 240)
    assert next(odd.pictures()).planes.shape == (360, 320)


def test_fps_limits() -> None:
    ticks = itertools.count(0, 33_333)
    source = CameraSource(FakeCapture(100), "fake", fps=10, now_us=lambda: next(ticks))
    assert source.fps == 10
    kept = until_lost(source)
    assert 32 <= len(kept) <= 34
    steps = {round((b - a) / 33_333) for a, b in itertools.pairwise(kept)}
    assert steps <= {2, 3, 4}


def test_a_camera_that_is_lost_says_so() -> None:
    capture = FakeCapture(4)
    source = CameraSource(capture, "/dev/video3", now_us=frozen_clock)
    pictures = source.pictures()
    for _ in range(3):
        next(pictures)
    with pytest.raises(MediaError, match=r"/dev/video3 delivers no more") as caught:
        next(pictures)
    assert caught.value.code == "camera-lost"
    assert "wtp devices" in caught.value.hint
    assert capture.released.is_set()


def test_a_camera_without_a_picture_is_released() -> None:
    capture = FakeCapture(0)
    with pytest.raises(MediaError, match="delivers no"):
        CameraSource(capture, "fake", now_us=frozen_clock)
    assert capture.released.is_set()


def test_the_driver_stamp_is_used_when_it_is_plausible() -> None:
    capture = FakeCapture(10)
    source = CameraSource(capture, "fake", now_us=frozen_clock)
    pictures = source.pictures()
    assert next(pictures).capture_us == BASE_US
    capture.stamp_ms = time.monotonic_ns() / 1e6 - 20
    stamped = next(pictures).capture_us
    assert stamped is not None
    assert 20_000 <= BASE_US - stamped < 900_000
    capture.stamp_ms = time.monotonic_ns() / 1e6 + 5000
    assert next(pictures).capture_us == BASE_US


def test_closing_from_another_thread_releases_after_the_read() -> None:
    source = open_camera(clip("bikes"), now_us=monotonic_us)
    first = threading.Event()

    def take() -> None:
        for _ in source.pictures():
            first.set()

    thread = threading.Thread(target=take)
    thread.start()
    assert first.wait(60)
    begin = time.monotonic()
    source.close()
    thread.join(10)
    assert not thread.is_alive()
    assert time.monotonic() - begin < 20
    assert list(source.pictures()) == []


def test_closing_before_the_first_picture_releases() -> None:
    capture = FakeCapture(3)
    source = CameraSource(capture, "fake", now_us=frozen_clock)
    source.close()
    assert capture.released.is_set()
    assert list(source.pictures()) == []


def test_no_such_camera_lists_those_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = devices(tmp_path, (71, 0, "USB Camera"), (72, 1, "USB Camera"), (70, 0, "Built-in"))
    found = list_cameras(root)
    assert found == [
        Camera(70, "/dev/video70", "Built-in"),
        Camera(71, "/dev/video71", "USB Camera"),
    ]
    monkeypatch.setattr(subject, "list_cameras", lambda: found)
    with pytest.raises(MediaError, match=r"no camera /dev/video99") as caught:
        open_camera(99, now_us=frozen_clock)
    assert "70 (/dev/video70, Built-in), 71" in caught.value.hint


def test_no_cameras_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list_cameras(tmp_path / "absent") == []
    monkeypatch.setattr(subject, "list_cameras", list)
    for camera in (99, "99", "/dev/video99"):
        with pytest.raises(MediaError, match="no camera /dev/video99") as caught:
            open_camera(camera, now_us=frozen_clock)
        assert "testsrc" in caught.value.hint


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="needs Linux")
def test_a_device_that_is_no_camera() -> None:
    with pytest.raises(MediaError, match="/dev/null cannot be opened") as caught:
        open_camera("/dev/null", now_us=frozen_clock)
    assert "Another program" in caught.value.hint


def test_a_device_is_asked_for_size_rate_and_one_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[int, float] = {}

    class Device(FakeCapture):
        def __init__(self, target: int | str, api: int) -> None:
            super().__init__(3, size=(640, 360))
            assert (target, api) == ("/dev/null", cv2.CAP_V4L2)

        def isOpened(self) -> bool:
            return True

        def set(self, what: int, value: float) -> bool:
            asked[what] = value
            return True

    monkeypatch.setattr(cv2, "VideoCapture", Device)
    source = open_camera("/dev/null", size=(1280, 720), fps=30, now_us=frozen_clock)
    assert asked.pop(cv2.CAP_PROP_FOURCC) == cv2.VideoWriter.fourcc(*"MJPG")
    assert asked == {
        cv2.CAP_PROP_BUFFERSIZE: 1,
        cv2.CAP_PROP_FRAME_WIDTH: 1280,
        cv2.CAP_PROP_FRAME_HEIGHT: 720,
        cv2.CAP_PROP_FPS: 30,
    }
    assert (source.width, source.height) == (1280, 720)
    assert next(source.pictures()).planes.shape == (1080, 1280)


def test_a_file_that_opencv_cannot_read(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(b"no film")
    with pytest.raises(MediaError, match="cannot be opened"):
        open_camera(str(path), now_us=frozen_clock)


def test_the_end_of_a_stand_in_is_a_lost_camera(tmp_path: Path) -> None:
    path = write_video(tmp_path / "short.mp4", 5, fps=100)
    assert len(until_lost(open_camera(str(path), now_us=frozen_clock))) == 4


def test_impossible_wishes() -> None:
    with pytest.raises(UsageError, match="odd"):
        open_camera(0, size=(641, 480), now_us=frozen_clock)
    with pytest.raises(UsageError, match="per second"):
        open_camera(0, fps=0, now_us=frozen_clock)


def test_a_camera_that_was_unplugged_goes_on_when_it_is_back(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("wtp.media.camera.RETRY_S", 0.01)
    first, empty, second = FakeCapture(4), FakeCapture(0), FakeCapture(6, size=(640, 480))
    captures = iter([None, None, empty, second])
    keys: list[int] = []
    source = CameraSource(first, "/dev/video3", now_us=monotonic_us, again=lambda: next(captures))
    source.returned = lambda: keys.append(len(taken))
    taken: list[int] = []
    for picture in source.pictures():
        taken.append(picture.capture_us or 0)
        assert picture.planes.shape == (360, 320)
        if len(taken) == 8:
            source.close()
    assert keys == [3]
    assert taken == sorted(taken)
    assert all(capture.released.is_set() for capture in (first, empty, second))
    assert "/dev/video3 delivers no more pictures. Waiting until it is back." in caplog.text
    assert "Camera /dev/video3 is back." in caplog.text


def test_a_camera_that_stays_away_can_be_closed() -> None:
    asked = threading.Event()

    def away() -> None:
        asked.set()

    source = CameraSource(FakeCapture(2), "/dev/video3", now_us=monotonic_us, again=away)
    ended = threading.Thread(target=lambda: list(source.pictures()))
    ended.start()
    assert asked.wait(60)
    source.close()
    ended.join(10)
    assert not ended.is_alive()


def test_what_a_camera_does_not_have_is_listed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    formats = [CameraFormat("MJPG", 320, 240, (30.0, 15.0)), CameraFormat("YUYV", 160, 120, ())]
    monkeypatch.setattr(subject, "camera_formats", lambda device: formats)
    CameraSource(FakeCapture(2), "cam", size=(640, 480), fps=60, now_us=frozen_clock)
    assert (
        "Camera cam delivers 320x240, which is scaled to 640x480."
        " It has: 320x240 MJPG 30, 15 fps; 160x120 YUYV." in caplog.text
    )
    assert "delivers 30 pictures a second, not 60." in caplog.text


def test_a_busy_camera_names_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "users_of", lambda device: ["cheese (4711)"])
    monkeypatch.setattr("wtp.media.camera.check_device", lambda device: None)
    with pytest.raises(MediaError, match=r"/dev/video97 is in use by cheese \(4711\)") as caught:
        open_camera(97, now_us=frozen_clock)
    assert caught.value.code == "camera-busy"


def test_who_has_a_device_open(tmp_path: Path) -> None:
    device = tmp_path / "video0"
    device.touch()
    process = tmp_path / "proc" / "4711"
    (process / "fd").mkdir(parents=True)
    (process / "comm").write_text("cheese\n")
    (process / "fd" / "7").symlink_to(device)
    (tmp_path / "proc" / "4712").mkdir()
    assert users_of(str(device), tmp_path / "proc") == ["cheese (4711)"]
    assert users_of(str(tmp_path / "video1"), tmp_path / "proc") == []
