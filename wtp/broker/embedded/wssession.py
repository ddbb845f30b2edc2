"""One WebSocket of a client: reading, writing, liveness, the end. What it says is in subclasses."""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from aiohttp import WSCloseCode, WSMsgType, web

from wtp.broker.embedded.wslink import ClientEvents, LocalClient
from wtp.errors import WireError, WtpError

if TYPE_CHECKING:
    from wtp.broker.embedded.core import Core

IDLE_S = 300.0
"""Silence that ends a socket: Pulsar's webSocketSessionIdleTimeoutMillis."""

MAX_REASON_BYTES = 120
"""A close frame has room for 123 bytes of reason (RFC 6455, section 5.5)."""

_ENDS = (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR)


class WsSession(ABC, ClientEvents):
    """A producer, consumer or reader over a WebSocket.

    Args:
        core: The broker.
        peer: Address of the WebSocket client.
        idle_s: Silence that ends it.
    """

    def __init__(self, core: Core, peer: tuple[str, int], idle_s: float = IDLE_S) -> None:
        self.core = core
        self.client = LocalClient(core, peer, self)
        self._idle_s = idle_s
        self._ws: web.WebSocketResponse | None = None
        self._active_s = 0.0
        self._over = asyncio.Event()
        self._end = (int(WSCloseCode.OK), "")

    @abstractmethod
    async def open(self) -> None:
        """Open what the handshake asked for; raises WtpError when the broker refuses."""

    @abstractmethod
    async def text(self, text: str) -> None:
        """Act on what the client said; a WireError closes the socket with 1011."""

    @abstractmethod
    async def write(self) -> None:
        """Send to the client, for ever."""

    async def upkeep(self) -> None:
        """Do what has to be done beside, for ever."""
        await self._over.wait()

    async def run(self, ws: web.WebSocketResponse) -> None:
        """Serve a prepared WebSocket to its end."""
        self._ws = ws
        self._touch()
        work = (self._read(), self.write(), self.upkeep(), self._watch(), self._ended())
        tasks = [asyncio.create_task(one) for one in work]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            self._judge(done)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.client.close()
            code, reason = self._end
            with contextlib.suppress(ConnectionError, RuntimeError):
                await ws.close(code=code, message=_cut(reason))

    async def _ended(self) -> None:
        await self._over.wait()

    def _judge(self, done: set[asyncio.Task[None]]) -> None:
        """Find out how the socket has to be closed."""
        for task in done:
            error = task.exception()
            if isinstance(error, WtpError):
                self.end(WSCloseCode.INTERNAL_ERROR, error.message)
            elif error is not None and not isinstance(error, ConnectionError):
                raise error

    def end(self, code: int, reason: str) -> None:
        """Close the socket; the first reason counts."""
        if not self._over.is_set():
            self._end = (int(code), reason)
            self._over.set()

    async def send(self, text: str) -> None:
        """Send a text; waits while the client does not read."""
        assert self._ws is not None  # noqa: S101 - `run` sets it before anything is sent
        await self._ws.send_str(text)
        self._touch()

    def _touch(self) -> None:
        self._active_s = asyncio.get_running_loop().time()

    async def _read(self) -> None:
        ws = self._ws
        assert ws is not None  # noqa: S101 - `run` sets it
        while True:
            message = await ws.receive()
            if message.type in _ENDS:
                return
            if message.type == WSMsgType.PONG:
                continue
            self._touch()
            if message.type == WSMsgType.PING:
                await ws.pong(message.data)
            elif message.type == WSMsgType.TEXT:
                await self.text(message.data)

    async def _watch(self) -> None:
        """End a silent socket."""
        loop = asyncio.get_running_loop()
        while (left := self._active_s + self._idle_s - loop.time()) > 0:
            await asyncio.sleep(left)
        self.end(WSCloseCode.GOING_AWAY, f"idle for {self._idle_s:g} s")

    def asked_alive(self) -> None:
        """Yes: many clients read, and so answer a ping, only when they expect something."""
        asyncio.get_running_loop().call_soon(self.client.alive)

    def lost(self) -> None:
        """The broker closed the connection."""
        self.end(WSCloseCode.INTERNAL_ERROR, "The broker closed the connection.")


def _cut(reason: str) -> bytes:
    return reason.encode()[:MAX_REASON_BYTES].decode(errors="ignore").encode()


def spoken(text: str) -> WireError:
    """The error for something that a client may not say."""
    return WireError(text, hint="See Pulsar's page on its WebSocket API.")
