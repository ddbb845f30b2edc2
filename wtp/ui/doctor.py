"""What the doctor found, as a table with what to do below each line that needs it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from wtp.ui.common import clean, counted

Row = Mapping[str, str]

STYLES = {"ok": "green", "unknown": "dim", "warning": "yellow", "fault": "bold red"}
NEEDING = ("warning", "fault")
INDENT = 9
"""Whys stand below what was found; what mends it at the edge, so that a hash fits in 80 columns."""


def doctor_page(rows: Sequence[Row], *, whys: bool = False) -> Group:
    """The table; below a warning or a fault why it matters, below each line what mends it.

    Args:
        rows: `check`, `state`, `found`, `why`, `mend` each.
        whys: Whether every line has its why, not only those that need it.
    """
    parts: list[RenderableType] = []
    width = max((len(row["check"]) for row in rows), default=0)
    for row in rows:
        line = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
        line.add_column(width=max(map(len, STYLES)))
        line.add_column(width=width, no_wrap=True)
        line.add_column(overflow="fold")
        line.add_row(
            Text(row["state"], style=STYLES.get(row["state"], "")),
            Text(clean(row["check"])),
            Text(clean(row["found"])),
        )
        parts.append(line)
        needs = row["state"] in NEEDING
        if whys or needs:
            parts.append(Padding(Text(clean(row["why"]), style="dim"), (0, 0, 0, INDENT)))
        if row["mend"]:
            parts.append(Text.assemble(("-> ", "bold"), clean(row["mend"]), overflow="fold"))
    parts += [Text(""), Text(verdict(rows))]
    return Group(*parts)


def verdict(rows: Sequence[Row]) -> str:
    """The last line: `14 checks: 12 ok, 1 unknown, 1 fault`."""
    counts = Counter(row["state"] for row in rows)
    said = ", ".join(f"{counts[state]} {state}" for state in STYLES if counts[state])
    return f"{counted(len(rows), 'finding')}: {said}" if rows else "nothing was looked at"
