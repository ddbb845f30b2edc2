"""How each encoder is set for live pictures: one object out for one picture in, no look-ahead."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from enum import Enum
from fractions import Fraction

VBV_S = 0.1
"""Rate-control window: keeps a key picture within 100 ms of the line's rate."""
VBV_PICTURES = 2
"""Least pictures of that window; x264 stays far below its rate with fewer."""

VPX_BUFFER_S = 0.3
"""libvpx drops quality for seconds after a key picture when its buffer is shorter."""

KEY_S = 0.13
"""Largest key picture of libvpx, as time of the line's rate."""

SLICES = 2
SLICED_PIXELS = 1280 * 720
"""Below, waking a second thread for half a picture costs more than it saves."""
MICROSECONDS = Fraction(1, 1_000_000)


@dataclass(frozen=True, slots=True)
class Target:
    """What is to be encoded.

    Attributes:
        width: In pixels, even.
        height: In pixels, even.
        fps: Nominal pictures per second.
        bitrate_bps: Target and ceiling.
        gop: Pictures from key to key.
    """

    width: int
    height: int
    fps: float
    bitrate_bps: int
    gop: int

    @property
    def rate(self) -> Fraction:
        """The nominal rate as FFmpeg takes it."""
        return Fraction(self.fps).limit_denominator(1001)

    def buffer_bits(self, seconds: float) -> int:
        """Bits of a rate-control buffer, for two pictures at least."""
        return round(self.bitrate_bps * max(seconds, VBV_PICTURES / self.fps))


class Rebitrate(Enum):
    """How an encoder that runs is given another bit rate.

    LIVE encoders read FFmpeg's `bit_rate` before every picture. CLOCK ones cannot be told, but
    divide bits by the pictures' times: time that passes more slowly for them makes pictures smaller
    by as much. RESTART ones begin anew with a key picture. LIVE and RESTART ones count pictures
    instead of looking at their times, so the rate they are told has to follow the picture rate.
    """

    LIVE = 1
    CLOCK = 2
    RESTART = 3


@dataclass(frozen=True, slots=True)
class Tuning:
    """Settings of one encoder.

    Attributes:
        options: FFmpeg's.
        rebitrate: How its bit rate is changed.
        time_base: Unit of the pictures' times; None takes the nominal picture.
        open_bps: Bit rate to be opened with; None for the target.
        threads: Of the encoder.
        pixel_format: That it takes.
        device: Kind of hardware device that FFmpeg must be given, empty for none.
    """

    options: dict[str, str] = field(default_factory=dict)
    rebitrate: Rebitrate = Rebitrate.RESTART
    time_base: Fraction | None = None
    open_bps: int | None = None
    threads: int = 1
    pixel_format: str = "yuv420p"
    device: str = ""


def tune(name: str, target: Target) -> Tuning:
    """Settings of an encoder by FFmpeg's name for it."""
    if name == "libx264":
        return _x264(target)
    if name in ("libvpx", "libvpx-vp9"):
        return _vpx(name, target)
    if name == "libsvtav1":
        return _svt()
    if name == "libaom-av1":
        return _aom(target)
    return _hardware(name, target)


def _cores(most: int) -> int:
    return min(most, os.cpu_count() or 1)


def _x264(target: Target) -> Tuning:
    """Baseline profile; two slices of a large picture at the same time, a quarter faster.

    Times are in units of the nominal picture, since players of the bare stream take its rate from
    there. Rate control by those times (`force-cfr=0`) would hold one picture back.

    A constant rate of x264 can be lowered and raised while it runs, but not above the one that it
    was opened with, and that one not so that a picture overflows the buffer. So it is opened with
    as much as the buffer allows, and set to the target before the first picture.
    """
    buffer_bits = target.buffer_bits(VBV_S)
    open_bps = max(target.bitrate_bps, int(buffer_bits * target.fps))
    options = {
        "preset": "ultrafast",
        "tune": "zerolatency",
        "profile": "baseline",
        "forced-idr": "1",
        "maxrate": str(open_bps),
        "bufsize": str(buffer_bits),
    }
    sliced = target.width * target.height >= SLICED_PIXELS
    threads = _cores(SLICES) if sliced else 1
    return Tuning(options, Rebitrate.LIVE, open_bps=open_bps, threads=threads)


