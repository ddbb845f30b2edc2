"""What the server does about floods, strangers, vanished peers, sizes of packets, and ends."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
from contextlib import suppress

import pytest
from aioquic.h3.connection import H3Connection
from aioquic.quic.connection import QuicConnection

from wtp.errors import UsageError, WtpError
from wtp.transport.capsule import encode_close, encode_varint, to_http_code
from wtp.transport.certs import Certificate
from wtp.transport.client import Trust, connect
from wtp.transport.limits import Limits
from wtp.transport.server import Server, serve

from .conftest import ConnectCall, ServeCall
from .raw import raw_client, raw_configuration, varints
from .support import Echo, Recorder, until


def first_flight() -> bytes:
    quic = QuicConnection(configuration=raw_configuration())
    quic.connect(("127.0.0.1", 1), now=0.0)
    return quic.datagrams_to_send(now=0.0)[0][0]


def spray(server: Server, datagrams: list[bytes]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for data in datagrams:
            sock.sendto(data, server.address)


async def test_half_open_cap_and_deadline(start: ServeCall, dial: ConnectCall) -> None:
    limits = Limits(half_open=20, handshake_s=0.4)
    server = await start(Recorder, limits=limits)
    spray(server, [first_flight() for _ in range(60)])
    await until(lambda: server.counters["retries"] >= 40)
    # Half of the cap is given without questions; then addresses have to be proven.
    assert server._half_open == 11
    await dial(server)  # an honest client still gets in, by Retry
    await until(lambda: server._half_open == 0)
    assert server.counters["refused-handshake-timeout"] == 11
    assert len(server._links) == 1


async def test_half_open_cap_is_hard(start: ServeCall) -> None:
    server = await start(Recorder, limits=Limits(half_open=0))
    spray(server, [first_flight() for _ in range(5)])
    await until(lambda: server.counters["refused-half-open"] == 5)
    assert not server._links


async def test_retry_keeps_no_state_before_the_address_is_proven(
    start: ServeCall, dial: ConnectCall
) -> None:
    server = await start(Recorder, retry=True)
    spray(server, [first_flight() for _ in range(30)])
    await until(lambda: server.counters["retries"] == 30)
    assert not server._links
    session = await dial(server)
    assert server.counters["retries"] == 31
    session.send(session.open_stream(), bytes(10_000), end=True)
    await session.drained()


async def test_retry_with_a_stock_client(start: ServeCall) -> None:
    server = await start(Recorder, retry=True)
    async with raw_client(server) as client:
        assert client.status(await client.request()) == b"200"


async def test_forged_token_gets_nothing(start: ServeCall) -> None:
    server = await start(Recorder, retry=True)
    quic = QuicConnection(configuration=raw_configuration(token=b"t" * 60))
    quic.connect(("127.0.0.1", 1), now=0.0)
    spray(server, [quic.datagrams_to_send(now=0.0)[0][0], first_flight()])
    await until(lambda: server.counters["retries"] == 1)
    assert not server._links


async def test_garbage_changes_nothing(start: ServeCall, dial: ConnectCall) -> None:
    server = await start(lambda session: Echo()(session))
    session = await dial(server)
    flight = first_flight()
    rubbish = [os.urandom(size) for size in (1, 7, 20, 21, 50, 1200, 1452)]
    rubbish += [bytes([0xC0]) + os.urandom(1300), bytes([0x40]) + os.urandom(40), b"\xff" * 1300]
    rubbish += [flight[:40] + os.urandom(1160), flight[:-1], flight[:900]]
    spray(server, rubbish * 5)
    session.send(session.open_stream(), b"fine", end=True)
    await session.drained()
    assert len(server._links) == 1
    assert server.counters["malformed"] > 0


async def test_unknown_version_is_answered(start: ServeCall) -> None:
    server = await start(Recorder)
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.connect(server.address)
        sock.send(b"\xc0\x0a\x1a\x2a\x3a\x08" + b"d" * 8 + b"\x08" + b"s" * 8 + bytes(1200))
        async with asyncio.timeout(60):
            answer = await loop.sock_recv(sock, 2000)
    assert answer[1:5] == bytes(4)
    assert answer.endswith((1).to_bytes(4, "big"))


async def test_stateless_reset_after_the_server_forgot(start: ServeCall, dial: ConnectCall) -> None:
    server = await start(Recorder)
    events = Recorder()
    session = await dial(server, events)
    for link in list(server._links):
        link.abort("test")
    session.send(session.open_stream(), bytes(3000))
    async with asyncio.timeout(60):
        code, reason = await events.was_closed()
    assert code == 1
    assert "does not know this connection" in reason
    assert server.counters["resets"] >= 1


async def test_restarted_server_is_recognised(certificate: Certificate, dial: ConnectCall) -> None:
    """The key is derived from the certificate's, so the next process signs the same tokens."""
    first = await serve("127.0.0.1", 0, certificate, Recorder)
    events = Recorder()
    session = await dial(first, events)
    port = first.address[1]
    assert first._endpoint is not None
    first._endpoint.close()
    second = await serve("127.0.0.1", port, certificate, Recorder)
    session.send(session.open_stream(), bytes(3000))
    async with asyncio.timeout(60):
        code, _ = await events.was_closed()
    assert (code, second.counters["resets"] >= 1) == (1, True)
    await first.close()
    await second.close()


