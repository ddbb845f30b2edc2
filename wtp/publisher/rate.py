"""How much went by in the last seconds."""

from __future__ import annotations

from collections import deque

WINDOW_US = 2_000_000
MAX_EVENTS = 4096
"""Bound on what is remembered; above 2,048 events a second the window gets shorter."""


class Rate:
    """Events and bytes per second over a sliding window."""

    def __init__(self) -> None:
        self._events: deque[tuple[int, int]] = deque(maxlen=MAX_EVENTS)

    def add(self, now_us: int, size_bytes: int) -> None:
        """Count one event."""
        self._events.append((now_us, size_bytes))

    def per_second(self, now_us: int) -> tuple[float, float]:
        """Events per second and bits per second, up to now; zero while there are under two."""
        events = self._events
        while events and events[0][0] < now_us - WINDOW_US:
            events.popleft()
        if len(events) < 2:
            return 0.0, 0.0
        seconds = max(events[-1][0] - events[0][0], 1) / 1e6
        bits = 8 * (sum(size for _, size in events) - events[0][1])
        return (len(events) - 1) / seconds, bits / seconds
