"""Sound of any block length and rate to pieces of one length and rate, each with its own time.

The stamps of a piece come from the block that its first sample lies in, so a smooth line of stamps
goes in and a smooth line comes out. A gap in the sound ends a piece early: its rest is silence, and
the next piece begins behind the gap with the time that belongs to it.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from wtp.errors import MediaError
from wtp.media.frames import av_errors
from wtp.media.libraries import load_av
from wtp.media.sound import Block, Samples

GAP_US = 5000
"""A jump of `pts_us` ahead above this is a gap; all else corrects the stamps."""

LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
"""FFmpeg's name of the usual layout of so many channels."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """Some samples of the agreed number, and when the first was captured.

    Attributes:
        samples: Exactly as many as the cutter was made for.
        capture_us: Of the first sample, or None when unknown.
        pts_us: Of the first sample.
    """

    samples: Samples
    capture_us: int | None
    pts_us: int


@dataclass(frozen=True, slots=True)
class _Anchor:
    """The time of one sample since the last gap, counted at the rate that comes out."""

    position: float
    capture_us: int | None
    pts_us: int


class Resampler:
    """Sample rate conversion of a running sound, without a shift in time.

    Args:
        rate_hz: What comes in.
        to_hz: What goes out.
        channels: Of both.

    Raises:
        MissingLibrary: PyAV is not there.
    """

    def __init__(self, rate_hz: int, to_hz: int, channels: int) -> None:
        self._av = load_av()
        self._rate_hz, self._to_hz, self._channels = rate_hz, to_hz, channels
        self._start()

    def push(self, samples: Samples) -> Samples:
        """Convert; what comes out lags by up to some milliseconds.

        Raises:
            MediaError: It failed.
        """
        if not len(samples):
            return samples
        frame = sound_frame(samples, self._rate_hz)
        frame.pts = self._count
        self._count += len(samples)
        return self._resample(frame)

    def flush(self) -> Samples:
        """Return what is still inside; the next `push` begins anew."""
        rest = self._resample(None) if self._count else _no_samples(self._channels)
        self._start()
        return rest

    def _start(self) -> None:
        layout = LAYOUTS[self._channels]
        self._resampler = self._av.AudioResampler(format="s16", layout=layout, rate=self._to_hz)
        self._count = 0

    def _resample(self, frame: Any) -> Samples:
        with av_errors("The sound could not be resampled", "Use another --rate."):
            parts = [samples_of(out, self._channels) for out in self._resampler.resample(frame)]
        return np.concatenate(parts) if parts else _no_samples(self._channels)


class Cutter:
    """Cuts sound to pieces; for one thread.

    Args:
        rate_hz: Rate of the blocks.
        to_hz: Rate of the pieces.
        channels: Of both.
        size: Samples of a piece.
        hold_us: What is inside an encoder behind it: subtracted from the times.

    Raises:
        MissingLibrary: The rates differ and PyAV is not there.
    """

    def __init__(
        self, rate_hz: int, to_hz: int, channels: int, size: int, *, hold_us: int = 0
    ) -> None:
        self._rate_hz, self._to_hz, self._channels, self._size = rate_hz, to_hz, channels, size
        self._hold_us = hold_us
        self._resampler = Resampler(rate_hz, to_hz, channels) if rate_hz != to_hz else None
        self._next_us: int | None = None
        self._restart()

    def push(self, block: Block) -> Iterator[Piece]:
        """Take a block; the pieces that are ready.

        Raises:
            MediaError: Its rate or channels are not those announced.
        """
        self._check(block)
        if self._next_us is not None and block.pts_us - self._next_us > GAP_US:
            yield from self.flush()
        self._next_us = block.pts_us + block.duration_us
        position = self._taken * self._to_hz / self._rate_hz
        self._anchors.append(_Anchor(position, block.capture_us, block.pts_us))
        self._taken += len(block.samples)
        self._hold(self._resampler.push(block.samples) if self._resampler else block.samples)
        yield from self._cut()

    def flush(self) -> Iterator[Piece]:
        """End here: the last piece is filled up with silence."""
        if self._resampler:
            self._hold(self._resampler.flush())
            yield from self._cut()
        if self._held:
            self._hold(np.zeros((self._size - self._held, self._channels), np.int16))
            yield from self._cut()
        self._restart()

    def _restart(self) -> None:
        self._parts: list[Samples] = []
        self._held = 0
        self._taken = self._given = 0
        self._anchors: deque[_Anchor] = deque()
        self._next_us = None

    def _hold(self, samples: Samples) -> None:
        if len(samples):
            self._parts.append(samples)
            self._held += len(samples)

    def _cut(self) -> Iterator[Piece]:
        if self._held < self._size:
            return
        samples = self._parts[0] if len(self._parts) == 1 else np.concatenate(self._parts)
        end = len(samples) - len(samples) % self._size
        for start in range(0, end, self._size):
            yield self._piece(samples[start : start + self._size])
        self._held = len(samples) - end
        self._parts = [samples[end:].copy()] if self._held else []

    def _piece(self, samples: Samples) -> Piece:
        while len(self._anchors) > 1 and self._anchors[1].position <= self._given:
            self._anchors.popleft()
        anchor = self._anchors[0]
        since_us = round((self._given - anchor.position) * 1e6 / self._to_hz) - self._hold_us
        self._given += self._size
        capture_us = None if anchor.capture_us is None else anchor.capture_us + since_us
        return Piece(np.ascontiguousarray(samples), capture_us, anchor.pts_us + since_us)

    def _check(self, block: Block) -> None:
        channels = block.samples.shape[1] if block.samples.ndim == 2 else 1
        if (block.rate_hz, channels) != (self._rate_hz, self._channels):
            raise MediaError(
                f"Sound of {block.rate_hz} Hz and {channels} channels came into an encoder for"
                f" {self._rate_hz} Hz and {self._channels}.",
                hint="Start a new track for it.",
            )


def sound_frame(samples: Samples, rate_hz: int) -> Any:
    """An `av.AudioFrame` of interleaved 16-bit samples."""
    flat = np.ascontiguousarray(samples).reshape(1, -1)
    frame = load_av().AudioFrame.from_ndarray(flat, "s16", LAYOUTS[samples.shape[1]])
    frame.sample_rate = rate_hz
    return frame


def samples_of(frame: Any, channels: int) -> Samples:
    """Copy an interleaved 16-bit `av.AudioFrame` of so many channels."""
    samples: Samples = frame.to_ndarray().reshape(-1, channels)
    return samples


def _no_samples(channels: int) -> Samples:
    return np.zeros((0, channels), np.int16)
