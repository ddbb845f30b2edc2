"""`wtp consume KIND`: read a room's objects from the broker."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wtp.cli.complete import topics
from wtp.cli.options import (
    Admin,
    Broker,
    ChildFlag,
    Duration,
    LogLevel,
    Profile,
    Quiet,
    Room,
    load_settings,
    option,
    parse_seconds,
)
from wtp.errors import UsageError
from wtp.model import Kind

if TYPE_CHECKING:
    from wtp.config.schema import Settings
    from wtp.consumer.output import Output

app = typer.Typer()


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


class Format(StrEnum):
    """How results are printed."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"


class Via(StrEnum):
    """How the broker is reached."""

    PULSAR = "pulsar"
    PULSAR_WS = "pulsar-ws"


WHAT, WHERE, CLOCK = "What to read", "Where it goes", "Clock"


@app.command()
def consume(
    ctx: typer.Context,
    kind: Annotated[
        Kind | None, typer.Argument(help="What to read; optional with --topic.", show_default=False)
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
    publisher: Annotated[
        str, typer.Option(help="Only objects of this publisher.", rich_help_panel=WHAT)
    ] = "",
    track: Annotated[
        str, typer.Option(help="Only tracks of this name.", rich_help_panel=WHAT)
    ] = "",
    start: Annotated[
        Start,
        typer.Option(
            "--from",
            help="latest: live, pictures from the last key frame on; earliest: all.",
            rich_help_panel=WHAT,
        ),
    ] = Start.LATEST,
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
    count: Annotated[
        int,
        typer.Option(
            "--count",
            "-n",
            min=0,
            help="End after this many objects; 0: never.",
            rich_help_panel=WHAT,
            show_default=False,
        ),
    ] = 0,
    duration: Duration = None,
    wait: Annotated[
        bool,
        typer.Option(
            "--wait",
            help="Wait for a broker, room or topic that is not there.",
            rich_help_panel=WHAT,
        ),
    ] = False,
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
    raw: Annotated[
        str,
        typer.Option(
            metavar="-|PATH",
            rich_help_panel=WHERE,
            help="Bare payloads of one track to a pipe or file.",
        ),
    ] = "",
    save: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", rich_help_panel=WHERE, help="Save objects as files, with an index."
        ),
    ] = None,
    window: Annotated[
        bool, typer.Option("--window", help="Show pictures in a window.", rich_help_panel=WHERE)
    ] = False,
    preview: Annotated[
        bool,
        typer.Option("--preview", help="Show pictures in the terminal.", rich_help_panel=WHERE),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace files that exist.", rich_help_panel=WHERE)
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
    router: Annotated[
        str | None,
        option(
            "router.url",
            "--router",
            metavar="URL",
            panel=CLOCK,
            help_text="Router whose clock is measured, when it runs on another machine.",
        ),
    ] = None,
    cert_hash: Annotated[
        str,
        typer.Option(
            metavar="HEX", help="SHA-256 of the router's certificate.", rich_help_panel=CLOCK
        ),
    ] = "",
    ca: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Certificates that sign the router's.", rich_help_panel=CLOCK
        ),
    ] = None,
    insecure: Annotated[
        bool,
        typer.Option(
            "--insecure", help="Do not check the router's certificate.", rich_help_panel=CLOCK
        ),
    ] = False,
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
    quiet: Quiet = False,
    child: ChildFlag = False,
) -> None:
    """Read a room's video, audio, chat or data from the broker.

    Without an option that says where objects go it shows live statistics, latency by hop included;
    chat is printed line by line.
    """
    settings = load_settings(ctx)
    where = Where(kind, output, raw, save, window, preview, force)
    where.check()
    if kind is None and not topic:
        raise UsageError("What is to be read?", hint=f"Name a kind: {', '.join(Kind)}; or --topic.")
    if type_ and not subscription:
        raise UsageError("--type is about a subscription.", hint="Name one: --subscription NAME.")
    from wtp.cli.run import run_role
    from wtp.config.load import certs_folder
    from wtp.consumer.feed import Reading
    from wtp.consumer.request import Request
    from wtp.consumer.run import Consumer
    from wtp.consumer.trust import clock_trust
    from wtp.ui import consume as ui

    request = Request(
        topic=_full_name(topic, settings),
        kind=kind,
        reading=Reading(
            start=start.value,
            subscription=subscription,
            subscription_kind=(type_ or Type.EXCLUSIVE).value,
        ),
        publisher=publisher,
        track=track,
        count=count,
        duration_s=duration or 0.0,
        wait=wait,
        warmup_s=warmup or 0.0,
        router=router or "",
        trust=clock_trust(router or "", cert_hash, ca, insecure, certs_folder(settings)),
    )
    output_ = where.output(lambda: consumer.brief(), child)
    consumer = Consumer(settings, request, output_, via=via.value)
    talks = where.talks and sys.stdout.isatty()
    run_role(
        consumer,
        child=child,
        quiet=quiet,
        log_level=settings.logging.level,
        output=output.value,
        announce=ui.announce,
        line=None if talks else ui.line,
        screen=None if talks else ui.screen,
        summary=ui.summary,
    )


