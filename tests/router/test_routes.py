from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.router.fakes import FakeOwner, FakeProducer, Time, clock, line, picture
from wtp.broker.client import Producer
from wtp.clock import Offset
from wtp.config.schema import QueueSettings
from wtp.errors import Refused
from wtp.model import Kind, Track
from wtp.router.routes import MOST_UNRECEIPTED, LiveRoute, ReliableRoute

TRACK = Track("room", "me", "video")
LIMITS = QueueSettings()


def live(time: Time | None = None, kind: Kind = Kind.VIDEO) -> LiveRoute:
    route = LiveRoute(TRACK, kind, "video/h264", "t", clock(time), LIMITS)
    route.owner, route.instance = FakeOwner(), "run"
    return route


def reliable() -> tuple[ReliableRoute, FakeOwner]:
    route = ReliableRoute(Track("room", "me", "chat"), Kind.CHAT, "text/plain", "t", clock())
    owner = FakeOwner()
    route.owner, route.instance = owner, "run"
    return route, owner


def producer(fake: FakeProducer) -> Producer:
    return cast(Producer, fake)


def test_live_hands_over_at_once_with_stamps() -> None:
    route, broker = live(), FakeProducer()
    route.attach(producer(broker))
    route.offer(picture(7, key=True))
    sent = broker.sent[0]
    assert sent["key"] == "room/me/video"
    assert sent["event_ms"] == 7
    assert sent["seq"] is None
    properties = sent["properties"]
    assert properties["wtp"] == "1"
    assert properties["instance"] == "run"
    assert properties["clock"] == "boot:0"
    assert properties["content_type"] == "video/h264"
    assert properties["route_us"] == properties["publish_us"] == "1000000"
    assert "encode_us" not in properties
    assert "clock_error_us" not in properties


def test_offset_moves_stamps_into_the_routers_clock() -> None:
    route, broker = live(), FakeProducer()
    route.owner = FakeOwner(offset=Offset(500, 20))
    route.attach(producer(broker))
    route.offer(picture(7, key=True))
    properties = broker.sent[0]["properties"]
    assert properties["capture_us"] == "7500"
    assert properties["clock_error_us"] == "20"


def test_live_keeps_few_with_the_client() -> None:
    route, broker = live(), FakeProducer()
    route.attach(producer(broker))
    for seq in range(10):
        route.offer(picture(seq, key=seq == 0))
    assert len(broker.sent) == LIMITS.unreceipted
    assert route.queued == 10 - LIMITS.unreceipted
    broker.receipt(4)
    assert broker.seqs == list(range(8))


def test_full_queue_keeps_the_newest_group() -> None:
    route = live()
    for seq in range(LIMITS.video_objects + 1):
        route.offer(picture(seq, key=seq in (0, 50)))
    assert route.ledger.dropped == {"queue": 50}
    assert route.queued == LIMITS.video_objects + 1 - 50
    broker = FakeProducer()
    route.attach(producer(broker))
    assert broker.seqs[0] == 50


def test_full_queue_of_one_group_waits_for_the_next_key() -> None:
    route = live()
    for seq in range(LIMITS.video_objects + 3):
        route.offer(picture(seq, key=seq == 0))
    assert route.ledger.dropped == {"queue": LIMITS.video_objects, "broken-group": 2}
    route.offer(picture(100, key=True))
    assert route.queued == 2
    assert route.ledger.balanced


def test_stall_drops_the_backlog() -> None:
    time = Time()
    route, broker = live(time), FakeProducer()
    for seq in range(5):
        route.offer(picture(seq, key=seq in (0, 3)))
    time.now += LIMITS.stall_ms * 1000 + 1
    route.attach(producer(broker))
    assert broker.seqs == [3, 4]
    assert route.ledger.dropped == {"stall": 3}


def test_audio_keeps_the_newest() -> None:
    route = live(kind=Kind.AUDIO)
    for seq in range(LIMITS.audio_objects + 1):
        route.offer(picture(seq, key=True, kind=Kind.AUDIO))
    assert route.queued == 1
    assert route.ledger.balanced


