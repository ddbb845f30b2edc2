"""A clock against the router's, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wtp.ui.common import UNKNOWN, counted


def clock_words(figures: Mapping[str, Any]) -> str:
    """Offset ± error, drift and how it was found.

    Args:
        figures: `wtp.clock.OffsetEstimator.snapshot`, or of a clock that is shared.
    """
    state = figures.get("state")
    resyncs = figures.get("resyncs") or 0
    again = f", {counted(resyncs, 'resync')}" if resyncs else ""
    if state == "shared":
        return "shared with the router, error 0 ms"
    if state != "measured" or figures.get("offset_us") is None:
        return f"{UNKNOWN}{again}"
    offset = f"offset {_offset(figures['offset_us'])} ± {figures['error_us'] / 1000:.3f} ms"
    drift = figures.get("drift_ppm")
    rate = f"drift {UNKNOWN}"
    if drift is not None:
        rate = f"drift {drift:+.0f} ± {figures['drift_error_ppm']:.0f} ppm"
    return f"{offset}, {rate}, {counted(figures['exchanges'], 'exchange')}{again}"


def _offset(us: int) -> str:
    """In ms, or in s from a minute on."""
    return f"{us / 1000:+.3f} ms" if abs(us) < 60_000_000 else f"{us / 1e6:+,.3f} s"
