"""A process that reads a topic and measures the objects of generators: from due to receipt."""

from __future__ import annotations

import asyncio
import itertools
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from wtp.bench.worker import run_exact, serve
from wtp.broker.client import Subscription
from wtp.broker.connect import connect
from wtp.broker.messages import Received
from wtp.clock import ClockDomain, monotonic_us
from wtp.config.schema import BrokerSettings
from wtp.errors import BrokerUnavailable
from wtp.metrics import Latency, Timeline

QUEUE = 5000
LOOK_S = 0.05
REMEMBERED = 4096
"""Sequences of a track that are remembered, to tell repeated objects from overtaken ones."""


@dataclass
class Window:
    """What counts: objects of these instances that were due in `[from_us, to_us)`, monotonic µs.

    Objects before and behind are received, and not measured: the warm-up, mostly.

    Attributes:
        instances: Publisher runs; empty for all.
        parts: Equal parts of the time whose percentiles are told one by one.
    """

    instances: frozenset[str] = frozenset()
    from_us: int = 0
    to_us: int = 0
    parts: int = 1
    latency: Latency = field(default_factory=Latency)
    received: int = 0
    repeated: int = 0
    unstamped: int = 0
    first_us: int = 0
    last_us: int = 0
    last_heard_us: int = field(default_factory=monotonic_us)
    timeline: Timeline = field(default_factory=lambda: Timeline(0))
    _seen: dict[str, set[int]] = field(default_factory=dict)
    _by_part: list[Latency] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.timeline = Timeline(self.from_us)
        if self.parts > 1:
            self._by_part = [Latency() for _ in range(self.parts)]

    def take(self, message: Received) -> None:
        """Count a message."""
        properties = message.properties
        if self.instances and properties.get("instance") not in self.instances:
            return
        at_us = self.last_heard_us = message.receive_monotonic_us
        seq = int(properties["seq"])
        if not self._is_new(message.key, seq):
            self.repeated += 1
            return
        self.received += 1
        due_us = due_monotonic_us(properties)
        if due_us is None:
            self.unstamped += 1
            return
        if self.from_us <= due_us < self.to_us:
            self.first_us = self.first_us or at_us
            self.last_us = at_us
            self.latency.add(at_us - due_us)
            self.timeline.add(due_us, at_us - due_us)
            if self._by_part:
                part = (due_us - self.from_us) * self.parts // (self.to_us - self.from_us)
                self._by_part[part].add(at_us - due_us)

    def _is_new(self, track: str, seq: int) -> bool:
        """Whether an object comes for the first time; after a loss later ones may overtake it."""
        seen = self._seen.setdefault(track, set())
        if seq in seen:
            return False
        seen.add(seq)
        if len(seen) > 2 * REMEMBERED:
            newest = max(seen)
            self._seen[track] = {one for one in seen if one > newest - REMEMBERED}
        return True

    def figures(self) -> dict[str, Any]:
        """Keys as in `wtp.bench.result`, beside `received`, `repeated` and `unstamped`."""
        return {
            **self.latency.snapshot(),
            "received": self.received,
            "repeated": self.repeated,
            "unstamped": self.unstamped,
            "span_s": round((self.last_us - self.first_us) / 1e6, 3),
            "parts": [part.snapshot() for part in self._by_part],
            "histogram": self.latency.encoded() if self.latency.n else None,
            "timeline": self.timeline.snapshot(),
        }


def due_monotonic_us(properties: Any) -> int | None:
    """When an object was due, on CLOCK_MONOTONIC; None without stamp or clock."""
    domain = ClockDomain.parse(properties.get("clock", ""))
    capture = properties.get("capture_us")
    return None if capture is None or domain is None else int(capture) - domain.anchor_us


def run_meter(pipe: Connection, broker: BrokerSettings, topics: list[str]) -> None:
    """Main of a meter process: `window INSTANCES FROM_US TO_US [PARTS]`, then `figures`.

    `figures EXPECTED SILENCE_S` waits until so many objects came, or none for that long.
    """
    run_exact(_run(pipe, broker, topics))


async def _run(pipe: Connection, broker: BrokerSettings, topics: list[str]) -> None:
    client = connect(broker)
    window = Window()
    cpu_s = 0.0
    readers: list[Subscription] = []

    async def follow(reader: Subscription) -> None:
        try:
            for number in itertools.count():
                message = await reader.receive()
                window.take(message)  # the window of now, not of before the wait
                if number % 64 == 0:
                    await asyncio.sleep(0)
        except BrokerUnavailable:
            pass  # closed

    async def answer(word: str, *args: Any) -> Any:
        nonlocal window, cpu_s
        if word == "window":
            instances, *rest = args
            window, cpu_s = Window(frozenset(instances), *rest), time.process_time()
            return "counting"
        expected, silence_s = args
        window.last_heard_us = monotonic_us()
        while window.received < expected:
            if monotonic_us() - window.last_heard_us > silence_s * 1e6:
                break
            await asyncio.sleep(LOOK_S)
        return {**window.figures(), "cpu_s": round(time.process_time() - cpu_s, 3)}

    try:
        readers += [await client.reader(topic, start="latest", queue=QUEUE) for topic in topics]
        async with asyncio.TaskGroup() as tasks:
            for reader in readers:
                tasks.create_task(follow(reader))
            await serve(pipe, answer)
            for reader in readers:
                await reader.close()
    finally:
        await client.close()
