"""Where the time of one track goes: a bar per hop."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from wtp.ui.common import clean, ms
from wtp.ui.dashboard_lines import add_row, cell
from wtp.ui.dashboard_tracks import NONE

Snapshot = dict[str, Any]

BAR = "█"


def hops(snapshot: Snapshot, track: str, width: int) -> RenderableType:
    """The waterfall of a track: bars as long as the medians, one behind the other.

    Args:
        snapshot: Of `wtp.dashboard.run`.
        track: Its name; empty: none is chosen.
        width: Characters there are.
    """
    row = snapshot["tracks"].get(track)
    if row is None:
        return Text("no track is chosen", style="dim")
    given = {name: hop for name, hop in (row.get("hops") or {}).items() if hop.get("n")}
    if not given:
        text = (
            "its router does not answer: unknown"
            if row.get("state") == "lost"
            else "no hops: let a consumer of it show its figures (--metrics 127.0.0.1:0)"
        )
        return Text(f"{clean(track)}: {text}", style="dim", no_wrap=True, overflow="ellipsis")
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim", width=width)
    table.add_column(Text(f"hops of {clean(track)}"), no_wrap=True, overflow="ellipsis", ratio=1)
    figures = ("p50", "p99") if width < 70 else ("p50", "p90", "p99")
    for name in (*figures, "share"):
        table.add_column(
            f"{name} ms" if name != "share" else name, justify="right", no_wrap=True, width=8
        )
    room = max(0, width - 26 - 9 * (len(figures) + 1))
    if room >= 8:
        table.add_column("", no_wrap=True, width=room)
    total = sum(hop.get("p50_ms") or 0 for hop in given.values())
    before = 0.0
    for name, hop in given.items():
        median = hop.get("p50_ms") or 0.0
        share = hop.get("share") or (median / total if total else 0)
        cells = [clean(name), *(cell(hop.get(f"{p}_ms"), missing=NONE) for p in figures)]
        cells.append(f"{share * 100:.0f} %")
        if room >= 8:
            cells.append(_bar(before, median, total, room))
        add_row(table, *cells)
        before += median
    latency = row.get("latency") or {}
    error = latency.get("clock_error_ms")
    foot = f"{ms(latency.get('p50_ms'))} p50 in all, clock error {ms(error)}"
    return Group(table, Text(foot, style="dim", no_wrap=True, overflow="ellipsis"))


def _bar(before: float, length: float, total: float, width: int) -> str:
    """A bar from where the hops before it end."""
    if total <= 0:
        return ""
    start = min(width - 1, round(before / total * width))
    cells = max(1, round(length / total * width))
    return " " * start + BAR * min(cells, width - start)
