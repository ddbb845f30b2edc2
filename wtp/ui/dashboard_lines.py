"""Lines of history in block characters, and figures in cells."""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO
from math import isfinite

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from wtp.ui.common import UNKNOWN

BLOCKS = "▁▂▃▄▅▆▇█"
"""Eighths of a cell; the lowest stands for everything down to 0."""

GAP = " "
"""A second of which nothing is known."""

Values = Sequence[float | None]


def spark(values: Values, width: int, top: float | None = None) -> str:
    """A history as one line of text.

    Args:
        values: Oldest first; None where nothing is known.
        width: Characters; the newest values are shown, right-aligned.
        top: Value of a full cell; default: the largest shown.
    """
    if width <= 0:
        return ""
    shown = list(values[-width:])
    known = [value for value in shown if value is not None and isfinite(value)]
    high = top if top is not None else max(known, default=0.0)
    return "".join(_block(value, high) for value in shown).rjust(width)


def _block(value: float | None, high: float) -> str:
    if value is None or not isfinite(value):
        return GAP
    part = value / high if high > 0 else 0.0
    return BLOCKS[min(len(BLOCKS) - 1, max(0, int(part * len(BLOCKS))))]


def chart(values: Values, width: int, height: int) -> list[str]:
    """A history as several lines of text, the highest first.

    Args:
        values: Oldest first; None where nothing is known.
        width: Characters of a line.
        height: Lines.
    """
    shown = list(values[-width:]) if width > 0 else []
    high = max((value for value in shown if value is not None), default=0.0)
    lines = []
    for level in range(height - 1, -1, -1):
        cells = []
        for value in shown:
            if value is None:
                cells.append(GAP)
                continue
            eighths = round(value / high * height * 8) if high > 0 else 0
            inside = min(8, max(0, eighths - level * 8))
            cells.append(BLOCKS[inside - 1] if inside else BLOCKS[0] if level == 0 else " ")
        lines.append("".join(cells).rjust(width))
    return lines


def cell(value: float | None, digits: int = 2, *, missing: str = UNKNOWN) -> str:
    """A figure without its unit."""
    return missing if value is None else f"{value:.{digits}f}"


def brief_bits(per_second: float | None, *, missing: str = UNKNOWN) -> str:
    """A bit rate in a narrow cell: `2.61M`."""
    if per_second is None:
        return missing
    for letter, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if per_second >= 0.9995 * size:
            return f"{per_second / size:.3g}{letter}"
    return f"{per_second:.0f}"


def flat(what: RenderableType, width: int) -> Text:
    """Something drawn once, as text with styles: cheap to show again and to measure.

    Args:
        what: What is drawn.
        width: Characters of a line; longer lines are cut.
    """
    console = Console(file=StringIO(), width=max(1, width), color_system="truecolor")
    text = Text(no_wrap=True, overflow="crop", end="")
    for number, line in enumerate(console.render_lines(what, pad=False)):
        text.append("\n" if number else "")
        for segment in line:
            text.append(segment.text, segment.style)
    return text


def add_row(table: Table, *cells: str | Text, style: str = "") -> None:
    """Add a row whose strings are taken as they are: names from outside may look like markup."""
    table.add_row(*(Text(c) if isinstance(c, str) else c for c in cells), style=style or None)
