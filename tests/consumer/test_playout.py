from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.consumer.fakes import DOMAIN, foreign, item, message
from wtp.consumer.playout import (
    LEAP_US,
    MARGIN_US,
    OVER_FLOOR_US,
    SHRINK_US_PER_S,
    SLACK_US,
    STEP_UP_US,
    Delay,
    Timeline,
)


def run(delay: Delay, needs: Sequence[int], start_us: int = 0) -> list[int]:
    """An object every 10 ms that needs so much; returns the delay after each."""
    out = []
    for n, need_us in enumerate(needs):
        at_us = start_us + n * 10_000
        delay.arrived(at_us - need_us + 5_000, at_us, 5_000)
        out.append(delay.target_us)
    return out


def test_it_covers_the_way_and_what_comes_after() -> None:
    delay = Delay("auto")
    assert run(delay, [20_000] * 400)[-1] == 20_000 + MARGIN_US
    assert delay.late == 0


def test_a_late_object_raises_it_at_once_by_a_step_and_the_third_time_by_all_it_needs() -> None:
    delay = Delay("auto")
    calm = [20_000] * 100
    run(delay, calm * 4)
    run(delay, [90_000], 4_000_000)
    assert delay.target_us == 20_000 + MARGIN_US + STEP_UP_US
    assert delay.late == 1
    run(delay, [*calm, 90_000, *calm, 90_000], 4_010_000)
    assert delay.target_us == 90_000 + MARGIN_US


def test_it_shrinks_slowly_and_only_when_that_is_worth_it() -> None:
    delay = Delay("auto")
    run(delay, [100_000] * 500)
    after = run(delay, [20_000] * 3000, 5_000_000)
    assert after[690] == 100_000 + MARGIN_US
    assert after[-1] == 20_000 + MARGIN_US
    steps = [before - now for before, now in pairwise(after)]
    assert 0 < max(steps) <= SHRINK_US_PER_S * 0.51
    assert run(delay, [20_000 - SLACK_US] * 3000, 40_000_000)[-1] == 20_000 + MARGIN_US


def test_what_is_far_too_large_goes_down_at_once() -> None:
    delay = Delay("auto")
    run(delay, [20_000 + MARGIN_US + LEAP_US + 10_000] * 400)
    after = run(delay, [20_000] * 760, 4_000_000)
    assert after[690] > LEAP_US
    assert after[-1] == 20_000 + MARGIN_US


def test_a_stall_at_the_start_is_forgotten_at_once() -> None:
    delay = Delay("auto")
    assert run(delay, [400_000, *[20_000] * 170])[-1] == 20_000 + MARGIN_US


def test_a_burst_after_a_stall_hardly_raises_it() -> None:
    delay = Delay("auto", 200)
    run(delay, [20_000] * 400)
    for n in range(290):
        delay.arrived(4_000_000 + n * 10_000, 7_000_000, 0)
    assert delay.target_us == 20_000 + MARGIN_US + STEP_UP_US


def test_when_the_way_itself_takes_longer_than_the_limit_that_is_the_delay() -> None:
    delay = Delay("auto", 100)
    for n in range(100):
        delay.arrived(n * 10_000, n * 10_000 + 2_000_000 + n % 3, 0)
    assert 2_000_000 < delay.target_us <= 2_000_000 + OVER_FLOOR_US


def test_a_fixed_delay_stays() -> None:
    delay = Delay(80)
    delay.arrived(0, 500_000, 0)
    assert (delay.target_us, delay.late) == (80_000, 1)


@given(
    needs=st.lists(st.tuples(st.integers(0, 300_000), st.integers(-5_000, 400_000)), min_size=1),
    limit=st.integers(20, 500),
)
def test_it_is_bounded_by_the_limit_or_the_way_itself(
    needs: list[tuple[int, int]], limit: int
) -> None:
    delay = Delay("auto", limit)
    at_us = 0
    for step_us, need_us in needs:
        at_us += step_us
        delay.arrived(at_us - need_us, at_us, 0)
        bound_us = max(limit * 1000, max(need for _, need in needs) + OVER_FLOOR_US)
        assert delay.target_us <= bound_us


@given(jitter=st.integers(0, 150_000), seed=st.integers(0, 999))
def test_with_steady_jitter_all_but_a_few_come_in_time(jitter: int, seed: int) -> None:
    random = Random(seed)
    delay = Delay("auto", 400)
    run(delay, [20_000 + random.randint(0, jitter) for _ in range(300)])
    before = delay.late
    run(delay, [20_000 + random.randint(0, jitter) for _ in range(1000)], 3_000_000)
    assert delay.late - before <= 30
    assert delay.target_us <= 20_000 + jitter + MARGIN_US


def test_times_are_those_of_the_known_clock() -> None:
    timeline = Timeline()
    one = item(message(stamps={"capture_us": 1_000_000}, at_us=1_020_000),
               receive_us=DOMAIN.anchor_us + 1_020_000)  # fmt: skip
    assert timeline.place(one) == 1_000_000
    assert timeline.known


def test_an_estimated_clock_moves_smoothly_and_a_new_anchor_at_once() -> None:
    timeline = Timeline()
    for error_us, expected in ((0, 0), (1_600, -100), (100_000, -100_000)):
        of = message(stamps={"capture_us": 1_000_000}, at_us=1_020_000)
        one = item(of, receive_us=DOMAIN.anchor_us + 1_020_000 + error_us)
        assert timeline.place(one) - 1_000_000 == expected


def test_with_an_unknown_clock_the_fastest_object_counts_as_captured_on_arrival() -> None:
    timeline = Timeline()
    places = [
        timeline.place(item(message(n, stamps={"capture_us": n * 10_000}, at_us=at_us)))
        for n, at_us in ((1, 500_000), (2, 505_000), (3, 525_000))
    ]
    assert places[0] == 500_000
    assert places[1:] == [505_000, 515_000]
    assert not timeline.known


@pytest.mark.parametrize("at_us", [100_000, 140_000])
def test_without_stamps_arrival_is_capture(at_us: int) -> None:
    timeline = Timeline()
    assert timeline.place(item(message(at_us=at_us))) == at_us
    assert not timeline.known
    assert timeline.place(item(foreign())) == 0
