"""What the shared options of `wtp bench` do, with a benchmark that takes no time."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import typer

from tests.bench import made
from wtp.bench.ranges import Range
from wtp.cli import bench_result
from wtp.cli.bench_common import Bench, RateRange, SizeRange, measured, ranged
from wtp.cli.group import invoke
from wtp.errors import WtpError

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `wtp bench WORDS` where `fake` returns made figures; exit code, stdout, stderr."""
    from wtp.cli import bench

    app = typer.Typer()
    rounds = iter(range(1, 100))

    @measured(app)
    def fake(rate: RateRange = Range("30", (30.0,)), size: SizeRange = Range("2", (2,))) -> Bench:  # noqa: B008 - immutable
        """A fake."""

        def figures(config: dict[str, Any]) -> dict[str, Any]:
            return {**made.figures(5 + config["rate"] / 30, next(rounds)), "notes": ["made up"]}

        return ranged("fake", {"mtu": 0}, {"rate": rate, "size_bytes": size}, figures)

    @measured(app)
    def broken() -> Bench:
        """Fails."""

        def fail() -> dict[str, Any]:
            raise WtpError("It broke.", hint="Mend it.")

        return Bench("broken", {}, fail, histogram=False)

    @measured(app)
    def empty() -> Bench:
        """Nothing arrives."""
        unknown = dict.fromkeys(("p50_ms", "p90_ms", "p99_ms", "p999_ms", "max_ms"))
        return Bench("empty", {}, lambda: {"n": 0, **unknown, "notes": ["the consumer stopped"]})

    monkeypatch.setattr(bench, "app", app)

    def wtp(*words: str) -> tuple[int, str, str]:
        code = invoke(["bench", *words])
        out, err = capsys.readouterr()
        return code, out, err

    return wtp


def test_the_configuration_comes_first(run: Run) -> None:
    code, out, err = run("fake", "--rate", "60")
    assert code == 0
    assert out.splitlines()[0] == "wtp bench fake: rate 60, size_bytes 2, mtu 0"
    assert "cores" in out.splitlines()[1]
    assert "capture to receipt at the consumer" in out
    assert "note: made up" in out
    assert "histogram" not in out
    assert max(len(line) for line in out.splitlines()[2:]) <= 80
    code, out, err = run("fake", "-o", "json")
    assert json.loads(out)["configuration"]["mtu"] == 0
    assert err.startswith("wtp bench fake: rate 30")


def test_every_format_parses(run: Run, tmp_path: Path) -> None:
    figures = json.loads(run("fake", "-o", "json")[1])
    assert figures["bench"] == "fake"
    assert figures["histogram"]
    lines = run("fake", "-o", "jsonl", "--rate", "10:40:3")[1].splitlines()
    assert [json.loads(line)["label"] for line in lines] == ["10/s", "20/s", "40/s"]
    rows = run("fake", "-o", "csv", "--repeat", "2")[1].splitlines()
    assert [row.split(",")[0] for row in rows] == ["run", "1", "2"]
    assert run("fake", "-o", "hdr")[1].count("HIST") == 2
    file = tmp_path / "x.csv"
    code, out, _ = run("fake", "-o", "csv", "--save", str(file))
    assert code == 0
    assert "latencies in ms" in out
    assert file.read_text().startswith("from,") or file.read_text().startswith("n,")


def test_repeat_shows_the_spread(run: Run) -> None:
    _, out, err = run("fake", "--repeat", "3")
    assert "3 runs; figures above are medians" in out
    assert "run 3 of 3" in err
    figures = json.loads(run("fake", "--repeat", "3", "-o", "json")[1])
    spread = figures["spread"]["p99_ms"]
    assert spread["min"] <= figures["p99_ms"] == spread["median"] <= spread["max"]


def test_a_range_has_a_row_for_each_point(run: Run) -> None:
    code, out, _ = run("fake", "--size", "2KB:8KB:3", "--objective", "p99=1s")
    assert code == 0
    assert "2 KB " in out
    assert "8 KB " in out
    assert out.count("held") == 3


