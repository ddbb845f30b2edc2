from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from wtp.config.schema import BrokerSettings, RouterSettings, Settings
from wtp.errors import Refused, UsageError, WtpError
from wtp.router.run import Router
from wtp.transport.session import Session


def settings(**router: Any) -> Settings:
    return Settings(router=RouterSettings(**router), broker=BrokerSettings(start=False))


def test_public_address_needs_a_decision() -> None:
    with pytest.raises(UsageError, match="public address") as caught:
        Router(settings(listen="0.0.0.0:0"))
    assert "--insecure-no-auth" in caught.value.hint
    Router(settings(listen="0.0.0.0:0", insecure_no_auth=True))


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
async def test_taken_port_is_said(kind: socket.SocketKind, tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            taken.listen()
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        router = Router(settings(listen=listen, certs=str(tmp_path)))
        with pytest.raises(WtpError, match="in use") as caught:
            await router.run(lambda _: None)
    assert listen in str(caught.value)
    assert caught.value.hint


async def test_runs_without_a_broker_and_says_so(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    broker = BrokerSettings(url=f"pulsar://127.0.0.1:{port}", admin=f"http://127.0.0.1:{port}")
    router = Router(
        Settings(
            router=RouterSettings(listen="127.0.0.1:0", certs=str(tmp_path / "certs")),
            broker=broker,
        )
    )
    infos: list[dict[str, Any]] = []

    def ready(info: dict[str, Any]) -> None:
        infos.append(info)
        asyncio.get_running_loop().call_later(0.1, router.stop)

    async with asyncio.timeout(60):
        await router.run(ready)
    assert infos[0]["url"].startswith("https://127.0.0.1:")
    assert len(infos[0]["cert_hash"]) == 64
    snapshot = router.snapshot()
    assert snapshot["connected"] is False
    assert snapshot["status"] == "draining"


def session(origin: str, authority: str) -> Session:
    headers = {":authority": authority, "origin": origin}
    return cast(Session, SimpleNamespace(origin=origin, headers=headers, query={}))


@pytest.mark.parametrize(
    ("listen", "origins", "origin", "authority", "allowed"),
    [
        ("127.0.0.1:0", [], "http://localhost:8000", "127.0.0.1:4433", True),
        ("127.0.0.1:0", [], "file://", "127.0.0.1:4433", True),
        ("127.0.0.1:0", [], "null", "127.0.0.1:4433", True),
        ("127.0.0.1:0", [], "https://evil.example", "127.0.0.1:4433", False),
        ("0.0.0.0:0", [], "https://a.example", "a.example:4433", True),
        ("0.0.0.0:0", [], "https://a.example", "a.example", True),
        ("0.0.0.0:0", [], "https://b.example", "a.example:4433", False),
        ("0.0.0.0:0", [], "file://", "a.example:4433", False),
        ("0.0.0.0:0", ["https://b.example"], "https://b.example", "a.example", True),
        ("0.0.0.0:0", ["https://b.example"], "https://a.example", "a.example", False),
        ("0.0.0.0:0", ["*"], "https://c.example", "a.example", True),
    ],
)
def test_origins(
    listen: str, origins: list[str], origin: str, authority: str, allowed: bool
) -> None:
    router = Router(settings(listen=listen, origins=origins, insecure_no_auth=True))
    asked = session(origin, authority)
    assert router._origin_allowed(asked.origin, asked.headers) is allowed


def test_a_router_that_is_not_up_refuses_in_words() -> None:
    with pytest.raises(Refused, match="leaving"):
        Router(settings())._accept(session("", "x"))
