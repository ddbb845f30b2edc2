"""Joining with the last objects of a topic."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

import pytest

from tests.consumer.fakes import SETTINGS, TOPIC, FakeBroker, FakeMessage, message
from wtp.consumer import history
from wtp.consumer import run as run_module
from wtp.consumer.history import join_history
from wtp.consumer.item import Item
from wtp.consumer.output import Nowhere, figures_of
from wtp.consumer.ports import Message
from wtp.consumer.request import Request
from wtp.consumer.run import Consumer
from wtp.model import Kind

HOUR_MS = 3_600_000


def log(count: int, *, ledger: int = 1, start_ms: int = 0, tracks: int = 1) -> list[FakeMessage]:
    return [
        message(
            n,
            track=f"default/p{n % tracks}/video",
            position=f"{ledger}:{n}",
            publish_ms=start_ms + n,
        )
        for n in range(count)
    ]


def anything(_: Message) -> bool:
    return True


def places(messages: Sequence[Message]) -> list[str]:
    return [one.position for one in messages]


async def begin(broker: FakeBroker, count: int, track: str = "") -> list[str]:
    """Places it begins with; checks that it then goes on without gap or repeat."""
    joined = await join_history(
        broker, TOPIC, count, lambda one: one.key == track if track else True
    )
    broker.publish(message(9001, position="9:0", publish_ms=10**12))
    assert (await joined.reader.receive()).position == "9:0"
    return places(joined.first)


async def test_the_last_ones_come_first() -> None:
    broker = FakeBroker(video=log(50))
    assert await begin(broker, 3) == ["1:47", "1:48", "1:49"]
    assert broker.starts == ["1:47"]


async def test_fewer_when_there_are_no_more() -> None:
    assert await begin(FakeBroker(video=log(2)), 10) == ["1:0", "1:1"]
    assert await begin(FakeBroker(video=[]), 10) == []


async def test_it_goes_further_back_for_one_track_of_many() -> None:
    broker = FakeBroker(video=log(100, tracks=5))
    assert await begin(broker, 3, "default/p1/video") == ["1:86", "1:91", "1:96"]
    assert broker.starts == ["1:97", "1:76"]


async def test_older_ledgers_are_found_by_time() -> None:
    old = log(5) + log(5, ledger=2, start_ms=20 * HOUR_MS)
    new = log(2, ledger=3, start_ms=20 * HOUR_MS + 1000)
    assert await begin(FakeBroker(video=old + new), 4) == ["2:3", "2:4", "3:0", "3:1"]
    assert await begin(FakeBroker(video=old + new), 8) == [
        "1:4", *(f"2:{n}" for n in range(5)), "3:0", "3:1",
    ]  # fmt: skip


async def test_bytes_held_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MAX_HELD_BYTES", 3 * len(b"payload"))
    assert await begin(FakeBroker(video=log(50)), 20) == ["1:47", "1:48", "1:49"]


async def test_a_topic_whose_newest_message_never_comes_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(history, "SILENCE_S", 0.05)
    broker = FakeBroker(video=log(3))

    async def last_position(topic: str) -> str:
        return "1:9"

    broker.last_position = last_position  # type: ignore[method-assign]  # a broker that is wrong
    async with asyncio.timeout(60):
        joined = await join_history(broker, TOPIC, 8, anything)
    assert places(joined.first) == ["1:0", "1:1", "1:2"]


async def test_a_topic_that_is_not_stored_is_simply_read() -> None:
    topic = "non-persistent://public/default/video"
    broker = FakeBroker()
    broker.publish(message(1, topic=topic))
    joined = await join_history(broker, topic, 5, anything)
    assert (joined.first, joined.last) == ([], None)


class Seen(Nowhere):
    """Remembers what it takes."""

    def __init__(self) -> None:
        self.items: list[Item] = []

    def take(self, items: Sequence[Item]) -> list[str]:
        self.items += items
        return super().take(items)

    def snapshot(self) -> dict[str, int]:
        return {"seen": len(self.items)}


async def test_a_consumer_begins_with_the_past_and_goes_on_live(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def there(*_: object, **__: object) -> bool:
        return True

    monkeypatch.setattr(run_module, "reach", there)
    monkeypatch.setattr(run_module, "answers", there)
    broker, output = FakeBroker(video=log(9)), Seen()

    @contextlib.asynccontextmanager
    async def directory(_: str) -> AsyncIterator[FakeBroker]:
        yield broker

    request = Request(kind=Kind.VIDEO, history=2, count=3)
    assert not request.live, "what was asked for of the past is not dropped"
    role = Consumer(SETTINGS, request, output, broker=lambda _: broker, directory=directory)
    assert not role.caught_up
    running = asyncio.create_task(role.run(lambda _: None))
    async with asyncio.timeout(60):
        while not role.caught_up:
            await asyncio.sleep(0)
        assert [item.message.position for item in output.items] == ["1:7", "1:8"]
        broker.publish(message(9, position="1:9"))
        await running
    assert [item.live for item in output.items] == [False, False, True]
    assert role.snapshot()["output"] == {"seen": 3}
    assert figures_of(Nowhere()) is None
