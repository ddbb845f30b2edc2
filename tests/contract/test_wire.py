"""What brokers answer on the wire: the same raw frames go to each of them.

Clients of other languages depend on details that the Python client does not show.
"""

from __future__ import annotations

import asyncio
import struct
import uuid
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.broker_protocol.wire import Wire, blob, dial
from tests.contract.brokers import Target
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
from wtp.broker.embedded.dispatch import on_ring
from wtp.broker.embedded.frames import command, frame
from wtp.broker.embedded.numbers import LATEST_ID, NO_ID, Cmd
from wtp.broker.embedded.protobuf import Message

SHARED, FAILOVER, KEY_SHARED = 1, 2, 3
EARLIEST = 1
EXCLUSIVE, WAIT, FENCE = 1, 2, 3


class Dialler:
    """Opens connections to one broker, and closes them at the end."""

    def __init__(self, target: Target) -> None:
        parts = urlsplit(target.url)
        self.host, self.port = str(parts.hostname), int(parts.port or 6650)
        self.open: list[Wire] = []

    async def __call__(self, *, connect: bool = True) -> Wire:
        wire = await dial(self.host, self.port, connect=connect)
        self.open.append(wire)
        return wire


@pytest.fixture
async def dialled(target: Target) -> AsyncIterator[Dialler]:
    dialler = Dialler(target)
    yield dialler
    for wire in dialler.open:
        await wire.__aexit__(None, None, None)


@pytest.fixture
async def wire(dialled: Dialler, topic: str) -> Wire:
    """A connection that knows where the topic is."""
    made = await dialled()
    await made.locate(topic)
    return made


def place(message: MessageIdData | None) -> tuple[int, int]:
    assert message is not None
    return message.ledger, message.entry


async def deliveries(wire: Wire, count: int) -> list[int]:
    """Entries of the next deliveries."""
    return [place((await wire.expect(Deliver)).message_id)[1] for _ in range(count)]


async def refused(answer: Message, code: int) -> None:
    assert isinstance(answer, Error), answer
    assert answer.error == code, answer


async def test_connected(dialled: Dialler) -> None:
    wire = await dialled(connect=False)
    answer = await wire.connect(version=15)
    assert answer.protocol_version == 15
    assert answer.max_message_size == 5242880
    assert answer.feature_flags is not None
    assert answer.feature_flags.encode() == b"\x20\x01\x28\x01\x30\x01"
    newer = await dialled(connect=False)
    assert (await newer.connect(version=99)).protocol_version == 21


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(command(Cmd.CONNECT, Connect("x", 21)), id="second-connect"),
        pytest.param(frame(99, b""), id="unknown-command"),
        pytest.param(command(Cmd.SUCCESS, Success(1)), id="answer-of-a-broker"),
        pytest.param(struct.pack(">I", 5242880 + 10240 + 1), id="oversize"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", id="http"),
        pytest.param(frame(Cmd.SEND, Send(9, 1).encode(), blob(1)), id="unknown-producer"),
        pytest.param(command(Cmd.CONSUMER_STATS, ConsumerStats(1, 9)), id="stats-of-nobody"),
    ],
)
async def test_closed_without_a_word(dialled: Dialler, data: bytes) -> None:
    wire = await dialled()
    wire.writer.write(data)
    assert await wire.closed()


async def test_command_before_connect(dialled: Dialler, topic: str) -> None:
    wire = await dialled(connect=False)
    wire.send(Cmd.LOOKUP, Lookup(topic, 1))
    assert await wire.closed()


async def test_lookup(dialled: Dialler, target: Target, topic: str) -> None:
    wire = await dialled()
    for name in (topic, topic.removeprefix("persistent://public/default/")):
        found = await wire.locate(name)
        assert (found.response, found.url) == (1, target.url)
        wire.send(Cmd.PARTITIONED_METADATA, PartitionedMetadata(name, 2))
        answer = await wire.expect(PartitionedMetadataResponse)
        assert (answer.partitions, answer.response) == (0, 0)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("persistent://public/missing/t", 11),
        ("persistent://nobody/default/t", 11),
        ("kafka://public/default/t", 17),
    ],
)
async def test_names_that_cannot_be(dialled: Dialler, name: str, code: int) -> None:
    wire = await dialled()
    wire.send(Cmd.LOOKUP, Lookup(name, 1))
    found = await wire.expect(LookupResponse)
    assert (found.response, found.error) == (2, code)
    wire.send(Cmd.PARTITIONED_METADATA, PartitionedMetadata(name, 2))
    answer = await wire.expect(PartitionedMetadataResponse)
    assert (answer.response, answer.error) == (1, code)
    if code == 11:
        assert "Namespace not found" in (found.message or "")


