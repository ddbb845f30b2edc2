"""Subscriptions: the four types with several consumers, positions, acknowledgements."""

from __future__ import annotations

import time
from collections import defaultdict
from datetime import timedelta

import pulsar
import pytest
from pulsar import ConsumerType

from tests.contract.brokers import (
    EARLIEST,
    Target,
    connected,
    drain,
    empty,
    fill,
    receive,
    take,
    texts,
)
from wtp.broker.embedded.dispatch import on_ring

TYPES = [
    ConsumerType.Exclusive,
    ConsumerType.Failover,
    ConsumerType.Shared,
    ConsumerType.KeyShared,
]


def by_number(text: str) -> int:
    return int(text[1:])


def test_initial_position(client: pulsar.Client, topic: str) -> None:
    sent = fill(client, topic, 5)
    assert empty(client.subscribe(topic, "latest"))
    assert receive(client.subscribe(topic, "all", initial_position=EARLIEST), 5) == sent


@pytest.mark.parametrize("kind", TYPES, ids=lambda kind: kind.name)
def test_a_cursor_outlives_its_consumer(
    client: pulsar.Client, topic: str, kind: ConsumerType
) -> None:
    sent = fill(client, topic, 10)
    first = client.subscribe(topic, "s", kind, initial_position=EARLIEST)
    assert receive(first, 4) == sent[:4]
    first.close()
    second = client.subscribe(topic, "s", kind)
    assert receive(second, 6) == sent[4:]
    assert empty(second)


def test_subscriptions_are_independent(client: pulsar.Client, topic: str) -> None:
    one, two = client.subscribe(topic, "one"), client.subscribe(topic, "two")
    sent = fill(client, topic, 5)
    assert receive(one, 5) == sent
    assert receive(two, 5) == sent


def test_exclusive_is_refused_to_a_second(client: pulsar.Client, topic: str) -> None:
    client.subscribe(topic, "s")
    with pytest.raises(pulsar.ConsumerBusy):
        client.subscribe(topic, "s")


def test_types_do_not_mix(client: pulsar.Client, topic: str) -> None:
    first = client.subscribe(topic, "s", ConsumerType.Shared)
    for kind in (ConsumerType.Failover, ConsumerType.Exclusive, ConsumerType.KeyShared):
        with pytest.raises(pulsar.ConsumerBusy):
            client.subscribe(topic, "s", kind)
    first.close()
    client.subscribe(topic, "s", ConsumerType.KeyShared)


def test_shared_goes_round(client: pulsar.Client, topic: str) -> None:
    consumers = [
        client.subscribe(topic, "s", ConsumerType.Shared, receiver_queue_size=10) for _ in range(3)
    ]
    sent = fill(client, topic, 60)
    got: list[list[str]] = [[] for _ in consumers]
    while sum(map(len, got)) < 60:
        for consumer, part in zip(consumers, got, strict=True):
            part += texts(drain(consumer, 50))
    assert sorted((text for part in got for text in part), key=by_number) == sent
    assert all(len(part) >= 10 for part in got)
    assert all(part == sorted(part, key=by_number) for part in got)


def test_shared_gives_back_what_a_closed_consumer_held(client: pulsar.Client, topic: str) -> None:
    holder = client.subscribe(topic, "s", ConsumerType.Shared)
    sent = fill(client, topic, 20)
    take(holder, 20)
    other = client.subscribe(topic, "s", ConsumerType.Shared)
    assert empty(other)
    holder.close()
    assert sorted(receive(other, 20), key=by_number) == sent


def test_shared_gives_back_what_a_lost_connection_held(target: Target, topic: str) -> None:
    with connected(target.url) as keeps:
        other = keeps.subscribe(topic, "s", ConsumerType.Shared, receiver_queue_size=1)
        with connected(target.url) as goes:
            holder = goes.subscribe(topic, "s", ConsumerType.Shared)
            sent = fill(keeps, topic, 10)
            held = {holder.receive(8000).data()}
            assert held
        assert sorted(receive(other, 10), key=by_number) == sent


def test_key_shared_keeps_the_order_of_each_key(client: pulsar.Client, topic: str) -> None:
    consumers = [client.subscribe(topic, "s", ConsumerType.KeyShared) for _ in range(3)]
    producer = client.create_producer(topic)
    for n in range(200):
        producer.send(b"%d" % n, partition_key=f"key-{n % 20}")
    owners: dict[str, set[int]] = defaultdict(set)
    order: dict[str, list[int]] = defaultdict(list)
    for index, consumer in enumerate(consumers):
        for message in drain(consumer, 150):
            owners[message.partition_key()].add(index)
            order[message.partition_key()].append(int(message.data()))
    assert sum(map(len, order.values())) == 200
    assert all(len(who) == 1 for who in owners.values())
    assert len(set.union(*owners.values())) > 1
    assert all(numbers == sorted(numbers) for numbers in order.values())


