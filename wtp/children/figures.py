"""The figures of a running command by plain HTTP on this machine: `--metrics HOST:PORT`.

GET /stats     its snapshot as one JSON object
GET /metrics   the same as Prometheus text
"""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wtp.config.address import is_loopback, join_address, split_address
from wtp.errors import UsageError, WtpError

if TYPE_CHECKING:
    from aiohttp import web


@dataclass(frozen=True, slots=True)
class Pages:
    """What is served; both are asked on the loop.

    Attributes:
        stats: Makes the JSON text.
        metrics: Makes the Prometheus text.
    """

    stats: Callable[[], Awaitable[str]]
    metrics: Callable[[], Awaitable[bytes]]


def simple_pages(snapshot: Callable[[], dict[str, Any]], metrics: Callable[[], bytes]) -> Pages:
    """Pages of a role whose snapshot is made at once."""

    async def stats() -> str:
        return json.dumps(snapshot(), default=str)

    async def text() -> bytes:
        return metrics()

    return Pages(stats, text)


@contextlib.asynccontextmanager
async def serve_figures(listen: str, pages: Pages) -> AsyncIterator[str]:
    """Serve while the context lasts.

    Args:
        listen: `HOST:PORT` of this machine; port 0 takes a free one.
        pages: What is served.

    Yields:
        The URL, `http://HOST:PORT`.

    Raises:
        UsageError: The address is a public one.
        WtpError: It cannot be bound (code `bind`).
    """
    host, _ = split_address(listen)
    if not is_loopback(host):
        raise UsageError(
            f"{listen} is a public address, and figures are for this machine only.",
            hint="Use --metrics 127.0.0.1:PORT, and fetch them from here.",
        )
    from aiohttp import web

    sock = _bind(listen)
    runner = web.AppRunner(_application(pages), access_log=None, shutdown_timeout=1.0)
    try:
        await runner.setup()
        await web.SockSite(runner, sock).start()
        yield f"http://{join_address(*sock.getsockname()[:2])}"
    finally:
        await runner.cleanup()
        sock.close()


def _bind(listen: str) -> socket.socket:
    host, port = split_address(listen)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise WtpError(
            f"Cannot serve figures on {listen}: {error.strerror}.",
            hint="Choose another --metrics (port 0 takes a free one), or stop what uses it.",
            code="bind",
        ) from error
    sock.setblocking(False)
    return sock


def _application(pages: Pages) -> web.Application:
    from aiohttp import web
    from prometheus_client import CONTENT_TYPE_LATEST

    @web.middleware
    async def this_machine(request: web.Request, handler: Any) -> web.StreamResponse:
        """Refuse pages that reach this port under a name of their own (DNS rebinding)."""
        try:
            host = request.url.host or ""
        except ValueError:
            host = ""
        if not is_loopback(host):
            raise web.HTTPForbidden(text="figures are for this machine only\n")
        answer: web.StreamResponse = await handler(request)
        return answer

    async def stats(_: web.Request) -> web.Response:
        return web.Response(text=await pages.stats(), content_type="application/json")

    async def prometheus(_: web.Request) -> web.Response:
        return web.Response(
            body=await pages.metrics(), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )

    app = web.Application(middlewares=[this_machine], client_max_size=1024)
    app.add_routes([web.get("/stats", stats), web.get("/metrics", prometheus)])
    return app
