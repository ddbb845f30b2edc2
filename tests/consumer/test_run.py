from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from tests.consumer.fakes import (
    SETTINGS,
    TOPIC,
    FakeBroker,
    FakeSubscription,
    FakeTopic,
    foreign,
    message,
    now_stamps,
)
from wtp.clock import ClockDomain, monotonic_us, read_boot_id
from wtp.config.load import override
from wtp.consumer import run as run_module
from wtp.consumer.feed import Reading
from wtp.consumer.item import Item
from wtp.consumer.output import Finished
from wtp.consumer.request import Request
from wtp.consumer.run import Consumer
from wtp.errors import BrokerError, BrokerUnavailable, NotFound, StorageError, UsageError
from wtp.model import Kind

HERE = str(ClockDomain(read_boot_id(), 1_700_000_000_000_000))
EARLIEST = Reading(start="earliest")


@pytest.fixture(autouse=True)
def _broker_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    async def there(*_: object, **__: object) -> bool:
        return True

    monkeypatch.setattr(run_module, "reach", there)
    monkeypatch.setattr(run_module, "answers", there)
    monkeypatch.setattr(run_module, "WATCH_S", 0.01)


@dataclass
class Collect:
    """An output that remembers, and does what a test wants."""

    inline: bool = True
    lossless: bool = True
    idle_s: float = 0.0
    reason: str = ""
    problem: BaseException | None = None
    gate: threading.Event | None = None
    items: list[Item] = field(default_factory=list)
    closed: int = 0
    entered: threading.Event = field(default_factory=threading.Event)

    def open(self) -> None:
        if isinstance(self.problem, UsageError):
            raise self.problem

    def take(self, items: Sequence[Item]) -> list[str]:
        self.entered.set()
        if self.gate is not None:
            self.gate.wait(60)
        if self.problem is not None:
            raise self.problem
        self.items += items
        return [self.reason] * len(items)

    def idle(self) -> None:
        raise Finished

    def close(self) -> None:
        self.closed += 1

    @property
    def seqs(self) -> list[int]:
        return [one.obj.seq for one in self.items if one.obj]


def consumer(
    broker: FakeBroker, request: Request, output: Collect | None = None, settings: Any = None
) -> Consumer:
    @contextlib.asynccontextmanager
    async def directory(_: str) -> AsyncIterator[FakeBroker]:
        yield broker

    return Consumer(
        override(SETTINGS, settings or {}), request, output,
        broker=lambda _: broker, directory=directory,
    )  # fmt: skip


async def run(role: Consumer) -> dict[str, Any]:
    """Run a consumer to its end and return its last snapshot."""
    async with asyncio.timeout(60):
        await role.run(lambda _: None)
    snapshot = role.snapshot()
    dropped = sum(snapshot["dropped"].values())
    assert snapshot["objects"] == snapshot["delivered"] + dropped + snapshot["in_flight"]
    assert snapshot["in_flight"] == 0
    assert snapshot["state"] == "stopped"
    return snapshot


@contextlib.asynccontextmanager
async def running(role: Consumer) -> AsyncIterator[asyncio.Task[dict[str, Any]]]:
    """A consumer that has joined."""
    joined = asyncio.Event()

    async def work() -> dict[str, Any]:
        await role.run(lambda _: joined.set())
        return role.snapshot()

    task = asyncio.create_task(work())
    async with asyncio.timeout(60):
        waiting = asyncio.create_task(joined.wait())
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        try:
            yield task
        finally:
            role.stop()
            await asyncio.wait({task})


async def until(condition: Any) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.002)


def jpeg(count: int, **more: Any) -> list[Any]:
    return [message(n, content_type="image/jpeg", **more) for n in range(1, count + 1)]


@pytest.mark.parametrize("inline", [True, False])
async def test_a_count_is_exact(inline: bool) -> None:
    output = Collect(inline=inline)
    request = Request(kind=Kind.VIDEO, reading=EARLIEST, count=10)
    snapshot = await run(consumer(FakeBroker(video=jpeg(500)), request, output))
    assert output.seqs == list(range(1, 11))
    assert snapshot["objects"] == snapshot["delivered"] == 10
    assert output.closed == 1


async def test_a_count_is_exact_over_partitions_and_without_what_was_left_out() -> None:
    logs = {
        f"video__partition__{n}": jpeg(50, topic=f"{TOPIC}-partition-{n}", track=f"default/{n}/v")
        for n in range(3)
    }
    output = Collect()
    request = Request(kind=Kind.VIDEO, reading=EARLIEST, count=70)
    snapshot = await run(consumer(FakeBroker(**logs), request, output))
    assert len(output.items) == snapshot["delivered"] == 70
    assert len(snapshot["topics"]) == 3


