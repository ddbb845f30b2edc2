"""Chat at a terminal: a line is typed at the bottom, the room scrolls above it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from typing import Any

from wtp.chat.editor import Editor, lay_out
from wtp.chat.keys import KeyReader
from wtp.chat.room import Say
from wtp.chat.said import OwnLines, Said
from wtp.chat.screen import Screen
from wtp.consumer.chat import ACTION, chat_line, local_time, message_text
from wtp.consumer.item import Item
from wtp.consumer.output import Output, escape
from wtp.model import MAX_BYTES, Kind

try:
    import termios
    import tty
except ImportError:  # not on Windows
    termios = None  # type: ignore[assignment]  # absent there

READ_BYTES = 4096
LARGEST = MAX_BYTES[Kind.CHAT]
TYPED_AHEAD = 64
"""Lines that wait for being sent while the router takes none."""

ROWS_TYPED = 10
"""Rows of a long message that are shown while it is typed."""

SHOWN_WAITING = 3
HELP = (
    "/quit, Ctrl-D  leave          /me TEXT  tell what you do",
    "/help          this list      //TEXT    a message that begins with /",
    "Alt-Enter      a new line in a message; pasted lines stay one message",
)


class Terminal:
    """A person at a terminal.

    Args:
        descriptor: Where keys come from; default: standard input.
        screen: Where lines go.
    """

    echoes = False

    def __init__(self, descriptor: int | None = None, screen: Screen | None = None) -> None:
        self.screen = screen or Screen()
        self._descriptor = sys.stdin.fileno() if descriptor is None else descriptor
        self._keys, self._editor = KeyReader(), Editor()
        self._typed: asyncio.Queue[tuple[str, str] | None] = asyncio.Queue(TYPED_AHEAD)
        self._own: OwnLines | None = None
        self._name = ""
        self._before: list[Any] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over = asyncio.Event()
        utf8 = (getattr(sys.stdout, "encoding", "") or "").lower().startswith("utf")
        self._sent, self._failed = ("\u2713", "\u2717") if utf8 else ("(sent)", "(not sent)")

    def output(self, own: OwnLines) -> Output:
        """Where messages of the room go."""
        self._own = own
        return Above(self, own)

    def settled(self, said: Said, why: str) -> None:
        """Show an own line with what became of it."""
        text = message_text(said.payload, self._name, local_time(said.at_us), said.style)
        self.screen.note(f"{text}  {self._failed} {escape(why)}" if why else self.mark(text))
        self.redraw()

    def mark(self, text: str) -> str:
        """An own line that is in the room."""
        return f"{text}  {self._sent}"

    async def talk(self, say: Say, name: str) -> None:
        """Send what is typed until /quit, Ctrl-D or `stop`."""
        self._name = name
        self._open()
        self.screen.note(f"/help lists commands, /quit leaves. You are {name}.")
        sending = asyncio.create_task(self._send(say))
        over = asyncio.create_task(self._over.wait())
        try:
            await asyncio.wait({sending, over}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
        finally:
            for task in (sending, over):
                task.cancel()
            await asyncio.gather(sending, over, return_exceptions=True)

    async def _send(self, say: Say) -> None:
        while (typed := await self._typed.get()) is not None:
            await say(*typed)
            self.redraw()

    def stop(self) -> None:
        """End `talk`."""
        self._over.set()

    def close(self) -> None:
        """Give the terminal back; may be called several times."""
        before, self._before = self._before, None
        if before is None or self._loop is None:
            return
        self._loop.remove_reader(self._descriptor)
        for number in (signal.SIGCONT, signal.SIGWINCH):
            self._loop.remove_signal_handler(number)
        self.screen.close()
        with contextlib.suppress(termios.error, OSError):
            termios.tcsetattr(self._descriptor, termios.TCSANOW, before)

    def redraw(self, *, again: bool = False) -> None:
        """Show what is typed, and above it what waits for its receipt."""
        if self._before is None:
            return
        size = shutil.get_terminal_size()
        waiting = self._own.waiting if self._own else []
        above = [f"... {_first(said)}" for said in waiting[-SHOWN_WAITING:]]
        if len(waiting) > SHOWN_WAITING:
            above.insert(0, f"... {len(waiting) - SHOWN_WAITING} more wait for their receipts")
        view = lay_out(
            "> ", self._editor.text, self._editor.cursor, columns=size.columns,
            rows=max(1, min(ROWS_TYPED, size.lines - 1 - len(above))), above=tuple(above),
        )  # fmt: skip
        self.screen.draw(view, again=again)

    def refresh(self) -> None:
        """Redraw soon; may be called from any thread."""
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nothing is typed any more
                loop.call_soon_threadsafe(self.redraw)

    def _open(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._before = termios.tcgetattr(self._descriptor)
        self._cbreak()
        self.screen.open()
        self._loop.add_reader(self._descriptor, self._read)
        self._loop.add_signal_handler(signal.SIGCONT, self._came_back)
        self._loop.add_signal_handler(signal.SIGWINCH, self.redraw)
        self.redraw()

    def _cbreak(self) -> None:
        """Switch lines and echo off; Ctrl-C and Ctrl-Z work as ever."""
        with contextlib.suppress(termios.error, OSError):
            tty.setcbreak(self._descriptor, termios.TCSANOW)

    def _came_back(self) -> None:
        """The process was stopped and goes on."""
        self._cbreak()
        self.redraw(again=True)

    def _read(self) -> None:
        try:
            data = os.read(self._descriptor, READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._over.set()
            return
        for key in self._keys.feed(data):
            told = self._editor.press(key)
            if told == "end":
                self._end()
            elif told == "send":
                self._enter()
        self.redraw()

    def _enter(self) -> None:
        """Take the typed text: a command, or a message to send."""
        text = self._editor.text.strip()
        if not text:
            self._editor.take()
            return
        style = ""
        if text.startswith("/me "):
            text, style = text[4:].strip(), ACTION
        elif text.startswith("//"):
            text = text[1:]
        elif text.startswith("/"):
            self._command(self._editor.take().strip())
            return
        size = len(text.encode())
        if size > LARGEST:
            self.screen.note(f"That is {size} bytes; a message has {LARGEST} at most.")
        elif self._typed.full():
            self.screen.note("Not taken: many messages wait for the router. Try again soon.")
        else:
            self._typed.put_nowait((text, style))
            self._editor.take()

    def _command(self, text: str) -> None:
        name = text.split()[0].lower()
        if name in ("/quit", "/exit", "/q"):
            self._end()
        elif name == "/help":
            for line in HELP:
                self.screen.note(line)
        else:
            self.screen.note(
                f"There is no command {escape(name)}. /help lists them; //TEXT sends a /."
            )

    def _end(self) -> None:
        """No more is typed; what was is still sent."""
        if self._typed.full():
            self._over.set()
        else:
            self._typed.put_nowait(None)


def _first(said: Said) -> str:
    first, *more = said.payload.decode().split("\n")
    return escape(first) + (" ..." if more else "")


class Above:
    """Messages of the room, above the line that is typed (an output of the consumer).

    Args:
        terminal: The terminal.
        own: The own lines, each of which is shown once.
    """

    inline = False
    lossless = True
    idle_s = 0.0

    def __init__(self, terminal: Terminal, own: OwnLines) -> None:
        self._terminal, self._own = terminal, own

    def open(self) -> None:
        """Nothing to do."""

    def take(self, items: Sequence[Item]) -> list[str]:
        """Show messages, own ones unless that was done."""
        lines = []
        for item in items:
            if item.obj is None or item.instance != self._own.instance:
                lines.append(chat_line(item))
            elif self._own.came_back(item.obj.seq):
                lines.append(self._terminal.mark(chat_line(item)))
        self._terminal.refresh()
        self._terminal.screen.show(lines)
        return [""] * len(items)

    def idle(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do."""
