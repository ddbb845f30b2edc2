"""Chat without a terminal: lines of standard input are sent, everybody's go to standard output."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence

from wtp.chat.room import Say
from wtp.chat.said import OwnLines, Said
from wtp.consumer.chat import chat_line
from wtp.consumer.item import Item
from wtp.consumer.output import Lines, Output, Sink, json_line
from wtp.model import MAX_BYTES, Kind
from wtp.publisher.inputs import chat_text as text_of
from wtp.publisher.inputs import open_reader, read_lines

QUIT = b"/quit"
"""The one command that works in a pipe; all else is text."""

_log = logging.getLogger("wtp.chat")


class Written(Lines):
    """Lines of the room; own ones are noted as they come back.

    Args:
        form: Makes a line.
        own: The own lines.
    """

    def __init__(self, form: Callable[[Item], str], own: OwnLines) -> None:
        super().__init__(form, Sink("-"))
        self._own = own

    def take(self, items: Sequence[Item]) -> list[str]:
        """Write a line for each."""
        reasons = super().take(items)
        for item in items:
            if item.obj is not None and item.instance == self._own.instance:
                self._own.came_back(item.obj.seq)
        return reasons


class Pipe:
    """Lines of standard input, lines to standard output.

    Args:
        jsonl: Write JSON instead of lines for people.
    """

    echoes = True

    def __init__(self, *, jsonl: bool = False) -> None:
        self._form = json_line if jsonl else chat_line
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    def output(self, own: OwnLines) -> Output:
        """Where messages of the room go."""
        return Written(self._form, own)

    def settled(self, said: Said, why: str) -> None:
        """Say which line was rejected; others are written when they come back."""
        if why:
            _log.warning("Not sent: %s (%s)", said.payload.decode(), why)

    async def talk(self, say: Say, name: str) -> None:
        """Send each line of standard input, up to its end or to `/quit`."""
        if self._stopping:
            return
        self._task = asyncio.create_task(self._read(say))
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        if self._task.cancelled() and not self._stopping:
            raise asyncio.CancelledError

    async def _read(self, say: Say) -> None:
        reader = open_reader("-")
        number = 0
        try:
            async for line in read_lines(reader, MAX_BYTES[Kind.CHAT]):
                number += 1
                payload = None if line is None else text_of(line)
                if payload is None:
                    why = "too long" if line is None else "not UTF-8 text"
                    _log.warning("Line %d is %s and was left out.", number, why)
                elif payload == QUIT:
                    return
                elif payload:
                    await say(payload.decode(), "")
        finally:
            reader.close()

    def stop(self) -> None:
        """Read no more."""
        self._stopping = True
        if self._task is not None:
            self._task.cancel()

    def close(self) -> None:
        """Nothing to give back."""
