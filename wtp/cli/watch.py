"""`wtp watch [ROOM]`: picture and sound of a whole room in step, in a window."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from wtp.cli import reading
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
    option,
)
from wtp.errors import UsageError
from wtp.model import check_name

app = typer.Typer()

HOW = "How"


def parse_delay(text: str | int) -> str | int:
    """Read `auto` or milliseconds, with or without the unit.

    Raises:
        BadParameter: It is neither.
    """
    if isinstance(text, int) or text == "auto":
        return text
    digits = text.strip().lower().removesuffix("ms").strip()
    if not digits.isdecimal() or not digits.isascii() or int(digits) > 60_000:
        raise typer.BadParameter(f"{text!r} is not a delay; write auto, or 0 to 60000 ms.")
    return int(digits)


@app.command()
def watch(
    ctx: typer.Context,
    room_name: reading.RoomName = "",
    room: Room = None,
    publisher: reading.Publisher = "",
    wait: reading.Wait = False,
    window: Annotated[
        bool,
        typer.Option(
            "--window/--no-window", help="Show pictures; without, only sound.", rich_help_panel=HOW
        ),
    ] = True,
    sound: Annotated[
        bool, typer.Option("--sound/--no-sound", help="Play sound.", rich_help_panel=HOW)
    ] = True,
    names: Annotated[
        bool,
        typer.Option("--names", help="Draw names and delays (key i).", rich_help_panel=HOW),
    ] = False,
    mute: Annotated[
        bool, typer.Option("--mute", help="Begin silent (key m).", rich_help_panel=HOW)
    ] = False,
    speaker: Annotated[
        str,
        typer.Option(metavar="ID", help="Speaker, as wtp devices lists it.", rich_help_panel=HOW),
    ] = "",
    delay: Annotated[
        Any,
        option("watch.delay", "--delay", panel=HOW, metavar="auto|MS", parser=parse_delay),
    ] = None,
    max_delay: Annotated[
        int | None, option("watch.max_delay_ms", "--max-delay", panel=HOW, metavar="MS")
    ] = None,
    duration: Duration = None,
    output: OutputFormat = Output.TABLE,
    broker: Broker = None,
    admin: Admin = None,
    router: reading.ClockRouter = None,
    cert_hash: reading.ClockHash = "",
    ca: reading.ClockAuthority = None,
    insecure: reading.ClockInsecure = False,
    profile: Profile = "local",
    log_level: LogLevel = None,
    log_format: LogFormat = None,
    metrics: Metrics = None,
    quiet: Quiet = False,
    child: ChildFlag = False,
) -> None:
    """See and hear everybody in a room, in step, in a window.

    Each publisher has one delay for picture and sound, as small as its jitter
    allows. Keys in the window: q or Escape quits, i shows names and delays,
    m mutes, f is full screen.

    wtp watch
    wtp watch ops --names
    wtp watch --no-window --speaker default
    """
    if not window and not sound:
        raise UsageError(
            "With neither window nor sound there is nothing to do.",
            hint="Leave --no-window or --no-sound out; wtp consume shows statistics.",
        )
    settings = load_settings(ctx, reading.chosen_room(ctx, room_name, room))
    check_name("room", settings.rooms.room)
    from wtp.cli.run import run_role
    from wtp.config.load import certs_folder
    from wtp.consumer.request import Request
    from wtp.consumer.trust import clock_trust
    from wtp.ui import watch as ui
    from wtp.watcher.room import Watch, Watcher

    request = Request(
        publisher=publisher,
        wait=wait,
        router=router or "",
        trust=clock_trust(router or "", cert_hash, ca, insecure, certs_folder(settings)),
    )
    run_role(
        Watcher(
            settings,
            Watch(
                window=window, sound=sound, names=names, muted=mute, device=speaker,
                duration_s=duration or 0.0, request=request,
            ),
        ),
        name="watch",
        settings=settings,
        child=child,
        quiet=quiet,
        output=output.value,
        announce=ui.announce,
        line=ui.line,
        screen=ui.screen,
        summary=ui.summary,
    )  # fmt: skip
