"""A broker process that is killed or told to end, and started again on its folder."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pulsar
import pytest

from tests.broker_protocol.running import client

ROOT = Path(__file__).parents[2]


class Process:
    """A broker process on one folder and one port."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.child: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"pulsar://127.0.0.1:{self.port}"

    def start(self) -> None:
        words = [
            "-m",
            "tests.broker_protocol.running",
            str(self.folder),
            str(self.port),
            "interval",
        ]
        self.child = subprocess.Popen([sys.executable, *words], cwd=ROOT)

    def end(self, number: signal.Signals) -> int:
        assert self.child is not None
        self.child.send_signal(number)
        code = self.child.wait(60)
        self.child = None
        return code


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    made = Process(tmp_path / "data")
    made.start()
    try:
        yield made
    finally:
        if made.child is not None:
            made.end(signal.SIGKILL)


class Receipts:
    """Counts what the broker acknowledged, as the client's callback."""

    def __init__(self) -> None:
        self.good: list[int] = []
        self.bad: list[object] = []
        self.all = threading.Event()

    def callback(self, number: int, last: int) -> object:
        def done(result: pulsar.Result, place: pulsar.MessageId) -> None:
            if result == pulsar.Result.Ok:
                self.good.append(number)
            else:
                self.bad.append(result)
            if number == last:
                self.all.set()

        return done


@pytest.mark.chaos
def test_kill_9_keeps_order_cursor_and_producers(process: Process) -> None:
    receipts = Receipts()
    with client(process.url) as c:
        producer = c.create_producer("t", producer_name="p", send_timeout_millis=0)
        consumer = c.subscribe("t", "s", initial_position=pulsar.InitialPosition.Earliest)
        for n in range(1, 501):
            producer.send_async(b"%d" % n, receipts.callback(n, 600), sequence_id=n)
        producer.flush()
        for n in range(1, 201):
            message = consumer.receive(5000)
            assert int(message.data()) == n
            consumer.acknowledge(message)
        consumer.close()
        time.sleep(0.3)  # cursors are written within 100 ms
        process.end(signal.SIGKILL)
        for n in range(501, 601):
            producer.send_async(b"%d" % n, receipts.callback(n, 600), sequence_id=n)
        process.start()
        assert receipts.all.wait(60)
        assert receipts.bad == []
        assert receipts.good == list(range(1, 601))
        producer.close()
        again = c.create_producer("t", producer_name="p")
        assert again.last_sequence_id() == 600
        again.send(b"twice", sequence_id=550)
        consumer = c.subscribe("t", "s")
        got = [int(consumer.receive(10_000).data()) for _ in range(400)]
        assert got == list(range(201, 601))
        with pytest.raises(pulsar.Timeout):
            consumer.receive(200)


@pytest.mark.chaos
def test_kill_9_in_the_middle_of_sending(process: Process) -> None:
    count = 3000
    receipts = Receipts()
    with client(process.url) as c:
        producer = c.create_producer(
            "t", producer_name="p", send_timeout_millis=0, max_pending_messages=count
        )
        for n in range(1, count + 1):
            producer.send_async(b"%d" % n * 100, receipts.callback(n, count), sequence_id=n)
            if n == count // 2:
                process.end(signal.SIGKILL)
                process.start()
        assert receipts.all.wait(60)
        assert receipts.good == list(range(1, count + 1))
        reader = c.create_reader("t", pulsar.MessageId.earliest)
        got = [int(reader.read_next(10_000).data()) for _ in range(count)]
        assert got == [int(b"%d" % n * 100) for n in range(1, count + 1)]
        assert not reader.has_message_available()


@pytest.mark.e2e
def test_sigterm_drains_and_exits_0(process: Process) -> None:
    with client(process.url) as c:
        producer = c.create_producer("t")
        consumer = c.subscribe("t", "s")
        for n in range(10):
            producer.send(b"%d" % n)
        for _ in range(6):
            consumer.acknowledge(consumer.receive(5000))
        consumer.close()
        producer.close()
    assert process.end(signal.SIGTERM) == 0
    process.start()
    with client(process.url) as c:
        consumer = c.subscribe("t", "s")
        assert [int(consumer.receive(5000).data()) for _ in range(4)] == [6, 7, 8, 9]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_newest_message_is_known_after_a_restart(
    process: Process, number: signal.Signals
) -> None:
    with client(process.url) as before:
        producer = before.create_producer("newest")
        for n in range(3):
            producer.send(bytes([n]))
    process.end(number)
    process.start()
    with client(process.url) as after:
        reader = after.create_reader(
            "newest", pulsar.MessageId.latest, start_message_id_inclusive=True
        )
        assert reader.has_message_available()
        assert reader.read_next(5000).data() == bytes([2])
