from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from tests.consumer.fakes import TOPIC, FakeBroker, FakeMessage, message
from wtp.consumer import join
from wtp.consumer.join import join_live
from wtp.consumer.ports import Message
from wtp.model import Kind


def pictures(
    count: int, *, gop: int = 10, ledger: int = 1, start_ms: int = 0, track: str = "default/a/video"
) -> list[FakeMessage]:
    return [
        message(
            n,
            key=n % gop == 0,
            track=track,
            position=f"{ledger}:{n}",
            publish_ms=start_ms + n * 33,
        )
        for n in range(count)
    ]


def places(messages: Sequence[Message]) -> list[str]:
    return [one.position for one in messages]


async def joined(broker: FakeBroker, topic: str = TOPIC) -> tuple[list[str], list[str]]:
    """Places to begin with, and those that follow after two more messages."""
    result = await join_live(broker, topic, queue=10)
    log = broker.all[topic].log
    follow = message(9001, position="9:0", topic=topic, publish_ms=10**12)
    broker.publish(follow)
    after = [(await result.reader.receive()).position]
    assert after == ["9:0"], "no gap and no repeat on the way over to live"
    assert log[-1] is follow
    return places(result.first), after


async def test_begins_at_the_last_key_frame() -> None:
    first, _ = await joined(FakeBroker(video=pictures(57)))
    assert first == [f"1:{n}" for n in range(50, 57)]


async def test_an_empty_topic_begins_with_whatever_comes() -> None:
    first, _ = await joined(FakeBroker(video=[]))
    assert first == []


async def test_goes_further_back_until_there_is_a_key_frame() -> None:
    broker = FakeBroker(video=pictures(1500, gop=600))
    first, _ = await joined(broker)
    assert first == [f"1:{n}" for n in range(1200, 1500)]
    assert broker.starts == ["1:1371", "1:859"]


async def test_every_track_begins_at_its_own_key_frame_in_the_topic_order() -> None:
    log = []
    for n in range(40):
        track = "default/a/video" if n % 2 else "default/b/video"
        key = n in (21, 30)
        log.append(message(n, key=key, track=track, position=f"1:{n}", publish_ms=n))
    first, _ = await joined(FakeBroker(video=log))
    assert first == [f"1:{n}" for n in range(21, 40) if n % 2 or n >= 30]


async def test_a_track_that_ended_is_left_out() -> None:
    log = pictures(20, track="default/gone/video")
    log += [
        message(n, key=n == 25, position=f"1:{n}", publish_ms=60_000 + n) for n in range(20, 30)
    ]
    first, _ = await joined(FakeBroker(video=log))
    assert first == [f"1:{n}" for n in range(25, 30)]


async def test_a_key_frame_in_an_older_ledger_is_found_by_time() -> None:
    old = pictures(50, gop=20)
    new = [message(n, key=False, track="default/a/video", position=f"2:{n}",
                   publish_ms=2000 + n) for n in range(5)]  # fmt: skip
    first, _ = await joined(FakeBroker(video=old + new))
    assert first == [f"1:{n}" for n in range(40, 50)] + [f"2:{n}" for n in range(5)]


async def test_without_any_key_frame_it_begins_with_the_next() -> None:
    first, _ = await joined(FakeBroker(video=pictures(30, gop=1000)[1:]))
    assert first == []


async def test_pictures_that_stand_alone_begin_with_the_last_one() -> None:
    log = [
        message(n, key=False, content_type="image/jpeg", position=f"1:{n}", publish_ms=n)
        for n in range(9)
    ]
    first, _ = await joined(FakeBroker(video=log))
    assert first == ["1:8"]


async def test_what_arrives_while_looking_back_comes_once_and_in_order() -> None:
    broker = FakeBroker(video=pictures(25))
    original = broker.last_position

    async def last_position(topic: str) -> str | None:
        newest = await original(topic)
        for n in (25, 26):
            broker.publish(message(n, key=False, track="default/a/video", position=f"1:{n}"))
        return newest

    broker.last_position = last_position  # type: ignore[method-assign]  # a race, made certain
    result = await join_live(broker, TOPIC, queue=10)
    assert places(result.first) == [f"1:{n}" for n in range(20, 25)]
    assert [(await result.reader.receive()).position for _ in range(2)] == ["1:25", "1:26"]


async def test_a_topic_whose_newest_message_never_comes_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(join, "SILENCE_S", 0.05)
    broker = FakeBroker(video=pictures(15))

    async def last_position(topic: str) -> str:
        return "1:99"

    broker.last_position = last_position  # type: ignore[method-assign]  # a broker that is wrong
    async with asyncio.timeout(60):
        result = await join_live(broker, TOPIC, queue=10)
    assert places(result.first) == [f"1:{n}" for n in range(10, 15)]


async def test_bytes_held_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(join, "MAX_HELD_BYTES", 50)
    log = [message(n, key=n in (0, 8), payload=bytes(10), position=f"1:{n}") for n in range(10)]
    first, _ = await joined(FakeBroker(video=log))
    assert first == ["1:8", "1:9"]


async def test_a_topic_that_is_not_stored_is_simply_read() -> None:
    broker = FakeBroker()
    topic = "non-persistent://public/default/video"
    broker.publish(message(1, kind=Kind.VIDEO, topic=topic))
    result = await join_live(broker, topic, queue=10)
    assert result.first == []
    assert result.last is None
