"""Cameras through OpenCV behind the same interface as every other source."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from wtp.errors import MediaError
from wtp.media.cameras import busy, check_device, list_cameras, offers
from wtp.media.libraries import load_cv2
from wtp.media.pace import Pacer
from wtp.media.picture import Picture, Planes, check_size, even_size
from wtp.media.source import DEFAULT_FPS, check_fps

MAX_STAMP_AGE_US = 1_000_000
"""A driver's stamp older than this is taken for one of another clock and not used."""

RETRY_S = 1.0
"""How long a lost camera is waited for before it is tried again."""

_log = logging.getLogger(__name__)


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
        check_device(device)
    capture = _open_capture(target, size, fps)
    if not capture.isOpened():
        capture.release()
        raise busy(device)
    stand_in = isinstance(target, str) and not target.startswith("/dev/")
    again = None if stand_in else _Again(target, device, size, fps)
    return CameraSource(
        capture, device, size=size, fps=fps, now_us=now_us, stand_in=stand_in, again=again
    )


class CameraSource:
    """Pictures of an opened `cv2.VideoCapture`; a camera never ends by itself.

    One that is unplugged is waited for, and goes on when it is back.

    Args:
        capture: The opened device; it is released here.
        name: What to call it.
        size: Scale to this; None takes what the camera delivers, less an odd last row or column.
        fps: Leave out pictures above this rate; None keeps all.
        now_us: The clock for capture stamps.
        stand_in: Whether it is a file, which OpenCV reads as fast as it can: then it is paced.
        again: Opens it once more after it was lost, or returns None as long as it is away; without,
            a lost camera is an error.

    Attributes:
        returned: Called, in the thread that takes pictures, when a lost camera is back.

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
        again: Callable[[], Any] | None = None,
    ) -> None:
        self._cv2 = load_cv2()
        self.name = name
        self.returned: Callable[[], None] | None = None
        self._again = again
        self._capture = capture
        self._now_us = now_us
        self._stand_in = stand_in
        self._pacer = Pacer()
        self._lock = threading.Lock()
        self._running = False
        try:
            first = self._first_bgr()
            shown = even_size(first.shape[1], first.shape[0])
        except MediaError:
            capture.release()
            raise
        self.width, self.height = size or shown
        if size and size != shown:
            _log.warning(
                "Camera %s delivers %dx%d, which is scaled to %dx%d.%s",
                name, *shown, *size, offers(name),
            )  # fmt: skip
        told = capture.get(self._cv2.CAP_PROP_FPS)
        self._told_fps = told if 0 < told <= 1000 else DEFAULT_FPS
        self.fps = min(fps, self._told_fps) if fps else self._told_fps
        if fps and self._told_fps < fps - 0.5:
            _log.warning(
                "Camera %s delivers %g pictures a second, not %g.%s",
                name, self._told_fps, fps, offers(name),
            )  # fmt: skip
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
            read = self._read_or_return()
            if read is None:
                return
            bgr, capture_us = read
            count += 1
            start_us = capture_us if start_us is None else start_us
            pts_us = capture_us - start_us
            if self._limit_fps:
                # Half an interval of the camera's own is allowed for, so that jitter costs nothing.
                if pts_us < due_us - 5e5 / self._told_fps:
                    continue
                due_us = max(due_us + 1e6 / self._limit_fps, pts_us - 1e6 / self._limit_fps)
            yield Picture(self._planes(bgr), self.width, self.height, capture_us, pts_us)

    def _first_bgr(self) -> Any:
        try:
            return self._read_bgr()[0]
        except MediaError as error:
            raise MediaError(
                f"Camera {self.name} is there, but delivers no picture.",
                hint="Check its shutter and its cable, and whether another program took it; "
                "`wtp devices cameras` lists the formats it has.",
                code="camera-lost",
            ) from error

    def _read_or_return(self) -> tuple[Any, int] | None:
        """The next picture, however long the camera is away; None when closed meanwhile.

        Raises:
            MediaError: It was lost, and cannot be opened again.
        """
        try:
            return self._read_bgr()
        except MediaError as error:
            if self._again is None:
                raise
            _log.warning("%s Waiting until it is back.", error.message)
        self._capture.release()
        while self._pacer.pause(RETRY_S):
            capture = self._again()
            if capture is None:
                continue
            self._capture = capture
            try:
                read = self._read_bgr()
            except MediaError:
                capture.release()
                continue
            _log.warning("Camera %s is back.", self.name)
            if self.returned is not None:
                self.returned()
            return read
        return None

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


class _Again:
    """Opens a camera again that was lost, also when it comes back under another number."""

    def __init__(
        self, target: int | str, device: str, size: tuple[int, int] | None, fps: float | None
    ) -> None:
        self._target = target
        self._device = device
        self._size, self._fps = size, fps
        here = list_cameras() if sys.platform.startswith("linux") else []
        self._name = next((camera.name for camera in here if camera.path == device), "")

    def __call__(self) -> Any:
        """The opened capture; None as long as it is away."""
        target = self._target
        if sys.platform.startswith("linux") and not os.path.exists(self._device):
            same = [camera for camera in list_cameras() if camera.name == self._name]
            if len(same) != 1:
                return None
            target = same[0].number
        capture = _open_capture(target, self._size, self._fps)
        if capture.isOpened():
            return capture
        capture.release()
        return None
