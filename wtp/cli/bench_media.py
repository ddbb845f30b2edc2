"""`wtp bench` of media: codecs, files, recording, a narrow line, long runs."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import Annotated

import typer

from wtp.cli.bench_common import (
    Bench,
    Codec,
    Fsync,
    PictureSize,
    Seconds,
    Warmup,
    measured,
    say,
)
from wtp.cli.options import Profile, load_settings, parse_bytes, parse_seconds

app = typer.Typer()


class Container(StrEnum):
    """What is recorded to."""

    MP4 = "mp4"
    MKV = "mkv"


@measured(app)
def media(
    ctx: typer.Context,
    duration: Seconds = 20.0,
    warmup: Warmup = 5.0,
    size: PictureSize = None,
    pictures: Annotated[
        int, typer.Option("--pictures", help="Pictures for each codec.", min=10)
    ] = 120,
    fsync: Fsync = "interval",
    profile: Profile = "local",
) -> Bench:
    """Every codec alone; then CPU, delay and lip sync of publish and watch."""
    from wtp.bench import media as bench

    config = {
        "duration_s": duration,
        "warmup_s": warmup,
        "size": load_settings(ctx).publish.size,
        "pictures": pictures,
        "fsync": fsync,
    }
    return Bench("media", config, lambda: asyncio.run(bench.run(config, say)), histogram=False)


@measured(app)
def soak(
    duration: Seconds = 3600.0,
    warmup: Warmup = 30.0,
    fsync: Fsync = "interval",
) -> Bench:
    """Publish and watch for long: CPU, growth of memory, drift of the delay."""
    from wtp.bench import soak as bench

    config = {"duration_s": duration, "warmup_s": warmup, "fsync": fsync}
    return Bench("soak", config, lambda: asyncio.run(bench.run(config, say)))


@measured(app)
def files(
    size: Annotated[
        int, typer.Option("--size", help="Size of the file.", metavar="SIZE", parser=parse_bytes)
    ] = 500_000_000,
    fsync: Fsync = "interval",
) -> Bench:
    """One file from publish to its folder, beside pulsar-client alone and a copy on disk."""
    from wtp.bench import files as bench

    config = {"size_bytes": size, "fsync": fsync}
    return Bench("files", config, lambda: asyncio.run(bench.run(config, say)), histogram=False)


@measured(app)
def record(
    length: Annotated[
        float,
        typer.Option(
            "--length",
            help="Length of the past.",
            metavar="TIME",
            parser=parse_seconds,
            show_default="10m",
        ),
    ] = 600.0,
    container: Annotated[Container, typer.Option("--to", help="Container.")] = Container.MP4,
) -> Bench:
    """How fast a room's past is recorded, beside pulsar-client's reading alone."""
    from wtp.bench import record as bench

    config = {"minutes": length / 60, "ending": f".{container.value}"}
    return Bench("record", config, lambda: bench.run(config, say), histogram=False)


@measured(app)
def squeeze(
    rate: Annotated[
        int,
        typer.Option(
            "--rate", help="Of the narrow line, bit/s.", metavar="BITS", parser=parse_bytes
        ),
    ] = 1_000_000,
    narrow: Annotated[
        float,
        typer.Option("--narrow", help="How long it is so.", metavar="TIME", parser=parse_seconds),
    ] = 10.0,
    codec: Codec = None,
) -> Bench:
    """The line drops to 1 Mbit/s and is wide again: how the delay follows (Linux, root)."""
    from wtp.bench import squeeze as bench

    config = bench.configuration(rate, narrow_s=narrow, codec=codec or "h264")
    return Bench("squeeze", config, lambda: asyncio.run(bench.run(config, say)), histogram=False)
