"""Producers: names, sequence ids, de-duplication, exclusive access."""

from __future__ import annotations

import threading
import time
from typing import Any

import pulsar
import pytest
from pulsar import ProducerAccessMode

from tests.contract.brokers import Target, connected, empty, fill, read_all, receive


def test_a_name_is_taken_once(client: pulsar.Client, topic: str) -> None:
    first = client.create_producer(topic, producer_name="p")
    with pytest.raises(pulsar.ProducerBusy):
        client.create_producer(topic, producer_name="p")
    first.close()
    client.create_producer(topic, producer_name="p").send(b"now mine")


def test_a_name_for_each_topic(client: pulsar.Client, topic: str) -> None:
    client.create_producer(topic, producer_name="p")
    client.create_producer(f"{topic}-other", producer_name="p")


def test_a_name_of_its_own(client: pulsar.Client, topic: str) -> None:
    names = {client.create_producer(topic).producer_name() for _ in range(3)}
    assert len(names) == 3
    assert "" not in names


def test_sent_again(target: Target, client: pulsar.Client, topic: str) -> None:
    """A sequence id that is stored already is receipted with an id of nothing."""
    producer = client.create_producer(topic, producer_name="p")
    for sequence in (1, 2, 3):
        producer.send(b"%d" % sequence, sequence_id=sequence)
    place = producer.send(b"2 again", sequence_id=2)
    producer.send(b"4", sequence_id=4)
    if target.deduplicates:
        assert (place.ledger_id(), place.entry_id()) == (-1, -1)
        assert read_all(client, topic) == ["1", "2", "3", "4"]
    else:
        assert place.entry_id() == 3
        assert read_all(client, topic) == ["1", "2", "3", "2 again", "4"]


def test_the_last_sequence_of_a_name(target: Target, client: pulsar.Client, topic: str) -> None:
    producer = client.create_producer(topic, producer_name="p")
    assert producer.last_sequence_id() == -1
    for sequence in (5, 6, 9):
        producer.send(b"%d" % sequence, sequence_id=sequence)
    assert producer.last_sequence_id() == 9
    producer.close()
    again = client.create_producer(topic, producer_name="p")
    assert again.last_sequence_id() == (9 if target.deduplicates else -1)
    for sequence in (6, 9, 10):
        again.send(b"again %d" % sequence, sequence_id=sequence)
    stored = read_all(client, topic)
    if target.deduplicates:
        assert stored == ["5", "6", "9", "again 10"]
    else:
        assert stored == ["5", "6", "9", "again 6", "again 9", "again 10"]


def test_without_numbers_a_name_goes_on(client: pulsar.Client, topic: str) -> None:
    for text in ("one", "two"):
        producer = client.create_producer(topic, producer_name="p")
        producer.send(text.encode())
        producer.close()
    assert read_all(client, topic) == ["one", "two"]


def test_deduplicated_batches(target: Target, client: pulsar.Client, topic: str) -> None:
    def send(first: int) -> None:
        producer = client.create_producer(
            topic,
            producer_name="p",
            batching_enabled=True,
            batching_max_messages=5,
            batching_max_publish_delay_ms=1000,
        )
        for sequence in range(first, first + 5):
            producer.send_async(b"%d" % sequence, lambda result, place: None, sequence_id=sequence)
        producer.flush()
        producer.close()

    send(1)
    send(1)
    send(6)
    stored = read_all(client, topic)
    first = [str(n) for n in range(1, 6)]
    again = [] if target.deduplicates else first
    assert stored == first + again + [str(n) for n in range(6, 11)]


def test_deduplicated_chunks(target: Target, client: pulsar.Client, topic: str) -> None:
    payload = bytes(range(256)) * (6 * 4096)
    for _ in range(2):
        producer = client.create_producer(topic, producer_name="p", chunking_enabled=True)
        producer.send(payload, sequence_id=1)
        producer.close()
    reader = client.create_reader(topic, pulsar.MessageId.earliest)
    got = 0
    while reader.has_message_available():
        try:
            message = reader.read_next(2000)
        except pulsar.Timeout:
            break
        assert message.data() == payload
        got += 1
    assert got == (1 if target.deduplicates else 2)


