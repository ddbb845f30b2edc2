"""`wtp chat [ROOM]`: talk with a room, in one terminal or through pipes."""

from __future__ import annotations

import getpass
import os
import socket
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from wtp.cli import publish_options as opt
from wtp.cli import reading
from wtp.cli.consume import MAX_HISTORY
from wtp.cli.face import Face
from wtp.cli.options import (
    Admin,
    Broker,
    Duration,
    LogFormat,
    LogLevel,
    Metrics,
    Profile,
    Quiet,
    Room,
    RouterUrl,
    load_settings,
)
from wtp.cli.run import run_role
from wtp.errors import UsageError
from wtp.model import clean_name

if TYPE_CHECKING:
    from wtp.chat.room import Mouth
    from wtp.chat.screen import Screen

app = typer.Typer()

HISTORY = 20
"""Earlier messages that somebody who joins at a terminal is shown."""


class Format(StrEnum):
    """How messages are printed."""

    TABLE = "table"
    JSONL = "jsonl"


class ScreenFace(Face):
    """Log lines above the line that is typed; the terminal is the role's own.

    Args:
        screen: Where they go.
    """

    def __init__(self, screen: Screen) -> None:
        super().__init__()
        self._screen = screen

    def log(self, text: str) -> None:
        """A log line."""
        if self._screen.is_open:
            self._screen.note(text)
        else:
            super().log(text)


@app.command()
def chat(
    ctx: typer.Context,
    room_name: reading.RoomName = "",
    room: Room = None,
    name: Annotated[
        str,
        typer.Option(
            "--name", help="Your name; default: the user's, with a number when that is taken."
        ),
    ] = "",
    history: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            max=MAX_HISTORY,
            help="Begin with the last N messages; default: 20 at a terminal, else none.",
        ),
    ] = None,
    follow: Annotated[
        bool,
        typer.Option("--follow", "-f", help="Go on reading when standard input has ended."),
    ] = False,
    output: Annotated[
        Format,
        typer.Option("--output", "-o", help="table: lines for people; jsonl: all about each."),
    ] = Format.TABLE,
    duration: Duration = None,
    router: RouterUrl = None,
    broker: Broker = None,
    admin: Admin = None,
    cert_hash: opt.CertHash = "",
    ca: opt.Authority = None,
    insecure: opt.Insecure = False,
    wait: opt.WaitRouter = False,
    quiet: Quiet = False,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
    metrics: Metrics = None,
    profile: Profile = "local",
) -> None:
    """Talk with a room: its lines and yours in one terminal.

    In a terminal Enter sends, pasted lines stay one message, /help lists
    commands, /quit leaves. In a pipe each line of standard input is a message.

    wtp chat ops
    dmesg | wtp chat ops
    wtp chat ops -o jsonl --follow < /dev/null
    """
    settings = load_settings(ctx, reading.chosen_room(ctx, room_name, room))
    if sys.stdin is None:
        raise UsageError(
            "Standard input is closed.", hint="Leave out `<&-`, or read with wtp consume chat."
        )
    from wtp.chat.room import Chat
    from wtp.chat.sender import Who
    from wtp.transport.trust import Trust
    from wtp.ui import chat as says

    typed = output is Format.TABLE and _at_terminal()
    face: Face | None = None
    mouth: Mouth
    if typed:
        from wtp.chat.terminal import Terminal

        mouth = terminal = Terminal()
        face = ScreenFace(terminal.screen)
    else:
        from wtp.chat.pipe import Pipe

        mouth = Pipe(jsonl=output is Format.JSONL)
    role = Chat(
        settings,
        Who(name or _user(), given=bool(name)),
        mouth,
        trust=Trust(cert_hash=cert_hash, ca=ca, insecure=insecure),
        history=(HISTORY if typed else 0) if history is None else history,
        follow=follow and not typed,
        duration_s=duration or 0.0,
        wait=wait,
    )
    run_role(
        role,
        name="chat",
        settings=settings,
        quiet=quiet,
        announce=says.announce,
        summary=says.summary,
        face=face,
    )


def _at_terminal() -> bool:
    """Whether a line can be typed below what comes in."""
    if os.environ.get("TERM") == "dumb" or sys.platform == "win32":
        return False
    return sys.stdin.isatty() and sys.stdout.isatty()


def _user() -> str:
    """The user's name, else the host's, as a publisher may be called."""
    try:
        return clean_name(getpass.getuser())
    except (OSError, KeyError):
        return clean_name(socket.gethostname())
