"""Sound of a file, a URL or standard input, through PyAV."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from wtp.errors import MediaError
from wtp.media.demux import Demuxer
from wtp.media.frames import av_errors
from wtp.media.lane import Part
from wtp.media.libraries import load_av
from wtp.media.sound import Block, Samples

BLOCK_S = Fraction(1, 100)
"""Length of a block: short, so that sound leaves evenly and not by the frames of the file."""


class FileSound:
    """Sound beside the pictures of a file, paced and stamped as those.

    More than two channels are mixed down to two.

    Args:
        demuxer: What reads the file; it has sound.
        rate_hz: Resample to this; None keeps the rate.

    Attributes:
        damaged: Coded units that could not be decoded; they are gaps in the sound.

    Raises:
        MediaError: Its sound cannot be decoded.
    """

    def __init__(self, demuxer: Demuxer, *, rate_hz: int | None = None) -> None:
        self.name = demuxer.name
        self.damaged = 0
        self._demuxer = demuxer
        self._lock = threading.Lock()
        self._running = False
        context = demuxer.streams["audio"].codec_context
        if context is None or not context.sample_rate:
            raise MediaError(
                f"The sound of {self.name} cannot be decoded by this PyAV.",
                hint="Leave it out with --no-sound.",
            )
        self.rate_hz = rate_hz or int(context.sample_rate)
        self.channels = min(2, max(1, context.layout.nb_channels))

    def blocks(self) -> Iterator[Block]:
        """Deliver the sound until the end of the file, or until closed."""
        with self._lock:
            if self._running:
                return
            self._running = True
        if self._demuxer.live:
            self._demuxer.lanes["audio"].freshen()
        try:
            yield from self._paced()
        finally:
            self.close()

    def close(self) -> None:
        """End `blocks`; a read from a URL under way is ended by its time limit."""
        self._demuxer.leave("audio")

    def _paced(self) -> Iterator[Block]:
        timeline = self._demuxer.timeline
        step = int(self.rate_hz * BLOCK_S)
        last_us = -1
        for samples, pts_us, read_us in self._timed():
            length_us = round(len(samples) * 1e6 / self.rate_hz)
            for start in range(0, len(samples), step):
                at_us = pts_us + round(start * 1e6 / self.rate_hz)
                if not timeline.wait(at_us):
                    return
                piece = np.ascontiguousarray(samples[start : start + step])
                # All of it had been captured when it came, so the first sample was long before.
                stamp = timeline.stamp(at_us, read_us - length_us + at_us - pts_us)
                last_us = stamp = max(stamp, last_us + 1)
                yield Block(piece, self.rate_hz, stamp, at_us)

    def _timed(self) -> Iterator[tuple[Samples, int, int]]:
        """Samples, the time of the first since the start of the source, when they were read."""
        part: Part | None = None
        resampler: Any = None
        end_us = item_us = 0
        for item in self._demuxer.lanes["audio"].items():
            if isinstance(item, Part):
                if part is not None:
                    for frame in self._resampled(part.context, resampler, None):
                        yield self._samples(frame), end_us, item_us
                        end_us += round(frame.samples * 1e6 / self.rate_hz)
                part, resampler = item, self._resampler()
                end_us = part.base_us
                continue
            assert part is not None  # noqa: S101 - a part comes first
            item_us = item.arrived_us
            for frame in self._resampled(part.context, resampler, item.unit):
                if frame.pts is not None:
                    end_us = self._time(frame, part)
                samples = self._samples(frame)
                if end_us < part.base_us:
                    # Priming of the codec lies before the start.
                    left = round((part.base_us - end_us) * self.rate_hz / 1e6)
                    samples, end_us = samples[left:], part.base_us
                if len(samples):
                    yield samples, end_us, item_us
                end_us += round(len(samples) * 1e6 / self.rate_hz)

    def _resampled(self, context: Any, resampler: Any, unit: Any) -> list[Any]:
        av = load_av()
        with av_errors(f"{self.name} cannot be read on", "Check the file with ffprobe."):
            try:
                frames = context.decode(unit)
            except av.error.EOFError:
                frames = []
            except av.error.InvalidDataError:
                self.damaged += 1
                return []
            return [out for frame in frames for out in resampler.resample(frame)]

    def _resampler(self) -> Any:
        layout = "mono" if self.channels == 1 else "stereo"
        return load_av().AudioResampler(format="s16", layout=layout, rate=self.rate_hz)

    def _time(self, frame: Any, part: Part) -> int:
        since = frame.pts * frame.time_base - part.origin
        return part.base_us + int(since * 1_000_000)

    def _samples(self, frame: Any) -> Samples:
        samples: Samples = frame.to_ndarray().reshape(-1, self.channels)
        return samples
