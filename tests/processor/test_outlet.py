"""A processor that publishes itself: into the right topic, once, in order, over broker restarts."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.processor.parcels import code, parcel
from tests.processor.test_server import PASSTHROUGH, Client, serving, settings
from tests.pulsar import RealPulsar
from wtp.broker.client import BrokerClient
from wtp.broker.embedded.server import BrokerServer, BrokerSettings, serve_broker
from wtp.broker.embedded.values import FsyncPolicy
from wtp.broker.messages import Received
from wtp.clock import Clock
from wtp.model import Kind
from wtp.wire.process import PUBLISHED, Parcel, decode_error

TOPIC = "persistent://public/default/{}"


@asynccontextmanager
async def embedded(folder: Path, port: int = 0) -> AsyncIterator[tuple[BrokerServer, str]]:
    own = BrokerSettings(folder, port=port, http_port=None, fsync=FsyncPolicy.INTERVAL)
    server = await serve_broker(own)
    try:
        yield server, f"pulsar://{server.address[0]}:{server.address[1]}"
    finally:
        await server.close()


async def published(url: str, kind: str) -> list[Received]:
    client = BrokerClient(url)
    try:
        return await client.history(TOPIC.format(kind))
    finally:
        await client.close()


async def sent(client: Client, one: Parcel) -> int:
    status, headers, body = await client.post(one)
    assert status == 204, decode_error(body)
    return int(headers.get(PUBLISHED, "0"))


async def test_live_objects_go_to_their_topic_with_their_metadata(tmp_path: Path) -> None:
    clock = Clock()
    async with embedded(tmp_path / "data") as (_, url):
        chosen = settings(url, send_to_pulsar=True)
        async with serving(PASSTHROUGH, Kind.VIDEO, chosen) as client:
            before_us = clock.now_us()
            one = parcel(b"jpeg", Kind.VIDEO, 0)
            properties = {**one.properties, "clock": str(clock.domain)}
            assert await sent(client, Parcel(one.track, properties, one.payload)) == 1
            assert await sent(client, parcel(b"other", Kind.VIDEO, 1)) == 1
            state = client.role.snapshot()
        first, second = await published(url, "video")
    assert (first.payload, first.key, first.event_ms) == (b"jpeg", "default/me/video", 1000)
    stamped = dict(first.properties)
    processed_us, published_us = (int(stamped.pop(f"{n}_us")) for n in ("process", "publish"))
    assert before_us <= processed_us <= published_us <= clock.now_us()
    assert stamped == properties
    assert {"process_us", "publish_us"}.isdisjoint(second.properties)
    assert state["published"] == 2
    assert state["objects"]["delivered"] == 2


async def test_what_a_router_sends_twice_is_published_once_and_in_order(tmp_path: Path) -> None:
    async with embedded(tmp_path / "data") as (_, url):
        chosen = settings(url, send_to_pulsar=True)
        async with serving(chosen=chosen) as client:
            numbers = [1, 2, 3, 3, 2, 4, 5]
            await asyncio.gather(*(sent(client, parcel(b"%d" % n, seq=n)) for n in numbers))
        async with serving(chosen=chosen) as client:
            for n in (4, 5, 6):
                await sent(client, parcel(b"%d" % n, seq=n))
            await sent(client, parcel(b"again", seq=1, instance="run2"))
        found = await published(url, "chat")
    assert [one.payload for one in found] == [b"1", b"2", b"3", b"4", b"5", b"6", b"again"]


@pytest.mark.pulsar
async def test_a_real_pulsar_has_it_once_and_in_order_too(real_pulsar: RealPulsar) -> None:
    kind = f"processed-{uuid.uuid4().hex[:8]}"
    chosen = settings(real_pulsar.url, TOPIC.format(kind), send_to_pulsar=True)
    async with serving(chosen=chosen) as client:
        numbers = [1, 2, 3, 3, 2, 4, 5]
        await asyncio.gather(*(sent(client, parcel(b"%d" % n, seq=n)) for n in numbers))
    async with serving(chosen=chosen) as client:
        for n in (4, 5, 6):
            await sent(client, parcel(b"%d" % n, seq=n))
    found = await published(real_pulsar.url, kind)
    assert [one.payload for one in found] == [b"1", b"2", b"3", b"4", b"5", b"6"]
    assert found[0].properties == dict(parcel(seq=1).properties)


async def test_an_object_of_a_reliable_kind_makes_one_at_most(tmp_path: Path) -> None:
    async with embedded(tmp_path / "data") as (_, url):
        spec = code(tmp_path, "def process(text: str): return [text, text]")
        async with serving(spec, chosen=settings(url, send_to_pulsar=True)) as client:
            status, _, body = await client.post(parcel())
            assert status == 422
            assert "2 objects of one" in decode_error(body)


async def test_another_kind_goes_to_its_own_topic_and_failures_to_the_dead(tmp_path: Path) -> None:
    text = (
        "def process(obj):\n if obj.seq == 2: raise ValueError('bad')\n return [{'n': 1}, {'n': 2}]"
    )
    chosen_dead = "persistent://public/{room}/{kind}-dead"
    async with embedded(tmp_path / "data") as (_, url):
        chosen = settings(url, send_to_pulsar=True, dead_letter=chosen_dead)
        async with serving(code(tmp_path, text), Kind.VIDEO, chosen) as client:
            assert await sent(client, parcel(b"1", Kind.VIDEO, 1)) == 2
            assert (await client.post(parcel(b"2", Kind.VIDEO, 2)))[0] == 422
            assert client.role.snapshot()["dead_letters"] == 1
        events = await published(url, "data")
        (dead,) = await published(url, "video-dead")
    assert [one.payload for one in events] == [b'{"n":1}', b'{"n":2}']
    assert {one.key for one in events} == {"default/me/video-mine"}
    assert dead.payload == b"2"
    assert dead.key == "default/me/video"
    assert "ValueError: bad" in dead.properties["error"]
    assert dead.properties["seq"] == "2"


async def test_a_broker_may_come_late_go_and_come_back(tmp_path: Path) -> None:
    async with embedded(tmp_path / "data") as (server, url):
        port = server.address[1]
    async with serving(chosen=settings(url, send_to_pulsar=True)) as client:
        assert (await client.post(parcel(b"1", seq=1)))[0] == 503
        for number in (1, 2):
            async with embedded(tmp_path / "data", port):
                await until_healthy(client)
                assert await sent(client, parcel(b"%d" % number, seq=number)) == 1
                assert (await published(url, "chat"))[-1].payload == b"%d" % number
            async with asyncio.timeout(60):
                while (await client.health())[0] == 200:
                    await asyncio.sleep(0.05)
            assert (await client.post(parcel(b"%d" % (number + 1), seq=number + 1)))[0] == 503


async def test_what_comes_too_late_is_told_not_lost_silently(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wtp.processor.lanes.RELIABLE_PATIENCE_S", 0.05)
    async with embedded(tmp_path / "data") as (_, url):
        for seqs, late in (((1, 4), 3), ((4, 5, 8), 6)):  # the second time with another process
            async with serving(chosen=settings(url, send_to_pulsar=True)) as client:
                for seq in seqs:
                    await sent(client, parcel(b"%d" % seq, seq=seq))
                status, _, body = await client.post(parcel(b"late", seq=late))
                assert (status, decode_error(body)) == (
                    422,
                    f"Object {late} came after later ones were published.",
                )
                await sent(client, parcel(b"again", seq=seqs[-1]))
        found = await published(url, "chat")
    assert [one.payload for one in found] == [b"1", b"4", b"5", b"8"]


async def until_healthy(client: Client) -> None:
    async with asyncio.timeout(60):
        while (await client.health())[0] != 200:
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("seq", [3, 4])
async def test_nothing_overtakes_what_must_come_again(tmp_path: Path, seq: int) -> None:
    """An object that no broker took holds up the next ones until it comes again."""
    async with embedded(tmp_path / "data") as (server, url):
        port = server.address[1]
    async with serving(chosen=settings(url, send_to_pulsar=True)) as client:
        assert (await client.post(parcel(b"2", seq=2)))[0] == 503
        async with embedded(tmp_path / "data", port):
            await until_healthy(client)
            status, _, body = await client.post(parcel(b"x", seq=seq))
            assert status == 503
            assert "must come first" in decode_error(body)
            assert await sent(client, parcel(b"2", seq=2)) == 1
            assert await sent(client, parcel(b"3", seq=3)) == 1
            assert [one.payload for one in await published(url, "chat")] == [b"2", b"3"]
