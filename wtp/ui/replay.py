"""What `wtp replay` shows: where it is on the time line, live tables, a summary."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from wtp.ui.common import bits, clean, counted, drops, seconds, size

Snapshot = dict[str, Any]

SHOWN_TRACKS = 12
BAR_COLUMNS = 40
LONG_S = 2.0
"""A longer silence on the time line is announced."""

KEYS = "space pause   ← → 10 s   + - speed   q quit"
STATES = {
    "starting": "looking at the topics",
    "playing": "playing",
    "live": "live",
    "stopped": "stopped",
}


def announce(info: Snapshot) -> str:
    """The line that says what is played."""
    topics = ", ".join(info["topics"])
    if info["from_us"] is None:
        return f"Replaying {topics} from {info['broker']}: empty so far."
    kept = f"{clock(info['from_us'])} to {clock(info['to_us'])}"
    return f"Replaying {topics} from {info['broker']}; kept: {kept}."


def clock(at_us: int | None) -> str:
    """A time for people: local, without the day when that is today."""
    if at_us is None:
        return "unknown"
    try:
        when = datetime.fromtimestamp(at_us / 1e6, UTC).astimezone()
    except (ValueError, OverflowError, OSError):
        return f"{at_us} us"
    today = when.date() == datetime.now(UTC).astimezone().date()
    return when.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M:%S")


def speed(snapshot: Snapshot) -> str:
    """The speed asked for, and the one reached when it has no limit."""
    if snapshot["state"] == "live":
        return "as it comes"
    if snapshot["speed"]:
        return f"{snapshot['speed']:g}x"
    reached = factor(snapshot)
    return "max" if reached is None else f"max ({reached:.0f}x)"


def factor(snapshot: Snapshot) -> float | None:
    """How many times real time was played, over the whole run; None when that says nothing."""
    duration_s = snapshot["duration_s"]
    if duration_s <= 0 or not snapshot["played_us"]:
        return None
    times: float = snapshot["played_us"] / 1e6 / duration_s
    return times


def line(snapshot: Snapshot) -> str:
    """The figures in one line of plain text."""
    state = "paused" if snapshot["paused"] else STATES.get(snapshot["state"], "")
    parts = [
        state,
        f"at {clock(snapshot['position_us'])}",
        speed(snapshot),
        counted(snapshot["objects"], "object"),
        f"{snapshot['fps']:.1f}/s",
        bits(snapshot["rate"]),
        f"dropped {drops(snapshot['dropped'])}",
    ]
    if snapshot["next_s"] and snapshot["next_s"] > LONG_S:
        parts.append(f"nothing for {seconds(snapshot['next_s'])}")
    return "  ".join(parts)


def screen(snapshot: Snapshot, *, keys: bool = False) -> RenderableType:
    """The live view of a terminal: one line, the bar, the tracks, the keys."""
    parts: list[RenderableType] = [Text(line(snapshot), no_wrap=True, overflow="ellipsis")]
    done = share(snapshot)
    if done is not None:
        bar = Table.grid(padding=(0, 1))
        bar.add_row(
            clock(snapshot["from_us"]),
            ProgressBar(total=1.0, completed=done, width=BAR_COLUMNS),
            clock(snapshot["to_us"]),
            f"{done:.0%}",
        )
        parts.append(bar)
    if snapshot["tracks"]:
        parts.append(tracks(snapshot))
    if keys:
        parts.append(Text(KEYS, style="dim", no_wrap=True, overflow="ellipsis"))
    return Group(*parts)


def share(snapshot: Snapshot) -> float | None:
    """Which part of the time line lies behind, 0 to 1; None when its ends are unknown."""
    begin, end, here = (snapshot[name] for name in ("from_us", "to_us", "position_us"))
    if begin is None or end is None or here is None:
        return None
    behind: float = (here - begin) / max(1, end - begin)
    return min(1.0, max(0.0, behind))


def summary(snapshot: Snapshot) -> RenderableType:
    """What is said at the end."""
    reached = factor(snapshot)
    pace = f", {reached:.1f} times real time" if reached is not None else ""
    head = Text(
        f"{counted(snapshot['objects'], 'object')}, {size(snapshot['bytes'])},"
        f" {seconds(snapshot['played_us'] / 1e6)} of the past"
        f" in {seconds(snapshot['duration_s'])}{pace}:"
        f" {snapshot['delivered']} delivered, dropped {drops(snapshot['dropped'])}."
        f" Missing {snapshot['gaps']}, repeated {snapshot['duplicates']}."
    )
    placed = snapshot["placed_by"]
    notes = [
        f"{placed[by]} without capture stamp, placed by {by} time"
        for by in ("event", "publish")
        if placed.get(by)
    ]
    if snapshot["late"]:
        notes.append(f"{snapshot['late']} behind their turn")
    if snapshot["live_objects"]:
        notes.append(f"{snapshot['live_objects']} live")
    parts: list[RenderableType] = [head]
    if notes:
        parts.append(Text(f"Of these: {', '.join(notes)}."))
    if snapshot["skipped"]:
        parts.append(Text(f"{snapshot['skipped']} others were not asked for."))
    if snapshot["tracks"]:
        parts.append(tracks(snapshot))
    return Group(*parts)


def tracks(snapshot: Snapshot) -> Table:
    """A row per track, the busiest first."""
    table = Table(box=None, pad_edge=False)
    table.add_column("track", no_wrap=True)
    for column in ("kind", "objects", "size", "missing", "repeated"):
        table.add_column(column, justify="right", no_wrap=True)
    rows = sorted(snapshot["tracks"].items(), key=lambda row: -row[1]["objects"])
    for name, track in rows[:SHOWN_TRACKS]:
        table.add_row(
            clean(name) or "(no key)",
            clean(track["kind"] or "unknown"),
            str(track["objects"]),
            size(track["bytes"]),
            str(track["gaps"]),
            str(track["duplicates"]),
        )
    if len(rows) > SHOWN_TRACKS:
        table.add_row(f"and {len(rows) - SHOWN_TRACKS} more")
    return table
