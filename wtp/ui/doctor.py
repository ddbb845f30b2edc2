"""What the doctor found, as a table with what to do below each line that needs it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from wtp.ui.common import clean, counted

Row = Mapping[str, str]

STYLES = {"ok": "green", "unknown": "dim", "warning": "yellow", "fault": "bold red"}
NEEDING = ("warning", "fault")
NARROW = 50
"""Columns below which nothing stands side by side."""

INDENT = 2
"""Of a why; what mends it stands at the edge, so that a hash fits in 80 columns."""


def doctor_page(rows: Sequence[Row], *, whys: bool = False) -> Group:
    """The table; below a warning or a fault why it matters, below each line what mends it.

    Args:
        rows: `check`, `state`, `found`, `why`, `mend` each.
        whys: Whether every line has its why, not only those that need it.
    """
    parts: list[RenderableType] = []
    width = max((len(row["check"]) for row in rows), default=0)
    for row in rows:
        parts.append(_Line(row, width))
        needs = row["state"] in NEEDING
        if whys or needs:
            parts.append(Padding(Text(clean(row["why"]), style="dim"), (0, 0, 0, INDENT)))
        if row["mend"]:
            parts.append(Text.assemble(("-> ", "bold"), clean(row["mend"]), overflow="fold"))
    parts += [Text(""), Text(verdict(rows))]
    return Group(*parts)


class _Line:
    """State, check and what was found: side by side, or below each other where it is narrow."""

    def __init__(self, row: Row, width: int) -> None:
        self._state = Text(row["state"], style=STYLES.get(row["state"], ""))
        self._check, self._found = Text(clean(row["check"])), Text(clean(row["found"]))
        self._width = width

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if options.max_width < NARROW:
            yield Text.assemble(self._state, " ", self._check)
            self._found.overflow = "fold"
            yield self._found
            return
        line = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
        line.add_column(width=max(map(len, STYLES)))
        line.add_column(width=self._width, no_wrap=True)
        line.add_column(overflow="fold")
        line.add_row(self._state, self._check, self._found)
        yield line


def verdict(rows: Sequence[Row]) -> str:
    """The last line: `14 findings: 12 ok, 1 unknown, 1 fault`."""
    counts = Counter(row["state"] for row in rows)
    said = ", ".join(f"{counts[state]} {state}" for state in STYLES if counts[state])
    return f"{counted(len(rows), 'finding')}: {said}" if rows else "nothing was looked at"
