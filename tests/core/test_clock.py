"""wtp.clock: stamps and domains; offsets are in tests/clock."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.core.strategies import any_text, i64
from wtp.clock import (
    Clock,
    ClockDomain,
    boottime_us,
    monotonic_us,
    read_boot_id,
    wall_us,
)


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


def test_a_step_of_the_wall_clock_moves_no_stamp(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    before_us = clock.now_us()
    monkeypatch.setattr(time, "time_ns", lambda: 3_600 * 10**9)
    assert wall_us() == 3_600 * 10**6
    assert 0 <= clock.now_us() - before_us < 60 * 10**6


def test_the_clock_that_runs_on_in_sleep_is_not_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    assert monotonic_us() <= boottime_us() + 1
    monkeypatch.delattr(time, "CLOCK_BOOTTIME", raising=False)
    assert abs(boottime_us() - monotonic_us()) < 60 * 10**6


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