def test_key_shared_keeps_order_while_consumers_come_and_go(
    client: pulsar.Client, topic: str
) -> None:
    """What one consumer holds of a key is acknowledged before another one gets more of that key."""
    first = client.subscribe(topic, "s", ConsumerType.KeyShared, receiver_queue_size=5)
    producer = client.create_producer(topic)
    for n in range(100):
        producer.send(b"%d" % n, partition_key=f"key-{n % 10}")
    seen = [int(m.data()) for m in take(first, 3)]
    assert seen == [0, 1, 2]
    second = client.subscribe(topic, "s", ConsumerType.KeyShared, receiver_queue_size=5)
    held = texts(drain(second, 150))
    assert not {int(text) % 10 for text in held} & {0, 1, 2}
    first.close()
    rest = texts(drain(second, 300))
    order: dict[int, list[int]] = defaultdict(list)
    for number in map(int, held + rest):
        order[number % 10].append(number)
    assert sorted(n for numbers in order.values() for n in numbers) == list(range(100))
    assert all(numbers == sorted(numbers) for numbers in order.values())


def test_key_shared_sticky(client: pulsar.Client, topic: str) -> None:
    def sticky(first: int, last: int) -> pulsar.ConsumerKeySharedPolicy:
        return pulsar.ConsumerKeySharedPolicy(
            pulsar.KeySharedMode.Sticky, sticky_ranges=[(first, last)]
        )

    low = client.subscribe(topic, "s", ConsumerType.KeyShared, key_shared_policy=sticky(0, 32767))
    with pytest.raises(pulsar.PulsarException):
        client.subscribe(topic, "s", ConsumerType.KeyShared, key_shared_policy=sticky(30000, 65535))
    high = client.subscribe(
        topic, "s", ConsumerType.KeyShared, key_shared_policy=sticky(32768, 65535)
    )
    producer = client.create_producer(topic)
    for n in range(40):
        producer.send(b"%d" % n, partition_key=f"key-{n}")
    counts = [len(drain(consumer, 150)) for consumer in (low, high)]
    assert sum(counts) == 40
    assert all(counts)


def test_ordering_key_goes_before_the_key(client: pulsar.Client, topic: str) -> None:
    consumers = [client.subscribe(topic, "s", ConsumerType.KeyShared) for _ in range(2)]
    producer = client.create_producer(topic)
    for n in range(40):
        producer.send(b"%d" % n, partition_key=f"key-{n}", ordering_key="same")
    assert sorted(len(drain(consumer, 150)) for consumer in consumers) == [0, 40]


def test_failover_takes_over(client: pulsar.Client, topic: str) -> None:
    first = client.subscribe(topic, "s", ConsumerType.Failover, consumer_name="a")
    second = client.subscribe(topic, "s", ConsumerType.Failover, consumer_name="b")
    third = client.subscribe(topic, "s", ConsumerType.Failover, consumer_name="c")
    consumers = [first, second, third]
    sent = fill(client, topic, 10)
    active = consumers.pop(on_ring(topic, ["a", "b", "c"]))
    assert receive(active, 5) == sent[:5]
    assert all(empty(other) for other in consumers)
    names = [consumer.consumer_name() for consumer in consumers]
    active.close()
    heir = consumers.pop(on_ring(topic, names))
    assert receive(heir, 5) == sent[5:]
    assert empty(consumers[0])


@pytest.mark.parametrize("number", range(2))
def test_which_failover_consumer_is_active(client: pulsar.Client, topic: str, number: int) -> None:
    """Without partitions a ring of hashes decides, so a newcomer may take over."""
    names = [f"consumer-{number}-{n}" for n in range(3)]
    consumers = [
        client.subscribe(topic, "s", ConsumerType.Failover, consumer_name=name) for name in names
    ]
    active = consumers.pop(on_ring(topic, names))
    assert empty(active, 1200)
    sent = fill(client, topic, 5)
    assert receive(active, 5) == sent
    assert all(empty(other, 20) for other in consumers)


def test_unsubscribe(client: pulsar.Client, topic: str) -> None:
    consumer = client.subscribe(topic, "s")
    sent = fill(client, topic, 3)
    assert receive(consumer, 3) == sent
    consumer.unsubscribe()
    again = client.subscribe(topic, "s")
    assert empty(again)
    more = fill(client, topic, 2)
    assert receive(again, 2) == more


