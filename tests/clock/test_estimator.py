"""OffsetEstimator: bounds that hold, and the end of an estimate that does not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.clock.world import CASES, Case, Tally, World, look, run, variant
from wtp.clock import (
    MAX_DRIFT_PPM,
    MAX_OFFSET_US,
    RESYNC_EXCHANGES,
    SAMPLES,
    SLEEP_SLACK_US,
    OffsetEstimator,
    Sleeps,
)

us = st.integers(0, 10**7)
NAMES = [case.name for case in CASES]
SEEDS = 3


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_the_truth_lies_within_the_stated_error(case: Case) -> None:
    """In 99 % of moments; the table is `python -m tests.clock.table`."""
    for seed in range(SEEDS):
        tally = run(variant(case, seed) if seed else case, seed)
        assert tally.unknown == 0
        assert tally.share >= 0.99


@given(
    st.floats(-200, 200),
    st.floats(1, 30_000),
    st.floats(1, 30_000),
    st.floats(1, 5_000),
    st.integers(-(10**15), 10**15),
    st.integers(0, 2**32),
)
def test_it_does_so_for_any_way_and_drift(
    drift_ppm: float, there_us: float, back_us: float, jitter_us: float, shift_us: int, seed: int
) -> None:
    case = Case("", shift_us, drift_ppm, 0, there_us, back_us, jitter_us)
    tally = run(case, seed, exchanges=40)
    assert tally.unknown == 0
    assert tally.share >= 0.99


@given(st.integers(-(10**12), 10**12), st.lists(st.tuples(us, us, us), min_size=1, max_size=100))
def test_clocks_that_run_alike_are_bounded_whatever_the_ways_take(
    offset: int, exchanges: list[tuple[int, int, int]]
) -> None:
    estimator, now = OffsetEstimator(), 0
    for there, stay, back in exchanges:
        t0, t1 = now, now + there + offset
        t2, now = t1 + stay, now + there + stay + back
        assert estimator.add(t0, t1, t2, now)
    estimate = estimator.at(now)
    assert estimate is not None
    assert abs(estimate.offset_us - offset) <= estimate.error_us


def test_no_estimate_before_an_exchange() -> None:
    estimator = OffsetEstimator()
    assert estimator.at(0) is None
    assert estimator.drift is None
    assert not estimator.known
    assert estimator.snapshot(0) == {
        "state": "unknown", "offset_us": None, "error_us": None, "drift_ppm": None,
        "drift_error_ppm": None, "exchanges": 0, "resyncs": 0,
    }  # fmt: skip


def test_the_least_round_trip_wins_until_it_is_old() -> None:
    estimator = OffsetEstimator()
    estimator.add(0, 510, 510, 20)
    estimator.add(1000, 1600, 1600, 2000)
    first = estimator.at(2000)
    assert first is not None
    assert abs(first.offset_us - 500) <= 1
    assert first.error_us <= 12
    later = estimator.at(2000 + 1_000_000)
    assert later is not None
    assert MAX_DRIFT_PPM <= later.error_us - 11 <= MAX_DRIFT_PPM + 4
    earlier = estimator.at(2000 - 1_000_000)
    assert earlier is not None
    assert MAX_DRIFT_PPM <= earlier.error_us - 11 <= MAX_DRIFT_PPM + 4


def test_a_quick_way_there_and_a_quick_way_back_complete_each_other() -> None:
    """Each exchange alone leaves 5 ms to either side."""
    estimator = OffsetEstimator()
    estimator.add(0, 1_000_010, 1_000_010, 10_000)
    estimator.add(20_000, 1_030_000, 1_030_000, 30_010)
    offset = estimator.at(30_010)
    assert offset is not None
    assert abs(offset.offset_us - 1_000_000) <= offset.error_us <= 40


def test_the_drift_is_learned_and_keeps_the_error_small_between_exchanges() -> None:
    world, estimator = World(Case("", drift_ppm=120, jitter_us=20, spikes=0), 1), OffsetEstimator()
    world.exchange(estimator)
    assert estimator.drift is None
    at_first = estimator.at(world.own_us + 10**7)
    for _ in range(SAMPLES):
        world.advance(500_000)
        assert world.exchange(estimator)
    drift = estimator.drift
    assert drift is not None
    assert abs(drift.ppm - 120) <= drift.error_ppm < 100
    later = estimator.at(world.own_us + 10**7)
    assert at_first is not None
    assert later is not None
    assert later.error_us < at_first.error_us / 2
    world.advance(10**7)
    assert abs(later.offset_us - world.true_us) <= later.error_us
    assert estimator.snapshot(world.own_us)["drift_ppm"] == pytest.approx(120, abs=10)


@pytest.mark.parametrize("step_us", [-(10**12), -5_000, 5_000, 3_600 * 10**6])
def test_a_step_makes_it_unknown_until_several_exchanges_agree(step_us: int) -> None:
    world, estimator = World(Case("", drift_ppm=30), 2), OffsetEstimator()
    for _ in range(20):
        world.exchange(estimator)
        world.advance(500_000)
    before_us = world.own_us
    world.step_peer(step_us)
    assert not world.exchange(estimator)
    assert estimator.at(world.own_us) is None
    assert estimator.resyncs == 1
    for _ in range(RESYNC_EXCHANGES):
        assert not estimator.known
        world.advance(20_000)
        assert world.exchange(estimator)
    tally = Tally([])
    look(world, estimator, tally)
    assert tally.within == 1
    assert estimator.at(before_us) is None, "what came before the step stays unknown"
    assert estimator.resyncs == 1


@pytest.mark.parametrize("moment", ["way there", "way back", "pause"])
def test_a_step_at_any_moment_is_no_lie_after_the_next_exchange(moment: str) -> None:
    """One in the middle of an exchange cannot be told from a slow way before the next."""
    shown, within = 0, 0
    for seed in range(20):
        world = World(Case("", drift_ppm=60, there_us=900, jitter_us=300), seed)
        estimator = OffsetEstimator()
        for number in range(60):
            step_us = 0.0
            if number % 20 == 19:
                step_us = world.random.choice([-1, 1]) * 10 ** world.random.uniform(3.7, 9)
            sent_us = world.own_us
            world.step_peer(step_us if moment == "way there" else 0)
            world.advance(world.way(900))
            peer_us = world.peer_us()
            world.step_peer(step_us if moment == "way back" else 0)
            world.advance(world.way(900))
            estimator.add(sent_us, peer_us, peer_us, world.own_us)
            tally = Tally([])
            if not step_us:
                look(world, estimator, tally)
            shown, within = shown + len(tally.errors_us), within + tally.within
            world.step_peer(step_us if moment == "pause" else 0)
            world.advance(500_000)
        assert estimator.resyncs >= 1
    assert shown > 800
    assert within / shown >= 0.99


def test_a_changed_rate_costs_the_drift_and_not_the_offset() -> None:
    world, estimator = World(Case("", drift_ppm=0, jitter_us=10, spikes=0), 3), OffsetEstimator()
    for _ in range(40):
        world.exchange(estimator)
        world.advance(500_000)
    assert estimator.drift is not None
    world.case = Case("", drift_ppm=400, jitter_us=10, spikes=0)
    world.advance(2_000_000)
    world.exchange(estimator)
    assert estimator.drift is None
    assert estimator.resyncs == 0
    tally = Tally([])
    look(world, estimator, tally)
    assert tally.within == 1


def test_exchanges_under_way_while_it_was_forgotten_do_not_count() -> None:
    estimator = OffsetEstimator()
    estimator.add(0, 510, 510, 20)
    estimator.forget(1000)
    assert not estimator.add(990, 1500, 1500, 1010)
    for n in range(RESYNC_EXCHANGES):
        assert estimator.at(2000) is None
        assert estimator.add(1000 + n, 1510 + n, 1510 + n, 1020 + n)
    assert estimator.at(2000) is not None


def test_own_time_that_runs_back_is_a_step() -> None:
    estimator = OffsetEstimator()
    estimator.add(1_000_000, 1_000_010, 1_000_010, 1_000_020)
    assert not estimator.add(500, 1_100_000, 1_100_000, 520)
    assert not estimator.known
    assert not estimator.add(100, 1_200_000, 1_200_000, 200), "and again"
    for n in range(RESYNC_EXCHANGES):
        assert estimator.add(600 + n, 1_200_010 + n, 1_200_010 + n, 620 + n)
    assert estimator.known


@pytest.mark.parametrize(
    "stamps",
    [
        (0, 5, 4, 10),
        (0, 5, 20, 10),
        (10, 5, 5, 0),
        (0, 2**63, 2**63, 10),
        (0, -MAX_OFFSET_US - 1, -MAX_OFFSET_US - 1, 5),
    ],
)
def test_impossible_exchanges_leave_nothing_known(stamps: tuple[int, int, int, int]) -> None:
    estimator = OffsetEstimator()
    assert not estimator.add(*stamps)
    assert estimator.at(0) is None
    assert estimator.exchanges == 0


@given(st.lists(st.tuples(*[st.integers(-(2**63), 2**64)] * 4), max_size=20))
def test_no_stamps_break_it(exchanges: list[tuple[int, int, int, int]]) -> None:
    estimator = OffsetEstimator()
    for stamps in exchanges:
        estimator.add(*stamps)
        offset = estimator.at(stamps[3])
        assert offset is None or offset.error_us >= 0


def test_it_looks_back_on_so_many_exchanges() -> None:
    estimator = OffsetEstimator()
    estimator.add(0, 7, 7, 0)
    for n in range(SAMPLES):
        estimator.add(n, n + 50, n + 50, n + 100)
    estimate = estimator.at(SAMPLES + 100)
    assert estimate is not None
    assert estimate.error_us > 40


class Machine:
    """A machine whose sleeps are known."""

    def __init__(self) -> None:
        self.awake_us, self.slept_us = 1000, 0

    def monotonic(self) -> int:
        self.awake_us += 3
        return self.awake_us

    def boottime(self) -> int:
        return self.monotonic() + self.slept_us


def test_a_suspend_is_the_difference_of_two_clocks() -> None:
    machine = Machine()
    sleeps = Sleeps(machine.monotonic, machine.boottime)
    for _ in range(100):
        machine.awake_us += 10**7
        assert not sleeps.again()
    machine.slept_us += SLEEP_SLACK_US // 2
    assert not sleeps.again()
    machine.slept_us += 60 * 10**6
    assert sleeps.again()
    assert not sleeps.again()


def test_this_machine_does_not_sleep_while_it_tests() -> None:
    sleeps = Sleeps()
    assert not any(sleeps.again() for _ in range(1000))
