"""Talking with a room: the role behind `wtp chat`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from wtp.chat.said import OwnLines, Said
from wtp.chat.sender import Sender, Who, usable_or
from wtp.config.schema import Settings
from wtp.consumer.output import Output
from wtp.consumer.request import Request
from wtp.consumer.run import Consumer
from wtp.model import Kind, check_name
from wtp.publisher.connection import either
from wtp.publisher.run import first_error
from wtp.transport.trust import Trust

ECHO_S = 2.0
"""How long to wait for the past at the start, and at the end for own lines to be read back from the
topic, after their receipts."""

POLL_S = 0.02

Say = Callable[[str, str], Awaitable[None]]
"""Sends a text, with its style."""


class Mouth(Protocol):
    """The person, or the pipes: where own lines come from and everybody's go.

    Attributes:
        echoes: Whether own lines are shown only as they are read from the topic.
    """

    echoes: bool

    def output(self, own: OwnLines) -> Output:
        """Where messages of the room go."""
        ...

    def settled(self, said: Said, why: str) -> None:
        """An own line got its receipt before it came back, or was rejected (`why`)."""
        ...

    async def talk(self, say: Say, name: str) -> None:
        """Say what there is to say, until the end of it."""
        ...

    def stop(self) -> None:
        """End `talk` soon."""
        ...

    def close(self) -> None:
        """Give the terminal back."""
        ...


class Chat:
    """Sends own lines through the router and shows everybody's from the topic.

    Args:
        settings: Router, broker, room.
        who: Who talks.
        mouth: The person or the pipes.
        trust: How to judge the router's certificate.
        history: Earlier messages to begin with.
        follow: Go on reading when there is nothing more to say.
        duration_s: Seconds after which to end; 0 for never.
        wait: Wait for a router as long as it takes.

    Raises:
        UsageError: A name is not allowed.
    """

    def __init__(
        self,
        settings: Settings,
        who: Who,
        mouth: Mouth,
        *,
        trust: Trust | None = None,
        history: int = 0,
        follow: bool = False,
        duration_s: float = 0.0,
        wait: bool = False,
    ) -> None:
        check_name("room", settings.rooms.room)
        check_name("publisher", who.name)
        self._settings, self._mouth = settings, mouth
        self._follow, self._duration_s = follow, duration_s
        self._own = OwnLines(mouth.settled)
        self._sender = Sender(settings, who, trust or Trust(), self._own, wait=wait)
        request = Request(kind=Kind.CHAT, history=history)
        self._consumer = Consumer(settings, request, mouth.output(self._own))
        self._joined = asyncio.Event()
        self._stopping = asyncio.Event()

    async def run(self, ready: Callable[[dict[str, Any]], None]) -> None:
        """Talk until the end of what there is to say, or until `stop`.

        Args:
            ready: Called once lines can be sent and are read.

        Raises:
            WtpError: There is no router or no broker, or the router refuses.
            BrokenPipeError: The reader of the output has gone.
        """
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._sender.run())
                group.create_task(self._talk(group, ready))
        except BaseExceptionGroup as errors:
            raise first_error(errors) from errors
        finally:
            self._sender.close()
            self._mouth.close()

    async def _talk(
        self, group: asyncio.TaskGroup, ready: Callable[[dict[str, Any]], None]
    ) -> None:
        settled = False
        if await usable_or(self._sender, self._stopping):
            group.create_task(self._listen())
            await either(self._joined, self._stopping)
            await self._until(lambda: self._consumer.caught_up)
        if not self._stopping.is_set():
            if self._duration_s:
                asyncio.get_running_loop().call_later(self._duration_s, self.stop)
            ready(self.info())
            await self._mouth.talk(self._sender.say, self._sender.name)
            settled = await self._sender.settle(self._stopping)
            if settled and self._mouth.echoes:
                await self._until(lambda: self._consumer.caught_up and self._own.all_back)
            if self._follow:
                await self._stopping.wait()
        self._consumer.stop()
        await self._sender.finish(settled)

    async def _listen(self) -> None:
        """Read the room; when reading ends, so does talking."""
        await self._consumer.run(lambda _: self._joined.set())
        self.stop()

    async def _until(self, holds: Callable[[], bool]) -> None:
        """Wait until something was read and written out; not for long, nor beyond `stop`."""
        try:
            async with asyncio.timeout(ECHO_S):
                while not holds() and not self._stopping.is_set():
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            pass

    def stop(self) -> None:
        """Say nothing more; what was said is still delivered."""
        self._stopping.set()
        self._mouth.stop()

    def info(self) -> dict[str, Any]:
        """Who talks where, as plain values."""
        return {
            "name": self._sender.name,
            "room": self._settings.rooms.room,
            "url": self._sender.shown_url,
        }

    def snapshot(self) -> dict[str, Any]:
        """What was sent and read, as plain values."""
        read = self._consumer.snapshot()
        return {
            **self.info(),
            "session": self._sender.snapshot(),
            "read": {name: read[name] for name in ("state", "objects", "delivered", "dropped")},
            "rejected": self._own.rejections,
        }
