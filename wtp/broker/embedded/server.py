"""The embedded broker as a whole: data folder, binary port, REST side, upkeep, clean end."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Awaitable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from wtp.broker.embedded import wsroutes as websockets
from wtp.broker.embedded.admin import Admin
from wtp.broker.embedded.connection import Connection
from wtp.broker.embedded.core import Core, Settings
from wtp.broker.embedded.http import HttpSide
from wtp.broker.embedded.store import Store
from wtp.broker.embedded.values import FsyncPolicy
from wtp.errors import StorageError, WtpError

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

SWEEP_S = 10.0
"""Pause between two sweeps for retention."""

RATE_S = 5.0
"""Interval over which message rates are measured."""


@dataclass(frozen=True, slots=True)
class BrokerSettings:
    """What `wtp broker` can be told.

    Attributes:
        folder: Data folder.
        host: Address to listen on.
        port: Port of the binary protocol; 0 takes a free one.
        http_host: Address of the REST side.
        http_port: Its port; 0 takes a free one; None leaves the REST side out.
        fsync: When data is forced to the disk.
        protocol: Limits and times of the binary protocol.
    """

    folder: Path
    host: str = "127.0.0.1"
    port: int = 6650
    http_host: str = "127.0.0.1"
    http_port: int | None = 8080
    fsync: FsyncPolicy = FsyncPolicy.INTERVAL
    protocol: Settings = field(default_factory=Settings)


class BrokerServer:
    """A running broker; made by `serve_broker`.

    Args:
        settings: What it was told.
        store: The opened data folder; closed with the broker.
    """

    def __init__(self, settings: BrokerSettings, store: Store) -> None:
        self.settings = settings
        self.store = store
        self.core = Core(store, settings.protocol)
        self.admin = Admin(self.core)
        self._server: asyncio.Server | None = None
        self._http: HttpSide | None = None
        self._upkeep: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the binary protocol, as bound."""
        return self.admin.binary

    @property
    def http_address(self) -> tuple[str, int] | None:
        """Host and port of the REST side, as bound; None without one."""
        return self.admin.http if self._http is not None else None

    @property
    def damage(self) -> list[str]:
        """What was found torn or damaged in the data folder, one sentence each."""
        return self.store.damage

    async def start(self) -> None:
        """Bind both ports and begin to serve.

        Raises:
            WtpError: A port cannot be bound.
        """
        settings = self.settings
        loop = asyncio.get_running_loop()
        self._server = await _bound(
            loop.create_server(
                lambda: Connection(self.core), settings.host, settings.port, backlog=512
            ),
            settings.host,
            settings.port,
        )
        self.admin.binary = _name(self._server.sockets[0])
        if settings.http_port is not None:
            self._http = HttpSide(self.admin)
            websockets.mount(self._http.app, self.core)
            start = self._http.start(settings.http_host, settings.http_port)
            self.admin.http = await _bound(start, settings.http_host, settings.http_port)
        for sentence in self.store.damage:
            _log.warning("data folder: %s", sentence)
        self._upkeep = loop.create_task(self._keep_up())

    async def _keep_up(self) -> None:
        """Measure rates, and apply retention."""
        swept = ticked = time.monotonic()
        while True:
            await asyncio.sleep(RATE_S)
            now = time.monotonic()
            self.core.tick(now - ticked)
            ticked = now
            if now - swept < SWEEP_S:
                continue
            swept = now
            try:
                self.store.sweep()
            except StorageError:
                _log.exception("retention could not be applied")

    async def close(self) -> None:
        """Stop: no new clients, receipts and cursors written, connections and files closed."""
        if self._closed:
            return
        self._closed = True
        if self._upkeep is not None:
            self._upkeep.cancel()
            await asyncio.wait({self._upkeep})
        if self._server is not None:
            self._server.close()
        if self._http is not None:
            await self._http.close()
        await self.core.close()
        if self._server is not None:
            await self._server.wait_closed()
        self.store.close()


async def serve_broker(settings: BrokerSettings, store: Store | None = None) -> BrokerServer:
    """Start a broker on the running loop.

    Args:
        settings: Where it listens and keeps its data.
        store: An opened data folder to use instead of `settings.folder`.

    Returns:
        The broker, listening; end it with `close`.

    Raises:
        StorageError: The folder is locked by another broker, read-only, or of another format.
        WtpError: A port cannot be bound.
    """
    if store is None:
        store = Store(settings.folder, settings.fsync)
    server = BrokerServer(settings, store)
    try:
        await server.start()
    except BaseException:
        await server.close()
        raise
    return server


async def run_broker(settings: BrokerSettings, stop: asyncio.Event) -> None:
    """Serve until `stop` is set, then drain and close.

    Raises:
        StorageError: See `serve_broker`.
        ConnectionFailed: See `serve_broker`.
    """
    server = await serve_broker(settings)
    try:
        await stop.wait()
    finally:
        await server.close()


async def _bound(binding: Awaitable[_T], host: str, port: int) -> _T:
    try:
        return await binding
    except OSError as error:
        raise WtpError(
            f"Cannot listen on TCP {host}:{port}: {os.strerror(error.errno or 0)}.",
            hint="Another broker may be running there; choose another port, or 0 for a free one.",
            code="bind",
        ) from error


def _name(sock: socket.socket) -> tuple[str, int]:
    host, port = sock.getsockname()[:2]
    return str(host), int(port)
