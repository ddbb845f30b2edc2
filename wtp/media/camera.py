"""Cameras through OpenCV behind the same interface as every other source."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wtp.errors import MediaError
from wtp.media.libraries import load_cv2
from wtp.media.pace import Pacer
from wtp.media.picture import Picture, Planes, check_size, even_size
from wtp.media.source import DEFAULT_FPS, check_fps

SYSFS = Path("/sys/class/video4linux")
"""Where Linux lists its video devices."""

MAX_STAMP_AGE_US = 1_000_000
"""A driver's stamp older than this is taken for one of another clock and not used."""

_PROBED = 4
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Camera:
    """One camera of this machine.

    Attributes:
        number: What `--camera` takes.
        path: The device file; empty where the system has none.
        name: What the driver calls it.
    """

    number: int
    path: str
    name: str


def list_cameras(root: Path = SYSFS) -> list[Camera]:
    """The cameras of this machine, by number.

    Linux lists them under /sys/class/video4linux, where a camera's second device (metadata) has an
    `index` above 0. Elsewhere the first numbers are tried, which takes a moment.
    """
    if not sys.platform.startswith("linux"):
        return _probe_cameras()
    cameras = []
    for folder in root.glob("video*"):
        digits = folder.name.removeprefix("video")
        if digits.isdecimal() and _read(folder / "index") in ("", "0"):
            name = _read(folder / "name") or "camera"
            cameras.append(Camera(int(digits), f"/dev/{folder.name}", name))
    return sorted(cameras, key=lambda camera: camera.number)


def open_camera(
    camera: int | str,
    *,
    size: tuple[int, int] | None = None,
    fps: float | None = None,
    now_us: Callable[[], int],
) -> CameraSource:
    """Open a camera.

    Args:
        camera: Its number, `/dev/videoN`, or a file that stands in for one.
        size: Width and height to ask for; pictures are scaled when the camera has another.
        fps: Rate to ask for.
        now_us: The clock for capture stamps.

    Raises:
        MediaError: There is no such camera, or it cannot be used.
        MissingLibrary: OpenCV cannot be loaded.
        UsageError: Size or rate make no sense.
    """
    check_fps(fps)
    if size:
        check_size(size)
    target: int | str = int(camera) if str(camera).isdecimal() else str(camera)
    device = f"/dev/video{target}" if isinstance(target, int) else target
    if sys.platform.startswith("linux"):
        _check_device(device)
    capture = _open_capture(target, size, fps)
    if not capture.isOpened():
        capture.release()
        raise MediaError(
            f"Camera {device} cannot be opened.",
            hint=f"Another program may be using it. {_found()}",
        )
    stand_in = isinstance(target, str) and not target.startswith("/dev/")
    return CameraSource(capture, device, size=size, fps=fps, now_us=now_us, stand_in=stand_in)


