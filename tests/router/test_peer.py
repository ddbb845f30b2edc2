from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine
from typing import Any, cast

import pytest

from tests.router.fakes import FakeProducer, FakeSession, clock, line, picture
from wtp.broker.client import Producer
from wtp.broker.topics import Admin
from wtp.clock import Offset
from wtp.config.schema import LimitSettings, RouterSettings, Settings
from wtp.errors import BrokerError, Refused, UsageError, WireError
from wtp.model import Kind, Track
from wtp.router.link import BrokerLink
from wtp.router.peer import TAKEN_OVER, Peer
from wtp.router.rooms import Rooms
from wtp.router.routes import LiveRoute, ReliableRoute, Route
from wtp.transport.session import Session
from wtp.wire import StreamType, control, legacy
from wtp.wire.objects import encode_head


class FakeLink:
    """Gives every route a producer of its own."""

    def __init__(self) -> None:
        self.producers: dict[Track, FakeProducer] = {}
        self.last: dict[str, int] = {}

    async def open(self, route: Route) -> None:
        fake = FakeProducer(self.last.get(str(route.track), -1))
        self.producers[route.track] = fake
        route.attach(cast(Producer, fake))

    def remove(self, route: Route) -> None:
        route.attach(None)


class Desk:
    """A router's inside without network and broker."""

    def __init__(self, limits: LimitSettings | None = None) -> None:
        self.settings = Settings(router=RouterSettings(limits=limits or LimitSettings()))
        self.link = FakeLink()
        self.tasks: set[asyncio.Task[None]] = set()
        self.clock = clock()
        self.refused: Counter[str] = Counter()
        self.gone: list[Peer] = []
        self.rooms = Rooms(
            self.settings,
            self.clock,
            cast(BrokerLink, self.link),
            cast(Admin, None),
            self.spawn,
        )
        self.rooms._known |= {"public/default", "public/other"}

    def spawn(self, work: Coroutine[Any, Any, None]) -> object:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        return task

    def peer(self, **query: str) -> tuple[Peer, FakeSession]:
        session = FakeSession(query)
        peer = Peer(
            cast(Session, session),
            self.rooms,
            self.clock,
            self.settings,
            self.spawn,
            self.gone.append,
            self.refused,
        )
        return peer, session


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def orders(*messages: control.Message) -> bytes:
    return bytes([StreamType.CONTROL]) + b"".join(map(control.encode, messages))


HELLO = control.Hello("me", "run-1")
CHAT = control.Publish(1, "chat", "chat", "text/plain")
VIDEO = control.Publish(2, "video", "video", "video/h264")


def of(session: FakeSession, kind: type[control.Message]) -> list[Any]:
    return [message for message in session.messages if isinstance(message, kind)]


async def test_hello_and_publish_are_answered() -> None:
    desk = Desk()
    peer, session = desk.peer(room="other")
    peer.stream_data(2, orders(HELLO, CHAT, VIDEO), False)
    await settle()
    welcome = of(session, control.Welcome)[0]
    assert (welcome.room, welcome.boot_id, welcome.anchor_us) == ("other", "boot", 0)
    assert of(session, control.Published) == [control.Published(1, 0), control.Published(2, -1)]
    assert set(desk.rooms.routes) == {Track("other", "me", "chat"), Track("other", "me", "video")}


async def test_a_refused_object_is_told_behind_the_receipts_before_it() -> None:
    desk = Desk()
    peer, session = desk.peer()
    peer.stream_data(2, orders(HELLO, CHAT), False)
    await settle()
    objects = b"".join(encode_head(1, line(n)) + line(n).payload for n in (1, 2))
    peer.stream_data(6, b"\x02" + objects, False)
    broker = desk.link.producers[Track("default", "me", "chat")]
    broker.receipt()
    broker.fail(1, BrokerError("Too big.", code="too-large"))
    assert session.messages[-2:] == [
        control.Receipt(1, 1),
        control.Rejected(1, 2, "too-large", "Too big."),
    ]
    assert desk.refused["too-large"] == 1
    last = encode_head(1, line(3)) + line(3).payload
    peer.stream_data(6, last, False)
    assert broker.seqs == [1, 2]
    peer.stream_data(2, control.encode(control.Rejected(1, 2, "too-large")), False)
    peer.stream_data(2, control.encode(control.Rejected(9, 2, "too-large")), False)
    assert broker.seqs == [1, 2, 3]
    broker.receipt()
    await settle()
    assert session.messages[-1] == control.Receipt(1, 3)


