"""An embedded broker on the test's own loop, and a TCP proxy that can be cut."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from wtp.broker.embedded import wsroutes
from wtp.broker.embedded.server import BrokerServer, serve_broker
from wtp.broker.embedded.server import BrokerSettings as ServerSettings
from wtp.config.schema import BrokerSettings

TOPIC = "persistent://public/default/t"


def settings_of(server: BrokerServer, **more: Any) -> BrokerSettings:
    """How a client gets into a broker."""
    assert server.http_address is not None
    (host, port), (http_host, http_port) = server.address, server.http_address
    return BrokerSettings(
        url=f"pulsar://{host}:{port}", admin=f"http://{http_host}:{http_port}", **more
    )


def admin_of(server: BrokerServer) -> str:
    """Its admin address."""
    return settings_of(server).admin


async def start(folder: Path, port: int = 0, http_port: int = 0) -> BrokerServer:
    """A broker; to be closed."""
    return await serve_broker(ServerSettings(folder, port=port, http_port=http_port))


@asynccontextmanager
async def broker(folder: Path) -> AsyncIterator[BrokerServer]:
    """A broker, closed at the end."""
    server = await start(folder)
    try:
        yield server
    finally:
        await server.close()


@asynccontextmanager
async def api_of(server: BrokerServer, **how: Any) -> AsyncIterator[str]:
    """The WebSocket API alone, with settings of its own; gives its admin address."""
    app = web.Application()
    wsroutes.mount(app, server.core, **how)
    runner = web.AppRunner(app, shutdown_timeout=2.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


class Proxy:
    """Passes TCP on; `mute` swallows what the broker says, `cut` breaks all connections."""

    def __init__(self, admin: str) -> None:
        self._target = admin.rpartition(":")[2]
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.mute = False
        self.refuse = False

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """Serve; gives an admin address."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            self.cut()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await server.wait_closed()

    def cut(self) -> None:
        """Break every connection."""
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        if self.refuse:
            writer.transport.abort()
            return
        with contextlib.suppress(OSError):
            behind, onward = await asyncio.open_connection("127.0.0.1", int(self._target))
            self._writers.add(onward)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass(reader, onward, loud=True))
                group.create_task(self._pass(behind, writer, loud=False))

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, loud: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if loud or not self.mute:
                    writer.write(data)
                    await writer.drain()
        writer.close()
