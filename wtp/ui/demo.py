"""What `wtp demo` shows: a dashboard of 80x24, plain lines, a summary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from wtp.ui.common import UNKNOWN, bits, clean, drops, identity, number, seconds

Snapshot = dict[str, Any]

SHOWN_EVENTS = 2
STATES = {"running": "green", "starting": "yellow", "restarting": "red", "failed": "bold red"}


def announce(info: Snapshot) -> str:
    """What to paste into another terminal, once everything runs."""
    return "Everything runs. In another terminal:\n" + paste(info.get("connect") or {})


def paste(connect: Mapping[str, str]) -> str:
    """The environment with which commands elsewhere reach the demo, on two lines."""
    pairs = [f"{name}={clean(value)}" for name, value in connect.items()]
    return "\n".join("export " + " ".join(pairs[at : at + 2]) for at in range(0, len(pairs), 2))


def line(snapshot: Snapshot) -> str:
    """The demo in one plain line."""
    video = snapshot.get("video") or {}
    states = [
        f"{name} {process['state']}"
        for name, process in (snapshot.get("processes") or {}).items()
        if process["state"] not in ("running", "stopped")
    ]
    parts = [
        _age(snapshot),
        f"{number(video, 'fps'):.1f} fps",
        bits(video.get("bitrate_bps")),
        f"latency {latency(snapshot)}",
        f"dropped {dropped_total(snapshot)}",
        *states,
    ]
    return ", ".join(parts)


def latency(snapshot: Snapshot) -> str:
    """Capture to receipt with n, percentiles and the clock error."""
    figures = snapshot.get("latency") or {}
    if not figures.get("n"):
        return UNKNOWN
    error = figures.get("clock_error_ms")
    return (
        f"p50 {figures['p50_ms']:.2f} p90 {figures['p90_ms']:.2f} p99 {figures['p99_ms']:.2f} "
        f"max {figures['max_ms']:.2f} ms, n {figures['n']}, clock error "
        + (UNKNOWN if error is None else f"{error:.2f} ms")
    )


def dropped_total(snapshot: Snapshot) -> str:
    """Drops between publisher and consumer, by hop and reason.

    What the processor left out, be it for want of a key frame when it joined, stands in its ledger.
    """
    parts = [
        f"{hop}: {drops(ledger.get('dropped'))}"
        for hop, ledger in (snapshot.get("ledgers") or {}).items()
        if hop != "processor" and any((ledger.get("dropped") or {}).values())
    ]
    return "; ".join(parts) or "0"


def screen(snapshot: Snapshot) -> RenderableType:
    """The dashboard; everything fits into 80 columns and 23 rows."""
    return Group(
        _title(snapshot),
        _picture(snapshot),
        _latencies(snapshot),
        _processes(snapshot.get("processes") or {}),
        *_ledgers(snapshot),
        *_events(snapshot),
        Text(paste(snapshot.get("connect") or {}), style="dim", no_wrap=True, overflow="fold"),
    )


def _title(snapshot: Snapshot) -> Text:
    text = Text("wtp demo", style="bold")
    length = snapshot.get("duration_s")
    text.append(f"  {_age(snapshot)}" + (f" of {seconds(length)}" if length else ""))
    text.append("  Ctrl-C ends it", style="dim")
    return text


def _age(snapshot: Snapshot) -> str:
    """How long everything has been running, which is what `--duration` counts."""
    running_s = snapshot.get("running_s")
    return "starting" if running_s is None else seconds(running_s)


def _picture(snapshot: Snapshot) -> Text:
    video = snapshot.get("video") or {}
    parts = [
        clean(video.get("content_type") or "no picture yet"),
        clean(video.get("size") or ""),
        f"{number(video, 'fps'):.1f} fps",
        bits(video.get("bitrate_bps")),
    ]
    trip = video.get("round_trip_ms")
    if trip is not None:
        parts.append(f"round trip {trip:.2f} ms")
    return Text("picture  " + "  ".join(part for part in parts if part), no_wrap=True)


def _latencies(snapshot: Snapshot) -> Table:
    """Capture to receipt, and hop by hop."""
    total = snapshot.get("latency") or {}
    error = total.get("clock_error_ms")
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, header_style="dim")
    table.add_column(f"clock error {UNKNOWN if error is None else f'{error:.2f} ms'}", min_width=20)
    for title in ("p50 ms", "p90 ms", "p99 ms", "max ms", "n"):
        table.add_column(title, justify="right", min_width=8)
    table.add_row("capture->receipt", *_cells(total), style="bold")
    for name, figures in (snapshot.get("hops") or {}).items():
        table.add_row("  " + clean(name), *_cells(figures))
    return table


def _cells(figures: Mapping[str, Any]) -> list[str]:
    keys = ("p50_ms", "p90_ms", "p99_ms", "max_ms")
    return [*(_figure(figures.get(key)) for key in keys), str(figures.get("n", 0))]


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _processes(processes: Mapping[str, Any]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, header_style="dim")
    for title in ("process", "state", "pid", "restarts", "last recovery"):
        table.add_column(title, no_wrap=True)
    for name, process in processes.items():
        recovery = process.get("recovery_s")
        table.add_row(
            name,
            Text(process["state"], style=STATES.get(process["state"], "")),
            str(process["pid"] or "-"),
            str(process["restarts"]),
            "-" if recovery is None else f"{recovery:.1f} s",
        )
    return table


def _ledgers(snapshot: Snapshot) -> list[Text]:
    lines = []
    for hop, ledger in (snapshot.get("ledgers") or {}).items():
        text = f"{hop:9} {identity(ledger)}"
        if hop == "processor":
            text = text.replace(" delivered", " processed")
        if any((ledger.get("dropped") or {}).values()):
            text += f": {drops(ledger['dropped'])}"
        if ledger.get("missing"):
            text += f", {ledger['missing']} missing"
        style = "" if ledger.get("balanced", True) else "red"
        lines.append(Text(text, style=style, no_wrap=True, overflow="ellipsis"))
    return lines


def _events(snapshot: Snapshot) -> list[Text]:
    events = (snapshot.get("events") or [])[-SHOWN_EVENTS:]
    return [
        Text(
            _event(snapshot, event),
            style="yellow",
            no_wrap=True,
            overflow="ellipsis",
        )
        for event in events
    ]


def _event(snapshot: Snapshot, event: Mapping[str, Any]) -> str:
    """What happened, and when: in the time that the title shows."""
    started_s = snapshot.get("started_s")
    if started_s is None or event["at_s"] < started_s:
        return f"{'starting':8}  {clean(event['text'])}"
    return f"{event['at_s'] - started_s:6.1f} s  {clean(event['text'])}"


def summary(snapshot: Snapshot) -> RenderableType:
    """The demo at its end."""
    parts: list[RenderableType] = [Text(_length(snapshot), style="bold")]
    first = snapshot.get("first_latency_s")
    if first is not None:
        parts.append(Text(f"first latency figure {first:.1f} s after the start"))
    parts.append(_latencies(snapshot))
    parts.extend(_ledgers(snapshot))
    events = snapshot.get("events") or []
    parts.extend(Text(_event(snapshot, event)) for event in events)
    if snapshot.get("kept"):
        folder = clean(snapshot.get("folder", ""))
        parts.append(Text(f"Kept: {folder}; read it again with wtp broker --data {folder}/broker"))
    else:
        parts.append(Text("Every process has ended, and the folder with the messages is gone."))
    return Group(*parts)


def _length(snapshot: Snapshot) -> str:
    """How long everything ran, and how long it took until then."""
    running_s = snapshot.get("running_s")
    if running_s is None:
        elapsed = seconds(number(snapshot, "elapsed_s"))
        return f"The demo ended after {elapsed}, before everything ran."
    started = seconds(number(snapshot, "started_s"))
    return f"The demo ran {seconds(running_s)}, after {started} of starting."
