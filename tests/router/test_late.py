"""Pictures that arrive behind a newer group, as lost packets have it."""

from __future__ import annotations

import pytest

from tests.router.fakes import FakeOwner, FakeProducer, clock
from tests.router.test_routes import LIMITS, TRACK, producer
from wtp.model import Kind, Object
from wtp.router.routes import LiveRoute

Order = list[tuple[int, int]]


def sent(content_type: str, kind: Kind, order: Order) -> tuple[list[int], LiveRoute]:
    """What reaches the broker of objects (number, group), each group's first being a key."""
    route = LiveRoute(TRACK, kind, content_type, "t", clock(), LIMITS)
    broker, seen = FakeProducer(), set[int]()
    route.owner = FakeOwner()
    route.attach(producer(broker))
    for seq, group in order:
        key = group not in seen
        seen.add(group)
        route.offer(Object(kind=kind, seq=seq, group=group, key=key, payload=b"x", capture_us=seq))
        broker.receipt(len(broker.waiting))
    return [int(one["properties"]["seq"]) for one in broker.sent], route


OVERTAKEN = [(1, 1), (2, 1), (5, 2), (3, 1), (4, 1), (6, 2), (7, 3)]


def test_the_rest_of_an_overtaken_group_is_dropped_and_counted() -> None:
    seqs, route = sent("video/h264", Kind.VIDEO, OVERTAKEN)
    assert seqs == [1, 2, 5, 6, 7]
    assert route.ledger.dropped == {"late": 2}
    assert route.ledger.balanced
    assert route.received == 7, "the publisher is told that they arrived"
    assert not route.key_requests


@pytest.mark.parametrize(
    ("content_type", "kind"),
    [("audio/opus", Kind.AUDIO), ("image/jpeg", Kind.VIDEO), ("image/jpeg", Kind.SCREEN)],
)
def test_what_stands_alone_is_handed_on_as_it_comes(content_type: str, kind: Kind) -> None:
    seqs, route = sent(content_type, kind, OVERTAKEN)
    assert seqs == [1, 2, 5, 3, 4, 6, 7]
    assert not route.ledger.dropped