async def test_vanished_server_is_noticed_on_loopback(start: ServeCall, dial: ConnectCall) -> None:
    server = await start(Recorder)
    events = Recorder()
    session = await dial(server, events)
    assert server._endpoint is not None
    server._endpoint.close()
    session.send(session.open_stream(), bytes(3000))
    async with asyncio.timeout(60):
        assert await events.was_closed() == (1, "the server is gone")


async def test_vanished_client_ends_by_silence(start: ServeCall) -> None:
    remote = Recorder()
    limits = Limits(idle_s=0.4, ping_s=0.1)
    server = await start(remote, limits=limits)
    async with raw_client(server) as client:
        await client.request()
        client.datagram_received = lambda data, addr: None  # type: ignore[method-assign]
        assert await remote.was_closed() == (1, "Idle timeout")
    assert not server._links


async def test_connection_without_request_is_closed_quietly(start: ServeCall) -> None:
    server = await start(Recorder, limits=Limits(handshake_s=0.1))
    async with raw_client(server) as client:
        client.start_http()
        ended = await client.wait_ended()
    assert (ended.error_code, ended.reason_phrase) == (0x100, "")


@pytest.mark.parametrize(
    ("request_options", "status"),
    [
        ({"path": b"/"}, b"404"),
        ({"path": b"/wt", "method": b"GET"}, b"404"),
        ({"protocol": b"websocket"}, b"501"),
        ({"protocol": b"webtransport-h3"}, b"200"),
        ({"path": b"/wt?room=r"}, b"200"),
    ],
)
async def test_status_of_requests(
    start: ServeCall, request_options: dict[str, bytes], status: bytes
) -> None:
    server = await start(Recorder)
    async with raw_client(server) as client:
        assert client.status(await client.request(**request_options)) == status


async def test_announced_settings(start: ServeCall) -> None:
    server = await start(Recorder)
    async with raw_client(server) as client:
        await client.request()
        assert client.http is not None
        await client.wait_for(lambda: client.http and client.http.received_settings)
        settings = client.http.received_settings
        assert client.quic._remote_max_streams_uni == 4096
    assert settings == {
        0x1: 0,
        0x7: 0,
        0x8: 1,
        0x33: 1,
        0x21: 1,
        0x2B603742: 1,
        0xC671706A: 1,
        0x2C7CF000: 1,
    }


async def test_draft_14_is_an_option(start: ServeCall) -> None:
    server = await start(Recorder, limits=Limits(draft_14=True))
    async with raw_client(server) as client:
        await client.request()
        await client.wait_for(lambda: client.http and client.http.received_settings)
        assert client.http is not None
        assert (client.http.received_settings or {}).get(0x14E9CD29) == 1


async def test_client_without_datagrams(start: ServeCall, monkeypatch: pytest.MonkeyPatch) -> None:
    remote = Recorder()
    server = await start(remote)
    monkeypatch.setattr(H3Connection, "_get_local_settings", lambda self: {0x2B603742: 1, 0x8: 1})
    async with raw_client(server, datagrams=False) as client:
        assert client.status(await client.request()) == b"200"
        assert remote.session is not None
        assert not remote.session.send_datagram(b"x")


