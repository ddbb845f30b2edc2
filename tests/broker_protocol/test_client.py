"""The unmodified `pulsar` client against the embedded broker."""

from __future__ import annotations

import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pulsar
import pytest
from pulsar import ConsumerType, InitialPosition

from tests.broker_protocol.running import BrokerThread, broker, client
from wtp.broker.embedded.values import FsyncPolicy

EARLIEST = InitialPosition.Earliest


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerThread]:
    with broker(tmp_path_factory.mktemp("broker"), failover_delay_s=0.1) as thread:
        yield thread


@pytest.fixture
def c(running: BrokerThread) -> Iterator[pulsar.Client]:
    with client(running.url) as made:
        yield made


@pytest.fixture
def topic(request: pytest.FixtureRequest) -> str:
    return re.sub(r"\W", "-", request.node.name)


def receive(consumer: pulsar.Consumer, count: int, timeout_ms: int = 5000) -> list[str]:
    """Receive and acknowledge `count` messages."""
    got = []
    for _ in range(count):
        message = consumer.receive(timeout_ms)
        consumer.acknowledge(message)
        got.append(message.data().decode())
    return got


def nothing_left(consumer: pulsar.Consumer, wait_ms: int = 200) -> None:
    with pytest.raises(pulsar.Timeout):
        consumer.receive(wait_ms)


def fill(c: pulsar.Client, topic: str, count: int) -> list[str]:
    producer = c.create_producer(topic)
    sent = [f"m{n}" for n in range(count)]
    for text in sent:
        producer.send(text.encode())
    producer.close()
    return sent


