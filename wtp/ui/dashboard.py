"""What `wtp dashboard` shows: a head, a line for logs, one printed snapshot, the smallest form."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from wtp.ui.common import UNKNOWN, bits, clean, counted, ms, seconds
from wtp.ui.dashboard_hops import hops
from wtp.ui.dashboard_lines import cell, chart, spark
from wtp.ui.dashboard_panes import clock_time, panes
from wtp.ui.dashboard_tracks import (
    TRENDS,
    Look,
    chosen,
    ends_of,
    latency_of,
    tracks,
    trend_key,
)

Snapshot = dict[str, Any]

NARROW = 40
"""Below as many columns only the smallest form is shown."""

CHART_ROWS = 3
"""Lines of a history of one track alone."""

KEYS = (
    ("↑ ↓", "choose a track (also PgUp, PgDn, Home, End)"),
    ("Enter", "one track alone, with its history; again: all of them"),
    ("s  r", "sort by the next column; the other way round"),
    ("/", "only tracks with these letters in their name; Escape: all"),
    ("p, Space", "hold the figures; again: live"),
    ("Tab, w x", "scroll the lower pane"),
    ("?", "this page"),
    ("q", "quit"),
)


def line(snapshot: Snapshot) -> str:
    """Everything in one line of plain text."""
    whole, up = snapshot["whole"], _up(snapshot)
    parts = [f"routers {up} of {len(snapshot['routers'])} up"]
    parts += [
        f"{clean(one['url'])} GONE since {clock_time(one['since'])} ({clean(one['problem'])})"
        for one in (*snapshot["routers"], *snapshot["brokers"])
        if one["state"] == "gone"
    ]
    parts += [_broker(snapshot)] if snapshot["brokers"] else []
    if whole["sessions"] is not None:
        parts.append(counted(whole["sessions"], "session"))
    parts += [
        counted(len(snapshot["tracks"]), "track"),
        f"{cell(whole['objects_s'], 1)} objects/s",
        bits(whole["bits_s"]),
        f"queue {cell(whole['queued'], 0)}",
        *(f"lag {cell(one['backlog'], 0)}" for one in snapshot["brokers"][:1]),
        f"latency {_worst(snapshot)}",
        f"dropped {_dropped(snapshot)}",
    ]
    return ", ".join(parts)


def _up(snapshot: Snapshot) -> int:
    return sum(one["state"] == "up" for one in snapshot["routers"])


def _broker(snapshot: Snapshot) -> str:
    one = snapshot["brokers"][0]
    if one["state"] != "up":
        return "broker GONE" if one["state"] == "gone" else "broker asked"
    if not one["healthy"]:
        return "broker UNHEALTHY"
    return f"broker ok {ms(one['health_ms'])}"


def _worst(snapshot: Snapshot) -> str:
    """The worst track's latency, with its ends."""
    rows = [row for row in snapshot["tracks"].values() if latency_of(row).get("p99_ms") is not None]
    if not rows:
        return UNKNOWN
    row = max(rows, key=lambda one: latency_of(one)["p99_ms"])
    return _latency(row)


def _latency(row: Snapshot) -> str:
    figures = latency_of(row)
    if figures.get("p99_ms") is None:
        return UNKNOWN
    over = "since its start" if figures.get("over") == "start" else "of the last seconds"
    error = f", clock error {ms(figures.get('clock_error_ms'))}" if row.get("latency") else ""
    return (
        f"{ends_of(row)} p50 {ms(figures['p50_ms'])} p99 {ms(figures['p99_ms'])}"
        f" ({over}, n {figures.get('n', 0)}{error})"
    )


def _dropped(snapshot: Snapshot) -> str:
    total = sum(n for hop, reasons in snapshot["drops"].items() for n in reasons.values())
    return f"{total}" if snapshot["drops"] or _up(snapshot) else UNKNOWN


