"""Every figure of the README: its command can be given, and the quick ones still hold together.

A quick one is run again, shorter, and judged by relations between its own figures alone, never by
absolute times. The others are run by the tests that are named here.
"""

from __future__ import annotations

import json
import math
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hdrh.histogram import HdrHistogram

from wtp.bench.units import flat, unit_of
from wtp.cli import COMMANDS
from wtp.cli.group import load_command

ROOT = Path(__file__).resolve().parent.parent
RUN_S = 200.0

Figures = dict[str, Any]

QUICK = {
    "latency": "--duration 2 --warmup 1",
    "glass": "--duration 2 --warmup 1",
    "router": "--duration 2 --warmup 1",
    "receipts": "--duration 1 --warmup 0.5 --rate 200",
    "files": "--size 3MB",
    "broker": "--duration 2 --small 5000 --large 500",
    "transport": "--duration 0.5 --sessions 5",
}
"""What makes a benchmark short; put behind the words of the README, so it wins."""

ELSEWHERE = {
    "media": "tests/bench/test_runs.py",
    "squeeze": "tests/bench/test_squeeze.py",
    "record": "tests/recorder/test_bench.py",
    "processor": "tests/services/test_bench.py",
    "replay": "tests/replayer/test_bench.py",
    "throughput": "tests/bench/test_load*.py",
    "sessions": "tests/bench/test_load*.py",
    "loss": "tests/bench/test_load*.py",
    "stamps": "tests/bench/test_load*.py",
    "soak": "tests/bench/test_*.py",
    "compare": "tests/bench/test_compare*.py",
}
"""Longer ones, and the tests that run a part of them."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the README's table of figures.

    Attributes:
        number: Its line.
        command: The words of its command.
        figure: What it says.
    """

    number: int
    command: tuple[str, ...]
    figure: str


def rows(text: str) -> Iterator[Row]:
    """Every row of the tables below `## Figures`; one of "the same run" has the command above."""
    inside = False
    command: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("## "):
            inside = line == "## Figures"
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not inside or not line.startswith("|") or set(cells[0]) <= {"-", ":"}:
            continue
        if cells[0] == "command":
            continue
        found = re.match(r"`([^`]+)`", cells[0])
        if found:
            command = tuple(shlex.split(found[1]))
        else:
            assert cells[0].startswith("the same run"), f"README.md, line {number}: no command"
        yield Row(number, command, "|".join(cells[1:]))


ROWS = list(rows((ROOT / "README.md").read_text(encoding="utf-8")))
BENCHES = [row for row in ROWS if row.command[:2] == ("wtp", "bench")]


def test_rows_are_found() -> None:
    table = "## Figures\n| command | figure |\n|---|---|\n| `wtp bench x --a 1` (b) | 1 \\| 2 |\n"
    found = list(rows(f"{table}| the same run, CPU | 3 |\n## Next\n| `no` | 4 |\n"))
    assert [row.command for row in found] == [("wtp", "bench", "x", "--a", "1")] * 2
    assert len(BENCHES) >= 10


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"line-{row.number}")
def test_every_command_can_be_given(row: Row) -> None:
    assert re.search(r"\d", row.figure), f"README.md, line {row.number}: no figure"
    words = list(row.command[1:] if row.command[0] == "time" else row.command)
    if words[:2] == ["wtp", "bench"]:
        group = load_command("bench")
        assert words[2] in group.commands, words
        group.commands[words[2]].make_context(words[2], words[3:]).close()
        assert words[2] in QUICK or list(ROOT.glob(ELSEWHERE[words[2]])), words
    elif words[0] == "wtp":
        assert words[1] in COMMANDS or words[1] == "--help", words
    elif words[0] == "pytest":
        assert all((ROOT / word).exists() for word in words[1:]), words
    else:
        assert words[:2] == ["python", "-m"], words
        place = ROOT / words[2].replace(".", "/")
        assert place.is_dir() or place.with_suffix(".py").is_file(), words


