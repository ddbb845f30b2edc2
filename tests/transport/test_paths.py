"""Connections live on when addresses change or large packets begin to vanish."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wtp.transport.client import Client
from wtp.transport.endpoint import Endpoint, connect_udp
from wtp.transport.limits import Limits
from wtp.transport.link import Link

from .conftest import ConnectCall, ServeCall
from .support import Echo, Recorder, until


async def test_nat_rebinding_keeps_the_session(start: ServeCall, dial: ConnectCall) -> None:
    remote = Echo()
    server = await start(remote, limits=Limits(ping_s=0.4))
    events = Recorder()
    session = await dial(server, events)
    events.session = session
    client = next(one for one in Client._alive if one._link is session._carrier)
    link = next(iter(server._links))
    old_peer = link.peer
    old = client._endpoint
    sock = connect_udp(client._address, old._sock.family)
    client._endpoint = Endpoint(sock, client._received, client._batch_done, client._failed)
    client._link._send = client._endpoint.send
    old.close()
    session.send(session.open_stream(), bytes(200_000), end=True)
    await events.until(lambda: events.ended)
    assert events.received_bytes == 200_000
    await until(lambda: link.peer != old_peer)
    assert link.quic.get_peer_address() == link.peer
    await until(lambda: link.quic.mtu_bytes == 8900)  # probed again on the new path
    assert (server.counters["handshakes"], remote.closes) == (1, [])


async def test_vanishing_large_packets_are_noticed(start: ServeCall, dial: ConnectCall) -> None:
    limits = Limits(ping_s=0.4)
    remote = Recorder()
    session = await dial(await start(remote), limits=limits)
    await until(lambda: session.stats.datagram_bytes == 8900)
    carrier = session._carrier
    assert isinstance(carrier, Link)
    send = carrier._send

    def narrow(datagrams: Sequence[tuple[bytes, Any]]) -> None:
        fitting = [one for one in datagrams if len(one[0]) <= 1400]
        if fitting:
            send(fitting)

    carrier._send = narrow
    session.send(session.open_stream(), bytes(100_000), end=True)
    await remote.until(lambda: remote.ended, timeout=60)
    assert session.stats.datagram_bytes == 1200