def head(snapshot: Snapshot, look: Look, width: int) -> RenderableType:
    """Title, traffic and latency with their histories; a line more for each router that is gone."""
    lines = [_title(snapshot, look), *_gone(snapshot)]
    whole, history = snapshot["whole"], snapshot["history"]
    room = min(60, max(0, (width - 50) // 2))
    traffic = Text("traffic  ")
    traffic.append(spark(history.get("objects_s") or [], room), style="cyan")
    traffic.append(f" {cell(whole['objects_s'], 1)} objects/s  ")
    traffic.append(spark(history.get("bits_s") or [], room), style="cyan")
    traffic.append(f" {bits(whole['bits_s'])}")
    latency = _latency_line(snapshot, chosen(snapshot, look), room)
    return Group(*(_one_line(text) for text in (*lines, traffic, latency)))


def _latency_line(snapshot: Snapshot, name: str, room: int) -> Text:
    """The chosen track's latency: percentiles of each second, else the newest object's."""
    row = snapshot["tracks"].get(name) or {}
    past = (snapshot.get("track_history") or {}).get(name) or {}
    figures = latency_of(row)
    text = Text("latency  ")
    if figures.get("over") == "start":
        text.append(spark(past.get("last_ms") or [], room), style="magenta")
        text.append(f" newest {ms(figures.get('last_ms'))}  since its start")
        text.append(f" p50 {ms(figures.get('p50_ms'))} p99 {ms(figures.get('p99_ms'))}  ")
    else:
        for key in ("p50", "p99"):
            text.append(spark(past.get(f"{key}_ms") or [], room), style="magenta")
            text.append(f" {key} {ms(figures.get(f'{key}_ms'))}  ")
    return text.append(ends_of(row), style="dim")


def _title(snapshot: Snapshot, look: Look) -> Text:
    whole = snapshot["whole"]
    text = Text("wtp dashboard", style="bold")
    if look.paused_s is not None:
        text.append(f"  PAUSED for {seconds(look.paused_s)}", style="reverse yellow")
    text.append(f"  routers {_up(snapshot)}/{len(snapshot['routers'])}", style="not bold")
    if snapshot["brokers"]:
        text.append(f"  {_broker(snapshot)}", style="not bold")
    text.append(f"  sessions {cell(whole['sessions'], 0)}", style="not bold")
    text.append(f"  dropped {_dropped(snapshot)}", style="not bold")
    text.append(f"  {seconds(snapshot['elapsed_s'])}", style="not bold dim")
    return text


def _gone(snapshot: Snapshot) -> list[Text]:
    return [
        Text(
            f"GONE since {clock_time(one['since'])} ({seconds(one['since_s'])}):"
            f" {clean(one['url'])}, {clean(one['problem'])}",
            style="bold red",
        )
        for one in snapshot["routers"]
        if one["state"] == "gone"
    ]


def _one_line(text: Text) -> Text:
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def tiny(snapshot: Snapshot, look: Look) -> Text:
    """The smallest form, for terminals below `NARROW` columns: a figure a line."""
    whole = snapshot["whole"]
    row = snapshot["tracks"].get(chosen(snapshot, look)) or {}
    lines = [
        f"routers {_up(snapshot)}/{len(snapshot['routers'])}",
        f"{cell(whole['objects_s'], 1)} obj/s",
        bits(whole["bits_s"]),
        f"p99 {ms(latency_of(row).get('p99_ms'))}",
        f"dropped {_dropped(snapshot)}",
        "too narrow for more",
    ]
    return Text("\n".join(lines), no_wrap=True, overflow="ellipsis")


def once(snapshot: Snapshot, width: int) -> RenderableType:
    """One snapshot, printed.

    Args:
        snapshot: Of `wtp.dashboard.run`.
        width: Characters there are.
    """
    if width < NARROW:
        return tiny(snapshot, Look())
    look = Look(sort="rate")
    count = len(snapshot["tracks"]) + 1
    return Group(
        Text(line(snapshot)),
        tracks(snapshot, look, width, count, trend=False),
        hops(snapshot, chosen(snapshot, look)),
        panes(snapshot, width),
    )


def alone(snapshot: Snapshot, track: str, width: int) -> RenderableType:
    """One track with its waterfall and two minutes of its latencies and rate.

    Args:
        snapshot: Of `wtp.dashboard.run`.
        track: Its name.
        width: Characters there are.
    """
    past = (snapshot.get("track_history") or {}).get(track) or {}
    row = snapshot["tracks"].get(track) or {}
    key = trend_key(row)
    parts: list[RenderableType] = [hops(snapshot, track)]
    for series, title, style in (
        (key, f"{ends_of(row)}, {TRENDS[key]}, ms, most", "magenta"),
        ("receipt_p99_ms", "publish->receipt, p99 of each second, ms, most", "blue"),
        ("objects_s", "objects/s, most", "cyan"),
    ):
        values = past.get(series) or []
        if series == "receipt_p99_ms" and not row.get("latency"):
            continue
        most = max((value for value in values if value is not None), default=None)
        parts.append(Text(f"{title} {cell(most)}", style="dim"))
        parts.append(Text("\n".join(chart(values, min(width, 120), CHART_ROWS)), style=style))
    return Group(*parts)


def help_page() -> Text:
    """The keys."""
    lines = [f"{key:10}{what}" for key, what in KEYS]
    return Text("\n".join(["Keys", *lines, "", "Any key goes back."]), no_wrap=True)
