"""How many messages wait between the client's listener thread and the loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pulsar

from wtp.broker.messages import Inbox
from wtp.broker.receiving import Subscription

QUEUE = 4


class Client:
    """What a subscription uses of `BrokerClient`."""

    def __init__(self) -> None:
        self.inbox = Inbox(asyncio.get_running_loop())

    async def call(self, what: str, function: Callable[[], None]) -> None:
        function()


class Listener(threading.Thread):
    """The client's thread: hands over messages, one after the other."""

    def __init__(self, subscription: Subscription, count: int) -> None:
        super().__init__(daemon=True)
        self.subscription, self.count, self.handed = subscription, count, 0

    def run(self) -> None:
        for number in range(self.count):
            self.subscription.on_message(None, message(number))
            self.handed += 1


def message(number: int) -> Any:
    where = pulsar.MessageId(-1, 7, number, -1)
    texts = {"topic_name": "t", "partition_key": "k", "properties": {}, "data": b"x"}
    numbers = {"publish_timestamp": 1, "event_timestamp": 0, "redelivery_count": 0}
    values = {**texts, **numbers, "message_id": where}
    return SimpleNamespace(**{name: lambda value=value: value for name, value in values.items()})


def started(count: int) -> tuple[Subscription, Listener]:
    subscription = Subscription(cast(Any, Client()), "t", QUEUE, durable=False)
    subscription._raw = SimpleNamespace(close=lambda: None)
    listener = Listener(subscription, count)
    listener.start()
    return subscription, listener


async def settled(listener: Listener, handed: int) -> None:
    """Wait until so many were handed over, and see that no more are."""
    async with asyncio.timeout(60):
        while listener.handed < handed:
            await asyncio.sleep(0.005)
    await asyncio.sleep(0.05)
    assert listener.handed == handed


async def test_a_full_listener_waits_until_half_is_taken() -> None:
    subscription, listener = started(20)
    await settled(listener, QUEUE)
    await subscription.receive()
    await settled(listener, QUEUE)
    await subscription.receive()
    await settled(listener, QUEUE + 2)
    places = [(await subscription.receive()).position for _ in range(18)]
    assert places == [f"7:{number}" for number in range(2, 20)]
    listener.join(60)
    assert not listener.is_alive()


async def test_closing_frees_a_listener_that_waits() -> None:
    subscription, listener = started(20)
    await settled(listener, QUEUE)
    await subscription.close()
    listener.join(60)
    assert not listener.is_alive()
    assert subscription.waiting == QUEUE, "what came behind the end was left"
