from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pulsar
import pytest

from tests.broker_protocol.running import BrokerThread, broker, client
from wtp.broker.client import BrokerClient
from wtp.broker.messages import Received
from wtp.clock import Clock
from wtp.config.schema import BrokerSettings, ProcessorSettings, Settings, TopicSettings
from wtp.errors import BrokerError, BrokerUnavailable, UsageError
from wtp.model import Kind, Object, to_properties
from wtp.processor.code import CodeSpec
from wtp.processor.worker import Worker
from wtp.processor.worker_topics import OUTPUTS, chained, sequence_id

VIDEO = "persistent://public/default/video"
CHAT = "persistent://public/default/chat"
DATA = "persistent://public/default/data"
PASS = CodeSpec.parse("passthrough")
CLOCK = Clock()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[BrokerThread]:
    with broker(tmp_path / "broker") as thread:
        yield thread


def settings(url: str, **more: Any) -> Settings:
    return Settings(broker=BrokerSettings(url=url, admin="http://127.0.0.1:9"), **more)


@asynccontextmanager
async def working(worker: Worker) -> AsyncIterator[asyncio.Task[None]]:
    """Run a worker; it is ready when the block begins and has left when it ends."""
    ready = asyncio.Event()
    task = asyncio.create_task(worker.run(lambda _: ready.set()))
    waiting = asyncio.create_task(ready.wait())
    try:
        async with asyncio.timeout(60):
            await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            await task
        yield task
    finally:
        waiting.cancel()
        worker.stop()
        async with asyncio.timeout(60):
            await asyncio.gather(task, return_exceptions=True)
    await task


class Feed:
    """Publishes as a router does."""

    def __init__(self, made: BrokerClient) -> None:
        self.client = made
        self.producers: dict[str, Any] = {}

    async def send(
        self, kind: Kind, seqs: range, *, track: str = "default/me/cam", instance: str = "run",
        payload: bytes = b"", **attributes: str,
    ) -> None:  # fmt: skip
        topic = f"persistent://public/{track.split('/')[0]}/{kind}"
        producer = self.producers.get(topic)
        if producer is None:
            producer = self.producers[topic] = await self.client.producer(topic)
        for seq in seqs:
            now_us = CLOCK.now_us()
            obj = Object(
                kind, seq, seq, True, payload or f"{seq}".encode(), capture_us=now_us,
                route_us=now_us, content_type="text/plain", attributes=attributes,
            )  # fmt: skip
            producer.send(
                obj.payload,
                properties=to_properties(obj, instance, str(CLOCK.domain), 0),
                key=track,
                event_ms=now_us // 1000,
                seq=None,
                done=lambda error: None,
            )
        await producer.flush()


@asynccontextmanager
async def feeding(url: str) -> AsyncIterator[Feed]:
    made = BrokerClient(url)
    try:
        yield Feed(made)
    finally:
        await made.close()


async def read(url: str, topic: str, count: int, seconds: float = 60.0) -> list[Received]:
    """The first messages of a topic, as many as told."""
    made = BrokerClient(url)
    try:
        reader = await made.reader(topic, start="earliest")
        async with asyncio.timeout(seconds):
            return [await reader.receive() for _ in range(count)]
    finally:
        await made.close()


