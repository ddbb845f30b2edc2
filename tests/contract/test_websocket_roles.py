"""`--via pulsar-ws` on both brokers: what is publishable over sockets, and survives their loss."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path

import pulsar

from tests.broker_ws.running import Proxy
from tests.contract.brokers import Target
from wtp.config.schema import BrokerSettings, PublishSettings, Settings, TopicSettings
from wtp.consumer.feed import Reading
from wtp.consumer.request import Request
from wtp.consumer.run import Consumer
from wtp.model import Kind
from wtp.publisher.choice import DataInput, VideoInput
from wtp.publisher.viapulsar import TopicPublisher


def settings_for(target: Target, admin: str) -> Settings:
    """Settings with topics of this test's own."""
    template = f"persistent://public/default/{{kind}}-{{room}}-{uuid.uuid4().hex[:8]}"
    return Settings(
        broker=BrokerSettings(url=target.url, admin=admin),
        topics=TopicSettings(template=template),
        publish=PublishSettings(size="160x120", gop=10),
    )


def lines_file(folder: Path, count: int) -> str:
    """A file of numbered lines."""
    path = folder / "lines.txt"
    path.write_text("".join(f"{n}\n" for n in range(1, count + 1)), encoding="utf-8")
    return str(path)


async def test_reliable_objects_over_broken_sockets(
    target: Target, client: pulsar.Client, tmp_path: Path
) -> None:
    """Exactly once and in order; without de-duplication at least once, first copies in order."""
    proxy = Proxy(target.admin)
    async with proxy.listening() as admin:
        settings = settings_for(target, admin)
        topic = settings.topics.topic("default", Kind.DATA)
        keeper = await asyncio.to_thread(client.subscribe, topic, "keeper")
        lines = DataInput(lines_file(tmp_path, 1500), lines=True)
        role = TopicPublisher(settings, [lines], name="me")

        async def breaking() -> None:
            for pause_s in (0.3, 0.4, 0.5):
                await asyncio.sleep(pause_s)
                proxy.cut()

        cutting = asyncio.create_task(breaking())
        async with asyncio.timeout(60):
            await role.run(lambda _: None)
        cutting.cancel()
        await asyncio.gather(cutting, return_exceptions=True)
    assert role.snapshot()["tracks"]["data"]["delivered"] == 1500

    def read() -> list[int]:
        found: list[int] = []
        while not found or found[-1] < 1500:
            message = keeper.receive(8000)
            keeper.acknowledge(message)
            found.append(int(message.data()))
        return found

    found = await asyncio.to_thread(read)
    if target.deduplicates:
        assert found == list(range(1, 1501))
    else:
        assert list(dict.fromkeys(found)) == list(range(1, 1501))


async def test_pictures_go_through(target: Target, tmp_path: Path) -> None:
    settings = settings_for(target, target.admin)
    video = VideoInput("testsrc", size=(160, 120), fps=30.0)
    await TopicPublisher(settings, [video], name="cam", count=2).run(lambda _: None)
    reader = Consumer(settings, Request(kind=Kind.VIDEO, count=30), via="pulsar-ws")
    joined = asyncio.Event()
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(reader.run(lambda _: joined.set()))
        await joined.wait()
        role = TopicPublisher(settings, [video], name="cam", count=60)
        group.create_task(role.run(lambda _: None))
    snapshot = reader.snapshot()
    assert snapshot["delivered"] == 30
    assert snapshot["gaps"] == 0
    assert snapshot["latency"]["total"]["p50_ms"] > 0
    (track,) = role.snapshot()["tracks"].values()
    assert track["offered"] == track["delivered"] + sum(track["dropped"].values()) == 60


async def test_a_durable_subscription(target: Target, tmp_path: Path) -> None:
    settings = settings_for(target, target.admin)
    reading = Reading(start="earliest", subscription="sub", subscription_kind="shared")

    def consumer(count: int) -> Consumer:
        request = Request(kind=Kind.DATA, reading=reading, count=count, wait=True)
        return Consumer(settings, request, via="pulsar-ws")

    first = consumer(10)
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(first.run(lambda _: None))
        lines = DataInput(lines_file(tmp_path, 25), lines=True)
        await TopicPublisher(settings, [lines], name="me").run(lambda _: None)
    assert first.snapshot()["delivered"] == 10
    second = consumer(15)
    async with asyncio.timeout(60):
        await second.run(lambda _: None)
    assert second.snapshot()["delivered"] == 15
