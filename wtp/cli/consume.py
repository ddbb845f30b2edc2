"""`wtp consume KIND`: read a room's objects from the broker."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from wtp.cli import reading
from wtp.cli.complete import topics
from wtp.cli.options import (
    Admin,
    Broker,
    ChildFlag,
    Duration,
    LogFormat,
    LogLevel,
    Metrics,
    Profile,
    Quiet,
    Room,
    load_settings,
    option,
    parse_seconds,
)
from wtp.cli.reading import WHAT, WHERE, Format, LineForms, full_name
from wtp.errors import UsageError
from wtp.model import Kind

if TYPE_CHECKING:
    from wtp.cli.exposure import Latencies
    from wtp.config.schema import Settings
    from wtp.consumer.mux import MuxConsumer
    from wtp.consumer.output import Output
    from wtp.consumer.run import Consumer

app = typer.Typer()

MAX_HISTORY = 10_000
"""More of a room's past is a matter of `wtp replay`."""


class Start(StrEnum):
    """Where reading begins."""

    LATEST = "latest"
    EARLIEST = "earliest"


class Type(StrEnum):
    """How the consumers of a subscription share it."""

    EXCLUSIVE = "exclusive"
    SHARED = "shared"
    FAILOVER = "failover"
    KEY_SHARED = "key_shared"


class Mux(StrEnum):
    """Containers for pictures and sound together."""

    MPEGTS = "mpegts"
    MATROSKA = "matroska"


class Via(StrEnum):
    """How the broker is reached."""

    PULSAR = "pulsar"
    PULSAR_WS = "pulsar-ws"


