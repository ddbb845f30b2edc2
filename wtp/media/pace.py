"""Waiting for the time of the next picture, in a way that another thread can end."""

from __future__ import annotations

import threading
import time


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
