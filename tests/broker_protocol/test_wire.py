"""What a real Pulsar answers on the wire, case by case, and that this broker answers the same."""

from __future__ import annotations

import asyncio
import struct
from pathlib import Path

import pytest

from tests.broker_protocol.wire import Wire, bench, blob
from wtp.broker.embedded.answers import (
    AckResponse,
    ActiveConsumerChange,
    ConsumerStatsResponse,
    Deliver,
    Empty,
    Error,
    GetLastMessageIdResponse,
    GetOrCreateSchemaResponse,
    GetSchemaResponse,
    GetTopicsResponse,
    LookupResponse,
    PartitionedMetadataResponse,
    ProducerSuccess,
    SendError,
    SendReceipt,
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
    GetOrCreateSchema,
    GetSchema,
    GetTopics,
    Lookup,
    MessageIdData,
    PartitionedMetadata,
    Redeliver,
    Schema,
    Seek,
    Send,
    Transaction,
    Unsubscribe,
    WatchTopics,
    WatchTopicsClose,
)
from wtp.broker.embedded.core import Settings
from wtp.broker.embedded.frames import command, frame
from wtp.broker.embedded.numbers import LATEST_ID, NO_ID, Cmd
from wtp.broker.embedded.protobuf import Message

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


async def test_send_receipt(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, await b.wire() as wire:
        made = await wire.produce(name="mine")
        assert isinstance(made, ProducerSuccess)
        assert (made.name, made.last_sequence_id, made.ready) == ("mine", -1, True)
        receipt = await wire.published(3)
        assert receipt.message_id == MessageIdData(7, 0)
        assert (receipt.sequence_id, receipt.highest_sequence_id) == (3, NO_ID)
        again = await wire.published(3)
        assert again.message_id == MessageIdData(NO_ID, NO_ID)
        wire.send(Cmd.SEND, Send(1, 4, 3, highest_sequence_id=6), blob(4, num_messages=3))
        batch = await wire.expect(SendReceipt)
        assert batch.highest_sequence_id == 6
        wire.send(Cmd.CLOSE_PRODUCER, CloseProducer(1, 5))
        assert (await wire.expect(Success)).request_id == 5
        reopened = await wire.produce(name="mine")
        assert isinstance(reopened, ProducerSuccess)
        assert reopened.last_sequence_id == 6


async def test_without_deduplication(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, await b.wire() as wire:
        await wire.produce("public/off/t", name="mine")
        for number in (0, 1):
            receipt = await wire.published(3)
            assert receipt.message_id == MessageIdData(7, number)
        wire.send(Cmd.CLOSE_PRODUCER, CloseProducer(1, 5))
        await wire.expect(Success)
        reopened = await wire.produce("public/off/t", name="mine")
        assert isinstance(reopened, ProducerSuccess)
        assert reopened.last_sequence_id == -1


async def test_checksums(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, await b.wire() as wire:
        await wire.produce()
        wire.send(Cmd.SEND, Send(1, 1), blob(1)[:-1] + b"X")
        refused = await wire.expect(SendError)
        assert (refused.sequence_id, refused.error) == (1, 9)
        bare = blob(2)[6:]
        wire.send(Cmd.SEND, Send(1, 2), bare)
        await wire.expect(SendReceipt)
        await wire.subscribe(initial_position=1)
        wire.flow(10)
        await wire.expect(Deliver)
        assert wire.blob == bare


async def test_the_blob_comes_as_it_was_sent(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, await b.wire() as wire:
        await wire.produce()
        sent = blob(1, b"odd \x00 payload", partition_key="k", event_ms=5)
        wire.send(Cmd.SEND, Send(1, 1), sent)
        await wire.expect(SendReceipt)
        await wire.subscribe(initial_position=1)
        wire.flow(1)
        message = await wire.expect(Deliver)
        assert (message.message_id, message.redelivery_count) == (MessageIdData(7, 0), None)
        assert wire.blob == sent


async def test_same_ids_again(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, await b.wire() as wire:
        first = await wire.produce()
        second = await wire.produce()
        assert isinstance(first, ProducerSuccess)
        assert isinstance(second, ProducerSuccess)
        assert first.name == second.name != ""
        assert isinstance(await wire.subscribe(), Success)
        assert isinstance(await wire.subscribe(), Success)


async def test_names_taken(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, await b.wire() as wire, await b.wire() as other:
        await wire.produce(name="n")
        refused = await other.produce(name="n")
        assert isinstance(refused, Error)
        assert refused.error == 16
        await wire.quiet()  # the holder is asked whether it lives
        await wire.subscribe()
        busy = await other.subscribe()
        assert isinstance(busy, Error)
        assert busy.error == 5
        type_mismatch = await other.subscribe(sub_type=1)
        assert isinstance(type_mismatch, Error)
        assert type_mismatch.error == 5


async def test_a_dead_holder_loses_its_name(tmp_path: Path) -> None:
    async with bench(tmp_path, Settings(liveness_s=0.05)) as b:
        dead, other = await b.wire(), await b.wire()
        async with dead, other:
            await dead.produce(name="n")
            refused = await other.produce(name="n")
            assert isinstance(refused, Error)
            async with asyncio.timeout(5):
                while not isinstance(await other.produce(name="n"), ProducerSuccess):
                    await asyncio.sleep(0.02)


async def test_exclusive_producers(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, await b.wire() as one, await b.wire() as two:
        made = await one.produce(access=1)
        assert isinstance(made, ProducerSuccess)
        assert made.topic_epoch == 0
        for access, code in ((1, 25), (0, 16)):
            refused = await two.produce(access=access)
            assert isinstance(refused, Error)
            assert refused.error == code
        one.send(Cmd.CLOSE_PRODUCER, CloseProducer(1, 5))
        await one.expect(Success)
        shared = await two.produce(access=0)
        assert isinstance(shared, ProducerSuccess)
        refused = await one.produce(access=1)
        assert isinstance(refused, Error)
        assert refused.error == 25


async def test_wait_for_exclusive(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, await b.wire() as one, await b.wire() as two:
        await one.produce(access=2)
        waiting = await two.produce(access=2)
        assert isinstance(waiting, ProducerSuccess)
        assert not waiting.ready
        one.send(Cmd.CLOSE_PRODUCER, CloseProducer(1, 5))
        later = await two.expect(ProducerSuccess)
        assert later.ready
        assert (later.request_id, later.topic_epoch) == (waiting.request_id, 1)
        two.publish(1)
        await two.expect(SendReceipt)


async def test_fencing(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, await b.wire() as one, await b.wire() as two:
        await one.produce()
        await one.published(1)
        taken = await two.produce(access=3)
        assert isinstance(taken, ProducerSuccess)
        await one.quiet()
        one.publish(2)
        assert await one.closed()
        two.publish(1)
        await two.expect(SendReceipt)
        async with await b.wire() as three:
            old = await three.produce(access=1, topic_epoch=0)
            assert isinstance(old, Error)
            assert old.error == 25


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


@pytest.mark.parametrize("target", ["id", "time", "earliest", "latest"])
async def test_seek(tmp_path: Path, target: str) -> None:
    async with bench(tmp_path) as b, await b.wire() as wire:
        await wire.produce()
        for number in range(1, 6):
            await wire.published(number)
        await wire.subscribe(initial_position=1)
        wire.flow(100)
        for _ in range(5):
            await wire.expect(Deliver)
        seek = {
            "id": Seek(1, 7, MessageIdData(7, 3)),
            "time": Seek(1, 7, publish_ms=1),
            "earliest": Seek(1, 7, MessageIdData(NO_ID, NO_ID)),
            "latest": Seek(1, 7, MessageIdData(LATEST_ID, LATEST_ID)),
        }[target]
        wire.send(Cmd.SEEK, seek)
        closing = await wire.expect(CloseConsumer)
        assert (closing.consumer_id, closing.request_id) == (1, NO_ID)
        assert (await wire.expect(Success)).request_id == 7
        await wire.subscribe()
        wire.flow(100)
        first = {"id": 3, "time": 0, "earliest": 0, "latest": 5}[target]
        for entry in range(first, 5):
            assert (await wire.expect(Deliver)).message_id == MessageIdData(7, entry)
        await wire.quiet()


async def test_failover_says_who_is_active(tmp_path: Path) -> None:
    async with bench(tmp_path, Settings(failover_delay_s=0.05)) as b, await b.wire() as wire:
        assert isinstance(await wire.subscribe(sub_type=2, consumer_name="a"), Success)
        assert (await wire.expect(ActiveConsumerChange)).is_active
        async with await b.wire() as other:
            passive = await other.subscribe(sub_type=2, consumer_name="b")
            assert isinstance(passive, ActiveConsumerChange)
            assert not passive.is_active
            await other.expect(Success)
            await wire.produce()
            other.flow(10)
            wire.flow(10)
            await wire.published(1)
            wire.publish(2)
            kinds = {type((await wire.next())[1]) for _ in range(2)}
            assert kinds == {Deliver, SendReceipt}
            await other.quiet()
            wire.send(Cmd.CLOSE_CONSUMER, CloseConsumer(1, 3))
            assert (await other.expect(ActiveConsumerChange)).is_active
            assert (await other.expect(Deliver)).message_id == MessageIdData(7, 0)


async def test_last_message_id(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, await b.wire() as wire:
        await wire.subscribe(initial_position=1)
        wire.send(Cmd.GET_LAST_MESSAGE_ID, GetLastMessageId(1, 4))
        answer = await wire.expect(GetLastMessageIdResponse)
        assert answer.last_message_id == MessageIdData(NO_ID, NO_ID, -1, -1)
        assert answer.mark_delete is not None
        await wire.produce()
        wire.send(Cmd.SEND, Send(1, 1, 4), blob(1, num_messages=4))
        await wire.expect(SendReceipt)
        wire.send(Cmd.GET_LAST_MESSAGE_ID, GetLastMessageId(1, 5))
        answer = await wire.expect(GetLastMessageIdResponse)
        assert answer.last_message_id == MessageIdData(7, 0, -1, 3)


async def test_schemas(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, await b.wire() as wire:
        wire.send(Cmd.GET_SCHEMA, GetSchema(1, "t"))
        assert (await wire.expect(GetSchemaResponse)).error == 11
        schema = Schema("s", b"{}", 2)
        wire.send(Cmd.GET_OR_CREATE_SCHEMA, GetOrCreateSchema(2, "t", schema))
        made = await wire.expect(GetOrCreateSchemaResponse)
        assert made.version == bytes(8)
        wire.send(Cmd.GET_SCHEMA, GetSchema(3, "t", made.version))
        assert (await wire.expect(GetSchemaResponse)).schema == schema
        produced = await wire.produce(schema=schema)
        assert isinstance(produced, ProducerSuccess)
        assert produced.schema_version == bytes(8)
        wire.send(Cmd.GET_OR_CREATE_SCHEMA, GetOrCreateSchema(4, "t", Schema("s", b"{} ", 2)))
        newer = await wire.expect(GetOrCreateSchemaResponse)
        assert newer.version == (1).to_bytes(8)
        wire.send(Cmd.GET_OR_CREATE_SCHEMA, GetOrCreateSchema(5, "t", Schema("s", b"", 9)))
        assert (await wire.expect(GetOrCreateSchemaResponse)).error == 18
    async with bench(tmp_path) as b, await b.wire() as wire:
        wire.send(Cmd.GET_SCHEMA, GetSchema(1, "t"))
        assert (await wire.expect(GetSchemaResponse)).version == (1).to_bytes(8)


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


async def test_acknowledgement_answers(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, await b.wire() as wire:
        await wire.produce()
        await wire.published(1)
        await wire.subscribe(initial_position=1)
        wire.flow(1)
        message = await wire.expect(Deliver)
        wire.ack(message.message_id)
        await wire.quiet()
        wire.ack(message.message_id, request=77)
        answer = await wire.expect(AckResponse)
        assert (answer.request_id, answer.error) == (77, None)


async def test_permits_bound_delivery_and_batches_count_whole(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, await b.wire() as wire:
        await wire.produce()
        for number in range(4):
            wire.send(Cmd.SEND, Send(1, number * 10, 5), blob(number * 10, num_messages=5))
            await wire.expect(SendReceipt)
        await wire.subscribe(initial_position=1)
        await wire.quiet()
        wire.flow(6)  # a batch of 5, then one more goes with 1 permit left
        await wire.expect(Deliver)
        await wire.expect(Deliver)
        await wire.quiet()
        wire.flow(4)  # only now even
        await wire.quiet()
        wire.flow(1)
        await wire.expect(Deliver)
        wire.send(Cmd.CONSUMER_STATS, ConsumerStats(3, 1))
        stats = await wire.expect(ConsumerStatsResponse)
        assert (stats.backlog, stats.type) == (4, "Exclusive")


@pytest.mark.parametrize("sub_type", [0, 1, 2, 3])
async def test_unacknowledged_comes_again(tmp_path: Path, sub_type: int) -> None:
    async with bench(tmp_path) as b:
        async with await b.wire() as wire:
            await wire.produce()
            for number in range(1, 4):
                await wire.published(number)
            found = await wire.subscribe(sub_type=sub_type, initial_position=1)
            assert isinstance(found, Success)
            wire.flow(10)
            got: list[Message] = []
            while len(got) < 3:
                _, message = await wire.next()
                if isinstance(message, Deliver):
                    got.append(message)
            second = got[1]
            assert isinstance(second, Deliver)
            wire.ack(second.message_id, request=1)
            await wire.expect(AckResponse)
        async with await b.wire() as wire:
            await wire.subscribe(sub_type=sub_type)
            wire.flow(10)
            entries: list[int] = []
            while len(entries) < 2:
                _, message = await wire.next()
                if isinstance(message, Deliver) and message.message_id is not None:
                    entries.append(message.message_id.entry)
            assert entries == [0, 2]


async def test_negative_acknowledgement_counts(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, await b.wire() as wire:
        await wire.produce()
        await wire.published(1)
        await wire.subscribe(sub_type=1, initial_position=1)
        wire.flow(10)
        for count in range(3):
            message = await wire.expect(Deliver)
            assert (message.redelivery_count or 0) == count
            assert message.message_id is not None
            wire.send(Cmd.REDELIVER, Redeliver(1, [message.message_id]))


async def test_unsubscribe(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, await b.wire() as wire:
        await wire.subscribe(sub_type=1)
        await wire.subscribe(sub_type=1, consumer_id=2)
        wire.send(Cmd.UNSUBSCRIBE, Unsubscribe(1, 3))
        assert (await wire.expect(Error)).error == 5
        wire.send(Cmd.CLOSE_CONSUMER, CloseConsumer(2, 4))
        await wire.expect(Success)
        wire.send(Cmd.UNSUBSCRIBE, Unsubscribe(1, 5))
        await wire.expect(Success)
        topic = b.core.topics["persistent://public/default/t"]
        assert topic.subscriptions == {}


async def test_non_persistent(tmp_path: Path) -> None:
    topic = "non-persistent://public/default/live"
    async with bench(tmp_path) as b, await b.wire() as wire:
        await wire.produce(topic)
        await wire.published(1, b"nobody listens")
        await wire.subscribe(topic, initial_position=1)
        wire.flow(1)
        wire.publish(2, b"seen")
        kinds = [await wire.next() for _ in range(2)]
        assert {type(message) for _, message in kinds} == {Deliver, SendReceipt}
        await wire.published(3, b"no permit: dropped")
        wire.flow(1)
        await wire.quiet()
        stats = b.core.topics[topic].subscriptions["s"]
        assert stats.dropped == 1
        assert b.core.topics[topic].log.entries == 0


async def test_a_silent_client_is_closed(tmp_path: Path) -> None:
    async with bench(tmp_path, FAST) as b, await b.wire() as wire:
        kinds = []
        async with asyncio.timeout(5):
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


async def _drain(wire: Wire, count: int) -> list[int]:
    entries = []
    for _ in range(count):
        message = await wire.expect(Deliver)
        assert message.message_id is not None
        entries.append(message.message_id.entry)
    return entries


async def test_cumulative_acknowledgement(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, await b.wire() as wire:
        await wire.produce()
        for number in range(1, 11):
            await wire.published(number)
        await wire.subscribe(initial_position=1)
        wire.flow(10)
        assert await _drain(wire, 10) == list(range(10))
        wire.ack(MessageIdData(7, 6), kind=1, request=1)
        await wire.expect(AckResponse)
        wire.send(Cmd.REDELIVER, Redeliver(1))
        wire.flow(10)
        assert await _drain(wire, 3) == [7, 8, 9]


async def test_start_positions_of_readers(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, await b.wire() as wire:
        await wire.produce()
        for number in range(1, 6):
            await wire.published(number)
        start = MessageIdData(7, 2)
        await wire.subscribe(durable=False, start_message_id=start)
        wire.flow(10)
        assert await _drain(wire, 3) == [2, 3, 4]
        topic = b.core.topics["persistent://public/default/t"]
        assert not topic.subscriptions["s"].durable
        wire.send(Cmd.CLOSE_CONSUMER, CloseConsumer(1, 4))
        await wire.expect(Success)
        assert topic.subscriptions == {}
        await wire.subscribe(durable=False, rollback_s=60)
        wire.flow(10)
        assert await _drain(wire, 5) == [0, 1, 2, 3, 4]
