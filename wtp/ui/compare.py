"""The table and the verdicts of a comparison of protocols."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

COLUMNS = ("p50", "p90", "p99", "max", "lost", "snd p99", "first", "MB/s", "CPU")
LEGEND = (
    "p50 to max: video, ms from due to be sent to whole at the receiver; lost: of it",
    "snd p99: sound, ms; first: new connection to first answer, ms",
    "MB/s, CPU: a file as fast as it goes; ms of all processes for each MB",
    "-: not known, or not measured",
)


def _number(value: float | None) -> str:
    """Three digits that matter."""
    if value is None:
        return "-"
    if value >= 10_000:
        return f"{value / 1000:.0f}k"
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:.{digits}f}"


def _whole(value: float | None) -> str:
    """Two digits that matter."""
    return _number(value) if value is None or value < 10 else f"{value:.0f}"


def _lost(row: Mapping[str, Any]) -> str:
    if not row.get("sent"):
        return "-"
    share = 100 * row["dropped"] / row["sent"]
    return f"{share:.{0 if share >= 10 else 1}f}%" if share else "0"


def _cpu(row: Mapping[str, Any]) -> float | None:
    parts = [row.get(f"{end}_cpu_ms_per_mb") for end in ("sender", "receiver", "between")]
    return None if None in parts else sum(part or 0.0 for part in parts)


def _rows(rows: Sequence[Mapping[str, Any]]) -> Table:
    shown = Table(box=None, pad_edge=False, header_style="bold")
    shown.add_column("", no_wrap=True)
    for column in COLUMNS:
        shown.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        shown.add_row(
            row["protocol"],
            *(_number(row.get(f"{name}_ms")) for name in ("p50", "p90", "p99", "max")),
            _lost(row),
            *(_number(row.get(key)) for key in ("audio_p99_ms", "handshake_ms", "mb_per_s")),
            _whole(_cpu(row)),
        )
    return shown


def _verdicts(verdicts: Sequence[Mapping[str, Any]], rules: Mapping[str, str]) -> Table:
    shown = Table(box=None, pad_edge=False, show_header=False)
    shown.add_column(overflow="fold", max_width=26)
    shown.add_column(overflow="fold")
    use = ""
    for one in verdicts:
        if one["use"] != use:
            use = one["use"]
            shown.add_row(Text(use, style="bold"), Text(f"by {rules[use]}", style="dim"))
        shown.add_row(f"  {one['link']}", one["sentence"])
    return shown


def table(figures: Mapping[str, Any]) -> RenderableType:
    """A comparison for people.

    Args:
        figures: What `wtp.bench.compare.run` returned.
    """
    rows = figures["protocols"]
    parts: list[RenderableType] = []
    for link in dict.fromkeys(row["link"] for row in rows):
        parts += [Text(link, style="bold"), _rows([row for row in rows if row["link"] == link])]
        parts.append(Text(""))
    parts += [*(Text(line, style="dim") for line in LEGEND), Text("")]
    parts += [Text("best for", style="bold"), _verdicts(figures["verdicts"], figures["rules"])]
    ratios = figures["p99_vs_websocket"]
    if ratios:
        text = "; ".join(f"{link}: {ratio:.2f}" for link, ratio in ratios.items())
        parts += [Text(""), Text(f"video p99, WebTransport streams / WebSocket: {text}")]
    parts += [Text(f"note: {note}", style="yellow") for note in figures.get("notes") or []]
    return Group(*parts)
