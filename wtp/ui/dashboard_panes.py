"""Tables of what is watched beside the tracks: routers, brokers, processes, drops, rooms."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from wtp.ui.common import UNKNOWN, bits, clean, ms, seconds, size
from wtp.ui.dashboard_lines import add_row, brief_bits, cell
from wtp.ui.dashboard_tracks import NONE

Snapshot = dict[str, Any]

LEAST_WIDTH = 72
"""Columns that the tables need."""

MAX_ROWS = 12
"""Rows of a table; more are counted in its last line."""


def clock_time(since: str) -> str:
    """The time of day (UTC) of an ISO time: `21:45:03Z`."""
    return since.partition("T")[2] or since


def presence(one: Snapshot) -> Text:
    """`up`, or for how long it has not answered."""
    state = one.get("state")
    if state == "up":
        return Text("up", style="green")
    if state == "gone":
        return Text(f"GONE {seconds(one['since_s'])}", style="bold red")
    return Text("asked", style="dim")


def routers(snapshot: Snapshot) -> Table:
    """A row per router."""
    table = _table(
        "router", "state", "sessions", "obj/s", "bit/s", "queue", "receipt p99", "broker"
    )
    for one in snapshot["routers"][:MAX_ROWS]:
        gone = one["state"] != "up"
        connected = one["broker_connected"]
        broker = UNKNOWN if connected is None else "ok" if connected else "DOWN"
        add_row(
            table,
            clean(one["url"]),
            presence(one) if gone or one["status"] == "ok" else Text(clean(one["status"])),
            *(cell(one[key], 0) for key in ("sessions", "objects_s")),
            brief_bits(one["bits_s"]),
            cell(one["queued"], 0),
            _receipt(one, gone=gone),
            Text(broker, style="bold red" if broker == "DOWN" else ""),
        )
        _why(table, one)
    return table


def _receipt(one: Snapshot, *, gone: bool) -> str:
    value = one["receipt_p99_ms"]
    return UNKNOWN if gone else NONE if value is None else ms(value)


def _remarks(one: Snapshot) -> Iterator[tuple[str, str]]:
    if one["problem"]:
        yield f"no answer since {clock_time(one['since'])}", one["problem"]
    yield from (one.get("notes") or {}).items()


def brokers(snapshot: Snapshot) -> Table:
    """A row per broker and one per topic, with the subscription that lags most."""
    table = _table("broker", "state", "health", "in/s", "out/s", "lag", "stored")
    for one in snapshot["brokers"]:
        kind = "" if one["version"] is None else " (embedded)" if one["embedded"] else " (Pulsar)"
        healthy = one["healthy"] is not False
        add_row(
            table,
            clean(one["url"]) + kind,
            presence(one) if healthy else Text("UNHEALTHY", style="bold red"),
            ms(one["health_ms"]),
            *(cell(one[key], 1) for key in ("in_s", "out_s")),
            cell(one["backlog"], 0),
            size(one["storage_bytes"]),
        )
        _why(table, one)
        topics = sorted(one["by_topic"].items(), key=lambda item: (-item[1]["in_s"], item[0]))
        for name, topic in topics[:MAX_ROWS]:
            add_row(
                table,
                "  " + clean(name.partition("://")[2]),
                clean(_slowest(topic)),
                "",
                *(cell(topic[key], 1) for key in ("in_s", "out_s")),
                str(topic["backlog"]),
                size(topic["storage_bytes"]),
            )
        _more(table, len(topics), "topic")
    return table


def _why(table: Table, one: Snapshot) -> None:
    for name, note in _remarks(one):
        add_row(table, Text(f"  {clean(name)}: {clean(note)}", style="yellow"))


def _slowest(topic: Snapshot) -> str:
    """The subscription with the largest backlog; how many there are when none lags."""
    behind = [(one["backlog"], name) for name, one in topic["subscriptions"].items()]
    if not behind:
        return "nobody reads"
    backlog, name = max(behind)
    return f"{name} lags" if backlog else f"{len(behind)} reading"


def processes(snapshot: Snapshot) -> Table:
    """A row per process that shows its figures."""
    table = _table("process", "state", "obj/s", "bit/s", "queue", "p50 ms", "p99 ms", "drops")
    for one in snapshot["processes"][:MAX_ROWS]:
        latency = one["latency"] or {}
        up = one["state"] == "up"
        missing = NONE if up else UNKNOWN
        dropped = str(sum(one["dropped"].values())) if "dropped" in one else missing
        room = f" {clean(one['room'])}" if one["room"] else ""
        add_row(
            table,
            f"{clean(one['role'])} {one['pid']}{room}",
            presence(one) if not up or not one["does"] else Text(clean(one["does"])),
            cell(one["objects_s"], 1, missing=missing),
            brief_bits(one["bits_s"], missing=missing),
            cell(one["queued"], 0, missing=missing),
            *(cell(latency.get(key), missing=missing) for key in ("p50_ms", "p99_ms")),
            dropped,
        )
        _why(table, one)
    _more(table, len(snapshot["processes"]), "process")
    return table


def processors(snapshot: Snapshot) -> Table:
    """A row per HTTP processor of a router."""
    table = _table("processor", "circuit", "in flight", "answered", "p50 ms", "p99 ms")
    for router in snapshot["routers"]:
        for one in router["processors"]:
            closed = one["state"] == "closed"
            add_row(
                table,
                f"{clean(one['kind'])} {clean(one['url'])}",
                Text(clean(one["state"]), style="green" if closed else "bold red"),
                str(one["in_flight"]),
                str(one["answered"]),
                *(cell(one[key], missing=NONE) for key in ("p50_ms", "p99_ms")),
            )
    return table


def drops(snapshot: Snapshot) -> Text:
    """What was lost, by hop and reason."""
    if not snapshot["drops"]:
        return Text("dropped    nothing since the start of each", style="dim")
    words = [
        f"{clean(hop)}: " + ", ".join(f"{clean(r)} {n}" for r, n in sorted(reasons.items()))
        for hop, reasons in snapshot["drops"].items()
    ]
    return Text("dropped    " + "; ".join(words), style="yellow")


def rooms(snapshot: Snapshot) -> Table:
    """A row per room."""
    table = _table("room", "publishers", "tracks", "obj/s", "bit/s")
    for name, one in list(snapshot["rooms"].items())[:MAX_ROWS]:
        add_row(
            table,
            clean(name),
            str(one["publishers"]),
            str(one["tracks"]),
            cell(one["objects_s"], 1),
            bits(one["bits_s"]),
        )
    _more(table, len(snapshot["rooms"]), "room")
    return table


def lines(snapshot: Snapshot) -> Iterator[Text]:
    """A short line for everything that is watched."""
    parts = [*snapshot["routers"], *snapshot["brokers"], *snapshot["processes"]]
    for one in parts[: 2 * MAX_ROWS]:
        text = Text(no_wrap=True, overflow="ellipsis")
        text.append_text(presence(one))
        text.append(f" {clean(one['role'])} {one['pid']}" if "role" in one else "")
        text.append("" if "role" in one else f" {clean(one['url'])}")
        rate = one.get("objects_s", one.get("in_s"))
        if rate is not None:
            text.append(f" {cell(rate, 1)}/s")
        yield text
    yield drops(snapshot)


def panes(snapshot: Snapshot, width: int = LEAST_WIDTH) -> RenderableType:
    """All of them, what matters most first; empty ones are left out.

    Args:
        snapshot: Of `wtp.dashboard.run`.
        width: Characters there are; below `LEAST_WIDTH` each has a line in place of a table.
    """
    if width < LEAST_WIDTH:
        return Group(*lines(snapshot))
    parts: list[RenderableType] = [routers(snapshot), drops(snapshot)]
    if snapshot["brokers"]:
        parts.append(brokers(snapshot))
    if any(router["processors"] for router in snapshot["routers"]):
        parts.append(processors(snapshot))
    if snapshot["processes"]:
        parts.append(processes(snapshot))
    else:
        hint = "no consumer shows its figures here: start one with --metrics 127.0.0.1:0"
        parts.append(Text(hint, style="dim"))
    if len(snapshot["rooms"]) > 1:
        parts.append(rooms(snapshot))
    return Group(*parts)


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    table.add_column(first, no_wrap=True, overflow="ellipsis", min_width=10)
    for other in others:
        left = other in ("state", "circuit")
        table.add_column(
            other, justify="left" if left else "right", no_wrap=True, overflow="ellipsis"
        )
    return table


def _more(table: Table, count: int, noun: str) -> None:
    if count > MAX_ROWS:
        add_row(table, Text(f"  and {count - MAX_ROWS} more of {noun}", style="dim"))
