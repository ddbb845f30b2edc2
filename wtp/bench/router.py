"""`wtp bench router`: objects of one size at one rate, or flat out, through router and broker.

A generator process opens a WebTransport session and sends live objects, each a group of its own, as
an all-intra camera would; a reader process measures from the scheduled send time to the receipt, so
that a generator that falls behind raises the figures instead of hiding them.
"""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from wtp.bench.machine import machine_line, memory_figures, spin_ms
from wtp.bench.path import GivenPath, LocalPath
from wtp.broker.connect import connect as connect_broker
from wtp.clock import monotonic_us
from wtp.config.schema import BrokerSettings
from wtp.errors import ConnectionFailed, Refused, WtpError
from wtp.metrics import Latency, Timeline
from wtp.model import Kind, Object
from wtp.transport.client import Trust, connect
from wtp.transport.session import Session
from wtp.wire import StreamType, control
from wtp.wire.objects import encode_head

PUBLISH_S = 30.0
SILENCE_S = 3.0
ANSWER_S = 30.0
"""What a reader may take beyond its silence before it counts as stopped."""
MAX_BACKLOG_BYTES = 1024 * 1024
"""A generator with more than this on its way to the router drops instead, and counts it."""

Say = Callable[[str], None]


class Generator:
    """A minimal publisher: one track of live objects with payloads of zeros."""

    def __init__(self) -> None:
        self.session: Session | None = None
        self.published = asyncio.Event()
        self.flushed = asyncio.Event()
        self.error = ""
        self._parser = control.ControlParser()
        self._first = True

    def stream_data(self, stream: int, data: bytes, end: bool) -> None:
        """Control messages of the router."""
        count, session = len(data), self.session
        if self._first and data:
            data, self._first = data[1:], False
        for message in self._parser.feed(data):
            if isinstance(message, control.Published):
                self.published.set()
            elif isinstance(message, control.Flushed):
                self.flushed.set()
            elif isinstance(message, control.Error):
                self._fail(message.message)
        if session is not None:
            session.release(stream, count)

    def stream_reset(self, stream: int, code: int) -> None:
        """The router resets no control stream."""

    def stream_stopped(self, stream: int, code: int) -> None:
        """The router refuses no stream of a live track."""

    def datagram(self, data: bytes) -> None:
        """None are expected."""

    def writable(self) -> None:
        """The backlog is looked at before each send."""

    def closed(self, code: int, reason: str) -> None:
        """The session is over."""
        self._fail(reason or "the session ended")

    def _fail(self, why: str) -> None:
        self.error = self.error or why
        self.published.set()
        self.flushed.set()


async def _generate(
    url: str, trust: Trust, size_bytes: int, rate: float, duration_s: float, mtu: int
) -> dict[str, Any]:
    generator = Generator()
    session = await connect(url, lambda _: generator, trust, mtu=mtu)
    generator.session = session
    stream = session.open_stream()
    session.send(stream, bytes([StreamType.CONTROL]))
    for message in (
        control.Hello("bench", "bench"),
        control.Offset(0, 0),
        control.Publish(1, "video", Kind.VIDEO.value, "application/octet-stream"),
    ):
        session.send(stream, control.encode(message))
    async with asyncio.timeout(PUBLISH_S):
        await generator.published.wait()
    if generator.error:
        raise Refused(
            f"The router refused the generator: {generator.error.rstrip('.')}.",
            hint="Choose a room where this publisher may send: --room.",
        )
    payload, sent, dropped = bytes(size_bytes), 0, 0
    start_us = monotonic_us() + 100_000
    end_us = start_us + int(duration_s * 1e6)
    due_us = start_us
    while due_us < end_us and not generator.error:
        wait_us = due_us - monotonic_us()
        if wait_us > 0:
            await asyncio.sleep(wait_us / 1e6)
        if session.backlog() > MAX_BACKLOG_BYTES:
            dropped += 1
            await asyncio.sleep(0)
        else:
            sent += 1
            obj = Object(Kind.VIDEO, sent, sent, True, payload, capture_us=due_us)
            lane = session.open_stream()
            session.send(
                lane, bytes([StreamType.OBJECTS]) + encode_head(1, obj) + payload, end=True
            )
        due_us += int(1e6 / rate)
    session.send(stream, control.encode(control.Flush({"1": sent})))
    async with asyncio.timeout(10):
        await generator.flushed.wait()
    packet_bytes = session.stats.datagram_bytes
    session.close()
    await session.wait_closed()
    return {"sent": sent, "generator_dropped": dropped, "packet_bytes": packet_bytes}


