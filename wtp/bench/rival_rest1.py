"""REST over HTTP/1.1: one POST per object with kept connections, aiohttp on both ends."""

from __future__ import annotations

from typing import Any

from wtp.bench.compare_ends import Security, Take
from wtp.bench.rival_http import Site, client_tls, scheme, server_tls, site

LANES = 6
"""Connections at most, as browsers allow per host: an answer must come before the next request."""


async def listen(host: str, security: Security, take: Take) -> Site:
    """Serve POST /objects."""
    from aiohttp import web

    async def post(request: web.Request) -> web.Response:
        take(await request.read())
        return web.Response(status=204)

    app = web.Application(client_max_size=16 << 20)
    app.router.add_post("/objects", post)
    return await site(app, host, server_tls(security))


class Sender:
    """One HTTP client with its connections."""

    lanes = LANES

    def __init__(self, client: Any, url: str) -> None:
        self._client = client
        self._url = url

    async def send(self, data: bytes) -> bool:
        """Post an object and read the answer."""
        async with self._client.post(self._url, data=data) as answer:
            return bool(answer.status == 204)

    async def ask(self, data: bytes) -> None:
        """The answer to a POST is the answer."""
        await self.send(data)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


async def connect(address: dict[str, Any], security: Security, use: str) -> Sender:
    """Make the client; its connections open when they are needed."""
    import aiohttp

    tls = client_tls(security)
    client = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=LANES, ssl=tls))
    where = f"{address['host']}:{address['port']}"
    return Sender(client, f"{scheme(security, 'http')}://{where}/objects")