def test_objectives_decide_the_exit_code(run: Run, tmp_path: Path) -> None:
    junit = tmp_path / "junit.xml"
    words = ("fake", "--objective", "p99=1ms", "--objective", "dropped=2", "--junit", str(junit))
    code, out, err = run(*words)
    assert code == 5
    assert "missed" in out
    assert "held" in out
    assert "above the objective of at most 1 ms" in err
    assert ET.parse(junit).getroot().attrib["failures"] == "1"
    assert run("fake", "--objective", "p99=1s")[0] == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--objective", "p99=10MB"), "'MB' is no unit of it"),
        (("--objective", "p99=10"), "has no unit"),
        (("--report", "/nowhere/at/all.html"), "cannot be written"),
        (("--junit", "/"), "is a folder"),
        (("--save", "/proc/version"), "cannot be written"),
        (("--baseline", "/nowhere.json"), "No such file"),
        (("--repeat", "0"), "--repeat"),
        (("--noise", "much"), "not a share"),
        (("--rate", "0"), "at least"),
        (("--rate", "1:2:3:4"), "no range"),
        (("--size", "big"), "not a size"),
        (("--rate", "1:9:10", "--size", "1:9KB:10"), "100 points"),
        (("-o", "xml"), "xml"),
    ],
)
def test_bad_input_is_told_before_the_run(run: Run, words: tuple[str, ...], sentence: str) -> None:
    code, out, err = run("fake", *words)
    assert code == 2
    assert sentence in err
    assert out == ""
    assert "Traceback" not in err


def test_an_unknown_figure_is_told_after_the_figures(run: Run) -> None:
    code, out, err = run("fake", "--objective", "p98=10")
    assert code == 2
    assert "latencies in ms" in out
    assert "no figure 'p98'" in err
    assert "p99_ms" in err


def test_a_missing_extra_is_told_before_the_run(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_result, "find_spec", lambda _: None)
    code, out, err = run("fake", "--report", "x.html")
    assert (code, out) == (2, "")
    assert "pip install 'wtp[report]'" in err


def test_a_failed_run_stands_in_junit(run: Run, tmp_path: Path) -> None:
    junit = tmp_path / "junit.xml"
    code, _, err = run("broken", "--junit", str(junit))
    assert code == 1
    assert "It broke." in err
    assert ET.parse(junit).getroot().attrib["errors"] == "1"
    code, _, err = run("broken", "-o", "hdr")
    assert code == 2
    assert "keeps no histogram" in err


def test_nothing_measured_is_an_error_with_its_note(run: Run) -> None:
    code, out, err = run("empty")
    assert code == 1
    assert "Nothing arrived" in err
    assert "note: the consumer stopped" in out
    assert "0.00" not in out
    code, out, _ = run("empty", "-o", "json")
    assert code == 1
    assert json.loads(out)["p99_ms"] is None
    assert run("empty", "--objective", "p99=1h")[0] == 5
    some = [{"label": "clean", "n": 5}, {"label": "all lost", "n": 0}]
    bench_result._require_arrivals({"series": some})
    with pytest.raises(WtpError, match="Nothing arrived"):
        bench_result._require_arrivals({"series": some[1:]})


def test_a_baseline_is_compared_and_drawn(run: Run, tmp_path: Path) -> None:
    before, report = tmp_path / "before.json", tmp_path / "report.html"
    assert run("fake", "--save", str(before))[0] == 0
    code, out, err = run(
        "fake", "--rate", "300", "--baseline", str(before), "--report", str(report), "--noise", "5%"
    )
    assert code == 0
    assert "noise band ±5 %" in out
    assert "worse" in out
    assert "rate was 30, is 300" in out
    assert f"report: {report}" in err
    assert "earlier run" in report.read_text(encoding="utf-8")
    code, _, err = run("broken", "--baseline", str(before))
    assert code == 2
    assert "not of broken" in err


def test_a_disk_that_is_full_loses_no_figures(run: Run, tmp_path: Path) -> None:
    code, out, err = run("fake", "--save", "/dev/full", "--junit", str(tmp_path / "j.xml"))
    assert code == 1
    assert "No space left" in err
    assert "latencies in ms" in out
    assert (tmp_path / "j.xml").exists()
