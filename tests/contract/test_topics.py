"""Topics: partitions, patterns, schemas, namespaces, deletion, retention."""

from __future__ import annotations

import re
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pulsar
import pytest
from pulsar import ConsumerType
from pulsar.schema import (
    Array,
    AvroSchema,
    Boolean,
    BytesSchema,
    Float,
    Integer,
    JsonSchema,
    Long,
    Map,
    Record,
    Schema,
    String,
    StringSchema,
)

from tests.contract.brokers import (
    EARLIEST,
    Target,
    connected,
    drain,
    empty,
    fill,
    read_all,
    receive,
    take,
)


def path(topic: str) -> str:
    """A topic's path under /admin/v2/."""
    return topic.replace("://", "/")


def partitioned(target: Target, topic: str, count: int) -> str:
    assert target.call("PUT", f"{path(topic)}/partitions", count).status == 204
    return topic


def test_partitions(target: Target, client: pulsar.Client, topic: str) -> None:
    partitioned(target, topic, 3)
    assert client.get_topic_partitions(topic) == [f"{topic}-partition-{n}" for n in range(3)]
    consumer = client.subscribe(topic, "s")
    sent = fill(client, topic, 30)
    messages = take(consumer, 30)
    assert sorted(m.data().decode() for m in messages) == sorted(sent)
    counts = Counter(m.topic_name() for m in messages)
    assert counts == {f"{topic}-partition-{n}": 10 for n in range(3)}
    assert all(m.topic_name().endswith(f"-{m.message_id().partition()}") for m in messages)


def test_a_key_has_one_partition(target: Target, client: pulsar.Client, topic: str) -> None:
    partitioned(target, topic, 4)
    consumer = client.subscribe(topic, "s")
    producer = client.create_producer(topic)
    for n in range(80):
        producer.send(b"%d" % n, partition_key=f"key-{n % 8}")
    places: dict[str, set[str]] = {}
    order: dict[str, list[int]] = {}
    for message in take(consumer, 80):
        places.setdefault(message.partition_key(), set()).add(message.topic_name())
        order.setdefault(message.partition_key(), []).append(int(message.data()))
    assert all(len(names) == 1 for names in places.values())
    assert len(set.union(*places.values())) > 1
    assert all(numbers == sorted(numbers) for numbers in order.values())


def test_partitions_of_a_missing_topic(client: pulsar.Client, topic: str) -> None:
    assert client.get_topic_partitions(topic) == [topic]


def test_more_partitions(target: Target, client: pulsar.Client, topic: str) -> None:
    partitioned(target, topic, 2)
    assert target.call("POST", f"{path(topic)}/partitions", 4).status == 204
    assert len(client.get_topic_partitions(topic)) == 4
    assert target.call("GET", f"{path(topic)}/partitions").json["partitions"] == 4


def test_reader_of_a_partition(target: Target, client: pulsar.Client, topic: str) -> None:
    partitioned(target, topic, 2)
    fill(client, topic, 10)
    parts = [read_all(client, f"{topic}-partition-{n}") for n in range(2)]
    assert [len(part) for part in parts] == [5, 5]


def test_failover_spreads_partitions(target: Target, topic: str) -> None:
    partitioned(target, topic, 4)
    with connected(target.url) as client:
        one = client.subscribe(topic, "s", ConsumerType.Failover, consumer_name="a")
        two = client.subscribe(topic, "s", ConsumerType.Failover, consumer_name="b")
        fill(client, topic, 40)
        counts = [
            Counter(m.topic_name()[-1] for m in drain(consumer, 1300)) for consumer in (one, two)
        ]
        assert [sum(count.values()) for count in counts] == [20, 20]
        assert not set(counts[0]) & set(counts[1])


def test_pattern(client: pulsar.Client, topic: str) -> None:
    for name in ("-cam-1", "-cam-2", "-mic-1"):
        fill(client, topic + name, 2)
    pattern = re.compile(f"{topic}-cam-.*")
    consumer = client.subscribe(pattern, "s", initial_position=EARLIEST)
    names = Counter(m.topic_name().rpartition("-")[2] for m in take(consumer, 4))
    assert names == {"1": 2, "2": 2}
    assert empty(consumer)


def test_pattern_beside_non_persistent(client: pulsar.Client, topic: str) -> None:
    other = topic.replace("persistent", "non-persistent", 1)
    live = client.create_producer(f"{other}-2")
    fill(client, f"{topic}-1", 1)
    consumer = client.subscribe(
        re.compile(f"{topic.partition('://')[2]}-.*"),
        "s",
        initial_position=EARLIEST,
        regex_subscription_mode=pulsar.RegexSubscriptionMode.AllTopics,
    )
    live.send(b"live")
    assert sorted(receive(consumer, 2)) == ["live", "m0"]


