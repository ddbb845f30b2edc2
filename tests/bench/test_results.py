"""What becomes of figures: repeated, compared, written in every format."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

from tests.bench import made
from wtp.bench import baseline, formats, objective, ranges, repeat
from wtp.bench.junit import as_junit
from wtp.bench.ranges import Range
from wtp.cli.options import parse_bytes
from wtp.errors import UsageError, WtpError

# Repeated runs


def test_runs_become_medians_with_their_spread() -> None:
    runs = [{"p50_ms": value, "cpu_s": {"router": value / 2}, "n": 10} for value in (4.0, 2.0, 9.0)]
    whole = repeat.combine(runs)
    assert whole["p50_ms"] == 4.0
    assert whole["cpu_s"] == {"router": 2.0}
    assert whole["spread"]["p50_ms"] == {"min": 2.0, "median": 4.0, "max": 9.0}
    assert whole["spread"]["cpu_s.router"]["max"] == 4.5
    assert whole["repeat"] == 3
    assert whole["runs"] == runs
    assert isinstance(whole["n"], int)
    assert repeat.combine(runs[:1]) == runs[0]


def test_what_one_run_does_not_know_is_unknown() -> None:
    whole = repeat.combine([{"n": 10, "p99_ms": 4.0}, {"n": 0, "p99_ms": None}])
    assert whole["p99_ms"] is None
    assert "p99_ms" not in whole["spread"]


def test_histograms_add_up_and_time_lines_follow() -> None:
    runs = [made.latency(4, n=90, seed=1), made.latency(6, n=60, seed=2)]
    whole = repeat.combine(runs)
    assert HdrHistogram.decode(whole["histogram"]).get_total_count() == 150
    assert [one["t_s"] for one in whole["timeline"]] == [1, 2, 3, 4, 5]
    assert sum(one["n"] for one in whole["timeline"]) == 150


def test_points_of_a_range_are_combined_each() -> None:
    whole = repeat.combine([made.ranged(), made.ranged()])
    assert [point["label"] for point in whole["series"]] == ["2 KB", "8 KB", "30 KB"]
    assert whole["series"][0]["spread"]["p50_ms"]["min"] > 0
    fewer = made.ranged()
    fewer["notes"] = ["gave up"]
    del fewer["series"][2]
    whole = repeat.combine([made.ranged(), fewer])
    assert len(whole["series"]) == 3
    assert whole["notes"] == ["gave up"]


# An earlier run


def test_a_change_is_told_from_noise() -> None:
    before = {"p50_ms": 4.0, "p99_ms": 10.0, "objects_per_s": 1000.0, "dropped": 0, "n": 600}
    now = {"p50_ms": 4.3, "p99_ms": 15.0, "objects_per_s": 1500.0, "dropped": 2, "n": 900}
    compared = baseline.compare(before, now)
    found = {one["figure"]: one for one in compared["changes"]}
    assert found["p50_ms"]["verdict"] == "same"
    assert found["p99_ms"]["verdict"] == "worse"
    assert found["p99_ms"]["change_percent"] == 50.0
    assert found["objects_per_s"]["verdict"] == "better"
    assert found["dropped"]["verdict"] == "worse"
    assert found["dropped"]["change_percent"] is None
    assert found["n"]["verdict"] == "changed"
    assert "±10 %" in compared["band"]
    given = baseline.compare(before, now, 60.0)
    assert {one["verdict"] for one in given["changes"]} == {"same", "worse"}
    assert "--noise" in given["band"]


def test_the_noise_band_comes_from_the_spread() -> None:
    runs = [{"p50_ms": value, "p99_ms": 10.0} for value in (8.0, 10.0, 12.0)]
    before, now = repeat.combine(runs), {"p50_ms": 13.0, "p99_ms": 10.1}
    found = {one["figure"]: one for one in baseline.compare(before, now)["changes"]}
    assert found["p50_ms"]["band_percent"] == 40.0
    assert found["p50_ms"]["verdict"] == "same"
    assert found["p99_ms"]["band_percent"] == baseline.LEAST_PERCENT
    assert "3 earlier and 1 present" in baseline.compare(before, now)["band"]


def test_unknown_figures_and_other_settings_are_told() -> None:
    before, now = made.result(), made.result()
    now["p99_ms"] = None
    now["configuration"] = {**now["configuration"], "fps": 60, "machine": "another"}
    compared = baseline.compare(before, now)
    assert {one["verdict"] for one in compared["changes"]} == {"same", "unknown"}
    assert "fps was 30, is 60" in compared["differences"]
    assert "another machine" in compared["differences"][-1]


def test_points_are_compared_by_their_label() -> None:
    before, now = made.ranged(), made.ranged()
    now["series"][0]["p99_ms"] *= 2
    changed = [one for one in baseline.compare(before, now)["changes"] if one["verdict"] != "same"]
    assert [one["figure"] for one in changed] == ["2 KB: p99_ms"]


def test_a_file_that_is_no_earlier_result(tmp_path: Path) -> None:
    file = tmp_path / "before.json"
    with pytest.raises(UsageError, match="No such file"):
        baseline.read(file, "latency")
    for text in ("nonsense", "[]", "{}", '{"name": "x"}'):
        file.write_text(text)
        with pytest.raises(UsageError, match="no result of a benchmark"):
            baseline.read(file, "latency")
    file.write_text(json.dumps(made.result()))
    assert baseline.read(file, "latency")["n"] == 600
    with pytest.raises(UsageError, match="is of `wtp bench latency`, not of router"):
        baseline.read(file, "router")


# Formats


def test_json_lines_have_a_line_for_each_run_and_point() -> None:
    runs = {**made.result(), **repeat.combine([made.figures(4, 1), made.figures(5, 2)])}
    lines = [json.loads(line) for line in formats.as_jsonl(runs).splitlines()]
    assert [line["run"] for line in lines] == [1, 2]
    assert lines[0]["bench"] == "latency"
    assert lines[0]["configuration"]["fps"] == 30
    points = [json.loads(line) for line in formats.as_jsonl(made.ranged()).splitlines()]
    assert [point["label"] for point in points] == ["2 KB", "8 KB", "30 KB"]


def test_csv_is_flat_with_units_in_its_head() -> None:
    figures = {"series": [{"label": "a,b", "p50_ms": 1.5}, {"label": "c", "p50_ms": None, "n": 0}]}
    rows = list(csv.DictReader(io.StringIO(formats.as_csv(figures))))
    assert rows == [
        {"label": "a,b", "p50_ms": "1.5", "n": ""},
        {"label": "c", "p50_ms": "", "n": "0"},
    ]
    head = formats.as_csv(made.result()).splitlines()[0].split(",")
    assert {"p99_ms", "hops.send->route.p50_ms", "cpu_s.router"} <= set(head)
    assert not {"histogram", "timeline"} & set(head)


def test_the_hdr_log_is_read_by_its_reader(tmp_path: Path) -> None:
    figures = made.result(4.0)
    file = tmp_path / "latency.hlog"
    file.write_text(formats.as_hdr(figures))
    assert "1.2]" in file.read_text()
    assert f",20.000,{figures['max_ms']:.1f}" in file.read_text()
    reader = HistogramLogReader(str(file), HdrHistogram(1, 3_600_000_000, 3))
    try:
        whole, alone = reader.get_next_interval_histogram(), reader.get_next_interval_histogram()
        assert reader.get_next_interval_histogram() is None
    finally:
        reader.input_file.close()
    assert whole.get_total_count() == 600
    assert whole.get_value_at_percentile(50) / 1000 == pytest.approx(figures["p50_ms"], rel=0.01)
    assert alone.get_tag() == "baseline"
    with pytest.raises(WtpError, match="no histogram"):
        formats.as_hdr({"mb_per_s": 5.0})


def test_junit_has_a_case_for_the_run_and_for_each_objective() -> None:
    figures = made.result()
    verdicts = objective.judge([objective.parse(t) for t in ("p99=1s", "dropped=0")], figures)
    suite = ET.fromstring(as_junit("latency", 21.5, figures, verdicts))
    assert suite.attrib["tests"] == "3"
    assert suite.attrib["failures"] == "1"
    cases = suite.findall("testcase")
    assert [case.attrib["name"] for case in cases] == ["run", "p99 <= 1s", "dropped <= 0"]
    failure = cases[2].find("failure")
    assert failure is not None
    assert "2 above" in failure.attrib["message"]
    assert "p50_ms = " in (cases[0].findtext("system-out") or "")
    broken = ET.fromstring(as_junit("latency", 1.0, {}, error="No \x1b[31m router <here>"))
    assert broken.attrib["errors"] == "1"
    error = broken.find("testcase/error")
    assert error is not None
    assert error.attrib["message"] == "No [31m router <here>"


# Ranges


def sizes(text: str) -> Range:
    return ranges.parse(text, lambda one: float(parse_bytes(one)), whole=True)


def test_a_range_grows_by_one_factor_and_has_both_ends() -> None:
    assert sizes("20KB").points == (20_000.0,)
    assert sizes("1KB:16KB").points == (1000, 2000, 4000, 8000, 16_000)
    assert sizes("2KB:60KB:3").points == (2000, 10_954, 60_000)
    assert sizes("60KB:2KB:2").points == (60_000, 2000)
    assert sizes("5:5").points == (5,)
    assert sizes("1:2:9").points == (1, 2)


@pytest.mark.parametrize("text", ["1:2:3:4", "1:", ":2", "1:2:1", "1:2:x", "1:2:100", "0:5", "5:0"])
def test_what_is_no_range(text: str) -> None:
    with pytest.raises(UsageError):
        sizes(text)


def test_every_point_is_measured_once() -> None:
    seen, said = list[dict[str, object]](), list[str]()

    def measure(config: dict[str, object]) -> dict[str, object]:
        seen.append(config)
        return {"n": 1, "configuration": config, "notes": ["slow"]}

    both = {"size_bytes": sizes("1KB:2KB:2"), "rate": ranges.parse("10:40:3", float)}
    found = ranges.over({"mtu": 0}, both, measure, said.append)
    assert len(seen) == 6
    assert {"mtu": 0, "size_bytes": 2000, "rate": 20} in seen
    assert [one["label"] for one in found["series"]][:2] == ["1 KB, 10/s", "1 KB, 20/s"]
    assert found["notes"][0] == "1 KB, 10/s: slow"
    assert said[-1] == "2 KB, 40/s, 6 of 6"
    single = ranges.over({}, {"rate": ranges.parse("10", float)}, measure)
    assert single["configuration"] == {"rate": 10}
    with pytest.raises(UsageError, match="100 points"):
        ranges.points({"a": sizes("1:9KB:10"), "b": sizes("1:9KB:10")})