async def test_a_refused_object_of_the_original_framing_holds_nothing_up() -> None:
    desk = Desk()
    peer, _ = desk.peer()
    for text in (b"bad", b"good"):
        peer.stream_data(6, legacy.encode("talk", "chat", text), False)
    await settle()
    broker = next(iter(desk.link.producers.values()))
    broker.fail(1, BrokerError("Too big.", code="too-large"))
    broker.receipt()
    await settle()
    assert desk.rooms.total().dropped == {"too-large": 1}
    assert desk.rooms.total().delivered == 1


async def test_an_instance_is_a_plain_name() -> None:
    desk = Desk()
    peer, _ = desk.peer()
    with pytest.raises(UsageError, match="instance"):
        peer.stream_data(2, orders(control.Hello("me", "run/1")), False)


async def test_receipts_follow_the_broker_and_are_cumulative() -> None:
    desk = Desk()
    peer, session = desk.peer()
    peer.stream_data(2, orders(HELLO, CHAT), False)
    await settle()
    objects = b"".join(encode_head(1, line(n)) + line(n).payload for n in (1, 2, 3))
    peer.stream_data(6, b"\x02" + objects, False)
    await settle()
    assert not of(session, control.Receipt)
    broker = desk.link.producers[Track("default", "me", "chat")]
    broker.receipt(3)
    await settle()
    assert of(session, control.Receipt) == [control.Receipt(1, 3)]
    assert session.released[6] == len(objects) + 1


async def test_full_buffer_withholds_credit_until_receipts_come() -> None:
    desk = Desk(LimitSettings(reliable_buffer_bytes=1500))
    peer, session = desk.peer()
    peer.stream_data(2, orders(HELLO, CHAT), False)
    await settle()
    first = b"\x02" + encode_head(1, line(1)) + line(1).payload
    second = encode_head(1, line(2)) + line(2).payload
    peer.stream_data(6, first, False)
    peer.stream_data(6, second, False)
    assert session.released[6] == len(first)
    desk.link.producers[Track("default", "me", "chat")].receipt(2)
    await settle()
    assert session.released[6] == len(first) + len(second)


async def test_second_publisher_of_a_track_is_refused() -> None:
    desk = Desk()
    owner, owner_session = desk.peer()
    owner.stream_data(2, orders(HELLO, CHAT), False)
    await settle()
    peer, session = desk.peer()
    peer.stream_data(2, orders(control.Hello("me", "run-2"), CHAT, VIDEO), False)
    await settle()
    assert not of(session, control.Error)
    [ping] = of(owner_session, control.Ping)
    owner.stream_data(2, control.encode(control.Pong(ping.t0_us, 0, 0)), False)
    await settle()
    error = of(session, control.Error)[0]
    assert (error.code, error.alias) == ("name-taken", 1)
    assert "--name" in error.message
    assert "--track" in error.message
    assert of(session, control.Published) == [control.Published(2, -1)]


async def test_a_publisher_that_was_killed_gives_its_track_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("wtp.router.peer.PROOF_S", 0.01)
    desk = Desk()
    owner, owner_session = desk.peer()
    owner.stream_data(2, orders(HELLO, CHAT), False)
    await settle()
    peer, session = desk.peer()
    peer.stream_data(2, orders(control.Hello("me", "run-2"), CHAT), False)
    await asyncio.sleep(0.05)
    assert of(session, control.Published) == [control.Published(1, 0)]
    assert owner_session.closed_with is not None
    assert owner_session.closed_with[0] == TAKEN_OVER


