"""Certificates of one test session, and servers that play brokers."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.operators.papers import DAY, Authority, Pair

Play = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Serve = Callable[..., Awaitable[int]]


@dataclass(frozen=True, slots=True)
class Papers:
    """What is signed by whom.

    Attributes:
        ca: File of the authority that is trusted.
        other_ca: File of another one.
        server: For localhost and 127.0.0.1.
        elsewhere: For another host.
        expired: For localhost and 127.0.0.1, until yesterday.
        client: Of a client.
        stranger: Of a client, signed by the other authority.
    """

    ca: str
    other_ca: str
    server: Pair
    elsewhere: Pair
    expired: Pair
    client: Pair
    stranger: Pair


@pytest.fixture(scope="session")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    folder: Path = tmp_path_factory.mktemp("papers")
    ca, other = Authority(folder, "authority"), Authority(folder, "other")
    here = ("localhost", "127.0.0.1")
    return Papers(
        ca.file,
        other.file,
        ca.sign("server", *here),
        ca.sign("elsewhere", "broker.example"),
        ca.sign("expired", *here, until=datetime.now(UTC) - DAY),
        ca.sign("camera"),
        other.sign("stranger"),
    )


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Serves TCP connections; returns the port."""
    servers: list[asyncio.Server] = []
    open_ones: set[asyncio.StreamWriter] = set()

    async def start(play: Play, tls: ssl.SSLContext | None = None) -> int:
        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            open_ones.add(writer)
            try:
                await play(reader, writer)
            except OSError:
                pass
            finally:
                writer.close()

        server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
        servers.append(server)
        port: int = server.sockets[0].getsockname()[1]
        return port

    yield start
    for server in servers:
        server.close()
    for writer in open_ones:
        writer.transport.abort()
    await asyncio.sleep(0)
