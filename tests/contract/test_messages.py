"""What goes in comes out: payloads, metadata, batches, compression, chunks, readers."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pulsar
import pytest

from tests.contract.brokers import (
    EARLIEST,
    Target,
    drain,
    empty,
    fill,
    read_all,
    receive,
    take,
    texts,
)


def ignore(result: Any, place: Any) -> None:
    assert result == pulsar.Result.Ok


def send_all(producer: pulsar.Producer, payloads: list[bytes], **more: Any) -> None:
    for payload in payloads:
        producer.send_async(payload, ignore, **more)
    producer.flush()


def test_everything_a_message_carries(client: pulsar.Client, topic: str) -> None:
    consumer = client.subscribe(topic, "s")
    producer = client.create_producer(topic, producer_name="camera")
    sent = producer.send(
        b"\x00hello\xff",
        properties={"a": "1", "ключ": "значение"},
        partition_key="k",
        ordering_key="o",
        event_timestamp=1234567,
    )
    message = consumer.receive(8000)
    assert message.data() == b"\x00hello\xff"
    assert message.properties() == {"a": "1", "ключ": "значение"}
    assert (message.partition_key(), message.ordering_key()) == ("k", "o")
    assert message.event_timestamp() == 1234567
    assert message.producer_name() == "camera"
    assert message.topic_name() == topic
    assert message.redelivery_count() == 0
    assert abs(message.publish_timestamp() - time.time_ns() // 1_000_000) < 60_000
    assert message.message_id() == sent
    consumer.acknowledge(message)
    assert empty(consumer)


def test_ids_grow(client: pulsar.Client, topic: str) -> None:
    producer = client.create_producer(topic)
    places = [producer.send(b"m%d" % n) for n in range(5)]
    assert places == sorted(places)
    assert [p.entry_id() for p in places] == [places[0].entry_id() + n for n in range(5)]
    assert {p.batch_index() for p in places} == {-1}
    assert {p.partition() for p in places} == {-1}


def test_an_empty_payload(client: pulsar.Client, topic: str) -> None:
    consumer = client.subscribe(topic, "s")
    client.create_producer(topic).send(b"")
    assert take(consumer, 1)[0].data() == b""


@pytest.mark.parametrize("kind", ["NONE", "LZ4", "ZLib", "ZSTD", "SNAPPY"])
@pytest.mark.parametrize("batching", [False, True], ids=["single", "batches"])
def test_compression(client: pulsar.Client, topic: str, kind: str, batching: bool) -> None:
    compression = getattr(pulsar.CompressionType, kind)
    producer = client.create_producer(
        topic, compression_type=compression, batching_enabled=batching
    )
    consumer = client.subscribe(topic, "s", initial_position=EARLIEST)
    sent = [f"{n}" * 100 for n in range(50)]
    send_all(producer, [text.encode() for text in sent])
    assert receive(consumer, 50) == sent


def batches(client: pulsar.Client, topic: str, count: int, size: int) -> None:
    """Publish `count` messages in batches of `size`."""
    producer = client.create_producer(
        topic,
        batching_enabled=True,
        batching_max_messages=size,
        batching_max_publish_delay_ms=1000,
    )
    send_all(producer, [b"m%d" % n for n in range(count)])
    producer.close()


def test_batches_and_their_indexes(client: pulsar.Client, topic: str) -> None:
    batches(client, topic, 20, 10)
    consumer = client.subscribe(topic, "s", initial_position=EARLIEST)
    got = take(consumer, 20)
    assert texts(got) == [f"m{n}" for n in range(20)]
    places = [m.message_id() for m in got]
    assert [p.batch_index() for p in places] == [*range(10), *range(10)]
    first, second = places[0].entry_id(), places[10].entry_id()
    assert second == first + 1
    assert [p.entry_id() for p in places] == [first] * 10 + [second] * 10


def test_batches_need_permits(client: pulsar.Client, topic: str) -> None:
    batches(client, topic, 100, 10)
    small = client.subscribe(topic, "s", initial_position=EARLIEST, receiver_queue_size=3)
    assert receive(small, 100) == [f"m{n}" for n in range(100)]


def test_part_of_a_batch_acknowledged(client: pulsar.Client, topic: str) -> None:
    """Without index acknowledgement the broker counts a batch when all of it is acknowledged."""
    batches(client, topic, 10, 10)
    consumer = client.subscribe(topic, "s", initial_position=EARLIEST)
    assert len(receive(consumer, 6)) == 6
    consumer.close()
    again = client.subscribe(topic, "s")
    assert receive(again, 10) == [f"m{n}" for n in range(10)]
    again.close()
    last = client.subscribe(topic, "s")
    assert empty(last)


def test_index_acknowledgement_is_off(client: pulsar.Client, topic: str) -> None:
    """The client asks for it, the broker's default is not to keep it (as Pulsar's is)."""
    batches(client, topic, 10, 10)
    consumer = client.subscribe(topic, "s", initial_position=EARLIEST, batch_index_ack_enabled=True)
    assert len(receive(consumer, 6)) == 6
    consumer.close()
    again = client.subscribe(topic, "s", batch_index_ack_enabled=True)
    assert receive(again, 10) == [f"m{n}" for n in range(10)]


def test_key_based_batches(client: pulsar.Client, topic: str) -> None:
    producer = client.create_producer(
        topic, batching_enabled=True, batching_type=pulsar.BatchingType.KeyBased
    )
    for n in range(30):
        producer.send_async(b"%d" % n, ignore, partition_key=f"k{n % 3}")
    producer.flush()
    reader = client.create_reader(topic, pulsar.MessageId.earliest)
    keys = [reader.read_next(8000).partition_key() for _ in range(30)]
    assert keys == sorted(keys)


def test_chunks(client: pulsar.Client, topic: str) -> None:
    payload = bytes(range(256)) * (12 * 4096)
    consumer = client.subscribe(topic, "s", initial_position=EARLIEST)
    producer = client.create_producer(topic, chunking_enabled=True)
    producer.send(payload)
    producer.send(b"small")
    first, second = consumer.receive(15_000), consumer.receive(8000)
    assert first.data() == payload
    assert second.data() == b"small"
    consumer.acknowledge(first)
    consumer.acknowledge(second)
    consumer.close()
    assert empty(client.subscribe(topic, "s"))


def test_too_large_without_chunks(client: pulsar.Client, topic: str) -> None:
    producer = client.create_producer(topic)
    with pytest.raises(pulsar.MessageTooBig):
        producer.send(bytes(6 * 1024 * 1024))
    consumer = client.subscribe(topic, "s")
    producer.send(bytes(5 * 1024 * 1024 - 1000))
    assert len(consumer.receive(8000).data()) == 5 * 1024 * 1024 - 1000


def test_reader(client: pulsar.Client, topic: str) -> None:
    sent = fill(client, topic, 10)
    reader = client.create_reader(topic, pulsar.MessageId.earliest)
    got, places = [], []
    while reader.has_message_available():
        message = reader.read_next(8000)
        got.append(message.data().decode())
        places.append(message.message_id())
    assert got == sent
    behind = client.create_reader(topic, places[4])
    assert behind.read_next(8000).data() == b"m5"
    including = client.create_reader(topic, places[4], start_message_id_inclusive=True)
    assert including.read_next(8000).data() == b"m4"


def test_reader_at_the_end(client: pulsar.Client, topic: str) -> None:
    fill(client, topic, 3)
    tail = client.create_reader(topic, pulsar.MessageId.latest)
    assert not tail.has_message_available()
    last = client.create_reader(topic, pulsar.MessageId.latest, start_message_id_inclusive=True)
    assert last.has_message_available()
    assert last.read_next(8000).data() == b"m2"
    client.create_producer(topic).send(b"new")
    assert tail.read_next(8000).data() == b"new"


def test_readers_do_not_disturb_each_other(client: pulsar.Client, topic: str) -> None:
    sent = fill(client, topic, 5)
    assert read_all(client, topic) == sent
    assert read_all(client, topic) == sent


def test_reader_inside_a_batch(client: pulsar.Client, topic: str) -> None:
    batches(client, topic, 10, 10)
    reader = client.create_reader(topic, pulsar.MessageId.earliest)
    places = [reader.read_next(8000).message_id() for _ in range(10)]
    assert read_all(client, topic, places[6]) == ["m7", "m8", "m9"]


def test_reader_seeks(client: pulsar.Client, topic: str) -> None:
    producer = client.create_producer(topic)
    places = [producer.send(b"m%d" % n) for n in range(10)]
    reader = client.create_reader(topic, pulsar.MessageId.earliest)
    for _ in range(10):
        reader.read_next(8000)
    reader.seek(places[3])
    assert reader.read_next(8000).data() == b"m4"
    reader.seek(pulsar.MessageId.earliest)
    assert reader.read_next(8000).data() == b"m0"


def last_id(consumer: pulsar.Consumer) -> tuple[int, int]:
    place = consumer.get_last_message_id()
    return place.entry_id(), place.batch_index()


def test_last_message_id(client: pulsar.Client, topic: str) -> None:
    consumer = client.subscribe(topic, "s")
    assert last_id(consumer) == (-1, -1)
    producer = client.create_producer(topic)
    sent = [producer.send(b"m%d" % n) for n in range(3)][-1]
    assert last_id(consumer) == (sent.entry_id(), -1)
    batches(client, topic, 10, 10)
    assert last_id(consumer) == (sent.entry_id() + 1, 9)


def test_two_producers_one_topic(client: pulsar.Client, topic: str) -> None:
    consumer = client.subscribe(topic, "s")
    one, two = client.create_producer(topic), client.create_producer(topic)
    assert one.producer_name() != two.producer_name()
    for n in range(20):
        (one, two)[n % 2].send(b"%d" % n)
    assert receive(consumer, 20) == [str(n) for n in range(20)]


def test_listener(client: pulsar.Client, topic: str) -> None:
    got: list[bytes] = []

    def listen(consumer: pulsar.Consumer, message: pulsar.Message) -> None:
        consumer.acknowledge(message)
        got.append(message.data())

    client.subscribe(topic, "s", message_listener=listen)
    fill(client, topic, 10)
    until(lambda: len(got) == 10)
    assert got == [b"m%d" % n for n in range(10)]


def until(condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "It never came true."
        time.sleep(0.01)


def test_non_persistent(target: Target, client: pulsar.Client, topic: str) -> None:
    name = topic.replace("persistent", "non-persistent", 1)
    producer = client.create_producer(name)
    producer.send(b"nobody listens")
    consumer = client.subscribe(name, "s", initial_position=EARLIEST)
    producer.send(b"live")
    assert receive(consumer, 1) == ["live"]
    assert empty(consumer)
    assert drain(consumer) == []