async def test_same_run_takes_its_tracks_over() -> None:
    desk = Desk()
    old, old_session = desk.peer()
    old.stream_data(2, orders(HELLO, CHAT), False)
    await settle()
    old.stream_data(6, b"\x02" + encode_head(1, line(1)) + line(1).payload, False)
    new, session = desk.peer()
    new.stream_data(2, orders(HELLO, CHAT), False)
    await settle()
    assert old_session.closed_with is not None
    assert old_session.closed_with[0] == TAKEN_OVER
    assert not of(session, control.Published), "the last receipt decides where it goes on"
    desk.link.producers[Track("default", "me", "chat")].receipt()
    await settle()
    assert of(session, control.Published) == [control.Published(1, 1)]
    old.closed(TAKEN_OVER, "")
    assert desk.rooms.routes[Track("default", "me", "chat")].owner is new


async def test_restarted_publisher_goes_on_behind_the_last_receipt() -> None:
    desk = Desk()
    desk.link.last["default/me/chat"] = 41
    peer, session = desk.peer()
    peer.stream_data(2, orders(HELLO, CHAT), False)
    await settle()
    assert of(session, control.Published) == [control.Published(1, 41)]


async def test_offset_and_clock() -> None:
    desk = Desk()
    peer, session = desk.peer()
    peer.stream_data(2, orders(HELLO, control.Offset(250, 9), control.Ping(5)), False)
    assert peer.offset == Offset(250, 9)
    assert of(session, control.Pong) == [control.Pong(5, 1_000_000, 1_000_000)]


@pytest.mark.parametrize(
    ("publish", "code"),
    [
        (control.Publish(1, "bad name", "chat", ""), "usage"),
        (control.Publish(1, "x", "hologram", ""), "kind"),
        (control.Publish(2, "x", "chat", ""), "alias"),
    ],
)
async def test_bad_tracks_are_refused_alone(publish: control.Publish, code: str) -> None:
    desk = Desk()
    peer, session = desk.peer()
    peer.stream_data(2, orders(HELLO, VIDEO, publish), False)
    await settle()
    assert of(session, control.Error)[0].code == code
    assert session.closed_with is None


async def test_track_limit() -> None:
    desk = Desk(LimitSettings(tracks_per_session=1))
    peer, session = desk.peer()
    peer.stream_data(2, orders(HELLO, CHAT, VIDEO), False)
    await settle()
    assert of(session, control.Error)[0].code == "too-many-tracks"


async def test_flush_waits_for_late_streams_and_receipts() -> None:
    desk = Desk()
    peer, session = desk.peer()
    peer.stream_data(2, orders(HELLO, VIDEO), False)
    await settle()
    peer.stream_data(2, control.encode(control.Flush({"2": 2})), False)
    broker = desk.link.producers[Track("default", "me", "video")]
    for stream, seq in ((6, 1), (10, 2)):
        obj = picture(seq, key=True)
        peer.stream_data(stream, b"\x02" + encode_head(2, obj) + obj.payload, True)
        await settle()
        assert not of(session, control.Flushed)
    broker.receipt(2)
    async with asyncio.timeout(60):
        while not of(session, control.Flushed):
            await asyncio.sleep(0.01)
    counts = of(session, control.Flushed)[0].tracks["2"]
    assert counts == {"received": 2, "delivered": 2, "dropped": 0, "queued": 0}


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x00", "stream-type"),
        (b"\x02" + b"\xff" * 48, "header"),
        (b"\x02" + encode_head(2, picture(1)), "half-object"),
        (b"\x01" + b"\xff" * 4, "too-large"),
        (orders(control.Pong(1, 2, 3), control.Welcome("", "", 0)), "control"),
        (b"camera" + bytes(26), "header"),
    ],
)
async def test_damage_raises_for_this_session(data: bytes, code: str) -> None:
    desk = Desk()
    peer, _ = desk.peer()
    with pytest.raises(WireError) as caught:
        peer.stream_data(6, data, True)
    assert caught.value.code == code


