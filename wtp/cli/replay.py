"""`wtp replay [KIND...]`: play the past of a room, all tracks in step."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from wtp.cli import reading
from wtp.cli.complete import rooms, topics
from wtp.cli.group import remark
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
)
from wtp.cli.reading import PER_OBJECT, WHAT, WHERE, Format, LineForms, full_name
from wtp.errors import UsageError
from wtp.model import Kind

if TYPE_CHECKING:
    from wtp.config.schema import Settings
    from wtp.replayer.request import Request
    from wtp.replayer.run import Replayer
    from wtp.replayer.sink import Sink

app = typer.Typer()

MAX_SPEED = 1000.0
"""Above, nobody waits: write max."""


@app.command()
def replay(
    ctx: typer.Context,
    kinds: Annotated[
        list[Kind] | None,
        typer.Argument(metavar="KIND", help="What to play; default: every kind of the room."),
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
    publisher: reading.Publisher = "",
    track: reading.TrackName = "",
    count: reading.Count = 0,
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
    raw: reading.RawTo = "",
    save: reading.SaveTo = None,
    window: reading.Window = False,
    preview: reading.Preview = False,
    force: reading.Force = False,
    broker: Broker = None,
    admin: Admin = None,
    profile: Profile = "local",
    log_level: LogLevel = None,
    log_format: LogFormat = None,
    metrics: Metrics = None,
    quiet: Quiet = False,
    child: ChildFlag = False,
) -> None:
    """Play the past of a room: all its tracks in step, by their capture times.

    In a terminal: space pauses, the arrows go 10 s back and forth, + and -
    change the speed, q quits.
    """
    settings = load_settings(ctx)
    where = Where(
        tuple(kinds or ()), output, raw, save, window, preview, force, topic=topic, into=into
    )
    where.check()
    from wtp.clock import wall_us
    from wtp.replayer.request import Request
    from wtp.replayer.run import Replayer
    from wtp.replayer.when import EARLIEST, read_moment

    now_us = wall_us()
    moments = [read_moment(text, now_us) if text else EARLIEST for text in (start, end)]
    request = Request(
        kinds=where.kinds,
        topic=full_name(topic, settings),
        publisher=publisher,
        track=track,
        start=moments[0],
        end=moments[1] if end else None,
        speed=_speed(speed, where.fast or follow),
        follow=follow,
        into=into,
        count=0 if where.receives else count,
        duration_s=duration or 0.0,
    )
    for moment in moments:
        if moment.note and not quiet:
            remark(moment.note)
    replayer = Replayer(
        settings, request, where.sink(settings, request, lambda: brief(), child=child, files=count)
    )
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
        name="replay",
        settings=settings,
        child=child,
        quiet=quiet,
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


@dataclass(frozen=True)
class Where(reading.Where):
    """What is played and where it goes, out of the options.

    Attributes:
        topic: The one topic that is read; empty for those of the room.
        into: Room to play into; empty for none.
    """

    topic: str = ""
    into: str = ""

    name: ClassVar[str] = "wtp replay"
    instead: ClassVar[str] = "Choose one; the same past can be replayed again."

    @property
    def places(self) -> dict[str, bool]:
        """Each option that names a place, and whether it was given."""
        line, *others = super().places.items()
        return dict([line, ("--into", bool(self.into)), *others])

    @property
    def shows(self) -> bool:
        """Whether what is played is only shown: then one can go back and forth."""
        kept = self.into or self.raw or self.save
        return not kept and self.format not in PER_OBJECT

    @property
    def fast(self) -> bool:
        """Whether nobody watches: then there is no reason to wait."""
        return self.format in PER_OBJECT or self.save is not None or self.raw not in ("", "-")

    def check(self) -> None:
        """Refuse what cannot go together.

        Raises:
            UsageError: Two places, bytes of several kinds, or pictures where there are none.
        """
        one = bool(self.topic) or len(self.kinds) == 1
        if self.raw and not one:
            raise UsageError("--raw takes bytes of one kind.", hint="Name it: wtp replay video.")
        if (self.window or self.preview) and not one:
            raise UsageError("A window shows one kind.", hint="Name it: wtp replay video.")
        super().check()
        if self.into:
            from wtp.model import check_name

            check_name("room", self.into)

    def sink(
        self,
        settings: Settings,
        request: Request,
        status: Callable[[], str],
        *,
        child: bool,
        files: int,
    ) -> Sink:
        """Where objects go.

        Args:
            settings: For a room.
            request: Likewise.
            status: Makes the line under a preview.
            child: Whether standard output belongs to events: then nothing is written to it.
            files: Files to receive; 0 for no end.
        """
        from wtp.replayer.placed import REPLAY_COLUMNS, csv_line, json_line
        from wtp.replayer.sink import OutputSink

        if self.into:
            from wtp.broker.connect import administer, connect
            from wtp.replayer.into import IntoRoom

            broker = settings.broker
            return IntoRoom(settings, request, lambda: connect(broker), lambda: administer(broker))
        forms = LineForms(json_line, csv_line, REPLAY_COLUMNS)
        output = self.to_output(forms, status, child=child, lossless=True, files=files)
        return OutputSink(output)
