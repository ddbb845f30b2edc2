"""Attacks on single connections: memory, CPU and defects of the QUIC library."""

from __future__ import annotations

import pytest
from aioquic.quic import events as quic_events
from aioquic.quic.connection import QuicConnection, QuicConnectionError
from aioquic.tls import CipherSuite

from wtp.errors import WtpError
from wtp.transport import verify
from wtp.transport.certs import Certificate
from wtp.transport.hardening import reset_token
from wtp.transport.limits import Limits
from wtp.transport.link import Link
from wtp.transport.verify import verify_aioquic

from .conftest import ConnectCall, ServeCall
from .raw import exchange, handshaken_pair, inject, raw_client, varints
from .support import Recorder, until

WINDOW = 1 << 20


def stream_frame(stream: int, offset: int, data: bytes) -> bytes:
    return varints(0x0E, stream, offset, len(data)) + data


def test_library_without_a_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    verify_aioquic()
    monkeypatch.setattr(verify, "_LOSS_NAMES", "_cc _renamed_away")
    with pytest.raises(WtpError, match=r"QuicPacketRecovery\._renamed_away") as caught:
        verify_aioquic.__wrapped__()
    assert "aioquic>=1.7.2,<1.8" in caught.value.hint


def test_window_does_not_follow_the_highest_offset(certificate: Certificate) -> None:
    _, server = handshaken_pair(certificate, Limits())
    inject(server, stream_frame(2, WINDOW - 1, b"x"))
    server.datagrams_to_send(now=1.0)
    assert server._streams[2].max_stream_data_local == WINDOW
    with pytest.raises(QuicConnectionError, match="Over stream data limit"):
        inject(server, stream_frame(2, 2 * WINDOW - 1, b"x"))


def test_stock_window_does(certificate: Certificate) -> None:
    """The attack works on the stock class, so the test above proves something."""
    _, server = handshaken_pair(certificate, Limits())
    inject(server, stream_frame(2, WINDOW - 1, b"x"))
    stream = server._streams[2]
    builder = None
    with pytest.raises(AttributeError):  # it goes on to write the raised limit
        QuicConnection._write_stream_limits(server, builder, None, stream)  # type: ignore[arg-type]
    assert stream.max_stream_data_local == 2 * WINDOW


def test_connection_window_bounds_all_streams(certificate: Certificate) -> None:
    _, server = handshaken_pair(certificate, Limits())
    for stream in (2, 6, 10, 14):
        inject(server, stream_frame(stream, WINDOW - 1, b"x"))
    server.datagrams_to_send(now=1.0)
    with pytest.raises(QuicConnectionError, match="Over connection data limit"):
        inject(server, stream_frame(18, WINDOW - 1, b"x"))


def test_released_bytes_open_the_windows(certificate: Certificate) -> None:
    client, server = handshaken_pair(certificate, Limits())
    inject(server, stream_frame(2, 0, bytes(1000)))
    assert not server.release(2, 1000)
    assert server.release(2, WINDOW)  # a quarter is worth a frame
    exchange(client, server, now=1.1)
    assert server._streams[2].max_stream_data_local_sent == 2 * WINDOW + 1000
    assert client._remote_max_data == 5 * WINDOW + 1000


def test_reset_stream_at_is_a_reset(certificate: Certificate) -> None:
    client, server = handshaken_pair(certificate, Limits())
    inject(server, stream_frame(2, 0, b"abc"))
    inject(server, varints(0x24, 2, 0x52E4A40FA8DB + 5, 10, 3))
    found: list[quic_events.QuicEvent] = []
    while (event := server.next_event()) is not None:
        found.append(event)
    resets = [event for event in found if isinstance(event, quic_events.StreamReset)]
    assert [(event.stream_id, event.error_code) for event in resets] == [(2, 0x52E4A40FA8DB + 5)]
    wire = server._serialize_transport_parameters()
    assert wire.endswith(bytes.fromhex("1d00c017f7586d2cb57100"))
    assert client._remote_max_streams_uni == 4096


def test_tokens_of_all_connection_ids_are_derived(certificate: Certificate) -> None:
    client, _ = handshaken_pair(certificate, Limits())
    known = [client._peer_cid, *client._peer_cid_available]
    assert len(known) > 1
    for cid in known:
        assert cid.stateless_reset_token == reset_token(b"k" * 32, cid.cid)


def test_lost_probe_is_no_congestion(certificate: Certificate) -> None:
    client, server = handshaken_pair(certificate, Limits())
    window = server._loss.congestion_window
    lost: list[int] = []
    server.probe_lost = lost.append
    assert len(server.build_probe(8900, now=1.0)[0][0]) == 8900
    for step in range(5):  # later packets are acknowledged, the probe is not
        server.send_ping(step)
        exchange(client, server, now=1.1 + step / 10)
        client.datagrams_to_send(now=1.1 + step / 10)
        exchange(client, server, now=1.15 + step / 10)
    assert lost == [8900]
    assert server._loss.congestion_window >= window
    assert server.mtu_bytes == 1200


