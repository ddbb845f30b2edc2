"""`wtp bench glass`: glass to glass, as the picture itself tells."""

from __future__ import annotations

import asyncio

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
    fsync: Fsync = "interval",
    profile: Profile = "local",
) -> Bench:
    """From the time drawn into a picture to the decoded picture, beside pulsar-client alone."""
    from wtp.bench import glass as bench
    from wtp.bench.latency import configuration

    config = configuration(load_settings(ctx).publish, duration, warmup, fsync)
    return Bench("glass", config, lambda: asyncio.run(bench.run(config, say)))
