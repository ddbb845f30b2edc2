"""The control conversation, message by message."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.publisher.fakes import FakeTime
from wtp.clock import RESYNC_EXCHANGES, Clock, Sleeps
from wtp.errors import WireError
from wtp.model import Kind
from wtp.publisher.session import Conversation, TrackSpec
from wtp.wire import StreamType, control

VIDEO = TrackSpec(1, "video", Kind.VIDEO, "video/h264")
CHAT = TrackSpec(2, "chat", Kind.CHAT, "text/plain")


def conversation(clock: Clock, *, adopt: bool = True) -> Conversation:
    return Conversation("cam", "i1", [VIDEO, CHAT], clock, boot_id="here", adopt=adopt)


def sent(talk: Conversation) -> list[control.Message]:
    data = talk.data_to_send()
    if data[:1] == bytes([StreamType.CONTROL]):
        data = data[1:]
    return list(control.ControlParser().feed(data))


def tell(talk: Conversation, *messages: control.Message) -> list[control.Message]:
    return list(talk.receive(b"".join(map(control.encode, messages))))


def test_hello_then_publish() -> None:
    talk = conversation(FakeTime().clock())
    (hello,) = sent(talk)
    assert isinstance(hello, control.Hello)
    assert (hello.name, hello.instance) == ("cam", "i1")
    assert talk.data_to_send() == b""
    acted = tell(talk, control.Welcome("s", "here", 500))
    assert [type(m) for m in acted] == [control.Welcome]
    assert sent(talk) == [
        control.Offset(0, 0),
        control.Publish(1, "video", "video", "video/h264"),
        control.Publish(2, "chat", "chat", "text/plain"),
    ]


def test_the_same_machine_start_adopts_the_clock() -> None:
    clock = FakeTime().clock(anchor_us=100)
    talk = conversation(clock)
    tell(talk, control.Welcome("s", "here", 500))
    assert clock.domain.anchor_us == 500
    assert talk.shift_us == 0
    assert talk.same_start


def test_a_later_session_shifts_instead() -> None:
    clock = FakeTime().clock(anchor_us=100)
    talk = conversation(clock, adopt=False)
    tell(talk, control.Welcome("s", "here", 500))
    assert clock.domain.anchor_us == 100
    assert talk.shift_us == 400


class Router:
    """A router on another machine: its clock is ahead, and answers take a while."""

    def __init__(self, ahead_us: int = 1000, *, sleeps: Sleeps | None = None) -> None:
        self.time = FakeTime()
        self.clock = self.time.clock(anchor_us=0)
        self.ahead_us, self.way_us = ahead_us, 50
        self.talk = Conversation(
            "cam", "i1", [VIDEO, CHAT], self.clock, boot_id="here", adopt=True, sleeps=sleeps
        )
        tell(self.talk, control.Welcome("s", "there", 500))
        sent(self.talk)

    def exchange(self, pause_us: int = 0) -> list[control.Message]:
        """One ping and pong; returns what was said beside."""
        self.time.us += pause_us
        self.talk.ping()
        *before, ping = sent(self.talk)
        assert isinstance(ping, control.Ping)
        self.time.us += self.way_us
        theirs_us = self.clock.now_us() + self.ahead_us
        self.time.us += self.way_us
        assert tell(self.talk, control.Pong(ping.t0_us, theirs_us, theirs_us)) == []
        return [*before, *sent(self.talk)]


def holds(talk: Conversation, ahead_us: int) -> bool:
    offset = talk.offset
    return offset is not None and abs(offset.offset_us - ahead_us) <= offset.error_us


def test_another_machine_announces_its_offset() -> None:
    router = Router()
    assert router.talk.offset is None
    assert router.talk.clock()["state"] == "unknown"
    assert router.clock.domain.anchor_us == 0
    router.way_us = 9_000
    (offset,) = router.exchange()
    assert isinstance(offset, control.Offset)
    assert offset.error_us > 9_000
    assert holds(router.talk, 1000)
    assert router.talk.round_trip_us == 18_000
    first_us = router.talk.clock()["error_us"]
    assert 9_000 <= first_us <= 9_020
    router.way_us = 50
    (better,) = router.exchange(20_000)
    assert isinstance(better, control.Offset)
    assert better.error_us < offset.error_us / 2
    assert holds(router.talk, 1000)
    assert 50 <= router.talk.clock()["error_us"] <= 60
    assert router.talk.clock()["state"] == "measured"


def test_what_was_announced_holds_until_the_next_and_is_not_repeated() -> None:
    router, said = Router(), 0
    for number in range(60):
        said += len(router.exchange(500_000))
        router.ahead_us += 5  # 10 ppm
        assert holds(router.talk, router.ahead_us), number
        assert holds(router.talk, router.ahead_us + 12), "before the next exchange"
    assert said < 30
    assert router.talk.offset is not None
    assert router.talk.offset.error_us < 400, "the drift is known"


@pytest.mark.parametrize("step_us", [-5 * 10**6, 94_608_000 * 10**6])
def test_a_step_is_announced_and_then_the_new_offset(step_us: int) -> None:
    router = Router()
    for _ in range(5):
        router.exchange(500_000)
    router.ahead_us += step_us
    assert router.exchange(500_000) == [control.Offset(0, control.UNKNOWN)]
    assert router.talk.offset is None
    assert router.talk.resyncs == 1
    assert router.talk.clock()["offset_us"] is None
    said = [router.exchange(20_000) for _ in range(RESYNC_EXCHANGES)]
    assert [len(messages) for messages in said] == [0] * (RESYNC_EXCHANGES - 1) + [1]
    assert holds(router.talk, 1000 + step_us)
    assert router.talk.clock()["resyncs"] == 1


def test_a_suspend_is_announced_before_any_exchange() -> None:
    slept_us, now_us = 0, 0
    sleeps = Sleeps(lambda: now_us, lambda: now_us + slept_us)
    router = Router(sleeps=sleeps)
    router.exchange()
    now_us += 10**6
    router.talk.look()
    assert sent(router.talk) == []
    slept_us = 7 * 10**6
    router.talk.look()
    assert sent(router.talk) == [control.Offset(0, control.UNKNOWN)]
    router.ahead_us += slept_us
    for _ in range(RESYNC_EXCHANGES):
        router.exchange(20_000)
    assert holds(router.talk, router.ahead_us)


def test_a_shared_clock_has_no_error_and_does_not_care_for_sleep() -> None:
    slept_us = 0
    talk = Conversation(
        "cam", "i1", [VIDEO], FakeTime().clock(), boot_id="here", adopt=True,
        sleeps=Sleeps(lambda: 0, lambda: slept_us),
    )  # fmt: skip
    tell(talk, control.Welcome("s", "here", 500))
    sent(talk)
    slept_us = 10**9
    talk.look()
    assert sent(talk) == []
    clock = talk.clock()
    assert (clock["state"], clock["offset_us"], clock["error_us"]) == ("shared", 0, 0)


def test_pings_of_the_router_are_answered() -> None:
    time = FakeTime()
    talk = conversation(time.clock(anchor_us=0))
    tell(talk, control.Welcome("s", "there", 500))
    sent(talk)
    time.us = 9
    assert tell(talk, control.Ping(5)) == []
    assert sent(talk) == [control.Pong(5, 9, 9)]


def test_flush_counts_by_alias() -> None:
    talk = conversation(FakeTime().clock())
    sent(talk)
    talk.flush({1: 30, 2: 4})
    assert sent(talk) == [control.Flush({"1": 30, "2": 4})]


@pytest.mark.parametrize(
    "messages",
    [
        [control.Receipt(1, 1)],
        [control.Welcome("s", "h", 1), control.Welcome("s", "h", 1)],
        [control.Welcome("s", "h", 1), control.Published(9)],
        [control.Welcome("s", "h", 1), control.Pong(1, 2, 3)],
    ],
)
def test_what_is_out_of_turn_is_a_fault(messages: list[Any]) -> None:
    talk = conversation(FakeTime().clock())
    with pytest.raises(WireError):
        tell(talk, *messages)


def test_an_error_may_come_at_any_time() -> None:
    talk = conversation(FakeTime().clock())
    error = control.Error("name-taken", "cam is taken")
    assert tell(talk, error) == [error]


@given(st.binary(max_size=200))
def test_damage_is_a_wire_error_and_nothing_else(data: bytes) -> None:
    talk = conversation(FakeTime().clock())
    try:
        list(talk.receive(data))
    except WireError:
        return
