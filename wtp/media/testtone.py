"""A test sound that carries its capture time: a beep begins at every whole second of the clock.

Between the beeps lies a soft steady tone, so that a gap can be heard and measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from wtp.media.pace import Pacer
from wtp.media.sound import Block, Samples

BEEP_HZ, BEEP_MS = 1000, 50
STEADY_HZ = 250
LOUD, SOFT = 12_000, 600
"""Amplitudes of the beep and of what lies between."""
BLOCK_MS = 10


class ToneSource:
    """The test sound, live.

    Args:
        rate_hz: Samples a second.
        channels: All carry the same.
        now_us: The clock whose whole seconds are heard.
        pace: False delivers as fast as blocks are taken.
    """

    def __init__(
        self, rate_hz: int, channels: int, *, now_us: Callable[[], int], pace: bool = True
    ) -> None:
        self.name = "testsrc"
        self.rate_hz, self.channels = rate_hz, channels
        self._now_us = now_us
        self._pace = pace
        self._pacer = Pacer()

    def blocks(self) -> Iterator[Block]:
        """Deliver 10 ms at a time, each when its last sample is due, until closed."""
        count = self.rate_hz * BLOCK_MS // 1000
        start_us = self._now_us()
        taken = 0
        self._pacer.wait(0)
        while True:
            pts_us = round(taken * 1e6 / self.rate_hz)
            ready_us = round((taken + count) * 1e6 / self.rate_hz)
            if self._pacer.wait(ready_us if self._pace else 0) is None:
                return
            samples = draw(start_us, taken, count, self.rate_hz, self.channels)
            yield Block(samples, self.rate_hz, start_us + pts_us, pts_us)
            taken += count

    def close(self) -> None:
        """End `blocks`."""
        self._pacer.close()


def draw(start_us: int, first: int, count: int, rate_hz: int, channels: int) -> Samples:
    """The samples `first` to `first + count` of the test sound that begins at `start_us`."""
    number = np.arange(first, first + count, dtype=np.int64)
    into_second_s = (start_us % 1_000_000) / 1e6 + (number % rate_hz) / rate_hz
    into_second_s %= 1.0
    beep = LOUD * np.sin(2 * np.pi * BEEP_HZ * into_second_s)
    steady = SOFT * np.sin(2 * np.pi * STEADY_HZ * into_second_s)
    sound = np.where(into_second_s < BEEP_MS / 1000, beep, steady).astype(np.int16)
    return np.ascontiguousarray(np.repeat(sound[:, None], channels, axis=1))


def onsets(samples: Samples, rate_hz: int) -> list[float]:
    """Where beeps begin.

    Args:
        samples: Sound that holds whole beeps, also coded and decoded again.
        rate_hz: Its samples a second.

    Returns:
        Seconds from the first sample. A beep counts where its level first passes half of its
        amplitude after at least half a second without one; the quarter period that the first wave
        takes to get there is taken off.
    """
    level = np.abs(samples[:, 0].astype(np.int32)) > LOUD // 2
    at = np.flatnonzero(level)
    if not len(at):
        return []
    begins = at[np.concatenate(([True], np.diff(at) > rate_hz // 2))]
    rise_s = np.arcsin(0.5) / (2 * np.pi * BEEP_HZ)
    return [float(begin) / rate_hz - rise_s for begin in begins]