@pytest.mark.parametrize("first", ["Exclusive", "Shared"])
def test_exclusive_access(client: pulsar.Client, topic: str, first: str) -> None:
    """One that wants a topic for itself and others keep each other out."""
    other = "Shared" if first == "Exclusive" else "Exclusive"
    held = client.create_producer(topic, access_mode=getattr(ProducerAccessMode, first))
    error = pulsar.ProducerBusy if first == "Exclusive" else pulsar.ProducerFenced
    with pytest.raises(error):
        client.create_producer(topic, access_mode=getattr(ProducerAccessMode, other))
    held.send(b"still here")
    held.close()
    client.create_producer(topic, access_mode=getattr(ProducerAccessMode, other)).send(b"mine")
    assert read_all(client, topic) == ["still here", "mine"]


def test_two_exclusive(client: pulsar.Client, topic: str) -> None:
    client.create_producer(topic, access_mode=ProducerAccessMode.Exclusive)
    with pytest.raises(pulsar.ProducerFenced):
        client.create_producer(topic, access_mode=ProducerAccessMode.Exclusive)


def test_waiting_for_exclusive_access(target: Target, topic: str) -> None:
    """The second one is not ready before the first one has gone."""
    made: list[Any] = []
    with connected(target.url) as one, connected(target.url) as two:
        held = one.create_producer(topic, access_mode=ProducerAccessMode.WaitForExclusive)
        held.send(b"first")

        def wait() -> None:
            made.append(two.create_producer(topic, access_mode=ProducerAccessMode.WaitForExclusive))

        thread = threading.Thread(target=wait)
        thread.start()
        thread.join(0.3)
        assert not made
        held.close()
        thread.join(8)
        assert len(made) == 1
        made[0].send(b"second")
        assert read_all(one, topic) == ["first", "second"]


def test_fencing(target: Target, topic: str) -> None:
    """The newcomer takes the topic; whoever had it cannot publish any more."""
    mode = ProducerAccessMode.ExclusiveWithFencing
    with connected(target.url) as one, connected(target.url) as two:
        old = one.create_producer(topic, access_mode=mode, send_timeout_millis=3000)
        old.send(b"old")
        new = two.create_producer(topic, access_mode=mode)
        new.send(b"new")
        with pytest.raises(pulsar.PulsarException):
            old.send(b"too late")
        assert read_all(two, topic) == ["old", "new"]


def test_a_full_queue_keeps_the_oldest(client: pulsar.Client, topic: str) -> None:
    producer = client.create_producer(topic, max_pending_messages=5)
    results: list[pulsar.Result] = []
    done = threading.Event()

    def note(result: pulsar.Result, place: Any) -> None:
        results.append(result)
        if len(results) == 2000:
            done.set()

    for n in range(2000):
        producer.send_async(b"%d" % n, note)
    producer.flush()
    assert done.wait(60)
    stored = [int(text) for text in read_all(client, topic)]
    assert results.count(pulsar.Result.Ok) == len(stored)
    assert stored == sorted(stored)
    assert stored[:5] == [0, 1, 2, 3, 4]


def test_many_topics_over_one_client(client: pulsar.Client, topic: str) -> None:
    for n in range(20):
        fill(client, f"{topic}-{n}", 2)
    consumer = client.subscribe(
        [f"{topic}-{n}" for n in range(20)],
        "s",
        initial_position=pulsar.InitialPosition.Earliest,
    )
    assert sorted(receive(consumer, 40)) == sorted(["m0", "m1"] * 20)
    assert empty(consumer)


def test_throughput_keeps_order(client: pulsar.Client, topic: str) -> None:
    producer = client.create_producer(topic, block_if_queue_full=True)
    for n in range(3000):
        producer.send_async(b"%d" % n, lambda result, place: None)
    began = time.monotonic()
    producer.flush()
    assert time.monotonic() - began < 30
    assert read_all(client, topic) == [str(n) for n in range(3000)]
