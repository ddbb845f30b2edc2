"""`wtp record OUTPUT [KIND...]`: a room into files that any player opens."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wtp.cli import reading
from wtp.cli.group import remark
from wtp.cli.options import (
    Admin,
    Broker,
    ChildFlag,
    Duration,
    LogFormat,
    LogLevel,
    Metrics,
    Output,
    OutputFormat,
    Profile,
    Quiet,
    Room,
    load_settings,
    parse_seconds,
)
from wtp.cli.reading import WHAT, WHERE
from wtp.errors import UsageError
from wtp.model import Kind, check_name

app = typer.Typer()


@app.command()
def record(
    ctx: typer.Context,
    output: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="room.mp4, room.mkv (holds every codec) or room.webm.",
            show_default=False,
        ),
    ],
    kinds: Annotated[
        list[Kind] | None,
        typer.Argument(metavar="KIND", help="video, screen, audio, chat; default: all of them."),
    ] = None,
    room: Room = None,
    start: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="MOMENT",
            help="-5m, -1h30m, 2026-11-21T14:30:00Z or earliest. Default: now, live; "
            "with --to alone: earliest.",
            rich_help_panel=WHAT,
        ),
    ] = "",
    end: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="MOMENT",
            help="Likewise; default with --from: the end of what is there.",
            rich_help_panel=WHAT,
        ),
    ] = "",
    follow: Annotated[
        bool,
        typer.Option(
            "--follow",
            "-f",
            help="With --from: go on live after what is there, without gap or repeat.",
            rich_help_panel=WHAT,
        ),
    ] = False,
    publisher: reading.Publisher = "",
    track: reading.TrackName = "",
    chat: Annotated[
        bool,
        typer.Option("--chat/--no-chat", help="Chat as a subtitle track.", rich_help_panel=WHAT),
    ] = True,
    duration: Duration = None,
    wait: reading.Wait = False,
    segment: Annotated[
        float | None,
        typer.Option(
            metavar="TIME",
            parser=parse_seconds,
            help="A new file (room-002.mp4, ...) after so long, at a key picture, e.g. 10m.",
            rich_help_panel=WHERE,
        ),
    ] = None,
    force: reading.Force = False,
    format_: OutputFormat = Output.TABLE,
    broker: Broker = None,
    admin: Admin = None,
    profile: Profile = "local",
    log_level: LogLevel = None,
    log_format: LogFormat = None,
    metrics: Metrics = None,
    quiet: Quiet = False,
    child: ChildFlag = False,
) -> None:
    """Record a room's pictures, sound and chat to a file, without encoding anything anew.

    Live until Ctrl-C, or with --from and --to what is kept of the past. Every
    track is a stream of the file, in step by its capture times. Where tracks,
    codecs or sizes change a new file begins: room-002.mp4 and so on. What is
    written can be played at any time, also after a crash; a long recording is
    best cut with --segment.

    wtp record room.mp4
    wtp record ops.mkv --room ops --segment 10m
    wtp record past.webm video audio --from -1h --to -30m
    """
    if segment is not None and segment <= 0:
        raise UsageError("--segment needs a length.", hint="Write 10m, or leave it out.")
    settings = load_settings(ctx)
    check_name("room", settings.rooms.room)
    from wtp.cli.run import run_role
    from wtp.clock import wall_us
    from wtp.recorder.request import KINDS, RecordRequest
    from wtp.recorder.run import Recorder
    from wtp.replayer.when import read_moment
    from wtp.ui import record as ui

    now_us = wall_us()
    moments = [read_moment(text, now_us) if text else None for text in (start, end)]
    for moment in moments:
        if moment is not None and moment.note and not quiet:
            remark(moment.note)
    wanted = tuple(kinds or (KINDS if not chat else ()))
    request = RecordRequest(
        path=output,
        kinds=wanted if chat else tuple(kind for kind in wanted if kind is not Kind.CHAT),
        publisher=publisher,
        track=track,
        start=moments[0],
        end=moments[1],
        follow=follow,
        segment_s=segment or 0.0,
        force=force,
        wait=wait,
        duration_s=duration or 0.0,
    )
    run_role(
        Recorder(settings, request),
        name="record",
        settings=settings,
        child=child,
        quiet=quiet,
        output=format_.value,
        announce=ui.announce,
        line=ui.line,
        screen=ui.screen,
        summary=ui.summary,
    )
