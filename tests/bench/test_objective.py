"""Objectives: what can be written, which unit fits, and what is missed by how much."""

from __future__ import annotations

from typing import Any

import pytest

from tests.bench import made
from wtp.bench import objective
from wtp.bench.units import flat, more_is_better, number, shown, unit_of
from wtp.errors import ObjectiveMissed, UsageError


def judged(text: str, figures: dict[str, Any]) -> objective.Verdict:
    return objective.judge([objective.parse(text)], figures)[0]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("p99_ms", "12 ms"),
        ("objects_per_s", "12/s"),
        ("mb_per_s", "12 MB/s"),
        ("packet_bytes", "12 B"),
        ("cpu_s.router", "12 s"),
        ("router_cpu_s_per_1000", "12 s"),
        ("cpu_s_per_mb", "12 s"),
        ("memory_mib_per_h.router", "12 MiB/h"),
        ("cpu_percent.watch", "12 %"),
        ("hops.send->route.p50_ms", "12 ms"),
        ("rss_kib_per_idle_session", "12 KiB"),
        ("dropped", "12"),
        ("ratio_p50", "12"),
    ],
)
def test_the_unit_stands_in_the_name(name: str, text: str) -> None:
    assert shown(name, 12.0) == text
    assert shown(name, None) == "unknown"


def test_numbers_have_as_many_digits_as_help() -> None:
    assert [number(v) for v in (0.0421, 3.214, 148.63, 1300.4, 12)] == [
        "0.042", "3.21", "148.6", "1,300", "12",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "relation"),
    [
        ("p99=10ms", "<="),
        ("p99 <= 10 ms", "<="),
        ("dropped=0", "<="),
        ("objects_per_s=2000", ">="),
        ("objects_per_s=2000/s", ">="),
        ("mb_per_s>20MB/s", ">"),
        ("cpu_s.router<2s", "<"),
        ("hops.send->route.p99<=3ms", "<="),
        ("clock_error=0", "<="),
    ],
)
def test_equals_means_the_better_side(text: str, relation: str) -> None:
    assert objective.parse(text).relation == relation


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("p99=10MB", "'MB' is no unit of it"),
        ("p99=10", "'10' has no unit"),
        ("p99=ten", "no objective"),
        ("p99", "no objective"),
        ("p99=", "names no value"),
        ("=10ms", "no objective"),
        ("dropped=0ms", "plain number"),
        ("dropped=5%", "plain number"),
        ("mb_per_s=20ms", "is a speed"),
        ("max_ms=1h2", "is a time"),
        ("", "no objective"),
    ],
)
def test_what_makes_no_sense_is_told_before_the_run(text: str, problem: str) -> None:
    with pytest.raises(UsageError) as error:
        objective.parse(text)
    assert problem in error.value.message
    assert "p99=10ms" in error.value.hint
    assert error.value.exit_code == 2


def test_units_are_converted() -> None:
    figures = {"p99_ms": 9.5, "mb_per_s": 20.0, "packet_bytes": 1452, "rss_mib": {"router": 84.0}}
    for text in ("p99=10ms", "p99=9500us", "p99=0.01s", "mb_per_s=19500KB/s", "mb_per_s>=20MB/s"):
        assert judged(text, figures).held, text
    assert judged("packet_bytes=2KB", figures).held
    assert judged("rss_mib.router=90MB", figures).held
    assert not judged("p99=9ms", figures).held
    assert not judged("p99<9.5ms", figures).held
    assert judged("p99=9,5ms", figures).held


def test_a_missed_one_says_by_how_much() -> None:
    figures = {"p99_ms": 12.5, "dropped": 3, "objects_per_s": 1500.0}
    found = [judged(text, figures) for text in ("p99=10ms", "dropped=0", "objects_per_s=2000")]
    assert [one.held for one in found] == [False, False, False]
    assert found[0].sentence == "p99_ms is 12.50 ms, 2.50 ms above the objective of at most 10 ms."
    assert found[1].sentence == "dropped is 3, 3 above the objective of at most 0."
    assert "1,500/s, 500/s below the objective of at least 2,000/s" in found[2].sentence
    with pytest.raises(ObjectiveMissed, match=r"2\.50 ms above") as error:
        objective.require(found)
    assert error.value.exit_code == 5
    assert error.value.message.count("\n") == 2
    assert error.value.hint == "3 of 3 objectives missed."
    objective.require([judged("p99=20ms", figures)])


def test_an_unknown_figure_misses() -> None:
    verdict = judged("p99=10ms", {"n": 0, "p99_ms": None})
    assert not verdict.held
    assert "unknown" in verdict.sentence


def test_an_unknown_name_lists_the_names() -> None:
    with pytest.raises(UsageError, match="no figure 'p98'") as error:
        judged("p98=10", made.figures())
    assert "p99_ms" in error.value.hint
    assert "hops.send->route.p50_ms" in error.value.hint
    assert "histogram" not in error.value.hint


def test_every_point_of_a_range_has_to_hold() -> None:
    figures = made.ranged()
    found = objective.judge([objective.parse("p99=5ms")], figures)
    assert [one.held for one in found] == [one["p99_ms"] <= 5 for one in figures["series"]]
    assert {one.held for one in found} == {True, False}
    assert "at 30 KB" in found[-1].sentence
    whole = objective.judge([objective.parse("sessions=80")], {**figures, "sessions": 96})
    assert [one.held for one in whole] == [True]
    with pytest.raises(UsageError, match="no figure 'lost'"):
        objective.judge([objective.parse("lost=0")], figures)


def test_flat_names_hold_every_number_and_nothing_else() -> None:
    names = dict(flat(made.result()))
    assert names["cpu_s.router"] == 1.25
    assert names["dropped_by_hop.router.stalled"] == 2
    assert not [name for name in names if "timeline" in name or "configuration" in name]
    assert unit_of("nothing").text == ""
    assert more_is_better("baseline.objects_per_s")
    assert not more_is_better("max_ms")
