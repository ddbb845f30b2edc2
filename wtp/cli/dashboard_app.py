"""The screen of `wtp dashboard`: keys, panes and resizing by Textual, what is drawn by rich."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

from rich.console import RenderableType
from rich.text import Text
from textual import events
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical, VerticalScroll
from textual.widgets import Input, Static

from wtp.cli import INTERRUPTED
from wtp.dashboard.run import Dashboard
from wtp.errors import WtpError
from wtp.ui import dashboard as ui
from wtp.ui.common import clean
from wtp.ui.dashboard_hops import hops
from wtp.ui.dashboard_lines import flat
from wtp.ui.dashboard_panes import panes
from wtp.ui.dashboard_tracks import SORTS, Look, chosen, ordered, tracks

DRAW_S = 1.0
"""From one drawing to the next: figures are a second old at most."""

WIDE = 140
"""From as many columns on the lower pane stands at the right."""

KEY_LINE = "↑↓ choose  Enter alone  s sort  r reverse  / filter  p pause  ? help  q quit"

Snapshot = dict[str, Any]


class DashboardApp(App[int]):
    """Shows snapshots of a dashboard until somebody quits.

    Args:
        take: Takes a snapshot of what is watched.
    """

    CSS = """
    Screen { layout: vertical; background: transparent; }
    Static { background: transparent; }
    #head { height: auto; max-height: 8; }
    #body { height: 1fr; layout: vertical; }
    #body.wide { layout: horizontal; }
    #left { height: auto; width: 1fr; }
    #right { height: 1fr; width: 1fr; border-top: solid $secondary; scrollbar-size: 1 1; }
    #body.wide #left { height: 1fr; }
    #body.wide #right { border-top: none; padding-left: 2; }
    #tracks, #hops, #others { height: auto; }
    #hops { margin-top: 1; }
    #filter { display: none; height: 1; border: none; padding: 0; }
    #filter.shown { display: block; }
    #keys { height: 1; color: $text-muted; }
    .hidden { display: none; }
    """
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "leave", "quit"),
        Binding("ctrl+c", "interrupt", "quit", priority=True),
        Binding("up,k", "step(-1)", "up"),
        Binding("down,j", "step(1)", "down"),
        Binding("pageup", "step(-10)", "up"),
        Binding("pagedown", "step(10)", "down"),
        Binding("home", "step(-1000000)", "first"),
        Binding("end", "step(1000000)", "last"),
        Binding("enter", "alone", "alone"),
        Binding("s", "sort", "sort"),
        Binding("r", "reverse", "reverse"),
        Binding("p,space", "pause", "pause"),
        Binding("slash", "filter", "filter"),
        Binding("escape", "all", "all"),
        Binding("tab", "scroll(4)", "scroll", priority=True),
        Binding("shift+tab", "scroll(-4)", "scroll", priority=True),
        Binding("w", "scroll(4)", "scroll"),
        Binding("x", "scroll(-4)", "scroll"),
        Binding("question_mark,h", "keys", "help"),
    ]

    def __init__(self, take: Callable[[], Snapshot]) -> None:
        super().__init__()
        self._take = take
        self._look = Look()
        self._held: Snapshot | None = None
        self._held_since_s = 0.0
        self._one = self._helps = False
        self._drawn: dict[str, Text] = {}
        self._paned = (0, 0)
        self.notice = ""
        self.snapshot = take()

    def compose(self) -> ComposeResult:
        """Lay out the panes."""
        yield Static(id="head")
        with Container(id="body"):
            with Vertical(id="left"):
                yield Static(id="tracks")
                yield Static(id="hops")
            with VerticalScroll(id="right", can_focus=False):
                yield Static(id="others")
        yield Input(id="filter", placeholder="part of a name", disabled=True)
        yield Static(KEY_LINE, id="keys")

    def on_mount(self) -> None:
        """Begin to draw."""
        self.set_interval(DRAW_S, self.draw)
        self.call_after_refresh(self.draw)

    def on_resize(self, _: events.Resize) -> None:
        """Draw for the new size."""
        self.call_after_refresh(self.draw)

    def draw(self) -> None:
        """Take a snapshot, unless the figures are held, and draw it."""
        if self._held is None:
            self.snapshot = self._take()
        self._paint()

    def _paint(self) -> None:
        if not self.query("#keys"):  # not yet composed, or on the way out
            return
        width, height = self.size
        look = self._now()
        narrow = width < ui.NARROW or height < 10
        self.query_one("#body").set_class(narrow or self._helps, "hidden")
        keys = self.query_one("#keys", Static)
        keys.set_class(narrow, "hidden")
        self._put("keys", Text(self.notice or KEY_LINE, no_wrap=True), width)
        if narrow:
            self._put("head", ui.tiny(self.snapshot, look), width)
        elif self._helps:
            self._put("head", ui.help_page(), width)
        else:
            self._paint_panes(look, width, height)

    def _paint_panes(self, look: Look, width: int, height: int) -> None:
        wide = width >= WIDE
        self.query_one("#body").set_class(wide, "wide")
        self._put("head", ui.head(self.snapshot, look, width), width)
        gone = sum(one["state"] == "gone" for one in self.snapshot["routers"])
        rows = self._rows(height - 4 - gone, wide=wide)
        left = width // 2 if wide else width
        self._put("tracks", tracks(self.snapshot, look, left, rows), left)
        name = chosen(self.snapshot, look)
        one = ui.alone(self.snapshot, name, left) if self._one else hops(self.snapshot, name)
        self._put("hops", one, left)
        hidden = self._one and not wide
        self.query_one("#right").set_class(hidden, "hidden")
        room = width - left - 3 if wide else width - 1
        if not hidden and self._paned != (id(self.snapshot), room):
            self._paned = (id(self.snapshot), room)
            self._put("others", panes(self.snapshot, room), room)

    def _put(self, pane: str, what: RenderableType, width: int) -> None:
        """Draw a pane, unless it would look as before."""
        text = flat(what, width)
        if text != self._drawn.get(pane):
            self._drawn[pane] = text
            self.query_one(f"#{pane}", Static).update(text)

    def _rows(self, height: int, *, wide: bool) -> int:
        """Lines of the table of tracks: what the rest leaves, all where there is room."""
        wanted = len(ordered(self.snapshot, self._look)) + 1
        if self._one:
            return 2
        return max(3, min(wanted, height - 14 if wide else height // 3))

    def _now(self) -> Look:
        held_s = None if self._held is None else time.monotonic() - self._held_since_s
        return replace(self._look, paused_s=held_s)

    def _change(self, **what: Any) -> None:
        self._look = replace(self._look, **what)
        self._paint()

    def action_leave(self) -> None:
        """End."""
        self.exit(0)

    def action_interrupt(self) -> None:
        """End as Ctrl-C does."""
        self.exit(INTERRUPTED)

    def action_step(self, rows: int) -> None:
        """Choose another track."""
        names = [name for name, _ in ordered(self.snapshot, self._look)]
        if not names:
            return
        place = names.index(chosen(self.snapshot, self._look)) + rows
        self._change(chosen=names[min(max(0, place), len(names) - 1)])

    def action_alone(self) -> None:
        """Show the chosen track alone, or all of them again."""
        self._one = not self._one
        self._change(chosen=chosen(self.snapshot, self._look))

    def action_sort(self) -> None:
        """Sort by the next column."""
        name = chosen(self.snapshot, self._look)
        self._change(
            sort=SORTS[(SORTS.index(self._look.sort) + 1) % len(SORTS)], chosen=name, reverse=False
        )

    def action_reverse(self) -> None:
        """Sort the other way round."""
        name = chosen(self.snapshot, self._look)
        self._change(reverse=not self._look.reverse, chosen=name)

    def action_pause(self) -> None:
        """Hold the figures, or let them go on."""
        self._held = None if self._held is not None else self.snapshot
        self._held_since_s = time.monotonic()
        self.draw()

    def action_filter(self) -> None:
        """Ask for a part of a name."""
        field = self.query_one("#filter", Input)
        field.disabled = False
        field.add_class("shown")
        field.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter while it is typed."""
        self._change(needle=event.value)

    def on_input_submitted(self, _: Input.Submitted) -> None:
        """Keep the filter."""
        self._close_filter()

    def action_all(self) -> None:
        """Show every track, the usual panes."""
        self._one = self._helps = False
        self.query_one("#filter", Input).value = ""
        self._close_filter()
        self._change(needle="")

    def _close_filter(self) -> None:
        field = self.query_one("#filter", Input)
        field.remove_class("shown")
        field.disabled = True
        self.set_focus(None)

    def action_scroll(self, rows: int) -> None:
        """Scroll the lower pane."""
        self.query_one("#right", VerticalScroll).scroll_relative(y=rows, animate=False)

    def action_keys(self) -> None:
        """Show the keys, or the figures again; a warning has been read by then."""
        self.notice = ""
        self._helps = not self._helps
        self._paint()


def show(role: Dashboard) -> int:
    """Run a dashboard on this terminal until somebody quits.

    Returns:
        The exit code.

    Raises:
        WtpError: The role's own error.
    """
    for name in ("COLUMNS", "LINES"):  # a shell's export of its size hides that of the terminal
        os.environ.pop(name, None)
    return asyncio.run(_show(role))


class LastLine(logging.Handler):
    """Shows the last warning in place of the keys: the terminal is the screen's.

    Args:
        screen: Where it is shown.
    """

    def __init__(self, screen: DashboardApp) -> None:
        super().__init__(logging.WARNING)
        self._screen = screen

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one record's text."""
        self._screen.notice = clean(record.getMessage())


async def _show(role: Dashboard) -> int:
    screen = DashboardApp(role.snapshot)
    logging.getLogger().addHandler(LastLine(screen))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, screen.exit, 0)
    watching = asyncio.create_task(role.run(lambda _: None))
    watching.add_done_callback(lambda _: screen.exit(0))
    try:
        code = await screen.run_async()
    finally:
        role.stop()
    try:
        await watching
    except* WtpError as group:
        raise group.exceptions[0] from None
    return code or 0
