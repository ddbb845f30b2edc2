"""The baseline: objects straight through `pulsar-client`, two processes and a broker."""

from __future__ import annotations

import asyncio
import multiprocessing
from multiprocessing.connection import Connection
from typing import Any

from wtp.broker.connect import connect
from wtp.clock import monotonic_us
from wtp.config.schema import BrokerSettings
from wtp.metrics import Latency

Timed = list[tuple[int, bytes]]
"""Objects: when to send, µs after the first; payload."""

SILENCE_S = 5.0
"""A consumer that gets nothing for so long is done."""

SENT = "sent_us"


async def read_back(url: str, topic: str, most: int) -> Timed:
    """The first objects of a topic with the pace at which they were captured.

    Args:
        url: Broker URL.
        topic: Full topic name.
        most: How many at most.
    """
    client = connect(BrokerSettings(url=url))
    try:
        found = await client.history(topic, most)
    finally:
        await client.close()
    objects = [(int(one.properties.get("capture_us", "0")), one.payload) for one in found]
    first = objects[0][0] if objects else 0
    return [(at_us - first, payload) for at_us, payload in objects]


async def _produce(url: str, topic: str, objects: Timed) -> None:
    client = connect(BrokerSettings(url=url))
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


async def _consume(url: str, topic: str, count: int, skip: int, pipe: Connection) -> None:
    client = connect(BrokerSettings(url=url))
    latency = Latency()
    received = 0
    try:
        reader = await client.reader(topic, start="latest")
        pipe.send("ready")
        while received < count:
            async with asyncio.timeout(SILENCE_S):
                message = await reader.receive()
            received += 1
            if received > skip:
                latency.add(message.receive_monotonic_us - int(message.properties[SENT]))
        await reader.close()
    except TimeoutError:
        pass
    finally:
        await client.close()
    pipe.send({**latency.snapshot(), "sent": count, "received": received})


def _run_producer(url: str, topic: str, objects: Timed) -> None:
    asyncio.run(_produce(url, topic, objects))


def _run_consumer(url: str, topic: str, count: int, skip: int, pipe: Connection) -> None:
    asyncio.run(_consume(url, topic, count, skip, pipe))


def measure(url: str, topic: str, objects: Timed, skip: int) -> dict[str, Any]:
    """Send objects through a topic and measure send to receive.

    Args:
        url: Broker URL.
        topic: A topic of its own.
        objects: What to send.
        skip: Objects at the start that are left out (warm-up).

    Returns:
        `n`, percentiles in ms, `sent`, `received`. Blocks: run it in a thread.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    consumer = context.Process(
        target=_run_consumer, args=(url, topic, len(objects), skip, theirs), daemon=True
    )
    consumer.start()
    producer = context.Process(target=_run_producer, args=(url, topic, objects), daemon=True)
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