async def _read(broker: BrokerSettings, topic: str, warmup_us: int, pipe: Connection) -> None:
    client = connect_broker(broker)
    latency, timeline = Latency(), Timeline(0)
    first_us = received = last_us = 0
    try:
        reader = await client.reader(topic, start="latest", queue=1000)
        pipe.send("ready")
        patience_s = 30.0
        while True:
            async with asyncio.timeout(patience_s):
                message = await reader.receive()
            patience_s = SILENCE_S
            received += 1
            due_us = int(message.properties["capture_us"])
            if not first_us:
                first_us, timeline = due_us, Timeline(due_us + warmup_us)
            if due_us - first_us >= warmup_us:
                took_us = message.receive_monotonic_us - due_us
                latency.add(took_us)
                timeline.add(due_us, took_us)
                last_us = message.receive_monotonic_us
    except TimeoutError:
        pass
    finally:
        await client.close()
    span_s = max(1e-9, (last_us - first_us - warmup_us) / 1e6)
    pipe.send(
        {
            **latency.snapshot(),
            "received": received,
            "objects_per_s": round(latency.n / span_s, 1) if latency.n else None,
            "histogram": latency.encoded(),
            "timeline": timeline.snapshot(),
        }
    )


def run_generator(pipe: Connection, *args: Any) -> None:
    """Send objects; the pipe gets the counts, or what went wrong."""
    try:
        pipe.send(asyncio.run(_generate(*args)))
    except WtpError as error:
        pipe.send(error)
    except TimeoutError:
        pipe.send(ConnectionFailed("The router does not answer.", hint="See the router's log."))


def run_reader(broker: BrokerSettings, topic: str, warmup_us: int, pipe: Connection) -> None:
    """Receive them; the pipe gets `ready` and the figures in the end, or what went wrong."""
    try:
        asyncio.run(_read(broker, topic, warmup_us, pipe))
    except WtpError as error:
        pipe.send(error)