async def test_second_session_on_a_connection_is_rejected(start: ServeCall) -> None:
    server = await start(Recorder)
    async with raw_client(server) as client:
        first = await client.request()
        assert client.http is not None
        second = client.quic.get_next_available_stream_id()
        client.http.send_headers(
            second,
            [
                (b":method", b"CONNECT"),
                (b":scheme", b"https"),
                (b":authority", b"h"),
                (b":path", b"/wt"),
                (b":protocol", b"webtransport"),
            ],
        )
        client.transmit()
        await until(lambda: server.counters["refused-second-session"])
        assert client.status(first) == b"200"
        assert len(server.sessions) == 1


CLOSES = {
    "capsule": (encode_close(9, "bye"), (9, "bye")),
    "grease-then-capsule": (
        encode_varint(0x17 + 41 * 0x29) + encode_varint(3) + b"xyz" + encode_close(4, ""),
        (4, ""),
    ),
    "fin": (b"", (0, "")),
}


@pytest.mark.parametrize("kind", CLOSES)
async def test_ends_on_the_connect_stream(start: ServeCall, kind: str) -> None:
    remote = Recorder()
    server = await start(remote, limits=Limits(linger_s=0.2))
    body, expected = CLOSES[kind]
    async with raw_client(server) as client:
        stream = await client.request()
        assert client.http is not None
        client.http.send_data(stream, body, end_stream=True)
        client.transmit()
        assert await remote.was_closed() == expected
        assert (await client.wait_ended()).error_code == 0x100
    assert remote.closes == [expected]


async def test_page_that_stays_after_its_capsule(start: ServeCall) -> None:
    """The session ends at the capsule, not when the connection does."""
    remote = Recorder()
    server = await start(remote, limits=Limits(linger_s=30))
    async with raw_client(server) as client:
        stream = await client.request()
        assert client.http is not None
        client.http.send_data(stream, encode_close(0, "") + b"", end_stream=False)
        client.transmit()
        assert await remote.was_closed() == (0, "")
        assert client.ended is None


@pytest.mark.parametrize("stop_first", [False, True])
async def test_reset_of_the_connect_stream(start: ServeCall, stop_first: bool) -> None:
    remote = Recorder()
    server = await start(remote, limits=Limits(linger_s=0.2))
    async with raw_client(server) as client:
        stream = await client.request()
        if stop_first:
            client.quic.stop_stream(stream, 0x170D7B68)
        client.quic.reset_stream(stream, 0x170D7B68)
        client.transmit()
        assert (await remote.was_closed())[0] == 0
        await client.wait_ended()
    assert len(remote.closes) == 1


async def test_capsule_after_stop_sending(start: ServeCall) -> None:
    remote = Recorder()
    server = await start(remote, limits=Limits(linger_s=0.2))
    async with raw_client(server) as client:
        stream = await client.request()
        assert client.http is not None
        client.quic.stop_stream(stream, 0x170D7B68)
        client.http.send_data(stream, encode_close(6, "x"), end_stream=True)
        client.transmit()
        await remote.was_closed()
        await client.wait_ended()
    assert len(remote.closes) == 1


@pytest.mark.parametrize(("sent", "code"), [(0x100, 0), (42, 42), (to_http_code(42), 42), (0, 0)])
async def test_quic_close_is_an_end(start: ServeCall, sent: int, code: int) -> None:
    remote = Recorder()
    server = await start(remote)
    async with raw_client(server) as client:
        await client.request()
        client.close(error_code=sent, reason_phrase="why")
        assert await remote.was_closed() == (code, "why")
    assert not server._links


async def test_malformed_close_capsule_ends_the_session(start: ServeCall) -> None:
    remote = Recorder()
    server = await start(remote, limits=Limits(linger_s=0.1))
    async with raw_client(server) as client:
        stream = await client.request()
        assert client.http is not None
        client.http.send_data(stream, varints(0x2843, 1 << 30), end_stream=False)
        client.transmit()
        assert (await remote.was_closed())[0] == 0x10


async def test_caps_on_sessions(start: ServeCall, dial: ConnectCall) -> None:
    server = await start(lambda session: Recorder(session), limits=Limits(sessions=2))
    first = await dial(server)
    await dial(server)
    events = Recorder()
    await dial(server, events)
    assert await events.was_closed() == (0x11, "The router is full.")
    first.close()
    await first.wait_closed()
    await until(lambda: len(server.sessions) == 1)
    await dial(server)
    assert server.counters["refused-full"] == 1