async def test_the_same_ids_again(wire: Wire, topic: str) -> None:
    first, second = await wire.produce(topic), await wire.produce(topic)
    assert isinstance(first, ProducerSuccess)
    assert isinstance(second, ProducerSuccess)
    assert first.name == second.name != ""
    assert isinstance(await wire.subscribe(topic), Success)
    assert isinstance(await wire.subscribe(topic), Success)


async def test_unknown_ids(wire: Wire) -> None:
    wire.send(Cmd.CLOSE_PRODUCER, CloseProducer(9, 1))
    assert (await wire.expect(Success)).request_id == 1
    wire.send(Cmd.CLOSE_CONSUMER, CloseConsumer(9, 2))
    assert (await wire.expect(Success)).request_id == 2
    wire.send(Cmd.UNSUBSCRIBE, Unsubscribe(9, 3))
    assert (await wire.expect(Error)).error == 1
    wire.send(Cmd.GET_LAST_MESSAGE_ID, GetLastMessageId(9, 4))
    assert (await wire.expect(Error)).error == 1
    wire.send(Cmd.SEEK, Seek(9, 5))
    assert (await wire.expect(Error)).error == 1
    wire.send(Cmd.REDELIVER, Redeliver(9))
    wire.flow(5, consumer_id=9)
    await wire.quiet()


async def test_transactions_are_refused(wire: Wire) -> None:
    wire.send(Cmd.NEW_TXN, Transaction(8))
    answer = await wire.expect(Error)
    assert (answer.request_id, answer.error) == (8, 22)


async def test_receipts(wire: Wire, target: Target, topic: str) -> None:
    made = await wire.produce(topic, name="mine")
    assert isinstance(made, ProducerSuccess)
    assert (made.name, made.last_sequence_id, made.ready) == ("mine", -1, True)
    first = await wire.published(3)
    ledger, entry = place(first.message_id)
    assert entry == 0
    assert (first.producer_id, first.sequence_id) == (1, 3)
    assert first.highest_sequence_id == NO_ID
    again = await wire.published(3)
    again_at = (NO_ID, NO_ID) if target.deduplicates else (ledger, 1)
    assert place(again.message_id) == again_at
    wire.send(Cmd.SEND, Send(1, 4, 3, highest_sequence_id=6), blob(4, num_messages=3))
    assert (await wire.expect(SendReceipt)).highest_sequence_id == 6
    wire.send(Cmd.CLOSE_PRODUCER, CloseProducer(1, 5))
    assert (await wire.expect(Success)).request_id == 5
    reopened = await wire.produce(topic, name="mine")
    assert isinstance(reopened, ProducerSuccess)
    assert reopened.last_sequence_id == (6 if target.deduplicates else -1)


async def test_checksums(wire: Wire, topic: str) -> None:
    await wire.produce(topic)
    wire.send(Cmd.SEND, Send(1, 1), blob(1)[:-1] + b"X")
    answer = await wire.expect(SendError)
    assert (answer.producer_id, answer.sequence_id, answer.error) == (1, 1, 9)
    bare = blob(2)[6:]
    wire.send(Cmd.SEND, Send(1, 2), bare)
    await wire.expect(SendReceipt)


async def test_the_blob_comes_as_it_was_sent(wire: Wire, topic: str) -> None:
    await wire.produce(topic)
    sent = blob(1, b"odd \x00 payload", partition_key="k", event_ms=5)
    wire.send(Cmd.SEND, Send(1, 1), sent)
    receipt = await wire.expect(SendReceipt)
    await wire.subscribe(topic, initial_position=EARLIEST)
    wire.flow(1)
    message = await wire.expect(Deliver)
    assert place(message.message_id) == place(receipt.message_id)
    assert (message.consumer_id, message.redelivery_count or 0) == (1, 0)
    assert wire.blob == sent


async def test_names_taken(wire: Wire, dialled: Dialler, topic: str) -> None:
    other = await dialled()
    await wire.produce(topic, name="n")
    await wire.subscribe(topic)
    async with wire.alive():
        await refused(await other.produce(topic, name="n"), 16)
        await refused(await other.subscribe(topic), 5)
        await refused(await other.subscribe(topic, sub_type=SHARED), 5)


