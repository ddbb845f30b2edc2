"""On what a figure was measured, and how quiet it was there."""

from __future__ import annotations

import os
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

SPIN_LOOPS = 2_000_000

LEAST_S = 60.0
"""In less time the allocator's first growth would read as gigabytes an hour."""


def machine_line() -> str:
    """Processor, cores, kernel, Python and the two libraries that matter, in one line."""
    model = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    return (
        f"{model}, {os.cpu_count()} cores, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, aioquic {version('aioquic')}, "
        f"pulsar-client {version('pulsar-client')}"
    )


def spin_ms() -> float:
    """Time of a fixed loop; runs in which it differs by a tenth were disturbed by others."""
    start = time.perf_counter()
    for _ in range(SPIN_LOOPS):
        pass
    return round((time.perf_counter() - start) * 1000, 2)


def cpu_s(pid: int) -> float | None:
    """CPU seconds a process has used, user and system; None where /proc has none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_bytes(pid: int) -> int | None:
    """Resident memory of a process in bytes; None where /proc has none."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    except (OSError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def memory_figures(samples: dict[str, list[tuple[float, int]]]) -> dict[str, dict[str, Any]]:
    """`rss_mib` at the end and `memory_mib_per_h`, the slope of the last 80 %, by process."""
    return {
        "rss_mib": {name: round(held[-1][1] / 2**20, 1) for name, held in samples.items()},
        "memory_mib_per_h": {name: slope_mib_per_h(held) for name, held in samples.items()},
    }


def slope_mib_per_h(samples: list[tuple[float, int]], part: float = 0.8) -> float | None:
    """Growth of memory by least squares over the last part of a run.

    Args:
        samples: Seconds and bytes.
        part: Share of the run, at its end, that counts.

    Returns:
        MiB per hour; None with fewer than three samples in that part, or of less than a minute.
    """
    if not samples:
        return None
    first, last = samples[0][0], samples[-1][0]
    if last - first < LEAST_S:
        return None
    late = [(t, b) for t, b in samples if t >= last - (last - first) * part]
    if len(late) < 3:
        return None
    mean_t = sum(t for t, _ in late) / len(late)
    mean_b = sum(b for _, b in late) / len(late)
    spread = sum((t - mean_t) ** 2 for t, _ in late)
    if not spread:
        return None
    slope = sum((t - mean_t) * (b - mean_b) for t, b in late) / spread
    return round(slope * 3600 / 2**20, 3)
