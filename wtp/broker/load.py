"""Client loops that load a broker and time it: what `wtp bench broker` runs in its processes.

Plain `pulsar-client`, no batching, callbacks that only count: the figures are the broker's and the
client library's, not this project's.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pulsar

from wtp.errors import BrokerError

STAMP = struct.Struct(">Q")
"""First bytes of a paced payload: CLOCK_MONOTONIC in ns when it was due to be sent."""

PENDING = 1000
"""Messages on their way to the broker at once."""

RECEIVE_MS = 20_000
"""A consumer that gets nothing for so long gives up."""


@dataclass(frozen=True, slots=True)
class Load:
    """One stream of equal messages.

    Attributes:
        url: Broker URL.
        topic: Topic name.
        size_bytes: Payload of a message, at least 8.
        count: Messages.
        rate: Messages a second; 0 for as fast as receipts allow.
    """

    url: str
    topic: str
    size_bytes: int
    count: int
    rate: float = 0.0


@dataclass(frozen=True, slots=True)
class Arrivals:
    """What a consumer saw.

    Attributes:
        count: Messages.
        first_ns: Arrival of the first one, CLOCK_MONOTONIC.
        last_ns: Arrival of the last one.
        latencies_us: Due to receive of each message, in order; empty when sent flat out.
    """

    count: int
    first_ns: int
    last_ns: int
    latencies_us: list[int]

    def per_second(self) -> float:
        """Messages a second between the first and the last one."""
        span_ns = self.last_ns - self.first_ns
        return (self.count - 1) * 1e9 / span_ns if span_ns > 0 else 0.0


def _client(url: str) -> Any:
    return pulsar.Client(url, logger=pulsar.FileLogger(pulsar.LoggerLevel.Error, os.devnull))


def produce(load: Load, begin: Callable[[], object] | None = None) -> float:
    """Send all messages and wait for their receipts.

    Args:
        load: What to send.
        begin: Called when the producer is open; it may wait for a signal.

    Returns:
        Messages a second from the first send to the last receipt.

    Raises:
        BrokerError: A message was not taken.
    """
    client = _client(load.url)
    try:
        producer = client.create_producer(
            load.topic,
            batching_enabled=False,
            max_pending_messages=PENDING,
            block_if_queue_full=True,
        )
        if begin is not None:
            begin()
        return _send_all(producer, load)
    except pulsar.PulsarException as error:
        raise BrokerError(f"The broker refused: {error}.", hint="Look at its log.") from error
    finally:
        client.close()


def _send_all(producer: Any, load: Load) -> float:
    results: dict[Any, Any] = {}
    # A callback that is no Python code: the client's thread then hardly needs the GIL.
    receipt = results.__setitem__
    start_ns = time.monotonic_ns()
    if load.rate:
        _paced(producer, load, receipt, start_ns)
    else:
        send, payload = producer.send_async, bytes(load.size_bytes)
        for _ in range(load.count):
            send(payload, receipt)
    producer.flush()
    if set(results) != {pulsar.Result.Ok}:
        raise BrokerError(f"Not all messages were taken: {list(results)}.", hint="See its log.")
    return load.count * 1e9 / (time.monotonic_ns() - start_ns)


def _paced(producer: Any, load: Load, receipt: Callable[[Any, Any], None], start_ns: int) -> None:
    filler = bytes(load.size_bytes - STAMP.size)
    for number in range(load.count):
        due_ns = start_ns + int(number * 1e9 / load.rate)
        wait_s = (due_ns - time.monotonic_ns()) / 1e9
        if wait_s > 0:
            time.sleep(wait_s)
        producer.send_async(STAMP.pack(due_ns) + filler, receipt)


def consume(load: Load, begin: Callable[[], object] | None = None) -> Arrivals:
    """Read a topic from its start on, as a non-durable reader.

    Args:
        load: What was sent to it.
        begin: Called when the reader is open.

    Raises:
        BrokerError: A message is missing.
    """
    client = _client(load.url)
    try:
        reader = client.create_reader(load.topic, pulsar.MessageId.earliest)
        if begin is not None:
            begin()
        latencies: list[int] = []
        first_ns = 0
        for _ in range(load.count):
            payload = reader.read_next(RECEIVE_MS).data()
            if load.rate:
                now_ns = time.monotonic_ns()
                latencies.append((now_ns - STAMP.unpack_from(payload)[0]) // 1000)
            first_ns = first_ns or time.monotonic_ns()
        return Arrivals(load.count, first_ns, time.monotonic_ns(), latencies)
    except pulsar.PulsarException as error:
        raise BrokerError(f"The broker failed: {error}.", hint="Look at its log.") from error
    finally:
        client.close()
