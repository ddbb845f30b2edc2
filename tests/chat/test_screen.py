"""What is written to the terminal while a line is typed."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from wtp.chat.editor import View
from wtp.chat.keys import PASTE_OFF, PASTE_ON
from wtp.chat.screen import NOTES, Screen, erase, placed


class Terminal:
    """A pipe in place of a terminal."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        self.screen = Screen(self.writing)
        self.text = ""

    def until(self, part: str) -> str:
        """Read until `part` was written."""
        while part not in self.text:
            self.text += os.read(self.reading, 4096).decode()
        return self.text

    def close(self) -> None:
        self.screen.close()
        for descriptor in (self.reading, self.writing):
            os.close(descriptor)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    terminal = Terminal()
    yield terminal
    terminal.close()


def test_messages_go_above_what_is_typed(terminal: Terminal) -> None:
    terminal.screen.open()
    view = View(("... waiting", "> half"), 1, 6)
    terminal.screen.draw(view)
    terminal.until("> half")
    terminal.screen.show(["ann: hello"])
    text = terminal.until("hello")
    assert text.startswith(PASTE_ON)
    assert text.endswith(f"{erase(view)}ann: hello\n{placed(view)}")
    terminal.screen.close()
    assert terminal.until(PASTE_OFF).endswith(f"{erase(view)}{PASTE_OFF}")


def test_what_was_shown_before_the_terminal_is_open_is_not_lost(terminal: Terminal) -> None:
    terminal.screen.show(["history"])
    terminal.screen.open()
    assert "history\n" in terminal.until("history")


def test_a_stopped_terminal_holds_messages_up_but_not_notes(terminal: Terminal) -> None:
    os.set_blocking(terminal.writing, True)
    terminal.screen.open()
    full = ["x" * 1000] * 200
    showing = threading.Thread(target=terminal.screen.show, args=(full,))
    showing.start()
    terminal.until("x")
    assert showing.is_alive()
    for number in range(2 * NOTES):
        terminal.screen.note(f"note {number}")
    assert terminal.screen.left_out >= NOTES - len(full)
    terminal.until("note 0")
    terminal.until(f"({terminal.screen.left_out} lines of the log were left out)")
    showing.join(5)
    assert not showing.is_alive()


def test_a_closed_screen_takes_nothing_and_blocks_nobody(terminal: Terminal) -> None:
    terminal.screen.open()
    terminal.screen.close()
    terminal.screen.show(["late"])
    terminal.screen.note("late")
    assert not terminal.screen.is_open
    assert "late" not in terminal.until(PASTE_OFF)


def test_a_terminal_that_has_gone_is_no_fault() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    screen = Screen(writing)
    screen.open()
    screen.show(["into nothing"])
    screen.close()
    os.close(writing)
