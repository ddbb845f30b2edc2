"""What `wtp watch` says."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from wtp.ui.common import clean, counted, drops, ms, seconds
from wtp.ui.waterfall import Waterfall

Snapshot = dict[str, Any]

KEYS = "keys: q quit, i names and delays, m mute, f full screen"
SHOWN_TRACKS = 16
STATES = {
    "starting": "starting",
    "watching": "watching",
    "broker-lost": "the broker is lost, waiting for it",
    "stopped": "stopped",
}


def announce(info: Snapshot) -> str:
    """The line that says what is watched, and with what."""
    what = " and ".join(info["kinds"]) or "nothing yet"
    places = [name for name in ("window", "sound") if info[name]]
    line = f"Watching room {clean(info['room'])} ({what}) at {info['broker']}: {', '.join(places)}."
    return f"{line}\n{KEYS}" if info["window"] else line


def line(snapshot: Snapshot) -> str:
    """The figures in one line: delay, its parts, lip sync, rate and drops."""
    people = snapshot["publishers"]
    parts = [STATES.get(snapshot["state"], str(snapshot["state"]))]
    parts.append(counted(len(people), "publisher"))
    parts += [f"{clean(one['name'])} delay {delay(one)}" for one in people[:3]]
    if snapshot["latency"] is not None:
        parts.append(f"{snapshot['fps']:.1f}/s")
    sync = snapshot["lip_sync_ms"]
    if sync:
        parts.append(f"lip sync p50 {ms(sync['p50_ms'])} p99 {ms(sync['p99_ms'])}")
    speaker = snapshot["speaker"]
    if speaker:
        parts.append(_speaker(speaker))
    parts.append(f"dropped {drops(snapshot['ledger']['dropped'])}")
    return "  ".join(parts)


def _speaker(speaker: Snapshot) -> str:
    state = "muted" if speaker["muted"] else speaker["state"]
    return f"speaker {state} {speaker['latency_ms']:.0f} ms, under-runs {speaker['underruns']}"


def delay(publisher: Snapshot) -> str:
    """From capture to show, and how much of it objects wait in the jitter buffer."""
    buffers = [track["buffer_ms"] for track in publisher["tracks"].values()]
    buffer = f"buffer {max(buffers, default=0.0):.0f} ms"
    if not publisher["clock_known"]:
        return f"unknown ({buffer})"
    return f"{publisher['delay_ms']:.0f} ms ({buffer})"


def screen(snapshot: Snapshot) -> RenderableType:
    """The live view of a terminal: one line and the tracks."""
    return Group(Text(line(snapshot)), tracks(snapshot))


def tracks(snapshot: Snapshot) -> Table:
    """A row per track."""
    table = Table(box=None, pad_edge=False)
    table.add_column("track", no_wrap=True)
    for name in ("codec", "size", "delay", "buffer", "objects", "dropped", ""):
        table.add_column(name, justify="right", no_wrap=True)
    rows = [(one, *row) for one in snapshot["publishers"] for row in one["tracks"].items()]
    for publisher, name, track in rows[:SHOWN_TRACKS]:
        ledger = track["ledger"] or {"offered": 0, "dropped": {}}
        seen = publisher["heard_ms"] if track.get("size") is None else publisher["seen_ms"]
        table.add_row(
            clean(name),
            clean(track["codec"]),
            "x".join(map(str, track.get("size") or [])) or "-",
            ms(seen if publisher["clock_known"] else None),
            ms(track["buffer_ms"]),
            str(ledger["offered"]),
            drops(ledger["dropped"]),
            "cannot be decoded here" if track["refused"] else "",
        )
    if len(rows) > SHOWN_TRACKS:
        table.add_row(f"and {len(rows) - SHOWN_TRACKS} more")
    return table


def summary(snapshot: Snapshot) -> RenderableType:
    """What is said at the end."""
    parts = [
        f"Watched {seconds(snapshot['duration_s'])}: {counted(snapshot['shown'], 'picture')} shown,"
        f" dropped {drops(snapshot['ledger']['dropped'])}."
    ]
    latency, sync, speaker = (snapshot[key] for key in ("latency", "lip_sync_ms", "speaker"))
    if latency and latency["n"]:
        parts.append(
            f"Capture to show p50 {ms(latency['p50_ms'])} p99 {ms(latency['p99_ms'])}"
            f" (n {latency['n']})."
        )
    if sync and sync["n"]:
        parts.append(
            f"Lip sync off by p50 {ms(sync['p50_ms'])} p99 {ms(sync['p99_ms'])} (n {sync['n']})."
        )
    if speaker:
        parts.append(f"Speaker {ms(speaker['latency_ms'])}, under-runs {speaker['underruns']}.")
    lines: list[RenderableType] = [Text(" ".join(parts))]
    left_out = snapshot["left_out"].items()
    lines += [Text(f"Not taken of {kind}: {drops(dropped)}.") for kind, dropped in left_out]
    if snapshot["publishers"]:
        lines.append(tracks(snapshot))
    if latency and latency["n"] and "hops" in latency:
        lines.append(waterfall(latency))
    return Group(*lines)


def waterfall(latency: Snapshot) -> Waterfall:
    """Where the time of pictures goes, from capture to show."""
    hops = {"hops": latency["hops"], "capture_to_show": latency}
    return Waterfall(hops, clock_error_ms=latency["clock_error_ms"])
