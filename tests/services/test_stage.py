from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.services.fakes import (
    RULES,
    FakeService,
    Outcome,
    chat,
    properties,
    stage_of,
    video,
)
from wtp.model import Kind
from wtp.router.route import Drop
from wtp.router.service_client import DOWN, ERROR, REFUSED, TIMEOUT, Answer, Fault
from wtp.router.service_stage import GRACE_S, PIPELINE
from wtp.wire.process import Parcel

FAULT = Fault(ERROR, "HTTP 500")


def test_results_leave_in_the_order_in_which_objects_came() -> None:
    service, seen = FakeService(), Outcome()
    stage = stage_of(service)
    for seq in (1, 2, 3):
        stage.put(obj := video(seq, key=True), seen.of(obj))
        service.pass_time(GRACE_S)
    assert service.out == [1, 2, 3]
    service.answer(2)
    service.answer(1)
    assert seen.results == []
    service.answer(0)
    assert seen.delivered == [1, 2, 3]


def test_a_live_object_follows_the_one_before_after_a_moment() -> None:
    service, seen = FakeService(), Outcome()
    stage = stage_of(service)
    for seq in (1, 2):
        stage.put(obj := video(seq, key=True), seen.of(obj))
    assert service.out == [1]
    service.pass_time(GRACE_S / 2)
    assert service.out == [1]
    service.pass_time(GRACE_S)
    assert service.out == [1, 2]


def test_the_pipeline_has_an_end_and_the_queue_behind_it_drops_up_to_the_newest_key() -> None:
    service, seen = FakeService(rules=replace(RULES, in_flight=100)), Outcome()
    stage = stage_of(service)
    for seq in range(1, PIPELINE + 8):
        stage.put(obj := video(seq, key=seq % 4 == 1), seen.of(obj))
        service.pass_time(GRACE_S)
    assert len(service.out) == PIPELINE
    assert seen.dropped == dict.fromkeys(range(9, 13), "processor-queue")
    assert stage.held == PIPELINE + 3
    while service.sent:
        service.answer()
        service.pass_time(GRACE_S)
    assert seen.delivered == [*range(1, 9), 13, 14, 15]


def test_after_a_lost_object_nothing_is_sent_before_a_key_object() -> None:
    service, seen = FakeService(), Outcome()
    stage = stage_of(service)
    for seq in range(1, 4):
        stage.put(obj := video(seq, key=seq == 1), seen.of(obj))
    service.answer(0, Fault(REFUSED, "no", passing=False))
    assert seen.dropped == {1: REFUSED, 2: "broken-group", 3: "broken-group"}
    stage.put(obj := video(4), seen.of(obj))
    stage.put(obj := video(5, key=True), seen.of(obj))
    assert seen.dropped[4] == "broken-group"
    assert service.out == [5]


def test_results_that_cannot_be_decoded_any_more_are_dropped() -> None:
    service, seen = FakeService(), Outcome()
    stage = stage_of(service)
    for seq in range(1, 4):
        stage.put(obj := video(seq, key=seq == 1), seen.of(obj))
        service.pass_time(GRACE_S)
    service.answer(1, Fault(TIMEOUT, "late"))
    service.answer(1)
    service.answer(0)
    assert seen.delivered == [1]
    assert seen.dropped == {2: TIMEOUT, 3: "broken-group"}


def test_live_objects_are_tried_again_while_young_and_not_overtaken() -> None:
    service, seen = FakeService(), Outcome()
    stage = stage_of(service)
    stage.put(obj := video(1, key=True), seen.of(obj))
    service.answer(0, FAULT)
    assert service.out == []
    service.pass_time(0.1)
    service.answer(0)
    assert seen.delivered == [1]
    stage.put(obj := video(2), seen.of(obj))
    service.pass_time(0.6)
    service.answer(0, Fault(TIMEOUT, "late"))
    assert seen.dropped == {2: TIMEOUT}


def test_live_objects_run_out_of_tries() -> None:
    service, seen = FakeService(rules=replace(RULES, breaker_failures=100)), Outcome()
    stage = stage_of(service)
    stage.put(obj := video(1, key=True), seen.of(obj))
    for _ in range(3):
        service.answer(0, FAULT)
        service.pass_time(0.101)
    assert seen.dropped == {1: ERROR}


