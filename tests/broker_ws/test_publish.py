"""`wtp publish --via pulsar-ws` and `wtp consume --via pulsar-ws` as roles, on one loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.broker_ws.running import Proxy, admin_of, broker, settings_of
from wtp.broker.embedded.metadata import read_metadata
from wtp.broker.embedded.server import BrokerServer
from wtp.broker.embedded.values import EARLIEST
from wtp.clock import ClockDomain, read_boot_id
from wtp.config.schema import PublishSettings, RoomSettings, Settings
from wtp.consumer.feed import Reading
from wtp.consumer.request import Request
from wtp.consumer.run import Consumer
from wtp.errors import BrokerUnavailable, Refused, UsageError
from wtp.model import Kind
from wtp.publisher.choice import DataInput, Input, VideoInput
from wtp.publisher.viapulsar import TopicPublisher
from wtp.ui import viapulsar as ui

SMALL = PublishSettings(size="160x120", gop=10)
VIDEO = VideoInput("testsrc", size=(160, 120), fps=30.0)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[BrokerServer]:
    """A broker."""
    async with broker(tmp_path / "data") as made:
        yield made


def settings_for(server: BrokerServer, room: str = "default", **rooms: Any) -> Settings:
    """Settings of both roles."""
    return Settings(
        broker=settings_of(server), rooms=RoomSettings(room=room, **rooms), publish=SMALL
    )


def lines_file(folder: Path, count: int) -> str:
    """A file of numbered lines."""
    path = folder / "lines.txt"
    path.write_text("".join(f"line {n}\n" for n in range(count)), encoding="utf-8")
    return str(path)


def publisher(settings: Settings, *inputs: Input, **more: Any) -> TopicPublisher:
    """A publisher called cam."""
    return TopicPublisher(settings, inputs, name="cam", **more)


async def ended(role: TopicPublisher) -> dict[str, Any]:
    """Run a publisher to its end; its last snapshot, in which the identity holds."""
    infos: list[dict[str, Any]] = []
    async with asyncio.timeout(60):
        await role.run(infos.append)
    snapshot = role.snapshot()
    for track in snapshot["tracks"].values():
        assert track["in_flight"] == 0
        assert track["offered"] == track["delivered"] + sum(track["dropped"].values())
    assert snapshot["state"] == "closed"
    return snapshot


def stored(server: BrokerServer, kind: str, room: str = "default") -> list[dict[str, str]]:
    """Properties of what lies in a room's topic, with the message key as `KEY`."""
    log = server.core.topics[f"persistent://public/{room}/{kind}"].log
    found = []
    position = EARLIEST
    while entries := log.read(position, 1000, 1 << 30):
        for entry in entries:
            meta = read_metadata(entry.blob)
            pairs = {pair.key: pair.value for pair in meta.properties}
            found.append({**pairs, "KEY": meta.partition_key or "", "BY": meta.producer_name})
        position = entries[-1].position._replace(entry=entries[-1].position.entry + 1)
    return found


async def test_objects_look_as_the_router_makes_them(server: BrokerServer, tmp_path: Path) -> None:
    role = publisher(
        settings_for(server), VIDEO, DataInput(lines_file(tmp_path, 5), lines=True), count=5
    )
    snapshot = await ended(role)
    assert {name: t["delivered"] for name, t in snapshot["tracks"].items()} == {
        "video": 5,
        "data": 5,
    }
    data, video = stored(server, "data"), stored(server, "video")
    assert [one["seq"] for one in data] == ["1", "2", "3", "4", "5"]
    for one in (*data, *video):
        assert one["wtp"] == "1"
        assert ClockDomain.parse(one["clock"]).boot_id == read_boot_id()  # type: ignore[union-attr]
        assert one["clock_error_us"] == "0"
        assert "route_us" not in one
        assert int(one["capture_us"]) <= int(one["send_us"]) <= int(one["publish_us"])
    assert {one["instance"] for one in (*data, *video)} == {data[0]["instance"]}
    assert data[0]["BY"] == f"wtp/default/cam/data/{data[0]['instance']}"
    assert data[0]["KEY"] == "default/cam/data"
    assert (video[0]["kind"], video[0]["key"], video[0]["content_type"]) == (
        "video",
        "1",
        "video/h264",
    )
    assert snapshot["receipts"]["data"]["receipt"]["n"] == 5


async def test_what_is_published_is_consumed(server: BrokerServer, tmp_path: Path) -> None:
    settings = settings_for(server)
    await ended(publisher(settings, VIDEO, count=3))
    reader = Consumer(settings, Request(kind=Kind.VIDEO, count=15), via="pulsar-ws")
    joined = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(reader.run(lambda _: joined.set()))
        await joined.wait()
        await ended(publisher(settings, VIDEO, count=20))
        async with asyncio.timeout(60):
            await reading
    snapshot = reader.snapshot()
    assert snapshot["delivered"] == 15
    assert snapshot["gaps"] == 0


async def test_a_durable_subscription_goes_on(server: BrokerServer, tmp_path: Path) -> None:
    settings = settings_for(server)
    lines = DataInput(lines_file(tmp_path, 30), lines=True)
    await ended(publisher(settings, lines))
    reading = Reading(start="earliest", subscription="sub")
    for _ in range(3):
        request = Request(kind=Kind.DATA, reading=reading, count=10)
        reader = Consumer(settings, request, via="pulsar-ws")
        async with asyncio.timeout(60):
            await reader.run(lambda _: None)
        assert reader.snapshot()["delivered"] == 10
    backlog = server.core.topics["persistent://public/default/data"].subscriptions["sub"].backlog()
    assert backlog == 0


