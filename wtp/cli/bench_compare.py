"""`wtp bench compare`: the same objects by WebTransport and its rivals."""

from __future__ import annotations

from typing import Annotated

import typer

from wtp.cli.bench_common import Bench, measured, say
from wtp.cli.bench_load import parse_shares
from wtp.cli.options import (
    Admin,
    Profile,
    load_settings,
    option,
    parse_bytes,
    parse_seconds,
)
from wtp.errors import UsageError

app = typer.Typer()

Protocols = Annotated[
    list[str] | None,
    typer.Option(
        "--protocol",
        help="Only this one; repeatable: rest1, rest2, websocket, rtc-reliable, rtc-lossy, "
        "wt-streams, wt-datagrams, pulsar-ws.",
        metavar="NAME",
    ),
]
Uses = Annotated[
    list[str] | None,
    typer.Option(
        "--use", help="Only this use; repeatable: video, audio, file, one-off.", metavar="NAME"
    ),
]
VideoSize = Annotated[
    int,
    typer.Option("--size", help="Bytes of a video object.", metavar="SIZE", parser=parse_bytes),
]
VideoRate = Annotated[
    float | None,
    typer.Option("--rate", help="Video objects a second; default: 30, or the recording's.", min=1),
]
From = Annotated[
    str | None,
    typer.Option(
        "--from", help="Video sizes of a file, or of a topic of the broker.", metavar="FILE|TOPIC"
    ),
]
Loss = Annotated[
    str,
    typer.Option(
        "--loss",
        help="IP packets that are lost, each way; several with commas. 0: no link.",
        metavar="PERCENT",
    ),
]
Delay = Annotated[
    float,
    typer.Option(
        "--delay", help="Of links with loss, each way.", metavar="TIME", parser=parse_seconds
    ),
]
Part = Annotated[
    float,
    typer.Option(
        "--duration",
        help="Of the video part; sound half, file a quarter.",
        metavar="TIME",
        parser=parse_seconds,
    ),
]
Warm = Annotated[
    float,
    typer.Option("--warmup", help="Left out of each part.", metavar="TIME", parser=parse_seconds),
]
BrokerUrl = Annotated[
    str | None,
    option("broker.url", "--broker", metavar="URL", help_text="Where the topic of --from is."),
]
Tcp = Annotated[
    str,
    typer.Option("--tcp", help="TCP's congestion control, as reno; default: this machine's."),
]


@measured(app)
def compare(
    ctx: typer.Context,
    protocol: Protocols = None,
    use: Uses = None,
    size: VideoSize = 20_000,
    rate: VideoRate = None,
    source: From = None,
    loss: Loss = "0,1%",
    delay: Delay = 0.01,
    seed: Annotated[int, typer.Option("--seed", help="Which packets are lost.")] = 1,
    duration: Part = 4.0,
    warmup: Warm = 0.5,
    rounds: Annotated[int, typer.Option("--rounds", help="Rounds in turns.", min=1)] = 3,
    tcp: Tcp = "",
    plain: Annotated[
        bool, typer.Option("--plain", help="No TLS where it can be left out.")
    ] = False,
    broker: BrokerUrl = None,
    admin: Admin = None,
    profile: Profile = "local",
) -> Bench:
    """REST, WebSocket, WebRTC, WebTransport and Pulsar's WebSocket API, side by side."""
    from wtp.bench.compare import Plan, run
    from wtp.bench.compare_ends import HEAD
    from wtp.bench.compare_rivals import USES, choose
    from wtp.bench.compare_source import recorded
    from wtp.bench.lossylink import Weather, check_tcp

    unknown = [name for name in use or [] if name not in USES]
    if unknown:
        raise UsageError(
            f"There is no use {unknown[0]!r} to compare.", hint=f"Known: {', '.join(USES)}."
        )
    if size < HEAD.size:
        raise UsageError(f"--size {size} is too small.", hint=f"At least {HEAD.size} bytes.")
    check_tcp(tcp)
    sizes: tuple[int, ...] = (size,)
    name = "objects of one size"
    if source:
        found = recorded(source, load_settings(ctx).broker)
        sizes, name, rate = found.sizes, found.name, rate or found.rate
    links = [
        Weather(share, delay * 1000 if share else 0.0, seed, tcp) for share in parse_shares(loss)
    ]
    plan = Plan(
        rivals=choose(protocol or ()),
        weathers=tuple(dict.fromkeys(links)),
        uses=tuple(title for key, title in USES.items() if not use or key in use),
        sizes=sizes,
        rate=rate or 30.0,
        duration_s=duration,
        warmup_s=warmup,
        rounds=rounds,
        plain=plain,
        source=name,
    )
    say(f"{len(plan.rivals)} protocols, about {plan.about_s / 60:.0f} minutes")
    return Bench("compare", plan.configuration(), lambda: run(plan, say))
