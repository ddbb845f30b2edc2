"""Streams, datagrams, back-pressure and every kind of end, over a real loopback connection."""

from __future__ import annotations

import asyncio
import functools

import pytest

from wtp.errors import ConnectionFailed, Refused, UsageError, WireError
from wtp.transport.limits import Limits
from wtp.transport.session import LIVE, Session

from .conftest import ConnectCall, ServeCall
from .support import Echo, Recorder, until


async def test_streams_go_both_ways_in_order(start: ServeCall, dial: ConnectCall) -> None:
    server = await start(lambda session: Echo()(session))
    events = Recorder()
    session = await dial(server, events)
    events.session = session
    bodies = {session.open_stream(): bytes([number]) * 70_000 for number in range(5)}
    for stream, body in bodies.items():
        session.send(stream, body[:1000])
        session.send(stream, body[1000:], end=True)
    await session.drained()
    await events.until(lambda: len(events.ended) == 5)
    assert sorted(events.streams.values()) == sorted(bodies.values())
    assert session.backlog() == 0


async def test_request_reaches_the_application(start: ServeCall, dial: ConnectCall) -> None:
    seen: list[Session] = []

    def accept(session: Session) -> Recorder:
        seen.append(session)
        return Recorder(session)

    server = await start(accept)
    session = await dial(server, target="/wt?room=a%20b&token=t")
    assert (seen[0].path, dict(seen[0].query)) == ("/wt", {"room": "a b", "token": "t"})
    assert seen[0].peer[0] == "127.0.0.1"
    assert seen[0].protocol == session.protocol == "wtp1"
    assert list(server.sessions) == seen


async def test_protocol_is_named_only_when_offered(start: ServeCall, dial: ConnectCall) -> None:
    server = await start(Recorder)
    session = await dial(server, protocol="")
    assert session.protocol == ""
    assert "wt-protocol" not in session.headers


@pytest.mark.parametrize("side", ["client", "server"])
async def test_close_code_and_reason_arrive_once(
    start: ServeCall, dial: ConnectCall, side: str
) -> None:
    remote, local = Recorder(), Recorder()
    server = await start(remote)
    session = await dial(server, local)
    assert remote.session is not None
    (session if side == "client" else remote.session).close(77, "genug für heute")
    await remote.until(lambda: remote.closes)
    await local.until(lambda: local.closes)
    await session.wait_closed()
    await remote.session.wait_closed()
    assert remote.closes == local.closes == [(77, "genug für heute")]
    assert len(server.sessions) == 0


async def test_refusal_carries_code_and_message(start: ServeCall, dial: ConnectCall) -> None:
    def accept(session: Session) -> Recorder:
        raise Refused("The token is expired.", hint="Get another.", code="token")

    server = await start(accept)
    events = Recorder()
    await dial(server, events)
    await events.until(lambda: events.closes)
    assert events.closes == [(Refused.close_code, "The token is expired.")]
    assert server.counters["refused-token"] == 1
    assert len(server.sessions) == 0


async def test_other_path_is_404(start: ServeCall, dial: ConnectCall) -> None:
    server = await start(Recorder)
    with pytest.raises(ConnectionFailed, match="status 404") as caught:
        await dial(server, target="/other")
    assert caught.value.code == "http-status"


async def test_nothing_is_credited_unless_released(start: ServeCall, dial: ConnectCall) -> None:
    limits = Limits(stream_window_bytes=64 << 10, session_window_bytes=256 << 10)
    remote = Recorder(release=False)
    server = await start(remote, limits=limits)
    session = await dial(server)
    stream = session.open_stream()
    session.send(stream, bytes(1 << 20), end=True)
    first = 64 << 10
    await remote.until(lambda: remote.received_bytes > first - 100)
    await asyncio.sleep(0.1)
    assert remote.received_bytes <= first
    assert session.backlog(stream) > (1 << 20) - first - 10
    assert remote.session is not None
    remote.releases = True
    remote.session.release(next(iter(remote.streams)), remote.received_bytes)
    await remote.until(lambda: remote.ended)
    assert remote.received_bytes == 1 << 20


