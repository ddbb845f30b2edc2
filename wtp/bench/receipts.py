"""`wtp bench receipts`: reliable objects and the broker's receipts, beside pulsar-client alone.

One publisher sends objects of one size through router and broker, first as fast as its window of
unreceipted objects allows, then at a fixed rate, where the way from offer to receipt is measured.
The baseline does the same with a producer of pulsar-client: a name, sequence ids, no batching, and
as many objects without receipt.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from multiprocessing.connection import Connection as Pipe
from typing import Any, Protocol

from wtp.bench.machine import machine_line, spin_ms
from wtp.bench.path import LocalPath
from wtp.broker.connect import connect
from wtp.clock import Clock, monotonic_us
from wtp.config.schema import BrokerSettings
from wtp.errors import BrokerError, Refused, WtpError
from wtp.metrics import Latency
from wtp.model import Kind
from wtp.publisher.connection import Connection, Target
from wtp.publisher.reliable import WINDOW_OBJECTS, ReliableTrack
from wtp.publisher.session import TrackSpec
from wtp.transport.trust import Trust

FLUSH_S = 10.0
READY_S = 30.0
SLICE = 64
"""Objects after which a sender that never waits lets the loop turn."""

Say = Callable[[str], None]


class Sink(Protocol):
    """Where objects go."""

    latency: Latency

    @property
    def receipted(self) -> int:
        """Objects with a receipt."""

    async def send(self, payload: bytes, due_us: int) -> None:
        """Take one that was due at that time; waits while too many have no receipt."""

    async def settled(self) -> None:
        """Wait until all have their receipt."""


class TimedTrack(ReliableTrack):
    """A reliable track that measures from each offer to its receipt."""

    def __init__(self, spec: TrackSpec, clock: Clock) -> None:
        super().__init__(spec, clock)
        self.latency = Latency()
        self.due_us = 0
        self.receipted_objects = 0
        self._began_us: deque[int] = deque()

    async def offer(self, payload: bytes, attributes: Mapping[str, str]) -> bool:
        """Take an object and note when it was due."""
        self._began_us.append(self.due_us)
        return await super().offer(payload, attributes)

    def receipt(self, up_to_seq: int) -> None:
        """Measure what was receipted."""
        super().receipt(up_to_seq)
        now_us = monotonic_us()
        while self.receipted_objects < up_to_seq:
            self.latency.add(now_us - self._began_us.popleft())
            self.receipted_objects += 1


class Routed:
    """Through a session with the router."""

    def __init__(self, track: TimedTrack) -> None:
        self._track = track

    @property
    def latency(self) -> Latency:
        """From offer to receipt."""
        return self._track.latency

    @latency.setter
    def latency(self, value: Latency) -> None:
        self._track.latency = value

    @property
    def receipted(self) -> int:
        """Objects with a receipt."""
        return self._track.receipted_objects

    async def send(self, payload: bytes, due_us: int) -> None:
        """Take one; waits while the window is full."""
        self._track.due_us = due_us
        await self._track.offer(payload, {})

    async def settled(self) -> None:
        """Wait until all have their receipt."""
        await self._track.receipted()


class Direct:
    """Through a producer of pulsar-client."""

    def __init__(self, producer: Any) -> None:
        self.latency = Latency()
        self._receipted = 0
        self._producer = producer
        self._sent = 0
        self._room = asyncio.Event()

    @property
    def receipted(self) -> int:
        """Objects with a receipt."""
        return self._receipted

    async def send(self, payload: bytes, due_us: int) -> None:
        """Take one; waits while as many as a publisher's window have no receipt."""
        while self._sent - self._receipted >= WINDOW_OBJECTS:
            self._room.clear()
            await self._room.wait()

        def done(error: BrokerError | Refused | None) -> None:
            if error is not None:
                raise error
            self._receipted += 1
            self.latency.add(monotonic_us() - due_us)
            self._room.set()

        self._sent += 1
        self._producer.send(
            payload, properties={}, key="bench", event_ms=0, seq=self._sent, done=done
        )

    async def settled(self) -> None:
        """Wait until all have their receipt."""
        while self._receipted < self._sent:
            self._room.clear()
            await self._room.wait()


async def _flat_out(sink: Sink, payload: bytes, duration_s: float) -> float:
    """Send as fast as receipts allow; returns receipted objects a second."""
    began_us, first = monotonic_us(), sink.receipted
    end_us = began_us + int(duration_s * 1e6)
    count = 0
    while monotonic_us() < end_us:
        await sink.send(payload, monotonic_us())
        count += 1
        if count % SLICE == 0:
            await asyncio.sleep(0)
    await sink.settled()
    return (sink.receipted - first) * 1e6 / (monotonic_us() - began_us)


