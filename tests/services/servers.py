"""HTTP processors that behave in every way, on free ports."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from wtp.wire.process import decode_request, encode_one, form_of

Answering = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def echo(request: web.Request) -> web.Response:
    """Give the object back as it is."""
    body = await request.read()
    parcel = decode_request(request.headers, body)
    headers, body = encode_one(parcel, form_of(request.headers))
    return web.Response(body=body, headers=headers)


@asynccontextmanager
async def processor(answer: Answering = echo) -> AsyncIterator[str]:
    """A server whose `/process` answers as told; yields the URL."""
    app = web.Application(client_max_size=16 * 1024 * 1024)
    app.add_routes([web.post("/process", answer)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/process"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def raw(answer: bytes, *, close: bool = True) -> AsyncIterator[str]:
    """A server that reads a request's head and answers with these bytes."""
    connections: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(writer)
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
            if not close:
                await reader.read()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            connections.discard(writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/process"
    finally:
        server.close()
        for writer in list(connections):
            writer.close()
        await asyncio.sleep(0)