async def test_reliable_objects_survive_broken_connections(
    server: BrokerServer, tmp_path: Path
) -> None:
    proxy = Proxy(admin_of(server))
    async with proxy.listening() as admin:
        settings = settings_for(server)
        broken = settings.broker.model_copy(update={"admin": admin})
        role = publisher(
            settings.model_copy(update={"broker": broken}),
            DataInput(lines_file(tmp_path, 3000), lines=True),
        )

        async def breaking() -> None:
            for _ in range(6):
                await asyncio.sleep(0.2)
                proxy.cut()

        cutting = asyncio.create_task(breaking())
        snapshot = await ended(role)
        cutting.cancel()
        await asyncio.gather(cutting, return_exceptions=True)
    assert snapshot["tracks"]["data"]["delivered"] == 3000
    assert snapshot["reconnects"] > 0
    assert [one["seq"] for one in stored(server, "data")] == [str(n) for n in range(1, 3001)]


async def test_live_objects_are_dropped_while_the_broker_is_silent(
    server: BrokerServer, tmp_path: Path
) -> None:
    proxy = Proxy(admin_of(server))
    async with proxy.listening() as admin:
        settings = settings_for(server)
        broken = settings.broker.model_copy(update={"admin": admin})
        role = publisher(settings.model_copy(update={"broker": broken}), VIDEO, duration_s=5.0)
        ready = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            running = group.create_task(role.run(lambda _: ready.set()))
            await ready.wait()
            await asyncio.sleep(0.5)
            proxy.mute = True
            await asyncio.sleep(1.5)
            proxy.mute = False
            proxy.cut()
            async with asyncio.timeout(60):
                await running
    (track,) = role.snapshot()["tracks"].values()
    assert track["in_flight"] == 0
    assert track["offered"] == track["delivered"] + sum(track["dropped"].values())
    assert sum(track["dropped"].values()) > 10
    assert track["delivered"] > 20
    found = stored(server, "video")
    assert track["delivered"] <= len(found) <= track["delivered"] + 4 + 4  # unreceipted ones
    groups = [one for before, one in pairwise(found) if int(one["seq"]) != int(before["seq"]) + 1]
    assert groups
    assert all(one["key"] == "1" for one in groups)  # it resumes at a key frame


async def test_a_live_track_never_waits_long(server: BrokerServer, tmp_path: Path) -> None:
    """Bulk data beside it does not push pictures back for long."""
    role = publisher(
        settings_for(server), VIDEO, DataInput(lines_file(tmp_path, 2000), lines=True), count=2000,
        duration_s=3.0,
    )  # fmt: skip
    ready = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(role.run(lambda _: ready.set()))
        await ready.wait()
    tracks = role.snapshot()["tracks"]
    assert tracks["data"]["delivered"] == 2000
    assert tracks["video"]["delivered"] > 20


async def test_stopping_is_clean(server: BrokerServer) -> None:
    role = publisher(settings_for(server), VIDEO)
    async with asyncio.TaskGroup() as group, asyncio.timeout(60):
        ready = asyncio.Event()
        group.create_task(role.run(lambda _: ready.set()))
        await ready.wait()
        await asyncio.sleep(0.3)
        role.stop()
    (track,) = role.snapshot()["tracks"].values()
    assert track["offered"] == track["delivered"] + sum(track["dropped"].values())
    async with asyncio.timeout(60):
        while server.core.links:
            await asyncio.sleep(0.01)


async def test_a_missing_room_is_refused_or_made(server: BrokerServer, tmp_path: Path) -> None:
    lines = DataInput(lines_file(tmp_path, 3), lines=True)
    with pytest.raises(Refused, match="'attic'") as refused:
        await ended(publisher(settings_for(server, "attic"), lines))
    assert refused.value.code == "no-room"
    await ended(publisher(settings_for(server, "attic", create=True), lines))
    assert len(stored(server, "data", "attic")) == 3


async def test_nothing_answers(server: BrokerServer, tmp_path: Path, free_port: Any) -> None:
    settings = settings_for(server)
    nobody = settings.broker.model_copy(update={"admin": f"http://127.0.0.1:{free_port()}"})
    role = publisher(
        settings.model_copy(update={"broker": nobody}),
        DataInput(lines_file(tmp_path, 3), lines=True),
    )
    with pytest.raises(BrokerUnavailable, match="No broker"):
        await role.run(lambda _: None)


async def test_waiting_for_a_broker_can_be_stopped(tmp_path: Path, free_port: Any) -> None:
    from wtp.config.schema import BrokerSettings

    settings = Settings(broker=BrokerSettings(admin=f"http://127.0.0.1:{free_port()}"))
    role = publisher(settings, DataInput(lines_file(tmp_path, 3), lines=True), wait=True)
    async with asyncio.TaskGroup() as group, asyncio.timeout(60):
        group.create_task(role.run(lambda _: None))
        await asyncio.sleep(0.5)
        role.stop()


def test_without_inputs_there_is_nothing_to_do() -> None:
    with pytest.raises(UsageError):
        TopicPublisher(Settings(), [])


async def test_what_it_says(server: BrokerServer, tmp_path: Path) -> None:
    role = publisher(settings_for(server), DataInput(lines_file(tmp_path, 3), lines=True))
    infos: list[dict[str, Any]] = []
    await role.run(infos.append)
    assert "ws://127.0.0.1" in ui.announce(infos[0])
    assert "send to receipt" in ui.line(role.snapshot())
    text = ui.summary(role.snapshot())
    assert "3 = 3 delivered + 0 dropped + 0 in flight" in text
    assert "data: p50" in text
