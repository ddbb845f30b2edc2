"""How often a process is asked: by what answers cost it, measured on this very process."""

from __future__ import annotations

import os

import pytest

from wtp.dashboard.budget import LONGEST_S, PART, Budget, all_threads_us, main_thread_us

SECOND_US = 1_000_000


def asked(cost_us: int, work_us: int, times: int = 5) -> Budget:
    """A process that works so long a second and answers at that cost."""
    budget = Budget(1.0)
    for number in range(times):
        budget.take(number * SECOND_US, cost_us, number * work_us)
    return budget


def test_a_busy_process_is_asked_every_second() -> None:
    assert asked(cost_us=2_000, work_us=500_000).period_s == 1.0


def test_a_process_with_little_work_gets_more_time() -> None:
    budget = asked(cost_us=2_000, work_us=20_000)
    assert budget.period_s == pytest.approx(2_000 / 20_000 / PART)


@pytest.mark.parametrize("work_us", [0, 10])
def test_an_idle_process_is_asked_all_the_same(work_us: int) -> None:
    assert asked(cost_us=2_000, work_us=work_us).period_s == LONGEST_S


def test_one_answer_says_nothing_yet() -> None:
    assert asked(cost_us=90_000, work_us=10, times=1).period_s == 1.0


def test_an_answer_into_which_other_work_fell_does_not_count() -> None:
    budget = Budget(1.0)
    for number in range(9):
        cost_us = 80_000 if number % 3 == 0 else 1_000
        budget.take(number * SECOND_US, cost_us, number * 100_000)
    assert budget.period_s == 1.0


def test_this_process_has_used_time() -> None:
    main_us, all_us = main_thread_us(os.getpid()), all_threads_us(os.getpid())
    if main_us is not None:  # not every kernel tells
        assert main_us > 0
    assert all_us is not None
    assert all_us > 0


def test_a_process_that_is_not_there_tells_nothing() -> None:
    assert main_thread_us(2**22 + 1) is None
    assert all_threads_us(2**22 + 1) is None
