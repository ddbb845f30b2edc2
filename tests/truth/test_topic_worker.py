"""A slow topic processor is told as such: its hop, not the broker's before or behind it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.broker_protocol.running import broker
from tests.processor.test_worker import CHAT, CLOCK, code, feeding, read, settings, working
from wtp.broker.messages import Received
from wtp.consumer.hops import Way
from wtp.consumer.item import Item, read_object
from wtp.consumer.latency import ArrivalClock, total_error_us
from wtp.model import Kind, Object, to_properties
from wtp.processor.worker import Worker

pytestmark = pytest.mark.e2e

SLOW_US = 60_000
COUNT = 5
HOPS = [
    "capture->route", "route->broker", "broker->processor", "processor->process",
    "process->publish", "publish->receive",
]  # fmt: skip


def received(message: Received) -> Item:
    """A message as the consumer makes an item of it."""
    obj, fault = read_object(message)
    clock, error = (message.properties.get(name, "") for name in ("clock", "clock_error_us"))
    arrival_us, error_us = ArrivalClock().arrival(clock, message.receive_monotonic_us)
    return Item(
        message, message.key, "chat", obj, fault, "", True, arrival_us,
        total_error_us(error_us, error),
    )  # fmt: skip


async def send(feed: Any, seq: int) -> None:
    """Publish one object with the stamps that a router sets."""
    producer = await feed.client.producer(CHAT)
    now_us = CLOCK.now_us()
    obj = Object(
        Kind.CHAT, seq, seq, True, b"hello", capture_us=now_us, route_us=now_us,
        publish_us=CLOCK.now_us(), content_type="text/plain",
    )  # fmt: skip
    receipt: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    producer.send(
        obj.payload,
        properties=to_properties(obj, "run", str(CLOCK.domain), 0),
        key="default/me/chat",
        event_ms=now_us // 1000,
        seq=None,
        done=receipt.set_result,
    )
    await receipt
    await producer.close()


async def test_its_time_is_between_having_the_input_and_being_done(tmp_path: Path) -> None:
    slow = code(
        tmp_path,
        f"import time\ndef process(obj):\n    time.sleep({SLOW_US / 1e6})\n    return obj\n",
        "slow",
    )
    way = Way()
    with broker(tmp_path / "broker") as running:
        worker = Worker(settings(running.url), Kind.CHAT, slow)
        async with working(worker), feeding(running.url) as feed:
            for seq in range(1, COUNT + 1):
                await send(feed, seq)
                await read(running.url, CHAT + "-slow", seq)
        made = await read(running.url, CHAT + "-slow", COUNT)
    for message in made:
        item = received(message)
        assert item.obj is not None
        assert item.obj.attributes == {"source_track": "default/me/chat", "processor": "slow"}
        way.add(item)
    hops = way.by_name()
    assert list(hops) == HOPS
    least_us = {name: hop.least_us or 0 for name, hop in hops.items()}
    assert least_us["processor->process"] > SLOW_US * 0.98
    others = [name for name in HOPS[:-1] if name != "processor->process"]
    assert all(least_us[name] < SLOW_US / 3 for name in others), least_us
    assert way.clock_error_us == 0