async def test_streams_and_partial_objects_are_bounded() -> None:
    desk = Desk(LimitSettings(streams_per_session=4))
    peer, _ = desk.peer()
    for stream in range(4):
        peer.stream_data(stream, b"\x02", False)
    with pytest.raises(Refused, match="Too many streams"):
        peer.stream_data(9, b"\x02", False)
    desk = Desk()
    peer, _ = desk.peer()
    peer.stream_data(2, orders(HELLO, VIDEO), False)
    await settle()
    head = b"\x02" + encode_head(2, picture(1, size=4 * 1024 * 1024))
    piece = bytes(4 * 1024 * 1024 - 1)
    for stream in (6, 10, 14):
        peer.stream_data(stream, head + piece, False)
    peer.stream_reset(6, 1)
    peer.stream_data(18, head + piece, False)
    with pytest.raises(WireError, match="half objects"):
        peer.stream_data(22, head + piece, False)


async def test_objects_of_unknown_tracks_are_counted() -> None:
    desk = Desk()
    peer, _ = desk.peer()
    obj = picture(1, key=True)
    peer.stream_data(6, b"\x02" + encode_head(9, obj) + obj.payload, True)
    assert desk.refused == {"unknown-track": 1}


async def test_original_framing() -> None:
    desk = Desk()
    peer, _ = desk.peer()
    messages = [legacy.encode("cam 1", "video", b"x" * n) for n in (1, 2)]
    messages.append(legacy.encode("odd", "hologram", b""))
    messages.append(legacy.encode("talk", "chat", b"hi"))
    peer.stream_data(6, b"".join(messages), False)
    peer.stream_data(10, b"", True)
    await settle()
    peer.stream_data(6, legacy.encode("talk", "chat", b"again"), True)
    assert desk.refused == {"legacy-kind": 1}
    video = desk.rooms.routes[Track("default", f"legacy-{peer.id}", "cam-1")]
    chat = desk.rooms.routes[Track("default", f"legacy-{peer.id}", "talk")]
    assert isinstance(video, LiveRoute)
    assert isinstance(chat, ReliableRoute)
    assert [sent["seq"] for sent in desk.link.producers[chat.track].sent] == [1, 2]
    properties = desk.link.producers[video.track].sent[0]["properties"]
    assert properties["content_type"] == "application/octet-stream"
    assert "capture_us" not in properties
    assert "instance" not in properties
    assert "clock_error_us" not in properties


async def test_ended_session_hands_on_what_it_has() -> None:
    desk = Desk()
    peer, _ = desk.peer()
    peer.stream_data(2, orders(HELLO, CHAT), False)
    await settle()
    peer.stream_data(6, b"\x02" + encode_head(1, line(1)) + line(1).payload, False)
    peer.closed(0, "")
    assert desk.gone == [peer]
    broker = desk.link.producers[Track("default", "me", "chat")]
    assert desk.rooms.total().in_flight == 1
    broker.receipt()
    assert await desk.rooms.drained(1.0)
    async with asyncio.timeout(60):
        while desk.rooms.routes:
            await asyncio.sleep(0.01)
    total = desk.rooms.total()
    assert (total.offered, total.delivered, total.in_flight) == (1, 1, 0)


async def test_room_names_are_checked() -> None:
    desk = Desk()
    with pytest.raises(UsageError, match="room"):
        desk.peer(room="no such!")
    assert desk.rooms.topic("default", Kind.VIDEO) == "persistent://public/default/video"


async def test_names_of_the_original_framing_are_not_to_be_had() -> None:
    desk = Desk()
    peer, _ = desk.peer()
    with pytest.raises(Refused, match="original framing"):
        peer.stream_data(2, orders(control.Hello("legacy-1", "x")), False)