async def run(
    config: dict[str, Any], say: Say = lambda _: None, given: GivenPath | None = None
) -> dict[str, Any]:
    """Measure one rate.

    Args:
        config: `size_bytes`, `rate` (objects/s), `duration_s`, `warmup_s`, `mtu`, `fsync`.
        say: Told in a sentence what is going on.
        given: A router and a broker that run already; None starts some.

    Returns:
        `n`, percentiles in ms from scheduled send to receipt, `objects_per_s`, `offered`,
        `delivered` (received), `in_flight`, `dropped` and `dropped_by_hop`,
        `router_cpu_s_per_1000`, `broker_cpu_s_per_1000`, `packet_bytes`; of a given router what it
        dropped and its CPU time are unknown. Of a reader that has
        fallen silent all of it is unknown, `n` is 0, and a note says so.

    Raises:
        WtpError: The router refused, or a process failed.
    """
    spin_before = await asyncio.to_thread(spin_ms)
    context = multiprocessing.get_context("spawn")
    async with given or LocalPath(config["fsync"]) as path:
        results, theirs = context.Pipe()
        sent_pipe, generator_end = context.Pipe()
        reader = context.Process(
            target=run_reader,
            args=(path.broker, path.topic("video"), int(config["warmup_s"] * 1e6), theirs),
            daemon=True,
        )
        length_s = config["duration_s"] + config["warmup_s"]
        work = (path.url, path.trust, config["size_bytes"], config["rate"], length_s)
        generator = context.Process(
            target=run_generator, args=(generator_end, *work, config["mtu"]), daemon=True
        )
        await path.make_rooms()
        reader.start()
        try:
            await expect(results, 30, "the reader")
            say(f"{config['rate']:g} objects/s of {config['size_bytes']} bytes")
            before = path.cpu()
            generator.start()
            watching = asyncio.create_task(path.watch_memory())
            sent = await expect(sent_pipe, config["duration_s"] + 60, "the generator")
            watching.cancel()
            memory = await watching
            after = path.cpu()
            figures = await _received(results)
            await asyncio.sleep(0.6)
            router = path.processes["router"].last if given is None else {}
        finally:
            for process in (generator, reader):
                if process.pid is not None:
                    process.kill()
                    await asyncio.to_thread(process.join)
    per_1000 = {
        f"{name}_cpu_s_per_1000": round((after[name] - before[name]) * 1000 / sent["sent"], 3)
        for name in ("router", "broker")
        if name in after
    }
    rate, received = figures["objects_per_s"], figures.pop("received")
    return {
        "from": "scheduled send",
        "to": "receipt at the reader",
        **figures,
        "mb_per_s": None if rate is None else round(rate * config["size_bytes"] / 1e6, 2),
        **account(sent, router.get("objects") or {}, received),
        "packet_bytes": sent["packet_bytes"],
        **per_1000,
        **memory_figures(memory),
        "spin_ms": [spin_before, await asyncio.to_thread(spin_ms)],
        "configuration": {**config, "machine": machine_line()},
    }


async def _received(results: Connection) -> dict[str, Any]:
    """What the reader measured; nothing is known when it does not answer."""
    try:
        figures: dict[str, Any] = await expect(results, SILENCE_S + ANSWER_S, "the reader")
    except Silent as error:
        empty = {**Latency().snapshot(), "received": None, "objects_per_s": None}
        return {**empty, "notes": [f"{error.message} Nothing is known of what it received."]}
    if not figures["n"]:
        figures["notes"] = ["No object reached the reader in the measured time."]
    return figures


def account(sent: dict[str, Any], router: dict[str, Any], received: int | None) -> dict[str, Any]:
    """Where all objects went: offered = delivered + dropped + in flight.

    Args:
        sent: `sent` and `generator_dropped` of the generator.
        router: The router's counts; {} when it gave none.
        received: By the reader; None when that is not known.

    Returns:
        `offered`, `delivered`, `in_flight`, `dropped`, `dropped_by_hop`; None where not known.
    """
    offered = sent["sent"] + sent["generator_dropped"]
    if not router or received is None:
        unknown = {"delivered": received, "in_flight": None, "dropped": None}
        return {"offered": offered, **unknown, "dropped_by_hop": {}}
    by_hop = {
        "generator": {"backlog": sent["generator_dropped"]},
        "network": {"lost": sent["sent"] - router["offered"]},
        "router": dict(router["dropped"]),
        "broker": {"not received": router["delivered"] - received},
    }
    by_hop = {hop: {why: n for why, n in counts.items() if n} for hop, counts in by_hop.items()}
    return {
        "offered": offered,
        "delivered": received,
        "in_flight": router["in_flight"],
        "dropped": sum(sum(counts.values()) for counts in by_hop.values()),
        "dropped_by_hop": by_hop,
    }


async def expect(pipe: Connection, seconds: float, who: str) -> Any:
    """The next word of another process.

    Raises:
        WtpError: It does not come in time; or what the other process says went wrong.
    """
    if not await asyncio.to_thread(pipe.poll, seconds):
        raise Silent(f"{who.capitalize()} said nothing for {seconds:.0f} s.")
    word = pipe.recv()
    if isinstance(word, WtpError):
        raise word
    return word


class Silent(WtpError):
    """A process of the benchmark does not answer."""
