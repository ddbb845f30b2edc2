"""The baseline: objects straight through `pulsar-client`, two processes and a broker."""

from __future__ import annotations

import asyncio
import multiprocessing
from multiprocessing.connection import Connection
from typing import Any

from wtp.broker.connect import connect
from wtp.clock import monotonic_us
from wtp.config.schema import BrokerSettings
from wtp.metrics import Latency, Timeline

Timed = list[tuple[int, bytes]]
"""Objects: when to send, µs after the first; payload."""

SILENCE_S = 5.0
"""A consumer that gets nothing for so long is done."""

START_S = 30.0
"""What the producer's process may take to start on a busy machine."""

SENT = "sent_us"

WARM_MESSAGES, WARM_BYTES, WARM_PER_S = 60_000, 500, 3000
"""After so many messages a Java broker's code is compiled and its latencies have settled."""


async def read_back(broker: BrokerSettings, topic: str, most: int) -> Timed:
    """The first objects of a topic with the pace at which they were captured.

    Args:
        broker: The broker.
        topic: Full topic name.
        most: How many at most.
    """
    client = connect(broker)
    try:
        found = await client.history(topic, most)
    finally:
        await client.close()
    objects = [(int(one.properties.get("capture_us", "0")), one.payload) for one in found]
    first = objects[0][0] if objects else 0
    return [(at_us - first, payload) for at_us, payload in objects]


async def _produce(broker: BrokerSettings, topic: str, objects: Timed) -> None:
    client = connect(broker)
    try:
        producer = await client.producer(topic)
        start_us = monotonic_us() + 100_000
        for at_us, payload in objects:
            wait_us = start_us + at_us - monotonic_us()
            if wait_us > 0:
                await asyncio.sleep(wait_us / 1e6)
            producer.send(
                payload,
                properties={SENT: str(monotonic_us())},
                key="bench",
                event_ms=0,
                seq=None,
                done=lambda _error: None,
            )
        await producer.flush()
    finally:
        await client.close()


async def _consume(
    broker: BrokerSettings, topic: str, count: int, skip: int, pipe: Connection
) -> None:
    client = connect(broker)
    latency = Latency()
    timeline: Timeline | None = None
    received = 0
    try:
        reader = await client.reader(topic, start="latest")
        pipe.send("ready")
        patience_s = START_S
        while received < count:
            async with asyncio.timeout(patience_s):
                message = await reader.receive()
            patience_s = SILENCE_S
            received += 1
            if received > skip:
                sent_us = int(message.properties[SENT])
                timeline = timeline or Timeline(sent_us)
                timeline.add(sent_us, message.receive_monotonic_us - sent_us)
                latency.add(message.receive_monotonic_us - sent_us)
        await reader.close()
    except TimeoutError:
        pass
    finally:
        await client.close()
    found: dict[str, Any] = {**latency.snapshot(), "sent": count, "received": received}
    if timeline is not None:
        found |= {"histogram": latency.encoded(), "timeline": timeline.snapshot()}
    pipe.send(found)


def _run_producer(broker: BrokerSettings, topic: str, objects: Timed) -> None:
    asyncio.run(_produce(broker, topic, objects))


def _run_consumer(
    broker: BrokerSettings, topic: str, count: int, skip: int, pipe: Connection
) -> None:
    asyncio.run(_consume(broker, topic, count, skip, pipe))


def measure(broker: BrokerSettings, topic: str, objects: Timed, skip: int) -> dict[str, Any]:
    """Send objects through a topic and measure send to receive.

    Args:
        broker: The broker.
        topic: A topic of its own.
        objects: What to send.
        skip: Objects at the start that are left out (warm-up).

    Returns:
        `n`, percentiles in ms, `sent`, `received`, `histogram`, `timeline`. Blocks: run it in a
        thread.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    consumer = context.Process(
        target=_run_consumer, args=(broker, topic, len(objects), skip, theirs), daemon=True
    )
    consumer.start()
    producer = context.Process(target=_run_producer, args=(broker, topic, objects), daemon=True)
    try:
        if not ours.poll(30):
            return {"n": 0, "sent": len(objects), "received": 0}
        ours.recv()
        producer.start()
        length_s = objects[-1][0] / 1e6 if objects else 0.0
        if not ours.poll(length_s + 30):
            return {"n": 0, "sent": len(objects), "received": 0}
        result: dict[str, Any] = ours.recv()
        return result
    finally:
        for process in (producer, consumer):
            if process.pid is not None:
                process.join(5)
                if process.is_alive():
                    process.kill()
                    process.join()
        ours.close()
        theirs.close()


def warm_up(broker: BrokerSettings, topic: str) -> None:
    """Load a broker until its latencies have settled. Blocks: run it in a thread."""
    payload = bytes(WARM_BYTES)
    objects = [(n * 1_000_000 // WARM_PER_S, payload) for n in range(WARM_MESSAGES)]
    measure(broker, topic, objects, 0)
