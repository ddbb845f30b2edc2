"""What is played in place of sound that got lost: the last pitch period again, fading out.

The method of ITU-T G.711 Appendix I in its simplest form: the ear forgives a repeated period of a
voice or tone for some 10 ms and is warned by nothing so much as by a hole or a step.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wtp.media.sound import Samples

LOWEST_HZ, HIGHEST_HZ = 66, 400
"""Pitches that are looked for: those of voices."""
HOLD_S, GONE_S = 0.010, 0.060
"""Full level for the first 10 ms, silence after 60 ms (G.711 Appendix I, I.2.7)."""
BLEND_S = 0.0025
"""How long what comes back is blended with what was made up."""


class Concealment:
    """Makes up lost sound of one track from what came last.

    Args:
        rate_hz: Samples a second.
        channels: Of every block.
    """

    def __init__(self, rate_hz: int, channels: int) -> None:
        self._rate_hz = rate_hz
        self._longest = rate_hz // LOWEST_HZ + 1
        self._blend = round(rate_hz * BLEND_S)
        self._past: Samples = np.zeros((0, channels), np.int16)
        self._silence: Samples = np.zeros((0, channels), np.int16)
        self._period: Samples | None = None
        self._made = 0

    def heard(self, samples: Samples) -> Samples:
        """Take sound that came; returned with its beginning blended in after a loss."""
        if self._period is not None and len(samples):
            count = min(self._blend, len(samples))
            made = self._extend(count).astype(np.float64)
            weight = np.linspace(0.0, 1.0, count, endpoint=False)[:, None]
            samples = samples.copy()
            samples[:count] = np.rint(made * (1 - weight) + samples[:count] * weight)
        if len(samples):
            self._period = None
            keep = 3 * self._longest
            joined = np.concatenate((self._past, samples)) if len(samples) < keep else samples
            self._past = joined[-keep:].copy()
        return samples

    def make(self, count: int) -> Samples:
        """Make up `count` samples of each channel."""
        if self._period is None:
            self._period = self._last_period()
            self._made = 0
        return self._extend(count)

    def reset(self) -> None:
        """Forget what was heard."""
        self._past = self._silence
        self._period = None

    def _extend(self, count: int) -> Samples:
        assert self._period is not None  # noqa: S101 - callers set it
        places = np.arange(self._made, self._made + count)
        self._made += count
        fade = (GONE_S - places / self._rate_hz) / (GONE_S - HOLD_S)
        level = np.clip(fade, 0.0, 1.0)[:, None]
        made: Samples = np.rint(self._period[places % len(self._period)] * level).astype(np.int16)
        return made

    def _last_period(self) -> Samples:
        if len(self._past) < 3 * self._longest:
            return np.zeros((1, self._past.shape[1]), np.int16)
        period = _pitch(
            self._past.mean(axis=1), self._rate_hz // HIGHEST_HZ, self._rate_hz // LOWEST_HZ
        )
        return self._past[-period:]


def _pitch(mono: NDArray[np.float64], shortest: int, longest: int) -> int:
    """The lag in samples at which the end of a sound is most like what came before it."""
    window = mono[-longest:]
    size = 1 << int(np.ceil(np.log2(len(mono) + longest)))
    spectrum = np.fft.rfft(mono, size) * np.conj(np.fft.rfft(window, size))
    # Place p of `likeness` compares the window with the sound from sample p on.
    likeness = np.fft.irfft(spectrum, size)[: len(mono)]
    squares = np.concatenate(([0.0], np.cumsum(mono * mono)))
    starts = len(mono) - longest - np.arange(shortest, longest + 1)
    energy = squares[starts + longest] - squares[starts]
    score = likeness[starts] / np.sqrt(energy + 1.0)
    return int(np.argmax(score)) + shortest
