"""wtp.clock: stamps, domains, and offsets whose stated error holds."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.core.strategies import any_text, i64
from wtp.clock import (
    DRIFT_PPM,
    SAMPLES,
    Clock,
    ClockDomain,
    OffsetEstimator,
    monotonic_us,
    read_boot_id,
    wall_us,
)

us = st.integers(0, 10**7)


def test_sources_run_forward() -> None:
    first = monotonic_us()
    assert 0 < first <= monotonic_us()
    assert wall_us() > 1_700_000_000_000_000


def test_boot_id(tmp_path: Path) -> None:
    path = tmp_path / "boot_id"
    assert read_boot_id(path) == ""
    path.write_text("abc-def\n", encoding="ascii")
    assert read_boot_id(path) == "abc-def"
    path.write_bytes(b"\xff")
    assert read_boot_id(path) == ""
    assert read_boot_id() == read_boot_id()


def test_a_clock_counts_from_its_anchor() -> None:
    now = 5
    clock = Clock(ClockDomain("b", 1000), lambda: now)
    assert clock.now_us() == 1005
    now = 7
    assert clock.now_us() == 1007


def test_a_new_clock_is_anchored_at_the_wall_clock() -> None:
    before = wall_us()
    now = Clock().now_us()
    assert before - 1000 <= now <= wall_us() + 1000


def test_adopting_needs_the_same_known_start() -> None:
    assert ClockDomain("b", 1).same_start("b")
    assert not ClockDomain("b", 1).same_start("c")
    assert not ClockDomain("", 1).same_start("")


@given(st.from_regex(r"[0-9a-f-]{0,64}", fullmatch=True), i64)
def test_domains_round_trip(boot_id: str, anchor_us: int) -> None:
    domain = ClockDomain(boot_id, anchor_us)
    assert ClockDomain.parse(str(domain)) == domain


@given(any_text)
@example("b:--5")
@example("b:-")
@example("5")
@example("b:" + "9" * 5000)
@example("b:٣")
@example("b:1\n")
@example("a:b:1")
@example("x" * 65 + ":1")
def test_any_text_is_a_domain_or_none(text: str) -> None:
    domain = ClockDomain.parse(text)
    if domain is not None:
        assert ClockDomain.parse(str(domain)) == domain


@pytest.mark.parametrize("text", ["", ":", "5", "b:", "b:--5", "b:+5", "b:1.5", "b: 5"])
def test_what_is_no_domain(text: str) -> None:
    assert ClockDomain.parse(text) is None


def test_no_estimate_before_an_exchange() -> None:
    assert OffsetEstimator().at(0) is None


@given(
    st.integers(-(10**12), 10**12),
    st.lists(st.tuples(us, us, us), min_size=1, max_size=100),
)
def test_the_true_offset_lies_within_the_error(
    offset: int, exchanges: list[tuple[int, int, int]]
) -> None:
    """Whatever the ways there and back take, as long as both clocks run alike."""
    estimator, now = OffsetEstimator(), 0
    for there, stay, back in exchanges:
        t0, t1 = now, now + there + offset
        t2, now = t1 + stay, now + there + stay + back
        assert estimator.add(t0, t1, t2, now)
    estimate = estimator.at(now)
    assert estimate is not None
    assert abs(estimate.offset_us - offset) <= estimate.error_us


def test_the_least_round_trip_wins_until_it_is_old() -> None:
    estimator = OffsetEstimator()
    estimator.add(0, 510, 510, 20)
    estimator.add(1000, 1600, 1600, 2000)
    first = estimator.at(2000)
    assert first is not None
    assert (first.offset_us, first.error_us) == (500, 11)
    later = 20 + 1000 * 1_000_000 // DRIFT_PPM
    grown = estimator.at(later)
    assert grown is not None
    assert grown.error_us == 11 + 1000


@pytest.mark.parametrize("stamps", [(0, 5, 4, 10), (0, 5, 20, 10), (10, 5, 5, 0)])
def test_impossible_exchanges_are_ignored(stamps: tuple[int, int, int, int]) -> None:
    estimator = OffsetEstimator()
    assert not estimator.add(*stamps)
    assert estimator.at(0) is None


def test_it_looks_back_on_so_many_exchanges() -> None:
    estimator = OffsetEstimator()
    estimator.add(0, 7, 7, 0)
    for n in range(SAMPLES):
        estimator.add(n, n + 50, n + 50, n + 100)
    estimate = estimator.at(SAMPLES + 100)
    assert estimate is not None
    assert estimate.error_us > 50
