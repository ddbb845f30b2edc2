"""The root command: lists from a table, imports on choice, turns errors into sentences."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from wtp import __version__
from wtp.cli import COMMANDS, INTERRUPTED, discard
from wtp.errors import WtpError

HELP = """Stream live video, audio, chat and data over WebTransport into Apache Pulsar topics.

Start with `wtp demo`. Every command has its own --help.
"""


ROOT_ONLY = {"install_completion", "show_completion"}
"""Options that Typer gives to every app, and that make sense once."""

_OS_HINTS = {
    errno.ENOSPC: "Free some space, or write elsewhere.",
    errno.EDQUOT: "Free some space, or write elsewhere.",
    errno.EMFILE: "Raise the limit of open files (ulimit -n).",
    errno.ENFILE: "Close programs: this machine has too many files open.",
}


@contextmanager
def quiet_pipe() -> Iterator[None]:
    """End with 0 and without a word when the reader of stdout has gone (`| head`)."""
    try:
        yield
    except BrokenPipeError:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError):
                discard(stream.fileno())
        raise typer.Exit(0) from None


class LazyGroup(TyperGroup):
    """A group whose commands are known by name and line, and imported when chosen."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands: MutableMapping[str, Any] = {
            name: TyperCommand(name, help=line, rich_markup_mode=None)
            for name, (_, line) in COMMANDS.items()
        }

    def resolve_command(
        self, ctx: Any, args: list[str]
    ) -> tuple[str | None, Any | None, list[str]]:
        """Find the command that was named and import its module."""
        name, stub, rest = super().resolve_command(ctx, args)
        if name is None or stub is None:
            return name, stub, rest
        return name, load_command(name), rest

    def make_context(self, *args: Any, **extra: Any) -> Any:
        """Parse; help goes out here, so a closed pipe may show."""
        with quiet_pipe():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command."""
        with quiet_pipe():
            return super().invoke(ctx)


def load_command(name: str) -> Any:
    """Import a command's module and build its command from the module's `app`."""
    command = get_command(import_module(COMMANDS[name][0]).app)
    command.name = name
    command.params = [p for p in command.params if p.name not in ROOT_ONLY]
    return command


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"wtp {__version__}")
        raise typer.Exit


app = typer.Typer(
    cls=LazyGroup,
    help=HELP,
    rich_markup_mode=None,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and exit.", callback=_show_version, is_eager=True
        ),
    ] = False,
) -> None:
    pass


def invoke(args: Sequence[str]) -> int:
    """Run a command line; every error becomes a sentence on stderr.

    Returns:
        The exit code.
    """
    errors_as_json(wanted=_asks_for_json(args))
    try:
        result = get_command(app).main(list(args), prog_name="wtp", standalone_mode=False)
    except KeyboardInterrupt:
        return INTERRUPTED
    except typer.Abort:
        return INTERRUPTED
    except typer.TyperException as error:
        return _usage(error)
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # rich ends so when nobody reads
            return 0
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except Exception as error:  # noqa: BLE001 - the outermost border: no traceback reaches a user
        return report(error)
    return result if isinstance(result, int) else 0


class _Form:
    """How `complain` writes."""

    as_json = False


def errors_as_json(*, wanted: bool = True) -> None:
    """Write errors as lines of the JSON log from now on, or as sentences."""
    _Form.as_json = wanted


def _asks_for_json(args: Sequence[str]) -> bool:
    """Whether a command line or the environment wants JSON logs: its own faults are told so, too.

    A profile that wants them is read later (`wtp.cli.options.load_settings`).
    """
    given = os.environ.get("WTP_LOG_FORMAT", "")
    for word, following in zip(args, (*args[1:], ""), strict=False):
        if word == "--log-format":
            given = following
        elif word.startswith("--log-format="):
            given = word.partition("=")[2]
    return given == "json"


def report(error: BaseException) -> int:
    """Print an error as `error: sentence` and a line with the hint; WTP_DEBUG=1 adds where.

    Returns:
        The exit code that belongs to it.
    """
    cause = leaf(error)
    if os.environ.get("WTP_DEBUG"):
        traceback.print_exception(error, file=sys.stderr)
    if isinstance(cause, WtpError):
        complain(cause.message, cause.hint, cause.code)
        return cause.exit_code
    if isinstance(cause, KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(cause, OSError) and cause.strerror:
        where = f"{cause.filename}: " if cause.filename else ""
        hint = _OS_HINTS.get(cause.errno or 0, "WTP_DEBUG=1 shows where this comes from.")
        complain(f"{where}{cause.strerror}.", hint)
        return 1
    complain(
        f"Unexpected {type(cause).__name__}: {cause}",
        "This is a fault of wtp; WTP_DEBUG=1 shows where.",
        "fault",
    )
    return 1


def leaf(error: BaseException) -> BaseException:
    """The error that matters: out of (nested) groups the first of ours, else the first."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    leaves = [leaf(inner) for inner in error.exceptions]
    return next((one for one in leaves if isinstance(one, WtpError)), leaves[0])


def complain(sentence: str, hint: str = "", code: str = "error") -> None:
    """Write `error: sentence` and the hint to stderr, red on a terminal, without controls."""
    if _Form.as_json:
        _write(_json("error", sentence, code=code, hint=hint))
        return
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    color = sys.stderr.isatty() and not plain
    start, end = ("\x1b[31m", "\x1b[0m") if color else ("", "")
    text = f"{start}error:{end} {_plain(sentence)}\n"
    if hint:
        text += f"hint: {_plain(hint)}\n"
    _write(text)


def remark(sentence: str) -> None:
    """Write `note: sentence` to stderr."""
    _write(_json("info", sentence) if _Form.as_json else f"note: {_plain(sentence)}\n")


def _json(level: str, sentence: str, **more: str) -> str:
    from wtp.cli.logs import json_line
    from wtp.clock import wall_us

    return json_line(level, "wtp", sentence, wall_us() / 1e6, **more) + "\n"


def _write(text: str) -> None:
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except (OSError, ValueError):
        discard(2)


def _plain(text: str) -> str:
    return "".join(c if c.isprintable() or c in "\n\t" else "?" for c in text)


def _usage(error: typer.TyperException) -> int:
    """Say what is wrong with a command line, and where its help is."""
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        sys.stderr.write(error.format_message().rstrip() + "\n")
        return error.exit_code
    path = context.command_path if context is not None else "wtp"
    hint = f"See `{path} --help`."
    message = error.message or error.format_message()
    close = getattr(error, "possibilities", None)
    if close:
        hint = f"Did you mean {' or '.join(sorted(close))}? {hint}"
    elif not hasattr(error, "option_name"):
        message = error.format_message().replace("Value error, ", "")
    faults = getattr(error.__cause__, "errors", None)  # Typer's cause is pydantic's error
    if faults is not None:
        message = message.replace("Input should be", f"{faults()[0]['input']!r} should be", 1)
        message = message.partition(", unable to parse")[0]
    if not message.endswith((".", "?", "!")):
        message += "."
    complain(message, hint, "usage")
    return error.exit_code
