"""wtp.metrics: the drop identity, and percentiles of known error."""

from __future__ import annotations

import math
from bisect import bisect_left

import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given
from hypothesis import strategies as st

from wtp.metrics import (
    BUCKETS_MS,
    COARSE_BITS,
    MAX_LATENCY_US,
    PERCENTILES,
    Buckets,
    Latency,
    Ledger,
)

steps = st.lists(
    st.tuples(st.sampled_from(["offer", "deliver", "drop", "stall"]), st.integers(0, 5)),
    max_size=50,
)


def run(steps: list[tuple[str, int]]) -> Ledger:
    """A ledger after steps that never take more than is in flight."""
    ledger = Ledger()
    for step, count in steps:
        count = min(count, ledger.in_flight)
        if step == "offer":
            ledger.offer(10)
        elif step == "deliver":
            ledger.deliver(count)
        else:
            ledger.drop(step, count)
        assert ledger.balanced
    return ledger


@given(steps)
def test_the_identity_holds_at_every_moment(steps: list[tuple[str, int]]) -> None:
    ledger = run(steps)
    snapshot = ledger.snapshot()
    assert snapshot["offered"] == snapshot["delivered"] + snapshot["in_flight"] + sum(
        snapshot["dropped"].values()
    )
    assert snapshot["bytes"] == 10 * ledger.offered
    assert 0 not in snapshot["dropped"].values()


@given(steps, steps)
def test_ledgers_add_up(first: list[tuple[str, int]], second: list[tuple[str, int]]) -> None:
    a, b = run(first), run(second)
    total = Ledger()
    total.add(a)
    total.add(b)
    assert total.balanced
    assert total.offered == a.offered + b.offered
    assert total.delivered == a.delivered + b.delivered
    assert total.in_flight == a.in_flight + b.in_flight
    assert total.dropped_total == a.dropped_total + b.dropped_total
    assert total.bytes == a.bytes + b.bytes


def test_what_never_came_cannot_go() -> None:
    ledger = Ledger()
    ledger.deliver()
    assert not ledger.balanced
    ledger = Ledger(offered=2, delivered=1)
    assert not ledger.balanced


def test_nothing_counted_is_unknown_and_never_zero() -> None:
    latency = Latency()
    assert latency.last_us is None
    assert latency.snapshot() == {
        "n": 0, "p50_ms": None, "p90_ms": None, "p99_ms": None, "p999_ms": None, "max_ms": None,
    }  # fmt: skip


@given(st.lists(st.integers(1, MAX_LATENCY_US), min_size=1, max_size=60))
def test_percentiles_have_three_digits(values: list[int]) -> None:
    latency = Latency()
    for value in values:
        latency.add(value)
    values.sort()
    figures = latency.snapshot()
    for name, percent in PERCENTILES.items():
        rank = max(1, math.ceil(len(values) * percent / 100))
        assert figures[f"{name}_ms"] * 1000 == pytest.approx(values[rank - 1], rel=2e-3, abs=1)
    assert latency.snapshot()["n"] == len(values)
    assert latency.max_us == values[-1]


def test_negative_and_endless_values_are_counted_at_the_ends() -> None:
    latency = Latency()
    latency.add(-5)
    assert (latency.negative, latency.last_us, latency.max_us) == (1, 0, 0)
    latency.add(2 * MAX_LATENCY_US)
    assert latency.n == 2
    assert latency.max_us == 2 * MAX_LATENCY_US
    assert latency.snapshot()["p999_ms"] == pytest.approx(MAX_LATENCY_US / 1000, rel=1e-3)
    assert latency.snapshot()["max_ms"] == 2 * MAX_LATENCY_US / 1000


def test_empty_buckets_have_no_mean() -> None:
    unknown = dict.fromkeys(("mean_ms", "p50_ms", "p90_ms", "p99_ms", "max_ms"))
    assert Buckets().snapshot() == {"n": 0, **unknown, "buckets": [0] * 13}


@given(st.lists(st.integers(0, 2_000_000)))
def test_each_value_is_in_the_first_bucket_that_holds_it(values: list[int]) -> None:
    buckets = Buckets()
    for value in values:
        buckets.add(value)
    lower = (-1.0, *BUCKETS_MS)
    upper = (*BUCKETS_MS, float("inf"))
    assert buckets.counts == [
        sum(1 for value in values if low < value / 1000 <= high)
        for low, high in zip(lower, upper, strict=True)
    ]
    snapshot = buckets.snapshot()
    assert snapshot["n"] == len(values)
    if values:
        assert snapshot["mean_ms"] == pytest.approx(sum(values) / len(values) / 1000, abs=1e-3)
        assert snapshot["max_ms"] == max(values) / 1000
        for name in ("p50", "p90", "p99"):
            rank = max(1, math.ceil(PERCENTILES[name] * len(values) / 100))
            true_ms = sorted(values)[rank - 1] / 1000
            bucket = bisect_left(BUCKETS_MS, true_ms)
            low_ms, high_ms = lower[bucket], min(upper[bucket], max(values) / 1000)
            assert max(low_ms, 0) <= snapshot[f"{name}_ms"] <= high_ms + 1e-3


def test_percentiles_agree_with_the_histogram_itself() -> None:
    latency = Latency()
    for value in range(1, 20_000, 7):
        latency.add(value)
    figures = latency.snapshot()
    histogram = HdrHistogram.decode(latency.encoded())
    assert histogram.get_total_count() == latency.n
    for name, percent in PERCENTILES.items():
        theirs = histogram.get_value_at_percentile(percent) / 1000
        assert figures[f"{name}_ms"] == pytest.approx(theirs, rel=0.002)


def test_one_value_is_every_percentile() -> None:
    one = Latency()
    one.add(4321)
    figures = one.snapshot()
    assert figures["p50_ms"] == figures["p999_ms"] == figures["max_ms"] == 4.321


@given(
    st.lists(st.integers(0, 10**7), min_size=1, max_size=60),
    st.lists(st.integers(0, 10**7), max_size=60),
)
def test_merged_ones_count_as_if_all_had_been_counted_by_one(
    first: list[int], second: list[int]
) -> None:
    whole, merged, other = Latency(COARSE_BITS), Latency(COARSE_BITS), Latency(COARSE_BITS)
    for value in first:
        whole.add(value)
        merged.add(value)
    for value in second:
        whole.add(value)
        other.add(value)
    merged.merge(other)
    assert merged.snapshot() == whole.snapshot()
    assert merged.sum_us == whole.sum_us == sum(first) + sum(second)
    assert whole.snapshot()["p50_ms"] * 1000 == pytest.approx(
        sorted(first + second)[math.ceil(whole.n / 2) - 1], rel=0.017, abs=1
    )


def test_how_many_are_below_a_bound_adds_up() -> None:
    latency = Latency()
    assert latency.below([1.0, 2.0]) == [0, 0]
    for value in (100, 200, 200, 3000, 2**40):
        latency.add(value)
    assert latency.below([99, 100, 200, 10_000, float("inf")]) == [0, 1, 3, 4, 5]


def test_the_mean_is_that_of_the_values_themselves() -> None:
    latency = Latency(COARSE_BITS)
    assert latency.mean_us is latency.least_us is None
    for value in (123_457, 123_459):
        latency.add(value)
    assert latency.mean_us == 123_458
    assert latency.least_us == pytest.approx(123_457, rel=0.016)
