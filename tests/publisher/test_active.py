"""One session seen from inside: control bytes in, tracks attached, every odd end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, cast

import pytest

from tests.publisher.fakes import FakeStreams, FakeTime
from wtp.clock import Sleeps
from wtp.errors import ConnectionFailed, WireError
from wtp.model import Kind
from wtp.publisher import active as module
from wtp.publisher.active import Active
from wtp.publisher.live import LiveTrack, Unit
from wtp.publisher.outgoing import Outgoing
from wtp.publisher.reliable import ReliableTrack
from wtp.publisher.session import Conversation, TrackSpec
from wtp.transport.session import CONTROL, LIVE, Session
from wtp.wire import StreamType, control

VIDEO = TrackSpec(1, "video", Kind.VIDEO, "video/h264")
CHAT = TrackSpec(2, "chat", Kind.CHAT, "text/plain")
THEIRS = 3


class FakeSession(FakeStreams):
    """The parts of a session that `Active` uses beside streams."""

    class Stats:
        rtt_ms = 1.0

    stats = Stats()

    def __init__(self) -> None:
        super().__init__()
        self.events: Active | None = None
        self.closes: list[tuple[int, str]] = []
        self.stops: list[int] = []
        self.released = 0

    def release(self, stream: int, count: int) -> None:
        self.released += count

    def stop(self, stream: int, code: int) -> None:
        self.stops.append(stream)

    def close(self, code: int = 0, reason: str = "") -> None:
        self.closes.append((code, reason))
        if self.events is not None:
            self.events.closed(code, reason)

    async def drained(self, below_bytes: int = 0) -> None:
        if self.backlog() > below_bytes:
            raise ConnectionFailed("over")


class Rig:
    """An active session over doubles."""

    def __init__(self, *, boot_id: str = "here", sleeps: Sleeps | None = None) -> None:
        self.clock = FakeTime().clock()
        self.keys = 0
        self.video = LiveTrack(VIDEO, self.clock, self._wanted)
        self.chat = ReliableTrack(CHAT, self.clock)
        tracks: dict[int, Outgoing] = {1: self.video, 2: self.chat}
        talk = Conversation(
            "cam", "i", [VIDEO, CHAT], self.clock, boot_id=boot_id, adopt=True, sleeps=sleeps
        )
        self.active = Active(talk, tracks, self.clock)
        self.session = FakeSession()
        self.session.events = self.active
        self.active.start(cast("Session", self.session))
        self._begun = False

    def _wanted(self) -> None:
        self.keys += 1

    def tell(self, *messages: control.Message) -> None:
        data = b"".join(map(control.encode, messages))
        if not self._begun:
            data = bytes([StreamType.CONTROL]) + data
            self._begun = True
        self.active.stream_data(THEIRS, data, False)

    def ready(self) -> None:
        self.tell(control.Welcome("s", "here", 0), control.Published(1), control.Published(2, 0))

    def said(self) -> list[control.Message]:
        return list(control.ControlParser().feed(bytes(self.session.streams[2].data[1:])))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.005)


def words(messages: list[Any]) -> list[str]:
    return [type(message).__name__ for message in messages]


async def test_tracks_are_attached_when_taken() -> None:
    rig = Rig()
    rig.ready()
    assert rig.active.attached == {1, 2}
    assert words(rig.said()) == ["Hello", "Offset", "Publish", "Publish"]
    assert rig.session.released > 0


async def test_a_refused_object_is_confirmed() -> None:
    rig = Rig()
    rig.ready()
    await rig.chat.offer(b"a", {})
    rig.tell(control.Rejected(2, 1, "too-large", "It is too large."))
    assert rig.chat.ledger.dropped == {"too-large": 1}
    assert rig.said()[-1] == control.Rejected(2, 1, "too-large")


async def test_a_key_frame_is_asked_of_the_encoder_every_time_the_router_says_so() -> None:
    rig = Rig()
    rig.ready()
    rig.tell(control.Keyframe(1), control.Keyframe(1))
    assert rig.keys == 2
    rig.tell(control.Keyframe(2))
    assert rig.keys == 2, "a chat has none"
    assert not rig.session.closes


async def test_control_goes_before_everything() -> None:
    rig = Rig()
    rig.ready()
    rig.video.offer(Unit(b"x", True, 1, 1))
    assert [stream.rank for stream in rig.session.all()] == [CONTROL, LIVE]


async def test_a_message_of_a_later_version_is_skipped() -> None:
    """So a publisher from before `keyframe` skips that: an unknown type is no error."""
    rig = Rig()
    rig.ready()
    later = json.dumps({"type": "rotate", "alias": 1}).encode()
    rig.active.stream_data(THEIRS, len(later).to_bytes(4, "big") + later, False)
    rig.tell(control.Keyframe(1))
    assert rig.keys == 1
    assert not rig.session.closes


async def test_a_flush_ends_with_its_session() -> None:
    rig = Rig()
    rig.ready()
    flushing = asyncio.create_task(rig.active.flush(60.0))
    await asyncio.sleep(0)
    rig.active.lose("gone")
    assert not await asyncio.wait_for(flushing, 1)


async def test_without_a_clock_nothing_is_sent_yet() -> None:
    rig = Rig(boot_id="elsewhere")
    rig.ready()
    assert rig.active.attached == set()
    rig.active.conversation.ping()
    rig.tell(control.Pong(rig.clock.now_us(), 5, 5))
    assert rig.active.attached == {1, 2}


async def test_a_suspend_is_noticed_between_pings_and_the_clocks_are_compared_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The steady pace is so slow that only the look at the machine's own clocks can end a pause."""
    monkeypatch.setattr(module, "PING_S", 600.0)
    monkeypatch.setattr(module, "LOOK_S", 0.01)
    slept_us = 0
    sleeps = Sleeps(lambda: 0, lambda: slept_us)
    rig = Rig(boot_id="elsewhere", sleeps=sleeps)
    rig.ready()
    watching = asyncio.create_task(rig.active.watch())
    await until(lambda: words(rig.said()).count("Ping") == module.QUICK_PINGS)
    now_us = rig.clock.now_us()
    rig.tell(control.Pong(now_us, now_us, now_us))
    assert rig.active.conversation.offset is not None
    slept_us = 9 * 10**6
    await until(lambda: words(rig.said()).count("Ping") == 2 * module.QUICK_PINGS)
    assert control.Offset(0, control.UNKNOWN) in rig.said()
    rig.active.lose("test over")
    await asyncio.wait_for(watching, 60)


