"""Interleavings in which an acknowledged object could be lost, or memory could grow."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from typing import cast

import pytest
from pydantic import ValidationError

from tests.router.fakes import FakeOwner, FakeProducer, line
from tests.router.test_link import FakeClient, chat, live, until
from tests.router.test_peer import CHAT as PUBLISH_CHAT
from tests.router.test_peer import HELLO, Desk, of, orders, settle
from wtp.broker.client import BrokerClient, Producer
from wtp.broker.messages import Inbox
from wtp.broker.topics import Admin, Policies
from wtp.config.schema import BrokerSettings, LimitSettings, RoomSettings, Settings
from wtp.errors import BrokerError, BrokerUnavailable, NotFound, Refused
from wtp.model import Kind, Object, Track
from wtp.router import legacy as module
from wtp.router import link as link_module
from wtp.router import rooms as rooms_module
from wtp.router.link import BrokerLink, writer
from wtp.router.peer import MAX_UNREAD_BYTES
from wtp.router.routes import LiveRoute, ReliableRoute, Route
from wtp.wire import control, legacy
from wtp.wire.objects import encode_head

CHAT = Track("default", "me", "chat")


class SlowLink:
    """Opens producers when told."""

    def __init__(self) -> None:
        self.opening: dict[Route, asyncio.Future[FakeProducer]] = {}

    async def open(self, route: Route) -> None:
        self.opening[route] = asyncio.get_running_loop().create_future()
        route.attach(cast(Producer, await self.opening[route]))

    def remove(self, route: Route) -> None:
        route.attach(None)


def slow_desk() -> tuple[Desk, SlowLink]:
    desk, link = Desk(), SlowLink()
    desk.rooms._link = cast(BrokerLink, link)
    return desk, link


async def test_a_track_taken_over_while_its_producer_opens_waits_for_the_last_sequence() -> None:
    desk, link = slow_desk()
    first, second = FakeOwner(), FakeOwner()
    claims = [
        asyncio.create_task(desk.rooms.claim(CHAT, Kind.CHAT, "text/plain", owner))
        for owner in (first, second)
    ]
    await settle()
    assert first.gone
    assert not claims[1].done()
    next(iter(link.opening.values())).set_result(FakeProducer(last_seq=5))
    routes = await asyncio.gather(*claims)
    assert routes[1].last_seq == 5
    assert routes[1].owner is second


async def test_a_takeover_survives_a_producer_that_could_not_be_opened() -> None:
    desk, link = slow_desk()
    claims = [
        asyncio.create_task(desk.rooms.claim(CHAT, Kind.CHAT, "text/plain", owner))
        for owner in (FakeOwner(), FakeOwner())
    ]
    await settle()
    next(iter(link.opening.values())).set_exception(BrokerError("no"))
    await settle()
    assert isinstance(claims[0].exception(), BrokerError)
    route = desk.rooms.routes[CHAT]
    link.opening[route].set_result(FakeProducer(last_seq=5))
    assert await claims[1] is route
    assert isinstance(route, ReliableRoute)
    route.offer(line(6))
    assert route.queued == 0
    for task in desk.tasks:
        task.cancel()


async def test_a_new_run_does_not_wait_for_what_an_earlier_one_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rooms_module, "LAST_WORDS_S", 0.01)
    desk = Desk()
    first = FakeOwner(instance="one")
    old = await desk.rooms.claim(CHAT, Kind.CHAT, "text/plain", first)
    left = desk.link.producers[CHAT]
    old.offer(line(1))
    first.gone = True
    new = await desk.rooms.claim(CHAT, Kind.CHAT, "text/plain", FakeOwner(instance="two"))
    assert new is not old
    assert new.last_seq == 0
    assert (writer(old), writer(new)) == ("wtp/default/me/chat/one", "wtp/default/me/chat/two")
    new.offer(line(1))
    assert desk.rooms.total().in_flight == 2
    left.receipt()
    async with asyncio.timeout(60):
        while old.producer is not None:
            await asyncio.sleep(0.01)
    assert desk.rooms.total().delivered == 1
    assert desk.rooms.routes == {CHAT: new}
    for task in desk.tasks:
        task.cancel()


async def test_a_run_that_comes_back_sends_again_what_its_route_had_not_handed_over() -> None:
    desk = Desk()
    first = FakeOwner(instance="one")
    route = await desk.rooms.claim(CHAT, Kind.CHAT, "text/plain", first)
    assert isinstance(route, ReliableRoute)
    broker = desk.link.producers[CHAT]
    for seq in (1, 2, 3):
        route.offer(line(seq))
    broker.receipt()
    broker.fail(1, BrokerError("too big", code="too-large"))
    assert first.refusals == [(2, "too-large")]
    again = FakeOwner(instance="one")
    claim = asyncio.create_task(desk.rooms.claim(CHAT, Kind.CHAT, "text/plain", again))
    await settle()
    broker.receipt()
    assert await claim is route
    assert route.last_seq == 1, "what was refused and not confirmed is no receipt"
    for seq in (2, 3):
        route.offer(line(seq))
    assert route.ledger.balanced
    for task in desk.tasks:
        task.cancel()


def wire(alias: int, seq: int, text: str = "") -> bytes:
    obj = line(seq, text)
    return encode_head(alias, obj) + obj.payload


async def test_empty_objects_fill_the_buffer_too() -> None:
    desk = Desk(LimitSettings(reliable_buffer_bytes=100_000))
    peer, session = desk.peer()
    peer.stream_data(2, orders(HELLO, PUBLISH_CHAT), False)
    await settle()
    empty = Object(Kind.CHAT, 1, 1, True, b"")
    sent = 0
    peer.stream_data(6, b"\x02", False)
    for seq in range(1, 501):
        data = encode_head(1, replace(empty, seq=seq))
        peer.stream_data(6, data, False)
        sent += len(data)
    assert session.released[6] < sent / 2
    desk.link.producers[CHAT].receipt(500)
    await settle()
    assert session.released[6] == sent + 1


async def test_one_stream_of_two_tracks_is_held_back_by_either() -> None:
    desk = Desk(LimitSettings(reliable_buffer_bytes=2000))
    peer, session = desk.peer()
    other = control.Publish(2, "chat-2", "chat", "text/plain")
    peer.stream_data(2, orders(HELLO, PUBLISH_CHAT, other), False)
    await settle()
    data = b"\x02" + wire(1, 1, "x" * 3000) + wire(2, 1)
    peer.stream_data(6, data, False)
    assert session.released[6] == 1
    desk.link.producers[CHAT].receipt()
    await settle()
    assert session.released[6] == len(data)


@pytest.mark.parametrize("reset", [False, True])
async def test_credit_of_a_stream_that_ended_comes_back(reset: bool) -> None:
    desk = Desk(LimitSettings(reliable_buffer_bytes=2000))
    peer, session = desk.peer()
    peer.stream_data(2, orders(HELLO, PUBLISH_CHAT), False)
    await settle()
    data = b"\x02" + wire(1, 1, "x" * 3000)
    peer.stream_data(6, data, not reset)
    if reset:
        peer.stream_reset(6, 0)
    assert session.released[6] == 1
    desk.link.producers[CHAT].receipt()
    await settle()
    assert session.released[6] == len(data)
    assert 6 not in peer._streams


async def test_a_track_is_published_once_in_a_session() -> None:
    desk = Desk()
    peer, session = desk.peer()
    twice = control.Publish(2, "chat", "chat", "text/plain")
    peer.stream_data(2, orders(HELLO, PUBLISH_CHAT, twice), False)
    await settle()
    assert of(session, control.Error)[0].code == "track-taken"
    assert set(peer.routes) == {1}


async def test_original_framing_is_held_back() -> None:
    desk = Desk(LimitSettings(reliable_buffer_bytes=2000))
    peer, session = desk.peer()
    data = legacy.encode("talk", "chat", b"x" * 900)
    peer.stream_data(6, data, False)
    await settle()
    for _ in range(3):
        peer.stream_data(6, data, False)
    assert session.released[6] == len(data)
    route = next(iter(desk.rooms.routes.values()))
    desk.link.producers[route.track].receipt(4)
    await settle()
    assert session.released[6] == 4 * len(data)


async def test_original_framing_is_bounded_before_its_track_is_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_EARLY_BYTES", 1000)
    desk = Desk()
    peer, _ = desk.peer()
    for name in ("one", "two"):
        peer.stream_data(6, legacy.encode(name, "chat", b"x" * 500), False)
    with pytest.raises(Refused, match="before their track"):
        peer.stream_data(6, legacy.encode("three", "chat", b"x"), False)
    await settle()
    assert peer._legacy._early_bytes == 0


async def test_one_original_id_of_two_kinds_makes_two_tracks() -> None:
    desk = Desk()
    peer, _ = desk.peer()
    for kind in ("video", "chat"):
        peer.stream_data(6, legacy.encode("cam", kind, b"x"), False)
    await settle()
    routes = {track.name: route for track, route in desk.rooms.routes.items()}
    assert isinstance(routes["cam"], LiveRoute)
    assert isinstance(routes["cam-chat"], ReliableRoute)


async def test_an_original_session_that_ends_at_once_leaves_nothing() -> None:
    desk = Desk()
    peer, _ = desk.peer()
    peer.stream_data(6, legacy.encode("talk", "chat", b"hello"), True)
    peer.closed(0, "")
    await settle()
    producer = next(iter(desk.link.producers.values()))
    assert [sent["payload"] for sent in producer.sent] == [b"hello"]
    producer.receipt()
    async with asyncio.timeout(60):
        while desk.rooms.routes:
            await asyncio.sleep(0.01)
    assert desk.rooms.total().delivered == 1


async def test_a_second_flush_is_answered_with_the_first() -> None:
    desk = Desk()
    peer, session = desk.peer()
    peer.stream_data(2, orders(HELLO, PUBLISH_CHAT), False)
    await settle()
    peer.stream_data(6, b"\x02" + wire(1, 1), False)
    for sent in (1, 2):
        peer.stream_data(2, control.encode(control.Flush({"1": sent})), False)
    desk.link.producers[CHAT].receipt()
    await asyncio.sleep(0.02)
    assert not of(session, control.Flushed)
    peer.stream_data(6, wire(1, 2), False)
    desk.link.producers[CHAT].receipt()
    async with asyncio.timeout(60):
        while not of(session, control.Flushed):
            await asyncio.sleep(0.005)
    assert len(of(session, control.Flushed)) == 1


class LateAdmin:
    """An admin API whose broker comes up late."""

    def __init__(self) -> None:
        self.up = False
        self.made: list[str] = []

    async def ensure_namespace(self, namespace: str, **policies: object) -> None:
        if not self.up:
            raise BrokerUnavailable("down")
        self.made.append(namespace)

    async def policies(self, namespace: str) -> Policies:
        if not self.up:
            raise BrokerUnavailable("down")
        return Policies(retention_minutes=1, retention_mb=1, deduplication=True)


@pytest.mark.parametrize("kind", [Kind.CHAT, Kind.VIDEO])
async def test_a_room_is_made_when_its_broker_comes_up_late(
    kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rooms_module, "PREPARE_AGAIN_S", 0.01)
    desk, admin = Desk(), LateAdmin()
    desk.rooms._admin = cast(Admin, admin)
    desk.rooms._settings = Settings(rooms=RoomSettings(create=True))
    link = desk.link
    open_it = link.open

    async def refusing(route: Route) -> None:
        if not admin.made and kind.reliable:
            raise NotFound("no namespace")
        await open_it(route)

    monkeypatch.setattr(link, "open", refusing)
    track = Track("new", "me", kind.value)
    claim = asyncio.create_task(desk.rooms.claim(track, kind, "text/plain", FakeOwner()))
    await asyncio.sleep(0.03)
    assert claim.done() is not kind.reliable
    admin.up = True
    async with asyncio.timeout(60):
        route = await claim
        while not admin.made:
            await asyncio.sleep(0.01)
    assert admin.made == ["public/new"]
    assert desk.rooms.routes[track] is route
    for task in desk.tasks:
        task.cancel()


def test_the_counts_of_all_tracks_fit_one_message() -> None:
    most = LimitSettings(tracks_per_session=100).tracks_per_session
    with pytest.raises(ValidationError):
        LimitSettings(tracks_per_session=most + 1)
    counts = dict.fromkeys(("received", "delivered", "dropped", "queued"), 10**12)
    control.encode(control.Stats({str(2**63 + alias): counts for alias in range(most)}))


async def test_a_fault_in_one_receipt_does_not_hold_up_the_others() -> None:
    loop = asyncio.get_running_loop()
    faults: list[object] = []
    loop.set_exception_handler(lambda _, context: faults.append(context["exception"]))
    inbox, seen = Inbox(loop), list[object]()

    def take(what: object, _: object) -> None:
        if what == "bad":
            raise ValueError(what)
        seen.append(what)

    for what in ("a", "bad", "b"):
        inbox.post(take, what, None)
    await settle()
    loop.set_exception_handler(None)
    assert seen == ["a", "b"]
    assert len(faults) == 1


async def test_a_client_that_asks_and_never_reads_is_closed() -> None:
    desk = Desk()
    peer, session = desk.peer()
    peer.stream_data(2, orders(HELLO), False)
    session.unread_bytes = MAX_UNREAD_BYTES + 1
    for _ in range(3):
        peer.stream_data(2, control.encode(control.Ping(1)), False)
    assert not of(session, control.Pong)
    assert session.closed_with is not None
    assert "does not read" in session.closed_with[1]


@pytest.fixture
def fast_link(monkeypatch: pytest.MonkeyPatch) -> BrokerLink:
    FakeClient.made = []
    monkeypatch.setattr(link_module, "connect", FakeClient)
    monkeypatch.setattr(link_module, "WATCH_S", 0.01)
    monkeypatch.setattr(link_module, "FIRST_WAIT_S", 0.01)
    return BrokerLink(BrokerSettings(url="pulsar://x"))


async def test_a_producer_that_refused_gives_its_name_up(fast_link: BrokerLink) -> None:
    route, client = chat(), FakeClient.made[0]
    await fast_link.open(route)
    route.offer(line(1))
    client.opened[0].waiting.pop(0)(BrokerError("too big"))
    watching = asyncio.create_task(fast_link.watch())
    await until(lambda: len(client.opened) == 2)
    assert client.opened[0].closed
    await until(lambda: client.opened[1].seqs == [1])
    client.opened[1].waiting.pop(0)(BrokerError("too big"))
    fast_link.remove(route)
    await until(lambda: client.opened[1].closed)
    watching.cancel()
    await fast_link.close()


async def test_a_track_that_is_refused_later_is_tried_again(fast_link: BrokerLink) -> None:
    route, client = chat(), FakeClient.made[0]
    await fast_link.open(route)
    route.offer(line(1))
    client.errors = [NotFound("no namespace now")] * 3
    route.attach(None)
    watching = asyncio.create_task(fast_link.watch())
    await until(lambda: len(client.opened) == 2 and client.opened[1].seqs == [1])
    watching.cancel()
    await fast_link.close()


async def test_a_live_track_that_went_while_its_producer_opened_leaves_none(
    fast_link: BrokerLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    route, client = live("a"), FakeClient.made[0]
    go = asyncio.Event()
    open_it = client.producer

    async def slow(topic: str, *, name: str = "", max_pending: int = 0) -> Producer:
        await go.wait()
        return await open_it(topic, name=name, max_pending=max_pending)

    monkeypatch.setattr(client, "producer", slow)
    opening = asyncio.create_task(fast_link.open(route))
    await settle()
    fast_link.remove(route)
    go.set()
    await opening
    await until(lambda: bool(client.opened) and client.opened[0].closed)
    assert not fast_link._shared
    await fast_link.close()


async def test_calls_that_wait_are_told_that_their_client_closed() -> None:
    client = BrokerClient("pulsar://127.0.0.1:1")
    release = threading.Event()
    blocked = [asyncio.create_task(client.call("wait", release.wait, 5)) for _ in range(8)]
    waiting = asyncio.create_task(client.call("wait", release.wait, 5))
    await settle()
    async with asyncio.timeout(60):
        await client.close()
    with pytest.raises(BrokerUnavailable):
        await waiting
    release.set()
    await asyncio.gather(*blocked)
