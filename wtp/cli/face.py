"""What a running role looks like from outside: a terminal, plain lines, or a child's events."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import queue
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from wtp.children import error_event
from wtp.cli.group import leaf
from wtp.errors import WtpError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

Snapshot = dict[str, Any]
Show = Callable[[Snapshot], "RenderableType | str"]

CHILD_PERIOD_S = 0.5
TERMINAL_PERIOD_S = 0.5
PLAIN_PERIOD_S = 5.0
PLAIN_COLUMNS = 10_000
"""Width of what is not a terminal: no sentence is broken there, no table squeezed."""

QUEUED_EVENTS = 64
"""Events that wait for a parent that does not read; then status events are dropped."""


class Face:
    """Says nothing; the base of the others.

    Attributes:
        period_s: Seconds between two statuses.
    """

    period_s = PLAIN_PERIOD_S

    def __init__(self) -> None:
        self.hushed = False

    def start(self) -> None:
        """The role is about to run."""

    def stop(self) -> None:
        """The role has ended, well or not."""

    def ready(self, info: Snapshot) -> None:
        """The role is usable."""

    async def status(self, snapshot: Snapshot) -> None:
        """The role's figures, now."""

    def ended(self, snapshot: Snapshot) -> None:
        """The role has ended well, or was stopped."""

    def failed(self, error: Exception) -> int | None:
        """The role has raised; the exit code when that was said here, None to raise it on."""
        return None

    def log(self, text: str) -> None:
        """A log line."""
        if not self.hushed:
            try:
                sys.stderr.write(text + "\n")
            except (OSError, ValueError):
                self.hush()

    def hush(self) -> None:
        """Nobody reads any more: be quiet from now on."""
        self.hushed = True


class ChildFace(Face):
    """JSON events on stdout, written by a thread so that a slow parent never blocks the loop."""

    period_s = CHILD_PERIOD_S

    def __init__(self) -> None:
        super().__init__()
        self._queue: queue.Queue[bytes | None] = queue.Queue(QUEUED_EVENTS)
        self._writer = threading.Thread(target=self._write, name="events", daemon=True)

    def start(self) -> None:
        """Start the writer."""
        self._writer.start()

    def ready(self, info: Snapshot) -> None:
        """Send `ready`."""
        self._send({"event": "ready", "pid": os.getpid(), **info}, wait_s=1.0)

    async def status(self, snapshot: Snapshot) -> None:
        """Send `status`, or drop it when the parent is slow."""
        self._send({"event": "status", **snapshot})

    def ended(self, snapshot: Snapshot) -> None:
        """Send `summary` and wait until it is written."""
        self._send({"event": "summary", **snapshot}, wait_s=1.0)
        self._finish()

    def failed(self, error: Exception) -> int | None:
        """Send `error` and wait until it is written."""
        cause = leaf(error)
        if not isinstance(cause, WtpError):
            logging.getLogger("wtp").error("Unexpected fault", exc_info=error)
            cause = WtpError(f"Unexpected {type(cause).__name__}: {cause}", code="fault")
        self._send(error_event(cause), wait_s=1.0)
        self._finish()
        return cause.exit_code

    def _send(self, event: Snapshot, wait_s: float = 0.0) -> None:
        line = json.dumps(event, separators=(",", ":"), default=str).encode() + b"\n"
        with contextlib.suppress(queue.Full):
            self._queue.put(line, block=wait_s > 0, timeout=wait_s or None)

    def _write(self) -> None:
        while (line := self._queue.get()) is not None:
            try:
                while line:
                    line = line[os.write(1, line) :]
            except OSError:
                return

    def _finish(self) -> None:
        try:
            self._queue.put(None, timeout=1.0)
        except queue.Full:
            return
        self._writer.join(1.0)