async def test_latency_of_live_objects_on_this_machine_has_no_error() -> None:
    broker = FakeBroker(video=jpeg(3))
    role = consumer(broker, Request(kind=Kind.VIDEO, count=2))
    async with running(role) as task:
        now = now_stamps()
        broker.publish(message(4, clock=HERE, stamps=now, at_us=monotonic_us()))
        snapshot = await task
    assert snapshot["past"] == 1, "joined at the last picture"
    total = snapshot["latency"]["total"]
    assert total["n"] == 1
    assert 4.9 < total["p50_ms"] < 1000
    assert snapshot["clock_error_ms"] == 0
    assert snapshot["latency"]["hops"]["capture->encode"]["p50_ms"] == pytest.approx(1, rel=0.01)


async def test_objects_of_another_machine_have_no_latency() -> None:
    broker = FakeBroker(video=[])
    role = consumer(broker, Request(kind=Kind.VIDEO, count=1))
    async with running(role) as task:
        broker.publish(message(1, clock="elsewhere:5", stamps=now_stamps(), at_us=monotonic_us()))
        snapshot = await task
    assert snapshot["latency"]["total"]["p50_ms"] is None
    assert snapshot["latency"]["unknown"] == 1
    assert snapshot["latency"]["hops"]["capture->encode"]["n"] == 1


async def test_a_warm_up_does_not_count() -> None:
    broker = FakeBroker(video=[])
    role = consumer(broker, Request(kind=Kind.VIDEO, warmup_s=0.05))
    async with running(role) as task:
        broker.publish(message(1, clock=HERE, stamps=now_stamps(), at_us=monotonic_us()))
        await until(lambda: role.stats.total.n == 1)
        await until(lambda: role.stats.total.n == 0)
        broker.publish(message(2, clock=HERE, stamps=now_stamps(), at_us=monotonic_us()))
        await until(lambda: role.stats.total.n == 1)
        role.stop()
        snapshot = await task
    assert snapshot["objects"] == 2


async def test_filters_by_publisher_track_and_kind() -> None:
    tracks = ("default/a/video", "default/b/video", "default/a/video-2")
    log = [message(1, track=track, position=f"1:{n}") for n, track in enumerate(tracks)]
    sound = message(1, kind=Kind.AUDIO, track="default/a/video", position="1:9")
    log.append(sound)
    broker = FakeBroker(video=log)
    for wanted, found in (
        (Request(publisher="a"), ["default/a/video", "default/a/video-2"]),
        (Request(track="video"), ["default/a/video", "default/b/video"]),
        (Request(publisher="a", track="video"), ["default/a/video"]),
    ):
        output = Collect()
        request = replace(wanted, kind=Kind.VIDEO, reading=EARLIEST, count=len(found))
        snapshot = await run(consumer(broker, request, output))
        assert [one.track for one in output.items] == found
        assert snapshot["objects"] == len(found)


async def test_messages_of_others_are_counted_and_handed_on() -> None:
    output = Collect()
    request = Request(topic=TOPIC, reading=EARLIEST, count=2)
    log = [foreign(), foreign(position="1:1")]
    snapshot = await run(consumer(FakeBroker(video=log), request, output))
    assert snapshot["not_wtp"] == 2
    assert [one.message.payload for one in output.items] == [b"hello"] * 2


async def test_duration_ends_it() -> None:
    snapshot = await run(consumer(FakeBroker(video=[]), Request(kind=Kind.VIDEO, duration_s=0.05)))
    assert snapshot["objects"] == 0
    assert snapshot["duration_s"] >= 0.05


async def test_stopping_before_it_began_and_twice() -> None:
    role = consumer(FakeBroker(), Request(kind=Kind.VIDEO, wait=True))
    role.stop()
    role.stop()
    await run(role)


async def test_a_missing_topic_is_not_found() -> None:
    with pytest.raises(NotFound) as error:
        await run(consumer(FakeBroker(chat=[]), Request(kind=Kind.VIDEO)))
    assert "chat" in error.value.hint


async def test_waiting_for_a_topic_loses_nothing_of_it() -> None:
    broker, output = FakeBroker(), Collect()
    role = consumer(broker, Request(kind=Kind.CHAT, wait=True, count=2), output)
    task = asyncio.create_task(run(role))
    await until(lambda: role.state == "waiting")
    await asyncio.sleep(0.01)
    for seq in (1, 2):
        broker.publish(message(seq, kind=Kind.CHAT, topic="persistent://public/default/chat"))
    await task
    assert output.seqs == [1, 2]