async def test_session_window_bounds_all_streams(start: ServeCall, dial: ConnectCall) -> None:
    limits = Limits(stream_window_bytes=64 << 10, session_window_bytes=256 << 10)
    remote = Recorder(release=False)
    server = await start(remote, limits=limits)
    session = await dial(server)
    for _ in range(20):
        session.send(session.open_stream(), bytes(60 << 10), end=True)
    await remote.until(lambda: remote.received_bytes > (255 << 10))
    await asyncio.sleep(0.1)
    assert remote.received_bytes <= 256 << 10
    assert remote.session is not None
    remote.releases = True
    for stream, data in list(remote.streams.items()):
        remote.session.release(stream, len(data))
    await remote.until(lambda: len(remote.ended) == 20)


async def test_reset_returns_the_credit_of_lost_bytes(start: ServeCall, dial: ConnectCall) -> None:
    limits = Limits(stream_window_bytes=32 << 10, session_window_bytes=64 << 10)
    remote = Recorder()
    server = await start(remote, limits=limits)
    session = await dial(server)
    for number in range(12):
        stream = session.open_stream()
        session.send(stream, bytes(20 << 10))
        await asyncio.sleep(0)
        session.reset(stream, number)
        assert session.backlog(stream) == 0
        await remote.until(functools.partial(_has_resets, remote, number + 1))
    assert [code for _, code in remote.resets] == list(range(12))
    stream = session.open_stream()
    session.send(stream, bytes(200 << 10), end=True)
    await remote.until(lambda: remote.ended)


async def test_stop_reaches_the_sender_and_drops_the_rest(
    start: ServeCall, dial: ConnectCall
) -> None:
    remote = Recorder()
    server = await start(remote)
    events = Recorder()
    session = await dial(server, events)
    stream = session.open_stream()
    session.send(stream, b"abc")
    await remote.until(lambda: remote.streams)
    assert remote.session is not None
    remote.session.stop(next(iter(remote.streams)), 9)
    await events.until(lambda: events.stops)
    assert events.stops == [(stream, 9)]
    session.send(stream, b"dropped")
    assert session.backlog() == 0
    assert remote.resets == []


async def test_sending_after_the_end_is_refused(start: ServeCall, dial: ConnectCall) -> None:
    session = await dial(await start(Recorder))
    stream = session.open_stream()
    session.send(stream, b"x", end=True)
    with pytest.raises(UsageError):
        session.send(stream, b"y")


async def test_stream_credit_runs_out_with_a_clear_code(
    start: ServeCall, dial: ConnectCall
) -> None:
    session = await dial(await start(Recorder, limits=Limits(streams=10)))
    opened = [session.open_stream() for _ in range(7)]  # HTTP/3 has three of the ten
    assert len(opened) == 7
    with pytest.raises(Refused) as caught:
        session.open_stream()
    assert caught.value.code == "stream-limit"


async def test_finished_streams_give_credit_back(start: ServeCall, dial: ConnectCall) -> None:
    remote = Recorder()
    session = await dial(await start(remote, limits=Limits(streams=10)))
    for _ in range(5):
        for _ in range(5):
            session.send(session.open_stream(), b"x", end=True)
        await session.drained()
        await until(lambda: session.stats.streams_open < 9)
    await remote.until(lambda: len(remote.ended) == 25)


async def test_writable_follows_high_and_low_water(start: ServeCall, dial: ConnectCall) -> None:
    remote = Recorder(release=False)
    server = await start(remote)
    events = Recorder()
    limits = Limits(send_high_bytes=100_000, send_low_bytes=20_000)
    session = await dial(server, events, limits=limits)
    session.send(session.open_stream(), bytes(90_000), end=True)
    await session.drained()
    assert events.writables == 0
    session.send(session.open_stream(), bytes(400_000), end=True)
    assert session.backlog() >= 400_000
    await events.until(lambda: events.writables)
    assert session.backlog() <= 20_000
    await session.drained()
    assert events.writables == 1


