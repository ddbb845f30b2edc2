"""Topics as a table and one topic in full."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from wtp.ui.common import UNKNOWN, clean, size

Row = dict[str, Any]

HEAD_BYTES = 32
"""First bytes of a payload that are shown of a message."""


def topic_table(rows: Sequence[Row]) -> RenderableType:
    """One row per topic."""
    if not rows:
        return Text("There are no topics. `wtp topics create video` makes one; so does publishing.")
    table = _table(("room", "topic"), ("parts", "messages", "size", "prod", "subs", "backlog"))
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


def subscription_table(rows: Sequence[Row]) -> RenderableType:
    """One row per subscription of a topic."""
    if not rows:
        return Text("The topic has no subscriptions.")
    table = _table(("subscription", "type"), ("consumers", "backlog", "unacked"))
    table.add_column("last activity", no_wrap=True)
    for row in rows:
        table.add_row(
            Text(clean(row["name"])),
            Text(clean(row["type"] or "none yet") + ("" if row["durable"] else ", a reader")),
            str(row["consumers"]),
            str(row["backlog"]),
            str(row["unacked"]),
            row["last_activity"] or UNKNOWN,
        )
    return table


def backlog_table(rows: Sequence[Row]) -> RenderableType:
    """One row per subscription and partition."""
    if not rows:
        return Text("The topic has no subscriptions.")
    table = _table(("subscription", "topic"), ("backlog", "size", "unacked"))
    for row in rows:
        table.add_row(
            Text(clean(row["subscription"])),
            Text(clean(row["topic"])),
            str(row["backlog"]),
            size(row["backlog_bytes"]),
            str(row["unacked"]),
        )
    return table


def message_table(rows: Sequence[Row]) -> RenderableType:
    """Stored messages: a line of facts, one of properties, one of first bytes for each."""
    if not rows:
        return Text("There are no messages.")
    lines = []
    for row in rows:
        batch = f"  batch of {row['batch']}" if row["batch"] != 1 else ""
        key = f"  key {clean(row['key'])}" if row["key"] else ""
        lines.append(
            f"{clean(row['position'])}  {row['published'] or UNKNOWN}"
            f"  {size(row['size_bytes'])}{batch}{key}"
        )
        properties = "  ".join(
            f"{clean(name)}={clean(value)}" for name, value in row["properties"].items()
        )
        lines += [f"  {properties}"] if properties else []
        more = "..." if row["size_bytes"] > HEAD_BYTES else ""
        lines.append(f"  {row['payload']}{more}")
    return Text("\n".join(lines))


def _table(left: Sequence[str], right: Sequence[str]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, header_style="bold")
    for title in left:
        table.add_column(title, overflow="fold", min_width=10)
    for title in right:
        table.add_column(title, justify="right", no_wrap=True)
    return table


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
