"""When something last happened to a subscription, and what is refused because it is in use."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.broker_protocol.wire import Bench, Wire, bench
from wtp.broker.access import Address
from wtp.broker.adminfaults import refusal
from wtp.broker.embedded.admin import Admin
from wtp.broker.embedded.answers import Deliver, Success
from wtp.broker.embedded.commands import CloseConsumer
from wtp.broker.embedded.numbers import Cmd
from wtp.broker.embedded.reststats import whole_stats
from wtp.broker.embedded.statsum import sum_stats
from wtp.broker.subscriptions import ACTIVITY
from wtp.config.schema import BrokerSettings

FLOW, CONSUMED, ACKED, MARKED = (
    "lastConsumedFlowTimestamp",
    "lastConsumedTimestamp",
    "lastAckedTimestamp",
    "lastMarkDeleteAdvancedTimestamp",
)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def subscription(b: Bench) -> dict[str, Any]:
    stats = whole_stats(Admin(b.core).stats("t"))
    found: dict[str, Any] = stats["subscriptions"]["s"]
    return found


async def reading(wire: Wire) -> list[Deliver]:
    """Three messages, delivered and not acknowledged."""
    await wire.produce()
    for number in range(1, 4):
        await wire.published(number)
    await wire.subscribe(initial_position=1)
    wire.flow(3)
    return [await wire.expect(Deliver) for _ in range(3)]


async def test_the_last_activity_is_known_at_every_step(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, await b.wire() as wire:
        before = now_ms()
        came = await reading(wire)
        values = subscription(b)
        (consumer,) = values["consumers"]
        for known in (values, consumer):
            assert before <= known[FLOW] <= known[CONSUMED] <= now_ms()
            assert known[ACKED] == 0
        assert values[MARKED] == 0
        wire.ack(came[1].message_id)  # leaves a hole: the cursor stays
        await wire.quiet()
        values = subscription(b)
        assert values[CONSUMED] <= values[ACKED] == values["consumers"][0][ACKED] <= now_ms()
        assert values[MARKED] == 0
        wire.ack(came[0].message_id)
        await wire.quiet()
        values = subscription(b)
        assert values[ACKED] <= values[MARKED] <= now_ms()


async def test_it_stays_known_when_the_consumer_has_gone(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, await b.wire() as wire:
        came = await reading(wire)
        wire.ack(came[2].message_id, kind=1)  # cumulative
        await wire.quiet()
        before = {key: subscription(b)[key] for key in ACTIVITY}
        assert all(before.values())
        wire.send(Cmd.CLOSE_CONSUMER, CloseConsumer(1, 1))
        await wire.expect(Success)
        assert subscription(b)["consumers"] == []
        assert {key: subscription(b)[key] for key in ACTIVITY} == before


async def test_skipping_moves_the_cursor_and_is_no_acknowledgement(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, await b.wire() as wire:
        await reading(wire)
        await Admin(b.core).skip("persistent://public/default/t", "s", None)
        values = subscription(b)
        assert values[MARKED] > 0
        assert values[ACKED] == 0


def test_of_partitions_the_latest_stands() -> None:
    parts = [{"subscriptions": {"s": {ACKED: at, "msgBacklog": 2}}} for at in (5, 9, 7)]
    assert sum_stats(parts) == {"subscriptions": {"s": {ACKED: 9, "msgBacklog": 6}}}


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("Topic has 1 connected producers/consumers", "in-use"),
        ("Subscription has active connected consumers", "in-use"),
        ("Topic has active producers/subscriptions", "in-use"),
        ("Subscription has live consumers", "in-use"),
        ("Topic Name is not valid", "refused"),
        ("The delivery is inactive", "refused"),
    ],
)
def test_what_a_pulsar_says_of_a_topic_in_use(reason: str, code: str) -> None:
    place = Address("http", "127.0.0.1", 8080)
    raw = b'{"reason":"%s"}' % reason.encode()
    error = refusal(place, 412, raw, "/x", BrokerSettings(), "")
    assert (error.message, error.code) == (reason, code)
    assert ("force" in error.hint) is (code == "in-use")
