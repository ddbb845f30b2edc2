"""The encoders of this machine: which there are, which work, and the one to take."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import cache

import numpy as np

from wtp.errors import MediaError, MissingLibrary, UsageError
from wtp.media.codecs import CODECS, Codec, PictureEncoder, is_start
from wtp.media.libraries import load_av, load_cv2
from wtp.media.picture import empty_planes
from wtp.media.tuning import Target

AUTO = "auto"
OWN = ("opencv", "mjpeg")
"""Encoders of JPEG, which have a file of their own."""
NEEDS = {
    "nvenc": "an NVIDIA card and its driver",
    "qsv": "Intel graphics and its media driver",
    "vaapi": "graphics with a VA-API driver",
    "amf": "AMD graphics and its AMF runtime",
    "videotoolbox": "macOS",
    "mf": "Windows",
    "v4l2m2m": "a chip with a V4L2 encoder, such as a Raspberry Pi's",
}
"""What an encoder in hardware needs, by the ending of its name."""

PROBE = Target(width=640, height=480, fps=30.0, bitrate_bps=1_000_000, gop=30)
"""Small enough for a short probe, large enough for hardware that refuses thumbnails."""


@dataclass(frozen=True, slots=True)
class EncoderInfo:
    """An encoder that `--encoder` knows.

    Attributes:
        name: FFmpeg's name of it, or `opencv`.
        codec: What it encodes: `h264`, `vp8`, ...
        hardware: Whether it is one of a graphics card or chip.
        works: Whether it encoded a picture here.
        why: Why it does not work, empty when it does.
    """

    name: str
    codec: str
    hardware: bool
    works: bool
    why: str


def list_encoders() -> list[EncoderInfo]:
    """Every encoder by codec, hardware first, each tried once with one picture.

    It takes some hundred milliseconds the first time and blocks: call it in a thread.
    """
    return [
        EncoderInfo(name, codec.name, name in codec.hardware, not (why := reason(name)), why)
        for codec in CODECS.values()
        for name in codec.hardware + codec.software
    ]


def open_encoder(codec: Codec, wanted: str, target: Target, quality: int) -> PictureEncoder:
    """The encoder to take.

    Args:
        codec: What to encode to.
        wanted: Its name; `auto` takes hardware that works here, then software.
        target: Size, rates and group.
        quality: Of JPEG, 1 to 100.

    Raises:
        UsageError: There is no encoder of that name for the codec.
        MediaError: The encoder asked for does not work here, or does not start with that target.
        MissingLibrary: No encoder for the codec is there.
    """
    if wanted != AUTO:
        _check_name(codec, wanted)
        if why := reason(wanted):
            raise MediaError(f"The encoder {wanted} does not work. {why}", hint=_instead(codec))
        return _open(wanted, target, quality)
    failure: MediaError | None = None
    for name in codec.hardware + codec.software:
        if name in codec.hardware and problem(name):
            continue
        try:
            return _open(name, target, quality)
        except MediaError as error:
            if failure is None or name in codec.software[:1]:
                failure = error
    assert failure is not None  # noqa: S101 - every codec has a software encoder
    raise failure


@cache
def problem(name: str) -> str:
    """Why an encoder does not work here, as a sentence; empty when it does. Tried once."""
    codec = next(c for c in CODECS.values() if name in c.hardware + c.software)
    try:
        if name not in OWN and name not in load_av().codecs_available:
            return "It is not in this build of PyAV."
        return _try(name, codec)
    except MediaError as error:
        return error.message


@cache
def reason(name: str) -> str:
    """Like `problem`, with what an encoder in hardware needs and what FFmpeg says of it."""
    why = problem(name)
    needs = NEEDS.get(name.rpartition("_")[2], "")
    if not why or not needs:
        return why
    try:
        there = name in load_av().codecs_available
    except MissingLibrary:
        return why
    said = _said(name) if there else "not in this build of PyAV"
    return f"It needs {needs} ({said or why.rstrip('.')})."


def _said(name: str) -> str:
    """The first thing that FFmpeg logs when an encoder does not start.

    Its log is captured for this only: it takes Python's lock, which a thread of an encoder must not
    wait for while live pictures are encoded.
    """
    logging = load_av().logging
    level = logging.get_level()
    logging.set_level(logging.ERROR)
    try:
        with logging.Capture() as lines, suppress(MediaError):
            _open(name, PROBE, 70)
    finally:
        logging.set_level(level)
    return lines[0][2].strip().rstrip(".") if lines else ""


def _try(name: str, codec: Codec) -> str:
    encoder = _open(name, PROBE, 70)
    planes = empty_planes(PROBE.width, PROBE.height)
    planes[:] = np.arange(PROBE.width, dtype=np.uint8) // 4 + 64
    for number, key in enumerate((True, False, True)):
        ready = encoder.encode(planes, number, number * 33_333, key)
        if not ready:
            encoder.flush()
            return "It keeps pictures back, which live video cannot wait for."
        if key and not (ready[0][1] and is_start(codec.content_type, ready[0][0])):
            return "Its key pictures lack what a decoder needs to start."
    encoder.flush()
    return ""


def _open(name: str, target: Target, quality: int) -> PictureEncoder:
    if name == "opencv":
        from wtp.media.jpeg import CvJpegEncoder

        load_cv2()
        return CvJpegEncoder(quality, target.fps)
    if name == "mjpeg":
        from wtp.media.jpeg import AvJpegEncoder

        return AvJpegEncoder(target.width, target.height, quality, target.fps)
    from wtp.media.avencoder import AvEncoder

    return AvEncoder(name, target)


def _check_name(codec: Codec, wanted: str) -> None:
    if wanted in codec.hardware + codec.software:
        return
    other = next((c for c in CODECS.values() if wanted in c.hardware + c.software), None)
    if other is not None:
        raise UsageError(
            f"The encoder {wanted} makes {other.name}, not {codec.name}.",
            hint=f"Use it with --codec {other.name}. {_instead(codec)}",
        )
    raise UsageError(f"There is no encoder {wanted!r}.", hint=_instead(codec))


def _instead(codec: Codec) -> str:
    """What can be used for a codec."""
    names = [name for name in codec.hardware + codec.software if not problem(name)]
    if not names:
        return f"None for {codec.name} works here; choose another --codec."
    return f"For {codec.name} these work here: {', '.join(names)} (or auto)."