async def until(what: Any, seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not what():
            await asyncio.sleep(0.01)


def seqs(messages: list[Received]) -> list[int]:
    return [int(message.properties["seq"]) for message in messages]


def code(folder: Path, text: str, name: str = "mine") -> CodeSpec:
    path = folder / f"{name}.py"
    path.write_text(text)
    return CodeSpec.parse(str(path))


async def test_objects_go_on_with_their_stamps_and_say_where_from(running: BrokerThread) -> None:
    worker = Worker(settings(running.url), Kind.CHAT, PASS)
    async with working(worker), feeding(running.url) as feed:
        await feed.send(Kind.CHAT, range(1, 101), author="me")
        got = await read(running.url, CHAT + "-passthrough", 100)
        await until(lambda: worker.figures.ledger.in_flight == 0)
        assert worker.snapshot()["connected"]
    source = await read(running.url, CHAT, 1)
    assert seqs(got) == list(range(1, 101))
    assert [m.payload for m in got] == [str(i).encode() for i in range(1, 101)]
    first = dict(got[0].properties)
    taken = [int(first.pop(f"{name}_us")) for name in ("processor", "process", "publish")]
    assert taken == sorted(taken)
    assert taken[0] >= int(first["route_us"])
    assert first.pop("source_track") == "default/me/cam"
    assert first.pop("processor") == "passthrough"
    assert first == dict(source[0].properties)
    assert (got[0].key, got[0].event_ms) == (source[0].key, source[0].event_ms)
    assert worker.figures.ledger.snapshot()["delivered"] == 100
    assert worker.figures.ledger.balanced


async def test_what_was_read_is_not_read_again(running: BrokerThread) -> None:
    async with feeding(running.url) as feed:
        for turn in (1, 2):
            worker = Worker(settings(running.url), Kind.CHAT, PASS)
            async with working(worker):
                await feed.send(Kind.CHAT, range(10 * turn, 10 * turn + 10))
                await until(lambda worker=worker: worker.figures.ledger.delivered >= 10)
            assert worker.figures.ledger.offered == 10
    got = await read(running.url, CHAT + "-passthrough", 20)
    assert seqs(got) == list(range(10, 30))


async def test_other_kinds_and_several_outputs(running: BrokerThread, tmp_path: Path) -> None:
    spec = code(
        tmp_path,
        "def process(obj):\n"
        "    n = obj.seq\n"
        "    if n == 2: return None\n"
        "    if n == 3: raise ValueError('three')\n"
        "    return [{'n': n}, {'n': -n}]\n",
    )
    more = {"processor": ProcessorSettings(dead_letter="persistent://public/{room}/{kind}-dead")}
    worker = Worker(settings(running.url, **more), Kind.CHAT, spec)
    async with working(worker), feeding(running.url) as feed:
        await feed.send(Kind.CHAT, range(1, 5))
        got = await read(running.url, DATA, 4)
        dead = await read(running.url, CHAT + "-dead", 1)
        await until(lambda: worker.figures.ledger.in_flight == 0)
    assert [m.payload for m in got] == [b'{"n":1}', b'{"n":-1}', b'{"n":4}', b'{"n":-4}']
    assert {m.key for m in got} == {"default/me/cam-mine"}
    assert {m.properties["source_track"] for m in got} == {"default/me/cam"}
    assert {m.properties["kind"] for m in got} == {"data"}
    assert dead[0].payload == b"3"
    assert "three" in dead[0].properties["error"]
    snapshot = worker.figures.ledger.snapshot()
    assert snapshot["dropped"] == {"filtered": 1, "exception": 1}
    assert worker.snapshot()["dead_letters"] == 1
    assert worker.snapshot()["took"]["n"] == 4
    assert snapshot["delivered"] == 2


async def test_copies_share_the_tracks_in_order(running: BrokerThread) -> None:
    first, second = (Worker(settings(running.url), Kind.CHAT, PASS) for _ in range(2))
    tracks = [f"default/me/track-{i}" for i in range(8)]

    def done() -> int:
        return first.figures.ledger.delivered + second.figures.ledger.delivered

    async with feeding(running.url) as feed, working(first):
        for track in tracks:
            await feed.send(Kind.CHAT, range(1, 21), track=track)
        await until(lambda: first.figures.ledger.delivered == 160)
        async with working(second):
            for start in range(21, 101, 20):
                for track in tracks:
                    await feed.send(Kind.CHAT, range(start, start + 20), track=track)
                expected = 8 * (start + 19)
                await until(lambda n=expected: done() == n)
        for track in tracks:
            await feed.send(Kind.CHAT, range(101, 121), track=track)
        await until(lambda: done() == 960)
    got = await read(running.url, CHAT + "-passthrough", 960)
    for track in tracks:
        assert seqs([m for m in got if m.key == track]) == list(range(1, 121))
    assert first.figures.ledger.delivered
    assert second.figures.ledger.delivered


async def test_what_comes_again_is_kept_once(running: BrokerThread) -> None:
    """Inputs that were processed and not acknowledged, as after a kill."""
    async with feeding(running.url) as feed:
        await feed.send(Kind.CHAT, range(1, 51))
    for name in ("one", "two"):
        worker = Worker(settings(running.url), Kind.CHAT, PASS, subscription=name)
        async with working(worker):
            await until(lambda worker=worker: worker.figures.ledger.delivered == 50)
    async with feeding(running.url) as feed:
        await feed.send(Kind.CHAT, range(51, 52))
        worker = Worker(settings(running.url), Kind.CHAT, PASS, subscription="two")
        async with working(worker):
            await until(lambda: worker.figures.ledger.delivered == 1)
    got = await read(running.url, CHAT + "-passthrough", 51)
    assert seqs(got) == list(range(1, 52))


async def test_live_kinds_begin_with_what_comes(running: BrokerThread) -> None:
    async with feeding(running.url) as feed:
        await feed.send(Kind.VIDEO, range(1, 5))
        worker = Worker(settings(running.url), Kind.VIDEO, PASS)
        async with working(worker):
            await feed.send(Kind.VIDEO, range(5, 8))
            got = await read(running.url, VIDEO + "-passthrough", 3)
    assert seqs(got) == [5, 6, 7]


async def test_the_broker_may_go_and_come_back(tmp_path: Path) -> None:
    with broker(tmp_path) as before:
        url = before.url
        port = before.server.address[1]
        worker = Worker(settings(url), Kind.CHAT, PASS)
        ready = asyncio.Event()
        task = asyncio.create_task(worker.run(lambda _: ready.set()))
        await ready.wait()
        async with feeding(url) as feed:
            await feed.send(Kind.CHAT, range(1, 11))
        await until(lambda: worker.figures.ledger.delivered == 10)
        before.call(before.server.close())
    await until(lambda: not worker.snapshot()["connected"])
    after = BrokerThread(before.settings.__class__(tmp_path, port=port, http_port=None)).start()
    try:
        async with feeding(url) as feed:
            await feed.send(Kind.CHAT, range(11, 21))
        await until(lambda: worker.figures.ledger.delivered >= 20)
        worker.stop()
        await task
        got = await read(url, CHAT + "-passthrough", 20)
    finally:
        after.stop()
    assert seqs(got) == list(range(1, 21))
    assert worker.figures.ledger.balanced


async def test_foreign_messages_and_circles_are_counted_and_left(running: BrokerThread) -> None:
    worker = Worker(settings(running.url), Kind.CHAT, PASS)

    def bare() -> None:
        with client(running.url) as plain:
            producer = plain.create_producer(CHAT)
            producer.send(b"bare")
            producer.send(b"x", partition_key="a/b/c", properties={"wtp": "1", "kind": "?"})

    async with working(worker), feeding(running.url) as feed:
        await asyncio.to_thread(bare)
        await feed.send(Kind.CHAT, range(1, 2), processor="other,passthrough")
        await feed.send(Kind.CHAT, range(2, 3), processor="other")
        got = await read(running.url, CHAT + "-passthrough", 1)
        await until(lambda: worker.figures.ledger.in_flight == 0)
    assert got[0].properties["processor"] == "other,passthrough"
    assert worker.figures.ledger.snapshot()["dropped"] == {"not-wtp": 1, "damaged": 1, "cycle": 1}


async def test_a_subscription_that_is_taken(running: BrokerThread) -> None:
    def take(plain: pulsar.Client) -> Any:
        return plain.subscribe(CHAT, "mine", consumer_type=pulsar.ConsumerType.Exclusive)

    with client(running.url) as plain:
        await asyncio.to_thread(take, plain)
        worker = Worker(settings(running.url), Kind.CHAT, PASS, subscription="mine")
        with pytest.raises(BrokerError, match="in use by a consumer") as caught:
            await worker.run(lambda _: None)
        assert "--subscription" in caught.value.hint
        assert caught.value.code == "busy"


async def test_no_broker_at_the_start() -> None:
    worker = Worker(settings("pulsar://127.0.0.1:9"), Kind.CHAT, PASS)
    with pytest.raises(BrokerUnavailable):
        await worker.run(lambda _: None)


@pytest.mark.parametrize(
    ("more", "arguments"),
    [
        ({}, {"to": CHAT}),
        ({}, {"topic": CHAT + "-passthrough"}),
        ({"topics": TopicSettings(template="persistent://public/{room}/all")}, {}),
        ({"processor": ProcessorSettings(dead_letter="persistent://public/{room}/chat")}, {}),
    ],
)
def test_circles_are_refused(more: dict[str, Any], arguments: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="would read its own") as caught:
        Worker(settings("pulsar://127.0.0.1:9", **more), Kind.CHAT, PASS, **arguments)
    assert caught.value.code == "cycle"
    assert caught.value.hint


def test_sequence_ids_grow_and_begin_above_zero() -> None:
    ids = [sequence_id(seq, i) for seq in range(3) for i in range(OUTPUTS)]
    assert ids[0] == 1
    assert ids == sorted(set(ids))


def test_the_chain_of_processors() -> None:
    assert chained("", "a") == "a"
    assert chained("a", "b") == "a,b"
    assert chained("a,b", "a") is None