class PlainFace(Face):
    """Plain lines on stderr, for logs and pipes."""

    def __init__(
        self,
        announce: Show | None,
        line: Show | None,
        summary: Show | None,
        *,
        quiet: bool,
        output: str,
    ) -> None:
        super().__init__()
        self._announce, self._line, self._summary = announce, line, summary
        self._quiet, self._output = quiet, output
        self._usable = False
        self.console = _console()

    def ready(self, info: Snapshot) -> None:
        """Say what there is to connect to."""
        self._usable = True
        self._show(self._announce, info)

    async def status(self, snapshot: Snapshot) -> None:
        """One line, once there is something to say."""
        if self._usable:
            self._show(self._line, snapshot)

    def ended(self, snapshot: Snapshot) -> None:
        """The summary on stderr, or as an object on stdout."""
        if self._output == "json":
            sys.stdout.write(json.dumps(snapshot, default=str) + "\n")
            sys.stdout.flush()
            return
        self._show(self._summary, snapshot)

    def _show(self, show: Show | None, values: Snapshot) -> None:
        if show is None or self._quiet or self.hushed:
            return
        shown = show(values)
        if shown == "":
            return
        try:
            self.console.print(shown, soft_wrap=isinstance(shown, str), markup=False)
        except (OSError, ValueError):
            self.hush()

    def log(self, text: str) -> None:
        """A log line, above whatever is live."""
        if self.hushed:
            return
        try:
            self.console.print(text, markup=False, highlight=False, soft_wrap=True)
        except (OSError, ValueError):
            self.hush()


class TerminalFace(PlainFace):
    """A live line or screen on stderr that keeps its place."""

    period_s = TERMINAL_PERIOD_S

    def __init__(
        self, announce: Show | None, screen: Show | None, summary: Show | None, **more: Any
    ) -> None:
        super().__init__(announce, None, summary, **more)
        from rich.live import Live

        self._screen = screen
        self._live = Live(
            "", console=self.console, auto_refresh=False, transient=True,
            redirect_stdout=False, redirect_stderr=False,
        )  # fmt: skip

    def start(self) -> None:
        """Take the lowest lines of the terminal."""
        self._live.start()

    def stop(self) -> None:
        """Give the terminal back."""
        self._live.stop()

    async def status(self, snapshot: Snapshot) -> None:
        """Draw, in a thread: a terminal may be stopped (Ctrl-S)."""
        if self._screen is None or self.hushed:
            return
        shown = self._screen(snapshot)
        if isinstance(shown, str):
            from rich.text import Text

            shown = Text(shown, no_wrap=True, overflow="ellipsis")
        await asyncio.to_thread(self._live.update, shown, refresh=True)


def _console() -> Console:
    """The terminal behind stderr; a pipe that nobody reads is an error, not the end."""
    from rich.console import Console

    class Stderr(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    console = Stderr(stderr=True, highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = PLAIN_COLUMNS
    return console


def face_of(
    *,
    child: bool,
    quiet: bool,
    output: str,
    announce: Show | None,
    line: Show | None,
    screen: Show | None,
    summary: Show | None,
) -> Face:
    """The face that fits: events for a parent, live on a terminal, else plain lines."""
    if child:
        return ChildFace()
    plain = PlainFace(announce, line, summary, quiet=quiet, output=output)
    if quiet or not plain.console.is_terminal or plain.console.is_dumb_terminal:
        return plain
    return TerminalFace(announce, screen or line, summary, quiet=quiet, output=output)


class LogLines(logging.Handler):
    """Log records as lines of the face: time, level, message; controls are made visible."""

    def __init__(self, face: Face) -> None:
        super().__init__()
        self._face = face

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        text = record.getMessage()
        if record.exc_info and os.environ.get("WTP_DEBUG"):
            text += "\n" + logging.Formatter().formatException(record.exc_info)
        clean = "".join(c if c.isprintable() or c == "\n" else "?" for c in text)
        stamp = time.strftime("%H:%M:%S", time.localtime(record.created))
        self._face.log(f"{stamp} {record.levelname.lower()} {clean}")
