"""`wtp bench`: measure the path, or a part of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from wtp.bench.ranges import Range
from wtp.cli import bench_compare, bench_glass, bench_load, bench_media
from wtp.cli.bench_common import (
    Bench,
    Bitrate,
    Codec,
    Fps,
    Fsync,
    Mtu,
    PictureSize,
    RateRange,
    Seconds,
    Size,
    SizeRange,
    Warmup,
    measured,
    ranged,
    say,
    typed,
)
from wtp.cli.options import (
    Admin,
    Broker,
    Profile,
    Room,
    load_settings,
    option,
    parse_seconds,
)
from wtp.cli.publish_options import Authority, CertHash, Insecure
from wtp.errors import UsageError

if TYPE_CHECKING:
    from wtp.bench.path import GivenPath
    from wtp.transport.trust import Trust

RATE_30, RATE_500 = Range("30", (30.0,)), Range("500", (500.0,))
SIZE_1_KB, SIZE_20_KB = Range("1KB", (1000.0,)), Range("20KB", (20_000.0,))

app = typer.Typer(no_args_is_help=True, help="Measure latency and throughput.")


@measured(app)
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
    profile: Profile = "local",
) -> Bench:
    """The whole path from capture to receipt, beside pulsar-client alone."""
    from wtp.bench import latency as bench

    settings = load_settings(ctx)
    config = bench.configuration(settings.publish, duration, warmup, fsync)
    beside = settings.broker if typed(ctx, "broker") else None
    return Bench("latency", config, lambda: asyncio.run(bench.run(config, say, beside)))


@measured(app)
def router(
    ctx: typer.Context,
    rate: RateRange = RATE_30,
    size: SizeRange = SIZE_20_KB,
    duration: Seconds = 20.0,
    warmup: Warmup = 3.0,
    mtu: Mtu = 0,
    fsync: Fsync = "interval",
    url: Annotated[
        str | None,
        typer.Option(
            "--router",
            metavar="URL",
            help="A router that runs already, with its --broker; default: both are started.",
        ),
    ] = None,
    broker: Broker = None,
    room: Room = None,
    cert_hash: CertHash = "",
    ca: Authority = None,
    insecure: Insecure = False,
    profile: Profile = "local",
) -> Bench:
    """Objects of one size at one rate through router and broker: latency, CPU, drops."""
    from wtp.bench import router as bench
    from wtp.transport.trust import Trust

    config: dict[str, Any] = {"duration_s": duration, "warmup_s": warmup, "mtu": mtu}
    given = None
    if url:
        given = _given(ctx, url, Trust(cert_hash=cert_hash, ca=ca, insecure=insecure))
        config |= {"router": url.partition("?")[0], "broker": given.broker.url, "room": given.room}
    elif typed(ctx, "broker", "room", "cert_hash", "ca", "insecure"):
        raise UsageError(
            "--broker, --room and the certificate are about a router that runs already.",
            hint="Name it: --router https://HOST:4433/wt",
        )
    config["fsync"] = fsync
    ranges = {"size_bytes": size, "rate": rate}
    return ranged("router", config, ranges, lambda one: asyncio.run(bench.run(one, say, given)))


def _given(ctx: typer.Context, url: str, trust: Trust) -> GivenPath:
    from wtp.bench.path import GivenPath
    from wtp.config.load import certs_folder
    from wtp.publisher.trust import room_url, trust_for

    settings = load_settings(ctx)
    whole, _ = room_url(url, settings.rooms.room)
    known = trust_for(whole, trust, certs_folder(settings))()
    return GivenPath(whole, known, settings.broker, settings.rooms.room)


@measured(app)
def receipts(
    size: SizeRange = SIZE_1_KB,
    rate: RateRange = RATE_500,
    duration: Seconds = 5.0,
    warmup: Warmup = 1.0,
    fsync: Fsync = "interval",
) -> Bench:
    """Reliable objects with receipts, beside pulsar-client alone: rate and latency."""
    from wtp.bench import receipts as bench

    config = {"duration_s": duration, "warmup_s": warmup, "fsync": fsync}
    ranges = {"size_bytes": size, "rate": rate}
    return ranged("receipts", config, ranges, lambda one: asyncio.run(bench.run(one, say)))


@measured(app)
def processor(
    rate: RateRange = RATE_30,
    size: SizeRange = SIZE_20_KB,
    duration: Seconds = 15.0,
    warmup: Warmup = 3.0,
    objects: Annotated[
        int, typer.Option("--objects", help="Objects for the topic worker.", min=100)
    ] = 10_000,
    data_format: Annotated[
        Literal["binary", "json"], typer.Option("--data-format", help="Form over HTTP.")
    ] = "binary",
    fsync: Fsync = "interval",
) -> Bench:
    """What an HTTP processor adds to the path, and the speed of a topic worker."""
    from wtp.bench import processor as bench

    config = {
        "duration_s": duration,
        "warmup_s": warmup,
        "objects": objects,
        "data_format": data_format,
        "fsync": fsync,
    }
    ranges = {"size_bytes": size, "rate": rate}
    return ranged("processor", config, ranges, lambda one: asyncio.run(bench.run(one, say)))


@measured(app)
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
) -> Bench:
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
    return Bench("replay", config, lambda: bench.run(config, say, beside), histogram=False)


@measured(app)
def broker(
    duration: Seconds = 15.0,
    small: Annotated[
        int, typer.Option("--small", help="Messages of 500 bytes, flat out.", min=100)
    ] = 150_000,
    large: Annotated[
        int, typer.Option("--large", help="Messages of 20 KB, flat out.", min=100)
    ] = 30_000,
    fsync: Fsync = "interval",
) -> Bench:
    """The embedded broker alone, produced to and consumed from by pulsar-client."""
    from wtp.bench.broker import run

    config = {"duration_s": duration, "small": small, "large": large, "fsync": fsync}
    return Bench(
        "broker", config, lambda: run(paced_s=duration, small=small, large=large, fsync=fsync)
    )


@measured(app)
def transport(
    mtu: Mtu = 1452,
    duration: Seconds = 4.0,
    size: SizeRange = SIZE_20_KB,
    sessions: Annotated[
        int, typer.Option("--sessions", help="Idle sessions, for their memory.", min=0)
    ] = 200,
) -> Bench:
    """WebTransport alone: one stream per object from one process to another."""
    from wtp.bench.transport import run

    config = {"mtu": mtu, "duration_s": duration, "idle_sessions": sessions}
    return ranged(
        "transport",
        config,
        {"size_bytes": size},
        lambda one: run(
            mtu=mtu,
            object_bytes=one["size_bytes"],
            flat_out_s=duration,
            paced_s=duration,
            idle_sessions=sessions,
        ),
    )


app.add_typer(bench_media.app)
app.add_typer(bench_glass.app)
app.add_typer(bench_load.app)
app.add_typer(bench_compare.app)
