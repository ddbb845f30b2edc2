"""Proxies that break links: TCP between router and broker, UDP between publisher and router."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Any


class Loop:
    """An event loop on a thread of its own, for proxies beside blocking tests."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="proxies", daemon=True)
        self._thread.start()

    def call(self, work: Any, timeout_s: float = 60.0) -> Any:
        """Run a coroutine there and wait for its result."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout_s)

    def close(self) -> None:
        """End everything that runs there."""
        self.call(self._cancel())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    async def _cancel(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class TcpProxy:
    """Passes connections on to a broker; `cut` ends them all, `hole` lets nothing through.

    A broker tells clients its address in its answer to LOOKUP: the proxy puts its own there, which
    has as many characters.

    Args:
        loop: Where it runs.
        port: Of the broker.
    """

    def __init__(self, loop: Loop, port: int) -> None:
        self._loop = loop
        self._target = port
        self._open = asyncio.Event()
        self._open.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.port = 0
        loop.call(self._start())

    async def _start(self) -> None:
        while len(str(self.port)) != len(str(self._target)):
            if self._server is not None:
                self._server.close()
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
            self.port = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """Break every connection."""
        self._loop.call(self._cut())

    def hole(self, on: bool) -> None:
        """Let nothing through, and lose nothing, until told otherwise."""
        change: Callable[[], None] = self._open.clear if on else self._open.set
        self._loop.loop.call_soon_threadsafe(change)

    def close(self) -> None:
        """Stop."""

        async def end() -> None:
            if self._server is not None:
                self._server.close()
            await self._cut()

        self._loop.call(end())

    async def _cut(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            there, out = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            self._writers.discard(writer)
            return
        self._writers.add(out)
        old, new = (f"127.0.0.1:{port}".encode() for port in (self._target, self.port))
        try:
            await asyncio.gather(
                self._pump(reader, out, b"", b""), self._pump(there, writer, old, new)
            )
        finally:
            self._writers -= {writer, out}

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, old: bytes, new: bytes
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await self._open.wait()
                writer.write(data.replace(old, new) if old else data)
                await writer.drain()
        writer.transport.abort()


class UdpProxy:
    """Passes datagrams on to a router; `hole` swallows them.

    Args:
        loop: Where it runs.
        port: Of the router.
    """

    def __init__(self, loop: Loop, port: int) -> None:
        self._loop = loop
        self._target = port
        self._hole = False
        self._ways: dict[Any, socket.socket] = {}
        self._front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._front.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._front.bind(("127.0.0.1", 0))
        self._front.setblocking(False)
        self.port = self._front.getsockname()[1]
        loop.loop.call_soon_threadsafe(loop.loop.add_reader, self._front, self._from_client)

    def hole(self, on: bool) -> None:
        """Swallow everything until told otherwise."""
        self._hole = on

    def close(self) -> None:
        """Stop."""

        async def end() -> None:
            for sock in (self._front, *self._ways.values()):
                self._loop.loop.remove_reader(sock)
                sock.close()

        self._loop.call(end())

    def _from_client(self) -> None:
        for _ in range(64):
            try:
                data, client = self._front.recvfrom(65536)
            except OSError:
                return
            if self._hole:
                continue
            way = self._ways.get(client) or self._way(client)
            with contextlib.suppress(OSError):
                way.send(data)

    def _way(self, client: Any) -> socket.socket:
        way = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        way.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        way.setblocking(False)
        way.connect(("127.0.0.1", self._target))
        self._ways[client] = way
        self._loop.loop.add_reader(way, self._from_router, way, client)
        return way

    def _from_router(self, way: socket.socket, client: Any) -> None:
        for _ in range(64):
            try:
                data = way.recv(65536)
            except OSError:
                return
            if not self._hole:
                with contextlib.suppress(OSError):
                    self._front.sendto(data, client)
