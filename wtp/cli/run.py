"""Run a role from the command line: signals, status lines, events of a child, exit codes."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

import typer

from wtp.cli import INTERRUPTED
from wtp.cli.exposure import Exposure, Latencies
from wtp.cli.face import ChildFace, Face, LogLines, face_of
from wtp.cli.logs import JsonFace, JsonLines, everything_logged
from wtp.config.schema import Settings

if TYPE_CHECKING:
    from rich.console import RenderableType

    from wtp.children.figures import Pages

FORCED_END_S = 3.0
"""Seconds that a second Ctrl-C leaves for cleaning up before the process ends hard."""
QUIC_LOGS = ("quic", "http3")
"""Loggers of aioquic: what matters of their lines comes as an error of ours."""

Snapshot = dict[str, Any]
Show = Callable[[Snapshot], "RenderableType | str"]


class Role(Protocol):
    """What every long-running command runs."""

    async def run(self, ready: Callable[[Snapshot], None]) -> None:
        """Work until done or stopped; call `ready(info)` once when usable."""

    def stop(self) -> None:
        """Ask to finish cleanly; may be called several times."""

    def snapshot(self) -> Snapshot:
        """Live figures as plain values."""


def run_role(
    role: Role,
    *,
    name: str = "",
    settings: Settings | None = None,
    child: bool = False,
    quiet: bool = False,
    log_level: str = "",
    output: str = "table",
    announce: Show | None = None,
    line: Show | None = None,
    screen: Show | None = None,
    summary: Show | None = None,
    face: Face | None = None,
    served: Callable[[Snapshot], str] | None = None,
    latencies: Latencies | None = None,
    pages: Pages | None = None,
) -> None:
    """Run a role to its end and leave with the right exit code.

    SIGINT asks the role to stop and exits 130, a second one cancels it; SIGTERM asks it to stop
    and exits 0. Status goes to stderr: live on a terminal, else a plain line every 5 s.

    Args:
        role: What to run.
        name: Its command, by which others find it.
        settings: How it logs and where its figures are shown; None: the defaults.
        child: Speak JSON events on stdout and end with stdin instead of using the terminal.
        quiet: No status, no summary; errors only.
        log_level: Replaces the settings' least severity of the project's own log lines.
        output: "json" prints the last snapshot as one object on stdout at the end.
        announce: What to say when the role is ready, out of its info.
        line: Its state in one line, out of a snapshot.
        screen: Its state on a terminal, default `line`.
        summary: What to say at the end.
        face: Replaces the terminal, lines or events, for a role that has the terminal itself.
        served: The URL at which the role serves its figures by itself, out of its info.
        latencies: Its histograms by hop, `total` beside them, for Prometheus.
        pages: What is served of its figures, where its snapshot and name do not say it.

    Raises:
        WtpError: The role's own error, unless `child` (it went out as an event).
        typer.Exit: With the exit code when that is not 0.
    """
    settings = settings or Settings()
    as_json = settings.logging.format == "json"
    if as_json and not child and face is None:
        face = JsonFace(quiet=quiet, output=output)
    face = face or face_of(
        child=child, quiet=quiet, output=output,
        announce=announce, line=line, screen=screen, summary=summary,
    )  # fmt: skip
    exposure = Exposure(
        name, settings, child=child, served=served, latencies=latencies, pages=pages
    )
    lines = JsonLines(face.log) if as_json else LogLines(face)
    with _logging(lines, log_level or settings.logging.level):
        code = asyncio.run(_drive(role, face, exposure))
    if code:
        raise typer.Exit(code)


@contextlib.contextmanager
def _logging(lines: logging.Handler, level: str) -> Iterator[None]:
    """Log through the face while the role runs; libraries only from warnings on, QUIC not."""
    root, own = logging.getLogger(), logging.getLogger("wtp")
    hushed = [] if os.environ.get("WTP_DEBUG") else [logging.getLogger(name) for name in QUIC_LOGS]
    for logger in hushed:
        logger.disabled = True
    root.addHandler(lines)
    root.setLevel(logging.WARNING)
    own.setLevel(level.upper())
    try:
        with everything_logged(wanted=isinstance(lines, JsonLines)):
            yield
    finally:
        root.removeHandler(lines)
        for logger in hushed:
            logger.disabled = False


async def _drive(role: Role, face: Face, exposure: Exposure) -> int:
    """Run the role beside its status; every way out ends in the face's summary or error."""
    ends = _Ends(role)
    ends.listen(child=isinstance(face, ChildFace))
    face.start()
    ticking = asyncio.create_task(_tick(role, face))
    try:
        async with exposure.around(role.snapshot, face.ready) as ready:

            def begun(info: dict[str, Any]) -> None:
                ready(info)
                # What is loaded by now stays: looking through it halts everything for 20 to 40 ms.
                gc.freeze()

            await role.run(begun)
    except asyncio.CancelledError:
        if not ends.forced:
            raise
    except BrokenPipeError:
        face.hush()
        return 0
    except Exception as error:
        code = face.failed(error)
        if code is None:
            raise
        return code
    finally:
        gc.unfreeze()
        ticking.cancel()
        await asyncio.gather(ticking, return_exceptions=True)
        face.stop()
    face.ended(role.snapshot())
    return ends.code


async def _tick(role: Role, face: Face) -> None:
    """Show the role's figures from time to time; a terminal that has gone ends the showing."""
    try:
        while True:
            await asyncio.sleep(face.period_s)
            await face.status(role.snapshot())
    except OSError:
        face.hush()


class _Ends:
    """The ways to end a role from outside: SIGINT, SIGTERM, SIGHUP, the parent's death."""

    def __init__(self, role: Role) -> None:
        self.role = role
        self.code = 0
        self.forced = False
        self._interrupts = 0

    def listen(self, *, child: bool) -> None:
        """Take the signals; a child also watches its life line."""
        loop = asyncio.get_running_loop()
        self._loop, self._task = loop, asyncio.current_task()
        loop.add_signal_handler(signal.SIGINT, self._interrupt)
        loop.add_signal_handler(signal.SIGTERM, self.role.stop)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            loop.add_signal_handler(signal.SIGHUP, self.role.stop)
        if child:
            from wtp.children import parent_gone

            parent_gone(self.role.stop)

    def _interrupt(self) -> None:
        self.code = INTERRUPTED
        self._interrupts += 1
        if self._interrupts == 1:
            self.role.stop()
            return
        self.forced = True
        if self._task is not None:
            self._task.cancel()
        if self._interrupts == 2:
            self._loop.call_later(FORCED_END_S, os._exit, INTERRUPTED)
        else:
            os._exit(INTERRUPTED)