class Reading(Record):  # type: ignore[misc]  # pulsar has no types
    camera = String(required=True)
    frame = Integer()
    at_us = Long()
    loudness = Float()
    key = Boolean()
    boxes = Array(Integer())
    names = Map(String())


def reading() -> Any:
    return Reading(
        camera="küche",
        frame=7,
        at_us=1 << 50,
        loudness=0.5,
        key=True,
        boxes=[1, 2, 3],
        names={"a": "b"},
    )


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (BytesSchema(), b"\x00\xff"),
        (StringSchema(), "grüße"),
        (JsonSchema(Reading), reading()),
        (AvroSchema(Reading), reading()),
    ],
    ids=["bytes", "string", "json", "avro"],
)
def test_schema(client: pulsar.Client, topic: str, schema: Schema, value: object) -> None:
    producer = client.create_producer(topic, schema=schema)
    consumer = client.subscribe(topic, "s", schema=schema, initial_position=EARLIEST)
    producer.send(value)
    message = consumer.receive(8000)
    got = message.value()
    assert got == value if isinstance(value, (bytes, str)) else got.__dict__ == value.__dict__
    reader = client.create_reader(topic, pulsar.MessageId.earliest, schema=schema)
    again = reader.read_next(8000).value()
    assert type(again) is type(value)


KINDS = pytest.mark.parametrize("kind", [JsonSchema, AvroSchema], ids=["json", "avro"])


class Plain(Record):  # type: ignore[misc]  # pulsar has no types
    camera = String(required=True)


class Wider(Record):  # type: ignore[misc]  # pulsar has no types
    camera = String(required=True)
    lens = Integer(required_default=True)


class Demanding(Record):  # type: ignore[misc]  # pulsar has no types
    camera = String(required=True)
    lens = Integer(required=True)


def publish_with(client: pulsar.Client, topic: str, schema: Schema) -> None:
    client.create_producer(topic, schema=schema).close()


@KINDS
def test_a_schema_that_widens(client: pulsar.Client, topic: str, kind: type[Schema]) -> None:
    """A new field with a default is read by old code and written by it."""
    for record in (Plain, Wider, Plain):
        publish_with(client, topic, kind(record))
    client.subscribe(topic, "s", schema=kind(Plain))


@KINDS
def test_a_schema_that_does_not_fit(client: pulsar.Client, topic: str, kind: type[Schema]) -> None:
    """Neither other types nor fields that the old messages lack: consumers could not read them."""
    publish_with(client, topic, kind(Plain))
    other = AvroSchema if kind is JsonSchema else JsonSchema
    refused = [
        kind(Demanding),
        other(Plain),
        StringSchema(),
    ]
    for number, schema in enumerate(refused):
        with pytest.raises(pulsar.IncompatibleSchema):
            publish_with(client, topic, schema)
        with pytest.raises(pulsar.IncompatibleSchema):
            client.subscribe(topic, f"s{number}", schema=schema)


def test_a_consumers_schema_on_plain_messages(client: pulsar.Client, topic: str) -> None:
    """There is nothing to check it against, unless the topic is idle and empty."""
    client.subscribe(f"{topic}-idle", "s", schema=StringSchema())
    fill(client, topic, 1)
    with pytest.raises(pulsar.IncompatibleSchema):
        client.subscribe(topic, "s", schema=StringSchema())
    publish_with(client, topic, StringSchema())
    client.subscribe(topic, "s", schema=StringSchema())


def test_bytes_beside_a_schema(client: pulsar.Client, topic: str) -> None:
    """A producer without schema is let in, and its messages are read as they are."""
    client.create_producer(topic, schema=StringSchema()).send("text")
    client.create_producer(topic).send(b"bytes")
    assert read_all(client, topic) == ["text", "bytes"]


def test_missing_namespace(client: pulsar.Client) -> None:
    missing = "persistent://public/missing/t"
    with pytest.raises(pulsar.TopicNotFound):
        client.create_producer(missing)
    with pytest.raises(pulsar.TopicNotFound):
        client.subscribe(missing, "s")
    with pytest.raises(pulsar.TopicNotFound):
        client.create_reader(missing, pulsar.MessageId.earliest)


@pytest.fixture
def namespace(target: Target) -> Iterator[str]:
    """A namespace of this test's own."""
    name = f"public/contract-{uuid.uuid4().hex[:8]}"
    assert target.call("PUT", f"namespaces/{name}").status == 204
    yield name
    target.call("DELETE", f"namespaces/{name}?force=true")


