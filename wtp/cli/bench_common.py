"""What the commands of `wtp bench` share: options, and how figures are printed."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Annotated, Any, Literal

import typer

from wtp.cli.options import Output, OutputFormat, option, parse_bytes, parse_seconds
from wtp.cli.out import put

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


def say(text: str) -> None:
    """Say what is going on."""
    sys.stderr.write(f"{text} ...\n")


@dataclass(frozen=True)
class Bench:
    """One measurement, ready to be run as often as wanted.

    Attributes:
        name: Its name, for tables and files.
        configuration: What it is made of; printed first.
        run: Measures once; keys of the figures as in `wtp.bench.result`.
    """

    name: str
    configuration: dict[str, Any]
    run: Callable[[], dict[str, Any]]


def measured(app: typer.Typer) -> Callable[[Callable[..., Bench]], Callable[..., None]]:
    """Make a command of a function that returns a `Bench`; adds the options all of them have."""

    def declare(function: Callable[..., Bench]) -> Callable[..., None]:
        @wraps(function)
        def command(*args: Any, output: Output, **given: Any) -> None:
            bench = function(*args, **given)
            finish(bench.name, bench.run(), output)

        own = inspect.signature(function, eval_str=True)
        shared = inspect.Parameter(
            "output",
            inspect.Parameter.KEYWORD_ONLY,
            default=Output.TABLE,
            annotation=OutputFormat,
        )
        parameters = [*own.parameters.values(), shared]
        command.__signature__ = own.replace(parameters=parameters, return_annotation=None)  # type: ignore[attr-defined]
        return app.command()(command)

    return declare


def finish(name: str, figures: dict[str, Any], output: Output) -> None:
    """Print figures as a table or as JSON."""
    from wtp.ui.bench import table

    rounded = _rounded(figures)
    put(rounded, table(name, rounded), output)


def _rounded(value: Any) -> Any:
    """Floats to a thousandth: more digits would claim what no run repeats."""
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_rounded(inner) for inner in value]
    return round(value, 3) if isinstance(value, float) else value