async def test_a_room_and_a_topic_template_lead_to_the_topic() -> None:
    settings = {"rooms.room": "lab", "topics.template": "persistent://acme/{room}/t-{kind}"}
    role = consumer(FakeBroker(), Request(kind=Kind.AUDIO), settings=settings)
    assert role.topic == "persistent://acme/lab/t-audio"


async def test_a_durable_subscription_acknowledges_what_was_taken_and_only_that() -> None:
    broker, output = FakeBroker(video=jpeg(20)), Collect(inline=False)
    reading = Reading("earliest", False, "work", "failover")
    await run(consumer(broker, Request(kind=Kind.VIDEO, reading=reading, count=7), output))
    (reader,) = broker.all[TOPIC].readers
    assert broker.starts == ["work/failover/earliest"]
    assert reader.acked == [f"1:{n}" for n in range(1, 8)]
    assert reader.closed
    assert output.seqs == list(range(1, 8))


async def test_objects_that_could_not_be_written_are_not_acknowledged() -> None:
    broker = FakeBroker(video=jpeg(20))
    output = Collect(inline=False, problem=StorageError("disk: full."))
    reading = Reading("earliest", False, "work")
    role = consumer(broker, Request(kind=Kind.VIDEO, reading=reading), output)
    with pytest.raises(StorageError):
        await role.run(lambda _: None)
    assert broker.all[TOPIC].readers[0].acked == []
    assert role.snapshot()["dropped"] == {"stopped": role.snapshot()["objects"]}


async def test_what_an_output_leaves_out_is_counted_by_reason() -> None:
    output = Collect(reason="no-key")
    request = Request(kind=Kind.VIDEO, reading=EARLIEST, duration_s=0.1)
    snapshot = await run(consumer(FakeBroker(video=jpeg(5)), request, output))
    assert snapshot["dropped"] == {"no-key": 5}
    assert snapshot["delivered"] == 0


async def test_a_taken_subscription_says_so() -> None:
    broker = FakeBroker(video=[])
    broker.busy.add("work")
    reading = Reading(subscription="work")
    with pytest.raises(BrokerError) as error:
        await run(consumer(broker, Request(kind=Kind.VIDEO, reading=reading)))
    assert "in use" in error.value.message
    assert "--type shared" in error.value.hint


async def test_a_slow_output_drops_live_objects_and_counts_them() -> None:
    broker, gate = FakeBroker(video=[]), threading.Event()
    output = Collect(inline=False, lossless=False, gate=gate)
    role = consumer(broker, Request(kind=Kind.VIDEO), output)
    async with running(role) as task:
        broker.publish(message(1, content_type="image/jpeg"))
        await until(output.entered.is_set)
        for seq in range(2, 401):
            broker.publish(message(seq, content_type="image/jpeg"))
        await until(lambda: role.stats.objects == 400)
        gate.set()
        await until(lambda: role.ledger.in_flight == 0)
        role.stop()
        snapshot = await task
    assert snapshot["dropped"] == {"slow-output": 400 - snapshot["delivered"]}
    assert snapshot["delivered"] == 121
    assert output.seqs[-120:] == list(range(281, 401))


async def test_a_slow_output_holds_up_what_must_not_be_lost() -> None:
    broker, gate = FakeBroker(chat=[message(n, kind=Kind.CHAT) for n in range(1, 401)]), None
    gate = threading.Event()
    output = Collect(inline=False, lossless=False, gate=gate)
    for one in broker.all.values():
        one.log = [replace(m, topic="persistent://public/default/chat") for m in one.log]
    role = consumer(broker, Request(kind=Kind.CHAT, reading=EARLIEST, count=400), output)
    async with running(role) as task:
        await until(output.entered.is_set)
        await until(lambda: role.stats.objects > 120)
        assert role.stats.objects < 400
        gate.set()
        snapshot = await task
    assert snapshot["dropped"] == {}
    assert output.seqs == list(range(1, 401))


async def test_stopping_does_not_wait_for_an_output_that_hangs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(run_module, "FINISH_S", 0.05)
    gate = threading.Event()
    output = Collect(inline=False, gate=gate)
    role = consumer(FakeBroker(video=jpeg(5)), Request(kind=Kind.VIDEO, reading=EARLIEST), output)
    async with running(role) as task:
        await until(output.entered.is_set)
        role.stop()
        snapshot = await task
    assert output.closed == 0, "it would hang, too"
    gate.set()
    assert snapshot["dropped"] == {"stopped": 5}


@pytest.mark.parametrize("inline", [True, False])
async def test_errors_of_the_output_come_out_as_they_are(inline: bool) -> None:
    request = Request(kind=Kind.VIDEO, reading=EARLIEST)
    for problem in (BrokenPipeError(), StorageError("disk: full."), UsageError("Binary.")):
        output = Collect(inline=inline, problem=problem)
        with pytest.raises(type(problem)):
            await run(consumer(FakeBroker(video=jpeg(2)), request, output))
        assert output.closed == 1