def _full_name(topic: str, settings: Settings) -> str:
    """A topic's full name; one without a slash is a topic of the room."""
    from wtp.broker.naming import parse_topic, room_namespace
    from wtp.model import check_name

    if topic and "/" not in topic:
        space = room_namespace(settings.topics.template, settings.rooms.room)
        topic = f"persistent://{space}/{topic}"
    if topic:
        return str(parse_topic(topic))
    check_name("room", settings.rooms.room)
    return ""


@dataclass(frozen=True, slots=True)
class Where:
    """Where objects go, out of the options."""

    kind: Kind | None
    format: Format
    raw: str
    save: Path | None
    window: bool
    preview: bool
    force: bool

    @property
    def lines(self) -> bool:
        """Whether each object is a line on standard output."""
        return self.format in (Format.JSONL, Format.CSV) or self._chat

    @property
    def _chat(self) -> bool:
        elsewhere = self.raw or self.save or self.window or self.preview
        return self.kind is Kind.CHAT and self.format is Format.TABLE and not elsewhere

    @property
    def talks(self) -> bool:
        """Whether standard output is written to while reading."""
        return self.lines or self.preview or self.raw == "-"

    def check(self) -> None:
        """Refuse what cannot go together.

        Raises:
            UsageError: Two places, or pictures where there are none.
        """
        names = {
            f"-o {self.format.value}": self.format in (Format.JSONL, Format.CSV),
            "--raw": bool(self.raw),
            "--save": self.save is not None,
            "--window": self.window,
            "--preview": self.preview,
        }
        chosen = [name for name, given in names.items() if given]
        if len(chosen) > 1:
            raise UsageError(
                f"{' and '.join(chosen)} do not go together.",
                hint="Choose one; several consumers can read the same topic.",
            )
        if self.format is Format.JSON and self.talks:
            raise UsageError(
                "The summary of -o json and the objects cannot both go to standard output.",
                hint="Leave out -o json, or give a file: --raw PATH.",
            )
        pictures = (None, Kind.VIDEO, Kind.SCREEN)
        if (self.window or self.preview) and self.kind not in pictures:
            raise UsageError(f"{self.kind} has no pictures.", hint="Use video or screen.")

    def output(self, status: Callable[[], str], child: bool) -> Output:
        """The output itself.

        Args:
            status: Makes the line under a preview.
            child: Whether standard output belongs to events: then nothing is written to it.
        """
        from wtp.consumer import output as outputs

        if self.raw:
            sink = outputs.Sink(self.raw, force=self.force, binary=self.kind is not Kind.CHAT)
            return outputs.Raw(sink, lossless=self.raw != "-")
        if self.save is not None:
            from wtp.consumer.save import Save

            return Save(self.save, force=self.force)
        if self.window or self.preview:
            from wtp.consumer.pictures import Decoded, Preview, Window

            return Decoded(Window(f"wtp {self.kind or ''}") if self.window else Preview(status))
        if child or not self.lines:
            return outputs.Nowhere()
        if self.format is Format.CSV:
            head = ",".join(outputs.CSV_COLUMNS)
            return outputs.Lines(outputs.csv_line, outputs.Sink("-"), head)
        form = outputs.chat_line if self._chat else outputs.json_line
        return outputs.Lines(form, outputs.Sink("-"))