def test_unsubscribe_beside_others(client: pulsar.Client, topic: str) -> None:
    one = client.subscribe(topic, "s", ConsumerType.Shared)
    two = client.subscribe(topic, "s", ConsumerType.Shared)
    with pytest.raises(pulsar.PulsarException):
        one.unsubscribe()
    two.close()
    one.unsubscribe()


def test_individual_acknowledgement_leaves_holes(client: pulsar.Client, topic: str) -> None:
    sent = fill(client, topic, 0) or [f"m{n}" for n in range(10)]
    consumer = client.subscribe(topic, "s", ConsumerType.Shared)
    fill(client, topic, 10)
    for message in take(consumer, 10)[::2]:
        consumer.acknowledge(message)
    consumer.close()
    again = client.subscribe(topic, "s", ConsumerType.Shared)
    assert sorted(receive(again, 5), key=by_number) == sent[1::2]
    assert empty(again)


def test_cumulative_acknowledgement(client: pulsar.Client, topic: str) -> None:
    consumer = client.subscribe(topic, "s")
    sent = fill(client, topic, 10)
    messages = take(consumer, 10)
    consumer.acknowledge_cumulative(messages[6])
    consumer.close()
    assert receive(client.subscribe(topic, "s"), 3) == sent[7:]


def test_cumulative_is_not_for_shared(client: pulsar.Client, topic: str) -> None:
    consumer = client.subscribe(topic, "s", ConsumerType.Shared)
    fill(client, topic, 1)
    message = take(consumer, 1)[0]
    with pytest.raises(pulsar.CumulativeAcknowledgementNotAllowedError):
        consumer.acknowledge_cumulative(message)


def test_acknowledgement_by_id(client: pulsar.Client, topic: str) -> None:
    consumer = client.subscribe(topic, "s")
    fill(client, topic, 3)
    for message in take(consumer, 3):
        consumer.acknowledge(message.message_id())
    consumer.close()
    assert empty(client.subscribe(topic, "s"))


@pytest.mark.parametrize("kind", [ConsumerType.Exclusive, ConsumerType.Shared], ids=str)
def test_negative_acknowledgement(client: pulsar.Client, topic: str, kind: ConsumerType) -> None:
    consumer = client.subscribe(topic, "s", kind, negative_ack_redelivery_delay_ms=50)
    fill(client, topic, 1)
    counts = []
    for _ in range(3):
        message = consumer.receive(8000)
        counts.append(message.redelivery_count())
        consumer.negative_acknowledge(message)
    consumer.acknowledge(consumer.receive(8000))
    assert empty(consumer, 300)
    # A single consumer's redeliveries are not counted.
    assert counts == ([0, 1, 2] if kind is ConsumerType.Shared else [0, 0, 0])


@pytest.mark.parametrize(
    "target", ["embedded", pytest.param("real", marks=pytest.mark.pulsar)], indirect=True
)
def test_acknowledgement_time_out(client: pulsar.Client, topic: str) -> None:
    """The client asks for messages again after its shortest time-out of 10 s."""
    consumer = client.subscribe(topic, "s", ConsumerType.Shared, unacked_messages_timeout_ms=10_000)
    fill(client, topic, 2)
    first, second = take(consumer, 2)
    consumer.acknowledge(second)
    again = consumer.receive(25_000)
    assert (again.data(), again.redelivery_count()) == (first.data(), 1)
    consumer.acknowledge(again)


def test_dead_letters(client: pulsar.Client, topic: str) -> None:
    policy = pulsar.ConsumerDeadLetterPolicy(
        max_redeliver_count=2,
        dead_letter_topic=f"{topic}-dead",
        initial_subscription_name="d",
    )
    consumer = client.subscribe(
        topic,
        "s",
        ConsumerType.Shared,
        negative_ack_redelivery_delay_ms=50,
        dead_letter_policy=policy,
    )
    dead = client.subscribe(f"{topic}-dead", "d", initial_position=EARLIEST)
    fill(client, topic, 1)
    for _ in range(3):
        consumer.negative_acknowledge(consumer.receive(8000))
    assert dead.receive(8000).data() == b"m0"
    assert empty(consumer)


def test_dead_letters_of_nobody(client: pulsar.Client, topic: str) -> None:
    """The first dead letter makes the topic with the named subscription, so that none is lost."""
    policy = pulsar.ConsumerDeadLetterPolicy(
        max_redeliver_count=1,
        dead_letter_topic=f"{topic}-dead",
        initial_subscription_name="later",
    )
    consumer = client.subscribe(
        topic,
        "s",
        ConsumerType.Shared,
        negative_ack_redelivery_delay_ms=50,
        dead_letter_policy=policy,
    )
    fill(client, topic, 1)
    for _ in range(2):
        consumer.negative_acknowledge(consumer.receive(8000))
    assert empty(consumer, 500)
    assert client.subscribe(f"{topic}-dead", "later").receive(8000).data() == b"m0"