def bench(words: tuple[str, ...]) -> Figures:
    """Run a benchmark, shorter; its figures."""
    line = [sys.executable, "-m", *words, *QUICK[words[2]].split(), "-o", "json"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=RUN_S, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    figures: Figures = json.loads(done.stdout)
    return figures


def first_of_each() -> list[Row]:
    """One row for every quick benchmark."""
    found: dict[str, Row] = {}
    for row in BENCHES:
        if row.command[2] in QUICK:
            found.setdefault(row.command[2], row)
    return list(found.values())


@pytest.mark.e2e
@pytest.mark.timeout(RUN_S + 30)
@pytest.mark.parametrize("row", first_of_each(), ids=lambda row: row.command[2])
def test_figures_hold_together(row: Row) -> None:
    name = row.command[2]
    figures = bench(row.command)
    assert figures["bench"] == name
    assert "cores" in figures["configuration"]["machine"]
    holds_together(figures, name)
    RELATIONS[name](figures)


def holds_together(figures: Mapping[str, Any], where: str) -> None:
    """What is true of the figures of any benchmark, and of every latency inside them."""
    keys = [f"{key}_ms" for key in ("p50", "p90", "p99", "p999", "max")]
    percentiles = [float(figures[key]) for key in keys if figures.get(key) is not None]
    if len(percentiles) == len(keys):
        assert figures["n"] > 0, where
        assert percentiles == sorted(percentiles), where
        assert percentiles[0] >= 0, where
    if figures.get("histogram"):
        whole = HdrHistogram.decode(figures["histogram"])
        assert whole.get_total_count() == figures["n"], where
        assert whole.get_max_value() / 1000 == pytest.approx(figures["max_ms"], rel=0.01), where
    if figures.get("timeline"):
        assert sum(second["n"] for second in figures["timeline"]) == figures["n"], where
        assert max(one["max_ms"] for one in figures["timeline"]) == figures["max_ms"], where
    if figures.get("offered") is not None:
        kept = figures["delivered"] + figures["dropped"] + figures["in_flight"]
        assert figures["offered"] == kept, where
    if figures.get("dropped_by_hop"):
        lost = sum(sum(counts.values()) for counts in figures["dropped_by_hop"].values())
        assert figures["dropped"] == lost, where
    for key, value in figures.items():
        if isinstance(value, Mapping) and key != "configuration":
            holds_together(value, f"{where}.{key}")


def ratio(figures: Figures, ours: Figures) -> None:
    """The stated ratio is that of the stated medians, and the way through the router is longer.

    That is judged by the quickest object of each: a busy machine delays medians, at times for the
    whole of a short run, and never speeds the quickest up.
    """
    medians = ours["p50_ms"] / figures["baseline"]["p50_ms"]
    assert figures["ratio_p50"] == pytest.approx(medians, rel=0.02, abs=0.006)
    assert quickest_ms(figures) > 0.7 * quickest_ms(figures["baseline"])


def quickest_ms(figures: Figures) -> float:
    return float(HdrHistogram.decode(figures["histogram"]).get_min_value()) / 1000


def latency(figures: Figures) -> None:
    ratio(figures, figures["send_to_receive"])
    assert figures["send_to_receive"]["p50_ms"] <= figures["p50_ms"]
    assert figures["baseline"]["received"] == figures["baseline"]["sent"]
    assert figures["clock_error_ms"] == 0
    assert set(figures["dropped_by_hop"]) == {"publisher", "router", "consumer"}
    hops = [row["p50_ms"] for row in figures["hops"].values() if row["p50_ms"] is not None]
    assert len(hops) >= 4
    assert max(hops) <= figures["max_ms"]


def glass(figures: Figures) -> None:
    assert figures["ratio_p50"] == pytest.approx(
        figures["p50_ms"] / figures["baseline"]["p50_ms"], rel=0.02
    )
    assert figures["unreadable"] == 0
    assert figures["publish_cpu_percent"] > 0


def router(figures: Figures) -> None:
    assert figures["packet_bytes"] == 8900
    assert figures["router_cpu_s_per_1000"] > 0
    expected = figures["objects_per_s"] * figures["configuration"]["size_bytes"] / 1e6
    assert figures["mb_per_s"] == pytest.approx(expected, abs=0.01)


def receipts(figures: Figures) -> None:
    ratio(figures, figures)
    assert figures["n"] == 200
    assert figures["baseline"]["objects_per_s"] > 0


def files(figures: Figures) -> None:
    for one in (figures, figures["alone"], figures["copy"]):
        assert one["mb_per_s"] > 0


def broker(figures: Figures) -> None:
    assert figures["n"] == 60
    assert (figures["small"]["n"], figures["large"]["n"]) == (5000, 500)
    assert figures["mb_per_s"] == figures["large"]["mb_per_s"]


def transport(figures: Figures) -> None:
    size_bytes = figures["configuration"]["size_bytes"]
    expected = figures["messages_per_s"] * size_bytes / 1e6
    assert figures["mb_per_s"] == pytest.approx(expected, rel=0.01)
    assert figures["packet_bytes"] == 1452


RELATIONS: dict[str, Callable[[Figures], None]] = {
    "latency": latency,
    "glass": glass,
    "router": router,
    "receipts": receipts,
    "files": files,
    "broker": broker,
    "transport": transport,
}


def test_relations_can_fail() -> None:
    good: Figures = {"n": 2, "p50_ms": 1, "p90_ms": 2, "p99_ms": 3, "p999_ms": 3, "max_ms": 3}
    holds_together(good, "")
    account = {"offered": 3, "delivered": 2, "dropped": 0, "in_flight": 0}
    for bad in ({"p99_ms": 0.5}, {"n": 0}, account, {"hops": {"a->b": {**good, "n": 0}}}):
        with pytest.raises(AssertionError):
            holds_together({**good, **bad}, "")
    names = dict(flat(good))
    assert all(math.isfinite(value or 0) for value in names.values())
    assert {unit_of(name).text for name in names} == {"", "ms"}
