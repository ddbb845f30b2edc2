"""Figures of a benchmark as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from wtp.ui import compare

_PERCENTILES = ("p50_ms", "p90_ms", "p99_ms", "p999_ms", "max_ms")

_APART = frozenset(
    {"bench", "started", "configuration", "histogram", "timeline", "series", "runs", "spread"}
    | {"repeat", "objectives", "compared", "notes"}
)
"""Keys that are shown in a part of their own, or only in files."""

_POINT = {
    "label": "",
    "n": "n",
    "p50_ms": "p50 ms",
    "p90_ms": "p90 ms",
    "p99_ms": "p99 ms",
    "max_ms": "max ms",
    "objects_per_s": "objects/s",
    "mb_per_s": "MB/s",
    "dropped": "dropped",
    "router_busy_percent": "router %",
    "others_busy_percent": "others %",
}
"""Columns of the points of a range, where any point has them."""

LONG = 50
"""A setting longer than this puts each on a line of its own."""

_SPREAD = ("figure", "least", "median", "largest")
_CHANGES = ("figure", "before", "now", "change", "noise", "")


def _cell(value: Any) -> str:
    if value is None:
        return "unknown"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def configuration(name: str, config: Mapping[str, Any]) -> str:
    """What a run is made of, in a few plain lines; printed before it starts."""
    words = {key: _plain(value) for key, value in config.items() if key != "machine"}
    lines = [f"wtp bench {name}"]
    if any(len(text) > LONG for text in words.values()):
        lines += [f"  {key}: {text}" for key, text in words.items()]
    elif words:
        lines[0] += ": " + ", ".join(f"{key} {text}" for key, text in words.items())
    if config.get("machine"):
        lines.append(f"on {config['machine']}")
    return "\n".join(lines)


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
        shown.add_row(name, _words(value))
    return shown


def _words(value: Any) -> str:
    """A nested value in one line."""
    if isinstance(value, dict):
        inner = {key: one for key, one in value.items() if key not in _APART and one != {}}
        parts = [
            f"{key} ({_words(one)})" if isinstance(one, dict) else f"{key} {_words(one)}"
            for key, one in inner.items()
        ]
        return ", ".join(parts) or "none"
    if isinstance(value, list):
        return ", ".join(_words(one) for one in value) or "none"
    return _cell(value)


def _points(series: Sequence[Mapping[str, Any]]) -> Table:
    """One row a point of a range."""
    held = [key for key in _POINT if any(key in point for point in series)]
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for key in held:
        left = key == "label"
        shown.add_column(_POINT[key], justify="left" if left else "right", no_wrap=left)
    for point in series:
        shown.add_row(*(_cell(point.get(key)) for key in held))
    return shown


def _rows(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(head):
        last = not column
        shown.add_column(
            column, justify="right" if number and not last else "left", overflow="fold"
        )
    for row in rows:
        shown.add_row(*row, style=_STYLES.get(row[-1], ""))
    return shown


_STYLES = {"better": "green", "worse": "red"}


def whole(
    name: str,
    figures: dict[str, Any],
    *,
    spread: Sequence[tuple[str, ...]] = (),
    changes: Sequence[tuple[str, ...]] = (),
) -> RenderableType:
    """A benchmark's result with all that was made of it.

    Args:
        name: Which benchmark.
        figures: What it returned.
        spread: Of repeated runs: figure, least, median, largest, as text.
        changes: Against a baseline: figure, before, now, change, noise band, verdict, as text.
    """
    parts: list[RenderableType] = [table(name, figures)]
    compared = figures.get("compared") or {}
    if spread:
        title = f"{figures.get('repeat')} runs; figures above are medians"
        parts += [Text(""), Text(title, style="bold"), _rows(_SPREAD, _chief(spread))]
    if compared:
        said = f"against {compared.get('started') or 'the baseline'}: {compared['band']}"
        parts += [Text(""), Text(said, style="bold")]
        parts += [Text(f"  {one}", style="yellow") for one in compared["differences"]]
        parts += [_rows(_CHANGES, _chief(changes, kept=("better", "worse")))]
    if figures.get("objectives"):
        parts += [Text(""), Text("objectives", style="bold")]
    for one in figures.get("objectives") or []:
        word, style = ("held  ", "green") if one["held"] else ("missed", "red")
        parts.append(Text.assemble((word, style), f"  {one['sentence']}"))
    return Group(*parts)


def _chief(rows: Sequence[tuple[str, ...]], kept: Sequence[str] = ()) -> list[tuple[str, ...]]:
    """The rows that fit a terminal: figures of the whole, p50 and p99 of parts, and those kept."""
    return [
        row
        for row in rows
        if "." not in row[0] or row[0].endswith((".p50_ms", ".p99_ms")) or row[-1] in kept
    ]


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


def _ways(name: str, figures: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Every latency of a result by what it is of."""
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
    return rows


def table(name: str, figures: dict[str, Any]) -> RenderableType:
    """A benchmark's result for people.

    Args:
        name: Which benchmark.
        figures: What it returned.
    """
    if name == "compare":
        return compare.table(figures)
    rows = _ways(name, figures)
    known = {*_PERCENTILES, "n", "from", "to", "send_to_receive", "baseline", "hops", "beside"}
    known |= {"sound", "codecs", "lip_sync_ms", "latency"} | _APART
    if "objects_per_s" in figures.get("baseline", {}):
        alone = figures["baseline"]["objects_per_s"]
        figures = {**figures, "objects_per_s alone": alone}
    facts = {key: value for key, value in figures.items() if key not in known}
    parts: list[RenderableType] = []
    if "codecs" in figures:
        parts += [_codecs(figures["codecs"]), Text("")]
    if rows:
        parts += [Text("latencies in ms", style="bold"), _percentiles(rows), Text("")]
    if figures.get("series"):
        parts += [_points(figures["series"]), Text("")]
    parts.append(_facts(facts))
    if figures.get("notes"):
        parts.append(Text(""))
    parts += [Text(f"note: {note}", style="yellow") for note in figures.get("notes") or []]
    if "beside" in figures:
        parts += [Text(""), table(name, figures["beside"])]
    return Group(*parts)
