"""The report: what is on it, and that nothing in it can break out of it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.bench import made
from wtp.bench import baseline, objective, repeat, report_plots
from wtp.bench.report import page

EVIL = "</script><script>alert(1)</script><b>x"


def whole() -> tuple[dict[str, Any], dict[str, Any]]:
    """A result with everything that can be on a page, and an earlier one."""
    before = made.result(6.5, 40)
    now = {**made.result(), **repeat.combine([made.figures(5, 1), made.figures(5.5, 2)])}
    parsed = [objective.parse(text) for text in ("p99=1s", "dropped=0")]
    now["objectives"] = [one.as_dict() for one in objective.judge(parsed, now)]
    now["compared"] = baseline.compare(before, now)
    return now, before


def plots_of(text: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="plots">(.*?)</script>', text)
    assert found is not None
    plots: dict[str, Any] = json.loads(found[1])
    return plots


def test_everything_is_on_the_page() -> None:
    text = page(*whole(), "not used")
    plots = plots_of(text)
    assert set(plots) == {"percentiles", "waterfall", "timeline"}
    names = [trace["name"] for trace in plots["percentiles"]["data"]]
    assert names == ["this run", "baseline in the same run", "earlier run"]
    assert plots["percentiles"]["layout"]["xaxis"]["type"] == "log"
    assert [trace["name"] for trace in plots["timeline"]["data"]] == ["max", "p99", "p50"]
    assert plots["waterfall"]["data"][0]["y"][0] == "capture → encode"
    for sentence in (
        "<title>wtp bench latency: From capture to receipt at the consumer</title>",
        "<h1>From capture to receipt at the consumer</h1>",
        "medians of 2 runs",
        '<li class="held"><b>held</b> p99_ms is',
        '<li class="missed"><b>missed</b> dropped is 2, 2 above the objective',
        "noise band from the spread",
        '<td class="w">fps</td><td class="w">30</td>',
        "prefers-color-scheme: dark",
        'name="viewport"',
    ):
        assert sentence in text, sentence


def test_the_page_needs_no_network() -> None:
    text = page(*whole(), "")
    own = re.sub(r"<script>.*?</script>", "", text, flags=re.S)
    assert not re.search(r"(?:src|href)\s*=|@import|url\(", own)


def test_names_cannot_break_out() -> None:
    figures = made.ranged()
    figures["series"][0]["label"] = EVIL
    figures["configuration"]["machine"] = EVIL
    figures["notes"] = [EVIL]
    text = page(figures, None, EVIL)
    assert "<script>alert" not in text
    assert "<b>x" not in text
    plots = plots_of(text)
    assert "&lt;b&gt;x" in plots["bars-0"]["data"][0]["y"][0]
    assert len(re.findall(r"</script>", text)) == 3


def test_parts_without_figures_are_left_out() -> None:
    about = {"bench": "files", "started": "2026-11-21T20:00:00+00:00", "configuration": {}}
    text = page({**about, "mb_per_s": 55.6, "n": 3, "alone": {"mb_per_s": 140}}, None, "One file.")
    assert "<h1>One file</h1>" in text
    assert '<div class="plot"' not in text
    assert "Plotly" not in text
    assert "55.60 <small>MB/s</small>" in text
    assert "alone, MB/s" in text


def test_nothing_measured_is_unknown_and_never_zero() -> None:
    figures = {**made.result(), "n": 0, "timeline": [], "hops": {}, "baseline": {}}
    for key in ("p50_ms", "p90_ms", "p99_ms", "p999_ms", "max_ms"):
        figures[key] = None
    del figures["histogram"]
    text = page(figures, None, "")
    assert "unknown" in text
    assert '<div class="plot"' not in text


def test_many_points_and_points_with_names_lie_one_below_the_other() -> None:
    figures = made.ranged()
    figures["series"][0]["label"] = "WebTransport streams, clean"
    figures["protocols"] = [{"protocol": "WebSocket", "p99_ms": 4.5, "lost": None}]
    text = page(figures, None, "Protocols.")
    plots = plots_of(text)
    assert set(plots) == {"percentiles", "bars-0"}
    assert plots["bars-0"]["data"][0]["base"] == [0, 0, 0]
    for point in figures["series"]:
        point |= {"protocol": point["label"], "link": "clean"}
    figures["series"][2]["link"] = "lossy"
    drawn = report_plots.bars(figures["series"])
    assert [len(plot["data"][0]["y"]) for plot in drawn.values()] == [2, 1]
    assert list(drawn) == ["clean", "lossy"]
    assert "<h2>Protocols</h2>" in text
    assert "4.50 ms" in text
    curves = {str(number): made.latency(number)["histogram"] for number in range(1, 20)}
    many = report_plots.percentiles(curves)
    assert many is not None
    names = [trace["name"] for trace in many["data"]]
    assert len(names) == report_plots.MOST_CURVES
    assert (names[0], names[-1]) == ("1", "19")


def test_the_curve_says_what_the_figures_say() -> None:
    for n in (1, 2, 160, 3000):
        figures = made.latency(5, n=n)
        plot = report_plots.percentiles({"a": figures["histogram"]})
        assert plot is not None
        xs, ys = (plot["data"][0][axis] for axis in "xy")
        assert ys == sorted(ys)
        assert ys[-1] == pytest.approx(figures["max_ms"], rel=0.01)
        nearest = min(range(len(xs)), key=lambda at: abs(xs[at] - 2))
        assert n < 100 or ys[nearest] == pytest.approx(figures["p50_ms"], rel=0.05)


def test_a_silent_second_is_a_gap() -> None:
    seconds = made.latency(5, n=90)["timeline"]
    del seconds[1]
    plot = report_plots.timeline(seconds)
    assert plot is not None
    assert plot["data"][0]["y"][1] is None
    assert plot["data"][0]["x"] == [1, 2, 3]


def test_the_waterfall_begins_each_hop_where_the_last_one_ended() -> None:
    hops: dict[str, dict[str, float | None]] = {
        f"{a}->{b}": {"p50_ms": 2.0, "p99_ms": 5.0} for a, b in ("ab", "bc", "cd")
    }
    hops["d->e"] = {"p50_ms": None, "p99_ms": None}
    plot = report_plots.waterfall(hops, {"p50_ms": 7.0, "p99_ms": 9.0}, "in all")
    assert plot is not None
    assert plot["data"][0]["base"] == [0, 2, 4, 0]
    assert plot["data"][0]["x"] == [2, 2, 2, 7]
    assert plot["data"][1]["x"] == [3, 3, 3, 2]


@pytest.mark.tool("chromium")
@pytest.mark.timeout(120)
def test_a_browser_draws_every_plot(tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(page(*whole(), ""), encoding="utf-8")
    chromium = shutil.which("chromium")
    assert chromium is not None
    done = subprocess.run(
        [chromium, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/c",
         "--virtual-time-budget=8000", "--dump-dom", file.as_uri()],
        capture_output=True, text=True, timeout=100, check=True,
    )  # fmt: skip
    for name in plots_of(file.read_text(encoding="utf-8")):
        assert re.search(rf'class="plot js-plotly-plot" id="{name}"', done.stdout), name
    assert done.stdout.count('class="main-svg"') >= 3
