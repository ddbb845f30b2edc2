from __future__ import annotations

import asyncio
import contextlib

import pytest

from tests.consumer.fakes import TOPIC, FakeBroker, FakeMessage, message
from wtp.consumer.places import addresses, answers, locate, reach
from wtp.errors import BrokerUnavailable, NotFound


async def find(broker: FakeBroker, topic: str, *, wait: bool = False) -> tuple[str, ...]:
    return (await locate(topic, broker, wait=wait, note=lambda _: None)).topics


async def test_a_topic_that_is_there() -> None:
    assert await find(FakeBroker(video=[]), TOPIC) == (TOPIC,)


async def test_partitions_are_read_one_by_one_in_order() -> None:
    names: dict[str, list[FakeMessage]] = {f"video-partition-{n}": [] for n in (10, 2, 0)}
    broker = FakeBroker(**names, other=[])
    assert await find(broker, TOPIC) == tuple(f"{TOPIC}-partition-{n}" for n in (0, 2, 10))


async def test_a_missing_topic_names_those_there_are() -> None:
    with pytest.raises(NotFound) as error:
        await find(FakeBroker(chat=[], audio=[]), TOPIC)
    assert "'video'" in error.value.message
    assert "audio, chat" in error.value.hint
    assert "--wait" in error.value.hint
    assert error.value.exit_code == 1


async def test_a_missing_room_names_those_there_are() -> None:
    with pytest.raises(NotFound) as error:
        await find(FakeBroker(), "persistent://public/nowhere/video")
    assert "room 'nowhere'" in error.value.message
    assert "default, lab" in error.value.hint


async def test_a_topic_that_is_not_stored_need_not_be_listed() -> None:
    topic = "non-persistent://public/default/video"
    assert await find(FakeBroker(), topic) == (topic,)


async def test_waiting_ends_when_the_topic_comes_and_says_what_it_waits_for() -> None:
    broker, said = FakeBroker(), list[str]()
    waiting = asyncio.create_task(locate(TOPIC, broker, wait=True, note=said.append))
    while not said:
        await asyncio.sleep(0.005)
    broker.publish(message(1))
    async with asyncio.timeout(60):
        found = await waiting
    assert found.topics == (TOPIC,)
    assert found.fresh
    assert len(said) == 1
    assert "Waiting" in said[0]


async def test_without_a_directory_the_topic_is_taken_on_trust() -> None:
    said = list[str]()
    assert (await locate(TOPIC, None, wait=False, note=said.append)).topics == (TOPIC,)
    broker = FakeBroker()

    async def list_topics(namespace: str, *, each_partition: bool = False) -> list[str]:
        raise BrokerUnavailable("No admin API.")

    broker.list_topics = list_topics  # type: ignore[method-assign]  # an admin API that is down
    assert (await locate(TOPIC, broker, wait=False, note=said.append)).topics == (TOPIC,)
    assert "cannot be asked" in said[0]


def test_addresses_of_broker_urls() -> None:
    assert addresses("pulsar://a:1,b,[::1]:2") == [("a", 1), ("b", 6650), ("::1", 2)]
    assert addresses("pulsar+ssl://a/") == [("a", 6651)]


@pytest.mark.parametrize("url", ["http://a:1", "pulsar://", "a:6650", "pulsar://a:xyz"])
def test_what_is_no_broker_url(url: str) -> None:
    with pytest.raises(BrokerUnavailable) as error:
        addresses(url)
    assert error.value.exit_code == 3


async def test_reaching_a_broker_that_is_there_or_comes_or_is_not() -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    url = f"pulsar://127.0.0.1:{port}"
    assert await answers(url)
    server.close()
    await server.wait_closed()
    with pytest.raises(BrokerUnavailable) as error:
        await reach(url, wait=False, note=lambda _: None)
    assert "wtp broker" in error.value.hint
    said = list[str]()
    waiting = asyncio.create_task(reach(url, wait=True, note=said.append))
    while not said:
        await asyncio.sleep(0.005)
    server = await asyncio.start_server(hang_up, "127.0.0.1", port)
    async with asyncio.timeout(60):
        await waiting
    server.close()
    await server.wait_closed()
