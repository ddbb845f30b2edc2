"""`wtp demo`: everything on this machine, as separate processes, with a live dashboard."""

from __future__ import annotations

import sys
from typing import Annotated, ClassVar

import typer

from wtp.cli.optional import OptionalValues
from wtp.cli.options import (
    ChildFlag,
    Duration,
    LogFormat,
    LogLevel,
    Metrics,
    Output,
    OutputFormat,
    Profile,
    Quiet,
    Room,
    load_settings,
    option,
)
from wtp.cli.run import run_role
from wtp.errors import UsageError

app = typer.Typer()


class DemoCommand(OptionalValues):
    """`--camera` may stand alone: the first camera."""

    optional: ClassVar = {"--camera": "0"}


@app.command(cls=DemoCommand)
def demo(
    ctx: typer.Context,
    source: Annotated[
        str | None,
        typer.Option("--source", metavar="testsrc|PATH|URL", help="What to publish."),
    ] = None,
    camera: Annotated[
        str | None,
        typer.Option("--camera", metavar="[ID]", help="Publish a camera instead."),
    ] = None,
    room: Room = None,
    fps: Annotated[float | None, option("publish.fps", "--fps")] = None,
    size: Annotated[str | None, option("publish.size", "--size", metavar="WxH")] = None,
    codec: Annotated[str | None, option("publish.codec", "--codec", metavar="h264|jpeg")] = None,
    duration: Duration = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the folder with the messages behind.")
    ] = False,
    processor: Annotated[
        bool,
        typer.Option("--processor/--no-processor", help="Watch the pictures for movements, too."),
    ] = True,
    output: OutputFormat = Output.TABLE,
    quiet: Quiet = False,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
    metrics: Metrics = None,
    profile: Profile = "local",
    child: ChildFlag = False,
) -> None:
    """See everything run on this machine, with live latency.

    Broker, router, publisher, consumer and a processor (which tells of movements in the room's
    data topic) run as separate processes on their own temporary folder. Free ports are used where
    4433, 6650 or 8080 are taken.
    """
    if source is not None and camera is not None:
        raise UsageError("--source and --camera exclude each other.", hint="Give one of them.")
    settings = load_settings(ctx)
    from wtp.demo import Demo, DemoOptions
    from wtp.ui.demo import announce, line, screen, summary

    options = DemoOptions(
        source=source or "testsrc",
        camera=camera,
        duration_s=duration,
        keep=keep,
        processor=processor,
    )
    run_role(
        Demo(settings, options),
        name="demo",
        settings=settings,
        child=child,
        quiet=quiet,
        log_level="error" if sys.stderr.isatty() else settings.logging.level,  # see its events
        output=output.value,
        announce=announce,
        line=line,
        screen=screen,
        summary=summary,
    )