@pytest.mark.parametrize("ordered", [True, False])
async def test_a_stream_does_not_overtake_the_one_it_comes_after(
    start: ServeCall, dial: ConnectCall, ordered: bool
) -> None:
    order: list[int] = []

    class Listener(Recorder):
        def stream_data(self, stream: int, data: bytes, end: bool) -> None:
            super().stream_data(stream, data, end)
            if end:
                order.append(len(self.streams[stream]))

    remote = Listener()
    session = await dial(await start(remote))
    await asyncio.sleep(0.2)  # the largest packets are found
    old = session.open_stream(LIVE)
    session.send(old, bytes(600_000), end=True)
    new = session.open_stream(LIVE, old if ordered else None)
    session.send(new, bytes(1_000), end=True)
    await remote.until(lambda: len(order) == 2)
    assert order == ([600_000, 1_000] if ordered else [1_000, 600_000])


async def test_drained_fails_when_the_session_ends(start: ServeCall, dial: ConnectCall) -> None:
    limits = Limits(stream_window_bytes=10_000, session_window_bytes=20_000)
    remote = Recorder(release=False)
    session = await dial(await start(remote, limits=limits))
    session.send(session.open_stream(), bytes(100_000))
    waiting = asyncio.create_task(session.drained())
    await remote.until(lambda: remote.streams)
    assert remote.session is not None
    remote.session.close(3, "over")
    with pytest.raises(ConnectionFailed):
        await waiting
    with pytest.raises(ConnectionFailed):
        session.send(2, b"x")


async def test_datagrams_fit_or_are_refused(start: ServeCall, dial: ConnectCall) -> None:
    server = await start(lambda session: Echo()(session))
    events = Recorder()
    session = await dial(server, events, mtu=1200)
    assert session.send_datagram(bytes(1169))
    assert not session.send_datagram(bytes(1170))
    assert session.send_datagram(b"later ones still pass")
    await events.until(lambda: len(events.datagrams) == 2)
    assert events.datagrams == [bytes(1169), b"later ones still pass"]


async def test_datagram_queue_is_bounded(start: ServeCall, dial: ConnectCall) -> None:
    session = await dial(await start(Recorder), limits=Limits(datagram_queue=8))
    assert [session.send_datagram(b"x") for _ in range(10)] == [True] * 8 + [False] * 2


async def test_fault_of_the_application_ends_only_its_session(
    start: ServeCall, dial: ConnectCall
) -> None:
    class Faulty(Recorder):
        def stream_data(self, stream: int, data: bytes, end: bool) -> None:
            if data == b"wire":
                raise WireError("The header is too long.")
            raise RuntimeError("bug")

    server = await start(lambda session: Faulty(session))
    ends = []
    for word in (b"wire", b"bug"):
        events = Recorder()
        session = await dial(server, events)
        session.send(session.open_stream(), word, end=True)
        await events.was_closed()
        ends.append(events.closes[0])
    assert ends == [(WireError.close_code, "The header is too long."), (1, "internal error")]


async def test_idle_session_is_kept_alive(start: ServeCall, dial: ConnectCall) -> None:
    limits = Limits(idle_s=0.6, ping_s=0.15)
    events = Recorder()
    session = await dial(await start(Recorder, limits=limits), events, limits=limits)
    await asyncio.sleep(1.0)
    assert events.closes == []
    session.send(session.open_stream(), b"still there", end=True)
    await session.drained()


async def test_server_close_tells_every_session(start: ServeCall, dial: ConnectCall) -> None:
    server = await start(lambda session: Recorder(session))
    recorders = [Recorder() for _ in range(3)]
    for events in recorders:
        await dial(server, events)
    await server.close(5, "maintenance")
    for events in recorders:
        await events.was_closed()
    assert [events.closes for events in recorders] == [[(5, "maintenance")]] * 3


def _has_resets(recorder: Recorder, count: int) -> bool:
    return len(recorder.resets) == count
