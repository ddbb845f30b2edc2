"""What `wtp consume` shows: a line of figures, live tables, a summary."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from wtp.ui.common import UNKNOWN, bits, clean, counted, drops, ms, seconds, size
from wtp.ui.transfer import received, receiving, receiving_line
from wtp.ui.waterfall import TO_RECEIVE, TO_SHOW, Waterfall

Snapshot = dict[str, Any]

SHOWN_TRACKS = 12
SHOWN_WATERFALLS = 4
STALE_S = 3.0
"""When nothing came for so long, rates and latencies say nothing about now."""
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
        *_now(snapshot),
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


def _now(snapshot: Snapshot) -> Iterator[str]:
    """Rate and latency; how long nothing has come, when that is so: the last ones say nothing."""
    silent = silence(snapshot["latency"]["silent_s"])
    if silent:
        yield silent
        return
    yield f"{snapshot['fps']:.1f}/s"
    yield bits(snapshot["rate"])
    yield f"latency {_latency(snapshot)}"
    yield from _clock(snapshot.get("clock") or {})


def silence(silent_s: float | None) -> str:
    """`nothing for 12 s`; empty while something comes, or before anything did."""
    if silent_s is None or silent_s < STALE_S:
        return ""
    return f"nothing for {seconds(round(silent_s)).replace('.0 s', ' s')}"


def _clock(clock: Snapshot) -> Iterator[str]:
    """The clock that was measured; nothing about one that is shared or needed by nothing."""
    if clock.get("state") == "measured" and clock.get("offset_us") is not None:
        drift = clock.get("drift_ppm")
        yield (
            f"clock offset {ms(clock['offset_us'] / 1000)} ± {ms(clock['error_us'] / 1000)}"
            + ("" if drift is None else f", drift {drift:.1f} ppm")
        )


def _latency(snapshot: Snapshot) -> str:
    """The total with its ends, number and clock error; `unknown` when nothing was measured."""
    total = snapshot["latency"]["total"]
    if not total["n"]:
        return UNKNOWN
    return (
        f"capture->receive p50 {ms(total['p50_ms'])} p99 {ms(total['p99_ms'])}"
        f" (n {total['n']}, clock error {ms(snapshot['clock_error_ms'])})"
    )


def screen(snapshot: Snapshot, *, waterfall: bool = False) -> RenderableType:
    """The live view of a terminal: one line, the tracks, the hops; or the files that come.

    Args:
        snapshot: The role's.
        waterfall: Whether each track has its waterfall, instead of one table of hops for all.
    """
    if files := _files(snapshot):
        return receiving(files)
    parts = waterfalls(snapshot) if waterfall else [hops(snapshot)]
    return Group(Text(line(snapshot)), tracks(snapshot), *parts)


def waterfalls(snapshot: Snapshot) -> list[RenderableType]:
    """A waterfall for each of the busiest tracks whose latency is known; else one for all."""
    known = [item for item in busiest(snapshot) if item[1]["latency"]["n"]]
    found: list[RenderableType] = [
        Waterfall.of_track(name, track) for name, track in known[:SHOWN_WATERFALLS]
    ]
    if len(known) == 1 and snapshot["latency"]["capture_to_show"]["n"]:
        error_ms = snapshot["clock_error_ms"]
        return [Waterfall(snapshot["latency"], title=known[0][0], clock_error_ms=error_ms)]
    if len(known) > SHOWN_WATERFALLS:
        found.append(Text(f"and {len(known) - SHOWN_WATERFALLS} more"))
    return found or [hops(snapshot)]


def busiest(snapshot: Snapshot) -> list[tuple[str, Snapshot]]:
    """Tracks by name, those with most objects first."""
    return sorted(snapshot["tracks"].items(), key=lambda row: -row[1]["objects"])


def summary(snapshot: Snapshot, *, waterfall: bool = False) -> RenderableType:
    """What is said at the end; with a waterfall for each track where that is asked for."""
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
    if silent := silence(snapshot["latency"]["silent_s"]):
        parts.append(Text(f"At the end {silent}: the figures are of before."))
    if snapshot["tracks"]:
        parts.append(tracks(snapshot))
    parts += waterfalls(snapshot) if waterfall else [hops(snapshot)]
    return Group(*parts)


def _average(snapshot: Snapshot) -> str:
    """Live objects over the time in which they came; nothing when that says too little."""
    live, live_s = snapshot["objects"] - snapshot["past"], snapshot["live_s"]
    if not live or live_s < 1 or snapshot["duration_s"] < 1:
        return ""
    return f", {live / live_s:.1f}/s" + (" live" if snapshot["past"] else "")


def tracks(snapshot: Snapshot) -> Table:
    """A row per track, the busiest first; latency is from capture to receipt."""
    table = _table("track", "objects", "rate", "bits", "keys", "missing", "p50 ms", "p99 ms")
    rows = busiest(snapshot)
    for name, track in rows[:SHOWN_TRACKS]:
        latency = track["latency"]
        stale = silence(track["silent_s"])
        table.add_row(
            clean(name) or "(no key)",
            str(track["objects"]),
            "silent" if stale else f"{track['fps']:.1f}/s",
            f"{track['silent_s']:.0f} s" if stale else bits(track["rate"]),
            str(track["keys"]),
            str(track["gaps"]),
            number(latency["p50_ms"]),
            number(latency["p99_ms"]),
        )
    if len(rows) > SHOWN_TRACKS:
        table.add_row(f"and {len(rows) - SHOWN_TRACKS} more")
    table.caption = f"p50, p99: {TO_RECEIVE}, clock error {ms(snapshot['clock_error_ms'])}"
    return table


def hops(snapshot: Snapshot) -> RenderableType:
    """A row per hop and one for the whole way; `unknown` where a stamp is missing."""
    if not any(way["n"] for way in snapshot["latency"]["hops"].values()):
        return Text("latency unknown: no live object with stamps has come")
    table = _table("latency", "n", "p50 ms", "p90 ms", "p99 ms", "max ms", "share")
    latency = snapshot["latency"]
    ways = [*latency["hops"].items(), (TO_RECEIVE, latency["total"])]
    if latency["capture_to_show"]["n"]:
        ways.append((TO_SHOW, latency["capture_to_show"]))
    for name, way in ways:
        figures = [number(way[key]) for key in ("p50_ms", "p90_ms", "p99_ms", "max_ms")]
        share = way.get("share")
        part = "" if share is None else f"{share * 100:.0f} %"
        table.add_row(name, str(way["n"]), *figures, part)
    error_ms = snapshot["clock_error_ms"]
    table.caption = f"clock error {ms(error_ms)}"
    return _Fitting(table, Waterfall(latency, clock_error_ms=error_ms))


class _Fitting:
    """A table, or where it would lose its figures something narrower."""

    def __init__(self, table: Table, narrow: RenderableType) -> None:
        self._table, self._narrow = table, narrow

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        most = console.measure(self._table, options=options.update(max_width=1000)).maximum
        yield self._table if most <= options.max_width else self._narrow


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