async def test_cap_per_address(
    start: ServeCall, dial: ConnectCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("server", "listener"):
        monkeypatch.setattr(f"wtp.transport.{module}.is_loopback", lambda host: False)
    server = await start(lambda session: Recorder(session), limits=Limits(sessions_per_address=1))
    await dial(server)
    events = Recorder()
    await dial(server, events)
    assert await events.was_closed() == (0x11, "Too many sessions from this address.")
    spray(server, [first_flight()])
    await until(lambda: server.counters["refused-address-connections"] == 1)


async def test_packet_size_grows_on_loopback(start: ServeCall, dial: ConnectCall) -> None:
    remote = Recorder()
    server = await start(remote)
    session = await dial(server)
    assert remote.session is not None
    other = remote.session
    await until(lambda: session.stats.datagram_bytes == other.stats.datagram_bytes == 8900)


async def test_fixed_packet_size_is_kept(start: ServeCall, dial: ConnectCall) -> None:
    remote = Recorder()
    server = await start(remote, mtu=1300)
    sizes: set[int] = set()
    received = server._received

    def spy(data: bytes, address: tuple[str, int]) -> None:
        sizes.add(len(data))
        received(data, address)

    assert server._endpoint is not None
    server._endpoint._received = spy
    session = await dial(server, mtu=1352)
    session.send(session.open_stream(), bytes(300_000), end=True)
    await session.drained()
    assert max(sizes) == session.stats.datagram_bytes == 1352
    assert remote.session is not None
    assert remote.session.stats.datagram_bytes == 1300


@pytest.mark.parametrize("mtu", [1, 1199, 16384, 32000])
async def test_impossible_packet_sizes(certificate: Certificate, mtu: int) -> None:
    with pytest.raises(UsageError):
        await serve("127.0.0.1", 0, certificate, Recorder, mtu=mtu)


@pytest.mark.parametrize(("server_offload", "client_offload"), [(False, False), (True, False)])
async def test_plain_path(
    start: ServeCall, dial: ConnectCall, server_offload: bool, client_offload: bool
) -> None:
    server = await start(lambda session: Echo()(session), offload=server_offload)
    assert server._endpoint is not None
    assert server._endpoint.gso == server._endpoint.gro == server_offload
    events = Recorder()
    session = await dial(server, events, offload=client_offload)
    events.session = session
    session.send(session.open_stream(), bytes(2_000_000), end=True)
    await events.until(lambda: events.ended, timeout=60)
    assert events.received_bytes == 2_000_000


async def test_offload_failure_falls_back(start: ServeCall, dial: ConnectCall) -> None:
    """A path that refuses UDP_SEGMENT at the send call (some drivers do) is used plainly."""
    remote = Recorder()
    server = await start(remote)
    session = await dial(server, mtu=1200)
    carrier = session._carrier
    endpoint = carrier._send.__self__  # type: ignore[attr-defined]
    inner = endpoint._sock

    class Refusing:
        def __getattr__(self, name: str) -> object:
            return getattr(inner, name)

        def sendmsg(
            self, buffers: list[bytes], ancillary: tuple[object, ...], *rest: object
        ) -> int:
            if ancillary:
                raise OSError(5, "Input/output error")
            return int(inner.sendmsg(buffers, ancillary, *rest))

    endpoint._sock = Refusing()
    session.send(session.open_stream(), bytes(100_000), end=True)
    await session.drained()
    assert not endpoint.gso
    endpoint._sock = inner


async def test_connection_survives_garbage_collection(
    start: ServeCall, certificate: Certificate
) -> None:
    remote = Recorder()
    server = await start(remote)
    url = f"https://127.0.0.1:{server.address[1]}/wt"
    await connect(url, Recorder(), Trust(cert_hash=certificate.sha256))
    gc.collect()
    assert remote.session is not None
    remote.session.send(remote.session.open_stream(), bytes(10_000), end=True)
    await remote.session.drained()
    assert remote.closes == []


async def test_taken_port(start: ServeCall, certificate: Certificate) -> None:
    server = await start(Recorder)
    with pytest.raises(WtpError, match="Address already in use") as caught:
        await serve("127.0.0.1", server.address[1], certificate, Recorder)
    assert caught.value.code == "bind"


async def test_ipv6_literal(certificate: Certificate) -> None:
    remote = Recorder()
    with suppress(WtpError):
        server = await serve("::1", 0, certificate, remote)
        url = f"https://[::1]:{server.address[1]}/wt"
        session = await connect(url, Recorder(), Trust(ca=certificate.cert_path))
        assert remote.session is not None
        assert remote.session.peer[0] == "::1"
        session.close()
        await session.wait_closed()
        await server.close()
