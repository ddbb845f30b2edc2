"""The times of pictures as encoders need them: forward only, whatever the source's clock does."""

from __future__ import annotations

MAX_GAP_US = 1_000_000
"""A longer gap, or a step of the source's clock, counts as this."""

SMOOTHING = 1 / 16
MAX_WEIGHT = 4
"""A gap counts at most as that many pictures in the average rate."""


class PictureTimes:
    """Follows the presentation times of a source.

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