def test_an_open_circuit_drops_live_objects_and_holds_reliable_ones() -> None:
    service, seen = FakeService(), Outcome()
    for _ in range(3):
        began_s = service.endpoints[0].begin()
        service.endpoints[0].end(FAULT, began_s)
    live, reliable = stage_of(service), stage_of(service, Kind.CHAT)
    live.put(obj := video(1, key=True), seen.of(obj))
    reliable.put(obj := chat(2), seen.of(obj))
    assert seen.dropped == {1: DOWN}
    assert service.out == []
    service.pass_time(1.1)
    assert service.out == [2], "the half-open circuit lets one try through"
    live.put(obj := video(3, key=True), seen.of(obj))
    assert service.out == [2]
    service.answer()
    assert service.out == [3]


def test_reliable_objects_are_tried_for_ever() -> None:
    service, seen = FakeService(), Outcome()
    stage = stage_of(service, Kind.CHAT)
    for seq in range(1, 30):
        stage.put(obj := chat(seq), seen.of(obj))
    for _ in range(50):
        assert service.out in ([], [1])
        if service.out:
            service.answer(0, FAULT)
        service.pass_time(2.5)
    while service.sent:
        service.answer()
        service.pass_time(GRACE_S)
    assert seen.delivered == list(range(1, 30))
    assert seen.dropped == {}


def test_reliable_objects_follow_each_other_only_where_they_are_returned() -> None:
    service, seen = FakeService(), Outcome()
    stage = stage_of(service, Kind.CHAT)
    for seq in range(1, 10):
        stage.put(obj := chat(seq), seen.of(obj))
        service.pass_time(GRACE_S)
    assert service.out == [1]
    service.answer(0, Answer(published=1))
    service.pass_time(GRACE_S)
    assert service.out == [2]
    service.answer(0)
    service.pass_time(GRACE_S)
    assert service.out == [3, 4]
    service.answer(0, FAULT)
    service.pass_time(1.0)
    assert service.out == [4], "what failed is tried again when nothing is out"
    service.answer(0)
    service.pass_time(1.0)
    assert service.out[0] == 3
    service.answer(0, Answer(published=1))
    assert seen.delivered == [1, 2, 3, 4]


def test_a_refused_reliable_object_says_why() -> None:
    service, seen = FakeService(), Outcome()
    stage = stage_of(service, Kind.CHAT)
    stage.put(obj := chat(1), seen.of(obj))
    service.answer(0, Fault(REFUSED, "HTTP 422: no swearing", passing=False))
    (_, drop), *_ = seen.results
    assert isinstance(drop, Drop)
    assert "no swearing" in drop.message
    assert "object 1 of room/me/cam" in drop.message


def test_what_a_processor_filters_or_publishes_itself() -> None:
    service, seen = FakeService(), Outcome()
    stage = stage_of(service, Kind.CHAT)
    for seq in (1, 2):
        stage.put(obj := chat(seq), seen.of(obj))
    service.answer(0, Answer())
    service.answer(0, Answer(published=1))
    assert seen.results == [(1, Drop("filtered")), (2, [])]
    assert service.ledger.snapshot()["delivered"] == 1


def test_several_objects_for_one_are_for_live_tracks_only() -> None:
    service, seen = FakeService(), Outcome()
    live, reliable = stage_of(service), stage_of(service, Kind.CHAT)
    live.put(obj := video(1, key=True), seen.of(obj))
    parcel = service.sent[0][1]
    service.answer(0, Answer((parcel, parcel)))
    reliable.put(obj := chat(2), seen.of(obj))
    parcel = service.sent[0][1]
    service.answer(0, Answer((parcel, parcel)))
    (_, made), (_, drop) = seen.results
    assert isinstance(made, list)
    assert len(made) == 2
    assert isinstance(drop, Drop)
    assert drop.reason == "processor-several"
    assert "2 objects for one" in drop.message


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"kind": "data"}, "processor-track"),
        ({"kind": "nonsense"}, "processor-garbage"),
        ({"seq": "-1"}, "processor-garbage"),
    ],
)
def test_answers_that_are_no_object_of_the_track(changed: dict[str, str], reason: str) -> None:
    service, seen = FakeService(), Outcome()
    stage = stage_of(service)
    stage.put(obj := video(1, key=True), seen.of(obj))
    sent = service.sent[0][1]
    service.answer(0, Answer((Parcel(sent.track, {**sent.properties, **changed}, b"x"),)))
    assert seen.dropped == {1: reason}


