from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.router.fakes import FakeOwner, FakeProducer, Time, clock, line, picture
from wtp.broker.client import Producer
from wtp.clock import Offset
from wtp.config.schema import QueueSettings
from wtp.errors import BrokerError, Refused
from wtp.model import Kind, Object, Track
from wtp.router.reliable import LARGE_BYTES, MOST_UNRECEIPTED
from wtp.router.routes import Drop, LiveRoute, ReliableRoute, StageDone

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
    route.offer(line(12))
    assert broker.seqs == [12], "the first of a session may be any the broker lacks"
    with pytest.raises(Refused, match="13 was due"):
        route.offer(line(14))
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


class FakeStage:
    """Keeps what it is given until told what became of it."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Object, StageDone]] = []
        self.closed = False

    def put(self, obj: Object, done: StageDone) -> None:
        self.waiting.append((obj, done))

    def answer(self, *results: list[Object] | Drop | None) -> None:
        for result in results:
            obj, done = self.waiting.pop(0)
            done([obj] if result is None else result)

    def close(self) -> None:
        self.closed = True


def test_a_stage_stands_before_the_queue_of_a_live_route() -> None:
    route, broker, stage = live(), FakeProducer(), FakeStage()
    route.stage = stage
    route.attach(producer(broker))
    for seq in range(6):
        route.offer(picture(seq, key=seq in (0, 4)))
    assert not broker.sent
    assert stage.waiting[0][0].route_us is not None
    assert route.ledger.in_flight == 6
    stage.answer(None, Drop("processor-timeout"), None, None, None)
    assert broker.seqs == [0, 4]
    assert route.ledger.dropped == {"processor-timeout": 1, "broken-group": 2}
    late = stage.waiting[0][1]
    route.abandon("session-ended")
    late([picture(5)])
    assert route.ledger.dropped["session-ended"] == 1
    assert broker.seqs == [0, 4]
    assert stage.closed
    assert route.ledger.balanced


def test_a_stage_may_make_none_or_several_of_a_live_object() -> None:
    route, broker, stage = live(), FakeProducer(), FakeStage()
    route.stage = stage
    route.attach(producer(broker))
    for seq in range(2):
        route.offer(picture(seq, key=True))
    stage.answer([], [picture(1, key=True), picture(1, key=True)])
    broker.receipt(2)
    assert route.ledger.delivered == 3
    assert route.ledger.offered == 3
    assert route.idle.is_set()


def test_a_reliable_route_waits_for_its_stage_in_order() -> None:
    route, owner = reliable()
    broker, stage = FakeProducer(), FakeStage()
    route.stage = stage
    route.attach(producer(broker))
    for seq in range(1, 5):
        route.offer(line(seq))
    answers = [done for _, done in stage.waiting]
    answers[1]([line(2)])
    assert not broker.sent
    answers[0]([line(1)])
    assert broker.seqs == [1, 2]
    answers[2](Drop("filtered"))
    answers[3]([])
    assert route.last_seq == 0
    broker.receipt(2)
    assert route.last_seq == 4
    assert owner.told[-1] == 4
    assert route.ledger.dropped == {"filtered": 1}
    assert route.ledger.delivered == 3
    assert not owner.refusals
    assert route.idle.is_set()


def test_what_the_stage_made_survives_another_producer() -> None:
    route, _ = reliable()
    broker, stage = FakeProducer(), FakeStage()
    route.stage = stage
    route.attach(producer(broker))
    for seq in (1, 2, 3):
        route.offer(line(seq))
    stage.answer(None, None)
    second = FakeProducer(last_seq=1)
    route.attach(producer(second))
    assert second.seqs == [2]
    stage.answer(None)
    assert second.seqs == [2, 3]
    second.receipt(2)
    assert route.last_seq == 3
    assert route.ledger.balanced


def test_a_refused_object_holds_up_the_others_until_its_sender_knows() -> None:
    route, owner = reliable()
    broker, stage = FakeProducer(), FakeStage()
    route.stage = stage
    route.attach(producer(broker))
    for seq in range(1, 6):
        route.offer(line(seq))
    stage.answer(None, Drop("processor-refused", "too rude"), None, None, None)
    assert broker.seqs == [1]
    assert not owner.refusals, "1 has no receipt yet"
    broker.receipt()
    assert owner.refusals == [(2, "processor-refused")]
    assert route.last_seq == 1
    route.confirmed(7)
    assert broker.seqs == [1]
    route.confirmed(2)
    assert broker.seqs == [1, 3, 4, 5]
    broker.receipt(3)
    assert route.last_seq == 5
    assert route.ledger.dropped == {"processor-refused": 1}
    assert route.ledger.delivered == 4


def test_objects_that_the_broker_never_takes_are_refused_one_by_one() -> None:
    route, owner = reliable()
    broker = FakeProducer()
    route.attach(producer(broker))
    for seq in range(1, 5):
        route.offer(line(seq))
    broker.fail(2, BrokerError("too big", code="too-large"))
    assert owner.refusals == [(1, "too-large")]
    broker.receipt(2)
    assert route.last_seq == 0
    route.confirmed(1)
    assert owner.refusals == [(1, "too-large"), (2, "too-large")]
    route.confirmed(2)
    assert route.last_seq == 4
    assert route.producer is not None, "the producer is as good as before"
    assert route.idle.is_set()
    assert route.kept_bytes == 0


async def test_nothing_follows_a_large_object_before_the_client_has_looked_at_it() -> None:
    route, owner = reliable()
    broker = FakeProducer()
    route.attach(producer(broker))
    route.offer(line(1, "x" * LARGE_BYTES))
    route.offer(line(2))
    assert broker.seqs == [1]
    broker.fail(1, BrokerError("too big", code="too-large"))
    await asyncio.sleep(0)
    assert broker.seqs == [1]
    route.confirmed(1)
    assert broker.seqs == [1, 2]
    route.offer(line(3, "x" * LARGE_BYTES))
    route.offer(line(4))
    await asyncio.sleep(0)
    assert broker.seqs == [1, 2, 3, 4]
    assert len(owner.refusals) == 1


def test_a_session_that_takes_over_sends_the_refused_object_again() -> None:
    route, owner = reliable()
    broker = FakeProducer()
    route.attach(producer(broker))
    for seq in (1, 2, 3):
        route.offer(line(seq))
    broker.receipt()
    broker.fail(1, BrokerError("too big", code="too-large"))
    route.offer(line(4))
    assert route.queued == 1
    route.withdraw("replaced")
    broker.receipt()
    assert route.last_seq == 1
    route.begin("run", "text/plain")
    assert route.last_seq == 1
    second = FakeProducer(last_seq=1)
    route.attach(producer(second))
    for seq in (2, 3, 4):
        route.offer(line(seq))
    assert second.seqs == [2, 3, 4]
    second.fail(1, BrokerError("too big", code="too-large"))
    assert owner.refusals[-1] == (2, "too-large")
    assert route.ledger.balanced


class ReliableScript:
    """Random life of a reliable route with its publisher: what is settled must stay settled."""

    def __init__(self, steps: list[int], *, staged: bool) -> None:
        self.steps = steps
        self.route, self.owner = reliable()
        self.stage = FakeStage() if staged else None
        self.route.stage = self.stage
        self.broker = FakeProducer()
        self.topic: list[int] = []
        self.next = 1

    def run(self) -> Iterator[ReliableRoute]:
        for step in self.steps:
            self._step(step)
            yield self.route

    def _step(self, step: int) -> None:
        route, broker = self.route, self.broker
        if step < 4:
            route.offer(line(self.next))
            self.next += 1
        elif step < 6 and broker.waiting and route.producer is not None:
            self.topic.append(broker.sent[len(broker.sent) - len(broker.waiting)]["seq"])
            broker.receipt()
        elif step == 6 and broker.waiting:
            broker.fail(1, BrokerError("too big", code="too-large"))
        elif step == 7:
            self.broker = FakeProducer(last_seq=max(self.topic, default=-1))
            route.attach(producer(self.broker))
        elif step == 8 and broker.waiting:
            broker.fail()
        elif step == 9 and self.owner.refusals:
            route.confirmed(self.owner.refusals[-1][0])
        elif self.stage is not None and self.stage.waiting:
            self.stage.answer(
                {10: None, 11: Drop("filtered"), 12: [], 13: Drop("no", "never")}.get(step)
            )


@given(st.lists(st.integers(0, 13), max_size=200), st.booleans())
def test_reliable_identity_always_holds(steps: list[int], staged: bool) -> None:
    script = ReliableScript(steps, staged=staged)
    for route in script.run():
        assert route.ledger.balanced
        assert route.kept_bytes >= 0
        assert route.idle.is_set() == (route.ledger.in_flight == 0)
    assert script.topic == sorted(set(script.topic))
    told = script.owner.told
    assert told == sorted(told)
    refused = [seq for seq, _ in script.owner.refusals]
    assert not set(refused) & set(script.topic)
    assert refused == sorted(set(refused))
    if not staged:
        settled = set(range(1, script.route.last_seq + 1))
        assert settled <= set(script.topic) | set(refused)
