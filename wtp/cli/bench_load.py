"""`wtp bench throughput`, `sessions`, `loss` and `stamps`: generated load on the path."""

from __future__ import annotations

import asyncio
import re
from typing import Annotated, Literal

import typer

from wtp.cli.bench_common import Bench, Fsync, Mtu, Size, Warmup, measured, say
from wtp.cli.options import parse_seconds

app = typer.Typer()

Duration = Annotated[
    float,
    typer.Option(
        "--duration", help="How long each step is measured.", metavar="TIME", parser=parse_seconds
    ),
]
Generators = Annotated[
    int, typer.Option("--generators", help="Processes that share the sessions.", min=1, max=16)
]
RateEach = Annotated[float, typer.Option("--rate", help="Objects a second.", min=0.1)]


MOST_PER_S = 1e6
"""Rates from here on are a slip of the pen."""


def parse_share(text: str | float) -> float:
    """Read a share: `1%`, `0.5%` or `0`; 0 to 1 is returned.

    Raises:
        BadParameter: It is none.
    """
    if not isinstance(text, str):
        return text
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(%?)", text.strip())
    if not match or float(match[1]) > 100 or (not match[2] and float(match[1])):
        raise typer.BadParameter(f"{text!r} is no share from 0% to 100%; write 1%.")
    return float(match[1]) / 100


def parse_shares(text: str | list[float]) -> list[float]:
    """Read shares with commas between: `0%,1%,5%`.

    Raises:
        BadParameter: One of them is none.
    """
    if not isinstance(text, str):
        return text
    return [parse_share(part) for part in text.split(",")]


def parse_rates(text: str) -> list[float]:
    """Read `flat-out`, a rate, a ramp `FROM:TO` or `FROM:TO:STEPS`, or several with commas.

    Returns:
        Objects a second; 0 is flat out.

    Raises:
        BadParameter: It is none of these.
    """
    from wtp.bench.ranges import parse
    from wtp.errors import UsageError

    found: list[float] = []
    for part in text.split(","):
        word = part.strip()
        if word == "flat-out":
            found.append(0.0)
            continue
        try:
            points = parse(word, float).points
        except (ValueError, UsageError):
            points = ()
        if not points or not all(0 < point < MOST_PER_S for point in points):
            raise typer.BadParameter(
                f"{word!r} is no rate; write flat-out, 500, or 500:4000:4 for a ramp."
            )
        found += points
    return found


@measured(app)
def throughput(
    rate: Annotated[
        str,
        typer.Option(
            "--rate",
            metavar="RATES",
            help="Objects a second: flat-out, 500, a ramp 500:4000, or several with commas.",
        ),
    ] = "flat-out",
    size: Size = 2000,
    kind: Annotated[
        Literal["data", "video"],
        typer.Option("--kind", help="Reliable on one stream, or live with a stream each."),
    ] = "data",
    sessions: Annotated[
        int, typer.Option("--sessions", help="Sessions that share the rate.", min=1, max=1000)
    ] = 4,
    generators: Generators = 1,
    duration: Duration = 5.0,
    warmup: Warmup = 1.0,
    mtu: Mtu = 0,
    fsync: Fsync = "interval",
) -> Bench:
    """Objects through router and embedded broker: rate, and what they cost in CPU time."""
    from wtp.bench import throughput as bench

    config = bench.configuration(
        size_bytes=size,
        rates=parse_rates(rate),
        kind=kind,
        sessions=sessions,
        generators=generators,
        duration_s=duration,
        warmup_s=warmup,
        mtu=mtu,
        fsync=fsync,
    )
    return Bench("throughput", config, lambda: asyncio.run(bench.run(config, say)))


@measured(app)
def sessions(
    p99: Annotated[
        float,
        typer.Option(
            "--p99", help="What p99 has to stay below.", metavar="TIME", parser=parse_seconds
        ),
    ] = 0.010,
    rate: RateEach = 30.0,
    size: Size = 2000,
    first: Annotated[int, typer.Option("--first", help="Sessions to begin with.", min=1)] = 10,
    most: Annotated[
        int, typer.Option("--most", help="Sessions to end with.", min=1, max=1000)
    ] = 640,
    generators: Generators = 2,
    duration: Duration = 5.0,
    warmup: Warmup = 1.0,
    mtu: Mtu = 0,
    fsync: Fsync = "interval",
) -> Bench:
    """The number of sessions at which p99 leaves its objective, with the router on one core."""
    from wtp.bench import sessions as bench

    config = bench.configuration(
        rate=rate,
        size_bytes=size,
        p99_ms=p99 * 1000,
        first=first,
        most=most,
        generators=generators,
        duration_s=duration,
        warmup_s=warmup,
        mtu=mtu,
        fsync=fsync,
    )
    return Bench("sessions", config, lambda: asyncio.run(bench.run(config, say)))


@measured(app)
def loss(
    losses: Annotated[
        str,
        typer.Option("--loss", help="Datagrams lost each way, one step each.", metavar="SHARES"),
    ] = "0%,1%,5%",
    delay: Annotated[
        float,
        typer.Option("--delay", help="One way.", metavar="TIME", parser=parse_seconds),
    ] = 0.0,
    jitter: Annotated[
        float,
        typer.Option("--jitter", help="Up to so much more.", metavar="TIME", parser=parse_seconds),
    ] = 0.0,
    reorder: Annotated[
        str,
        typer.Option("--reorder", help="Datagrams that others overtake.", metavar="SHARE"),
    ] = "0%",
    seed: Annotated[
        int, typer.Option("--seed", help="The same seed loses the same datagrams.")
    ] = 1,
    rate: RateEach = 30.0,
    size: Size = 20_000,
    duration: Duration = 10.0,
    warmup: Warmup = 1.0,
    mtu: Mtu = 1452,
    fsync: Fsync = "interval",
) -> Bench:
    """Latency and drops on a network that loses, delays and reorders, by a seeded UDP proxy."""
    from wtp.bench import loss as bench

    config = bench.configuration(
        losses=parse_shares(losses),
        delay_ms=delay * 1000,
        jitter_ms=jitter * 1000,
        reorder=parse_share(reorder),
        seed=seed,
        size_bytes=size,
        rate=rate,
        duration_s=duration,
        warmup_s=warmup,
        mtu=mtu,
        fsync=fsync,
    )
    return Bench("loss", config, lambda: asyncio.run(bench.run(config, say)))


@measured(app)
def stamps(
    rounds: Annotated[
        int, typer.Option("--rounds", help="Runs of each side, in turns.", min=3, max=200)
    ] = 9,
    rate: Annotated[
        float, typer.Option("--rate", help="Objects a second; 0 sends flat out.", min=0.0)
    ] = 800.0,
    size: Size = 2000,
    kind: Annotated[
        Literal["data", "video"],
        typer.Option("--kind", help="Reliable on one stream, or live with a stream each."),
    ] = "video",
    sessions: Annotated[
        int, typer.Option("--sessions", help="Sessions that share the rate.", min=1, max=1000)
    ] = 4,
    duration: Duration = 2.0,
    fsync: Fsync = "interval",
) -> Bench:
    """What all stamps and statistics cost the router, beside a router without them."""
    from wtp.bench import stamps as bench

    config = bench.configuration(
        rounds=rounds,
        rate=rate,
        size_bytes=size,
        kind=kind,
        sessions=sessions,
        duration_s=duration,
        fsync=fsync,
    )
    return Bench("stamps", config, lambda: asyncio.run(bench.run(config, say)))
