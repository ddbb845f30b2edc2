"""What `wtp consume` shows: a line of figures, live tables, a summary."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from wtp.ui.common import UNKNOWN, bits, clean, counted, drops, ms, size
from wtp.ui.transfer import received, receiving, receiving_line

Snapshot = dict[str, Any]

SHOWN_TRACKS = 12
STATES = {
    "starting": "starting",
    "waiting": "waiting for the topic",
    "reading": "reading",
    "broker-lost": "the broker is lost, waiting for it",
    "stopped": "stopped",
}


def announce(info: Snapshot) -> str:
    """The line that says what is being read."""
    topics = ", ".join(info["topics"])
    return f"Reading {topics} from {info['broker']} ({info['start']})."


def line(snapshot: Snapshot) -> str:
    """The figures in one line of plain text."""
    if files := _files(snapshot):
        return receiving_line(files)
    parts = [
        STATES.get(snapshot["state"]) or str(snapshot["state"]),
        counted(snapshot["objects"], "object"),
        f"{snapshot['fps']:.1f}/s",
        bits(snapshot["rate"]),
        f"latency {_latency(snapshot)}",
        f"gaps {known(snapshot['gaps'])}",
        f"dropped {drops(snapshot['dropped'])}",
    ]
    return "  ".join([*parts, *_sound(snapshot)])


def _files(snapshot: Snapshot) -> Snapshot | None:
    """How far files are, when they are put together here (`wtp.consumer.files`)."""
    output = snapshot.get("output") or {}
    return output if "folder" in output else None


def _sound(snapshot: Snapshot) -> Iterator[str]:
    """What is heard, when sound is played (`wtp.consumer.sound`)."""
    output = snapshot.get("output") or {}
    if "delay_ms" not in output:
        return
    if output.get("state") == "waiting":
        yield "waiting for sound"
        return
    yield f"heard after {ms(output['delay_ms'])}"
    for name in ("underruns", "starved"):
        if output.get(name):
            yield f"{name} {output[name]}"


def _latency(snapshot: Snapshot) -> str:
    """The total with its ends, number and clock error; `unknown` when nothing was measured."""
    total = snapshot["latency"]["total"]
    if not total["n"]:
        return UNKNOWN
    return (
        f"capture->receive p50 {ms(total['p50_ms'])} p99 {ms(total['p99_ms'])}"
        f" (n {total['n']}, clock error {ms(snapshot['clock_error_ms'])})"
    )


def screen(snapshot: Snapshot) -> RenderableType:
    """The live view of a terminal: one line, the tracks, the hops; or the files that come."""
    if files := _files(snapshot):
        return receiving(files)
    return Group(Text(line(snapshot)), tracks(snapshot), hops(snapshot))


def summary(snapshot: Snapshot) -> RenderableType:
    """What is said at the end."""
    if files := _files(snapshot):
        return Text(received(files))
    head = Text(
        f"{counted(snapshot['objects'], 'object')}, {size(snapshot['bytes'])}"
        f" in {snapshot['duration_s']:.1f} s{_average(snapshot)}:"
        f" {snapshot['delivered']} delivered, dropped {drops(snapshot['dropped'])}."
        f" Missing {known(snapshot['gaps'])}, late {snapshot['late']},"
        f" repeated {snapshot['duplicates']}."
    )
    notes = []
    if snapshot["past"]:
        notes.append(f"{snapshot['past']} from before joining (no latency)")
    if snapshot["not_wtp"]:
        notes.append(f"{snapshot['not_wtp']} not of wtp (latency unknown)")
    if snapshot["damaged"]:
        notes.append(f"{snapshot['damaged']} with damaged properties")
    parts: list[RenderableType] = [head]
    if notes:
        parts.append(Text(f"Of these: {', '.join(notes)}."))
    if snapshot["filtered"]:
        parts.append(Text(f"{snapshot['filtered']} others were not asked for."))
    if snapshot["tracks"]:
        parts.append(tracks(snapshot))
    parts.append(hops(snapshot))
    return Group(*parts)


def _average(snapshot: Snapshot) -> str:
    """Live objects over the time in which they came; nothing when that says too little."""
    live, live_s = snapshot["objects"] - snapshot["past"], snapshot["live_s"]
    if not live or live_s < 1 or snapshot["duration_s"] < 1:
        return ""
    return f", {live / live_s:.1f}/s" + (" live" if snapshot["past"] else "")


def tracks(snapshot: Snapshot) -> Table:
    """A row per track, the busiest first."""
    table = _table("track", "objects", "rate", "bits", "keys", "missing", "p50 ms", "p99 ms")
    rows = sorted(snapshot["tracks"].items(), key=lambda row: -row[1]["objects"])
    for name, track in rows[:SHOWN_TRACKS]:
        latency = track["latency"]
        table.add_row(
            clean(name) or "(no key)",
            str(track["objects"]),
            f"{track['fps']:.1f}/s",
            bits(track["rate"]),
            str(track["keys"]),
            str(track["gaps"]),
            number(latency["p50_ms"]),
            number(latency["p99_ms"]),
        )
    if len(rows) > SHOWN_TRACKS:
        table.add_row(f"and {len(rows) - SHOWN_TRACKS} more")
    return table


def hops(snapshot: Snapshot) -> RenderableType:
    """A row per hop and one for the whole way; `unknown` where a stamp is missing."""
    if not any(way["n"] for way in snapshot["latency"]["hops"].values()):
        return Text("latency unknown: no live object with stamps has come")
    table = _table("latency", "n", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "max ms")
    latency = snapshot["latency"]
    ways = [*latency["hops"].items(), ("capture->receive", latency["total"])]
    for name, way in ways:
        figures = [way[key] for key in ("p50_ms", "p90_ms", "p99_ms", "p999_ms", "max_ms")]
        table.add_row(name, str(way["n"]), *(number(figure) for figure in figures))
    table.caption = f"clock error {ms(snapshot['clock_error_ms'])}"
    return table


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, pad_edge=False, caption_justify="left")
    table.add_column(first, no_wrap=True)
    for other in others:
        table.add_column(other, justify="right", no_wrap=True)
    return table


def number(value: float | None) -> str:
    """A figure in ms without its unit, or `unknown`."""
    return UNKNOWN if value is None else f"{value:.2f}"


def known(value: int | None) -> str:
    """A count, or `unknown`."""
    return UNKNOWN if value is None else str(value)
