"""Waiting for the time of the next unit, in a way that another thread can end, and its stamps."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

STALL_US = 200_000
"""Lateness after which the data of a pipe counts as having stalled; also how far stamps of a live
pipe whose format has no times (raw H.264, Motion JPEG) may be off."""
JUMP_US = 1_000_000
"""A live source whose own time jumps by more than this against ours has started anew."""
DRIFT = 5000
"""How fast the assumed delay of a live source may grow: 200 parts in a million, twice what the
crystals of two devices differ by."""


class Pacer:
    """A clock that starts with the first wait, and a flag that ends every wait."""

    def __init__(self) -> None:
        self._closed = threading.Event()
        self._start_ns: int | None = None

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed.is_set()

    def close(self) -> None:
        """End the wait under way and every later one; safe from any thread."""
        self._closed.set()

    def wait(self, pts_us: int) -> int | None:
        """Wait until `pts_us` after the first wait's moment.

        Args:
            pts_us: When the next picture is due; 0 returns at once.

        Returns:
            How late it is in µs (0 or more), or None when closed.
        """
        if self._start_ns is None:
            self._start_ns = time.monotonic_ns() - pts_us * 1000
        due_ns = self._start_ns + pts_us * 1000
        while not self._closed.is_set():
            left_ns = due_ns - time.monotonic_ns()
            if left_ns <= 0:
                return -left_ns // 1000
            self._closed.wait(left_ns / 1e9)
        return None

    def pause(self, seconds: float) -> bool:
        """Wait for some time; returns False when closed before."""
        return not self._closed.wait(seconds)

    def delay(self, by_us: int) -> None:
        """Let everything be due later."""
        if self._start_ns is not None:
            self._start_ns += by_us * 1000


class Timeline:
    """When the pictures and the sound of one source are due, and when they were captured.

    Both share one, so that they stay in step; each in a thread of its own.

    - Paced (files): a unit is due at start + its time, and that moment is its capture stamp.
    - Live: nothing waits. The stamp is the source's own time plus the least delay seen between it
      and the arrival, so that jitter of the network does not get into the stamps.
    - Neither: the stamp is the moment of arrival.

    Args:
        now_us: The clock of the stamps.
        paced: Whether units wait until they are due.
        live: Whether the source makes its units in real time.
        stalls: Whether its data may come late (a pipe): then everything after is due later.
    """

    def __init__(
        self,
        now_us: Callable[[], int],
        *,
        paced: bool,
        live: bool = False,
        stalls: bool = False,
    ) -> None:
        self.pacer = Pacer()
        self._now_us = now_us
        self._paced = paced
        self._live = live
        self._stalls = stalls
        self._lock = threading.Lock()
        self._start_us: int | None = None
        self._seen_us = 0

    def wait(self, due_us: int) -> bool:
        """Wait until a moment of the source's time; at once when it is not paced.

        Returns:
            False when closed.
        """
        if not self._paced:
            return not self.pacer.closed
        with self._lock:
            if self._start_us is None:
                self._start_us = self._now_us() - due_us
                self.pacer.wait(due_us)
        late_us = self.pacer.wait(due_us)
        if late_us is not None and self._stalls and late_us > STALL_US:
            with self._lock:
                late_us = self.pacer.wait(due_us) or 0
                if late_us > STALL_US:
                    self._start_us += late_us
                    self.pacer.delay(late_us)
        return late_us is not None

    def observe(self, pts_us: int, arrived_us: int) -> None:
        """Take the delay of a live unit into account.

        Args:
            pts_us: Its time within the source.
            arrived_us: When all of it had come, less its length; on the clock.
        """
        with self._lock:
            offset_us = arrived_us - pts_us
            held_us = self._start_us
            if held_us is None or abs(offset_us - held_us) > JUMP_US or offset_us < held_us:
                held_us = offset_us
            else:
                drift_us = max(0, arrived_us - self._seen_us) // DRIFT
                held_us = min(offset_us, held_us + drift_us)
            self._start_us, self._seen_us = held_us, arrived_us

    def renew(self) -> None:
        """A live source starts again: its time has nothing to do with that before."""
        with self._lock:
            self._start_us = None

    def stamp(self, pts_us: int, arrived_us: int) -> int:
        """The capture stamp of a unit.

        Args:
            pts_us: Its time within the source.
            arrived_us: When it came, on the clock.
        """
        start_us = self._start_us
        if start_us is None or not (self._paced or self._live):
            return arrived_us
        return min(start_us + pts_us, arrived_us) if self._live else start_us + pts_us
