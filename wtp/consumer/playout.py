"""When what was captured is to be shown and heard: one delay for all tracks of a publisher.

    due = capture + delay        both in CLOCK_MONOTONIC of this process

Pure: times are arguments.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Literal

from wtp.consumer.item import Item

MARGIN_US = 2_000
"""Kept above what the delay has to cover."""

SLOT_US = 500_000
SLOTS = 16
FORGIVEN = 2
"""The delay covers what the last eight seconds needed but for their two worst half-seconds: what a
single stall holds up is late already, and to wait for such ones would delay all that follow."""

STEP_UP_US = 20_000
"""How much a late object may raise the delay at once, in each half-second."""

SHRINK_US_PER_S = 10_000
"""How fast the delay goes down: sound is sped up by 1 %, which is hard to hear."""

SLACK_US = 10_000
"""It begins to go down only when it is so much too large: sound keeps its pitch otherwise."""

LEAP_US = 150_000
"""When it is so much too large it goes down at once: sound that skips a moment is better than a
minute of being behind."""

YOUNG_US = 3_000_000
"""At first, while decoders and devices start, it goes down at once."""

OVER_FLOOR_US = 60_000
"""When the way alone takes longer than the limit, the delay may be so much above it."""

SMOOTHING = 32
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
        if item.receive_us is not None and item.synced:
            self.known = True
            offset_us = item.receive_us - arrival_us
            before = self._offset_us
            if before is None or abs(offset_us - before) > STEP_US:
                self._offset_us = offset_us
            else:
                self._offset_us = before + (offset_us - before) // 16
        elif self.known or self._offset_us is None or capture_us - arrival_us > self._offset_us:
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
    """From capture to show: grows when something comes late, shrinks slowly; for any thread.

    Args:
        wanted: `auto`, or fixed milliseconds.
        max_ms: What auto goes up to, unless the way alone takes longer.

    Attributes:
        target_us: The delay now; 0 before the first object.
        late: Objects that came after their time.
        need_us: What objects needed lately, smoothed.
    """

    def __init__(self, wanted: Literal["auto"] | int = "auto", max_ms: int = 1000) -> None:
        self._fixed = wanted != "auto"
        self._max_us = max_ms * 1000
        self.target_us = 0 if wanted == "auto" else wanted * 1000
        self.late = self.need_us = 0
        self._slots: deque[tuple[int, int]] = deque(maxlen=SLOTS)
        self._slot_began_us = self._began_us = 0
        self._ceiling_us = 0
        self._shrinking = False
        self._lock = threading.Lock()

    def arrived(self, capture_us: int, arrival_us: int, cost_us: int) -> None:
        """Take the arrival of a live object into account.

        Args:
            capture_us: When it was captured; of the same clock as the next.
            arrival_us: When it arrived.
            cost_us: What decoding it and handing it to the device takes.
        """
        with self._lock:
            self._arrived(arrival_us - capture_us + cost_us, arrival_us)

    def _arrived(self, need_us: int, arrival_us: int) -> None:
        self.need_us += (need_us - self.need_us) // (SMOOTHING if self.need_us else 1)
        if self.target_us and need_us > self.target_us:
            self.late += 1
        if self._fixed:
            return
        floor_us = min((low for low, _ in self._slots), default=need_us)
        limit_us = max(self._max_us, min(floor_us, need_us) + OVER_FLOOR_US)
        self._turn(arrival_us, need_us)
        low, high = self._slots[-1]
        if need_us < low or need_us > high:
            self._slots[-1] = (min(low, need_us), max(high, need_us))
        if need_us + MARGIN_US > self.target_us:
            step_us = min(need_us + MARGIN_US, self._ceiling_us)
            self.target_us = min(limit_us, max(self.target_us, step_us, self._covered_us()))

    @property
    def too_short(self) -> bool:
        """Whether a fixed delay is shorter than objects need on the average."""
        return self._fixed and self.need_us > self.target_us

    def _covered_us(self) -> int:
        """What the delay has to be for all but the worst half-seconds."""
        highs = sorted((high for _, high in self._slots), reverse=True)
        return highs[min(FORGIVEN, len(highs) - 1)] + MARGIN_US

    def _turn(self, now_us: int, need_us: int) -> None:
        """Begin a new half-second when it is time; the delay goes down by what that allows."""
        if not self._slots:
            self._began_us = self._slot_began_us = now_us
            self._slots.append((need_us, need_us))
            return
        passed_us = now_us - self._slot_began_us
        if passed_us < SLOT_US:
            return
        self._slot_began_us = now_us
        wanted_us = self._covered_us()
        self._shrinking = self.target_us > wanted_us + SLACK_US * (not self._shrinking)
        if self._shrinking:
            down_us = SHRINK_US_PER_S * min(passed_us, 2 * SLOT_US) // 1_000_000
            young = now_us - self._began_us < YOUNG_US
            if young or self.target_us > wanted_us + LEAP_US:
                down_us = self.target_us
            self.target_us = max(wanted_us, self.target_us - down_us)
        self._ceiling_us = self.target_us + STEP_UP_US
        self._slots.append((need_us, need_us))
