"""Parts of the load benchmarks that need no process: search, weighing, window, options."""

from __future__ import annotations

from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from wtp.bench.meter import Window
from wtp.bench.pinning import split
from wtp.bench.sessions import Search, holds, limited
from wtp.bench.stamps import carried, weigh
from wtp.broker.messages import Received
from wtp.cli import bench_load
from wtp.cli.bench_load import parse_rates, parse_share, parse_shares
from wtp.errors import UsageError, WtpError

ANCHOR_US = 1_700_000_000_000_000


@pytest.mark.parametrize("limit", [1, 9, 10, 37, 80, 81, 150, 639])
def test_the_search_finds_the_limit(limit: int) -> None:
    search, tried = Search(10, 640), list[int]()
    while (number := search.number) is not None:
        tried.append(number)
        search.told(number, number <= limit)
    assert len(tried) == len(set(tried)) < 20
    assert search.best <= limit
    assert limit - search.best <= max(1, limit * 0.06)
    assert search.least_missed is not None
    assert search.least_missed > limit


def test_the_search_ends_where_it_was_told_to() -> None:
    search = Search(10, 55)
    tried = []
    while (number := search.number) is not None:
        tried.append(number)
        search.told(number, True)
    assert tried == [10, 20, 40, 55]
    assert (search.best, search.least_missed) == (55, None)


def test_the_search_that_never_holds_ends_with_nothing() -> None:
    search = Search(10, 640)
    while (number := search.number) is not None:
        search.told(number, False)
    assert (search.best, search.least_missed) == (0, 1)


@pytest.mark.parametrize(
    ("p99_ms", "dropped", "held"), [(9.9, 0, True), (10.0, 0, False), (1.0, 1, False)]
)
def test_a_step_holds_with_its_p99_below_and_nothing_dropped(
    p99_ms: float, dropped: int, held: bool
) -> None:
    assert holds({"p99_ms": p99_ms, "dropped": dropped}, 10.0) is held


def test_an_unknown_p99_holds_nothing() -> None:
    assert not holds({"p99_ms": None, "dropped": 0}, 10.0)


def sample(side: str, rate: float) -> dict[str, Any]:
    return {"side": side, "objects_per_core_s": rate, "offered": 10, "delivered": 9, "dropped": 1}


def test_the_cost_is_the_ratio_of_the_medians() -> None:
    runs = [sample("with", rate) for rate in (940, 950, 960, 100)]
    runs += [sample("without", rate) for rate in (990, 1000, 1010, 1000)]
    found = weigh(runs)
    assert found["objects_per_core_s"] == {"with": 945, "without": 1000}
    assert found["cost_percent"] == 5.5
    assert found["spread_percent"]["without"] == 0
    assert (found["offered"], found["delivered"], found["dropped"]) == (80, 72, 8)


def test_a_run_without_objects_or_time_is_no_measurement() -> None:
    assert carried({"delivered": 500, "cpu_s": {"router": 0.25}}) == 2000
    for figures in ({"delivered": 0, "cpu_s": {"router": 1.0}}, {"delivered": 5, "cpu_s": {}}):
        with pytest.raises(WtpError):
            carried(figures)


def message(seq: int, due_us: int | None, took_us: int, instance: str = "a") -> Received:
    properties = {"instance": instance, "seq": str(seq)}
    if due_us is not None:
        properties |= {"clock": f"boot:{ANCHOR_US}", "capture_us": str(ANCHOR_US + due_us)}
    return Received(
        topic="t", key="track", properties=properties, payload=b"", publish_ms=0, event_ms=0,
        position="0:0", receive_monotonic_us=(due_us or 0) + took_us, redeliveries=0, raw=None,
    )  # fmt: skip


def test_a_window_measures_what_was_due_in_it_and_counts_the_rest() -> None:
    window = Window(frozenset({"a"}), 1_000_000, 2_000_000)
    for one in (
        message(1, 900_000, 5000),
        message(2, 1_000_000, 3000),
        message(3, 1_999_999, 7000),
        message(3, 1_999_999, 7000),
        message(4, 2_000_000, 9000),
        message(5, None, 1),
        message(6, 1_500_000, 1000, instance="somebody else"),
    ):
        window.take(one)
    found = window.figures()
    assert found["n"] == 2
    assert (found["p50_ms"], found["max_ms"]) == pytest.approx((3.0, 7.0), rel=0.001)
    assert (found["received"], found["repeated"], found["unstamped"]) == (5, 1, 1)
    assert sum(second["n"] for second in found["timeline"]) == 2


