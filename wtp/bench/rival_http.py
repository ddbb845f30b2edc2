"""What the rivals on HTTP share: TLS on both ends, and an aiohttp server on a free port."""

from __future__ import annotations

import ssl
from typing import Any

from wtp.bench.compare_ends import Security


def server_tls(security: Security) -> ssl.SSLContext | None:
    """TLS of a server; None for plain."""
    if security.plain:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(security.cert, security.key)
    return context


def client_tls(security: Security) -> ssl.SSLContext:
    """TLS of a client that trusts the one certificate."""
    return ssl.create_default_context(cafile=str(security.cert))


def scheme(security: Security, name: str) -> str:
    """`http` or `ws`, with an s for TLS."""
    return name if security.plain else f"{name}s"


class Site:
    """An aiohttp application that listens.

    Attributes:
        address: `host` and `port`.
        between: Nothing stands between the ends.
    """

    def __init__(self, runner: Any, address: dict[str, Any]) -> None:
        self.address = address
        self.between: list[int] = []
        self._runner = runner

    async def close(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()


async def site(app: Any, host: str, tls: ssl.SSLContext | None) -> Site:
    """Serve an aiohttp application on a free port of a host."""
    from aiohttp import web

    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    await web.TCPSite(runner, host, 0, ssl_context=tls).start()
    return Site(runner, {"host": host, "port": runner.addresses[0][1]})
