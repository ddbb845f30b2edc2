"""Every way a connection can fail has its own sentence, quickly."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from wtp.errors import ConnectionFailed, UsageError
from wtp.transport.certs import create_certificate
from wtp.transport.client import Trust, connect

from .conftest import ConnectCall, ServeCall
from .support import Recorder


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


async def failure(url: str, trust: Trust, timeout: float = 3.0) -> ConnectionFailed:
    with pytest.raises(ConnectionFailed) as caught:
        await connect(url, Recorder(), trust, timeout=timeout)
    assert caught.value.hint
    return caught.value


async def test_dead_port_fails_at_once() -> None:
    loop = asyncio.get_running_loop()
    start_s = loop.time()
    error = await failure(f"https://127.0.0.1:{free_port()}/wt", Trust(insecure=True))
    assert error.code == "nothing-listens"
    assert loop.time() - start_s < 2.5  # the time-out is 3 s


async def test_silent_port_fails_at_the_timeout() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        url = f"https://127.0.0.1:{sock.getsockname()[1]}/wt"
        error = await failure(url, Trust(insecure=True), timeout=0.3)
    assert error.code == "no-answer"
    assert "within 0.3 s" in error.message


async def test_wrong_hash_names_both(start: ServeCall, dial: ConnectCall) -> None:
    server = await start(Recorder)
    with pytest.raises(ConnectionFailed) as caught:
        await dial(server, trust=Trust(cert_hash="ab" * 32))
    assert caught.value.code == "wrong-hash"
    assert "ab" * 32 in caught.value.message
    assert "--cert-hash" in caught.value.hint
    assert server.counters["sessions"] == 0


@pytest.mark.parametrize("pinned", [True, False])
async def test_expired_certificate(
    start: ServeCall, dial: ConnectCall, tmp_path: Path, pinned: bool
) -> None:
    old = create_certificate(tmp_path, days=0)
    assert old.expired
    server = await start(Recorder, cert=old)
    trust = Trust(cert_hash=old.sha256) if pinned else Trust(ca=old.cert_path)
    with pytest.raises(ConnectionFailed, match="expired on 20") as caught:
        await dial(server, trust=trust)
    assert caught.value.code == "expired"


async def test_certificate_file_as_anchor(
    start: ServeCall, dial: ConnectCall, tmp_path: Path
) -> None:
    mine = create_certificate(tmp_path / "mine")
    other = create_certificate(tmp_path / "other")
    server = await start(Recorder, cert=mine)
    await dial(server, trust=Trust(ca=mine.cert_path))
    for trust in (Trust(ca=other.cert_path), Trust()):
        with pytest.raises(ConnectionFailed) as caught:
            await dial(server, trust=trust)
        assert caught.value.code == "untrusted"


async def test_certificate_for_another_host(
    start: ServeCall, dial: ConnectCall, tmp_path: Path
) -> None:
    elsewhere = create_certificate(tmp_path, hosts=["example.org"])
    server = await start(Recorder, cert=elsewhere)
    with pytest.raises(ConnectionFailed, match="not trusted"):
        await dial(server, trust=Trust(ca=elsewhere.cert_path))
    await dial(server, trust=Trust(cert_hash=elsewhere.sha256.upper()))
    await dial(server, trust=Trust(insecure=True))


async def test_unknown_host() -> None:
    error = await failure("https://no-such-host.invalid:4433/wt", Trust(insecure=True))
    assert error.code in ("unknown-host", "no-answer")


async def test_localhost_is_ipv4(start: ServeCall) -> None:
    server = await start(Recorder)
    url = f"https://localhost:{server.address[1]}/wt"
    session = await connect(url, Recorder(), Trust(insecure=True))
    assert session.peer[0] == "127.0.0.1"
    session.close()
    await session.wait_closed()


@pytest.mark.parametrize("url", ["http://h/wt", "https:///wt", "https://h:99999/wt", "https://[/"])
async def test_impossible_urls(url: str) -> None:
    with pytest.raises(UsageError):
        await connect(url, Recorder(), Trust(insecure=True))


def test_trust_is_one_thing() -> None:
    with pytest.raises(UsageError):
        Trust(cert_hash="ab" * 32, insecure=True)
    with pytest.raises(UsageError):
        Trust(cert_hash="abcd")
    assert Trust(cert_hash=":".join(["AB"] * 32)).wanted_hash == "ab" * 32


async def test_cancelled_connect_leaves_nothing(start: ServeCall) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        url = f"https://127.0.0.1:{sock.getsockname()[1]}/wt"
        task = asyncio.create_task(connect(url, Recorder(), Trust(insecure=True)))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
