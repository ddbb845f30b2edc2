"""A network camera: log in, picture and sound in step, switched off and on again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.e2e.stage import wait_for
from tests.rtsp import RtspCamera, write_clip
from wtp.clock import monotonic_us
from wtp.errors import MediaError
from wtp.media import container, demux
from wtp.media.demux import Demuxer
from wtp.media.file import FileSource
from wtp.media.filesound import FileSound
from wtp.media.testsrc import read_code

pytestmark = pytest.mark.tool("gst-launch-1.0")

USER, PASSWORD = "viewer", "s3cret"


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("rtsp") / "film.mp4", 12)


@pytest.fixture
def camera(film: Path, free_port: Callable[[], int]) -> Iterator[RtspCamera]:
    camera = RtspCamera(film, free_port(), USER, PASSWORD)
    camera.start()
    yield camera
    camera.stop()


class Viewer:
    """Takes the pictures and the sound of a camera in threads."""

    def __init__(self, url: str) -> None:
        self.demuxer = Demuxer(url, now_us=monotonic_us, wanted=("video", "audio"))
        self.sound = FileSound(self.demuxer, rate_hz=48_000)
        self.demuxer.start()
        self.source = FileSource(self.demuxer, now_us=monotonic_us)
        self.back = threading.Event()
        self.source.returned = self.back.set
        self.pictures: list[tuple[int, int, int]] = []
        self.heard: list[tuple[int, int]] = []
        self.errors: list[MediaError] = []
        self.changed = threading.Condition()
        self._threads = [threading.Thread(target=t) for t in (self._look, self._listen)]
        for thread in self._threads:
            thread.start()

    def until(self, condition: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, 30), (len(self.pictures), len(self.heard))

    def close(self) -> None:
        self.demuxer.close()
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()

    def _look(self) -> None:
        try:
            for picture in self.source.pictures():
                with self.changed:
                    code_us = read_code(picture.planes)
                    assert code_us is not None
                    stamp = picture.capture_us or 0
                    assert stamp <= monotonic_us()
                    self.pictures.append((code_us, stamp, picture.pts_us))
                    self.changed.notify_all()
        except MediaError as error:
            with self.changed:
                self.errors.append(error)
                self.changed.notify_all()

    def _listen(self) -> None:
        try:
            for block in self.sound.blocks():
                loud = abs(block.samples[:, 0].astype(int)).max() > 3000
                with self.changed:
                    self.heard.append((block.pts_us, bool(loud)))
                    self.changed.notify_all()
        except MediaError as error:
            self.errors.append(error)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container, "LIVE_READ_S", 1.0)
    monkeypatch.setattr(demux, "RETRY_S", (1.0,))


@pytest.fixture
def viewer(camera: RtspCamera) -> Iterator[Viewer]:
    viewer = Viewer(camera.url)
    yield viewer
    viewer.close()


def test_a_camera_is_seen_lost_and_seen_again(
    camera: RtspCamera, viewer: Viewer, caplog: pytest.LogCaptureFixture
) -> None:
    assert viewer.demuxer.live
    assert (viewer.source.width, viewer.source.height, viewer.sound.channels) == (320, 240, 2)
    viewer.until(lambda: viewer.pictures[-1:] > [(1_500_000, 0, 0)])
    onset = next(pts for (_, was), (pts, now) in pairwise(viewer.heard) if now > was)
    code, _, pts = viewer.pictures[-1]
    assert abs(((onset - (pts - code)) + 500_000) % 1_000_000 - 500_000) < 40_000

    camera.stop()
    seen = len(viewer.pictures)
    camera.start()
    viewer.until(lambda: viewer.back.is_set() and len(viewer.pictures) > seen + 15)
    stamps = [stamp for _, stamp, _ in viewer.pictures]
    assert stamps == sorted(stamps)
    assert viewer.demuxer.reconnects == 1
    assert viewer.errors == []
    assert "Trying again" in caplog.text
    assert "is back" in caplog.text
    assert PASSWORD not in caplog.text


def test_a_wrong_password_is_said_at_once(camera: RtspCamera) -> None:
    for login in (f"{USER}:wrong@", "", f"{USER}@"):
        url = camera.url.replace(f"{USER}:{PASSWORD}@", login)
        with pytest.raises(MediaError, match="user name or password is wrong") as caught:
            Demuxer(url, now_us=monotonic_us)
        assert caught.value.code == "unauthorized"
        assert "wrong@" not in str(caught.value)


def test_a_camera_that_falls_silent_is_lost_and_a_changed_password_ends_it(
    film: Path,
    camera: RtspCamera,
    impatient: None,
    viewer: Viewer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    viewer.until(lambda: len(viewer.pictures) > 3)
    camera.freeze()
    wait_for(lambda: "Trying again" in caplog.text, "word of the silence", 60.0)
    camera.stop()
    other = RtspCamera(film, int(camera.url.rpartition(":")[2].partition("/")[0]), USER, "new")
    other.start()
    try:
        viewer.until(lambda: bool(viewer.errors))
    finally:
        other.stop()
    assert viewer.errors[0].code == "unauthorized"


def test_a_path_that_the_camera_does_not_have(camera: RtspCamera) -> None:
    with pytest.raises(MediaError, match="404"):
        Demuxer(camera.url + "-2", now_us=monotonic_us)