class CameraSource:
    """Pictures of an opened `cv2.VideoCapture`; a camera never ends by itself.

    Args:
        capture: The opened device; it is released here.
        name: What to call it.
        size: Scale to this; None takes what the camera delivers, less an odd last row or column.
        fps: Leave out pictures above this rate; None keeps all.
        now_us: The clock for capture stamps.
        stand_in: Whether it is a file, which OpenCV reads as fast as it can: then it is paced.

    Raises:
        MediaError: It delivers no picture.
    """

    def __init__(
        self,
        capture: Any,
        name: str,
        *,
        size: tuple[int, int] | None = None,
        fps: float | None = None,
        now_us: Callable[[], int],
        stand_in: bool = False,
    ) -> None:
        self._cv2 = load_cv2()
        self.name = name
        self._capture = capture
        self._now_us = now_us
        self._stand_in = stand_in
        self._pacer = Pacer()
        self._lock = threading.Lock()
        self._running = False
        try:
            first = self._read_bgr()[0]
            shown = even_size(first.shape[1], first.shape[0])
        except MediaError:
            capture.release()
            raise
        self.width, self.height = size or shown
        if size and size != shown:
            _log.info("%s delivers %dx%d, scaled to %dx%d.", name, *shown, *size)
        told = capture.get(self._cv2.CAP_PROP_FPS)
        self._told_fps = told if 0 < told <= 1000 else DEFAULT_FPS
        self.fps = min(fps, self._told_fps) if fps else self._told_fps
        self._limit_fps = fps

    def pictures(self) -> Iterator[Picture]:
        """Deliver pictures until closed.

        Raises:
            MediaError: The camera was lost.
        """
        with self._lock:
            if self._pacer.closed or self._running:
                return
            self._running = True
        try:
            yield from self._live()
        finally:
            self._capture.release()

    def close(self) -> None:
        """End `pictures` after the read under way (3 s at most when the camera hangs)."""
        self._pacer.close()
        with self._lock:
            if not self._running:
                self._capture.release()

    def _live(self) -> Iterator[Picture]:
        start_us: int | None = None
        due_us = 0.0
        count = 0
        while not self._pacer.closed:
            pace_us = round(count * 1e6 / self._told_fps) if self._stand_in else 0
            if self._pacer.wait(pace_us) is None:
                return
            bgr, capture_us = self._read_bgr()
            count += 1
            start_us = capture_us if start_us is None else start_us
            pts_us = capture_us - start_us
            if self._limit_fps:
                # Half an interval of the camera's own is allowed for, so that jitter costs nothing.
                if pts_us < due_us - 5e5 / self._told_fps:
                    continue
                due_us = max(due_us + 1e6 / self._limit_fps, pts_us - 1e6 / self._limit_fps)
            yield Picture(self._planes(bgr), self.width, self.height, capture_us, pts_us)

    def _read_bgr(self) -> tuple[Any, int]:
        """The next picture and its capture stamp."""
        grabbed = self._capture.grab()
        capture_us = self._now_us() - self._age_us() if grabbed else 0
        done, bgr = self._capture.retrieve() if grabbed else (False, None)
        if not done or bgr is None:
            raise MediaError(
                f"Camera {self.name} delivers no more pictures.",
                hint="Check its plug and whether another program took it; `wtp devices` lists all.",
                code="camera-lost",
            )
        return bgr, capture_us

    def _age_us(self) -> int:
        """How long ago the driver filled the buffer; V4L2 stamps it with CLOCK_MONOTONIC."""
        if self._stand_in:
            return 0
        stamp_ms = self._capture.get(self._cv2.CAP_PROP_POS_MSEC)
        age_us = round(time.monotonic_ns() / 1000 - stamp_ms * 1000)
        return age_us if 0 <= age_us < MAX_STAMP_AGE_US else 0

    def _planes(self, bgr: Any) -> Planes:
        cv2 = self._cv2
        rows, columns = bgr.shape[:2]
        if columns - self.width in (0, 1) and rows - self.height in (0, 1):
            bgr = np.ascontiguousarray(bgr[: self.height, : self.width])
        else:
            bgr = cv2.resize(bgr, (self.width, self.height), interpolation=cv2.INTER_AREA)
        planes: Planes = cv2.cvtColor(bgr, cv2.COLOR_BGR2YUV_I420)
        return planes


def _open_capture(target: int | str, size: tuple[int, int] | None, fps: float | None) -> Any:
    cv2 = load_cv2()
    device = isinstance(target, int) or target.startswith("/dev/")
    api = cv2.CAP_V4L2 if device and sys.platform.startswith("linux") else cv2.CAP_ANY
    capture = cv2.VideoCapture(target, api)
    if device and capture.isOpened():
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        if size and size[0] * size[1] > 640 * 480:
            # Uncompressed, USB 2 carries about 10 pictures per second of more than this.
            capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
        if size:
            capture.set(cv2.CAP_PROP_FRAME_WIDTH, size[0])
            capture.set(cv2.CAP_PROP_FRAME_HEIGHT, size[1])
        if fps:
            capture.set(cv2.CAP_PROP_FPS, fps)
    return capture


def _check_device(device: str) -> None:
    """Say clearly why a device file cannot be used, before OpenCV says nothing.

    Raises:
        MediaError: It is missing or may not be read.
    """
    if not os.path.exists(device):
        raise MediaError(f"There is no camera {device}.", hint=_found(), code="no-camera")
    if not os.access(device, os.R_OK):
        raise MediaError(
            f"Camera {device} may not be opened.",
            hint="Add yourself to its group (sudo usermod -aG video $USER) and log in again.",
        )


def _found() -> str:
    cameras = list_cameras()
    if not cameras:
        return (
            "No cameras were found here; plug one in (a container needs --device /dev/video0),"
            " or use --source testsrc."
        )
    listed = ", ".join(f"{c.number} ({c.path}, {c.name})" for c in cameras)
    return f"Found: {listed}. Choose one with --camera NUMBER."


def _probe_cameras() -> list[Camera]:
    cv2 = load_cv2()
    cameras = []
    for number in range(_PROBED):
        capture = cv2.VideoCapture(number)
        if capture.isOpened():
            cameras.append(Camera(number, "", f"camera {number}"))
        capture.release()
    return cameras


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
