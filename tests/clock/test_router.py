"""What the router makes of stamps whose clock is unknown again."""

from __future__ import annotations

from typing import cast

from tests.router.fakes import FakeProducer, clock, picture
from tests.router.test_peer import HELLO, Desk, orders
from wtp.broker.client import Producer
from wtp.config.schema import QueueSettings
from wtp.model import Kind, Track
from wtp.router.routes import LiveRoute
from wtp.wire import control


async def test_stamps_of_an_unknown_clock_are_not_converted_and_have_no_error() -> None:
    peer, _ = Desk().peer()
    route = LiveRoute(
        Track("default", "me", "video"), Kind.VIDEO, "video/h264", "t", clock(), QueueSettings()
    )
    route.owner, route.instance = peer, "run"
    broker = FakeProducer()
    route.attach(cast("Producer", broker))

    peer.stream_data(2, orders(HELLO, control.Offset(500, 9)), False)
    route.offer(picture(7, key=True))
    peer.stream_data(2, orders(control.Offset(0, control.UNKNOWN))[1:], False)
    route.offer(picture(8, key=True))
    peer.stream_data(2, orders(control.Offset(900, 5))[1:], False)
    route.offer(picture(9, key=True))

    first, unknown, again = [sent["properties"] for sent in broker.sent]
    assert (first["capture_us"], first["clock_error_us"]) == ("7500", "9")
    assert "clock_error_us" not in unknown
    assert unknown["capture_us"] == "8000", "its own clock's, by no offset of the past"
    assert (again["capture_us"], again["clock_error_us"]) == ("9900", "5")
