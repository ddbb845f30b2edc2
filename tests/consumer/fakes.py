"""A broker in memory, and messages as the router publishes them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from wtp.clock import ClockDomain, monotonic_us
from wtp.config.schema import Settings
from wtp.consumer.item import Item, read_object
from wtp.errors import BrokerError, BrokerUnavailable, NotFound
from wtp.model import Kind, Object, to_properties

TOPIC = "persistent://public/default/video"
DOMAIN = ClockDomain("boot-1", 1_700_000_000_000_000)
SETTINGS = Settings()


@dataclass(frozen=True, slots=True)
class FakeMessage:
    """As `wtp.broker.messages.Received`."""

    topic: str
    key: str
    properties: Mapping[str, str]
    payload: bytes
    publish_ms: int
    position: str
    receive_monotonic_us: int


def message(
    seq: int = 1,
    *,
    kind: Kind = Kind.VIDEO,
    key: bool = True,
    track: str = "default/cam/video",
    payload: bytes = b"payload",
    content_type: str = "video/h264",
    instance: str = "i1",
    clock: str = str(DOMAIN),
    clock_error_us: int | None = 0,
    position: str = "",
    topic: str = TOPIC,
    publish_ms: int = 0,
    at_us: int = 0,
    stamps: Mapping[str, int] | None = None,
    attributes: Mapping[str, str] | None = None,
    replayed: bool = False,
) -> FakeMessage:
    """A message of ours; `stamps` are CLOCK_MONOTONIC, as is `at_us`, its arrival."""
    stamped: dict[str, Any] = {
        name: DOMAIN.anchor_us + value for name, value in (stamps or {}).items()
    }
    obj = Object(
        kind=kind, seq=seq, group=seq, key=key, payload=payload, content_type=content_type,
        attributes=attributes or {}, replayed=replayed, **stamped,
    )  # fmt: skip
    return FakeMessage(
        topic=topic,
        key=track,
        properties=to_properties(obj, instance, clock, clock_error_us),
        payload=payload,
        publish_ms=publish_ms,
        position=position or f"1:{seq}",
        receive_monotonic_us=at_us,
    )


def foreign(payload: bytes = b"hello", *, key: str = "", position: str = "1:0") -> FakeMessage:
    """A message that is not ours."""
    return FakeMessage(TOPIC, key, {"colour": "red"}, payload, 0, position, 0)


def item(of: FakeMessage, *, live: bool = True, receive_us: int | None = None) -> Item:
    """An item as the consumer makes it."""
    obj, fault = read_object(of)
    return Item(
        message=of,
        track=of.key,
        kind=obj.kind.value if obj else "",
        obj=obj,
        fault=fault,
        instance=of.properties.get("instance", ""),
        live=live,
        receive_us=receive_us,
        clock_error_us=0 if receive_us is not None else None,
    )


@dataclass
class FakeTopic:
    """What a topic holds, and who reads it."""

    log: list[FakeMessage] = field(default_factory=list)
    readers: list[FakeSubscription] = field(default_factory=list)


class FakeSubscription:
    """A cursor over a fake topic."""

    def __init__(self, topic: FakeTopic, at: int) -> None:
        self.topic, self.at = topic, at
        self.connected = True
        self.closed = False
        self.acked: list[str] = []
        self.more = asyncio.Event()
        topic.readers.append(self)

    async def receive(self) -> FakeMessage:
        while self.closed or self.at >= len(self.topic.log):
            if self.closed:
                raise BrokerUnavailable("The subscription is closed.")
            self.more.clear()
            await self.more.wait()
        found = self.topic.log[self.at]
        self.at += 1
        return found

    async def seek_ms(self, publish_ms: int) -> None:
        times = [entry.publish_ms for entry in self.topic.log]
        self.at = next((i for i, t in enumerate(times) if t >= publish_ms), len(times))

    def ack(self, of: FakeMessage) -> None:
        self.acked.append(of.position)

    async def close(self) -> None:
        self.closed = True
        self.more.set()


class FakeBroker:
    """As `wtp.broker.client.BrokerClient`, and its admin side."""

    def __init__(self, **logs: Sequence[FakeMessage]) -> None:
        self.all = {
            f"persistent://public/default/{name.replace('__', '-')}": FakeTopic(list(log))
            for name, log in logs.items()
        }
        self.starts: list[str] = []
        self.busy: set[str] = set()
        self.closed = False

    def publish(self, of: FakeMessage) -> None:
        topic = self.all.setdefault(of.topic, FakeTopic())
        topic.log.append(of)
        for reader in topic.readers:
            reader.more.set()

    def _find(self, topic: str) -> FakeTopic:
        if topic not in self.all:
            raise NotFound(f"{topic}: no such topic.")
        return self.all[topic]

    async def reader(
        self, topic: str, *, start: str = "latest", inclusive: bool = True, queue: int = 100
    ) -> FakeSubscription:
        found = self._find(topic)
        self.starts.append(start)
        if start in ("latest", "earliest"):
            return FakeSubscription(found, len(found.log) if start == "latest" else 0)
        ledger, entry = (int(part) for part in start.split(":")[:2])
        at = 0
        for at, one in enumerate(found.log):  # noqa: B007 - the place where it ends is wanted
            place = tuple(int(part) for part in one.position.split(":")[:2])
            if place > (ledger, entry) or (inclusive and place == (ledger, entry)):
                break
        else:
            at = len(found.log)
        return FakeSubscription(found, at)

    async def subscribe(
        self,
        topic: str,
        name: str,
        *,
        kind: str = "exclusive",
        start: str = "latest",
        queue: int = 1000,
    ) -> FakeSubscription:
        if name in self.busy:
            raise BrokerError("ConsumerBusy.", code="busy")
        found = self._find(topic)
        self.starts.append(f"{name}/{kind}/{start}")
        return FakeSubscription(found, len(found.log) if start == "latest" else 0)

    async def last_position(self, topic: str) -> str | None:
        log = self._find(topic).log
        return ":".join(log[-1].position.split(":")[:2]) if log else None

    async def close(self) -> None:
        self.closed = True
        for topic in self.all.values():
            for reader in topic.readers:
                await reader.close()

    async def list_topics(self, namespace: str, *, each_partition: bool = False) -> list[str]:
        if namespace != "public/default":
            raise NotFound(f"No namespace {namespace}.")
        return sorted(self.all)

    async def namespaces(self, tenant: str = "public") -> list[str]:
        return [f"{tenant}/default", f"{tenant}/lab"]


def now_stamps() -> dict[str, int]:
    """Stamps of an object that was captured 5 ms ago, 1 ms per hop."""
    now = monotonic_us()
    return {
        "capture_us": now - 5000,
        "encode_us": now - 4000,
        "send_us": now - 3000,
        "route_us": now - 2000,
        "publish_us": now - 1000,
    }
