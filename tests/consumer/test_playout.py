from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.consumer.fakes import DOMAIN, foreign, item, message
from wtp.consumer.playout import MARGIN_US, OVER_FLOOR_US, SHRINK_US_PER_S, Delay, Timeline


def test_it_grows_at_once_and_covers_what_was_needed() -> None:
    delay = Delay("auto")
    delay.arrived(0, 20_000, 5_000)
    assert delay.target_us == 25_000 + MARGIN_US
    delay.arrived(10_000, 90_000, 5_000)
    assert delay.target_us == 85_000 + MARGIN_US
    assert delay.late == 1


def test_it_shrinks_slowly_once_the_need_is_eight_seconds_past() -> None:
    delay = Delay("auto")
    delay.arrived(0, 100_000, 0)
    for n in range(1, 700):
        delay.arrived(n * 10_000, n * 10_000 + 20_000, 0)
    assert delay.target_us == 100_000 + MARGIN_US
    before, steps = delay.target_us, []
    for n in range(700, 3000):
        delay.arrived(n * 10_000, n * 10_000 + 20_000, 0)
        steps.append(before - delay.target_us)
        before = delay.target_us
    assert delay.target_us == 20_000 + MARGIN_US
    assert max(steps) <= SHRINK_US_PER_S * 1.1


def test_a_burst_after_a_stall_does_not_raise_it_over_the_limit() -> None:
    delay = Delay("auto", 200)
    for n in range(10):
        delay.arrived(n * 10_000, n * 10_000 + 20_000, 0)
    for n in range(10, 300):
        delay.arrived(n * 10_000, 3_000_000, 0)
    assert delay.target_us <= 200_000


def test_when_the_way_itself_takes_longer_than_the_limit_that_is_the_delay() -> None:
    delay = Delay("auto", 100)
    for n in range(100):
        delay.arrived(n * 10_000, n * 10_000 + 2_000_000 + n % 3, 0)
    assert 2_000_000 < delay.target_us < 2_000_000 + OVER_FLOOR_US


def test_a_fixed_delay_stays() -> None:
    delay = Delay(80)
    delay.arrived(0, 500_000, 0)
    assert (delay.target_us, delay.late) == (80_000, 1)


@given(
    needs=st.lists(st.tuples(st.integers(0, 300_000), st.integers(-5_000, 400_000)), min_size=1),
    limit=st.integers(20, 500),
)
def test_it_is_bounded_and_everything_within_the_limit_is_in_time_from_then_on(
    needs: list[tuple[int, int]], limit: int
) -> None:
    delay = Delay("auto", limit)
    at_us, least_us = 0, 10**9
    for step_us, need_us in needs:
        at_us += step_us
        least_us = min(least_us, need_us)
        delay.arrived(at_us - need_us, at_us, 0)
        allowed_us = max(limit * 1000, max(need for _, need in needs) + OVER_FLOOR_US)
        assert 0 <= delay.target_us <= allowed_us
        if need_us <= limit * 1000:
            assert delay.target_us >= min(need_us, limit * 1000)


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