def _vpx(name: str, target: Target) -> Tuning:
    rate = str(target.bitrate_bps)
    options = {
        "deadline": "realtime",
        "lag-in-frames": "0",
        "auto-alt-ref": "0",
        "minrate": rate,
        "maxrate": rate,
        "bufsize": str(target.buffer_bits(VPX_BUFFER_S)),
        "max-intra-rate": str(max(100, round(KEY_S * target.fps * 100))),
    }
    options |= {"cpu-used": "8"} if name == "libvpx" else {"cpu-used": "7", "row-mt": "1"}
    # Threads of VP8 wait for each other in a loop: on a busy machine two are slower than one.
    threads = 1 if name == "libvpx" else _cores(2)
    return Tuning(options, Rebitrate.CLOCK, time_base=MICROSECONDS, threads=threads)


def _svt() -> Tuning:
    """Constant bit rate for real-time use; parameters as in SVT-AV1's `Docs/Parameters.md`.

    No hierarchy, which would make every fourth picture large; no faster preset, which finds no
    motion in textures and shows the picture before instead; a least quantiser (of 0 to 63), without
    which key pictures take three times the bits for quality that cannot be seen; and little (100
    ms) in the buffer at first. Even so the first two pictures take half a second of the rate.
    """
    # FFmpeg would turn its maxrate into a limit that SVT-AV1 has not in this mode.
    parameters = (
        "rtc=1:pred-struct=1:rc=2:hierarchical-levels=0:scd=0:lp=2:min-qp=20:buf-initial-sz=100"
    )
    return Tuning({"preset": "10", "svtav1-params": parameters})


def _aom(target: Target) -> Tuning:
    options = {
        "usage": "realtime",
        "cpu-used": "9",
        "lag-in-frames": "0",
        "row-mt": "1",
        "minrate": str(target.bitrate_bps),
        "maxrate": str(target.bitrate_bps),
        "bufsize": str(target.buffer_bits(VPX_BUFFER_S)),
    }
    threads = _cores(2)
    return Tuning(options, Rebitrate.CLOCK, time_base=MICROSECONDS, threads=threads)


_FAMILIES: dict[str, dict[str, str]] = {
    "nvenc": {
        "preset": "p1",
        "tune": "ull",
        "rc": "cbr",
        "zerolatency": "1",
        "delay": "0",
        "forced-idr": "1",
    },
    "qsv": {"preset": "veryfast", "async_depth": "1", "forced_idr": "1"},
    "vaapi": {"async_depth": "1", "rc_mode": "CBR"},
    "amf": {"usage": "ultralowlatency", "quality": "speed", "rc": "cbr", "forced_idr": "1"},
    "videotoolbox": {"realtime": "1", "allow_sw": "0", "prio_speed": "1"},
    "mf": {"hw_encoding": "1", "rate_control": "cbr", "scenario": "live_streaming"},
    "libopenh264": {"rc_mode": "bitrate", "allow_skip_frames": "0"},
}
"""Options by the ending of an encoder's name (FFmpeg's documentation, "Codecs")."""

_PLANAR = ("nvenc", "v4l2m2m", "libopenh264")
_READS_RATE = ("nvenc", "qsv")


def _hardware(name: str, target: Target) -> Tuning:
    family = name.rpartition("_")[2]
    options = {"maxrate": str(target.bitrate_bps), "bufsize": str(target.buffer_bits(VBV_S))}
    if name == "h264_qsv":
        options |= {"look_ahead": "0", "low_delay_brc": "1"}
    return Tuning(
        options | _FAMILIES.get(family, {}),
        Rebitrate.LIVE if family in _READS_RATE else Rebitrate.RESTART,
        pixel_format="yuv420p" if family in _PLANAR else "nv12",
        device="vaapi" if family == "vaapi" else "",
    )
