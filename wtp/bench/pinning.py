"""Processes bound to processor cores, so that "on one core" means what it says (Linux)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path


def cores() -> list[int]:
    """Cores this process may use; empty where the system does not say."""
    if not hasattr(os, "sched_getaffinity"):
        return []
    return sorted(os.sched_getaffinity(0))


def pin(pid: int, to: Iterable[int]) -> None:
    """Bind every thread of a process to these cores; threads it starts later inherit that."""
    chosen = list(to)
    if not chosen or not hasattr(os, "sched_setaffinity"):
        return
    for task in Path(f"/proc/{pid}/task").glob("*"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.sched_setaffinity(int(task.name), chosen)


def split(available: list[int]) -> tuple[list[int], list[int]]:
    """One core for what is measured and the others for what measures; both the same on one core."""
    if len(available) < 2:
        return available, available
    return available[-1:], available[:-1]


def scheduling() -> str:
    """Whether this process and its children have real-time priority, in a few words."""
    if not hasattr(os, "sched_getscheduler"):
        return "default"
    policy = os.sched_getscheduler(0)
    return "real time (chrt)" if policy in (os.SCHED_RR, os.SCHED_FIFO) else "default"
