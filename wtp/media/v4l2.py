"""What a Linux camera can deliver, and who uses it: asked of the kernel, without other packages.

Numbers and layouts are those of the kernel's include/uapi/linux/videodev2.h.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

QUERYCAP = 0x80685600
ENUM_FORMATS = 0xC0405602
ENUM_SIZES = 0xC02C564A
ENUM_INTERVALS = 0xC034564B
"""VIDIOC_QUERYCAP, _ENUM_FMT, _ENUM_FRAMESIZES, _ENUM_FRAMEINTERVALS."""
CAPTURE, DEVICE_CAPS = 0x1, 0x80000000
"""V4L2_CAP_VIDEO_CAPTURE (also the buffer type), V4L2_CAP_DEVICE_CAPS."""
DISCRETE = 1
"""V4L2_FRMSIZE_TYPE_DISCRETE, V4L2_FRMIVAL_TYPE_DISCRETE."""
MOST = 64
"""Formats, sizes of each and rates of each that are asked for at most."""

Ioctl: TypeAlias = Callable[[int, bytes], bytes]
"""Number and argument to the answer; OSError when the driver says no."""


@dataclass(frozen=True, slots=True)
class CameraFormat:
    """A size that a camera delivers.

    Attributes:
        pixels: Four letters for how: `MJPG`, `YUYV`, `H264`, ...
        width: In pixels; likewise `height`. The largest where the driver gives a range.
        fps: Rates in pictures per second, the highest first.
    """

    pixels: str
    width: int
    height: int
    fps: tuple[float, ...]

    def __str__(self) -> str:
        """`1280x720 MJPG 30, 15 fps`."""
        rates = ", ".join(f"{rate:g}" for rate in self.fps)
        return f"{self.width}x{self.height} {self.pixels}" + (f" {rates} fps" if rates else "")


def camera_formats(device: str) -> list[CameraFormat]:
    """What a camera delivers; empty when it does not say (another system, no camera, no right)."""
    try:
        import fcntl

        descriptor = os.open(device, os.O_RDWR | os.O_NONBLOCK)
    except (ImportError, OSError):
        return []

    def ask(number: int, argument: bytes) -> bytes:
        answer = bytearray(argument)
        fcntl.ioctl(descriptor, number, answer)
        return bytes(answer)

    try:
        return list(_formats(ask)) if is_capture(ask) else []
    finally:
        os.close(descriptor)


def is_capture(ask: Ioctl) -> bool:
    """Whether a device delivers pictures; false for metadata, outputs and what is no camera."""
    try:
        answer = ask(QUERYCAP, bytes(104))
    except OSError:
        return False
    capabilities, of_device = struct.unpack_from("=II", answer, 84)
    return bool((of_device if capabilities & DEVICE_CAPS else capabilities) & CAPTURE)


def _formats(ask: Ioctl) -> Iterator[CameraFormat]:
    for answer in _each(ask, ENUM_FORMATS, lambda i: struct.pack("=II56x", i, CAPTURE)):
        (code,) = struct.unpack_from("=I", answer, 44)
        pixels = code.to_bytes(4, "little").decode("ascii", "replace").strip()
        for width, height in _sizes(ask, code):
            rates = sorted(set(_rates(ask, code, width, height)), reverse=True)
            yield CameraFormat(pixels, width, height, tuple(rates))


def _sizes(ask: Ioctl, code: int) -> Iterator[tuple[int, int]]:
    for answer in _each(ask, ENUM_SIZES, lambda i: struct.pack("=II36x", i, code)):
        (kind,) = struct.unpack_from("=I", answer, 8)
        if kind == DISCRETE:
            yield struct.unpack_from("=II", answer, 12)
            continue
        _, most_wide, _, _, most_high, _ = struct.unpack_from("=6I", answer, 12)
        yield most_wide, most_high
        return


def _rates(ask: Ioctl, code: int, width: int, height: int) -> Iterator[float]:
    def argument(index: int) -> bytes:
        return struct.pack("=4I36x", index, code, width, height)

    for answer in _each(ask, ENUM_INTERVALS, argument):
        kind, numerator, denominator = struct.unpack_from("=III", answer, 16)
        if numerator:
            yield round(denominator / numerator, 2)
        if kind != DISCRETE:
            return


def _each(ask: Ioctl, number: int, argument: Callable[[int], bytes]) -> Iterator[bytes]:
    """The answers for index 0, 1, ... until the driver says that there are no more."""
    for index in range(MOST):
        try:
            yield ask(number, argument(index))
        except OSError:
            return


def users_of(device: str, proc: Path = Path("/proc")) -> list[str]:
    """Programs that have a device open, as `name (pid)`; only those that this user may see."""
    wanted = os.path.realpath(device)
    found = []
    for process in proc.glob("[0-9]*"):
        if process.name == str(os.getpid()):
            continue
        try:
            links = [os.path.realpath(link) for link in (process / "fd").iterdir()]
            if wanted in links:
                name = (process / "comm").read_text(encoding="utf-8", errors="replace").strip()
                found.append(f"{name} ({process.name})")
        except OSError:
            continue
    return sorted(found)