def test_acknowledged_probe_raises_the_size(certificate: Certificate) -> None:
    client, server = handshaken_pair(certificate, Limits())
    for data, _ in server.build_probe(1452, now=1.0):
        client.receive_datagram(data, ("127.0.0.1", 40001), 1.0)
    exchange(client, server, now=1.1)
    assert server.mtu_bytes == 1452
    server.send_datagram_frame(bytes(1400))
    server.set_mtu(1200)
    assert server.datagrams_waiting() == 0  # it would block the queue for ever


async def test_huge_headers_frame_is_refused_unread(start: ServeCall) -> None:
    server = await start(Recorder)
    async with raw_client(server) as client:
        client.start_http()
        client.quic.send_stream_data(0, varints(0x1, 7 << 20) + bytes(1000))
        client.transmit()
        assert (await client.wait_ended()).error_code == 0x107


async def test_huge_settings_frame_is_refused_unread(start: ServeCall) -> None:
    server = await start(Recorder)
    async with raw_client(server) as client:
        client.quic.send_stream_data(2, varints(0x0, 0x4, 1 << 20) + bytes(1000))
        client.transmit()
        assert (await client.wait_ended()).error_code == 0x107


async def test_qpack_table_cannot_be_filled(start: ServeCall) -> None:
    server = await start(Recorder)
    async with raw_client(server) as client:
        client.start_http()
        encoder = client.quic.get_next_available_stream_id(is_unidirectional=True) - 8
        client.quic.send_stream_data(
            encoder, bytes.fromhex("3fe11f") + b"\x41a\x7f\x01" + b"b" * 128
        )
        client.transmit()
        assert (await client.wait_ended()).error_code in (0x200, 0x201)


async def test_too_many_open_streams_end_the_connection(start: ServeCall) -> None:
    server = await start(Recorder, limits=Limits(open_streams=200))
    async with raw_client(server) as client:
        await client.request()
        for number in range(300):
            client.quic.send_stream_data(14 + 4 * number, b"\x40\x54\x00x")
        client.transmit()
        assert (await client.wait_ended()).error_code == 0x107


async def test_early_streams_are_bounded(start: ServeCall) -> None:
    server = await start(Recorder)
    async with raw_client(server) as client:
        client.start_http()
        for number in range(300):
            client.quic.send_stream_data(14 + 4 * number, b"\x40\x54\x00x", end_stream=True)
        client.transmit()
        assert (await client.wait_ended()).error_code == 0x107


async def test_streams_may_overtake_the_request(start: ServeCall) -> None:
    remote = Recorder()
    server = await start(remote)
    async with raw_client(server) as client:
        client.start_http()
        client.quic.send_stream_data(14, b"\x40")
        client.transmit()
        client.quic.send_stream_data(14, b"\x54\x00early", end_stream=True)
        client.transmit()
        await client.request()
        await remote.until(lambda: remote.ended)
    assert bytes(remote.streams[14]) == b"early"


async def test_streams_of_another_session_are_stopped(start: ServeCall) -> None:
    remote = Recorder()
    server = await start(remote)
    async with raw_client(server) as client:
        await client.request()
        client.quic.send_stream_data(14, b"\x40\x54\x08foreign")
        client.transmit()
        stopped = quic_events.StopSendingReceived
        await client.wait_for(lambda: any(isinstance(event, stopped) for event in client.events))
    assert remote.streams == {}


async def test_bidirectional_streams_are_refused(start: ServeCall) -> None:
    server = await start(Recorder)
    async with raw_client(server) as client:
        await client.request()
        for number in range(70):
            client.quic.send_stream_data(4 + 4 * number, b"\x40\x41\x00x")
        client.transmit()
        assert (await client.wait_ended()).error_code == 0x107


async def test_chacha_is_not_negotiated(start: ServeCall) -> None:
    server = await start(Recorder)
    with pytest.raises(ConnectionError):
        async with raw_client(server, cipher_suites=[CipherSuite.CHACHA20_POLY1305_SHA256]):
            pass
    await until(lambda: not server._links)


async def test_new_connection_id_is_routed_before_its_first_use(
    start: ServeCall, dial: ConnectCall
) -> None:
    server = await start(Recorder)
    session = await dial(server, mtu=1200)
    link = next(iter(server._links))
    announced = {cid.cid for cid in link.quic._host_cids if cid.was_sent}
    assert len(announced) > 1
    assert announced <= set(server._by_cid)
    assert isinstance(session._carrier, Link)
    session._carrier.quic.change_connection_id()
    session.send(session.open_stream(), bytes(50_000), end=True)
    await session.drained()
    assert server.counters["resets"] == 0
    assert session.stats.packets_lost == 0
