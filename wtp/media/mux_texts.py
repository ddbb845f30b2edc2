"""Timed text in an mp4: texts and the silence between them, one after the other without a gap.

libavformat fills gaps of a text track by itself, at moments at which a fragment then gets wrong
times, and it ends the process when a text ends earlier than was said. So a text is handed over once
its end is known, and silence bit by bit. libavformat also compares the ticks of this track with
those of the others as if they were of one length: a fine time base keeps it from filling.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

TEXT_BASE = Fraction(1, 100_000_000)

FIRST_US = 50_000
"""Silence at the start: its ticks are above those of all other tracks until the first text ends."""

SILENCE_US = 1_000_000
"""How much silence gathers before it is handed over."""

LONGEST_US = 20_000_000
"""Of one sample; 32 bits of ticks are 42 s."""

LINES = 3
"""Texts shown together at most: those that have not ended when another comes."""

Sample = tuple[bytes, int, int]
"""A sample of 3GPP timed text (TS 26.245, 5.17), when it begins, and how long it lasts, in µs."""


class TimedTexts:
    """Turns texts into the samples of a text track."""

    def __init__(self) -> None:
        self._at_us = 0
        self._lines: list[tuple[str, int]] = []
        self._begin_us = self._end_us = 0

    def start(self) -> Iterator[Sample]:
        """The first sample."""
        return self._until(FIRST_US, "")

    def add(self, text: str, at_us: int, duration_us: int) -> Iterator[Sample]:
        """A text comes."""
        at_us = max(at_us, self._at_us)
        yield from self._finish(at_us)
        yield from self._until(at_us, "")
        shown = [line for line in self._lines if line[1] > at_us]
        self._lines = [*shown[1 - LINES :], (text, at_us + duration_us)]
        self._begin_us, self._end_us = at_us, at_us + duration_us

    def pass_time(self, now_us: int) -> Iterator[Sample]:
        """Nothing came up to now."""
        if self._lines:
            if now_us >= self._end_us:
                yield from self._finish(self._end_us)
                self._lines = []
        elif now_us >= self._at_us + SILENCE_US:
            yield from self._until(now_us, "")

    def end(self, end_us: int) -> Iterator[Sample]:
        """The recording ends."""
        yield from self._finish(max(end_us, self._begin_us + 1000))
        self._lines = []

    def _finish(self, end_us: int) -> Iterator[Sample]:
        if self._lines:
            text = "\n".join(line for line, _ in self._lines)
            yield from self._until(min(end_us, self._end_us), text)

    def _until(self, end_us: int, text: str) -> Iterator[Sample]:
        data = text.encode()[:0xFFFF]
        while end_us > self._at_us:
            begin_us, self._at_us = self._at_us, min(end_us, self._at_us + LONGEST_US)
            yield len(data).to_bytes(2, "big") + data, begin_us, self._at_us - begin_us
