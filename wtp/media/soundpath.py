"""Sound of a device on its way to an encoder: channels, noise suppression, rate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from wtp.media.cutting import Cutter, Piece
from wtp.media.denoise import STEP_S, Denoiser
from wtp.media.sound import Block, Samples

STEP_US = round(STEP_S * 1_000_000)


class SoundPath:
    """Blocks of a device to blocks of the wanted rate, noise suppressed on the way.

    A denoiser works at the device's rate or, when it cannot, at its own one. Its delay is taken
    off the stamps, so each block carries the time its sound was captured at.

    Args:
        device_hz: What comes in.
        denoiser: Noise suppression, or None.
        rate_hz: What goes out.
        channels: Of both.

    Attributes:
        delay_us: What sound comes out later by: the noise suppression's own delay, and a block of
            10 ms for each conversion of the rate.
    """

    def __init__(
        self, device_hz: int, denoiser: Denoiser | None, rate_hz: int, channels: int
    ) -> None:
        self._denoiser = denoiser
        work_hz = denoiser.rate_hz if denoiser else rate_hz
        self._before: Cutter | None = None
        if denoiser or work_hz != device_hz:
            # A denoiser takes whole steps, which blocks of a device need not be.
            self._before = Cutter(device_hz, work_hz, channels, round(work_hz * STEP_S))
        self._behind: Cutter | None = None
        if work_hz != rate_hz:
            self._behind = Cutter(work_hz, rate_hz, channels, round(rate_hz * STEP_S))
        self._work_hz, self._rate_hz = work_hz, rate_hz
        conversions = (device_hz != work_hz) + (work_hz != rate_hz)
        self.delay_us = (denoiser.delay_us if denoiser else 0) + conversions * STEP_US

    def push(self, block: Block) -> Iterator[Block]:
        """Take a block; what is ready.

        Raises:
            MediaError: The noise suppression or the conversion failed.
        """
        if self._before is None:
            yield block
            return
        for piece in self._before.push(block):
            work = self._clean(piece)
            if self._behind is None:
                yield work
            else:
                yield from _blocks(self._behind.push(work), self._rate_hz)

    def _clean(self, piece: Piece) -> Block:
        if self._denoiser is None:
            return Block(piece.samples, self._work_hz, piece.capture_us, piece.pts_us)
        delay_us = self._denoiser.delay_us
        return Block(
            self._denoiser.clean(piece.samples),
            self._work_hz,
            None if piece.capture_us is None else piece.capture_us - delay_us,
            piece.pts_us - delay_us,
        )


def conform(samples: Samples, channels: int) -> Samples:
    """The same sound with another number of channels: mixed to one, doubled, or the first two."""
    given = samples.shape[1]
    if given == channels:
        return samples
    if channels == 1:
        mixed: Samples = np.rint(samples.mean(axis=1, keepdims=True)).astype(np.int16)
        return mixed
    if given == 1:
        return np.repeat(samples, channels, axis=1)
    return np.ascontiguousarray(samples[:, :channels])


def _blocks(pieces: Iterable[Piece], rate_hz: int) -> Iterator[Block]:
    for piece in pieces:
        yield Block(piece.samples, rate_hz, piece.capture_us, piece.pts_us)