async def test_a_dead_holder_loses_its_place(wire: Wire, dialled: Dialler, topic: str) -> None:
    """The holder does not answer PING: after 5 s the newcomer has its name and subscription."""
    await wire.produce(topic, name="n")
    await wire.subscribe(topic)
    other, third = await dialled(), await dialled()
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        other.patience_s = third.patience_s = 8.0
        produced = group.create_task(other.produce(topic, name="n"))
        subscribed = group.create_task(third.subscribe(topic))
    assert isinstance(produced.result(), ProducerSuccess)
    assert isinstance(subscribed.result(), Success)
    assert await wire.closed()


async def test_exclusive_producers(wire: Wire, dialled: Dialler, topic: str) -> None:
    other = await dialled()
    made = await wire.produce(topic, access=EXCLUSIVE)
    assert isinstance(made, ProducerSuccess)
    assert made.topic_epoch == 0
    await refused(await other.produce(topic, access=EXCLUSIVE), 25)
    await refused(await other.produce(topic), 16)
    wire.send(Cmd.CLOSE_PRODUCER, CloseProducer(1, 5))
    await wire.expect(Success)
    assert isinstance(await other.produce(topic), ProducerSuccess)
    await refused(await wire.produce(topic, access=EXCLUSIVE), 25)


async def test_wait_for_exclusive(wire: Wire, dialled: Dialler, topic: str) -> None:
    other = await dialled()
    await wire.produce(topic, access=WAIT)
    waiting = await other.produce(topic, access=WAIT)
    assert isinstance(waiting, ProducerSuccess)
    assert waiting.ready is False
    wire.send(Cmd.CLOSE_PRODUCER, CloseProducer(1, 5))
    later = await other.expect(ProducerSuccess)
    assert later.ready
    assert (later.request_id, later.topic_epoch) == (waiting.request_id, 1)
    await other.published(1)


async def test_fencing(wire: Wire, dialled: Dialler, topic: str) -> None:
    """The fenced one is told nothing; its next SEND closes its connection."""
    other = await dialled()
    await wire.produce(topic, access=EXCLUSIVE)
    await wire.published(1)
    taken = await other.produce(topic, access=FENCE)
    assert isinstance(taken, ProducerSuccess)
    assert taken.topic_epoch == 1
    await wire.quiet()
    wire.publish(2)
    assert await wire.closed()
    await other.published(1)
    late = await dialled()
    await refused(await late.produce(topic, access=EXCLUSIVE, topic_epoch=0), 25)


async def test_schemas(wire: Wire, topic: str) -> None:
    wire.send(Cmd.GET_SCHEMA, GetSchema(1, topic))
    assert (await wire.expect(GetSchemaResponse)).error == 11
    schema = Schema("s", b"", 1)
    made = await wire.produce(topic, schema=schema)
    assert isinstance(made, ProducerSuccess)
    assert made.schema_version == bytes(8)
    wire.send(Cmd.GET_SCHEMA, GetSchema(2, topic))
    found = await wire.expect(GetSchemaResponse)
    assert found.schema is not None
    assert (found.schema.type, found.version) == (1, bytes(8))
    wire.send(Cmd.GET_OR_CREATE_SCHEMA, GetOrCreateSchema(3, topic, schema))
    assert (await wire.expect(GetOrCreateSchemaResponse)).version == bytes(8)
    wire.send(Cmd.GET_OR_CREATE_SCHEMA, GetOrCreateSchema(4, topic, Schema("s", b"", 9)))
    assert (await wire.expect(GetOrCreateSchemaResponse)).error == 18


async def published(wire: Wire, topic: str, count: int) -> list[MessageIdData]:
    await wire.produce(topic)
    places = []
    for number in range(1, count + 1):
        receipt = await wire.published(number)
        assert receipt.message_id is not None
        places.append(receipt.message_id)
    return places


@pytest.mark.parametrize("where", ["id", "time", "earliest", "latest"])
async def test_seek(wire: Wire, topic: str, where: str) -> None:
    places = await published(wire, topic, 5)
    await wire.subscribe(topic, initial_position=EARLIEST)
    wire.flow(100)
    assert await deliveries(wire, 5) == [0, 1, 2, 3, 4]
    seek: dict[str, Any] = {
        "id": Seek(1, 7, MessageIdData(*place(places[3]))),
        "time": Seek(1, 7, publish_ms=1),
        "earliest": Seek(1, 7, MessageIdData(NO_ID, NO_ID)),
        "latest": Seek(1, 7, MessageIdData(LATEST_ID, LATEST_ID)),
    }
    wire.send(Cmd.SEEK, seek[where])
    closing = await wire.expect(CloseConsumer)
    assert (closing.consumer_id, closing.request_id) == (1, NO_ID)
    assert (await wire.expect(Success)).request_id == 7
    await wire.subscribe(topic)
    wire.flow(100)
    first = {"id": 3, "time": 0, "earliest": 0, "latest": 5}[where]
    assert await deliveries(wire, 5 - first) == [*range(first, 5)]
    await wire.quiet()


