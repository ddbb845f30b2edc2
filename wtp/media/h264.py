"""H.264 through PyAV: settings for live use, one thread, no delay."""

from __future__ import annotations

import os
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from wtp.errors import MediaError, MissingLibrary
from wtp.media.frames import BT601, BT709, av_errors, empty_frame, fill, planes_of
from wtp.media.libraries import load_av
from wtp.media.picture import MAX_PIXELS, Planes, even_size

VBV_S = 0.1
"""Rate-control window: keeps a key picture within 100 ms of the line's rate."""

SLICES = 2
ANY, INTRA = 0, 1
"""AV_PICTURE_TYPE_NONE and AV_PICTURE_TYPE_I of FFmpeg's avutil.h."""

SLICE, SLICE_IDR, SPS = 1, 5, 7
"""NAL unit types (H.264 table 7-1)."""

ALTERNATIVES = ("libopenh264", "h264_v4l2m2m", "h264_nvenc", "h264_vaapi", "h264_qsv", "mjpeg")
"""Other encoders worth naming when libx264 is not built in."""


class H264Encoder:
    """x264 without delay: one access unit out for every picture in.

    Annex B, parameter sets before every key picture, baseline profile, no B-frames. Two slices are
    coded at the same time where there are two cores: that takes a third off the delay. One frame is
    filled again for every picture, since x264 copies it before `encode` returns.

    Args:
        width: In pixels, even.
        height: In pixels, even.
        fps: Nominal pictures per second.
        bitrate_bps: Target and ceiling.
        gop: Pictures from key to key.

    Raises:
        MissingLibrary: PyAV or its libx264 is not there.
    """

    def __init__(self, width: int, height: int, fps: float, bitrate_bps: int, gop: int) -> None:
        self._av = load_av()
        rate = Fraction(fps).limit_denominator(1001)
        context = self._create()
        context.width, context.height = width, height
        context.pix_fmt = "yuv420p"
        context.framerate = rate
        context.time_base = 1 / rate
        context.bit_rate = bitrate_bps
        context.gop_size = gop
        context.max_b_frames = 0
        context.thread_count = min(SLICES, os.cpu_count() or 1)
        context.color_range = 1
        context.colorspace = BT601
        context.color_primaries = BT709
        context.color_trc = BT709
        context.options = {
            "preset": "ultrafast",
            "tune": "zerolatency",
            "profile": "baseline",
            "forced-idr": "1",
            "maxrate": str(bitrate_bps),
            "bufsize": str(round(bitrate_bps * max(VBV_S, 1 / fps))),
        }
        with av_errors("The H.264 encoder does not start", "Try another size or bit rate."):
            context.open()
        self._context = context
        self._frame = empty_frame(width, height)

    def _create(self) -> Any:
        try:
            return self._av.CodecContext.create("libx264", "w")
        except (self._av.error.FFmpegError, ValueError) as error:
            there = [name for name in ALTERNATIVES if name in self._av.codecs_available]
            raise MissingLibrary(
                "This PyAV was built without libx264, the H.264 encoder.",
                hint=f"Install PyAV's wheel (pip install --force-reinstall av), or use --codec jpeg"
                f"; encoders that are there: {', '.join(there) or 'none'}.",
            ) from error

    def encode(self, planes: Planes, number: int, force_key: bool) -> list[tuple[bytes, bool, int]]:
        """Encode one picture."""
        frame = self._frame
        fill(frame, planes)
        frame.pts = number
        frame.time_base = self._context.time_base
        frame.pict_type = INTRA if force_key else ANY
        with av_errors("The H.264 encoder failed", "Start the publisher again."):
            return self._collect(frame)

    def flush(self) -> list[tuple[bytes, bool, int]]:
        """Return what is still inside."""
        with av_errors("The H.264 encoder failed at its end", "Start the publisher again."):
            return self._collect(None)

    def _collect(self, frame: Any) -> list[tuple[bytes, bool, int]]:
        units = self._context.encode(frame)
        return [(bytes(unit), unit.is_keyframe, unit.pts) for unit in units]


class H264Decoder:
    """FFmpeg's decoder, strict about damage, that starts only at a key picture.

    Attributes:
        waiting: Whether no key picture with its parameter sets was seen yet.

    Raises:
        MissingLibrary: PyAV is not there.
    """

    def __init__(self) -> None:
        self._av = load_av()
        self._context = self._open()
        self.waiting = True

    def _open(self) -> Any:
        context = self._av.CodecContext.create("h264", "r")
        context.thread_count = 1
        context.flags |= self._av.codec.context.Flags.low_delay
        context.options = {"err_detect": "explode", "max_pixels": str(MAX_PIXELS)}
        return context

    def decode(self, payload: bytes, number: int) -> list[tuple[Planes, int]]:
        """Decode one access unit.

        Raises:
            MediaError: It is no access unit, or damaged.
        """
        types = list(nal_types(payload))
        if not types:
            raise MediaError(
                f"A video object of {len(payload)} bytes is no H.264 access unit.",
                hint="Check that the track's content type is what its publisher sends.",
            )
        if self.waiting and not (SPS in types and SLICE_IDR in types):
            return []
        self.waiting = False
        unit = self._av.Packet(payload)
        unit.pts = number
        with av_errors("A video object is damaged", "It is left out up to the next key picture."):
            frames = self._context.decode(unit)
            return [(planes_of(f, *even_size(f.width, f.height)), f.pts) for f in frames]

    def reset(self) -> None:
        """Wait for the next key picture."""
        self.waiting = True
        self._context = self._open()


def nal_types(payload: bytes) -> Iterator[int]:
    """Types of the NAL units of an Annex B access unit, up to its first slice.

    See H.264 annex B: every unit starts after 00 00 01; its type is the low five bits that follow.
    """
    at = payload.find(b"\x00\x00\x01")
    while 0 <= at < len(payload) - 3:
        kind = payload[at + 3] & 0x1F
        yield kind
        if kind in (SLICE, SLICE_IDR):
            return
        at = payload.find(b"\x00\x00\x01", at + 3)