def test_produce_and_consume(c: pulsar.Client, topic: str) -> None:
    consumer = c.subscribe(topic, "s")
    producer = c.create_producer(topic)
    sent = producer.send(
        b"hello", properties={"a": "1"}, partition_key="k", event_timestamp=1234567
    )
    message = consumer.receive(5000)
    assert message.data() == b"hello"
    assert message.properties() == {"a": "1"}
    assert (message.partition_key(), message.event_timestamp()) == ("k", 1234567)
    assert abs(message.publish_timestamp() - time.time_ns() // 1_000_000) < 60_000
    assert message.message_id() == sent
    consumer.acknowledge(message)
    nothing_left(consumer)


def test_initial_position_and_durable_cursor(c: pulsar.Client, topic: str) -> None:
    sent = fill(c, topic, 10)
    latest = c.subscribe(topic, "latest")
    nothing_left(latest)
    first = c.subscribe(topic, "s", initial_position=EARLIEST)
    assert receive(first, 4) == sent[:4]
    first.close()
    second = c.subscribe(topic, "s", initial_position=EARLIEST)
    assert receive(second, 6) == sent[4:]
    nothing_left(second)


@pytest.mark.parametrize(
    "kind", ["NONE", "LZ4", "ZLib", "ZSTD", "SNAPPY"], ids=lambda kind: f"{kind}"
)
@pytest.mark.parametrize("batching", [False, True])
def test_compression_and_batches(c: pulsar.Client, topic: str, kind: str, batching: bool) -> None:
    compression = getattr(pulsar.CompressionType, kind)
    producer = c.create_producer(topic, compression_type=compression, batching_enabled=batching)
    consumer = c.subscribe(topic, "s", initial_position=EARLIEST)
    sent = [f"{n}" * 100 for n in range(50)]
    for text in sent:
        producer.send_async(text.encode(), lambda result, place: None)
    producer.flush()
    assert receive(consumer, 50) == sent


def test_batches_need_permits(c: pulsar.Client, topic: str) -> None:
    producer = c.create_producer(
        topic, batching_enabled=True, batching_max_messages=10, batching_max_publish_delay_ms=1000
    )
    for n in range(100):
        producer.send_async(b"%d" % n, lambda result, place: None)
    producer.flush()
    small = c.subscribe(topic, "s", initial_position=EARLIEST, receiver_queue_size=3)
    assert receive(small, 100) == [str(n) for n in range(100)]


def test_chunks_of_12_megabytes(c: pulsar.Client, topic: str) -> None:
    payload = bytes(range(256)) * (12 * 4096)
    producer = c.create_producer(topic, chunking_enabled=True)
    consumer = c.subscribe(topic, "s", initial_position=EARLIEST)
    producer.send(payload)
    producer.send(b"small")
    assert consumer.receive(10_000).data() == payload
    assert consumer.receive(5000).data() == b"small"


def test_too_large_without_chunks(c: pulsar.Client, topic: str) -> None:
    producer = c.create_producer(topic)
    with pytest.raises(pulsar.MessageTooBig):
        producer.send(bytes(6 * 1024 * 1024))
    producer.send(bytes(5 * 1024 * 1024 - 1000))


def test_shared(c: pulsar.Client, topic: str) -> None:
    consumers = [c.subscribe(topic, "s", ConsumerType.Shared) for _ in range(3)]
    sent = fill(c, topic, 60)
    got = [receive(consumer, 20) for consumer in consumers]
    assert sorted(text for part in got for text in part) == sorted(sent)
    assert all(part == sorted(part, key=lambda t: int(t[1:])) for part in got)


def test_shared_gives_back_what_a_closed_consumer_held(c: pulsar.Client, topic: str) -> None:
    holder = c.subscribe(topic, "s", ConsumerType.Shared)
    sent = fill(c, topic, 20)
    for _ in range(20):
        holder.receive(5000)
    other = c.subscribe(topic, "s", ConsumerType.Shared)
    nothing_left(other)
    holder.close()
    assert receive(other, 20) == sent


def test_key_shared_keeps_the_order_of_each_key(c: pulsar.Client, topic: str) -> None:
    consumers = [c.subscribe(topic, "s", ConsumerType.KeyShared) for _ in range(3)]
    producer = c.create_producer(topic)
    for n in range(300):
        producer.send(b"%d" % n, partition_key=f"key-{n % 20}")
    owners: dict[str, set[int]] = defaultdict(set)
    order: dict[str, list[int]] = defaultdict(list)
    total = 0
    for index, consumer in enumerate(consumers):
        while True:
            try:
                message = consumer.receive(300)
            except pulsar.Timeout:
                break
            consumer.acknowledge(message)
            total += 1
            owners[message.partition_key()].add(index)
            order[message.partition_key()].append(int(message.data()))
    assert total == 300
    assert all(len(who) == 1 for who in owners.values())
    assert len(set.union(*owners.values())) > 1
    assert all(numbers == sorted(numbers) for numbers in order.values())


def test_exclusive_is_refused_to_a_second(c: pulsar.Client, topic: str) -> None:
    c.subscribe(topic, "s")
    with pytest.raises(pulsar.ConsumerBusy):
        c.subscribe(topic, "s")


def test_failover_takes_over(c: pulsar.Client, topic: str) -> None:
    first = c.subscribe(topic, "s", ConsumerType.Failover, consumer_name="a")
    second = c.subscribe(topic, "s", ConsumerType.Failover, consumer_name="b")
    sent = fill(c, topic, 10)
    assert receive(first, 5) == sent[:5]
    nothing_left(second)
    first.close()
    assert receive(second, 5) == sent[5:]


def test_negative_acknowledgement(c: pulsar.Client, topic: str) -> None:
    consumer = c.subscribe(topic, "s", ConsumerType.Shared, negative_ack_redelivery_delay_ms=50)
    fill(c, topic, 1)
    for count in range(3):
        message = consumer.receive(5000)
        assert message.redelivery_count() == count
        consumer.negative_acknowledge(message)


def test_dead_letters(c: pulsar.Client, topic: str) -> None:
    policy = pulsar.ConsumerDeadLetterPolicy(
        max_redeliver_count=2, dead_letter_topic=f"{topic}-dead", initial_subscription_name="d"
    )
    consumer = c.subscribe(
        topic,
        "s",
        ConsumerType.Shared,
        negative_ack_redelivery_delay_ms=50,
        dead_letter_policy=policy,
    )
    dead = c.subscribe(f"{topic}-dead", "d", initial_position=EARLIEST)
    fill(c, topic, 1)
    for _ in range(3):
        consumer.negative_acknowledge(consumer.receive(5000))
    assert dead.receive(5000).data() == b"m0"


def test_cumulative_acknowledgement(c: pulsar.Client, topic: str) -> None:
    sent = fill(c, topic, 10)
    consumer = c.subscribe(topic, "s", initial_position=EARLIEST)
    messages = [consumer.receive(5000) for _ in range(10)]
    consumer.acknowledge_cumulative(messages[6])
    consumer.close()
    again = c.subscribe(topic, "s")
    assert receive(again, 3) == sent[7:]


def test_redelivery_of_all(c: pulsar.Client, topic: str) -> None:
    sent = fill(c, topic, 5)
    consumer = c.subscribe(topic, "s", initial_position=EARLIEST)
    for _ in range(5):
        consumer.receive(5000)
    consumer.redeliver_unacknowledged_messages()
    assert receive(consumer, 5) == sent


@pytest.mark.parametrize("kind", [ConsumerType.Exclusive, ConsumerType.Shared])
def test_seek_by_id_and_time(c: pulsar.Client, topic: str, kind: ConsumerType) -> None:
    producer = c.create_producer(topic)
    places, times = [], []
    for n in range(10):
        places.append(producer.send(b"m%d" % n))
        times.append(time.time_ns() // 1_000_000)
        time.sleep(0.003)
    consumer = c.subscribe(topic, "s", kind, initial_position=EARLIEST)
    receive(consumer, 10)
    consumer.seek(places[6])
    assert receive(consumer, 3) == ["m7", "m8", "m9"]
    consumer.seek(times[4] + 1)
    assert receive(consumer, 5) == [f"m{n}" for n in range(5, 10)]
    consumer.seek(pulsar.MessageId.earliest)
    assert receive(consumer, 10) == [f"m{n}" for n in range(10)]
    consumer.seek(pulsar.MessageId.latest)
    nothing_left(consumer)


def test_reader(c: pulsar.Client, topic: str) -> None:
    sent = fill(c, topic, 10)
    reader = c.create_reader(topic, pulsar.MessageId.earliest)
    got, places = [], []
    while reader.has_message_available():
        message = reader.read_next(5000)
        got.append(message.data().decode())
        places.append(message.message_id())
    assert got == sent
    behind = c.create_reader(topic, places[4])
    assert behind.read_next(5000).data() == b"m5"
    including = c.create_reader(topic, places[4], start_message_id_inclusive=True)
    assert including.read_next(5000).data() == b"m4"
    tail = c.create_reader(topic, pulsar.MessageId.latest)
    assert not tail.has_message_available()
    fill(c, topic, 1)
    assert tail.read_next(5000).data() == b"m0"


def test_unsubscribe_and_last_message(c: pulsar.Client, topic: str) -> None:
    sent = fill(c, topic, 3)
    consumer = c.subscribe(topic, "s", initial_position=EARLIEST)
    assert consumer.get_last_message_id().entry_id() == 2
    receive(consumer, 3)
    consumer.unsubscribe()
    again = c.subscribe(topic, "s", initial_position=EARLIEST)
    assert receive(again, 3) == sent


def test_partitions(running: BrokerThread, c: pulsar.Client, topic: str) -> None:
    name = f"persistent://public/default/{topic}"
    running.call(running.server.admin.create_partitioned(name, 3))
    assert c.get_topic_partitions(topic) == [f"{name}-partition-{n}" for n in range(3)]
    consumer = c.subscribe(topic, "s", initial_position=EARLIEST)
    sent = fill(c, topic, 30)
    messages = [consumer.receive(5000) for _ in range(30)]
    for message in messages:
        consumer.acknowledge(message)
    assert sorted(m.data().decode() for m in messages) == sorted(sent)
    assert Counter(m.topic_name() for m in messages) == {
        f"{name}-partition-{n}": 10 for n in range(3)
    }


def test_pattern(c: pulsar.Client, topic: str) -> None:
    for name in ("-cam-1", "-cam-2", "-mic-1"):
        fill(c, topic + name, 2)
    pattern = re.compile(f"persistent://public/default/{topic}-cam-.*")
    consumer = c.subscribe(pattern, "s", initial_position=EARLIEST)
    names: Counter[str] = Counter()
    for _ in range(4):
        message = consumer.receive(5000)
        names[message.topic_name().rpartition("/")[2]] += 1
    assert names == {f"{topic}-cam-1": 2, f"{topic}-cam-2": 2}
    nothing_left(consumer)


def test_missing_namespace(c: pulsar.Client) -> None:
    with pytest.raises(pulsar.TopicNotFound):
        c.create_producer("persistent://public/missing/t")
    with pytest.raises(pulsar.TopicNotFound):
        c.subscribe("persistent://public/missing/t", "s")


def test_non_persistent(c: pulsar.Client, topic: str) -> None:
    name = f"non-persistent://public/default/{topic}"
    producer = c.create_producer(name)
    producer.send(b"nobody listens")
    consumer = c.subscribe(name, "s", initial_position=EARLIEST)
    producer.send(b"live")
    assert receive(consumer, 1) == ["live"]
    nothing_left(consumer)


def test_schema(c: pulsar.Client, topic: str) -> None:
    producer = c.create_producer(topic, schema=pulsar.schema.StringSchema())
    consumer = c.subscribe(topic, "s", schema=pulsar.schema.StringSchema())
    producer.send("text")
    assert consumer.receive(5000).value() == "text"


def test_deduplication(c: pulsar.Client, topic: str) -> None:
    consumer = c.subscribe(topic, "s")
    producer = c.create_producer(topic, producer_name="p", initial_sequence_id=1)
    with pytest.raises(pulsar.ProducerBusy):
        c.create_producer(topic, producer_name="p")
    for sequence in (1, 2, 3):
        producer.send(b"%d" % sequence, sequence_id=sequence)
    producer.close()
    again = c.create_producer(topic, producer_name="p")
    assert again.last_sequence_id() == 3
    for sequence in (2, 3, 4):
        again.send(b"%d" % sequence, sequence_id=sequence)
    assert receive(consumer, 4) == ["1", "2", "3", "4"]
    nothing_left(consumer)


def test_ack_receipts(c: pulsar.Client, topic: str) -> None:
    consumer = c.subscribe(topic, "s")
    fill(c, topic, 3)
    for _ in range(3):
        consumer.acknowledge(consumer.receive(5000))
    consumer.close()
    again = c.subscribe(topic, "s")
    nothing_left(again)


def test_delayed_delivery(c: pulsar.Client, topic: str) -> None:
    from datetime import timedelta

    consumer = c.subscribe(topic, "s", ConsumerType.Shared)
    producer = c.create_producer(topic)
    producer.send(b"later", deliver_after=timedelta(milliseconds=400))
    producer.send(b"now")
    assert receive(consumer, 2) == ["now", "later"]


def test_small_receiver_queue(c: pulsar.Client, topic: str) -> None:
    sent = fill(c, topic, 20)
    for size in (0, 1):
        consumer = c.subscribe(
            topic, f"s{size}", initial_position=EARLIEST, receiver_queue_size=size
        )
        got = []
        for _ in range(20):
            message = consumer.receive() if size == 0 else consumer.receive(5000)
            got.append(message.data().decode())
            consumer.acknowledge(message)
        assert got == sent


def test_fsync_before_the_receipt(tmp_path: Path) -> None:
    with broker(tmp_path, FsyncPolicy.ALWAYS) as running, client(running.url) as c:
        consumer = c.subscribe("t", "s")
        producer = c.create_producer("t")
        for n in range(100):
            producer.send_async(b"m%d" % n, lambda result, place: None)
        producer.flush()
        assert receive(consumer, 100) == [f"m{n}" for n in range(100)]
        producer.close()
