"""Topics as a table and one topic in full."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from wtp.ui.common import UNKNOWN, clean, size

Row = dict[str, Any]


def topic_table(rows: Sequence[Row]) -> RenderableType:
    """One row per topic."""
    if not rows:
        return Text("There are no topics. `wtp topics create video` makes one; so does publishing.")
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, header_style="bold")
    for title in ("room", "topic"):
        table.add_column(title, overflow="fold", min_width=10)
    for title in ("parts", "messages", "size", "prod", "subs", "backlog"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            Text(clean(row["room"])),
            Text(clean(row["topic"])),
            str(row["partitions"] or "-"),
            str(row["messages"]),
            size(row["size_bytes"]),
            str(row["producers"]),
            str(len(row["subscriptions"])),
            str(row["backlog"]),
        )
    return table


def topic_page(row: Row) -> RenderableType:
    """Everything about one topic."""
    facts = {
        "topic": row["name"],
        "partitions": row["partitions"] or "not partitioned",
        "messages": f"{row['messages']} since it was opened",
        "size": size(row["size_bytes"]),
        "retention": retention_text(row.get("retention")),
        "producers": row["producers"],
    }
    lines = [Text(f"{name:11} {clean(value)}") for name, value in facts.items()]
    if not row["subscriptions"]:
        return Group(*lines, Text("no subscriptions"))
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, header_style="bold")
    for title in ("subscription", "type", "consumers", "backlog"):
        table.add_column(title)
    for one in row["subscriptions"]:
        table.add_row(
            Text(clean(one["name"])), Text(clean(one["type"])), str(one["consumers"]),
            str(one["backlog"]),
        )  # fmt: skip
    return Group(*lines, Text(""), table)


def retention_text(retention: Mapping[str, Any] | None) -> str:
    """Retention in words: `24 h, 1024 MiB (of its room)`."""
    if not retention:
        return UNKNOWN
    minutes, mb = retention["minutes"], retention["mb"]
    origin = f" (of its {retention['of']})"
    if minutes == 0 or mb == 0:
        return f"none: gone once every subscription has it{origin}"
    if minutes < 0:
        time = "for ever"
    else:
        time = f"{minutes / 60:g} h" if minutes >= 60 else f"{minutes} min"
    return f"{time}, {'no limit' if mb < 0 else f'{mb} MiB'}{origin}"
