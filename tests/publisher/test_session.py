"""The control conversation, message by message."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.publisher.fakes import FakeTime
from wtp.clock import Clock
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


def test_another_machine_announces_its_offset() -> None:
    time = FakeTime()
    clock = time.clock(anchor_us=0)
    talk = conversation(clock)
    tell(talk, control.Welcome("s", "there", 500))
    assert talk.offset is None
    assert clock.domain.anchor_us == 0
    sent(talk)
    talk.ping()
    assert sent(talk) == [control.Ping(0)]
    time.us = 100
    assert tell(talk, control.Pong(0, 1050, 1050)) == []
    assert sent(talk) == [control.Offset(1000, 51)]
    assert talk.round_trip_us == 100
    talk.ping()
    time.us = 110
    tell(talk, control.Pong(100, 1105, 1105))
    assert sent(talk)[1:] == [control.Offset(1000, 6)]
    talk.ping()
    time.us = 200
    tell(talk, control.Pong(110, 1150, 1150))
    assert sent(talk)[1:] == []


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
