"""The times of pictures as encoders need them, and what is known of pictures inside a codec."""

from __future__ import annotations

from typing import Generic, TypeVar

MAX_GAP_US = 1_000_000
"""A longer gap, or a step of the source's clock, counts as this."""

SMOOTHING = 1 / 16
MAX_WEIGHT = 4
"""A gap counts at most as that many pictures in the average rate."""

MAX_INSIDE = 64
"""Pictures that a codec may hold before the oldest counts as left out."""

Known = TypeVar("Known")


class PictureTimes:
    """Follows the presentation times of a source: forward only, whatever its clock does.

    Args:
        nominal_us: Time from picture to picture by the nominal rate.

    Attributes:
        total_us: Sum of all steps.
    """

    def __init__(self, nominal_us: float) -> None:
        self._nominal_us = nominal_us
        self._interval_us = nominal_us
        self._last_us: int | None = None
        self.total_us = 0

    @property
    def fps(self) -> float:
        """Pictures per second, averaged over about sixteen."""
        return 1e6 / self._interval_us

    def step(self, pts_us: int) -> int:
        """Time since the picture before in µs: 0 for the first, the nominal one after a step back.

        Args:
            pts_us: The picture's presentation time in µs.
        """
        last_us, self._last_us = self._last_us, pts_us
        if last_us is None:
            return 0
        passed_us = pts_us - last_us
        if passed_us <= 0:
            passed_us = round(self._nominal_us)
        passed_us = min(passed_us, MAX_GAP_US)
        near_us = min(passed_us, MAX_WEIGHT * self._interval_us)
        self._interval_us += (near_us - self._interval_us) * SMOOTHING
        self.total_us += passed_us
        return passed_us


class Inside(Generic[Known]):
    """What is known of the pictures inside a codec, by a number that grows.

    A codec may leave some out, and with B-frames they come out in another order.
    """

    def __init__(self) -> None:
        self._known: dict[int, Known] = {}

    def put(self, number: int, known: Known) -> None:
        """Remember a picture that goes in."""
        self._known[number] = known
        if len(self._known) > MAX_INSIDE:
            del self._known[next(iter(self._known))]

    def take(self, number: int) -> Known | None:
        """Forget a picture that came out; None for an unknown one."""
        return self._known.pop(number, None)

    def clear(self) -> None:
        """Forget all."""
        self._known.clear()