async def test_an_output_that_wants_no_more_ends_it_well() -> None:
    output = Collect(inline=False, idle_s=0.01)
    await run(consumer(FakeBroker(video=[]), Request(kind=Kind.VIDEO), output))


async def test_losing_the_broker_is_said_and_reading_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    broker, output = FakeBroker(video=[]), Collect()
    role = consumer(broker, Request(kind=Kind.VIDEO), output)
    async with running(role) as task:
        reader = broker.all[TOPIC].readers[-1]
        reader.connected = False
        await until(lambda: role.snapshot()["state"] == "broker-lost")
        reader.connected = True
        await until(lambda: role.snapshot()["state"] == "reading")
        broker.publish(message(1))
        await until(lambda: output.seqs == [1])
        role.stop()
        await task
    assert "is lost" in caplog.text
    assert "is back" in caplog.text


async def test_a_client_that_stays_stuck_begins_anew_without_gap_or_repeat(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("wtp.consumer.feed.STUCK_US", 0)
    broker, output = FakeBroker(video=[]), Collect()
    role = consumer(broker, Request(kind=Kind.VIDEO), output)
    async with running(role) as task:
        for seq in (1, 2):
            broker.publish(message(seq))
        await until(lambda: output.seqs == [1, 2])
        first = broker.all[TOPIC].readers[-1]
        first.connected = False
        await until(lambda: first.closed)
        broker.publish(message(3))
        await until(lambda: output.seqs == [1, 2, 3])
        role.stop()
        await task
    assert "1:2" in broker.starts


class Withholding(FakeBroker):
    """Its first reader gets all but the newest message, and then nothing more."""

    async def reader(self, topic: str, **more: Any) -> FakeSubscription:
        found = await super().reader(topic, **more)
        if more.get("start") == "earliest":
            found.topic = FakeTopic(found.topic.log[:-1], found.topic.readers)
        return found


async def test_a_broker_that_withholds_what_it_has_is_asked_anew(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("wtp.consumer.feed.STUCK_US", 0)
    broker, output = Withholding(video=[message(seq) for seq in (1, 2, 3)]), Collect()
    role = consumer(broker, Request(kind=Kind.VIDEO, reading=Reading(start="earliest")), output)
    async with running(role) as task:
        await until(lambda: output.seqs == [1, 2, 3])
        role.stop()
        await task
    assert "1:2" in broker.starts
    assert "sends nothing of what it has" in caplog.text


async def test_opening_again_keeps_trying(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wtp.consumer.feed.FIRST_RETRY_S", 0.005)
    broker, output = FakeBroker(video=[]), Collect()
    role = consumer(broker, Request(kind=Kind.VIDEO), output)
    async with running(role) as task:
        original, failures = broker.reader, [True, True]

        async def reader(topic: str, **more: Any) -> FakeSubscription:
            if failures:
                failures.pop()
                raise BrokerUnavailable("Gone.")
            return await original(topic, **more)

        broker.reader = reader  # type: ignore[method-assign]  # a broker that is away for a while
        await broker.all[TOPIC].readers[-1].close()
        await until(lambda: not failures and len(broker.all[TOPIC].readers) > 1)
        broker.publish(message(1))
        await until(lambda: output.seqs == [1])
        role.stop()
        await task


class Batches(Collect):
    """Remembers how many objects came at once."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def take(self, items: Sequence[Item]) -> list[str]:
        self.sizes.append(len(items))
        return super().take(items)


async def test_a_receiver_of_files_holds_few_of_their_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    topic = TOPIC.replace("video", "file")
    parts = [message(n, kind=Kind.FILE, topic=topic, payload=bytes(10)) for n in range(20)]
    broker, output, queues = FakeBroker(file=parts), Batches(), list[int]()
    original = broker.reader

    async def reader(topic: str, *, queue: int, **more: Any) -> FakeSubscription:
        queues.append(queue)
        return await original(topic, queue=queue, **more)

    monkeypatch.setattr(broker, "reader", reader)
    monkeypatch.setattr(run_module, "BATCH_BYTES", 30)
    figures = await run(
        consumer(broker, Request(kind=Kind.FILE, reading=EARLIEST, count=20), output)
    )
    assert figures["delivered"] == 20
    assert output.sizes == [3] * 6 + [2]
    assert queues == [run_module.FILE_QUEUE]
    assert 2 * run_module.FILE_QUEUE * Kind.FILE.max_bytes <= 16 * 1024 * 1024