@app.command()
def consume(
    ctx: typer.Context,
    kind: Annotated[
        Kind | None,
        typer.Argument(
            metavar="KIND",
            help="What to read; left out with --topic and --mux.",
            show_default=False,
        ),
    ] = None,
    room: Room = None,
    topic: Annotated[
        str,
        typer.Option(
            help="Topic to read instead of the kind's: of the room, or a full name.",
            rich_help_panel=WHAT,
            autocompletion=topics,
        ),
    ] = "",
    publisher: reading.Publisher = "",
    track: reading.TrackName = "",
    start: Annotated[
        Start | None,
        typer.Option(
            "--from",
            help="latest: live, pictures from the last key frame on; earliest: all. Default: "
            "latest, for files that are saved earliest.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    history: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            max=MAX_HISTORY,
            help="Begin with the last N objects, then go on live.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    subscription: Annotated[
        str,
        typer.Option(
            help="Durable subscription: goes on where it was, acknowledges what was taken.",
            rich_help_panel=WHAT,
        ),
    ] = "",
    type_: Annotated[
        Type | None,
        typer.Option(
            "--type",
            help="Type of the subscription.",
            rich_help_panel=WHAT,
            show_default="exclusive",
        ),
    ] = None,
    count: reading.Count = 0,
    duration: Duration = None,
    wait: reading.Wait = False,
    output: Annotated[
        Format,
        typer.Option(
            "--output",
            "-o",
            rich_help_panel=WHERE,
            help="table: statistics (chat: lines); jsonl, csv: a line per object; "
            "json: the summary.",
        ),
    ] = Format.TABLE,
    raw: reading.RawTo = "",
    mux: Annotated[
        Mux | None,
        typer.Option(
            "--mux",
            rich_help_panel=WHERE,
            help="Pictures and sound of one publisher together on standard output: wtp consume "
            "--mux mpegts | ffplay -",
        ),
    ] = None,
    save: reading.SaveTo = None,
    window: reading.Window = False,
    preview: reading.Preview = False,
    play: Annotated[
        bool, typer.Option("--play", help="Play sound.", rich_help_panel=WHERE)
    ] = False,
    force: reading.Force = False,
    waterfall: Annotated[
        bool,
        typer.Option(
            "--waterfall",
            rich_help_panel=WHERE,
            help="Show for each track where the time goes, hop by hop, from capture to receipt "
            "(to show, with a window): live on a terminal, and at the end.",
        ),
    ] = False,
    via: Annotated[
        Via,
        typer.Option(
            "--via",
            help="pulsar: its own protocol; pulsar-ws: its WebSocket API, where only HTTP gets "
            "through.",
        ),
    ] = Via.PULSAR,
    broker: Broker = None,
    admin: Admin = None,
    router: reading.ClockRouter = None,
    cert_hash: reading.ClockHash = "",
    ca: reading.ClockAuthority = None,
    insecure: reading.ClockInsecure = False,
    warmup: Annotated[
        float | None,
        typer.Option(
            parser=parse_seconds,
            metavar="TIME",
            hidden=True,
            help="Time after the first object whose latencies do not count.",
        ),
    ] = None,
    profile: Profile = "local",
    log_level: LogLevel = None,
    log_format: LogFormat = None,
    metrics: Metrics = None,
    otlp: Annotated[
        str | None, option("tracing.endpoint", "--otlp", panel="Common", metavar="URL")
    ] = None,
    quiet: Quiet = False,
    child: ChildFlag = False,
) -> None:
    """Read a room's video, sound, chat, files or data from the broker.

    Without an option that says where objects go it shows live statistics with
    the latency of each hop; chat is printed line by line.

    wtp consume video --window
    wtp consume video --waterfall
    wtp consume audio --play
    wtp consume chat --history 20
    wtp consume file --save DIR
    wtp consume --mux mpegts --room R | ffplay -
    """
    settings = load_settings(ctx)
    kinds = (kind,) if kind else ()
    where = Where(kinds, output, raw, save, window, preview, force, play=play, mux=mux)
    where.check()
    if kind is None and not topic and not mux:
        raise UsageError("What is to be read?", hint=f"Name a kind: {', '.join(Kind)}; or --topic.")
    if type_ and not subscription:
        raise UsageError("--type is about a subscription.", hint="Name one: --subscription NAME.")
    if history and (subscription or start is Start.EARLIEST):
        other = "--subscription" if subscription else "--from earliest"
        raise UsageError(
            f"--history and {other} do not go together.", hint="Both say where to begin: choose."
        )
    from wtp.cli.run import run_role
    from wtp.config.load import certs_folder
    from wtp.consumer.feed import Reading
    from wtp.consumer.request import Request
    from wtp.consumer.run import Consumer
    from wtp.consumer.trust import clock_trust
    from wtp.ui import consume as ui

    request = Request(
        topic=full_name(topic, settings),
        kind=kind,
        reading=Reading(
            start=(start or where.start).value,
            subscription=subscription,
            subscription_kind=(type_ or Type.EXCLUSIVE).value,
        ),
        publisher=publisher,
        track=track,
        history=history or 0,
        count=0 if where.receives else count,
        duration_s=duration or 0.0,
        wait=wait,
        warmup_s=warmup or 0.0,
        router=router or "",
        trust=clock_trust(router or "", cert_hash, ca, insecure, certs_folder(settings)),
    )
    role: Consumer | MuxConsumer
    latencies: Latencies | None = None
    if mux:
        from wtp.consumer.mux import MuxConsumer

        role = MuxConsumer(settings, request, mux.value, force=force, via=via.value)
    else:
        output_ = where.output(settings, lambda: consumer.brief(), child, files=count)
        if settings.tracing.endpoint:
            from wtp.consumer.traces import traced

            output_ = traced(output_, settings.tracing)
        role = consumer = Consumer(settings, request, output_, via=via.value)
        latencies = consumer_latencies(consumer)
    talks = where.talks and sys.stdout.isatty()
    run_role(
        role,
        name="consume",
        settings=settings,
        child=child,
        quiet=quiet,
        output=output.value,
        announce=ui.announce,
        line=None if talks else ui.line,
        screen=None if talks else partial(ui.screen, waterfall=waterfall),
        summary=partial(ui.summary, waterfall=waterfall),
        latencies=latencies,
    )


def consumer_latencies(consumer: Consumer) -> Latencies:
    """The consumer's histograms as they are at the time of asking."""
    return lambda: {"total": consumer.stats.total, **consumer.stats.hops}


@dataclass(frozen=True)
class Where(reading.Where):
    """Where objects go, out of the options.

    Attributes:
        play: Whether sound is played.
        mux: Container for pictures and sound together.
    """

    play: bool = False
    mux: Mux | None = None

    name: ClassVar[str] = "wtp"
    instead: ClassVar[str] = "Choose one; several consumers can read the same topic."

    @property
    def places(self) -> dict[str, bool]:
        """Each option that names a place, and whether it was given."""
        return {**super().places, "--play": self.play, "--mux": self.mux is not None}

    @property
    def talks(self) -> bool:
        """Whether standard output is written to while reading."""
        return super().talks or self.mux is not None

    def check(self) -> None:
        """Refuse what cannot go together.

        Raises:
            UsageError: Two places, or pictures or sound where there are none.
        """
        super().check()
        if self.play and self.kinds not in ((), (Kind.AUDIO,)):
            raise UsageError(
                f"{self.kinds[0]} has no sound.", hint="Use wtp consume audio --play, or wtp watch."
            )
        if self.mux and self.kinds:
            raise UsageError(
                "--mux reads pictures and sound together.",
                hint=f"Leave out {self.kinds[0]}: wtp consume --mux {self.mux.value} --room R.",
            )

    @property
    def start(self) -> Start:
        """Where reading begins by default; files are taken up from their first part."""
        return Start.EARLIEST if self.receives else Start.LATEST

    def output(
        self, settings: Settings, status: Callable[[], str], child: bool, *, files: int
    ) -> Output:
        """The output itself.

        Args:
            settings: How sound is played.
            status: Makes the line under a preview.
            child: Whether standard output belongs to events: then nothing is written to it.
            files: Files to receive; 0 for no end.
        """
        from wtp.consumer.output import CSV_COLUMNS, csv_line, json_line

        if self.play:
            from wtp.consumer.sound import Play

            return Play(settings.watch)
        forms = LineForms(json_line, csv_line, CSV_COLUMNS)
        return self.to_output(forms, status, child=child, lossless=self.raw != "-", files=files)
