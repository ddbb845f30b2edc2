"""The terminal: size, characters, colours."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping

from wtp.doctor.finding import Finding, State, Subject

WHY = "wtp dashboard needs 80x24 and UTF-8 to show everything; --preview draws in 24-bit colours."
COLUMNS, ROWS = 80, 24


async def look(subject: Subject) -> list[Finding]:
    """Look at standard error and output, of which one is the terminal when there is one."""
    on = next((s for s in (sys.stdout, sys.stderr) if s is not None and s.isatty()), None)
    size = shutil.get_terminal_size()
    encoding = (getattr(on, "encoding", "") or "") if on else ""
    return [judge(on is not None, (size.columns, size.lines), encoding, os.environ)]


def judge(
    terminal: bool, size: tuple[int, int], encoding: str, environ: Mapping[str, str]
) -> Finding:
    """Judge a terminal.

    Args:
        terminal: Whether there is one.
        size: Columns and rows.
        encoding: Of what is written to it.
        environ: `TERM`, `COLORTERM`, `NO_COLOR`.
    """
    if not terminal:
        return Finding("terminal", State.OK, "none: output goes to a file or a pipe", WHY)
    name = environ.get("TERM", "")
    deep = environ.get("COLORTERM", "") in ("truecolor", "24bit")
    colours = "none (NO_COLOR)" if environ.get("NO_COLOR") else "24 bit" if deep else "256 or fewer"
    found = f"{size[0]}x{size[1]}, TERM={name or 'unset'}, {encoding}, colours: {colours}"
    if encoding.lower().replace("-", "") != "utf8":
        return Finding("terminal", State.WARNING, found, WHY, "export LANG=C.UTF-8")
    if name in ("", "dumb"):
        return Finding("terminal", State.WARNING, found, WHY, "export TERM=xterm-256color")
    if size[0] < COLUMNS or size[1] < ROWS:
        return Finding("terminal", State.WARNING, found, WHY, "Enlarge the window to 80x24.")
    return Finding("terminal", State.OK, found, WHY)
