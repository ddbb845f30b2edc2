"""WebSocket: one binary message per object, aiohttp on both ends, no compression."""

from __future__ import annotations

from typing import Any

from wtp.bench.compare_ends import Security, Take
from wtp.bench.rival_http import Site, client_tls, scheme, server_tls, site


async def listen(host: str, security: Security, take: Take) -> Site:
    """Serve WebSockets at /objects."""
    from aiohttp import WSMsgType, web

    async def serve(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(compress=False, max_msg_size=0)
        await ws.prepare(request)
        async for message in ws:
            if message.type is WSMsgType.BINARY and take(message.data):
                await ws.send_bytes(b"1")
        return ws

    app = web.Application()
    app.router.add_get("/objects", serve)
    return await site(app, host, server_tls(security))


class Sender:
    """One WebSocket."""

    lanes = 1

    def __init__(self, client: Any, ws: Any) -> None:
        self._client = client
        self._ws = ws

    async def send(self, data: bytes) -> bool:
        """Send a message; waits while the socket's buffer is full."""
        await self._ws.send_bytes(data)
        return True

    async def ask(self, data: bytes) -> None:
        """Send a message and wait for the server's."""
        await self._ws.send_bytes(data)
        await self._ws.receive_bytes()

    async def close(self) -> None:
        """Close in good order: what is under way arrives first."""
        await self._ws.close()
        await self._client.close()


async def connect(address: dict[str, Any], security: Security, use: str) -> Sender:
    """Open the WebSocket."""
    import aiohttp

    client = aiohttp.ClientSession()
    url = f"{scheme(security, 'ws')}://{address['host']}:{address['port']}/objects"
    try:
        ws = await client.ws_connect(url, ssl=client_tls(security), compress=0, max_msg_size=0)
    except BaseException:
        await client.close()
        raise
    return Sender(client, ws)
