"""What the commands of `wtp bench` share: options, ranges, and what is done with figures.

A command is a function that returns a `Bench`; `measured` makes a command of it and adds the
options that all of them have:

    @measured(app)
    def router(rate: RateRange = RATE_30, duration: Seconds = 20.0) -> Bench:
        return Bench("router", {"duration_s": duration}, lambda: asyncio.run(...))

Figures are shown, written and judged by `wtp.cli.bench_result`.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from wtp.bench.ranges import Range, over, plain, points
from wtp.bench.ranges import parse as parse_range
from wtp.cli.options import option, parse_bytes, parse_seconds

Seconds = Annotated[
    float,
    typer.Option("--duration", help="How long to measure.", metavar="TIME", parser=parse_seconds),
]
Warmup = Annotated[
    float,
    typer.Option("--warmup", help="Time left out first.", metavar="TIME", parser=parse_seconds),
]
Fsync = Annotated[
    Literal["never", "interval", "always"],
    typer.Option("--fsync", help="Disk policy of the embedded broker."),
]
Size = Annotated[
    int, typer.Option("--size", help="Payload of an object.", metavar="SIZE", parser=parse_bytes)
]
Rate = Annotated[float, typer.Option("--rate", help="Objects a second.", min=0.1)]
PictureSize = Annotated[str | None, option("publish.size", "--size", metavar="WxH")]
Fps = Annotated[float | None, option("publish.fps", "--fps")]
Codec = Annotated[str | None, option("publish.codec", "--codec", metavar="h264|vp8|vp9|av1|jpeg")]
Bitrate = Annotated[str | None, option("publish.bitrate", "--bitrate")]
Mtu = Annotated[int, typer.Option("--mtu", help="UDP payload size in bytes; 0 probes it.")]

LEAST_RATE = 0.1


def _bytes_range(text: str | Range) -> Range:
    if isinstance(text, Range):
        return text
    return parse_range(text, lambda one: float(parse_bytes(one)), whole=True)


def _rate_range(text: str | Range) -> Range:
    return text if isinstance(text, Range) else parse_range(text, _rate)


def _rate(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a number of objects a second.") from None
    if not LEAST_RATE <= value < float("inf"):
        raise typer.BadParameter(f"{text} is not at least {LEAST_RATE} objects a second.")
    return value


SizeRange = Annotated[
    Range,
    typer.Option(
        "--size",
        help="Payload of an object, or a range of them: 2KB:60KB, 2KB:60KB:6 (points).",
        metavar="SIZE[:SIZE]",
        parser=_bytes_range,
    ),
]
RateRange = Annotated[
    Range,
    typer.Option(
        "--rate",
        help="Objects a second, or a range of rates, one after the other: 10:100.",
        metavar="N[:N]",
        parser=_rate_range,
    ),
]


def typed(ctx: typer.Context, *names: str) -> bool:
    """Whether one of these parameters stands on the command line, and not in the environment."""
    sources = (ctx.get_parameter_source(name) for name in names)
    return any(source is not None and source.name == "COMMANDLINE" for source in sources)


def say(text: str) -> None:
    """Say what is going on."""
    sys.stderr.write(f"{text} ...\n")


class Format(StrEnum):
    """Forms of a benchmark's result."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"
    HDR = "hdr"


@dataclass(frozen=True)
class Bench:
    """One measurement, ready to be run as often as wanted.

    Attributes:
        name: Its name, for tables and files.
        configuration: What it is made of; printed first.
        run: Measures once; keys of the figures as in `wtp.bench.result`.
        histogram: Whether its figures hold a latency as histogram, for -o hdr.
        title: What is measured, in words, for the report; default: the command's help.
    """

    name: str
    configuration: dict[str, Any]
    run: Callable[[], dict[str, Any]]
    histogram: bool = True
    title: str = ""


