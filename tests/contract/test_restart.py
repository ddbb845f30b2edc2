"""What is there after a broker was ended and started again: everything it acknowledged."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pulsar
import pytest
from pulsar import ConsumerType

from tests.contract.brokers import (
    EARLIEST,
    Embedded,
    Real,
    Target,
    connected,
    drain,
    fill,
    read_all,
    texts,
)
from tests.pulsar import RealPulsar
from tests.pulsar_jars import NoJars

pytestmark = pytest.mark.timeout(500)
"""A real Pulsar takes its time to end and to start."""


@pytest.fixture(scope="module", params=["embedded", pytest.param("real", marks=pytest.mark.pulsar)])
def target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A broker of these tests' own, for nobody else would survive its restarts.

    Pulsar's factory settings change nothing about what is written, and its starts take long.
    """
    folder = tmp_path_factory.mktemp("restarted")
    if request.param == "embedded":
        with Embedded(folder) as embedded:
            yield embedded
        return
    try:
        with RealPulsar(folder / "pulsar") as pulsar_:
            yield Real(pulsar_, request.param)
    except NoJars as error:
        pytest.fail(str(error), pytrace=False)


def patient(work: Callable[[], Any], timeout_s: float = 60.0) -> Any:
    """Try again while the broker is not there yet."""
    end = time.monotonic() + timeout_s
    while True:
        try:
            return work()
        except pulsar.PulsarException:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


class Life:
    """Clients that were there before, and what they know."""

    def __init__(self) -> None:
        self.topic = f"persistent://public/default/restart-{uuid.uuid4().hex[:8]}"
        self.client: pulsar.Client

    def before(self) -> None:
        """A cursor in the middle, one with holes, a numbered producer, a schema, a batch."""
        client = self.client
        one = client.subscribe(self.topic, "one")
        holes = client.subscribe(self.topic, "holes", ConsumerType.Shared)
        fill(client, self.topic, 10)
        for message in texts_of(one, 4):
            one.acknowledge(message)
        for message in texts_of(holes, 10)[::2]:
            holes.acknowledge(message)
        one.close()
        holes.close()
        numbered = client.create_producer(f"{self.topic}-numbered", producer_name="p")
        for sequence in (1, 2, 3):
            numbered.send(b"%d" % sequence, sequence_id=sequence)
        numbered.close()
        typed = client.create_producer(f"{self.topic}-typed", schema=pulsar.schema.StringSchema())
        typed.send("text")
        typed.close()
        time.sleep(1.2)  # Pulsar writes a cursor once a second at most

    def after(self) -> None:
        """All of it is still so."""
        client, topic = self.client, self.topic
        sent = [f"m{n}" for n in range(10)]
        assert patient(lambda: read_all(client, topic)) == sent
        one = patient(lambda: client.subscribe(topic, "one"))
        assert texts(drain(one, 500)) == sent[4:]
        holes = client.subscribe(topic, "holes", ConsumerType.Shared)
        assert texts(drain(holes, 500)) == sent[1::2]
        numbered = client.create_producer(f"{topic}-numbered", producer_name="p")
        assert numbered.last_sequence_id() == 3
        kept = client.subscribe(f"{topic}-numbered", "after", initial_position=EARLIEST)
        for sequence in (2, 3, 4):
            numbered.send(b"again %d" % sequence, sequence_id=sequence)
        new = texts(drain(kept, 500))
        assert new == ["1", "2", "3", "again 4"]
        with pytest.raises(pulsar.IncompatibleSchema):
            client.create_producer(f"{topic}-typed", schema=pulsar.schema.AvroSchema(Number))


class Number(pulsar.schema.Record):  # type: ignore[misc]  # pulsar has no types
    value = pulsar.schema.Integer()


def texts_of(consumer: pulsar.Consumer, count: int) -> list[pulsar.Message]:
    return [consumer.receive(8000) for _ in range(count)]


def test_an_orderly_restart(target: Target) -> None:
    """Cursors, sequence ids and schemas are where they were; connected clients go on."""
    life = Life()
    with connected(target.url) as client:
        life.client = client
        life.before()
        producer = client.create_producer(f"{life.topic}-live", send_timeout_millis=0)
        consumer = client.subscribe(f"{life.topic}-live", "s")
        producer.send(b"before")
        assert consumer.receive(8000).data() == b"before"
        target.restart()
        life.after()
        producer.send(b"after")
        found = texts(drain(consumer, 3000))
        assert found[-1] == "after"
        assert set(found) <= {"before", "after"}


def test_killed_in_the_middle(target: Target) -> None:
    """Whatever was acknowledged before kill -9 is there, in order; with ids, once."""
    topic = f"persistent://public/default/killed-{uuid.uuid4().hex[:8]}"
    acknowledged: list[int] = []
    done = threading.Event()
    count = 2000
    with connected(target.url) as client:
        producer = client.create_producer(
            topic, producer_name="p", send_timeout_millis=0, max_pending_messages=5000
        )
        client.subscribe(topic, "keep").close()

        def note(sequence: int) -> Callable[[Any, Any], None]:
            def receipted(result: pulsar.Result, place: Any) -> None:
                if result == pulsar.Result.Ok:
                    acknowledged.append(sequence)
                if len(acknowledged) == count:
                    done.set()

            return receipted

        for sequence in range(1, count // 2 + 1):
            producer.send_async(b"%d" % sequence, note(sequence), sequence_id=sequence)
        while len(acknowledged) < 50:
            time.sleep(0.001)
        with ThreadPoolExecutor(1) as pool:
            restarted = pool.submit(target.restart, hard=True)
            for sequence in range(count // 2 + 1, count + 1):
                producer.send_async(b"%d" % sequence, note(sequence), sequence_id=sequence)
        restarted.result()
        assert done.wait(60)
        reader = patient(lambda: client.subscribe(topic, "keep"))
        stored = [int(text) for text in texts(drain(reader, 1500))]
        assert acknowledged == sorted(acknowledged)
        assert stored == list(range(1, count + 1))
