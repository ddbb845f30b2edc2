"""A broker in memory with several topics, and rooms filled with objects of known times."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from wtp.config.schema import Settings
from wtp.consumer.item import Item, read_place
from wtp.errors import BrokerError, BrokerUnavailable, NotFound
from wtp.model import Kind, Object, to_properties
from wtp.replayer.request import Request
from wtp.replayer.run import Replayer
from wtp.replayer.sink import OutputSink, Sink

SETTINGS = Settings()
T0_US = 1_700_000_000_000_000
"""Capture time of the first object of a test's room."""

SECOND_US = 1_000_000


@dataclass(frozen=True, slots=True)
class FakeMessage:
    """As `wtp.broker.messages.Received`."""

    topic: str
    key: str
    properties: Mapping[str, str]
    payload: bytes
    publish_ms: int
    event_ms: int
    position: str
    receive_monotonic_us: int = 0


def topic_of(kind: str, room: str = "default") -> str:
    return f"persistent://public/{room}/{kind}"


def message(
    at_us: int,
    seq: int = 1,
    *,
    kind: Kind = Kind.VIDEO,
    publisher: str = "cam",
    position: str = "",
    delay_us: int = 2_000,
    payload: bytes = b"payload",
    topic: str = "",
    captured: bool = True,
) -> FakeMessage:
    """An object captured at a time and published a little later."""
    obj = Object(
        kind=kind, seq=seq, group=seq, key=True, payload=payload, content_type="image/jpeg",
        capture_us=at_us if captured else None,
    )  # fmt: skip
    return FakeMessage(
        topic=topic or topic_of(kind),
        key=f"default/{publisher}/{kind}",
        properties=to_properties(obj, "run-1", "boot:1", 0),
        payload=payload,
        publish_ms=(at_us + delay_us) // 1000,
        event_ms=at_us // 1000 if captured else 0,
        position=position or f"1:{seq - 1}",
    )


def foreign(publish_ms: int, *, event_ms: int = 0, position: str = "1:0") -> FakeMessage:
    """A message that is not ours."""
    return FakeMessage(topic_of("video"), "", {}, b"hello", publish_ms, event_ms, position)


class FakeReader:
    """A cursor over a fake topic that obeys `queue`."""

    def __init__(self, log: list[FakeMessage], at: int, news: asyncio.Condition) -> None:
        self.log, self.at = log, at
        self.connected = True
        self.closed = False
        self._news = news

    @property
    def waiting(self) -> int:
        return 0 if self.closed else max(0, len(self.log) - self.at)

    async def receive(self) -> FakeMessage:
        async with self._news:
            await self._news.wait_for(lambda: self.closed or self.at < len(self.log))
        if self.closed:
            raise BrokerUnavailable("The subscription is closed.")
        self.at += 1
        return self.log[self.at - 1]

    async def seek_ms(self, publish_ms: int) -> None:
        times = [entry.publish_ms for entry in self.log]
        self.at = next((i for i, t in enumerate(times) if t >= publish_ms), len(times))

    async def close(self) -> None:
        self.closed = True
        async with self._news:
            self._news.notify_all()


@dataclass
class Sent:
    """An object that was published."""

    topic: str
    name: str
    seq: int | None
    payload: bytes
    properties: dict[str, str]
    key: str
    event_ms: int


class FakeProducer:
    """Gives receipts at once, or the broker's error; de-duplicates by name."""

    def __init__(self, broker: FakeBroker, topic: str, name: str) -> None:
        self._broker, self._topic, self._name = broker, topic, name
        self.last_seq = broker.last_seqs.get((topic, name), -1)

    def send(
        self, payload: bytes, *, properties: dict[str, str], key: str, event_ms: int,
        seq: int | None, done: Callable[[Exception | None], None],
    ) -> None:  # fmt: skip
        if self._broker.send_error is None:
            sent = Sent(self._topic, self._name, seq, payload, properties, key, event_ms)
            self._broker.sent.append(sent)
            if seq is not None:
                self._broker.last_seqs[self._topic, self._name] = seq
        asyncio.get_running_loop().call_soon(done, self._broker.send_error)

    async def close(self) -> None:
        return


