"""From the bytes that a terminal sends to keys; what is pasted stays in one piece.

Terminals mark pasted text when they are asked to (bracketed paste, xterm's mode 2004: `ESC[200~`
before, `ESC[201~` behind), so that line ends in it are not taken for Enter.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass

PASTE_ON, PASTE_OFF = "\x1b[?2004h", "\x1b[?2004l"
"""Switch the marking on and off."""

PASTE_START, PASTE_END = b"\x1b[200~", b"\x1b[201~"
MAX_PASTE_BYTES = 64 * 1024
"""What is kept of one paste; a chat message has 16 KiB at most."""

MAX_SEQUENCE_BYTES = 32
"""Longer escape sequences are none."""

CONTROLS = {
    0x01: "home", 0x02: "left", 0x04: "eof", 0x05: "end", 0x06: "right", 0x08: "backspace",
    0x0A: "enter", 0x0B: "kill-end", 0x0C: "redraw", 0x0D: "enter", 0x0E: "down", 0x10: "up",
    0x15: "kill-start", 0x17: "kill-word", 0x7F: "backspace",
}  # fmt: skip
"""Keys with Ctrl as shells bind them: Ctrl-A home, Ctrl-D end of input, Ctrl-U ..."""

SEQUENCES = {
    b"[A": "up", b"[B": "down", b"[C": "right", b"[D": "left", b"[H": "home", b"[F": "end",
    b"OA": "up", b"OB": "down", b"OC": "right", b"OD": "left", b"OH": "home", b"OF": "end",
    b"[1~": "home", b"[4~": "end", b"[7~": "home", b"[8~": "end", b"[3~": "delete",
    b"[1;5C": "word-right", b"[1;5D": "word-left", b"[1;3C": "word-right", b"[1;3D": "word-left",
    b"f": "word-right", b"b": "word-left", b"\x7f": "kill-word", b"\r": "newline", b"\n": "newline",
}  # fmt: skip
"""What follows ESC: cursor keys (ECMA-48, 8.3; with O in application mode), Alt with a key."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key: its name, with the characters for `text` and `paste`."""

    name: str
    text: str = ""


class KeyReader:
    """Turns bytes into keys, across reads that end in the middle of one."""

    def __init__(self) -> None:
        self._rest = b""
        self._pasted: bytearray | None = None
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, data: bytes) -> list[Key]:
        """Take what the terminal sent; keys that are complete come back."""
        rest = self._rest + data
        keys: list[Key] = []
        while rest:
            if self._pasted is not None:
                used, key = self._paste(rest)
            elif rest[0] == 0x1B:
                used, key = self._escape(rest)
            elif rest[0] < 0x20 or rest[0] == 0x7F:
                name = CONTROLS.get(rest[0])
                used, key = 1, Key(name) if name else None
            else:
                used, key = self._text(rest)
            if key is not None:
                keys.append(key)
            if not used:
                break
            rest = rest[used:]
        self._rest = rest
        return keys

    def _text(self, data: bytes) -> tuple[int, Key | None]:
        used = next((i for i, b in enumerate(data) if b < 0x20 or b == 0x7F), len(data))
        text = clean_text(self._decoder.decode(data[:used]))
        return used, Key("text", text) if text else None

    def _escape(self, data: bytes) -> tuple[int, Key | None]:
        """The key of an escape sequence; 0 bytes used when it is not complete."""
        if len(data) == 1:
            return 0, None
        used = 2
        if data[1:2] in (b"[", b"O"):
            while used < len(data) and not 0x40 <= data[used] <= 0x7E:
                used += 1
            used += 1
            if used > len(data):
                return (0, None) if len(data) < MAX_SEQUENCE_BYTES else (len(data), None)
        if data[:used] == PASTE_START:
            self._pasted = bytearray()
            return used, None
        name = SEQUENCES.get(data[1:used])
        return used, Key(name) if name else None

    def _paste(self, data: bytes) -> tuple[int, Key | None]:
        """Collect up to the end mark; a mark that is cut in two waits for its rest."""
        assert self._pasted is not None  # noqa: S101 - the caller looked
        end = data.find(PASTE_END)
        used = end if end >= 0 else len(data) - _begun(data)
        self._pasted += data[: min(used, MAX_PASTE_BYTES - len(self._pasted))]
        if end < 0:
            return used, None
        text = clean_text(bytes(self._pasted).decode("utf-8", "replace"))
        self._pasted = None
        return end + len(PASTE_END), Key("paste", text)


def _begun(data: bytes) -> int:
    """How many bytes at the end may be the beginning of the mark."""
    longest = min(len(data), len(PASTE_END) - 1)
    return next((n for n in range(longest, 0, -1) if PASTE_END.startswith(data[-n:])), 0)


def clean_text(text: str) -> str:
    """Text without what is none: line ends become newlines, other controls go."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(c for c in text if c in "\n\t" or not _is_control(c))


def _is_control(character: str) -> bool:
    code = ord(character)
    return code < 0x20 or 0x7F <= code < 0xA0 or 0xD800 <= code < 0xE000
