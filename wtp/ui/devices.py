"""Cameras, microphones, speakers, screens and encoders as tables with what to paste."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from wtp.ui.common import clean

Row = Mapping[str, Any]

FORMATS_SHOWN = 6
"""Formats of a camera that the table shows; `-o json` has all."""

EMPTY = {
    "cameras": "none (a container needs --device /dev/video0; --source testsrc needs none)",
    "microphones": "none",
    "speakers": "none",
    "screens": "none",
    "encoders": "none",
}


def device_page(devices: Mapping[str, Sequence[Row]], problems: Mapping[str, str]) -> Group:
    """Every kind under its title; a kind that cannot be listed says why.

    Args:
        devices: Rows by kind, as `wtp.media.devices` finds them.
        problems: Sentences by kind.
    """
    parts: list[RenderableType] = []
    for kind, rows in devices.items():
        if parts:
            parts.append(Text(""))
        parts.append(Text(kind, style="bold"))
        if kind in problems:
            parts.append(Text(f"  {clean(problems[kind])}"))
        elif not rows:
            parts.append(Text(f"  {EMPTY.get(kind, 'none')}"))
        elif kind == "encoders":
            parts += _encoders(rows)
        else:
            parts.append(_table(kind, rows))
    return Group(*parts)


def _encoders(rows: Sequence[Row]) -> list[RenderableType]:
    """Those that work as a table, the others with their reasons."""
    working = [row for row in rows if row["works"]]
    parts: list[RenderableType] = [_table("encoders", working)] if working else []
    absent = [row for row in rows if not row["works"]]
    if absent:
        parts.append(Text("  not usable here:"))
        parts += [Text(f"  {clean(row['id'])}: {clean(row['why'])}") for row in absent]
    return parts


def _table(kind: str, rows: Sequence[Row]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 2), show_header=False, show_edge=False)
    table.add_column(no_wrap=True, overflow="fold")
    table.add_column(overflow="fold")
    table.add_column(overflow="fold")
    for row in rows:
        option, about = _COLUMNS[kind](row)
        name = "" if row["name"] == row["id"] else clean(row["name"])
        table.add_row(Text(clean(option)), Text(name), Text(clean(about)))
    return table


def _camera(row: Row) -> tuple[str, str]:
    formats = row["formats"]
    shown = [
        f"{one['width']}x{one['height']} {one['pixels']} "
        + "/".join(f"{rate:g}" for rate in one["fps"])
        for one in formats[:FORMATS_SHOWN]
    ]
    if len(formats) > FORMATS_SHOWN:
        shown.append(f"and {len(formats) - FORMATS_SHOWN} more")
    return f"--camera {row['id']}", ", ".join([row["path"], *shown])


def _microphone(row: Row) -> tuple[str, str]:
    return f"--mic {shlex.quote(row['id'])}", _sound(row)


def _speaker(row: Row) -> tuple[str, str]:
    return shlex.quote(row["id"]), _sound(row)


def _sound(row: Row) -> str:
    channels = f"{row['channels']} channel" + ("s" if row["channels"] != 1 else "")
    rates = ", ".join(str(rate) for rate in row["rates_hz"]) or str(row["rate_hz"])
    return f"{channels}, {rates} Hz" + (", default" if row["default"] else "")


def _screen(row: Row) -> tuple[str, str]:
    return (
        f"--screen {row['id']}",
        f"{row['width']}x{row['height']} at {row['left']},{row['top']}",
    )


def _encoder(row: Row) -> tuple[str, str]:
    kind = "hardware" if row["hardware"] else "software"
    return f"--codec {row['codec']} --encoder {row['id']}", kind


_COLUMNS: Mapping[str, Callable[[Row], tuple[str, str]]] = {
    "cameras": _camera,
    "microphones": _microphone,
    "speakers": _speaker,
    "screens": _screen,
    "encoders": _encoder,
}