@dataclass
class FakeBroker:
    """Topics, and what was asked of them."""

    topics: dict[str, list[FakeMessage]] = field(default_factory=dict)
    readers: list[FakeReader] = field(default_factory=list)
    starts: list[tuple[str, str]] = field(default_factory=list)
    queues: list[int] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)
    last_seqs: dict[tuple[str, str], int] = field(default_factory=dict)
    created: list[str] = field(default_factory=list)
    send_error: Exception | None = None
    busy: bool = False
    admin_error: BrokerError | None = None
    news: asyncio.Condition = field(default_factory=asyncio.Condition)
    closed: int = 0

    async def append(self, *messages: FakeMessage) -> None:
        for one in messages:
            log = self.topics.setdefault(one.topic, [])
            log.append(replace(one, position=f"1:{len(log)}"))
        async with self.news:
            self.news.notify_all()

    async def reader(
        self, topic: str, *, start: str = "latest", inclusive: bool = True, queue: int = 100
    ) -> FakeReader:
        self.starts.append((topic, start))
        self.queues.append(queue)
        log = self.topics[topic]
        at = 0
        if start == "latest":
            at = len(log)
        elif start != "earliest":
            place = read_place(start)[:2]
            at = sum(read_place(m.position)[:2] < place for m in log)
            if not inclusive:
                at = sum(read_place(m.position)[:2] <= place for m in log)
        reader = FakeReader(log, at, self.news)
        self.readers.append(reader)
        return reader

    async def producer(self, topic: str, *, name: str = "", max_pending: int = 1000) -> Any:
        if self.busy:
            raise BrokerError("taken", code="busy")
        return FakeProducer(self, topic, name)

    async def last_position(self, topic: str) -> str | None:
        log = self.topics[topic]
        return ":".join(log[-1].position.split(":")[:2]) if log else None

    async def close(self) -> None:
        self.closed += 1

    # The directory.

    async def list_topics(self, namespace: str, *, each_partition: bool = False) -> list[str]:
        if self.admin_error is not None:
            raise self.admin_error
        found = [name for name in self.topics if f"://{namespace}/" in name]
        if not found and namespace not in self.created:
            raise NotFound(f"No namespace {namespace}.")
        return sorted(found)

    async def namespaces(self, tenant: str = "public") -> list[str]:
        return [f"{tenant}/default", f"{tenant}/lab"]

    async def ensure_namespace(self, namespace: str, **policies: Any) -> bool:
        if namespace in self.created:
            return False
        self.created.append(namespace)
        return True

    @contextlib.asynccontextmanager
    async def directory(self) -> AsyncIterator[FakeBroker]:
        yield self


@dataclass
class Collect:
    """An output that remembers."""

    inline: bool = True
    lossless: bool = True
    idle_s: float = 0.0
    items: list[Item] = field(default_factory=list)
    problem: BaseException | None = None
    reason: str = ""
    idles: int = 0
    closed: int = 0
    more: asyncio.Event = field(default_factory=asyncio.Event)

    def open(self) -> None:
        return

    def take(self, items: Sequence[Item]) -> list[str]:
        if self.problem is not None:
            raise self.problem
        self.items += items
        self.more.set()
        return [self.reason] * len(items)

    def idle(self) -> None:
        self.idles += 1

    def close(self) -> None:
        self.closed += 1

    def seqs(self, track: str = "default/cam/video") -> list[int]:
        return [item.obj.seq for item in self.items if item.obj and item.track == track]

    async def until(self, count: int) -> None:
        async with asyncio.timeout(60):
            while len(self.items) < count:
                self.more.clear()
                await self.more.wait()


def replayer(
    broker: FakeBroker,
    request: Request,
    output: Collect | None = None,
    *,
    sink: Sink | None = None,
    settings: Settings = SETTINGS,
) -> Replayer:
    return Replayer(
        settings, request, sink or OutputSink(output or Collect()),
        broker=lambda: broker, directory=broker.directory,
    )  # fmt: skip


async def run(role: Replayer) -> dict[str, Any]:
    """Run a replay to its end; its last snapshot."""
    async with asyncio.timeout(60):
        await role.run(lambda _: None)
    shot = role.snapshot()
    dropped = sum(shot["dropped"].values())
    assert shot["objects"] == shot["delivered"] + dropped + shot["in_flight"]
    assert shot["in_flight"] == 0
    assert shot["state"] == "stopped"
    return shot


def room(seconds: int = 3, fps: int = 10) -> FakeBroker:
    """A room of video and audio in step, and a chat line a second, on topics of their own."""
    step_us = SECOND_US // fps
    count = seconds * fps
    topics = {
        topic_of(kind): [
            message(T0_US + i * step_us + shift, i + 1, kind=kind, topic=topic_of(kind))
            for i in range(count)
        ]
        for kind, shift in ((Kind.VIDEO, 0), (Kind.AUDIO, step_us // 2))
    }
    topics[topic_of("chat")] = [
        message(T0_US + i * SECOND_US, i + 1, kind=Kind.CHAT, payload=b"line %d" % i)
        for i in range(seconds)
    ]
    return FakeBroker(topics)