def test_a_window_takes_overtaken_objects_and_not_repeated_ones() -> None:
    window = Window(frozenset({"a"}), 0, 10**9)
    for seq in (3, 1, 2, 2, 3, *range(4, 10_000), 9_999):
        window.take(message(seq, seq * 1000, 500))
    assert (window.received, window.repeated) == (9_999, 3)


def test_a_window_in_parts_tells_each_part() -> None:
    window = Window(frozenset(), 0, 5_000_000, 5)
    for seq in range(1, 51):
        window.take(message(seq, (seq - 1) * 100_000, 1000 * (1 + (seq - 1) // 10)))
    parts = window.figures()["parts"]
    assert [part["n"] for part in parts] == [10] * 5
    assert [part["p99_ms"] for part in parts] == pytest.approx([1, 2, 3, 4, 5], rel=0.001)


def test_cores_are_split_where_there_are_two() -> None:
    assert split([0, 1, 2]) == ([2], [0, 1])
    assert split([3]) == ([3], [3])
    assert split([]) == ([], [])


def test_rates_and_shares_are_read() -> None:
    assert parse_rates("flat-out") == [0.0]
    assert parse_rates("500, flat-out") == [500.0, 0.0]
    assert parse_rates("100:400:3") == pytest.approx([100, 200, 400])
    assert parse_share("1%") == 0.01
    assert parse_share("0") == 0
    assert parse_shares("0%,0.5%,5%") == pytest.approx([0, 0.005, 0.05])


@pytest.mark.parametrize("text", ["", "fast", "-5", "0", "100:0", "10:20:1", "nan", "inf"])
def test_wrong_rates_are_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_rates(text)


@pytest.mark.parametrize("text", ["", "5", "101%", "-1%", "1ms", "0.05"])
def test_wrong_shares_are_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_share(text)


class Asked(Exception):
    """What a benchmark was asked to measure."""


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ["throughput", "--rate", "500:2000:2,flat-out", "--size", "4KB", "--kind", "video"],
            {"rates": [500.0, 2000.0, 0.0], "size_bytes": 4000, "kind": "video", "sessions": 4},
        ),
        (
            ["sessions", "--p99", "25ms", "--first", "5", "--duration", "2s"],
            {"objective_p99_ms": 25.0, "first": 5, "rate": 30.0, "duration_s": 2.0},
        ),
        (
            ["loss", "--loss", "0%,2%", "--delay", "20ms", "--reorder", "0.5%", "--seed", "9"],
            {"loss_percent": [0, 2], "delay_ms": 20, "reorder_percent": 0.5, "seed": 9},
        ),
        (["stamps", "--rounds", "3"], {"rounds": 3, "kind": "video"}),
    ],
)
def test_commands_measure_what_they_were_told(
    words: list[str], expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run(config: dict[str, Any], say: object) -> None:
        raise Asked(config)

    monkeypatch.setattr(f"wtp.bench.{words[0]}.run", run)
    done = CliRunner().invoke(bench_load.app, [*words, "-o", "json"])
    assert isinstance(done.exception, Asked), done.output
    config = done.exception.args[0]
    assert {key: config[key] for key in expected} == expected
    assert "cores" in config["machine"]


@pytest.mark.parametrize(
    "words",
    [
        ["throughput", "--rate", "quick"],
        ["throughput", "--size", "many"],
        ["throughput", "--kind", "chat"],
        ["sessions", "--p99", "10MB"],
        ["sessions", "--first", "0"],
        ["loss", "--loss", "5"],
        ["loss", "--delay", "-3ms"],
        ["stamps", "--rounds", "1"],
    ],
)
def test_commands_refuse_what_makes_no_sense(words: list[str]) -> None:
    done = CliRunner().invoke(bench_load.app, words)
    assert done.exit_code == 2, done.output


@pytest.mark.parametrize("command", ["throughput", "sessions", "loss", "stamps"])
def test_objects_that_nobody_takes_are_refused_before_anything_starts(command: str) -> None:
    done = CliRunner().invoke(bench_load.app, [command, "--size", "9MB"])
    assert isinstance(done.exception, UsageError)
    assert "over" in done.exception.message
    assert "--size" in done.exception.hint


@pytest.mark.parametrize(
    ("held", "router", "others", "said"),
    [(False, 60.0, 95.0, True), (True, 60.0, 95.0, False), (False, 97.0, 95.0, False),
     (False, 60.0, 70.0, False)],
)  # fmt: skip
def test_a_machine_too_small_for_the_search_is_named(
    held: bool, router: float, others: float, said: bool
) -> None:
    step: dict[str, Any] = {"sessions": 40, "held": held}
    step |= {"router_busy_percent": router, "others_busy_percent": others}
    assert bool(limited([step])) is said