async def test_receipts_counts_and_writable_reach_the_tracks() -> None:
    rig = Rig()
    rig.ready()
    await rig.chat.offer(b"a", {})
    rig.video.offer(Unit(b"x", True, 1, 1))
    rig.tell(
        control.Receipt(2, 1),
        control.Stats({"1": {"received": 1}, "9": {"received": 4}, "x": {"received": 4}}),
    )
    rig.active.writable()
    assert rig.chat.ledger.delivered == rig.video.ledger.delivered == 1


@pytest.mark.parametrize("first", [StreamType.OBJECTS, 0x07])
async def test_a_stream_that_is_not_control_is_a_fault(first: int) -> None:
    with pytest.raises(WireError):
        Rig().active.stream_data(THEIRS, bytes([first]), False)


async def test_a_second_stream_is_stopped() -> None:
    rig = Rig()
    rig.ready()
    rig.active.stream_data(7, b"\x01", False)
    assert rig.session.stops == [7]


async def test_words_before_hello_are_a_fault() -> None:
    rig = Rig()
    rig.active.session = None
    with pytest.raises(WireError):
        rig.active.stream_data(THEIRS, b"\x01", False)


async def test_the_end_of_the_control_stream_ends_the_session() -> None:
    for end in ("fin", "reset"):
        rig = Rig()
        rig.ready()
        if end == "fin":
            rig.active.stream_data(THEIRS, b"", True)
        else:
            rig.active.stream_reset(THEIRS, 0)
        assert rig.session.closes
        assert rig.active.over.is_set()
        assert rig.active.attached == set()


async def test_a_stopped_reliable_or_control_stream_needs_a_new_session() -> None:
    rig = Rig()
    rig.ready()
    rig.video.offer(Unit(b"x", True, 1, 1))
    rig.active.stream_stopped(6, 0)
    assert not rig.active.over.is_set(), "a live group may be stopped"
    await rig.chat.offer(b"a", {})
    rig.active.stream_stopped(10, 0)
    assert "chat" in rig.active.reason
    rig = Rig()
    rig.active.stream_stopped(2, 0)
    assert "control" in rig.active.reason


async def test_a_passing_refusal_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REPUBLISH_S", 0.0)
    rig = Rig()
    rig.tell(
        control.Welcome("s", "here", 0),
        control.Error("broker-unavailable", "No broker.", 2),
        control.Published(1),
    )
    assert rig.active.failure is None
    watching = asyncio.create_task(rig.active.watch())
    await asyncio.sleep(0.1)
    assert words(rig.said()).count("Publish") == 3
    rig.tell(control.Published(2, 0))
    assert rig.active.attached == {1, 2}
    rig.active.lose("test over")
    await asyncio.wait_for(watching, 60)


async def test_a_refusal_that_will_not_pass_is_the_end() -> None:
    rig = Rig()
    rig.tell(control.Welcome("s", "here", 0), control.Error("bad-name", "No.", 1))
    assert rig.active.failure is not None
    assert rig.active.failure.exit_code == 4


async def test_a_close_before_the_greeting_is_a_refusal() -> None:
    rig = Rig()
    rig.active.closed(0x11, "too many sessions")
    assert rig.active.failure is not None
    assert "too many sessions" in rig.active.failure.message
    rig.active.closed(0, "again")
    assert "again" not in rig.active.reason


async def test_a_router_that_does_not_greet_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WELCOME_S", 0.0)
    rig = Rig()
    await asyncio.wait_for(rig.active.watch(), 60)
    assert rig.active.reason == "the router does not greet"


async def test_flush_asks_once_all_has_arrived() -> None:
    rig = Rig()
    rig.ready()
    rig.video.offer(Unit(b"x", True, 1, 1))
    flushing = asyncio.create_task(rig.active.flush(2.0))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert rig.said()[-1] == control.Flush({"1": 1, "2": 0})
    rig.tell(control.Flushed({"1": {"received": 1}}))
    assert await flushing
    assert rig.video.ledger.delivered == 1


async def test_flush_gives_up() -> None:
    rig = Rig()
    assert not await rig.active.flush(1.0), "nothing was taken yet"
    rig.ready()
    assert not await rig.active.flush(0.01)
    rig.session.stuck = True
    rig.video.attach(rig.video._line, -1)  # type: ignore[arg-type]
    rig.video.offer(Unit(b"x", True, 1, 1))
    assert not await rig.active.flush(0.01)


async def test_a_leaving_router_is_noticed() -> None:
    rig = Rig()
    rig.ready()
    rig.tell(control.Drain("restart"))
    assert rig.active.draining.is_set()
