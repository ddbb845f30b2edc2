"""Counting without losing: ledgers of objects, and latencies with fixed relative error."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

MAX_LATENCY_US = 3_600_000_000
"""Latencies above an hour are counted as an hour."""

PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p999": 99.9}


@dataclass(slots=True)
class Ledger:
    """What happened to the objects that reached one hop.

    At every moment: offered = delivered + dropped{reason} + in flight.
    """

    offered: int = 0
    delivered: int = 0
    in_flight: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    bytes: int = 0

    def offer(self, size_bytes: int = 0) -> None:
        """An object arrived; it is in flight until `deliver` or `drop`."""
        self.offered += 1
        self.in_flight += 1
        self.bytes += size_bytes

    def deliver(self, count: int = 1) -> None:
        """Objects went on to the next hop for good."""
        self.in_flight -= count
        self.delivered += count

    def drop(self, reason: str, count: int = 1) -> None:
        """Objects end here."""
        if count:
            self.in_flight -= count
            self.dropped[reason] += count

    def add(self, other: Ledger) -> None:
        """Add another ledger's counts to these."""
        self.offered += other.offered
        self.delivered += other.delivered
        self.in_flight += other.in_flight
        self.dropped.update(other.dropped)
        self.bytes += other.bytes

    @property
    def dropped_total(self) -> int:
        """Dropped objects over all reasons."""
        return sum(self.dropped.values())

    @property
    def balanced(self) -> bool:
        """Whether the identity holds, with nothing negative."""
        total = self.delivered + self.dropped_total + self.in_flight
        return self.offered == total and self.in_flight >= 0

    def snapshot(self) -> dict[str, Any]:
        """The counts as plain values."""
        return {
            "offered": self.offered,
            "delivered": self.delivered,
            "in_flight": self.in_flight,
            "dropped": dict(self.dropped),
            "bytes": self.bytes,
        }


BUCKETS_MS = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0)
"""Upper bounds of the buckets in which processes count latencies as they go."""


