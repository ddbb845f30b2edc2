"""`wtp bench`: measure the path, or a part of it."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

import typer

from wtp.cli import bench_glass, bench_media
from wtp.cli.bench_common import (
    Bitrate,
    Codec,
    Fps,
    Fsync,
    Mtu,
    PictureSize,
    Rate,
    Seconds,
    Size,
    Warmup,
    finish,
    say,
)
from wtp.cli.options import (
    Admin,
    Output,
    OutputFormat,
    Profile,
    load_settings,
    option,
    parse_seconds,
)

app = typer.Typer(no_args_is_help=True, help="Measure latency and throughput.")


@app.command()
def latency(
    ctx: typer.Context,
    duration: Seconds = 20.0,
    warmup: Warmup = 3.0,
    size: PictureSize = None,
    fps: Fps = None,
    codec: Codec = None,
    bitrate: Bitrate = None,
    fsync: Fsync = "interval",
    broker: Annotated[
        str | None,
        option(
            "broker.url",
            "--broker",
            metavar="URL",
            help_text="A broker to measure in the same run, after the embedded one.",
        ),
    ] = None,
    admin: Admin = None,
    output: OutputFormat = Output.TABLE,
    profile: Profile = "local",
) -> None:
    """The whole path from capture to receipt, beside pulsar-client alone."""
    from wtp.bench import latency as bench

    settings = load_settings(ctx)
    config = bench.configuration(settings.publish, duration, warmup, fsync)
    say(config["machine"])
    finish(
        "latency", asyncio.run(bench.run(config, say, settings.broker if broker else None)), output
    )


@app.command()
def router(
    rate: Rate = 30.0,
    size: Size = 20_000,
    duration: Seconds = 20.0,
    warmup: Warmup = 3.0,
    mtu: Mtu = 0,
    fsync: Fsync = "interval",
    output: OutputFormat = Output.TABLE,
) -> None:
    """Objects of one size at one rate through router and broker: latency, CPU, drops."""
    from wtp.bench import router as bench

    config = {
        "size_bytes": size,
        "rate": rate,
        "duration_s": duration,
        "warmup_s": warmup,
        "mtu": mtu,
        "fsync": fsync,
    }
    finish("router", asyncio.run(bench.run(config, say)), output)


@app.command()
def receipts(
    size: Size = 1000,
    rate: Annotated[
        float, typer.Option("--rate", help="Objects a second of the paced part.", min=1.0)
    ] = 500.0,
    duration: Seconds = 5.0,
    warmup: Warmup = 1.0,
    fsync: Fsync = "interval",
    output: OutputFormat = Output.TABLE,
) -> None:
    """Reliable objects with receipts, beside pulsar-client alone: rate and latency."""
    from wtp.bench import receipts as bench

    config = {
        "size_bytes": size,
        "rate": rate,
        "duration_s": duration,
        "warmup_s": warmup,
        "fsync": fsync,
    }
    finish("receipts", asyncio.run(bench.run(config, say)), output)


@app.command()
def processor(
    rate: Rate = 30.0,
    size: Size = 20_000,
    duration: Seconds = 15.0,
    warmup: Warmup = 3.0,
    objects: Annotated[
        int, typer.Option("--objects", help="Objects for the topic worker.", min=100)
    ] = 10_000,
    data_format: Annotated[
        Literal["binary", "json"], typer.Option("--data-format", help="Form over HTTP.")
    ] = "binary",
    fsync: Fsync = "interval",
    output: OutputFormat = Output.TABLE,
) -> None:
    """What an HTTP processor adds to the path, and the speed of a topic worker."""
    from wtp.bench import processor as bench

    config = {
        "size_bytes": size,
        "rate": rate,
        "duration_s": duration,
        "warmup_s": warmup,
        "objects": objects,
        "data_format": data_format,
        "fsync": fsync,
    }
    finish("processor", asyncio.run(bench.run(config, say)), output)


@app.command()
def replay(
    tracks: Annotated[int, typer.Option("--tracks", help="Tracks of the room.", min=1)] = 10,
    fps: Annotated[
        float, typer.Option("--fps", help="Objects a second of each track.", min=0.1)
    ] = 30.0,
    size: Size = 20_000,
    length: Annotated[
        float,
        typer.Option("--length", help="Length of the past.", metavar="TIME", parser=parse_seconds),
    ] = 40.0,
    rounds: Annotated[int, typer.Option("--rounds", help="Rounds in turns.", min=1)] = 3,
    beside: Annotated[
        str, typer.Option("--beside", help="Broker measured as well.", metavar="URL")
    ] = "",
    fsync: Fsync = "interval",
    output: OutputFormat = Output.TABLE,
) -> None:
    """The past of a room at full speed, beside pulsar-client alone."""
    from wtp.bench import replay as bench

    config = {
        "tracks": tracks,
        "fps": fps,
        "size_bytes": size,
        "seconds": length,
        "rounds": rounds,
        "fsync": fsync,
    }
    finish("replay", bench.run(config, say, beside), output)


@app.command()
def broker(output: OutputFormat = Output.TABLE) -> None:
    """The embedded broker alone, produced to and consumed from by pulsar-client."""
    from wtp.bench.broker import run

    say("about half a minute")
    finish("broker", run(), output)


@app.command()
def transport(mtu: Mtu = 1452, output: OutputFormat = Output.TABLE) -> None:
    """WebTransport alone: one stream per object from one process to another."""
    from wtp.bench.transport import run

    say("about twenty seconds")
    finish("transport", run(mtu=mtu), output)


app.add_typer(bench_media.app)
app.add_typer(bench_glass.app)
