"""`wtp replay [KIND...]`: play the past of a room, all tracks in step."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wtp.cli.complete import rooms, topics
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
)
from wtp.errors import UsageError
from wtp.model import Kind

if TYPE_CHECKING:
    from wtp.config.schema import Settings
    from wtp.consumer.output import Output
    from wtp.replayer.request import Request
    from wtp.replayer.run import Replayer
    from wtp.replayer.sink import Sink

app = typer.Typer()

MAX_SPEED = 1000.0
"""Above, nobody waits: write max."""


class Format(StrEnum):
    """How results are printed."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"


WHAT, WHERE = "What to play", "Where it goes"


@app.command()
def replay(
    ctx: typer.Context,
    kinds: Annotated[
        list[Kind] | None,
        typer.Argument(metavar="[KIND]...", help="What to play; default: every kind of the room."),
    ] = None,
    room: Room = None,
    start: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="MOMENT",
            help="-5m, -1h30m, 2026-11-21T14:30:00Z, LEDGER:ENTRY of one topic, or earliest.",
            rich_help_panel=WHAT,
        ),
    ] = "earliest",
    end: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="MOMENT",
            help="Likewise; default: the end of what is there.",
            rich_help_panel=WHAT,
        ),
    ] = "",
    speed: Annotated[
        str,
        typer.Option(
            metavar="N|max",
            help="Times real time. Default: 1; max into files, as lines and with --follow.",
            rich_help_panel=WHAT,
        ),
    ] = "",
    follow: Annotated[
        bool,
        typer.Option(
            "--follow",
            "-f",
            help="Catch up and go over to live, without gap or repeat.",
            rich_help_panel=WHAT,
        ),
    ] = False,
    topic: Annotated[
        str,
        typer.Option(
            help="One topic of any origin instead: of the room, or a full name.",
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
    output: Annotated[
        Format,
        typer.Option(
            "--output",
            "-o",
            rich_help_panel=WHERE,
            help="table: progress (chat: lines); jsonl, csv: a line per object; json: the summary.",
        ),
    ] = Format.TABLE,
    into: Annotated[
        str,
        typer.Option(
            metavar="ROOM",
            help="Publish into another room, marked as replayed.",
            rich_help_panel=WHERE,
            autocompletion=rooms,
        ),
    ] = "",
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
    broker: Broker = None,
    admin: Admin = None,
    profile: Profile = "local",
    log_level: LogLevel = None,
    quiet: Quiet = False,
    child: ChildFlag = False,
) -> None:
    """Play the past of a room: all its tracks in step, by the time they were captured.

    In a terminal: space pauses, the arrows go 10 s back and forth, + and - change the speed,
    q quits.
    """
    settings = load_settings(ctx)
    where = Where(tuple(kinds or ()), topic, output, into, raw, save, window, preview, force)
    where.check()
    from wtp.clock import wall_us
    from wtp.replayer.request import Request
    from wtp.replayer.run import Replayer
    from wtp.replayer.when import EARLIEST, read_moment

    now_us = wall_us()
    moments = [read_moment(text, now_us) if text else EARLIEST for text in (start, end)]
    request = Request(
        kinds=where.kinds,
        topic=_full_name(topic, settings),
        publisher=publisher,
        track=track,
        start=moments[0],
        end=moments[1] if end else None,
        speed=_speed(speed, where.fast or follow),
        follow=follow,
        into=into,
        count=count,
        duration_s=duration or 0.0,
    )
    for moment in moments:
        if moment.note and not quiet:
            sys.stderr.write(f"note: {moment.note}\n")
    replayer = Replayer(settings, request, where.sink(settings, request, lambda: brief(), child))
    brief = partial(_brief, replayer)
    _run(replayer, where, child=child, quiet=quiet, settings=settings)


def _run(replayer: Replayer, where: Where, *, child: bool, quiet: bool, settings: Settings) -> None:
    from wtp.cli.run import run_role
    from wtp.replayer.interactive import Interactive
    from wtp.ui import replay as ui

    talks = where.talks and sys.stdout.isatty()
    role = Interactive(replayer, keys=not child and where.raw != "-", jumps=where.shows)
    run_role(
        role,
        child=child,
        quiet=quiet,
        log_level=settings.logging.level,
        output=where.format.value,
        announce=ui.announce,
        line=None if talks else ui.line,
        screen=None if talks else lambda snapshot: ui.screen(snapshot, keys=role.keyed),
        summary=ui.summary,
    )


def _brief(replayer: Replayer) -> str:
    from wtp.ui.replay import line

    return line(replayer.snapshot())


def _speed(text: str, fast: bool) -> float:
    """Times real time; 0 for as fast as it goes."""
    if not text:
        return 0.0 if fast else 1.0
    if text == "max":
        return 0.0
    try:
        value = float(text.removesuffix("x"))
    except ValueError:
        value = -1.0
    if not 0 < value <= MAX_SPEED:
        raise UsageError(
            f"{text!r} is no speed.",
            hint=f"Write a number above 0 and up to {MAX_SPEED:g} such as 0.5 or 2, or max.",
        )
    return value


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
    """What is played and where it goes, out of the options."""

    kinds: tuple[Kind, ...]
    topic: str
    format: Format
    into: str
    raw: str
    save: Path | None
    window: bool
    preview: bool
    force: bool

    @property
    def _chat(self) -> bool:
        return self.kinds == (Kind.CHAT,) and self.format is Format.TABLE and not self._elsewhere

    @property
    def _elsewhere(self) -> bool:
        return bool(self.into or self.raw or self.save or self.window or self.preview)

    @property
    def lines(self) -> bool:
        """Whether each object is a line on standard output."""
        return self.format in (Format.JSONL, Format.CSV) or self._chat

    @property
    def talks(self) -> bool:
        """Whether standard output is written to while playing."""
        return self.lines or self.preview or self.raw == "-"

    @property
    def shows(self) -> bool:
        """Whether what is played is only shown: then one can go back and forth."""
        kept = self.into or self.raw or self.save
        return not kept and self.format not in (Format.JSONL, Format.CSV)

    @property
    def fast(self) -> bool:
        """Whether nobody watches: then there is no reason to wait."""
        lines = self.format in (Format.JSONL, Format.CSV)
        return lines or self.save is not None or self.raw not in ("", "-")

    def check(self) -> None:
        """Refuse what cannot go together.

        Raises:
            UsageError: Two places, bytes of several kinds, or pictures where there are none.
        """
        names = {
            f"-o {self.format.value}": self.format in (Format.JSONL, Format.CSV),
            "--into": bool(self.into),
            "--raw": bool(self.raw),
            "--save": self.save is not None,
            "--window": self.window,
            "--preview": self.preview,
        }
        chosen = [name for name, given in names.items() if given]
        if len(chosen) > 1:
            raise UsageError(
                f"{' and '.join(chosen)} do not go together.",
                hint="Choose one; the same past can be replayed again.",
            )
        if self.format is Format.JSON and self.talks:
            raise UsageError(
                "The summary of -o json and the objects cannot both go to standard output.",
                hint="Leave out -o json, or give a file: --raw PATH.",
            )
        if self.raw and not self.topic and len(self.kinds) != 1:
            raise UsageError("--raw takes bytes of one kind.", hint="Name it: wtp replay video.")
        if self.window or self.preview:
            self._check_pictures()
        if self.into:
            from wtp.model import check_name

            check_name("room", self.into)

    def _check_pictures(self) -> None:
        if not self.topic and len(self.kinds) != 1:
            raise UsageError("A window shows one kind.", hint="Name it: wtp replay video.")
        wrong = set(self.kinds) - {Kind.VIDEO, Kind.SCREEN}
        if wrong:
            raise UsageError(f"{wrong.pop()} has no pictures.", hint="Use video or screen.")

    def sink(
        self, settings: Settings, request: Request, status: Callable[[], str], child: bool
    ) -> Sink:
        """Where objects go.

        Args:
            settings: For a room.
            request: Likewise.
            status: Makes the line under a preview.
            child: Whether standard output belongs to events: then nothing is written to it.
        """
        from wtp.replayer.sink import OutputSink

        if self.into:
            from wtp.broker.connect import administer, connect
            from wtp.replayer.into import IntoRoom

            broker = settings.broker
            return IntoRoom(settings, request, lambda: connect(broker), lambda: administer(broker))
        return OutputSink(self._output(status, child))

    def _output(self, status: Callable[[], str], child: bool) -> Output:
        from wtp.consumer import output as outputs
        from wtp.replayer.placed import REPLAY_COLUMNS, csv_line, json_line

        if self.raw:
            binary = self.kinds != (Kind.CHAT,)
            return outputs.Raw(
                outputs.Sink(self.raw, force=self.force, binary=binary), lossless=True
            )
        if self.save is not None:
            from wtp.consumer.save import Save

            return Save(self.save, force=self.force)
        if self.window or self.preview:
            from wtp.consumer.pictures import Decoded, Preview, Window

            name = f"wtp replay {' '.join(self.kinds)}"
            return Decoded(Window(name) if self.window else Preview(status))
        if child or not self.lines:
            return outputs.Nowhere()
        if self.format is Format.CSV:
            return outputs.Lines(csv_line, outputs.Sink("-"), ",".join(REPLAY_COLUMNS))
        return outputs.Lines(outputs.chat_line if self._chat else json_line, outputs.Sink("-"))
