"""Figures of a benchmark as a table."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

_PERCENTILES = ("p50_ms", "p90_ms", "p99_ms", "p999_ms", "max_ms")


def _cell(value: Any) -> str:
    if value is None:
        return "unknown"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _percentiles(rows: dict[str, dict[str, Any]]) -> Table:
    """One row a way: n and percentiles in ms."""
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("", "n", *(name.removesuffix("_ms") for name in _PERCENTILES)):
        shown.add_column(column, justify="left" if not column else "right")
    for name, row in rows.items():
        shown.add_row(name, str(row.get("n", 0)), *(_cell(row.get(key)) for key in _PERCENTILES))
    return shown


def _facts(values: dict[str, Any]) -> Table:
    shown = Table(box=None, pad_edge=False, show_header=False)
    shown.add_column()
    shown.add_column(overflow="fold")
    for name, value in values.items():
        if isinstance(value, dict):
            value = ", ".join(f"{k} {_cell(v)}" for k, v in value.items()) or "none"
        elif isinstance(value, list):
            value = ", ".join(_cell(v) for v in value)
        shown.add_row(name, _cell(value))
    return shown


CODEC_COLUMNS = {
    "codec": "codec",
    "encoder": "encoder",
    "encode_p50_ms": "encode p50 ms",
    "encode_p99_ms": "p99",
    "decode_p50_ms": "decode p50 ms",
    "decode_p99_ms": "p99",
    "median_bytes": "bytes p50",
    "psnr_db": "PSNR dB",
}


def _codecs(rows: list[dict[str, Any]]) -> Table:
    """One row a codec; what cannot be used says why."""
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for column in CODEC_COLUMNS.values():
        shown.add_column(column, justify="left" if column in ("codec", "encoder") else "right")
    for row in rows:
        if row["problem"]:
            shown.add_row(row["codec"], row["problem"])
        else:
            shown.add_row(*(_cell(row[key]) for key in CODEC_COLUMNS))
    return shown


def table(name: str, figures: dict[str, Any]) -> RenderableType:
    """A benchmark's result for people.

    Args:
        name: Which benchmark.
        figures: What it returned.
    """
    rows: dict[str, dict[str, Any]] = {}
    if any(key in figures for key in _PERCENTILES):
        way = f"{figures['from']} to {figures['to']}" if "from" in figures else name
        rows[way] = figures
    if "send_to_receive" in figures:
        rows["send to receipt"] = figures["send_to_receive"]
    if "baseline" in figures:
        rows["  pulsar-client alone"] = figures["baseline"]
    if figures.get("lip_sync_ms"):
        rows["lip sync error"] = figures["lip_sync_ms"]
    if figures.get("latency"):
        rows["capture to show"] = figures["latency"]
    if "sound" in figures:
        rows["microphone to sound card"] = figures["sound"]
    rows.update({f"  {hop}": row for hop, row in figures.get("hops", {}).items()})
    known = {*_PERCENTILES, "n", "from", "to", "send_to_receive", "baseline", "hops", "beside"}
    known |= {"sound", "codecs", "lip_sync_ms", "latency"}
    if "objects_per_s" in figures.get("baseline", {}):
        alone = figures["baseline"]["objects_per_s"]
        figures = {**figures, "objects_per_s alone": alone}
    facts = {key: value for key, value in figures.items() if key not in known}
    parts: list[RenderableType] = []
    if "codecs" in figures:
        parts += [_codecs(figures["codecs"]), Text("")]
    if rows:
        parts += [Text("latencies in ms", style="bold"), _percentiles(rows), Text("")]
    parts.append(_facts(facts))
    if "beside" in figures:
        parts += [Text(""), table(name, figures["beside"])]
    return Group(*parts)
