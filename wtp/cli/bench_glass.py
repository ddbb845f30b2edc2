"""`wtp bench glass`: glass to glass, as the picture itself tells."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from wtp.cli.bench_common import (
    Bench,
    Bitrate,
    Codec,
    Fps,
    Fsync,
    PictureSize,
    Seconds,
    Warmup,
    measured,
    say,
)
from wtp.cli.options import Profile, load_settings

app = typer.Typer()


@measured(app)
def glass(
    ctx: typer.Context,
    duration: Seconds = 20.0,
    warmup: Warmup = 3.0,
    size: PictureSize = None,
    fps: Fps = None,
    codec: Codec = None,
    bitrate: Bitrate = None,
    display: Annotated[
        bool,
        typer.Option(
            "--display",
            help="Up to the picture in a window, grabbed from the screen; without DISPLAY on a "
            "virtual one (Xvfb).",
        ),
    ] = False,
    camera: Annotated[
        str,
        typer.Option(
            "--camera",
            metavar="ID",
            help="As --display, seen by a camera that is pointed at the screen.",
        ),
    ] = "",
    fsync: Fsync = "interval",
    profile: Profile = "local",
) -> Bench:
    """From drawn into a picture to decoded, or shown; beside pulsar-client alone."""
    from wtp.bench import glass as bench
    from wtp.bench.latency import configuration

    config = configuration(load_settings(ctx).publish, duration, warmup, fsync)
    if display or camera:
        config["display"] = True
    if camera:
        config["camera"] = camera
    return Bench("glass", config, lambda: asyncio.run(bench.run(config, say)))
