"""Where the time goes: a track's hops one below the other, each from where the last one ended.

Made of a snapshot alone: `hops` and `total` as `wtp.consumer.stats` tells them. What does not fit
the terminal is left out, the bars first; what is not known is called so.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from wtp.ui.common import UNKNOWN, clean, ms

Figures = Mapping[str, Any]

MOST_COLUMNS = 110
LEAST_BAR, LEAST_NAME = 8, 6
GAP = 2
EIGHTHS = " ▏▎▍▌▋▊▉"
"""Parts of a character cell, filled from the left (Unicode, Block Elements)."""

TO_RECEIVE, TO_SHOW = "capture->receive", "capture->show"

COLOURS = {
    "capture": "green", "encode": "green", "send": "yellow", "route": "magenta",
    "broker": "blue", "processor": "magenta", "process": "magenta", "publish": "blue",
    "receive": "cyan", "take": "cyan", "decode": "cyan",
}  # fmt: skip
"""Of a bar, by where its hop begins: publisher, network, router, broker, consumer."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line: a hop, or a whole way.

    Attributes:
        name: Its ends.
        figures: As of `wtp.metrics.Latency.snapshot`.
        start: Where its bar begins, as part of the whole; None without a bar.
        share: Its part of the whole; None when unknown.
        whole: Whether it is a way of several hops.
    """

    name: str
    figures: Figures
    start: float | None
    share: float | None
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its head, how a row fills it, and how gladly it is left out (0: never)."""

    head: str
    key: str
    width: int
    rank: int


COLUMNS = (
    Column("n", "n", 7, 4),
    Column("p50 ms", "p50_ms", 8, 0),
    Column("p90 ms", "p90_ms", 8, 3),
    Column("p99 ms", "p99_ms", 8, 2),
    Column("share", "share", 7, 1),
)


def rows(
    hops: Mapping[str, Figures],
    total: Figures | None,
    shown: Figures | None = None,
    beside: Mapping[str, Figures] | None = None,
) -> list[Row]:
    """Lines in the order of the way, then the whole, then what runs beside it.

    Args:
        hops: By name, in the order of the way, with `share`.
        total: From capture to receipt; None where that was not measured.
        shown: From capture to show, where pictures are shown.
        beside: Ways that are no part of the whole, such as `publish->receipt`.
    """
    out, reached, received = [], 0.0, 0.0
    for name, figures in hops.items():
        share = figures.get("share")
        out.append(Row(clean(name), figures, None if share is None else reached, share))
        reached += share or 0.0
        if name.endswith("->receive"):
            received = reached
    known = bool((total or shown or {}).get("n")) and received > 0
    if total is not None:
        out.append(Row(TO_RECEIVE, total, None, received if known else None, whole=True))
    if shown and (shown.get("n") or total is None):
        out.append(Row(TO_SHOW, shown, None, 1.0 if known else None, whole=True))
    for name, figures in (beside or {}).items():
        out.append(Row(clean(name), figures, None, None))
    return out


def lines(
    found: Sequence[Row], width: int, *, blocks: bool = True
) -> Iterator[tuple[Row | None, str, str]]:
    """The table as text, the head first.

    Args:
        found: From `rows`.
        width: Columns of the terminal.
        blocks: Whether bars may have block characters; else they are made of `#`.

    Yields:
        The row (None for the head), its name and figures, and its bar; together at most `width`
        characters.
    """
    columns, name_width, bar_width = _fit(found, max(1, width))
    head = "".join(_right(column.head, column.width) for column in columns)
    yield None, (_left("hop", name_width) + head)[:width], ""
    for row in found:
        cells = "".join(_right(_cell(row, column.key), column.width) for column in columns)
        bar = _bar(row, bar_width, blocks=blocks) if bar_width else ""
        text = (_left(row.name, name_width) + cells)[:width]
        yield row, text if bar else text.rstrip(), bar


def _fit(found: Sequence[Row], width: int) -> tuple[list[Column], int, int]:
    """Which columns there is room for, and what the name and the bar get."""
    name_width = max(len(row.name) for row in found)
    chosen: list[Column] = []
    left = width - name_width
    for column in sorted(COLUMNS, key=lambda one: one.rank):
        if column.width > left and column.rank:
            break
        chosen.append(column)
        left -= column.width
    chosen.sort(key=COLUMNS.index)
    if left < 0:
        name_width = max(LEAST_NAME, name_width + left)
    bar_width = left - GAP
    return chosen, name_width, bar_width if bar_width >= LEAST_BAR else 0


def _cell(row: Row, key: str) -> str:
    if key == "share":
        return "" if row.share is None else f"{row.share * 100:.0f} %"
    value = row.figures.get(key)
    if key == "n":
        return str(value or 0)
    return UNKNOWN if value is None else f"{value:.2f}"


def _left(text: str, width: int) -> str:
    return text.ljust(width) if len(text) <= width else text[: width - 1] + "~"


def _right(text: str, width: int) -> str:
    return text.rjust(width)


def _bar(row: Row, width: int, *, blocks: bool) -> str:
    """A bar of the row's share, behind those before it; empty when nothing is known."""
    if row.start is None or row.share is None:
        return ""
    first = min(width - 1, int(row.start * width))
    eighths = max(1, min(round(row.share * width * 8), (width - first) * 8))
    if not blocks:
        return " " * (GAP + first) + "#" * max(1, round(eighths / 8))
    return " " * (GAP + first) + "█" * (eighths // 8) + EIGHTHS[eighths % 8].strip()


class Waterfall:
    """The hops of a track, or of all tracks together, for a terminal of any width.

    Args:
        latency: Has `hops`, and `total` from capture to receipt or `capture_to_show`, or both.
        title: What it is of; empty for none.
        clock_error_ms: Bound on the error of the total; None when unknown.
        beside: Ways that are no part of the whole, such as the broker's `publish->receipt`.
    """

    def __init__(
        self,
        latency: Mapping[str, Any],
        *,
        title: str = "",
        clock_error_ms: float | None = None,
        beside: Mapping[str, Figures] | None = None,
    ) -> None:
        total, shown = latency.get("total"), latency.get("capture_to_show")
        self.rows = rows(latency["hops"], total, shown, beside)
        self.title = clean(title)
        n = (total or shown or {}).get("n") or 0
        way = TO_SHOW if total is None else TO_RECEIVE
        self.note = f"{way}: n {n}, clock error {ms(clock_error_ms)}"

    @classmethod
    def of_track(cls, name: str, track: Mapping[str, Any]) -> Waterfall:
        """That of one track of a consumer's snapshot."""
        latency = {"hops": track["hops"], "total": track["latency"]}
        return cls(latency, title=name or "(no key)", clock_error_ms=track["clock_error_ms"])

    def plain(self, width: int = 80, *, blocks: bool = True) -> str:
        """It as plain text."""
        found = (f"{text}{bar}" for _, text, bar in lines(self.rows, width, blocks=blocks))
        note = textwrap.wrap(self.note, max(1, width))
        return "\n".join(line for line in (self.title[:width], *found, *note) if line)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = min(options.max_width, MOST_COLUMNS)
        blocks = (options.encoding or "").lower().startswith("utf")
        if self.title:
            yield Text(self.title[:width], style="bold", no_wrap=True)
        for row, text, bar in lines(self.rows, width, blocks=blocks):
            line = Text(text, style="bold" if row is None or row.whole else "", no_wrap=True)
            if row is not None and bar:
                line.append(bar, style=COLOURS.get(row.name.partition("->")[0], ""))
            yield line
        yield Text(self.note, style="dim")
