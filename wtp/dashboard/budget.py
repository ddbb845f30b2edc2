"""How often a process may be asked: being watched shall stay a small part of its work.

What an answer costs is read from the kernel: the time on a CPU of the main thread, in which every
role here answers, before and after a question (/proc/PID/schedstat, Documentation/scheduler of
Linux). What the process does at all is the time of all its threads (/proc/PID/stat).
"""

from __future__ import annotations

import os
import statistics
from collections import deque
from pathlib import Path

PART = 0.02
"""Of its CPU time that a watched process may spend on answers."""

LONGEST_S = 10.0
"""A process that does next to nothing is asked as often as this all the same."""

SAMPLES = 15
"""Answers that are looked back on; the middle one counts, since other work falls into some."""


class Budget:
    """How long to wait until the next question, so that answers stay within `PART`.

    Args:
        shortest_s: Between two questions, at least.
    """

    def __init__(self, shortest_s: float) -> None:
        self._shortest_s = shortest_s
        self._costs_us: deque[int] = deque(maxlen=SAMPLES)
        self._seen: deque[tuple[int, int]] = deque(maxlen=SAMPLES)
        self.period_s = shortest_s

    def take(self, at_us: int, cost_us: int, total_us: int) -> float:
        """Take one answer.

        Args:
            at_us: When it came, CLOCK_MONOTONIC.
            cost_us: CPU time of the process while it was asked.
            total_us: CPU time of the process since its start.

        Returns:
            Seconds until the next question.
        """
        if self._seen:  # the first answer also opened the connection
            self._costs_us.append(max(0, cost_us))
        self._seen.append((at_us, total_us))
        first_us, first_total_us = self._seen[0]
        if at_us <= first_us or not self._costs_us:
            return self._shortest_s
        share = (total_us - first_total_us) / (at_us - first_us)
        cost_s = statistics.median(self._costs_us) / 1e6
        wanted_s = cost_s / (PART * share) if share > 0 else LONGEST_S
        self.period_s = round(min(LONGEST_S, max(self._shortest_s, wanted_s)), 1)
        return self.period_s


def main_thread_us(pid: int) -> int | None:
    """CPU time of a process's main thread in µs; None where that is not told."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[0]) // 1000
    except (OSError, ValueError, IndexError):
        return None


def all_threads_us(pid: int) -> int | None:
    """CPU time of a process in µs, in ticks of 10 ms; None where that is not told."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        user, system = text.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) * 1_000_000 // os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return None
