"""Shortcuts of the hot paths: the same outcome as the long way, without its state and packets."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet_builder import QuicDeliveryState

from wtp.transport.hardening import HardenedConnection
from wtp.transport.lean import LeanSender
from wtp.transport.limits import Limits
from wtp.transport.session import LIVE, Session

from .conftest import ConnectCall, ServeCall
from .support import Recorder


def quic_of(session: Session | None) -> HardenedConnection:
    assert session is not None
    link: Any = session._carrier
    quic: HardenedConnection = link.quic
    return quic


async def pair(start: ServeCall, dial: ConnectCall, **limits: Any) -> tuple[Session, Recorder]:
    heard = Recorder()
    options: dict[str, Any] = {"limits": Limits(**limits)} if limits else {}
    server = await start(heard, mtu=8900, **options)
    session = await dial(server, mtu=8900)
    return session, heard


async def test_whole_streams_leave_no_state_and_give_their_credit_back(
    start: ServeCall, dial: ConnectCall
) -> None:
    session, heard = await pair(start, dial, streams=64)
    quiet = quic_of(heard.session).stream_count()
    for number in range(200):
        session.send(session.open_stream(LIVE), number.to_bytes(4, "big") * 250, end=True)
        if number % 32 == 31:
            await session.drained()
        assert quic_of(heard.session).stream_count() <= quiet + 1
    await heard.until(lambda: len(heard.ended) == 200)
    bodies = sorted(bytes(data) for data in heard.streams.values())
    assert bodies == [number.to_bytes(4, "big") * 250 for number in range(200)]


async def test_streams_in_pieces_and_whole_ones_arrive_side_by_side(
    start: ServeCall, dial: ConnectCall
) -> None:
    session, heard = await pair(start, dial)
    draw = random.Random(1)
    wanted: list[bytes] = []
    for _ in range(60):
        body = draw.randbytes(draw.choice([1, 500, 8000, 40_000]))
        wanted.append(body)
        stream = session.open_stream(LIVE)
        cut = draw.randrange(len(body) + 1)
        session.send(stream, body[:cut])
        if draw.random() < 0.5:
            await asyncio.sleep(0)
        session.send(stream, body[cut:], end=True)
    await heard.until(lambda: len(heard.ended) == 60)
    assert sorted(bytes(data) for data in heard.streams.values()) == sorted(wanted)


async def test_a_transmit_with_nothing_to_send_builds_no_packet(
    start: ServeCall, dial: ConnectCall
) -> None:
    session, heard = await pair(start, dial)
    session.send(session.open_stream(LIVE), b"x" * 100, end=True)
    await heard.until(lambda: heard.ended)
    await session.drained()
    now = asyncio.get_running_loop().time()
    for quic in (quic_of(session), quic_of(heard.session)):
        before = quic._packet_number
        quic._spaces[next(reversed(quic._spaces))].ack_at = None
        assert quic.datagrams_to_send(now) == []
        assert quic._packet_number == before


async def test_the_timer_is_that_of_the_library(start: ServeCall, dial: ConnectCall) -> None:
    session, heard = await pair(start, dial)
    for size in (10, 20_000, 300):
        session.send(session.open_stream(LIVE), bytes(size), end=True)
        await asyncio.sleep(0)
        for quic in (quic_of(session), quic_of(heard.session)):
            ours = quic.get_timer()
            loss_at = quic._loss_at
            assert ours == QuicConnection.get_timer(quic)
            assert loss_at == quic._loss_at
    await heard.until(lambda: len(heard.ended) == 3)


async def test_a_lost_connection_id_is_told_again(start: ServeCall, dial: ConnectCall) -> None:
    session, heard = await pair(start, dial)
    session.send(session.open_stream(LIVE), b"x", end=True)
    await heard.until(lambda: heard.ended)
    quic = quic_of(heard.session)
    assert quic._cids_sent()
    newest = quic._host_cids[-1]
    quic._on_new_connection_id_delivery(QuicDeliveryState.LOST, newest)
    assert not quic._cids_sent()
    assert quic.datagrams_to_send(asyncio.get_running_loop().time())
    assert newest.was_sent
    assert quic._cids_sent()


async def test_lean_streams_arrive_once_beside_ordinary_ones(
    start: ServeCall, dial: ConnectCall
) -> None:
    session, heard = await pair(start, dial)
    lean = LeanSender(session)
    for number in range(300):
        assert lean.send(b"L%d" % number)
        if number % 3 == 0:
            session.send(session.open_stream(LIVE), b"O%d" % number, end=True)
        await asyncio.sleep(0)
    await heard.until(lambda: len(heard.ended) == 400)
    bodies = sorted(bytes(data) for data in heard.streams.values())
    assert bodies == sorted(
        [b"L%d" % number for number in range(300)]
        + [b"O%d" % number for number in range(0, 300, 3)]
    )
    await session.drained()
    assert heard.closes == []


async def test_lean_streams_wait_for_credit_and_for_room_in_a_packet(
    start: ServeCall, dial: ConnectCall
) -> None:
    session, heard = await pair(start, dial, streams=16)
    lean = LeanSender(session)
    assert not lean.send(bytes(9000))
    sent = waited = 0
    async with asyncio.timeout(60):
        while sent < 100:
            if lean.send(b"%d" % sent):
                sent += 1
            else:
                waited += 1
                await asyncio.sleep(0.001)
    await heard.until(lambda: len(heard.ended) == 100)
    assert waited