def test_a_new_namespace(target: Target, client: pulsar.Client, namespace: str) -> None:
    topic = f"persistent://{namespace}/t"
    sent = fill(client, topic, 3)
    assert read_all(client, topic) == sent
    assert target.call("GET", f"persistent/{namespace}").json == [topic]


def test_deduplication_by_policy(target: Target, client: pulsar.Client, namespace: str) -> None:
    """What whoever creates a room asks for, whatever the broker's own default is."""
    assert target.call("POST", f"namespaces/{namespace}/deduplication", True).status == 204
    topic = f"persistent://{namespace}/t"
    producer = client.create_producer(topic, producer_name="p")
    for sequence in (1, 2, 2, 1, 3):
        producer.send(b"%d" % sequence, sequence_id=sequence)
    assert read_all(client, topic) == ["1", "2", "3"]


def unload(target: Target, topic: str) -> None:
    """Close a topic: Pulsar drops what it need not retain when a ledger is closed."""
    assert target.call("PUT", f"{path(topic)}/unload").status == 204


def settled(target: Target, topic: str, entries: int) -> bool:
    end = time.monotonic() + 8.0
    while time.monotonic() < end:
        stats = target.call("GET", f"{path(topic)}/internalStats").json
        if stats["numberOfEntries"] == entries:
            return True
        time.sleep(0.1)
    return False


def test_retention_of_the_broker(target: Target, client: pulsar.Client, topic: str) -> None:
    consumer = client.subscribe(topic, "s")
    sent = fill(client, topic, 5)
    assert receive(consumer, 5) == sent
    consumer.close()
    time.sleep(1.1)  # Pulsar writes a cursor once a second at most
    unload(target, topic)
    kept = sent if target.retains else []
    client.create_producer(topic).close()
    assert settled(target, topic, len(kept))
    assert read_all(client, topic) == kept


def test_retention_by_policy(target: Target, client: pulsar.Client, namespace: str) -> None:
    policy = {"retentionTimeInMinutes": 60, "retentionSizeInMB": 100}
    assert target.call("POST", f"namespaces/{namespace}/retention", policy).status == 204
    topic = f"persistent://{namespace}/t"
    sent = fill(client, topic, 5)
    unload(target, topic)
    client.create_producer(topic).close()
    assert read_all(client, topic) == sent


def test_what_a_subscription_wants_is_kept(
    target: Target, client: pulsar.Client, topic: str
) -> None:
    consumer = client.subscribe(topic, "s")
    sent = fill(client, topic, 5)
    consumer.close()
    unload(target, topic)
    assert receive(client.subscribe(topic, "s"), 5) == sent


def test_unloaded_under_live_clients(target: Target, client: pulsar.Client, topic: str) -> None:
    consumer = client.subscribe(topic, "s")
    producer = client.create_producer(topic)
    producer.send(b"before")
    assert receive(consumer, 1) == ["before"]
    unload(target, topic)
    producer.send(b"after")
    # An acknowledgement that the client still kept back is lost: "before" may come again.
    end = time.monotonic() + 8.0
    while receive(consumer, 1) != ["after"]:
        assert time.monotonic() < end


def test_backlog(target: Target, client: pulsar.Client, topic: str) -> None:
    """It counts entries, not the messages in them."""
    consumer = client.subscribe(topic, "s")
    producer = client.create_producer(
        topic,
        batching_enabled=True,
        batching_max_messages=50,
        batching_max_publish_delay_ms=1000,
    )
    for n in range(100):
        producer.send_async(b"%d" % n, lambda result, place: None)
    producer.flush()
    stats = target.call("GET", f"{path(topic)}/stats").json
    assert stats["subscriptions"]["s"]["msgBacklog"] == 2
    assert len(take(consumer, 100)) == 100
    consumer.acknowledge_cumulative(consumer.get_last_message_id())
    end = time.monotonic() + 8.0
    while target.call("GET", f"{path(topic)}/stats").json["subscriptions"]["s"]["msgBacklog"]:
        assert time.monotonic() < end
        time.sleep(0.05)


def test_deleted(target: Target, client: pulsar.Client, topic: str) -> None:
    producer = client.create_producer(topic)
    producer.send(b"old")
    assert target.call("DELETE", path(topic)).status == 412
    producer.close()
    assert target.call("DELETE", path(topic)).status == 204
    assert target.call("GET", f"{path(topic)}/stats").status == 404
    fill(client, topic, 1)
    assert read_all(client, topic) == ["m0"]
