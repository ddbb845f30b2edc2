"""What is done with a benchmark: run, repeat, compare, judge, print and write."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from wtp.bench import baseline, formats
from wtp.bench.machine import machine_line
from wtp.bench.objective import Objective, Verdict, judge, parse, require
from wtp.bench.repeat import combine
from wtp.bench.units import shown
from wtp.cli.bench_common import Bench, Format, Wanted, say
from wtp.cli.options import Output
from wtp.cli.out import put
from wtp.errors import UsageError, WtpError

Figures = dict[str, Any]

TEXTS: dict[Format, Callable[[Mapping[str, Any]], str]] = {
    Format.TABLE: formats.as_json,
    Format.JSON: formats.as_json,
    Format.JSONL: formats.as_jsonl,
    Format.CSV: formats.as_csv,
    Format.HDR: formats.as_hdr,
}
"""What is written to a file, by the format of `-o`."""


def carry_out(bench: Bench, wanted: Wanted, help_text: str = "") -> None:
    """Run a benchmark and do with its figures what is wanted.

    Args:
        bench: What to run.
        wanted: The shared options.
        help_text: What the benchmark is about, in a sentence.

    Raises:
        UsageError: Something is wanted that cannot be; before the run where that can be told.
        ObjectiveMissed: An objective does not hold.
        WtpError: The run failed, nothing arrived, or a file cannot be written.
    """
    objectives = [parse(text) for text in wanted.objective]
    before = baseline.read(wanted.baseline, bench.name) if wanted.baseline else None
    _check(bench, wanted)
    config = {"machine": machine_line(), **bench.configuration}
    _announce(bench.name, config, wanted.output)
    started, began_s = datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic()
    about: Figures = {"bench": bench.name, "started": started, "configuration": config}
    try:
        runs = [_run(bench, number, wanted.repeat) for number in range(1, wanted.repeat + 1)]
    except WtpError as error:
        _write_junit(wanted, about, time.monotonic() - began_s, [], str(error))
        raise
    seconds = time.monotonic() - began_s
    figures = _whole(about, combine(runs))
    verdicts, unknown = _judged(objectives, figures)
    figures["objectives"] = [verdict.as_dict() for verdict in verdicts]
    if before is not None:
        figures["compared"] = baseline.compare(before, figures, wanted.noise)
    figures = _rounded(figures)
    faults = [
        unknown,
        _try(lambda: _print(figures, wanted)),
        _try(lambda: _save(figures, wanted)),
        _try(lambda: _write_junit(wanted, figures, seconds, verdicts, str(unknown or ""))),
        _try(lambda: _write_report(figures, before, wanted, bench.title or help_text)),
    ]
    for fault in faults:
        if fault is not None:
            raise fault
    require(verdicts)
    _require_arrivals(figures)


def _check(bench: Bench, wanted: Wanted) -> None:
    """Find before the run what would fail after it."""
    if wanted.output is Format.HDR and not bench.histogram:
        raise UsageError(
            f"`wtp bench {bench.name}` keeps no histogram.", hint="Take -o json, jsonl or csv."
        )
    if wanted.report and not find_spec("plotly"):
        raise UsageError(
            "--report draws with plotly, which is not installed.",
            hint="Install it: pip install 'wtp[report]'",
        )
    for flag, path in (
        ("--save", wanted.save),
        ("--junit", wanted.junit),
        ("--report", wanted.report),
    ):
        if path is not None:
            _check_writable(flag, path)


def _check_writable(flag: str, path: Path) -> None:
    there = path.exists()
    if path.is_dir():
        raise UsageError(f"{flag}: {path} is a folder.", hint="Name a file in it.")
    if there and not path.is_file():
        return
    try:
        with path.open("a", encoding="utf-8"):
            pass
        if not there:
            path.unlink()
    except OSError as error:
        raise UsageError(
            f"{flag}: {path} cannot be written: {error.strerror or error}.",
            hint="Make its folder, or name another file.",
        ) from None


def _announce(name: str, config: Mapping[str, Any], output: Format) -> None:
    """The configuration first: with the table, or apart from data that others read."""
    from wtp.ui.bench import configuration

    text = configuration(name, config)
    if output is Format.TABLE:
        put(None, text, Output.TABLE)
        sys.stdout.flush()
    else:
        sys.stderr.write(f"{text}\n")


def _run(bench: Bench, number: int, count: int) -> Figures:
    if count > 1:
        say(f"run {number} of {count}")
    return bench.run()


def _whole(about: Figures, figures: Figures) -> Figures:
    """The figures with what they are of; what a run says of its configuration is kept."""
    config = {**about["configuration"], **(figures.get("configuration") or {})}
    return {**about, **figures, "configuration": config}


def _judged(
    objectives: list[Objective], figures: Figures
) -> tuple[list[Verdict], UsageError | None]:
    """Verdicts; and what is wrong with the objectives, to be said after the figures."""
    try:
        return judge(objectives, figures), None
    except UsageError as error:
        return [], error


def _try(work: Callable[[], None]) -> Exception | None:
    """Do one of several things; what goes wrong does not keep the others from being done."""
    try:
        work()
    except BrokenPipeError:
        raise
    except (OSError, WtpError) as error:
        return error
    return None


def _print(figures: Figures, wanted: Wanted) -> None:
    if wanted.output is Format.TABLE or wanted.save:
        put(None, _table(figures), Output.TABLE)
    else:
        put(None, TEXTS[wanted.output](figures).rstrip("\n"), Output.TABLE)


def _save(figures: Figures, wanted: Wanted) -> None:
    if wanted.save:
        wanted.save.write_text(TEXTS[wanted.output](figures), encoding="utf-8")


def _write_junit(
    wanted: Wanted, figures: Figures, seconds: float, verdicts: list[Verdict], error: str
) -> None:
    if wanted.junit:
        from wtp.bench.junit import as_junit

        text = as_junit(figures["bench"], seconds, figures, verdicts, error)
        wanted.junit.write_text(text, encoding="utf-8")


def _write_report(figures: Figures, before: Figures | None, wanted: Wanted, title: str) -> None:
    if wanted.report:
        from wtp.bench.report import page

        wanted.report.write_text(page(figures, before, title), encoding="utf-8")
        sys.stderr.write(f"report: {wanted.report}\n")


def _table(figures: Figures) -> Any:
    from wtp.ui.bench import whole

    compared = figures.get("compared") or {}
    return whole(
        figures["bench"],
        figures,
        spread=[
            (name, *(shown(name, values[key]) for key in ("min", "median", "max")))
            for name, values in (figures.get("spread") or {}).items()
        ],
        changes=[
            (
                change["figure"],
                shown(change["figure"], change["before"]),
                shown(change["figure"], change["now"]),
                "" if change["change_percent"] is None else f"{change['change_percent']:+.1f} %",
                f"±{change['band_percent']:g} %",
                change["verdict"],
            )
            for change in compared.get("changes", [])
        ],
    )


def _require_arrivals(figures: Figures) -> None:
    """A run in which nothing was measured is an error, whatever else it shows.

    Of several points some may be empty: a network that loses all is a result, and said to be one.

    Raises:
        WtpError: Nothing arrived at all.
    """
    parts = figures.get("series") or [figures]
    empty = [str(one.get("label", "")) for one in parts if one.get("n") == 0]
    if len(empty) == len(parts):
        raise WtpError(
            "Nothing arrived in the measured time: every latency is unknown.",
            hint="See the notes of the result.",
        )
    for label in empty:
        sys.stderr.write(f"nothing arrived at {label}\n")


def _rounded(value: Any) -> Any:
    """Floats to a thousandth: more digits would claim what no run repeats."""
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_rounded(inner) for inner in value]
    return round(value, 3) if isinstance(value, float) else value