@pytest.mark.parametrize("kind", [ConsumerType.Exclusive, ConsumerType.Shared], ids=str)
def test_redelivery_of_all(client: pulsar.Client, topic: str, kind: ConsumerType) -> None:
    consumer = client.subscribe(topic, "s", kind)
    sent = fill(client, topic, 5)
    take(consumer, 5)
    consumer.redeliver_unacknowledged_messages()
    assert sorted(receive(consumer, 5), key=by_number) == sent


@pytest.mark.parametrize("kind", TYPES, ids=lambda kind: kind.name)
def test_seek_by_id(client: pulsar.Client, topic: str, kind: ConsumerType) -> None:
    consumer = client.subscribe(topic, "s", kind)
    producer = client.create_producer(topic)
    places = [producer.send(b"m%d" % n) for n in range(10)]
    receive(consumer, 10)
    consumer.seek(places[6])
    assert receive(consumer, 3) == ["m7", "m8", "m9"]
    consumer.seek(pulsar.MessageId.earliest)
    assert receive(consumer, 10) == [f"m{n}" for n in range(10)]
    consumer.seek(pulsar.MessageId.latest)
    assert empty(consumer)


def test_seek_inclusive(client: pulsar.Client, topic: str) -> None:
    consumer = client.subscribe(topic, "s", start_message_id_inclusive=True)
    producer = client.create_producer(topic)
    places = [producer.send(b"m%d" % n) for n in range(5)]
    receive(consumer, 5)
    consumer.seek(places[3])
    assert receive(consumer, 2) == ["m3", "m4"]


def test_seek_by_time(client: pulsar.Client, topic: str) -> None:
    consumer = client.subscribe(topic, "s")
    producer = client.create_producer(topic)
    for n in range(5):
        producer.send(b"m%d" % n)
    time.sleep(0.02)
    between = time.time_ns() // 1_000_000
    for n in range(5, 10):
        producer.send(b"m%d" % n)
    receive(consumer, 10)
    consumer.seek(between)
    assert receive(consumer, 5) == [f"m{n}" for n in range(5, 10)]
    consumer.seek(between - 3_600_000)
    assert receive(consumer, 10) == [f"m{n}" for n in range(10)]
    consumer.seek(between + 3_600_000)
    assert empty(consumer)


def test_a_sought_position_outlives_the_consumer(client: pulsar.Client, topic: str) -> None:
    consumer = client.subscribe(topic, "s")
    producer = client.create_producer(topic)
    places = [producer.send(b"m%d" % n) for n in range(5)]
    receive(consumer, 5)
    consumer.seek(places[1])
    consumer.close()
    # The broker keeps the id itself; only the consumer that sought leaves it out.
    assert texts(drain(client.subscribe(topic, "s"), 300)) == ["m1", "m2", "m3", "m4"]


def test_small_receiver_queues(client: pulsar.Client, topic: str) -> None:
    sent = fill(client, topic, 20)
    for size in (0, 1):
        consumer = client.subscribe(
            topic, f"s{size}", initial_position=EARLIEST, receiver_queue_size=size
        )
        got = []
        for _ in range(20):
            message = consumer.receive() if size == 0 else consumer.receive(8000)
            got.append(message.data().decode())
            consumer.acknowledge(message)
        assert got == sent


def test_delayed_delivery(client: pulsar.Client, topic: str) -> None:
    """Real Pulsar looks for what has ripened once a second."""
    consumer = client.subscribe(topic, "s", ConsumerType.Shared)
    producer = client.create_producer(topic)
    began = time.monotonic()
    producer.send(b"later", deliver_after=timedelta(seconds=3))
    producer.send(b"now")
    assert receive(consumer, 2) == ["now", "later"]
    assert time.monotonic() - began >= 2.5


def test_delay_is_for_shared_only(client: pulsar.Client, topic: str) -> None:
    consumer = client.subscribe(topic, "s")
    producer = client.create_producer(topic)
    producer.send(b"later", deliver_after=timedelta(seconds=60))
    producer.send(b"now")
    assert receive(consumer, 2) == ["later", "now"]


def test_batch_receive(client: pulsar.Client, topic: str) -> None:
    consumer = client.subscribe(
        topic,
        "s",
        batch_receive_policy=pulsar.ConsumerBatchReceivePolicy(10, 1024 * 1024, 2000),
    )
    sent = fill(client, topic, 10)
    got = consumer.batch_receive()
    assert [message.data().decode() for message in got] == sent
