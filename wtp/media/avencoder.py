"""Encoding by any encoder of FFmpeg: key pictures, bit rates and times the same for all."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from wtp.errors import MediaError, MissingLibrary
from wtp.media.av1 import with_delimiter
from wtp.media.codecs import Coded
from wtp.media.frames import BT601, BT709, av_errors, empty_frame, fill
from wtp.media.libraries import load_av
from wtp.media.picture import Planes
from wtp.media.times import Inside, PictureTimes
from wtp.media.tuning import Rebitrate, Target, Tuning, tune

WHEEL = "pip install --force-reinstall av"

ANY, INTRA = 0, 1
"""AV_PICTURE_TYPE_NONE and AV_PICTURE_TYPE_I of FFmpeg's avutil.h."""

FRESH_RATIO = 1.5
"""A key picture begins a fresh encoder when bits or pictures per second are that far from what it
was opened for: its buffer, which bounds key pictures, cannot be changed otherwise."""
STEADY_RATIO = 1.03
"""Smaller changes of the bit rate would only disturb an encoder's rate control."""
RESTART_RATIO = 1.1
RESTART_BELOW = 0.9
RESTART_PERIOD_US = 1_000_000
"""A lower rate restarts an encoder that needs it, but not more often than this."""


class AvEncoder:
    """An encoder of FFmpeg in a setting for live use.

    One frame is filled again for every picture, since encoders copy it before `encode` returns.
    Key pictures are counted here, not by the encoder, so that a change of the bit rate that needs a
    fresh encoder falls together with one.

    Args:
        name: FFmpeg's name of it.
        target: What to encode.

    Attributes:
        name: FFmpeg's name of it.

    Raises:
        MissingLibrary: PyAV is not there, or was built without it.
        MediaError: It does not start.
    """

    def __init__(self, name: str, target: Target) -> None:
        self.name = name
        self._delimited = "av1" in name
        self._av = load_av()
        self._target = target
        self._bitrate_bps = target.bitrate_bps
        self._times = PictureTimes(1e6 / target.fps)
        self._since_key = target.gop
        self._restart_us = 0
        self._numbers: Inside[int] = Inside()
        self._frame = empty_frame(target.width, target.height)
        self._open(target)

    def encode(self, planes: Planes, number: int, pts_us: int, force_key: bool) -> list[Coded]:
        """Encode one picture."""
        key = force_key or self._since_key >= self._target.gop
        passed_us = self._times.step(pts_us)
        early: list[Coded] = []
        if self._outdated(key):
            early, key = self._restart(), True
        self._since_key = 1 if key else self._since_key + 1
        frame = self._frame
        fill(frame, planes)
        frame.pts = self._tick(passed_us)
        frame.time_base = self._context.time_base
        frame.pict_type = INTRA if key else ANY
        self._numbers.put(frame.pts, number)
        with av_errors(f"The encoder {self.name} failed", "Start the publisher again."):
            return early + self._collect(frame)

    def rebitrate(self, bitrate_bps: int) -> None:
        """Change the bit rate from the next picture on."""
        self._bitrate_bps = bitrate_bps

    def flush(self) -> list[Coded]:
        """Return what is still inside."""
        with av_errors(f"The encoder {self.name} failed at its end", "Start the publisher again."):
            return self._collect(None)

    def _open(self, target: Target) -> None:
        self._opened = target
        self._tuning = tuning = tune(self.name, target)
        # SVT-AV1 writes on stderr by itself; 0 leaves what is fatal.
        os.environ.setdefault("SVT_LOG", "0")
        context = self._create(tuning)
        context.width, context.height = target.width, target.height
        context.pix_fmt = tuning.pixel_format
        context.framerate = target.rate
        context.time_base = tuning.time_base or 1 / target.rate
        context.bit_rate = tuning.open_bps or target.bitrate_bps
        context.gop_size = target.gop
        context.max_b_frames = 0
        context.thread_count = tuning.threads
        context.color_range = 1
        context.colorspace = BT601
        context.color_primaries = BT709
        context.color_trc = BT709
        context.options = dict(tuning.options)
        with av_errors(
            f"The encoder {self.name} does not start", "Try another size, bit rate or encoder."
        ):
            context.open()
        self._context = context
        self._unit_us = float(context.time_base * 1_000_000)
        self._at = 0.0
        self._last_tick = -1
        self._numbers.clear()

    def _create(self, tuning: Tuning) -> Any:
        av = self._av
        try:
            accelerator = None
            if tuning.device:
                accelerator = av.codec.hwaccel.HWAccel(tuning.device)
            return av.CodecContext.create(self.name, "w", accelerator)
        except (av.error.FFmpegError, OSError, ValueError, NotImplementedError) as error:
            if self.name in av.codecs_available:
                raise MediaError(
                    f"The encoder {self.name} does not start: {error}.",
                    hint="See wtp devices --encoders.",
                ) from error
            raise MissingLibrary(
                f"This PyAV was built without the encoder {self.name}.",
                hint=f"Install PyAV's wheel ({WHEEL}), or use --codec jpeg.",
            ) from error

    def _outdated(self, key: bool) -> bool:
        """Whether a fresh encoder has to be opened for the next picture."""
        restarts = self._tuning.rebitrate is Rebitrate.RESTART
        ratio = self._bitrate_bps / self._opened.bitrate_bps
        if key:
            pace = self._times.fps / self._opened.fps
            limit = RESTART_RATIO if restarts else FRESH_RATIO
            return not (1 / limit < ratio < limit and 1 / FRESH_RATIO < pace < FRESH_RATIO)
        recent = self._times.total_us - self._restart_us < RESTART_PERIOD_US
        return restarts and ratio < RESTART_BELOW and not recent

    def _restart(self) -> list[Coded]:
        left = self.flush()
        fps = max(1.0, round(self._times.fps, 1))
        self._open(replace(self._target, bitrate_bps=self._bitrate_bps, fps=fps))
        self._restart_us = self._times.total_us
        return left

    def _tick(self, passed_us: int) -> int:
        """The picture's time for the encoder: always later than the one before."""
        if self._tuning.rebitrate is Rebitrate.CLOCK:
            passed_us = round(passed_us * self._bitrate_bps / self._opened.bitrate_bps)
        elif self._tuning.rebitrate is Rebitrate.LIVE:
            wanted = self._bitrate_bps * self._opened.fps / self._times.fps
            if not 1 / STEADY_RATIO < wanted / self._context.bit_rate < STEADY_RATIO:
                self._context.bit_rate = round(wanted)
        self._at = max(self._at + passed_us / self._unit_us, self._last_tick)
        self._last_tick = max(self._last_tick + 1, round(self._at))
        return self._last_tick

    def _collect(self, frame: Any) -> list[Coded]:
        ready = []
        for unit in self._context.encode(frame):
            number = self._numbers.take(unit.pts)
            if number is None:
                continue
            payload = bytes(unit)
            if self._delimited:
                payload = with_delimiter(payload)
            ready.append((payload, unit.is_keyframe, number))
        return ready
