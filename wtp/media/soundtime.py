"""When sound was captured, told from when its blocks were handed over.

A driver hands blocks over late, in pairs, or after a pause, but never before they were captured:
the earliest hand-overs lie on the line that the sampling clock draws, all others above it. So the
line runs along the least delay of the last seconds and rises so slowly that stamps neither jump nor
follow the jitter, yet fast enough for any quartz. A line that a hand-over proves too late comes
down faster. What the hardware and a sound server hold before they hand over is unknown (PortAudio's
own figure is wrong by up to 673 ms on PulseAudio) and is not in the stamps.
"""

from __future__ import annotations

from collections import deque

GAP_US = 15_000
"""Sound missing for longer than this is a gap; shorter losses are taken up by the corrections."""
SEEN_US, SEEN_BLOCKS = 1_000_000, 8
"""How long every block has to come late before that is taken for a gap that nobody reported."""
LOOK_BACK_US = 4_000_000
RISE, FALL, HASTE = 0.001, 0.1, 0.9
"""Corrections at most, by time: up as quartzes need (they differ by less than 0.0003), down when a
hand-over proves the line late, and down when it proves it late by more than a gap."""


class SampleClock:
    """The stamps of one stream from a device.

    Args:
        rate_hz: Samples a second, as nominal.
    """

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._count = 0
        self._line_us: float | None = None
        self._late: deque[tuple[int, float]] = deque()
        """(time, when sample 0 would have been) of the earliest hand-overs, ever later ones."""
        self._recent: deque[tuple[int, float]] = deque()

    def stamp(self, now_us: int, count: int, *, lost: bool = False) -> int:
        """Take a block that was handed over just now.

        Args:
            now_us: The time.
            count: Its samples of each channel.
            lost: Whether the device said that sound was lost before it.

        Returns:
            When its first sample was captured, on the same clock.
        """
        start_us = self._count * 1e6 / self._rate_hz
        self._count += count
        zero_us = now_us - self._count * 1e6 / self._rate_hz
        self._recent.append((now_us, zero_us))
        while len(self._recent) > SEEN_BLOCKS and self._recent[1][0] <= now_us - SEEN_US:
            self._recent.popleft()
        if self._line_us is None or (lost and zero_us > self._line_us + GAP_US):
            self._begin(now_us, zero_us)
        else:
            self._follow(now_us, zero_us, count * 1e6 / self._rate_hz)
        assert self._line_us is not None  # noqa: S101 - both branches set it
        # Nothing is captured after its hand-over, whatever the line still believes.
        return round(min(self._line_us, zero_us + GAP_US) + start_us)

    def _begin(self, now_us: int, zero_us: float) -> None:
        self._line_us = zero_us
        self._late.clear()
        self._late.append((now_us, zero_us))
        self._recent.clear()

    def _follow(self, now_us: int, zero_us: float, duration_us: float) -> None:
        assert self._line_us is not None  # noqa: S101 - `stamp` looked
        if self._missing(now_us):
            self._begin(now_us, min(zero for _, zero in self._recent))
            return
        while self._late and self._late[-1][1] >= zero_us:
            self._late.pop()
        self._late.append((now_us, zero_us))
        while self._late[0][0] < now_us - LOOK_BACK_US:
            self._late.popleft()
        wanted_us = self._late[0][1] - self._line_us
        fall = HASTE if wanted_us < -GAP_US else FALL
        self._line_us += max(-fall * duration_us, min(RISE * duration_us, wanted_us))

    def _missing(self, now_us: int) -> bool:
        """Whether all blocks of a while came late: then sound is missing before them."""
        assert self._line_us is not None  # noqa: S101 - `stamp` looked
        if len(self._recent) < SEEN_BLOCKS or now_us - self._recent[0][0] < SEEN_US:
            return False
        return min(zero for _, zero in self._recent) > self._line_us + GAP_US
