"""Fixtures: one certificate per run, servers and clients that are closed after each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from wtp.transport.certs import Certificate, create_certificate
from wtp.transport.client import Trust, connect
from wtp.transport.server import Server, serve
from wtp.transport.session import Session

from .support import Recorder

ServeCall = Callable[..., Awaitable[Server]]
ConnectCall = Callable[..., Awaitable[Session]]


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    folder: Path = tmp_path_factory.mktemp("certs")
    return create_certificate(folder)


@pytest.fixture
async def start(certificate: Certificate) -> AsyncIterator[ServeCall]:
    """Start servers; ``start(accept, **options)``."""
    servers: list[Server] = []

    async def call(accept: Any, **options: Any) -> Server:
        server = await serve("127.0.0.1", 0, options.pop("cert", certificate), accept, **options)
        servers.append(server)
        return server

    yield call
    for server in servers:
        await server.close()


@pytest.fixture
async def dial(certificate: Certificate) -> AsyncIterator[ConnectCall]:
    """Connect to a server; ``dial(server, events, **options)``."""
    sessions: list[Session] = []

    async def call(server: Server, events: Any = None, **options: Any) -> Session:
        trust = options.pop("trust", Trust(cert_hash=certificate.sha256))
        target = options.pop("target", "/wt")
        url = f"https://127.0.0.1:{server.address[1]}{target}"
        session = await connect(url, events or Recorder(), trust, **options)
        sessions.append(session)
        return session

    yield call
    for session in sessions:
        session.close()
        await session.wait_closed()
