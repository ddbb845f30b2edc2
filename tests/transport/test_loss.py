"""Nothing is lost, doubled or reordered on a network that loses, swaps and repeats datagrams."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import pytest

from wtp.transport.limits import Limits
from wtp.transport.session import Session

from .conftest import ConnectCall, ServeCall
from .support import Recorder


def spoil(session: Session, seed: int, *, lose: float, repeat: float = 0.0) -> None:
    """Make the sending side of a session's connection unreliable, the same way every time."""
    carrier: Any = session._carrier
    send = carrier._send
    dice = random.Random(seed)

    def unreliable(datagrams: Sequence[tuple[bytes, Any]]) -> None:
        kept = [one for one in datagrams if dice.random() >= lose]
        kept += [one for one in kept if dice.random() < repeat]
        if dice.random() < repeat:
            kept.reverse()
        if kept:
            send(kept)

    carrier._send = unreliable


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_streams_survive(start: ServeCall, dial: ConnectCall, seed: int) -> None:
    limits = Limits(stream_window_bytes=64 << 10, session_window_bytes=256 << 10)
    remote = Recorder()
    server = await start(remote, limits=limits)
    session = await dial(server, mtu=1300)
    assert remote.session is not None
    spoil(session, seed, lose=0.05, repeat=0.05)
    spoil(remote.session, seed + 100, lose=0.05, repeat=0.05)
    dice = random.Random(seed)
    bodies: dict[int, bytes] = {}
    for _ in range(40):
        stream = session.open_stream()
        bodies[stream] = dice.randbytes(dice.choice([0, 1, 1000, 20_000, 200_000]))
        session.send(stream, bodies[stream], end=True)
        await asyncio.sleep(0)
    await remote.until(lambda: len(remote.ended) == len(bodies), timeout=60)
    assert {stream: bytes(data) for stream, data in remote.streams.items()} == bodies
    await session.drained()


async def test_resets_survive(start: ServeCall, dial: ConnectCall) -> None:
    remote = Recorder()
    server = await start(remote)
    session = await dial(server, mtu=1300)
    assert remote.session is not None
    spoil(session, 5, lose=0.1)
    spoil(remote.session, 6, lose=0.1)
    for number in range(30):
        stream = session.open_stream()
        session.send(stream, bytes(5000), end=number % 2 == 0)
        await asyncio.sleep(0.002)
        if number % 2:
            session.reset(stream, number)
    await remote.until(lambda: len(remote.ended) == 15, timeout=60)
    # A stream of which nothing arrived before its reset is unknown to the application.
    await asyncio.sleep(0.2)
    assert {code for _, code in remote.resets} <= set(range(1, 30, 2))
    assert len(remote.ended & {stream for stream, _ in remote.resets}) == 0


async def test_objects_finish_one_after_the_other(start: ServeCall, dial: ConnectCall) -> None:
    """A small object does not wait for a large one, and equal ones are not all late together."""
    order: list[int] = []

    class Order(Recorder):
        def stream_data(self, stream: int, data: bytes, end: bool) -> None:
            super().stream_data(stream, data, end)
            if end:
                order.append(stream)

    remote = Order()
    server = await start(remote)
    session = await dial(server, mtu=1300)
    large, *equal = [session.open_stream() for _ in range(9)]
    session.send(large, bytes(800_000), end=True)
    for stream in equal:
        session.send(stream, bytes(15_000), end=True)
    await remote.until(lambda: len(remote.ended) == 9)
    assert order == [*equal, large]


async def test_large_backlog_leaves_the_loop_responsive(
    start: ServeCall, dial: ConnectCall
) -> None:
    """One transmit is one burst; the loop runs in between."""
    remote = Recorder()
    server = await start(remote)
    session = await dial(server, mtu=1300)
    for _ in range(4):
        session.send(session.open_stream(), bytes(900_000), end=True)
    loop = asyncio.get_running_loop()
    gaps = []
    while session.backlog():
        before_s = loop.time()
        await asyncio.sleep(0)
        gaps.append(loop.time() - before_s)
    assert len(gaps) > 20
    assert sorted(gaps)[len(gaps) // 2] < sum(gaps) / 10


async def test_stop_and_reset_of_a_blocked_stream(start: ServeCall, dial: ConnectCall) -> None:
    limits = Limits(stream_window_bytes=8 << 10, session_window_bytes=64 << 10)
    remote = Recorder(release=False)
    server = await start(remote, limits=limits)
    session = await dial(server)
    blocked = session.open_stream()
    session.send(blocked, bytes(100_000))
    await remote.until(lambda: remote.received_bytes > 8000)
    session.reset(blocked, 3)
    await remote.until(lambda: remote.resets)
    assert [code for _, code in remote.resets] == [3]
    other = session.open_stream()
    session.send(other, b"x", end=True)
    await remote.until(lambda: remote.ended)
