"""The terminal while a line is typed: what comes in is written above it.

A thread of its own writes, since a terminal may be stopped (Ctrl-S). What is typed is drawn again
after every write; only the newest state of it counts. Messages wait until they are written, so a
stopped terminal holds reading up; notes from the loop are bounded and the oldest go.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Sequence

from wtp.chat.editor import View
from wtp.chat.keys import PASTE_OFF, PASTE_ON

NOTES = 256
"""Notes that wait while the terminal is stopped."""

CLOSE_S = 1.0
"""What a stopped terminal gets at the end."""

ERASE_BELOW = "\x1b[J"
EMPTY = View((), 0, 0)


class Screen:
    """Writes messages above a line that is being typed.

    Args:
        descriptor: The terminal.

    Attributes:
        left_out: Notes that found no room.
    """

    def __init__(self, descriptor: int = 1) -> None:
        self.left_out = 0
        self._told = 0
        self._descriptor = descriptor
        self._changed = threading.Condition()
        self._lines: deque[str] = deque()
        self._taken = 0
        self._written = 0
        self._view, self._drawn = EMPTY, EMPTY
        self._stale = False
        self._open, self._closed = False, False
        self._thread = threading.Thread(target=self._work, name="terminal", daemon=True)

    @property
    def is_open(self) -> bool:
        """Whether the terminal is in use."""
        return self._open

    def open(self) -> None:
        """Begin to write; pasted text is marked by the terminal from now on."""
        self._open = True
        self._thread.start()

    def close(self) -> None:
        """Write what is left, erase the line being typed and give the terminal back."""
        with self._changed:
            opened, self._closed = self._open, True
            self._view, self._open = EMPTY, False
            self._changed.notify_all()
        if not opened:
            return
        self._thread.join(CLOSE_S)

    def show(self, lines: Sequence[str]) -> None:
        """Write lines; blocks until they are there, once the screen is open. For threads."""
        with self._changed:
            if self._closed:
                return
            self._lines.extend(lines)
            self._taken += len(lines)
            mine = self._taken
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._written >= mine or not self._open)

    def note(self, line: str) -> None:
        """Write a line soon; never blocks."""
        with self._changed:
            if len(self._lines) >= NOTES:
                self.left_out += 1
                return
            self._lines.append(line)
            self._taken += 1
            self._changed.notify_all()

    def draw(self, view: View, *, again: bool = False) -> None:
        """Show what is typed soon; never blocks. `again`: the terminal was written to by others."""
        with self._changed:
            self._view = view
            self._stale = self._stale or again
            self._changed.notify_all()

    def _work(self) -> None:
        try:
            self._write(PASTE_ON)
            while self._turn():
                pass
            self._write(PASTE_OFF)
        except OSError:  # the terminal has gone
            pass
        finally:
            with self._changed:
                self._open, self._closed = False, True
                self._changed.notify_all()

    def _turn(self) -> bool:
        """Write what there is; whether more may come."""
        text = ""
        with self._changed:
            self._changed.wait_for(self._due)
            lines, view, going = list(self._lines), self._view, self._open
            if self.left_out > self._told:
                text = f"({self.left_out - self._told} lines of the log were left out)\n"
                self._told = self.left_out
            if self._stale:
                self._drawn, self._stale = EMPTY, False
            self._lines.clear()
        text = erase(self._drawn) + "".join(f"{line}\n" for line in lines) + text + placed(view)
        self._write(text)
        with self._changed:
            self._drawn = view
            self._written += len(lines)
            self._changed.notify_all()
        return going

    def _due(self) -> bool:
        return bool(self._lines or self._stale or self._view != self._drawn or not self._open)

    def _write(self, text: str) -> None:
        data = text.encode("utf-8", "replace")
        while data:
            data = data[os.write(self._descriptor, data) :]


def erase(view: View) -> str:
    """What takes a view away and leaves the cursor where it began."""
    up = f"\x1b[{view.row}A" if view.row else ""
    return f"\r{up}{ERASE_BELOW}"


def placed(view: View) -> str:
    """What draws a view and puts the cursor into its place (ECMA-48, 8.3.22 and 8.3.20)."""
    if not view.rows:
        return ""
    below = len(view.rows) - 1 - view.row
    up = f"\x1b[{below}A" if below else ""
    right = f"\x1b[{view.column}C" if view.column else ""
    return "\n".join(view.rows) + up + "\r" + right
