"""The consumer against the embedded broker, as processes."""

from __future__ import annotations

import asyncio
import json
import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.processes import ROOT, Processes
from wtp.broker.client import BrokerClient
from wtp.broker.topics import Admin
from wtp.clock import Clock
from wtp.config.load import override
from wtp.config.schema import Settings
from wtp.consumer.feed import Reading
from wtp.consumer.request import Request
from wtp.consumer.run import Consumer
from wtp.model import Kind, Object, to_properties

pytestmark = pytest.mark.e2e


@dataclass
class Running:
    """An embedded broker, a publisher's way to it, and a topic for one test."""

    url: str
    admin: str
    topic: str
    client: BrokerClient
    clock: Clock

    async def publish(
        self,
        seqs: range,
        *,
        gop: int = 10,
        topic: str = "",
        pause_s: float = 0.0,
    ) -> None:
        """Publish objects as the router does."""
        producer = await self.client.producer(topic or self.topic)
        for seq in seqs:
            now_us = self.clock.now_us()
            obj = Object(
                kind=Kind.VIDEO, seq=seq, group=seq // gop, key=seq % gop == 0,
                payload=b"x%d " % seq, content_type="video/h264",
                capture_us=now_us, send_us=now_us, publish_us=now_us,
            )  # fmt: skip
            properties = to_properties(obj, "run-1", str(self.clock.domain), 0)
            producer.send(
                obj.payload, properties=properties, key="default/cam/video",
                event_ms=now_us // 1000, seq=None, done=lambda _: None,
            )  # fmt: skip
            if pause_s:
                await asyncio.sleep(pause_s)
        await producer.flush()
        await producer.close()

    def consumer(self, **request: Any) -> Consumer:
        """A consumer of the test's topic, unless the request says otherwise."""
        settings = override(Settings(), {"broker.url": self.url, "broker.admin": self.admin})
        return Consumer(settings, Request(**{"kind": Kind.VIDEO, "topic": self.topic, **request}))


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """URL and admin URL of an embedded broker for all tests here."""
    folder = tmp_path_factory.mktemp("broker")
    processes = Processes(folder)
    process = processes(
        "broker", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0",
        "--data", str(folder / "data"), env={"WTP_HOME": str(folder)},
    )  # fmt: skip
    yield (
        process.wait_for("pulsar://").split()[-1],
        process.wait_for("http://").split()[-1],
    )
    process.stop()
    assert not processes.close()


@pytest.fixture
async def running(broker: tuple[str, str], clean_home: Path) -> AsyncIterator[Running]:
    client = BrokerClient(broker[0])
    topic = f"persistent://public/default/t{secrets.token_hex(4)}"
    yield Running(*broker, topic, client, Clock())
    await client.close()


async def finish(role: Consumer) -> dict[str, Any]:
    async with asyncio.timeout(60):
        await role.run(lambda _: None)
    return role.snapshot()


async def test_joining_live_begins_at_the_key_frame_and_misses_nothing(running: Running) -> None:
    await running.publish(range(1, 36))
    role = running.consumer(count=40)
    joined = asyncio.Event()
    task = asyncio.create_task(role.run(lambda _: joined.set()))
    publishing = asyncio.create_task(running.publish(range(36, 100), pause_s=0.01))
    async with asyncio.timeout(60):
        await task
        await publishing
    snapshot = role.snapshot()
    assert snapshot["delivered"] == snapshot["objects"] == 40
    assert (snapshot["gaps"], snapshot["duplicates"], snapshot["late"]) == (0, 0, 0)
    assert snapshot["past"] >= 1
    assert snapshot["latency"]["total"]["n"] == 40 - snapshot["past"]
    assert snapshot["clock_error_ms"] == 0
    (track,) = snapshot["tracks"].values()
    assert track["keys"] == 4, "it began with a key frame: 30, 40, 50, 60 of 30 to 69"


async def test_a_key_frame_before_a_restart_of_the_ledger_window_is_found(
    running: Running,
) -> None:
    await running.publish(range(1, 400), gop=300)
    snapshot = await finish(running.consumer(count=100))
    assert snapshot["past"] == 100
    (track,) = snapshot["tracks"].values()
    assert track["keys"] == 1


async def test_a_durable_subscription_goes_on_where_it_was(running: Running) -> None:
    await running.publish(range(1, 31))
    reading = Reading(start="earliest", subscription="work")
    for _ in range(3):
        snapshot = await finish(running.consumer(reading=reading, count=10))
        assert snapshot["objects"] == 10
    async with Admin(running.admin) as admin:
        stats = await admin.stats(running.topic)
    assert stats["subscriptions"]["work"]["msgBacklog"] == 0


async def test_all_partitions_are_read(running: Running) -> None:
    topic = running.topic
    async with Admin(running.admin) as admin:
        await admin.create_topic(topic, 3)
    for part in range(3):
        await running.publish(range(1, 11), topic=f"{topic}-partition-{part}")
    role = running.consumer(reading=Reading(start="earliest"), count=30)
    snapshot = await finish(role)
    assert len(snapshot["topics"]) == 3
    assert snapshot["objects"] == 30


def read_one_line(words: list[str]) -> tuple[bytes, bytes, int]:
    """Run a command, take one line of it and go away; the line, its errors, its exit code."""
    with subprocess.Popen(
        words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        line = process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()
        return line, errors, process.wait(60)


async def test_the_command_prints_lines_and_minds_a_reader_that_goes(running: Running) -> None:
    await running.publish(range(1, 2001))
    words = [
        sys.executable, "-m", "wtp", "consume", "video", "--topic", running.topic,
        "--from", "earliest", "-o", "jsonl", "--broker", running.url, "--admin", running.admin,
    ]  # fmt: skip
    line, errors, code = await asyncio.to_thread(read_one_line, words)
    assert code == 0
    assert b"rror" not in errors
    first = json.loads(line)
    assert first["seq"] == 1
    assert first["latency_us"] > 0
    assert first["encode_us"] is None


async def test_the_command_counts_exactly_and_ends_on_ctrl_c(
    running: Running, wtp_process: Processes, tmp_path: Path
) -> None:
    await running.publish(range(1, 35))
    at = ("--broker", running.url, "--admin", running.admin, "--topic")
    topic = running.topic
    raw = tmp_path / "raw"
    some = wtp_process("consume", "video", "-n", "3", "--raw", str(raw), *at, topic)
    endless = wtp_process("consume", "video", *at, topic)
    missing = wtp_process("consume", "screen", *at, "nowhere")
    assert await asyncio.to_thread(some.wait) == 0
    assert raw.read_bytes() == b"x30 x31 x32 "
    assert await asyncio.to_thread(missing.wait) == 1
    assert "has no topic 'nowhere'" in missing.stderr
    assert topic.rpartition("/")[2] in missing.stderr
    await asyncio.to_thread(endless.wait_for, "Reading")
    assert await asyncio.to_thread(endless.stop, signal.SIGINT) == 130
    assert "5 objects" in endless.stderr
