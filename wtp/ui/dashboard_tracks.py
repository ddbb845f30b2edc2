"""The table of tracks: sorted, filtered, with as many columns and rows as there is room for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

from wtp.ui.common import UNKNOWN, clean
from wtp.ui.dashboard_lines import add_row, brief_bits, cell, spark

Snapshot = dict[str, Any]
Row = dict[str, Any]

NONE = "-"
"""In a cell: nobody measures this."""

MIN_NAME = 10
TREND_WIDTH = 20


@dataclass(frozen=True, slots=True)
class Look:
    """How somebody looks at a snapshot.

    Attributes:
        chosen: Name of the track that is chosen; the first one when it is not there.
        sort: Key of the column by which tracks are sorted.
        reverse: The other way round.
        needle: Only tracks whose name has this in it.
        paused_s: For how long the figures have been held; None: they are live.
    """

    chosen: str = ""
    sort: str = "track"
    reverse: bool = False
    needle: str = ""
    paused_s: float | None = None


@dataclass(frozen=True, slots=True)
class Column:
    """A column of figures.

    Attributes:
        key: What it is called by.
        title: Its head.
        width: In characters.
        value: The figure that is sorted by.
        text: What stands in the cell, out of the figure.
    """

    key: str
    title: str
    width: int
    value: Callable[[Row], float | None]
    text: Callable[[float | None, str], str]


def latency_of(row: Row) -> Row:
    """The latency of a track: the consumer's, else from the router to the broker's receipt."""
    return row.get("latency") or row.get("receipt") or {}


def ends_of(row: Row) -> str:
    """What that latency is of: its two ends and whose it is."""
    if row.get("latency"):
        return "capture->receive"
    return "publish->receipt" if row.get("receipt") else UNKNOWN


TRENDS = {"p99_ms": "p99 of each second", "last_ms": "newest object"}
"""Series that a track's line of history may show."""


def trend_key(row: Row) -> str:
    """Which of them: the newest object's latency where percentiles are since the start."""
    return "last_ms" if latency_of(row).get("over") == "start" else "p99_ms"


def _cell(digits: int) -> Callable[[float | None, str], str]:
    return lambda value, missing: cell(value, digits, missing=missing)


def _dropped(row: Row) -> float | None:
    return None if row.get("state") == "lost" else float(sum((row.get("dropped") or {}).values()))


COLUMNS = (
    Column("rate", "obj/s", 7, lambda row: row.get("objects_s"), _cell(1)),
    Column("p99", "p99 ms", 7, lambda row: latency_of(row).get("p99_ms"), _cell(2)),
    Column("p50", "p50 ms", 7, lambda row: latency_of(row).get("p50_ms"), _cell(2)),
    Column("dropped", "drops", 7, _dropped, _cell(0)),
    Column("bits", "bit/s", 7, lambda row: row.get("bits_s"),
           lambda value, missing: brief_bits(value, missing=missing)),
    Column("queue", "queue", 7, lambda row: row.get("queued"), _cell(0)),
)  # fmt: skip
"""In the order in which they are added while there is room."""

SORTS = ("track", *(column.key for column in COLUMNS))
"""Columns that can be sorted by, in the order of the key `s`."""

PLACES = ("rate", "bits", "p50", "p99", "queue", "dropped")
"""The order in which columns stand."""


def ordered(snapshot: Snapshot, look: Look) -> list[tuple[str, Row]]:
    """The tracks that are wanted, in their order: the largest figures first, names from A on."""
    needle = look.needle.lower()
    rows = [(n, r) for n, r in sorted(snapshot["tracks"].items()) if needle in n.lower()]
    column = next((column for column in COLUMNS if column.key == look.sort), None)
    if column is None:
        return rows[::-1] if look.reverse else rows
    known = [row for row in rows if column.value(row[1]) is not None]
    unknown = [row for row in rows if column.value(row[1]) is None]
    known.sort(key=lambda row: column.value(row[1]) or 0, reverse=not look.reverse)
    return known + unknown


def chosen(snapshot: Snapshot, look: Look) -> str:
    """The track that is chosen; empty when there is none."""
    names = [name for name, _ in ordered(snapshot, look)]
    return look.chosen if look.chosen in names else next(iter(names), "")


def tracks(
    snapshot: Snapshot, look: Look, width: int, height: int, *, trend: bool = True
) -> Table | Text:
    """The table of tracks.

    Args:
        snapshot: Of `wtp.dashboard.run`.
        look: What is chosen and how it is sorted.
        width: Characters there are.
        height: Lines there are, the head included; the chosen track is always among them.
        trend: Show histories where there is room.
    """
    rows = ordered(snapshot, look)
    if not rows:
        of = f" with {look.needle!r} in its name" if look.needle else ""
        return Text(f"no track{of}", style="dim", no_wrap=True, overflow="ellipsis")
    name = chosen(snapshot, look)
    place = next(index for index, row in enumerate(rows) if row[0] == name)
    room = max(1, height - 1)
    first = min(max(0, place - room // 2), max(0, len(rows) - room))
    shown, columns = rows[first : first + room], _fitting(width)
    left = width - sum(column.width + 1 for column in columns)
    past = min(TREND_WIDTH, left - 36) if trend and left > MIN_NAME + 30 else 0
    head = f"track {place + 1} of {len(rows)}" + _arrow(look, "track")
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim", width=width)
    table.add_column(head, no_wrap=True, overflow="ellipsis", ratio=1)
    for column in columns:
        title = column.title + _arrow(look, column.key)
        table.add_column(
            Text(title, overflow="crop"), justify="right", no_wrap=True, width=column.width
        )
    if past:
        table.add_column("latency", no_wrap=True, width=past)
    for track, row in shown:
        history = (snapshot.get("track_history") or {}).get(track) or {}
        cells = [clean(track), *(_text(column, row) for column in columns)]
        cells += [spark(history.get(trend_key(row)) or [], past)] if past else []
        add_row(table, *cells, style="reverse" if track == name else _style(row))
    return table


def _fitting(width: int) -> list[Column]:
    """Columns that fit beside the name."""
    room, found = width - MIN_NAME - 1, []
    for column in COLUMNS:
        if room < column.width + 1:
            break
        room -= column.width + 1
        found.append(column)
    return sorted(found, key=lambda column: PLACES.index(column.key))


def _arrow(look: Look, key: str) -> str:
    if look.sort != key:
        return ""
    down = (key == "track") == look.reverse
    return "↓" if down else "↑"


def _text(column: Column, row: Row) -> str:
    missing = UNKNOWN if row.get("state") == "lost" else NONE
    return column.text(column.value(row), missing)


def _style(row: Row) -> str:
    if row.get("state") == "lost":
        return "red"
    return "yellow" if row.get("dropped_s") else ""
