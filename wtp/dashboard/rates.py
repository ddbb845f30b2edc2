"""From counts that only grow to figures of the time between two answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wtp.metrics import BUCKETS_MS

QUANTILES = {"p50_ms": 0.50, "p90_ms": 0.90, "p99_ms": 0.99}


class Meter:
    """Rates of the counters of one process or track."""

    def __init__(self) -> None:
        self._at_us: int | None = None
        self._values: dict[str, float] = {}

    def take(self, at_us: int, values: Mapping[str, float]) -> dict[str, float | None]:
        """Take the counters of now.

        Args:
            at_us: When they were read, CLOCK_MONOTONIC.
            values: The counters by name.

        Returns:
            Their growth per second since the last call; None the first time, and where a counter
            went back, since then its owner was started anew.
        """
        before_us, before = self._at_us, self._values
        self._at_us, self._values = at_us, dict(values)
        if before_us is None or at_us <= before_us:
            return dict.fromkeys(values)
        seconds = (at_us - before_us) / 1e6
        rates: dict[str, float | None] = {}
        for name, value in values.items():
            last = before.get(name)
            known = last is not None and value >= last
            rates[name] = round((value - (last or 0)) / seconds, 3) if known else None
        return rates


def window(before: Sequence[int] | None, after: Sequence[int]) -> dict[str, Any]:
    """Percentiles of the latencies counted between two answers, out of cumulative buckets.

    Args:
        before: Counts per bucket of `wtp.metrics.BUCKETS_MS` then; None: there was no answer.
        after: Counts per bucket now.

    Returns:
        `n` and percentiles in ms, None where nothing was counted; a percentile lies evenly
        between the bounds of its bucket, and above the last bound it is that bound.
    """
    counts = _difference(before, after)
    total = sum(counts)
    found: dict[str, Any] = {"n": total}
    for name, part in QUANTILES.items():
        found[name] = round(_quantile(counts, part * total), 3) if total else None
    return found


def _difference(before: Sequence[int] | None, after: Sequence[int]) -> list[int]:
    fits = before is not None and len(before) == len(after) == len(BUCKETS_MS) + 1
    if not fits or before is None:
        return []
    counts = [now - then for then, now in zip(before, after, strict=True)]
    return [] if any(count < 0 for count in counts) else counts


def _quantile(counts: Sequence[int], rank: float) -> float:
    lower_ms, passed = 0.0, 0
    for count, upper_ms in zip(counts, BUCKETS_MS, strict=False):
        if count and passed + count >= rank:
            return lower_ms + (upper_ms - lower_ms) * (rank - passed) / count
        lower_ms, passed = upper_ms, passed + count
    return lower_ms


def number(value: object) -> float | None:
    """A figure out of an answer; None when it is no number."""
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def counts(table: object) -> dict[str, int]:
    """Counts by reason out of an answer; what is no count is left out."""
    if not isinstance(table, Mapping):
        return {}
    return {str(name): n for name, n in table.items() if type(n) is int}
