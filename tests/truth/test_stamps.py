"""The stamps of a processor's hop: there when it was on the way, in the clock of the others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from tests.router.fakes import FakeOwner, FakeProducer, Time, clock
from tests.router.test_peer import Desk, orders
from tests.services.fakes import TRACK, FakeService, Outcome, stage_of, video
from wtp.clock import Offset
from wtp.config.schema import QueueSettings
from wtp.model import Kind, Object, Track
from wtp.router.route import Drop, StageDone
from wtp.router.routes import LiveRoute
from wtp.router.service_client import Answer
from wtp.wire import control
from wtp.wire.process import Parcel

ROUTE_US = 5_000_000


def routed(seq: int, key: bool = True) -> Object:
    return replace(video(seq, key=key), route_us=ROUTE_US)


def only(outcome: Outcome) -> Object:
    ((_, result),) = outcome.results
    assert not isinstance(result, Drop)
    (obj,) = result
    return obj


def test_what_comes_back_is_stamped_with_the_time_it_was_away() -> None:
    service, outcome = FakeService(), Outcome()
    stage = stage_of(service)
    obj = routed(1)
    stage.put(obj, outcome.of(obj))
    service.pass_time(0.0625)
    forged = {"route_us": "1", "process_us": "2"}
    _, sent, _, _ = service.sent[0]
    answer = Parcel(TRACK, {**sent.properties, **forged}, b"better")
    service.answer(result=Answer((answer,)))
    made = only(outcome)
    assert (made.route_us, made.process_us) == (ROUTE_US, ROUTE_US + 62_500)
    assert made.payload == b"better"


def test_waiting_for_an_earlier_one_belongs_to_the_processor_s_hop() -> None:
    service, outcome = FakeService(), Outcome()
    stage = stage_of(service)
    for seq in (1, 2):
        stage.put(routed(seq), outcome.of(routed(seq)))
    service.pass_time(0.1)
    assert service.out == [1, 2]
    service.answer(1)
    service.pass_time(0.05)
    service.answer(0)
    times = [result[0].process_us for _, result in outcome.results if isinstance(result, list)]
    assert times == [ROUTE_US + 150_000] * 2


def test_without_a_processor_there_is_no_such_stamp() -> None:
    service, outcome = FakeService(), Outcome()
    service.removed = True
    stage = stage_of(service)
    stage.put(routed(1), outcome.of(routed(1)))
    assert only(outcome).process_us is None


class Aside(FakeService):
    """Keeps what was made for another track."""

    made: Object

    def aside(self, stage: Any, parcel: Parcel, obj: Object) -> bool:
        self.made = obj
        return True


def test_what_is_made_for_another_track_keeps_its_stamps_there() -> None:
    service, outcome = Aside(), Outcome()
    stage = stage_of(service)
    stage.put(routed(1), outcome.of(routed(1)))
    _, sent, _, _ = service.sent[0]
    service.pass_time(0.02)
    other = Parcel("room/me/cam-derived", {**sent.properties, "kind": "data"}, b"{}")
    service.answer(result=Answer((other, sent)))
    assert service.made.process_us == ROUTE_US + 20_000
    time, producer = Time(), FakeProducer()
    time.now = ROUTE_US + 21_000
    derived = LiveRoute(
        Track("room", "me", "cam-derived"), Kind.DATA, "application/json", "topic", clock(time),
        QueueSettings(),
    )  # fmt: skip
    derived.clock_error_us = 7
    derived.attach(cast(Any, producer))
    derived.offer(service.made)
    (properties,) = (one["properties"] for one in producer.sent)
    assert int(properties["route_us"]) == ROUTE_US
    assert int(properties["process_us"]) == ROUTE_US + 20_000
    assert int(properties["publish_us"]) == ROUTE_US + 21_000
    assert properties["clock_error_us"] == "7"
    assert properties["capture_us"] == str(service.made.capture_us)


class Instant:
    """A stage that gives everything back at once."""

    def put(self, obj: Object, done: StageDone) -> None:
        done([obj])

    def close(self) -> None:
        pass


@pytest.mark.parametrize("staged", [False, True])
def test_a_route_stamps_what_a_client_sends(staged: bool) -> None:
    time, producer = Time(), FakeProducer()
    route = LiveRoute(
        Track("room", "me", "cam"), Kind.VIDEO, "video/h264", "topic", clock(time), QueueSettings()
    )
    route.owner = FakeOwner()
    route.stage = Instant() if staged else None
    route.attach(cast(Any, producer))
    time.now = 2_000_000
    route.offer(Object(Kind.VIDEO, 1, 1, True, b"x", capture_us=1))
    (properties,) = (one["properties"] for one in producer.sent)
    assert properties["route_us"] == properties["publish_us"] == "2000000"
    assert "process_us" not in properties


async def test_a_session_that_lost_its_clock_has_no_offset() -> None:
    peer, _ = Desk().peer()
    known = control.Offset(500, 20)
    peer.stream_data(2, orders(control.Hello("me", "a1"), known), False)
    assert peer.offset == Offset(500, 20)
    lost = control.encode(control.Offset(0, control.UNKNOWN))
    peer.stream_data(2, lost, False)
    assert peer.offset is None