def test_another_processor_takes_over_and_is_kept() -> None:
    service, seen = FakeService(urls=2), Outcome()
    stage = stage_of(service, Kind.CHAT)
    used = []
    for seq in (1, 2):
        stage.put(obj := chat(seq), seen.of(obj))
    used.append(service.sent[0][0].url)
    service.answer(0, FAULT)
    service.pass_time(0.1)
    while service.sent:
        used.append(service.sent[0][0].url)
        service.answer()
    assert used == ["http://0/process", "http://1/process", "http://1/process"]


def test_a_removed_processor_lets_objects_through_in_order() -> None:
    service, seen = FakeService(), Outcome()
    stage = stage_of(service)
    for seq in (1, 2, 3):
        stage.put(obj := video(seq, key=True), seen.of(obj))
    service.removed = True
    stage.pump()
    assert seen.results == []
    service.answer()
    assert seen.delivered == [1, 2, 3]
    stage.put(obj := video(4), seen.of(obj))
    assert seen.delivered == [1, 2, 3, 4]


def test_a_sender_that_begins_anew_replaces_what_waits() -> None:
    service, seen = FakeService(), Outcome()
    stage = stage_of(service, Kind.CHAT)
    for seq in (1, 2, 3, 2, 3):
        stage.put(obj := chat(seq), seen.of(obj))
    assert seen.dropped == {2: "withdrawn", 3: "withdrawn"}
    while service.sent:
        service.answer()
    assert seen.delivered == [1, 2, 3]


def test_a_closed_stage_says_nothing_more() -> None:
    service, seen = FakeService(), Outcome()
    stage = stage_of(service)
    for seq in (1, 2):
        stage.put(obj := video(seq, key=True), seen.of(obj))
    stage.close()
    service.answer()
    assert seen.results == []
    assert service.forgotten
    assert service.ledger.balanced
    assert service.ledger.in_flight == 0


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.booleans()),
        st.tuples(st.just("answer"), st.integers(0, 9)),
        st.tuples(st.just("filter"), st.integers(0, 9)),
        st.tuples(st.just("fault"), st.integers(0, 9)),
        st.tuples(st.just("refuse"), st.integers(0, 9)),
        st.tuples(st.just("time"), st.sampled_from([0.001, 0.011, 0.2, 0.6, 1.1])),
    ),
    max_size=60,
)
RESULTS = {
    "answer": None,
    "filter": Answer(),
    "fault": FAULT,
    "refuse": Fault(REFUSED, "no", passing=False),
}


@settings(max_examples=300, deadline=None)
@given(kind=st.sampled_from([Kind.VIDEO, Kind.CHAT]), actions=ACTIONS, urls=st.integers(1, 2))
def test_nothing_is_lost_doubled_or_out_of_order(
    kind: Kind, actions: list[tuple[str, float]], urls: int
) -> None:
    service, seen = FakeService(urls), Outcome()
    stage = stage_of(service, kind)
    keys: set[int] = set()
    seq = 0
    for action, value in actions:
        if action == "put":
            seq += 1
            obj = chat(seq) if kind is Kind.CHAT else video(seq, key=bool(value) or seq == 1)
            keys |= {seq} if obj.key else set()
            stage.put(obj, seen.of(obj))
        elif action == "time":
            service.pass_time(value)
        elif service.sent:
            service.answer(int(value) % len(service.sent), RESULTS[action])
        assert service.ledger.balanced
        assert service.ledger.in_flight == stage.held == seq - len(seen.results)
    for _ in range(300):
        if not stage.held:
            break
        while service.sent:
            service.answer()
        service.pass_time(0.6)
    assert stage.held == 0
    assert sorted(s for s, _ in seen.results) == list(range(1, seq + 1))
    assert seen.delivered == sorted(seen.delivered)
    if kind is Kind.CHAT:
        assert set(seen.dropped.values()) <= {"filtered", REFUSED}
    lost = {s for s, _ in seen.results if s in seen.dropped}
    for s in seen.delivered:
        if s not in keys and s - 1 in lost:
            raise AssertionError(f"{s} cannot be decoded: {s - 1} was dropped")


def test_properties_reach_the_processor() -> None:
    service, seen = FakeService(), Outcome()
    stage = stage_of(service)
    obj = video(7, key=True)
    stage.put(obj, seen.of(obj))
    parcel = service.sent[0][1]
    assert parcel == Parcel("room/me/cam", properties(obj), b"picture")
