"""The cameras of this machine: which there are, what they offer, and why one cannot be used."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from wtp.errors import MediaError
from wtp.media.libraries import load_cv2
from wtp.media.v4l2 import camera_formats, users_of

SYSFS = Path("/sys/class/video4linux")
"""Where Linux lists its video devices."""

_PROBED = 4
"""Numbers that are tried where the system has no list."""


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


def check_device(device: str) -> None:
    """Say clearly why a device file cannot be used, before OpenCV says nothing.

    Raises:
        MediaError: It is missing or may not be read.
    """
    if not os.path.exists(device):
        raise MediaError(f"There is no camera {device}.", hint=found(), code="no-camera")
    if not os.access(device, os.R_OK):
        raise MediaError(
            f"Camera {device} may not be opened.",
            hint="Add yourself to its group (sudo usermod -aG video $USER) and log in again.",
        )


def busy(device: str) -> MediaError:
    """Why a camera that is there cannot be opened."""
    users = users_of(device) if device.startswith("/dev/video") else []
    if users:
        return MediaError(
            f"Camera {device} is in use by {', '.join(users)}.",
            hint="End that program, or choose another camera. " + found(),
            code="camera-busy",
        )
    return MediaError(
        f"Camera {device} cannot be opened.", hint=f"Another program may be using it. {found()}"
    )


def offers(device: str) -> str:
    """What the camera has, as a sentence; empty when it does not say."""
    offered = "; ".join(str(one) for one in camera_formats(device))
    return f" It has: {offered}." if offered else ""


def found() -> str:
    """The cameras that are here, as a hint."""
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