def ranged(
    name: str,
    config: Mapping[str, Any],
    ranges: Mapping[str, Range],
    measure: Callable[[dict[str, Any]], dict[str, Any]],
    *,
    histogram: bool = True,
) -> Bench:
    """A measurement of one point or of every point of some ranges.

    Args:
        name: Its name.
        config: What it is made of beside the ranges.
        ranges: Key of the configuration to its range.
        measure: Measures one configuration.
        histogram: As in `Bench`.

    Raises:
        UsageError: The ranges have too many points.
    """
    several = points(ranges) > 1
    whole = {key: one.text if several else plain(one.points[0]) for key, one in ranges.items()}
    shown = {**whole, **config}
    return Bench(name, shown, lambda: over(config, ranges, measure, say), histogram)


@dataclass(frozen=True)
class Wanted:
    """What to do with the figures: the options that all benchmarks share.

    Attributes:
        output: Format of the result.
        save: File it goes to as well.
        repeat: Runs.
        baseline: File of an earlier result.
        noise: Noise band in percent; None: from the spread of runs.
        objective: Objectives as written.
        junit: File for JUnit XML.
        report: File for the page.
    """

    output: Format = Format.TABLE
    save: Path | None = None
    repeat: int = 1
    baseline: Path | None = None
    noise: float | None = None
    objective: tuple[str, ...] = ()
    junit: Path | None = None
    report: Path | None = None


_PANEL = "Result"


def _percent(text: str | float) -> float:
    try:
        value = float(str(text).strip().removesuffix("%"))
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise typer.BadParameter(f"{text!r} is not a share; write 10%.")
    return value


def _file(name: str, help_text: str) -> Any:
    return typer.Option(name, help=help_text, metavar="FILE", rich_help_panel=_PANEL)


_OPTIONS: dict[str, tuple[Any, Any]] = {
    "output": (
        Annotated[Format, typer.Option("--output", "-o", help="Format.", rich_help_panel=_PANEL)],
        Format.TABLE,
    ),
    "save": (
        Annotated[
            Path | None,
            _file("--save", "Write the result there in the format of -o (table: json)."),
        ],
        None,
    ),
    "repeat": (
        Annotated[
            int,
            typer.Option(
                "--repeat",
                help="Runs; shown are median, least and largest.",
                min=1,
                max=100,
                rich_help_panel=_PANEL,
            ),
        ],
        1,
    ),
    "baseline": (
        Annotated[Path | None, _file("--baseline", "Earlier result (-o json) to compare with.")],
        None,
    ),
    "noise": (
        Annotated[
            float | None,
            typer.Option(
                "--noise",
                help="Changes within it are noise; default: from the spread of runs, or 10%.",
                metavar="PERCENT",
                parser=_percent,
                rich_help_panel=_PANEL,
            ),
        ],
        None,
    ),
    "objective": (
        Annotated[
            list[str] | None,
            typer.Option(
                "--objective",
                help="What a figure has to be: p99=10ms, dropped=0; repeatable; exit 5 if missed.",
                metavar="FIGURE=VALUE",
                rich_help_panel=_PANEL,
            ),
        ],
        None,
    ),
    "junit": (
        Annotated[Path | None, _file("--junit", "Write run and objectives as JUnit XML.")],
        None,
    ),
    "report": (
        Annotated[Path | None, _file("--report", "Write one page with plots (HTML).")],
        None,
    ),
}
"""Name of a shared option to its annotation and its default."""


def measured(app: typer.Typer) -> Callable[[Callable[..., Bench]], Callable[..., None]]:
    """Make a command of a function that returns a `Bench`; adds the options all of them have."""

    def declare(function: Callable[..., Bench]) -> Callable[..., None]:
        @wraps(function)
        def command(*args: Any, **given: Any) -> None:
            from wtp.cli.bench_result import carry_out

            shared = {name: given.pop(name) for name in _OPTIONS}
            shared["objective"] = tuple(shared["objective"] or ())
            bench = function(*args, **given)
            carry_out(bench, Wanted(**shared), (function.__doc__ or "").strip())

        own = inspect.signature(function, eval_str=True)
        shared = [
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
            )
            for name, (annotation, default) in _OPTIONS.items()
        ]
        parameters = [*own.parameters.values(), *shared]
        command.__signature__ = own.replace(parameters=parameters, return_annotation=None)  # type: ignore[attr-defined]
        return app.command()(command)

    return declare
