"""What the kernel says of a camera, from a driver of ours."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from wtp.media import v4l2
from wtp.media.v4l2 import CameraFormat, camera_formats, is_capture

MJPG, YUYV = (int.from_bytes(code, "little") for code in (b"MJPG", b"YUYV"))


def driver(number: int, argument: bytes) -> bytes:
    """MJPG in two sizes of listed rates, YUYV in any size of one range of rates."""
    index, code = struct.unpack_from("=II", argument)
    if number == v4l2.ENUM_FORMATS:
        assert len(argument) == 64
        codes = [MJPG, YUYV]
        if index >= len(codes):
            raise OSError(22, "Invalid argument")
        return struct.pack("=III32sI16x", index, 1, 0, b"a format", codes[index])
    if number == v4l2.ENUM_SIZES:
        assert len(argument) == 44
        if code == YUYV:
            return struct.pack("=III6I8x", index, code, 3, 16, 640, 16, 16, 480, 16)
        sizes = [(1280, 720), (640, 480)]
        if index >= len(sizes):
            raise OSError(22, "Invalid argument")
        return struct.pack("=IIIII24x", index, code, 1, *sizes[index])
    assert number == v4l2.ENUM_INTERVALS
    assert len(argument) == 52
    width, height = struct.unpack_from("=II", argument, 8)
    if code == YUYV:
        return struct.pack("=5I6I8x", index, code, width, height, 2, 1, 30, 1, 5, 1, 5)
    rates = [(1, 30), (1001, 15000)]
    if index >= len(rates):
        raise OSError(22, "Invalid argument")
    return struct.pack("=5III24x", index, code, width, height, 1, *rates[index])


def test_sizes_and_rates() -> None:
    assert list(v4l2._formats(driver)) == [
        CameraFormat("MJPG", 1280, 720, (30.0, 14.99)),
        CameraFormat("MJPG", 640, 480, (30.0, 14.99)),
        CameraFormat("YUYV", 640, 480, (30.0,)),
    ]


@pytest.mark.parametrize(
    ("whole", "own", "capture"),
    [(0x1, 0, True), (0x80000001, 0x1, True), (0x80000001, 0x00800000, False), (0x2, 0, False)],
)
def test_only_what_captures_is_a_camera(whole: int, own: int, capture: bool) -> None:
    answer = bytes(84) + struct.pack("=II", whole, own) + bytes(12)
    assert is_capture(lambda number, argument: answer) == capture


def test_what_is_no_camera_offers_nothing(tmp_path: Path) -> None:
    path = tmp_path / "video0"
    path.touch()
    assert camera_formats(str(path)) == []
    assert camera_formats(str(tmp_path / "absent")) == []


def test_a_driver_without_an_end_is_not_asked_for_ever() -> None:
    answers = v4l2._each(lambda number, data: data, 0, lambda index: bytes([index]))
    assert list(answers) == [bytes([index]) for index in range(v4l2.MOST)]
