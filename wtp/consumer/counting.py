"""Counting what comes: rates of now, and what is missing out of a sequence."""

from __future__ import annotations

from collections import OrderedDict, deque

MAX_MISSING = 1024
"""Missing sequence numbers a track remembers, to tell a late object from a repeated one."""

RATE_SLOT_US = 250_000
RATE_SLOTS = 8


class Rate:
    """Objects and bytes per second over the last two seconds."""

    def __init__(self) -> None:
        self._slots: deque[list[int]] = deque(maxlen=RATE_SLOTS + 1)

    def add(self, at_us: int, size_bytes: int) -> None:
        """Count one object at that time (CLOCK_MONOTONIC)."""
        slot = at_us // RATE_SLOT_US
        if not self._slots or self._slots[-1][0] < slot:
            self._slots.append([slot, 0, 0])
        self._slots[-1][1] += 1
        self._slots[-1][2] += size_bytes

    def at(self, now_us: int) -> tuple[float, float]:
        """Objects and bytes per second, over the whole slots of the window before now."""
        now = now_us // RATE_SLOT_US
        if not self._slots:
            return 0.0, 0.0
        first = max(self._slots[0][0], now - RATE_SLOTS)
        whole = [slot for slot in self._slots if first <= slot[0] < now]
        seconds = max(1, now - first) * RATE_SLOT_US / 1e6
        return sum(s[1] for s in whole) / seconds, sum(s[2] for s in whole) / seconds


class Sequence:
    """Gaps, repeats and late objects of one instance of a track."""

    def __init__(self) -> None:
        self.last: int | None = None
        self.missing: OrderedDict[int, None] = OrderedDict()

    def add(self, seq: int) -> tuple[int, str]:
        """Take the next number.

        Returns:
            By how many the count of missing objects changes, and `duplicate`, `late` or "".
        """
        if self.last is None or seq == self.last + 1:
            self.last = seq
            return 0, ""
        if seq > self.last:
            gap = seq - self.last - 1
            for number in range(max(self.last + 1, seq - MAX_MISSING), seq):
                self.missing[number] = None
            while len(self.missing) > MAX_MISSING:
                self.missing.popitem(last=False)
            self.last = seq
            return gap, ""
        if seq in self.missing:
            del self.missing[seq]
            return -1, "late"
        return 0, "duplicate"
