"""When the next object is due: a play clock over capture times, with pause, speed and jumps.

Every due time is computed from one anchor, never from the object before: a late wake-up does not
add up.
"""

from __future__ import annotations

from collections.abc import Callable

from wtp.clock import monotonic_us

MAX_SPEED = 0.0
"""Stands for: as fast as it goes."""

FASTEST, SLOWEST = 64.0, 1 / 16
"""What the keys can choose; above the fastest comes `MAX_SPEED`."""


class Pace:
    """Maps capture times (Unix µs) to CLOCK_MONOTONIC.

    Args:
        speed: Times real time; `MAX_SPEED` for no waiting at all.
        monotonic: µs source, for tests.
    """

    def __init__(self, speed: float, monotonic: Callable[[], int] = monotonic_us) -> None:
        self.speed = speed
        self._monotonic = monotonic
        self._at_us: int | None = None
        self._since_us = 0
        self._paused_us: int | None = None

    @property
    def paused(self) -> bool:
        """Whether it stands still."""
        return self._paused_us is not None

    def start(self, at_us: int) -> None:
        """Begin at a capture time, now; does nothing when it has begun."""
        if self._at_us is None:
            self._at_us, self._since_us = at_us, self._now()

    def reset(self) -> None:
        """Begin anew with the next `start`; speed and pause stay."""
        self._at_us = None

    def position_us(self) -> int | None:
        """The capture time that is due now; None before the start and at `MAX_SPEED`."""
        if self._at_us is None or self.speed == MAX_SPEED:
            return None
        return self._at_us + int((self._now() - self._since_us) * self.speed)

    def wait_us(self, at_us: int) -> int:
        """How long until a capture time is due, in µs; 0 when it is. Not to be asked in a pause."""
        if self.speed == MAX_SPEED or self._at_us is None:
            return 0
        due_us = self._since_us + int((at_us - self._at_us) / self.speed)
        return max(0, due_us - self._now())

    def pause(self, on: bool) -> None:
        """Stand still, or go on from where it stood."""
        if on and self._paused_us is None:
            self._paused_us = self._monotonic()
        elif not on and self._paused_us is not None:
            self._since_us += self._monotonic() - self._paused_us
            self._paused_us = None

    def set_speed(self, speed: float, at_us: int | None) -> None:
        """Change the speed from now on.

        Args:
            speed: The new one.
            at_us: Capture time of the newest object played, where `MAX_SPEED` is left from.
        """
        where_us = self.position_us()
        if where_us is None or (at_us is not None and self.speed == MAX_SPEED):
            where_us = at_us
        self.speed = speed
        self._at_us, self._since_us = where_us, self._now()

    def faster(self) -> float:
        """The next speed up."""
        if self.speed == MAX_SPEED or self.speed * 2 > FASTEST:
            return MAX_SPEED
        return self.speed * 2

    def slower(self) -> float:
        """The next speed down."""
        if self.speed == MAX_SPEED:
            return FASTEST
        return max(SLOWEST, self.speed / 2)

    def _now(self) -> int:
        """CLOCK_MONOTONIC, which a pause holds still."""
        return self._monotonic() if self._paused_us is None else self._paused_us
