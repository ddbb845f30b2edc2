from __future__ import annotations

import pytest

from wtp.replayer.pace import FASTEST, MAX_SPEED, SLOWEST, Pace

S = 1_000_000


class Hand:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.us = 0

    def __call__(self) -> int:
        return self.us


@pytest.fixture
def clock() -> Hand:
    return Hand()


def test_due_times_come_from_one_anchor_and_do_not_drift(clock: Hand) -> None:
    pace = Pace(1.0, clock)
    pace.start(100 * S)
    late_us = 0
    for number in range(1, 1000):
        wait_us = pace.wait_us(100 * S + number * 33_333)
        late_us = 700
        clock.us += wait_us + late_us  # every wake-up is late
    assert clock.us == 999 * 33_333 + late_us


@pytest.mark.parametrize(("speed", "wait_us"), [(1.0, 10 * S), (2.0, 5 * S), (0.5, 20 * S)])
def test_speed_divides_the_wait(clock: Hand, speed: float, wait_us: int) -> None:
    pace = Pace(speed, clock)
    pace.start(0)
    assert pace.wait_us(10 * S) == wait_us


def test_nothing_waits_at_full_speed(clock: Hand) -> None:
    pace = Pace(MAX_SPEED, clock)
    pace.start(0)
    assert pace.wait_us(1 << 60) == 0
    assert pace.position_us() is None


def test_a_pause_moves_everything_behind_it(clock: Hand) -> None:
    pace = Pace(1.0, clock)
    pace.start(0)
    clock.us = 2 * S
    pace.pause(True)
    pace.pause(True)
    clock.us = 60 * S
    assert (pace.position_us(), pace.paused) == (2 * S, True)
    pace.pause(False)
    pace.pause(False)
    assert pace.wait_us(3 * S) == S


def test_a_new_speed_goes_on_from_here(clock: Hand) -> None:
    pace = Pace(1.0, clock)
    pace.start(0)
    clock.us = 4 * S
    pace.set_speed(4.0, 3 * S)
    assert pace.position_us() == 4 * S
    assert pace.wait_us(8 * S) == S
    pace.set_speed(MAX_SPEED, 5 * S)
    pace.set_speed(1.0, 50 * S)
    assert pace.wait_us(51 * S) == S, "full speed is left from the newest object"


def test_a_speed_in_a_pause_keeps_the_pause(clock: Hand) -> None:
    pace = Pace(1.0, clock)
    pace.start(0)
    clock.us = S
    pace.pause(True)
    clock.us = 10 * S
    pace.set_speed(2.0, None)
    clock.us = 20 * S
    pace.pause(False)
    assert pace.position_us() == S


def test_begin_anew(clock: Hand) -> None:
    pace = Pace(1.0, clock)
    pace.start(0)
    pace.reset()
    assert pace.wait_us(5 * S) == 0
    clock.us = S
    pace.start(90 * S)
    pace.start(0)
    assert pace.wait_us(91 * S) == S


def test_the_keys_speeds_have_ends() -> None:
    pace = Pace(FASTEST)
    assert pace.faster() == MAX_SPEED
    pace.speed = MAX_SPEED
    assert (pace.faster(), pace.slower()) == (MAX_SPEED, FASTEST)
    pace.speed = SLOWEST
    assert (pace.slower(), pace.faster()) == (SLOWEST, 2 * SLOWEST)
