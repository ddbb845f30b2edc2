"""REST over HTTP/2: one POST per object, all on one connection; httpx to hypercorn."""

from __future__ import annotations

import asyncio
import socket
from importlib import import_module
from typing import Any

from wtp.bench.compare_ends import Security, Take
from wtp.bench.rival_http import client_tls, scheme

LANES = 16
REQUESTS = 1_000_000_000
"""Hypercorn closes a connection after 1000 requests unless told otherwise."""


class Listener:
    """A hypercorn server in a task of its own.

    Attributes:
        address: `host` and `port`.
        between: Nothing stands between the ends.
    """

    def __init__(self, sock: socket.socket) -> None:
        host, port = sock.getsockname()
        self.address: dict[str, Any] = {"host": host, "port": port}
        self.between: list[int] = []
        self._end = asyncio.Event()
        self._handle = sock.detach()  # hypercorn closes it
        self._task: asyncio.Task[None] | None = None

    def start(self, app: Any, security: Security) -> None:
        """Begin to serve."""
        config = import_module("hypercorn.config").Config()
        place = [f"fd://{self._handle}"]
        config.bind, config.insecure_bind = ([], place) if security.plain else (place, [])
        if not security.plain:
            config.certfile, config.keyfile = str(security.cert), str(security.key)
        config.accesslog, config.errorlog, config.loglevel = None, "-", "WARNING"
        config.keep_alive_max_requests = REQUESTS
        config.graceful_timeout = config.shutdown_timeout = 0.5
        serve = import_module("hypercorn.asyncio").serve
        self._task = asyncio.create_task(serve(app, config, shutdown_trigger=self._end.wait))

    async def close(self) -> None:
        """Stop serving."""
        self._end.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=3)
            self._task.cancel()
            await asyncio.wait({self._task})


async def listen(host: str, security: Security, take: Take) -> Listener:
    """Serve POST to any path."""

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while True:
                message = await receive()
                await send({"type": f"{message['type']}.complete"})
                if message["type"] == "lifespan.shutdown":
                    return
        parts = []
        more = True
        while more:
            message = await receive()
            parts.append(message.get("body", b""))
            more = message.get("more_body", False)
        take(b"".join(parts))
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    listener = Listener(socket.create_server((host, 0)))
    listener.start(app, security)
    return listener


class Sender:
    """One HTTP/2 connection."""

    lanes = LANES

    def __init__(self, client: Any, url: str) -> None:
        self._client = client
        self._url = url

    async def send(self, data: bytes) -> bool:
        """Post an object and read the answer."""
        answer = await self._client.post(self._url, content=data)
        return bool(answer.status_code == 204 and answer.http_version == "HTTP/2")

    async def ask(self, data: bytes) -> None:
        """The answer to a POST is the answer."""
        await self.send(data)

    async def close(self) -> None:
        """Close the connection."""
        await self._client.aclose()


async def connect(address: dict[str, Any], security: Security, use: str) -> Sender:
    """Make the client; its connection opens when it is needed."""
    httpx = import_module("httpx")
    client = httpx.AsyncClient(
        http1=False,
        http2=True,
        verify=client_tls(security),
        timeout=60.0,
        trust_env=False,
        limits=httpx.Limits(max_connections=1, max_keepalive_connections=1),
    )
    where = f"{address['host']}:{address['port']}"
    return Sender(client, f"{scheme(security, 'http')}://{where}/objects")