class Buckets:
    """Latencies in a few fixed buckets: cheap to count, cheap to ask, made for Prometheus."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS_MS) + 1)
        self.sum_us = 0
        self.max_us = 0

    def add(self, value_us: int) -> None:
        """Count one latency."""
        self.counts[bisect_left(BUCKETS_MS, value_us / 1000)] += 1
        self.sum_us += value_us
        if value_us > self.max_us:
            self.max_us = value_us

    def snapshot(self) -> dict[str, Any]:
        """`n`, `mean_ms`, estimated percentiles, `max_ms` and `buckets`, counts in order.

        A percentile is taken as if values were spread evenly over its bucket: it lies in the right
        one. All figures are None while nothing was counted.
        """
        n = sum(self.counts)
        if not n:
            unknown = dict.fromkeys(("mean_ms", "p50_ms", "p90_ms", "p99_ms", "max_ms"))
            return {"n": 0, **unknown, "buckets": list(self.counts)}
        p50, p90, p99 = self._estimates_ms(n)
        return {
            "n": n,
            "mean_ms": round(self.sum_us / n / 1000, 3),
            "p50_ms": p50,
            "p90_ms": p90,
            "p99_ms": p99,
            "max_ms": round(self.max_us / 1000, 3),
            "buckets": list(self.counts),
        }

    def _estimates_ms(self, n: int) -> list[float]:
        """The percentiles 50, 90 and 99 of so many values, in one pass."""
        ranks = [max(1, math.ceil(PERCENTILES[name] * n / 100)) for name in ("p50", "p90", "p99")]
        most_ms = self.max_us / 1000
        out: list[float] = []
        low_ms, reached = 0.0, 0
        for count, high_ms in zip(self.counts, (*BUCKETS_MS, most_ms), strict=True):
            if count:
                top_ms = max(low_ms, min(high_ms, most_ms))
                while len(out) < len(ranks) and ranks[len(out)] <= reached + count:
                    part = (ranks[len(out)] - reached) / count
                    out.append(round(low_ms + part * (top_ms - low_ms), 3))
                reached += count
            low_ms = high_ms
        return out


FINE_BITS, COARSE_BITS = 11, 7
"""Leading bits of a latency that are kept: three significant digits; or two, for the many."""


class Latency:
    """Latencies of one hop or way in µs, as a histogram with a fixed relative error.

    Only the leading bits of each value are kept, as in HdrHistogram, but only of those that came:
    that is a few hundred numbers, where an array over the whole range takes 190 kB.

    Args:
        bits: Leading bits that are kept: `FINE_BITS` is true to 0.1 %, `COARSE_BITS` to 1.6 %.
    """

    __slots__ = ("_bits", "_counts", "last_us", "max_us", "n", "negative", "sum_us")

    def __init__(self, bits: int = FINE_BITS) -> None:
        self._bits = bits
        self._counts: dict[int, int] = {}
        self.n = 0
        self.negative = 0
        """Values below zero: clocks disagree by more than the way took; they count as 0."""
        self.sum_us = 0
        self.max_us = 0
        self.last_us: int | None = None

    def add(self, value_us: int) -> None:
        """Count one latency."""
        if value_us < 0:
            self.negative += 1
            value_us = 0
        self.n += 1
        self.last_us = value_us
        self.sum_us += value_us
        if value_us > self.max_us:
            self.max_us = value_us
        kept = value_us if value_us < MAX_LATENCY_US else MAX_LATENCY_US
        shift = kept.bit_length() - self._bits
        if shift > 0:
            kept = kept >> shift << shift
        counts = self._counts
        counts[kept] = counts.get(kept, 0) + 1

    def merge(self, other: Latency) -> None:
        """Count all that another one of the same precision has counted, before what comes."""
        self.n += other.n
        self.negative += other.negative
        self.sum_us += other.sum_us
        self.max_us = max(self.max_us, other.max_us)
        self.last_us = other.last_us if self.last_us is None else self.last_us
        counts = self._counts
        for kept, count in other._counts.items():
            counts[kept] = counts.get(kept, 0) + count

    @property
    def mean_us(self) -> float | None:
        """The arithmetic mean; None while nothing was counted."""
        return self.sum_us / self.n if self.n else None

    @property
    def least_us(self) -> int | None:
        """The least value, rounded down to the precision; None while nothing was counted."""
        return min(self._counts, default=None)

    def snapshot(self) -> dict[str, Any]:
        """`n`, percentiles and maximum; figures in ms, None while nothing was counted."""
        out: dict[str, Any] = {"n": self.n}
        values = self._percentiles_us() if self.n else [None] * len(PERCENTILES)
        for name, value in zip(PERCENTILES, values, strict=True):
            out[f"{name}_ms"] = None if value is None else round(value / 1000, 3)
        out["max_ms"] = round(self.max_us / 1000, 3) if self.n else None
        return out

    def below(self, bounds_us: Sequence[float]) -> list[int]:
        """How many values are at most so large, for each of the bounds in order."""
        kept = sorted(self._counts)
        reached = list(accumulate((self._counts[value] for value in kept), initial=0))
        return [reached[bisect_right(kept, bound)] for bound in bounds_us]

    def encoded(self) -> str:
        """The whole histogram (µs) as text, HdrHistogram's compressed form in base64."""
        from hdrh.histogram import HdrHistogram

        histogram = HdrHistogram(1, MAX_LATENCY_US, 3)
        for kept, count in self._counts.items():
            histogram.record_value(max(1, kept), count)
        return str(histogram.encode().decode("ascii"))

    def _percentiles_us(self) -> list[int]:
        """All percentiles in one pass, each the largest value that cannot be told from it."""
        ranks = [max(1, math.ceil(part * self.n / 100)) for part in PERCENTILES.values()]
        out: list[int] = []
        reached = 0
        for kept in sorted(self._counts):
            reached += self._counts[kept]
            while len(out) < len(ranks) and reached >= ranks[len(out)]:
                shift = max(0, kept.bit_length() - self._bits)
                out.append(min(kept + (1 << shift) - 1, self.max_us))
        return out


TIMELINE_S = 7200
"""Seconds that a time line holds at most: two hours."""


class Timeline:
    """Latencies second by second, for the course of a run.

    Args:
        start_us: When second 0 began, on the clock that `add` is given.
    """

    def __init__(self, start_us: int) -> None:
        self._start_us = start_us
        self._seconds: dict[int, list[int]] = {}

    def add(self, at_us: int, value_us: int) -> None:
        """Count the latency of an object that was due at that time; not before the start."""
        second = (at_us - self._start_us) // 1_000_000
        if 0 <= second < TIMELINE_S:
            self._seconds.setdefault(second, []).append(value_us)

    def snapshot(self) -> list[dict[str, Any]]:
        """`t_s` (end of the second), `n`, `p50_ms`, `p99_ms`, `max_ms` of each second with any."""
        out = []
        for second, values in sorted(self._seconds.items()):
            ordered = sorted(values)
            figures: dict[str, Any] = {"t_s": second + 1, "n": len(ordered)}
            for name in ("p50", "p99"):
                rank = max(1, math.ceil(PERCENTILES[name] * len(ordered) / 100))
                figures[f"{name}_ms"] = round(ordered[rank - 1] / 1000, 3)
            figures["max_ms"] = round(ordered[-1] / 1000, 3)
            out.append(figures)
        return out