async def test_failover_says_who_is_active(wire: Wire, dialled: Dialler, topic: str) -> None:
    other = await dialled()
    kind = {"sub_type": FAILOVER}
    one, two = next(
        (f"{n}", f"{n}-other") for n in range(100) if on_ring(topic, [f"{n}", f"{n}-other"]) == 0
    )
    assert isinstance(await wire.subscribe(topic, consumer_name=one, **kind), Success)
    assert (await wire.expect(ActiveConsumerChange)).is_active
    first, second = await other.subscribe(topic, consumer_name=two, **kind), await other.next()
    answers = {type(first): first, type(second[1]): second[1]}
    passive = answers[ActiveConsumerChange]
    assert isinstance(passive, ActiveConsumerChange)
    assert not passive.is_active
    assert Success in answers
    other.flow(10)
    await wire.produce(topic)
    await wire.published(1)
    await other.quiet()
    wire.send(Cmd.CLOSE_CONSUMER, CloseConsumer(1, 3))
    began = asyncio.get_running_loop().time()
    assert (await other.expect(ActiveConsumerChange)).is_active
    assert await deliveries(other, 1) == [0]
    assert asyncio.get_running_loop().time() - began > 0.8


async def test_last_message_id(wire: Wire, topic: str) -> None:
    await wire.subscribe(topic, initial_position=EARLIEST)
    wire.send(Cmd.GET_LAST_MESSAGE_ID, GetLastMessageId(1, 4))
    answer = await wire.expect(GetLastMessageIdResponse)
    empty = answer.last_message_id
    assert empty is not None
    assert (place(empty), empty.partition, empty.batch_index) == ((NO_ID, NO_ID), -1, -1)
    assert answer.mark_delete is not None
    await wire.produce(topic)
    wire.send(Cmd.SEND, Send(1, 1, 4), blob(1, num_messages=4))
    receipt = await wire.expect(SendReceipt)
    wire.send(Cmd.GET_LAST_MESSAGE_ID, GetLastMessageId(1, 5))
    last = (await wire.expect(GetLastMessageIdResponse)).last_message_id
    assert last is not None
    assert (place(last), last.batch_index) == (place(receipt.message_id), 3)


async def test_acknowledgement_answers(wire: Wire, topic: str) -> None:
    await published(wire, topic, 1)
    await wire.subscribe(topic, initial_position=EARLIEST)
    wire.flow(1)
    message = await wire.expect(Deliver)
    wire.ack(message.message_id)
    await wire.quiet()
    wire.ack(message.message_id, request=77)
    answer = await wire.expect(AckResponse)
    assert (answer.consumer_id, answer.request_id, answer.error) == (1, 77, None)


async def test_permits_and_batches(wire: Wire, topic: str) -> None:
    """Permits are messages, not entries; a real Pulsar may send an entry or two too many."""
    await wire.produce(topic)
    for number in range(20):
        wire.send(Cmd.SEND, Send(1, number * 10, 5), blob(number * 10, num_messages=5))
        await wire.expect(SendReceipt)
    await wire.subscribe(topic, initial_position=EARLIEST)
    await wire.quiet()
    wire.flow(5)
    assert await deliveries(wire, 1) == [0]
    wire.send(Cmd.CONSUMER_STATS, ConsumerStats(3, 1))
    came = 1
    while not isinstance(stats := (await wire.next())[1], ConsumerStatsResponse):
        came += isinstance(stats, Deliver)
    assert (stats.request_id, stats.backlog, stats.type) == (3, 20, "Exclusive")
    assert came <= 5


async def test_negative_acknowledgement_counts(wire: Wire, topic: str) -> None:
    await published(wire, topic, 1)
    await wire.subscribe(topic, sub_type=SHARED, initial_position=EARLIEST)
    wire.flow(10)
    for count in range(3):
        message = await wire.expect(Deliver)
        assert (message.redelivery_count or 0) == count
        assert message.message_id is not None
        wire.send(Cmd.REDELIVER, Redeliver(1, [message.message_id]))


