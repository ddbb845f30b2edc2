"""A line being typed: text, cursor and earlier lines, and how it lies on the terminal. No I/O."""

from __future__ import annotations

import unicodedata
from collections import deque
from dataclasses import dataclass

from wtp.chat.keys import Key
from wtp.consumer.output import escape

MAX_TEXT = 32 * 1024
"""Characters of a line being typed; twice what a message may have."""

REMEMBERED = 200
"""Lines that the arrow keys bring back."""

INDENT = "  "
"""Before the further lines of a message."""


class Editor:
    """What is being typed.

    Attributes:
        text: The text; several lines when it was pasted or Alt-Enter was pressed.
        cursor: Place in the text, from 0 to its length.
    """

    def __init__(self) -> None:
        self.text = ""
        self.cursor = 0
        self._earlier: deque[str] = deque(maxlen=REMEMBERED)
        self._back = 0
        self._draft = ""

    def press(self, key: Key) -> str:
        """Take a key.

        Returns:
            `send` for Enter, `end` for the end of input on an empty line, else nothing.
        """
        if key.name == "enter":
            return "send"
        if key.name == "eof":
            if not self.text:
                return "end"
            key = Key("delete")
        if key.name in ("text", "paste"):
            self._insert(key.text)
        elif key.name == "newline":
            self._insert("\n")
        elif key.name in ("up", "down"):
            self._recall(1 if key.name == "up" else -1)
        elif key.name in _MOVES:
            self.cursor = self._target(key.name)
        elif key.name in _CUTS:
            self._cut(self._target(_CUTS[key.name]))
        return ""

    def take(self) -> str:
        """Take the text out and remember it."""
        text = self.text
        if text and (not self._earlier or self._earlier[-1] != text):
            self._earlier.append(text)
        self._set("")
        self._back, self._draft = 0, ""
        return text

    def _insert(self, text: str) -> None:
        text = text[: max(0, MAX_TEXT - len(self.text))]
        self.text = self.text[: self.cursor] + text + self.text[self.cursor :]
        self.cursor += len(text)

    def _set(self, text: str) -> None:
        self.text, self.cursor = text, len(text)

    def _cut(self, other: int) -> None:
        start, end = sorted((self.cursor, other))
        self.text = self.text[:start] + self.text[end:]
        self.cursor = start

    def _recall(self, step: int) -> None:
        back = self._back + step
        if not 0 <= back <= len(self._earlier):
            return
        if self._back == 0:
            self._draft = self.text
        self._back = back
        self._set(self._earlier[-back] if back else self._draft)

    def _target(self, name: str) -> int:
        """Where a movement from the cursor leads."""
        at, text = self.cursor, self.text
        if name == "left":
            at = max(0, at - 1)
            while at and not columns_of(text[at]):
                at -= 1
        elif name == "right":
            at = min(len(text), at + 1)
            while at < len(text) and not columns_of(text[at]) and text[at] != "\n":
                at += 1
        elif name == "home":
            at = text.rfind("\n", 0, at) + 1
        elif name == "end":
            at = text.find("\n", at)
            at = len(text) if at < 0 else at
        elif name == "word-left":
            at = len(text[:at].rstrip())
            at = max(text.rfind(" ", 0, at), text.rfind("\n", 0, at)) + 1
        elif name == "word-right":
            at += len(text[at:]) - len(text[at:].lstrip())
            ends = [end for end in (text.find(" ", at), text.find("\n", at)) if end >= 0]
            at = min(ends, default=len(text))
        return at


_MOVES = frozenset({"left", "right", "home", "end", "word-left", "word-right"})
_CUTS = {
    "backspace": "left", "delete": "right", "kill-word": "word-left", "kill-start": "home",
    "kill-end": "end",
}  # fmt: skip


def columns_of(character: str) -> int:
    """Columns of a terminal that a character takes: 0, 1 or 2 (Unicode TR 11)."""
    if character == "\n" or unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


@dataclass(frozen=True, slots=True)
class View:
    """Rows at the bottom of the terminal, and where the cursor stands in them."""

    rows: tuple[str, ...]
    row: int
    column: int


def lay_out(
    prompt: str, text: str, cursor: int, *, columns: int, rows: int, above: tuple[str, ...] = ()
) -> View:
    """Lay text out for a terminal.

    Args:
        prompt: Stands before it.
        text: What is typed.
        cursor: Place in the text.
        columns: Width of the terminal; the last column stays empty, as terminals differ there.
        rows: Rows at most; those around the cursor are kept.
        above: Rows to show above it, cut to the width.
    """
    width = max(columns - 1, len(prompt) + 2)
    lines, column, place = [prompt], len(prompt), (0, len(prompt))
    for index, character in enumerate(text):
        if index == cursor:
            place = (len(lines) - 1, column)
        shown = "  " if character == "\t" else character if character == "\n" else escape(character)
        size = sum(columns_of(one) for one in shown)
        if character == "\n" or column + size > width:
            lines.append(INDENT)
            column = len(INDENT)
            if index == cursor and character != "\n":
                place = (len(lines) - 1, column)
        if character != "\n":
            lines[-1] += shown
            column += size
    if cursor >= len(text):
        place = (len(lines) - 1, column)
    first = max(0, min(place[0] - rows + 1, len(lines) - rows)) if len(lines) > rows else 0
    if first > place[0]:
        first = place[0]
    kept = lines[first : first + rows]
    heads = [cut(row, width) for row in above]
    return View((*heads, *kept), len(heads) + place[0] - first, place[1])


def cut(text: str, columns: int) -> str:
    """As much of a text as fits into so many columns."""
    out = ""
    for character in text:
        columns -= columns_of(character)
        if columns < 0:
            break
        out += character
    return out