async def _paced(sink: Sink, payload: bytes, rate: float, duration_s: float) -> dict[str, Any]:
    """Send at a rate; returns percentiles from the time an object was due to its receipt."""
    sink.latency = Latency()
    began_us = monotonic_us()
    for number in range(int(rate * duration_s)):
        due_us = began_us + int(number * 1e6 / rate)
        wait_us = due_us - monotonic_us()
        if wait_us > 0:
            await asyncio.sleep(wait_us / 1e6)
        await sink.send(payload, due_us)
    await sink.settled()
    return {**sink.latency.snapshot(), "histogram": sink.latency.encoded()}


async def _measure(sink: Sink, config: dict[str, Any]) -> dict[str, Any]:
    payload = bytes(config["size_bytes"])
    await _flat_out(sink, payload, config["warmup_s"])
    per_s = await _flat_out(sink, payload, config["duration_s"])
    paced = await _paced(sink, payload, config["rate"], config["duration_s"])
    return {**paced, "objects_per_s": round(per_s, 1)}


async def _routed(config: dict[str, Any], url: str, cert_hash: str) -> dict[str, Any]:
    spec = TrackSpec(1, "data", Kind.DATA, "application/octet-stream")
    clock = Clock()
    track = TimedTrack(spec, clock)
    trust = Trust(cert_hash=cert_hash)
    target = Target(url, url, "bench", secrets.token_hex(8), lambda: trust)
    connection = Connection(target, {1: track}, clock)
    running = asyncio.create_task(connection.run())
    try:
        async with asyncio.timeout(READY_S):
            while not connection.usable.is_set():
                if running.done():
                    running.result()
                await asyncio.sleep(0.01)
        figures = await _measure(Routed(track), config)
        await connection.finish(FLUSH_S)
        return figures
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def _direct(config: dict[str, Any], broker: BrokerSettings, topic: str) -> dict[str, Any]:
    client = connect(broker)
    try:
        producer = await client.producer(topic, name="bench", max_pending=2 * WINDOW_OBJECTS)
        return await _measure(Direct(producer), config)
    finally:
        await client.close()


def _in_process(pipe: Pipe, work: Callable[..., Awaitable[dict[str, Any]]], *args: Any) -> None:
    async def run() -> dict[str, Any]:
        return await work(*args)

    try:
        pipe.send(asyncio.run(run()))
    except (WtpError, TimeoutError) as error:
        pipe.send({"error": str(error) or "nothing came in time"})


async def _apart(
    seconds: float, work: Callable[..., Awaitable[dict[str, Any]]], *args: Any
) -> dict[str, Any]:
    """Run something in a process of its own.

    Raises:
        WtpError: It failed or did not end.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_in_process, args=(theirs, work, *args), daemon=True)
    process.start()
    try:
        if not await asyncio.to_thread(ours.poll, seconds):
            raise WtpError("The sender did not end.", hint="Is the machine very busy?")
        figures: dict[str, Any] = ours.recv()
    finally:
        process.kill()
        await asyncio.to_thread(process.join)
        ours.close()
        theirs.close()
    if "error" in figures:
        raise WtpError(figures["error"], hint="See the router's log.")
    return figures


async def run(config: dict[str, Any], say: Say = lambda _: None) -> dict[str, Any]:
    """Measure both ways.

    Args:
        config: `size_bytes`, `rate` (objects/s of the paced part), `duration_s` (of each of the
            two parts of each way), `warmup_s`, `fsync`.
        say: Told in a sentence what is going on.

    Returns:
        `objects_per_s` flat out, `n` and percentiles in ms from scheduled offer to receipt at
        `rate`, the same as `baseline` by pulsar-client alone, `ratio_p50`, `router_cpu_s_per_1000`,
        `broker_cpu_s_per_1000`, `spin_ms`, `configuration`.

    Raises:
        WtpError: The router refused, or a process failed.
    """
    spin_before = await asyncio.to_thread(spin_ms)
    seconds = READY_S + 2 * config["duration_s"] + config["warmup_s"] + 30.0
    async with LocalPath(config["fsync"]) as path:
        await path.make_rooms()
        say("through the router")
        before = path.cpu()
        url = f"{path.router_url}?room={path.room}"
        routed = await _apart(seconds, _routed, config, url, path.cert_hash)
        after = path.cpu()
        say("pulsar-client alone")
        direct = await _apart(seconds, _direct, config, path.broker, path.topic("chat"))
        router = path.processes["router"].last
    delivered = max(1, (router.get("objects") or {}).get("delivered", 0))
    return {
        "from": "scheduled offer",
        "to": "receipt",
        **routed,
        "baseline": direct,
        "ratio_p50": round(routed["p50_ms"] / direct["p50_ms"], 2),
        **{
            f"{name}_cpu_s_per_1000": round((after[name] - before[name]) * 1000 / delivered, 3)
            for name in ("router", "broker")
        },
        "spin_ms": [spin_before, await asyncio.to_thread(spin_ms)],
        "configuration": {**config, "machine": machine_line()},
    }