async def test_unsubscribe_beside_others(wire: Wire, topic: str) -> None:
    await wire.subscribe(topic, sub_type=SHARED)
    await wire.subscribe(topic, sub_type=SHARED, consumer_id=2)
    wire.send(Cmd.UNSUBSCRIBE, Unsubscribe(1, 3))
    answer = await wire.expect(Error)
    assert (answer.request_id, answer.error) == (3, 1)
    wire.send(Cmd.CLOSE_CONSUMER, CloseConsumer(2, 4))
    await wire.expect(Success)
    wire.send(Cmd.UNSUBSCRIBE, Unsubscribe(1, 5))
    assert (await wire.expect(Success)).request_id == 5


async def test_a_reader_starts_inclusively(wire: Wire, topic: str) -> None:
    """The broker includes the start id; clients leave it out themselves."""
    places = await published(wire, topic, 5)
    start = MessageIdData(*place(places[2]))
    await wire.subscribe(topic, durable=False, start_message_id=start)
    wire.flow(10)
    assert await deliveries(wire, 3) == [2, 3, 4]


async def test_non_persistent(wire: Wire, topic: str) -> None:
    """What finds no permit is dropped."""
    name = topic.replace("persistent", "non-persistent", 1)
    await wire.locate(name)
    await wire.produce(name)
    receipt = await wire.published(1, b"nobody listens")
    assert place(receipt.message_id) == (0, 0)
    await wire.subscribe(name, initial_position=EARLIEST)
    wire.flow(1)
    wire.publish(2, b"seen")
    kinds = [await wire.next() for _ in range(2)]
    assert {type(message) for _, message in kinds} == {Deliver, SendReceipt}
    await wire.published(3, b"no permit: dropped")
    wire.flow(1)
    await wire.quiet()


async def test_topics_of_a_namespace(wire: Wire, topic: str) -> None:
    volatile = topic.replace("persistent", "non-persistent", 1)
    await wire.locate(volatile)
    await wire.produce(topic)
    await wire.produce(volatile, 2)
    answers = {}
    for mode in (0, 1, 2):
        wire.send(Cmd.GET_TOPICS, GetTopics(1, "public/default", mode))
        answers[mode] = await wire.expect(GetTopicsResponse)
    found = {mode: [n for n in a.topics if n in (topic, volatile)] for mode, a in answers.items()}
    assert found[0] == [topic]
    assert found[1] == [volatile]
    assert sorted(found[2]) == sorted([topic, volatile])
    assert all(answer.changed and answer.topics_hash for answer in answers.values())
    wire.send(Cmd.GET_TOPICS, GetTopics(9, "public/missing"))
    assert (await wire.expect(GetTopicsResponse)).topics == []


@pytest.fixture
def short() -> str:
    """Beginning of topic names; patterns of more than 50 characters are not filtered by Pulsar."""
    return f"persistent://public/default/{uuid.uuid4().hex[:8]}"


async def test_topics_by_pattern(wire: Wire, short: str) -> None:
    pattern = f"{short}-.*"
    await wire.locate(f"{short}-1")
    await wire.produce(f"{short}-1")
    wire.send(Cmd.GET_TOPICS, GetTopics(1, "public/default", 0, pattern))
    first = await wire.expect(GetTopicsResponse)
    assert (first.topics, first.filtered) == ([f"{short}-1"], True)
    again = GetTopics(1, "public/default", 0, pattern, first.topics_hash)
    wire.send(Cmd.GET_TOPICS, again)
    same = await wire.expect(GetTopicsResponse)
    assert (same.topics, same.changed) == ([], False)


async def test_watching_topics(wire: Wire, dialled: Dialler, short: str) -> None:
    other = await dialled()
    pattern = f"{short}-c.*"
    wire.send(Cmd.WATCH_TOPICS, WatchTopics(1, 5, "public/default", pattern))
    first = await wire.expect(WatchTopicsSuccess)
    assert (first.watcher_id, first.topics) == (5, [])
    for number, name in enumerate((f"{short}-mic", f"{short}-cam")):
        await other.locate(name)
        await other.produce(name, number + 1)
    update = await wire.expect(WatchTopicsUpdate)
    assert update.new_topics == [f"{short}-cam"]
    assert update.topics_hash != first.topics_hash
    wire.send(Cmd.WATCH_TOPICS_CLOSE, WatchTopicsClose(2, 5))
    await wire.expect(Success)


async def test_both_sides_are_asked_for_signs_of_life(wire: Wire) -> None:
    wire.send(Cmd.PING, Empty())
    kind, _ = await wire.next()
    assert kind == Cmd.PONG
