"""How far files are: what `wtp publish --file` and `wtp consume file --save` show.

For the command line: `sending` takes what a file track's figures have under `transfer`, `receiving`
the snapshot of `wtp.consumer.files.Receive`. Each has a form in one line and one with bars.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from wtp.ui.common import clean, counted, number, seconds, size

Figures = Mapping[str, Any]

BAR_CELLS = 30
NAME_CELLS = 40


def sending(figures: Figures) -> RenderableType:
    """The sender's progress with a bar over all files.

    Args:
        figures: `transfer` of the figures of `wtp.publisher.files.FilesFeed`.
    """
    rows = [_row("sent", number(figures, "bytes"), number(figures, "total_bytes"))]
    return Group(_bars(rows), Text(sending_line(figures)))


def sending_line(figures: Figures) -> str:
    """The sender's progress: `2 of 10 files, 120 MiB of 1.2 GiB (10 %), 45 MiB/s, 24.0 s left`."""
    done, total = number(figures, "bytes"), number(figures, "total_bytes")
    rate = number(figures, "bytes_per_s")
    parts = [
        f"{number(figures, 'done'):.0f} of {counted(number(figures, 'files'), 'file')}",
        f"{size(done)} of {size(total)} ({_percent(done, total)})",
        f"{size(rate)}/s",
    ]
    if rate and done < total:
        parts.append(f"{seconds((total - done) / rate)} left")
    if number(figures, "resumed_bytes"):
        parts.append(f"{size(number(figures, 'resumed_bytes'))} were there from an earlier run")
    if number(figures, "failed"):
        parts.append(f"{number(figures, 'failed'):.0f} FAILED")
    if figures.get("name"):
        parts.append(_short(figures["name"]))
    return ", ".join(parts)


def receiving(figures: Figures) -> RenderableType:
    """The receiver's progress with a bar for each file that is coming.

    Args:
        figures: The snapshot of `wtp.consumer.files.Receive`.
    """
    rows = [
        _row(_short(file["name"]), number(file, "bytes"), number(file, "size_bytes"))
        for file in figures.get("files") or ()
    ]
    line = Text(receiving_line(figures))
    return Group(_bars(rows), line) if rows else line


def receiving_line(figures: Figures) -> str:
    """The receiver's progress: `3 files received, 1 coming, big.bin 45 %, 52 MiB/s`."""
    parts = [f"{counted(number(figures, 'received'), 'file')} received"]
    words = {"here": "received before", "refused": "REFUSED", "void": "given up by their sender"}
    parts += [
        f"{number(figures, key):.0f} {word}" for key, word in words.items() if figures.get(key)
    ]
    if figures.get("unfinished"):
        parts.append(f"{number(figures, 'unfinished'):.0f} not whole yet")
    for file in list(figures.get("files") or ())[:1]:
        done, total = number(file, "bytes"), number(file, "size_bytes")
        parts.append(f"{_short(file['name'])} {_percent(done, total)}")
    parts.append(f"{size(number(figures, 'bytes_per_s'))}/s")
    return ", ".join(parts)


def received(figures: Figures) -> str:
    """What is said at the end: files that came, and for each that is not whole what it lacks."""
    lines = [
        f"{counted(number(figures, 'received'), 'file')} received into "
        f"{clean(figures.get('folder'))}, {size(number(figures, 'bytes'))}"
    ]
    for key, words in (
        ("here", "were received before"),
        ("refused", "were refused: see the warnings"),
        ("void", "were given up by their sender"),
        ("unfinished", "are not whole: run it again to go on"),
    ):
        if figures.get(key):
            lines.append(f"{number(figures, key):.0f} {words}")
    for file in figures.get("files") or ():
        missing = counted(number(file, "missing"), "chunk")
        lines.append(f"  {_short(file['name'])} lacks {missing}")
    return "\n".join(lines)


def _bars(rows: list[tuple[str, ProgressBar, str]]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    for _ in range(3):
        table.add_column(no_wrap=True)
    for name, bar, percent in rows:
        table.add_row(Text(name), bar, percent)
    return table


def _row(name: str, done: float, total: float) -> tuple[str, ProgressBar, str]:
    bar = ProgressBar(total=max(total, 1), completed=done if total else 1, width=BAR_CELLS)
    return name, bar, _percent(done, total)


def _percent(done: float, total: float) -> str:
    """Never 100 % before the last byte."""
    return f"{int(100 * done / total) if total else 100} %"


def _short(name: object) -> str:
    text = clean(name)
    return text if len(text) <= NAME_CELLS else f"...{text[3 - NAME_CELLS :]}"
