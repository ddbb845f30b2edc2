"""Capture stamps from hand-overs that come late, in pairs, after pauses, and from real quartzes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from wtp.media.soundtime import GAP_US, SampleClock

BASE_US = 1_700_000_000_000_000
BLOCK_US, BLOCK = 10_000, 480


class Device:
    """Blocks of 10 ms whose true times are known, handed over with a delay."""

    def __init__(self, ppm: float = 0.0) -> None:
        self.clock = SampleClock(48_000)
        self.true_us = 0.0
        self.stamps: list[int] = []
        self.errors_us: list[float] = []
        self._step_us = BLOCK_US * (1 + ppm * 1e-6)
        self.last_us = 0.0

    def run(self, delays_us: NDArray[np.float64], *, lost: bool = False) -> None:
        for delay_us in delays_us:
            first_us, self.true_us = self.true_us, self.true_us + self._step_us
            self.last_us = max(self.last_us + 1, self.true_us + delay_us)
            stamp = self.clock.stamp(BASE_US + int(self.last_us), BLOCK, lost=lost)
            lost = False
            self.stamps.append(stamp)
            self.errors_us.append(stamp - BASE_US - first_us)

    def steps(self) -> NDArray[np.int64]:
        return np.diff(np.array(self.stamps))


def jitter(count: int, mean_us: float, seed: int = 5) -> NDArray[np.float64]:
    return np.random.default_rng(seed).exponential(mean_us, count)


@pytest.mark.parametrize("ppm", [0, 100, -100, 300, -300])
def test_stamps_follow_any_quartz_and_not_the_jitter(ppm: int) -> None:
    device = Device(ppm)
    device.run(jitter(6000, 1500.0))
    late = np.array(device.errors_us[200:])
    assert np.abs(late).max() < 1500
    assert np.ptp(late[-1000:]) < 400, "neither drift nor jitter"
    steps = device.steps()
    assert steps[200:].min() >= 9500
    assert steps[200:].max() <= 10_011


def test_pairs_of_callbacks_give_an_even_line() -> None:
    device = Device()
    delays = jitter(2000, 300.0)
    delays[::2] += BLOCK_US
    device.run(delays)
    assert device.errors_us[0] > 9000, "nobody can know better at the first one"
    assert np.abs(np.array(device.errors_us[60:])).max() < 300
    assert (device.steps() >= 9000).all()


def test_no_stamp_lies_behind_its_hand_over() -> None:
    """A sound server that begins late and then hands over in one go what it held."""
    device = Device()
    delays = jitter(400, 300.0)
    delays[:50] += 500_000 - np.arange(50) * BLOCK_US
    for delay_us in delays:
        device.run(np.array([delay_us]))
        handed_us = BASE_US + device.last_us
        assert device.stamps[-1] <= handed_us - BLOCK_US + GAP_US
    assert (device.steps() >= 0).all()
    assert np.abs(np.array(device.errors_us[200:])).max() < 1500


def test_a_pause_of_the_scheduler_moves_nothing() -> None:
    device = Device()
    device.run(jitter(600, 300.0))
    delays = jitter(40, 300.0, seed=6)
    delays += np.maximum(0.0, 300_000 - np.arange(40) * BLOCK_US)
    device.run(delays)
    device.run(jitter(100, 300.0, seed=7))
    assert np.abs(np.array(device.errors_us[100:])).max() < 400


def test_sound_that_the_device_reports_lost_is_a_gap_at_once() -> None:
    device = Device()
    device.run(jitter(600, 300.0))
    device.true_us += 200_000
    device.run(jitter(600, 300.0, seed=8), lost=True)
    steps = device.steps()
    assert abs(steps[599] - 210_000) < 3000
    assert np.abs(np.array(device.errors_us[620:])).max() < 500


def test_sound_that_nobody_reports_lost_is_a_gap_soon() -> None:
    device = Device()
    device.run(jitter(600, 300.0))
    device.true_us += 50_000
    device.run(jitter(600, 300.0, seed=9))
    wrong = np.abs(np.array(device.errors_us)) > 2000
    assert wrong.sum() <= 110, "a second of it at most"
    assert not wrong[711:].any()


def test_a_report_of_a_loss_that_shows_nowhere_moves_nothing() -> None:
    device = Device()
    device.run(jitter(300, 300.0))
    device.run(jitter(300, 300.0, seed=2), lost=True)
    assert (device.steps()[30:] < 10_300).all()


def test_a_busy_machine_that_is_late_for_less_than_a_second_is_no_gap() -> None:
    device = Device()
    device.run(jitter(600, 300.0))
    device.run(jitter(90, 300.0, seed=4) + 60_000)
    device.run(jitter(100, 300.0, seed=7))
    assert np.abs(np.array(device.errors_us[100:])).max() < 1500


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(0, 500_000), min_size=1, max_size=80))
def test_stamps_never_go_back_and_a_late_start_is_made_good(delays_us: list[float]) -> None:
    device = Device()
    device.run(np.array(delays_us))
    device.run(jitter(100, 100.0))
    assert all(after > before for before, after in pairwise(device.stamps))
    # Nothing is captured after it was handed over.
    assert abs(device.errors_us[-1]) < 1500
