"""What a real Pulsar answers on the wire, case by case: connections, names, lists."""

from __future__ import annotations

import asyncio
import struct
from pathlib import Path

import pytest

from tests.broker_protocol.wire import bench, blob
from wtp.broker.embedded.answers import (
    Deliver,
    Empty,
    Error,
    GetTopicsResponse,
    LookupResponse,
    PartitionedMetadataResponse,
    ProducerSuccess,
    Success,
    WatchTopicsSuccess,
    WatchTopicsUpdate,
)
from wtp.broker.embedded.commands import (
    CloseConsumer,
    CloseProducer,
    Connect,
    ConsumerStats,
    GetLastMessageId,
    GetTopics,
    Lookup,
    PartitionedMetadata,
    Redeliver,
    Seek,
    Send,
    Transaction,
    Unsubscribe,
    WatchTopics,
    WatchTopicsClose,
)
from wtp.broker.embedded.core import Settings
from wtp.broker.embedded.frames import command, frame
from wtp.broker.embedded.numbers import Cmd

FAST = Settings(keepalive_s=0.1, liveness_s=0.1, failover_delay_s=0.05)


async def test_connected(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        wire = await b.wire(connect=False)
        async with wire:
            answer = await wire.connect(version=15)
            assert answer.protocol_version == 15
            assert answer.max_message_size == 5242880
            flags = answer.feature_flags
            assert flags is not None
            assert flags.encode() == b"\x20\x01\x28\x01\x30\x01"
        async with await b.wire(connect=False) as newer:
            assert (await newer.connect(version=99)).protocol_version == 21


@pytest.mark.parametrize(
    ("first", "data"),
    [
        ("second CONNECT", command(Cmd.CONNECT, Connect("x", 21))),
        ("unknown command", frame(99, b"")),
        ("answer of a broker", command(Cmd.SUCCESS, Success(1))),
        ("oversize", struct.pack(">I", 5242880 + 10240 + 1)),
        ("http", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
        ("SEND of an unknown producer", frame(Cmd.SEND, Send(9, 1).encode(), blob(1))),
        ("stats of an unknown consumer", command(Cmd.CONSUMER_STATS, ConsumerStats(1, 9))),
        ("field missing", frame(Cmd.PRODUCER, b"")),
    ],
)
async def test_closed_without_a_word(tmp_path: Path, first: str, data: bytes) -> None:
    async with bench(tmp_path) as b, await b.wire() as wire:
        wire.writer.write(data)
        assert await wire.closed()


async def test_command_before_connect(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, await b.wire(connect=False) as wire:
        wire.send(Cmd.PING, Empty())
        assert await wire.closed()


async def test_lookup_and_partitions(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, await b.wire() as wire:
        b.core.store.set_partitions("persistent://public/default/many", 3)
        wire.send(Cmd.LOOKUP, Lookup("t", 1))
        found = await wire.expect(LookupResponse)
        assert (found.url, found.response) == (f"pulsar://127.0.0.1:{b.port}", 1)
        assert found.authoritative
        for topic, count in (("many", 3), ("t", 0), ("many-partition-1", 0)):
            wire.send(Cmd.PARTITIONED_METADATA, PartitionedMetadata(topic, 2))
            answer = await wire.expect(PartitionedMetadataResponse)
            assert (answer.partitions, answer.response) == (count, 0)
        wire.send(Cmd.PARTITIONED_METADATA, PartitionedMetadata("t", 2, auto_create=False))
        assert (await wire.expect(PartitionedMetadataResponse)).error == 11


@pytest.mark.parametrize(
    ("topic", "code"),
    [
        ("persistent://public/missing/t", 11),
        ("persistent://nobody/default/t", 11),
        ("kafka://public/default/t", 17),
        ("persistent://public/t", 17),
    ],
)
async def test_names_that_cannot_be(tmp_path: Path, topic: str, code: int) -> None:
    async with bench(tmp_path) as b, await b.wire() as wire:
        wire.send(Cmd.LOOKUP, Lookup(topic, 1))
        found = await wire.expect(LookupResponse)
        assert (found.response, found.error) == (2, code)
        wire.send(Cmd.PARTITIONED_METADATA, PartitionedMetadata(topic, 2))
        answer = await wire.expect(PartitionedMetadataResponse)
        assert (answer.response, answer.error) == (1, code)
        if topic.startswith("persistent://public/missing"):
            assert (found.message or "").startswith("Namespace not found")
        refused = await wire.produce(topic)
        assert isinstance(refused, Error)
        assert refused.error == code


async def test_same_ids_again(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, await b.wire() as wire:
        first = await wire.produce()
        second = await wire.produce()
        assert isinstance(first, ProducerSuccess)
        assert isinstance(second, ProducerSuccess)
        assert first.name == second.name != ""
        assert isinstance(await wire.subscribe(), Success)
        assert isinstance(await wire.subscribe(), Success)


async def test_unknown_ids(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, await b.wire() as wire:
        wire.send(Cmd.CLOSE_PRODUCER, CloseProducer(9, 1))
        await wire.expect(Success)
        wire.send(Cmd.CLOSE_CONSUMER, CloseConsumer(9, 2))
        await wire.expect(Success)
        wire.send(Cmd.UNSUBSCRIBE, Unsubscribe(9, 3))
        assert (await wire.expect(Error)).error == 1
        wire.send(Cmd.GET_LAST_MESSAGE_ID, GetLastMessageId(9, 4))
        assert (await wire.expect(Error)).error == 1
        wire.send(Cmd.SEEK, Seek(9, 5))
        assert (await wire.expect(Error)).error == 1
        wire.send(Cmd.REDELIVER, Redeliver(9))
        wire.flow(5, consumer_id=9)
        await wire.quiet()


@pytest.mark.parametrize("kind", [50, 52, 54, 56, 58, 60, 62])
async def test_transactions_are_refused(tmp_path: Path, kind: int) -> None:
    async with bench(tmp_path) as b, await b.wire() as wire:
        wire.send(kind, Transaction(8))
        refused = await wire.expect(Error)
        assert (refused.request_id, refused.error) == (8, 22)


async def test_topics_of_a_namespace(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, await b.wire() as wire:
        await wire.produce("a")
        await wire.produce("non-persistent://public/default/b", 2)
        answers = {}
        for mode in (0, 1, 2):
            wire.send(Cmd.GET_TOPICS, GetTopics(1, "public/default", mode))
            answers[mode] = await wire.expect(GetTopicsResponse)
        assert answers[0].topics == ["persistent://public/default/a"]
        assert answers[1].topics == ["non-persistent://public/default/b"]
        assert len(answers[2].topics) == 2
        assert answers[0].changed
        wire.send(
            Cmd.GET_TOPICS, GetTopics(1, "public/default", 0, topics_hash=answers[0].topics_hash)
        )
        same = await wire.expect(GetTopicsResponse)
        assert (same.topics, same.changed) == ([], False)
        wire.send(Cmd.GET_TOPICS, GetTopics(9, "public/missing"))
        assert (await wire.expect(GetTopicsResponse)).topics == []


async def test_watching_topics(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, await b.wire() as wire, await b.wire() as other:
        pattern = "persistent://public/default/cam-.*"
        wire.send(Cmd.WATCH_TOPICS, WatchTopics(1, 5, "public/default", pattern))
        first = await wire.expect(WatchTopicsSuccess)
        assert (first.watcher_id, first.topics) == (5, [])
        await other.produce("mic-1", 1)
        await other.produce("cam-1", 2)
        update = await wire.expect(WatchTopicsUpdate)
        assert update.new_topics == ["persistent://public/default/cam-1"]
        assert update.topics_hash != first.topics_hash
        wire.send(Cmd.WATCH_TOPICS_CLOSE, WatchTopicsClose(2, 5))
        await wire.expect(Success)
        await other.produce("cam-2", 3)
        await wire.quiet()


async def test_a_silent_client_is_closed(tmp_path: Path) -> None:
    async with bench(tmp_path, FAST) as b, await b.wire() as wire:
        kinds = []
        async with asyncio.timeout(60):
            while data := await wire.reader.read(1000):
                kinds += [kind for kind, _, _ in wire.parser.feed(data)]
        assert set(kinds) == {Cmd.PING}


async def test_a_client_that_answers_stays(tmp_path: Path) -> None:
    async with bench(tmp_path, FAST) as b, await b.wire() as wire:
        pings = 0
        while pings < 5:
            data = await wire.reader.read(1000)
            assert data, "closed although it answered"
            for kind, _, _ in wire.parser.feed(data):
                pings += kind == Cmd.PING
                wire.send(Cmd.PONG, Empty())


async def test_a_client_that_never_connects_is_closed(tmp_path: Path) -> None:
    async with bench(tmp_path, FAST) as b, await b.wire(connect=False) as wire:
        assert await wire.closed()


async def test_too_many_connections(tmp_path: Path) -> None:
    async with bench(tmp_path, Settings(max_connections=1)) as b, await b.wire() as wire:
        async with await b.wire(connect=False) as other:
            other.send(Cmd.CONNECT, Connect("x", 21))
            assert await other.closed()
        await wire.quiet()


async def test_a_client_that_does_not_read_is_not_buffered_for(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, await b.wire() as sender, await b.wire() as lazy:
        await sender.produce()
        await lazy.subscribe(sub_type=1)
        lazy.flow(1_000_000)
        payload = bytes(200_000)
        for number in range(1, 150):  # 30 MB
            await sender.published(number, payload)
        link = next(k for k in b.core.links if k.consumers)
        transport = link._transport
        assert transport is not None
        assert transport.get_write_buffer_size() + link._queued_bytes < 3_000_000
        got = 0
        while got < 149:
            await lazy.expect(Deliver)
            got += 1


async def test_close_drains(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        wire = await b.wire()
        await wire.produce()
        await wire.published(1)
        await wire.subscribe(initial_position=1)
        wire.flow(5)
        message = await wire.expect(Deliver)
        wire.ack(message.message_id)
        await wire.quiet()
    async with wire:
        assert await wire.closed()
        saved = b.core.store.load_cursors("persistent://public/default/t")
        assert saved["s"].mark_delete == (7, 0)