def test_lost_object_ends_its_group() -> None:
    route, broker = live(), FakeProducer()
    route.attach(producer(broker))
    for seq in range(8):
        route.offer(picture(seq, key=seq in (0, 6)))
    broker.fail(1)
    assert route.ledger.dropped == {"broker": 1, "broken-group": 2}
    broker.receipt(4)
    assert broker.seqs == [0, 1, 2, 3, 6, 7]


class Script:
    """Random life of a live route."""

    def __init__(self, steps: list[int]) -> None:
        self.steps = steps

    def run(self) -> Iterator[LiveRoute]:
        time = Time()
        route, broker = live(time), FakeProducer()
        for number, step in enumerate(self.steps):
            if step < 5:
                route.offer(picture(number, key=step == 0))
            elif step == 5 and broker.waiting:
                broker.receipt()
            elif step == 6 and broker.waiting:
                broker.fail()
            elif step == 7:
                route.attach(producer(broker))
            elif step == 8:
                route.attach(None)
            elif step == 9:
                time.now += 300_000
            yield route


@given(st.lists(st.integers(0, 9), max_size=300))
def test_live_identity_always_holds(steps: list[int]) -> None:
    for route in Script(steps).run():
        assert route.ledger.balanced
        assert route.queued <= LIMITS.video_objects
        assert route.idle.is_set() == (route.ledger.in_flight == 0)


def test_reliable_confirms_only_after_the_receipt() -> None:
    route, owner = reliable()
    broker = FakeProducer()
    route.attach(producer(broker))
    for seq in (1, 2, 3):
        route.offer(line(seq))
    assert not owner.told
    broker.receipt(2)
    assert owner.told == [1, 2]
    assert route.last_seq == 2
    assert [sent["seq"] for sent in broker.sent] == [1, 2, 3]
    assert route.ledger.snapshot()["in_flight"] == 1


def test_reliable_waits_without_a_broker() -> None:
    route, _ = reliable()
    for seq in range(1, 6):
        route.offer(line(seq))
    assert route.kept_bytes > 0
    assert route.ledger.in_flight == 5
    broker = FakeProducer()
    route.attach(producer(broker))
    broker.receipt(5)
    assert route.ledger.delivered == 5
    assert route.kept_bytes == 0


def test_reliable_sends_again_what_the_broker_lacks() -> None:
    route, owner = reliable()
    first = FakeProducer()
    route.attach(producer(first))
    for seq in range(1, 6):
        route.offer(line(seq))
    first.receipt(1)
    late = list(first.waiting)
    route.attach(None)
    second = FakeProducer(last_seq=3)
    route.attach(producer(second))
    assert second.seqs == [4, 5]
    assert owner.told[-1] == 3
    late[3](None)
    assert route.last_seq == 3, "a receipt of the old producer counts no more"
    second.receipt(2)
    assert route.last_seq == 5
    assert route.ledger.balanced


def test_reliable_refuses_gaps_and_drops_repeats() -> None:
    route, owner = reliable()
    broker = FakeProducer(last_seq=10)
    route.attach(producer(broker))
    route.offer(line(10))
    assert route.ledger.dropped == {"duplicate": 1}
    assert owner.told[-1] == 10
    with pytest.raises(Refused, match="11 was due"):
        route.offer(line(12))
    assert route.ledger.balanced


def test_reliable_hands_the_client_no_more_than_it_takes() -> None:
    route, _ = reliable()
    broker = FakeProducer()
    route.attach(producer(broker))
    for seq in range(1, MOST_UNRECEIPTED + 11):
        route.offer(line(seq))
    assert len(broker.sent) == MOST_UNRECEIPTED
    assert route.queued == 10
    broker.receipt(5)
    assert len(broker.sent) == MOST_UNRECEIPTED + 5


def test_abandoned_objects_are_taken_again() -> None:
    route, _ = reliable()
    route.offer(line(1))
    route.abandon("session-ended")
    assert route.ledger.dropped == {"session-ended": 1}
    route.offer(line(1))
    assert route.ledger.balanced
