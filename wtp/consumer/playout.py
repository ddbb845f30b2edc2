"""When what was captured is to be shown and heard: one delay for all tracks of a publisher.

    due = capture + delay        both in CLOCK_MONOTONIC of this process

Pure: times are arguments. What may be asked from another thread is a single number.
"""

from __future__ import annotations

from collections import deque
from typing import Literal

from wtp.consumer.item import Item

MARGIN_US = 2_000
"""Kept above the largest need of the last seconds."""

SLOT_US = 1_000_000
SLOTS = 8
"""The delay covers what the last eight seconds needed."""

SHRINK_US_PER_S = 10_000
"""How fast the delay goes down: sound is sped up by 1 %, which is hard to hear."""

OVER_FLOOR_US = 60_000
"""When the way alone takes longer than the limit, the delay may be so much above it."""

STEP_US = 20_000
"""A clock offset that differs by more has stepped; less is noise of its estimate."""


class Timeline:
    """Capture times of one publisher in this process's CLOCK_MONOTONIC.

    With an unknown clock the fastest object counts as captured when it arrived: picture and sound
    are in step, only the delay is that much too small.

    Attributes:
        known: Whether the clock of the stamps is known, so that delays are from true capture.
    """

    def __init__(self) -> None:
        self.known = False
        self._clock: str | None = None
        self._offset_us: int | None = None
        self._ends: dict[str, int] = {}

    def place(self, item: Item) -> int:
        """When an object was captured, CLOCK_MONOTONIC in µs."""
        arrival_us = item.message.receive_monotonic_us
        capture_us = item.stamp("capture_us")
        if capture_us is None:
            return self._without_stamp(item, arrival_us)
        clock = item.message.properties.get("clock", "")
        if clock != self._clock:
            self._clock, self._offset_us = clock, None
        if item.receive_us is not None:
            self.known = True
            offset_us = item.receive_us - arrival_us
            before = self._offset_us
            if before is None or abs(offset_us - before) > STEP_US:
                self._offset_us = offset_us
            else:
                self._offset_us = before + (offset_us - before) // 16
        elif self._offset_us is None or capture_us - arrival_us > self._offset_us:
            self.known = False
            self._offset_us = capture_us - arrival_us
        return capture_us - self._offset_us

    def _without_stamp(self, item: Item, arrival_us: int) -> int:
        """One behind the other from the first arrival on, as long as that fits the arrivals."""
        self.known = False
        place_us = self._ends.get(item.source, arrival_us)
        length_us = item.obj.duration_us if item.obj else 0
        if not length_us or abs(arrival_us - place_us) > SLOT_US // 4:
            place_us = arrival_us
        self._ends[item.source] = place_us + length_us
        return place_us


class Delay:
    """From capture to show: grows at once when something comes late, shrinks slowly.

    Args:
        wanted: `auto`, or fixed milliseconds.
        max_ms: What auto goes up to, unless the way alone takes longer.

    Attributes:
        target_us: The delay now; 0 before the first object.
        late: Objects that came after their time.
    """

    def __init__(self, wanted: Literal["auto"] | int = "auto", max_ms: int = 1000) -> None:
        self._fixed = wanted != "auto"
        self._max_us = max_ms * 1000
        self.target_us = 0 if wanted == "auto" else wanted * 1000
        self.late = 0
        self._slots: deque[tuple[int, int]] = deque(maxlen=SLOTS)
        self._slot_ends_us: int | None = None

    def arrived(self, capture_us: int, arrival_us: int, cost_us: int) -> None:
        """Take the arrival of a live object into account.

        Args:
            capture_us: When it was captured; of the same clock as the next.
            arrival_us: When it arrived.
            cost_us: What decoding it and handing it to the device takes.
        """
        need_us = arrival_us - capture_us + cost_us
        self._late(need_us)
        if self._fixed:
            return
        self._turn(arrival_us)
        floor_us = min(need_us, *(low for low, _ in self._slots)) if self._slots else need_us
        limit_us = max(self._max_us, floor_us + OVER_FLOOR_US)
        if need_us > limit_us:
            return  # a burst after a stall: to wait for such ones would delay all that follow
        low, high = self._slots.pop() if self._slots else (need_us, need_us)
        self._slots.append((min(low, need_us), max(high, need_us)))
        self.target_us = min(limit_us, max(self.target_us, need_us + MARGIN_US))

    def _late(self, need_us: int) -> None:
        if self.target_us and need_us > self.target_us:
            self.late += 1

    def _turn(self, now_us: int) -> None:
        """Begin a new second when it is time, and let the delay go down by what that allows."""
        if self._slot_ends_us is None:
            self._slot_ends_us = now_us + SLOT_US
            return
        if now_us < self._slot_ends_us:
            return
        passed_us = now_us - self._slot_ends_us + SLOT_US
        self._slot_ends_us = now_us + SLOT_US
        wanted_us = max(high for _, high in self._slots) + MARGIN_US if self._slots else 0
        down_us = SHRINK_US_PER_S * min(passed_us, 2 * SLOT_US) // 1_000_000
        self.target_us = max(wanted_us, self.target_us - down_us)
        if self._slots:
            self._slots.append(self._slots[-1])
            low, _ = self._slots[-1]
            self._slots[-1] = (low, low)
