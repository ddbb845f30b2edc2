"""What `wtp record` shows: how long and how large the recording is, where it is, a summary."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from wtp.ui.common import clean, counted, drops, seconds, size
from wtp.ui.replay import BAR_COLUMNS, clock, share, tracks

Snapshot = dict[str, Any]

STATES = {
    "starting": "waiting for the room",
    "playing": "recording",
    "live": "recording live",
    "stopped": "stopped",
}
SHOWN_PARTS = 20


def announce(info: Snapshot) -> str:
    """The line that says what is recorded."""
    topics = ", ".join(topic.rpartition("/")[2] for topic in info["topics"])
    how = "live, until Ctrl-C" if info["live"] else "what is kept"
    return f"Recording {topics} of {info['room']} to {clean(info['file'])}: {how}."


def line(snapshot: Snapshot) -> str:
    """The figures in one line of plain text."""
    parts = [
        STATES.get(snapshot["state"], ""),
        f"{seconds(snapshot['recorded_us'] / 1e6)} recorded",
        size(snapshot["file_bytes"]),
    ]
    count = len(snapshot["parts"])
    if count > 1:
        parts.append(f"{count} files")
    if not snapshot["live"] and snapshot.get("position_us"):
        parts.append(f"at {clock(snapshot['position_us'])}")
        done = share(snapshot)
        if done is not None:
            parts.append(f"{done:.0%}")
    if not count and snapshot["state"] != "starting":
        parts.append(f"waiting for {'a key frame' if snapshot['objects'] else 'pictures or sound'}")
    return "  ".join([*parts, f"left out {drops(_left_out(snapshot))}"])


def screen(snapshot: Snapshot) -> RenderableType:
    """The live view of a terminal: one line, the bar of long work, the tracks."""
    shown: list[RenderableType] = [Text(line(snapshot), no_wrap=True, overflow="ellipsis")]
    done = None if snapshot["live"] or "position_us" not in snapshot else share(snapshot)
    if done is not None:
        bar = Table.grid(padding=(0, 1))
        bar.add_row(
            clock(snapshot["from_us"]),
            ProgressBar(total=1.0, completed=done, width=BAR_COLUMNS),
            clock(snapshot["to_us"]),
            f"{done:.0%}",
        )
        shown.append(bar)
    if snapshot.get("tracks"):
        shown.append(tracks(snapshot))
    return Group(*shown)


def summary(snapshot: Snapshot) -> RenderableType:
    """What is said at the end: files, lengths, what was left out."""
    recorded_s, took_s = snapshot["recorded_us"] / 1e6, snapshot.get("duration_s", 0.0)
    pace = ""
    if not snapshot["live"] and took_s > 0 and recorded_s > 0:
        pace = f" in {seconds(took_s)}, {recorded_s / took_s:.0f} times real time"
    head = Text(
        f"{seconds(recorded_s)} recorded{pace}: {counted(snapshot.get('delivered', 0), 'object')},"
        f" left out {drops(_left_out(snapshot))}."
    )
    parts: list[RenderableType] = [head]
    files = snapshot["parts"]
    if not files:
        parts.append(Text("Nothing came that could be recorded: no file was written."))
    parts += [Text(f"{clean(file['file'])}  {size(file['bytes'])}") for file in files[:SHOWN_PARTS]]
    if len(files) > SHOWN_PARTS:
        parts.append(Text(f"and {len(files) - SHOWN_PARTS} more files"))
    if snapshot.get("tracks"):
        parts.append(tracks(snapshot))
    return Group(*parts)


def _left_out(snapshot: Snapshot) -> dict[str, int]:
    """Objects that are in no file, by reason."""
    found = dict(snapshot.get("dropped", {}))
    for reason, count in snapshot["left_out"].items():
        found[reason] = found.get(reason, 0) + count
    return found
