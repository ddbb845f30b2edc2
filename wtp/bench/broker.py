"""The broker alone: `pulsar-client` produces and consumes, each in a process of its own."""

from __future__ import annotations

import asyncio
import multiprocessing
import tempfile
from contextlib import ExitStack
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnContext, SpawnProcess
from pathlib import Path
from typing import Any

from wtp.bench.machine import machine_line
from wtp.broker.embedded.server import BrokerSettings, serve_broker
from wtp.broker.embedded.values import FsyncPolicy
from wtp.broker.load import Arrivals, Load, consume, produce
from wtp.errors import BrokerError
from wtp.metrics import Latency

SMALL_BYTES = 500
"""A chat line or a sound frame with its properties."""

LARGE_BYTES = 20_000
"""A compressed picture of 640x480."""

PICTURES_PER_S = 30.0
END_S = 60.0
"""How long a process may take to end."""


def run(
    url: str = "",
    *,
    small: int = 150_000,
    large: int = 30_000,
    paced_s: float = 15.0,
    fsync: str = "interval",
) -> dict[str, Any]:
    """Measure a broker.

    Args:
        url: Its URL; empty: an embedded broker is started on a temporary folder.
        small: Messages of 500 bytes, sent as fast as receipts allow.
        large: Messages of 20 KB, likewise.
        paced_s: Seconds of 20 KB messages at 30 a second.
        fsync: Disk policy of the embedded broker.

    Returns:
        `messages_per_s` (500 B) and `mb_per_s` (20 KB, 10^6 bytes) flat out; `p50_ms` to `max_ms`
        and `n` of send to receive at 30 a second, their `histogram`; `small` and `large` in
        full, and the setting.

    Raises:
        BrokerError: The broker does not answer, or loses a message.
    """
    context = multiprocessing.get_context("spawn")
    with ExitStack() as stack:
        if not url:
            url = stack.enter_context(EmbeddedProcess(context, fsync)).url
        warm = Load(url, "bench-warm", LARGE_BYTES, 300)
        _through(context, warm)
        paced_count = max(2, int(paced_s * PICTURES_PER_S))
        paced = _through(
            context, Load(url, "bench-paced", LARGE_BYTES, paced_count, PICTURES_PER_S)
        )
        flat_small = _through(context, Load(url, "bench-small", SMALL_BYTES, small))
        flat_large = _through(context, Load(url, "bench-large", LARGE_BYTES, large))
    small_row, large_row = _rates(flat_small, SMALL_BYTES), _rates(flat_large, LARGE_BYTES)
    return {
        "messages_per_s": small_row["messages_per_s"],
        "mb_per_s": large_row["mb_per_s"],
        "from": "scheduled send",
        "to": "receipt",
        **_latency(paced.latencies_us),
        "small": small_row,
        "large": large_row,
        "paced": {"size_bytes": LARGE_BYTES, "per_s": PICTURES_PER_S},
        "broker": url,
        "fsync": fsync,
        "clock_error_ms": 0,
        "machine": machine_line(),
    }


def _latency(latencies_us: list[int]) -> dict[str, Any]:
    latency = Latency()
    for value in latencies_us:
        latency.add(value)
    return {**latency.snapshot(), "histogram": latency.encoded()}


def _rates(arrivals: Arrivals, size_bytes: int) -> dict[str, float]:
    rate = arrivals.per_second()
    return {
        "size_bytes": size_bytes,
        "n": arrivals.count,
        "messages_per_s": round(rate, 1),
        "mb_per_s": round(rate * size_bytes / 1e6, 2),
    }


def _through(context: SpawnContext, load: Load) -> Arrivals:
    """Send a load through the broker: a process that consumes, then one that produces."""
    with Worker(context, _consume, load) as consumer, Worker(context, _produce, load) as producer:
        consumer.ready()
        producer.ready()
        consumer.go()
        producer.go()
        producer.result()
        arrivals = consumer.result()
    if not isinstance(arrivals, Arrivals):
        raise BrokerError("The consumer's process broke.", hint="Run it again.")
    return arrivals


def _produce(load: Load, pipe: Connection) -> None:
    _report(lambda: produce(load, lambda: _wait(pipe)), pipe)


def _consume(load: Load, pipe: Connection) -> None:
    _report(lambda: consume(load, lambda: _wait(pipe)), pipe)


def _wait(pipe: Connection) -> None:
    pipe.send("ready")
    pipe.recv()


def _report(work: Any, pipe: Connection) -> None:
    try:
        pipe.send(work())
    except BrokerError as error:
        pipe.send(str(error))


class Worker:
    """A process that gets ready, waits for the start, and sends its result.

    Args:
        context: How processes are made.
        work: Called there with `load` and its end of a pipe.
        load: What to do.
    """

    def __init__(self, context: SpawnContext, work: Any, load: object) -> None:
        self._pipe, theirs = context.Pipe()
        self._process: SpawnProcess = context.Process(target=work, args=(load, theirs), daemon=True)
        self._process.start()
        theirs.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_error: object) -> None:
        self._pipe.close()
        self._process.join(5.0)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _recv(self) -> object:
        if not self._pipe.poll(END_S):
            raise BrokerError("A process of the benchmark does not answer.", hint="Run it again.")
        try:
            return self._pipe.recv()
        except EOFError:
            raise BrokerError("A process of the benchmark died.", hint="Run it again.") from None

    def ready(self) -> object:
        """Wait until it is ready; returns what it says."""
        return self.result()

    def go(self) -> None:
        """Let it begin."""
        self._pipe.send("go")

    def result(self) -> object:
        """Wait for its result.

        Raises:
            BrokerError: It failed.
        """
        found = self._recv()
        if isinstance(found, str) and found != "ready":
            raise BrokerError(found, hint="Look at the broker's log.")
        return found


class EmbeddedProcess:
    """An embedded broker in a process of its own, on a temporary folder.

    Args:
        context: How processes are made.
        fsync: Disk policy.
    """

    def __init__(self, context: SpawnContext, fsync: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="wtp-bench-")
        self._worker = Worker(context, _serve, (self._folder.name, fsync))
        self.url = ""

    def __enter__(self) -> EmbeddedProcess:
        self.url = f"pulsar://127.0.0.1:{self._worker.ready()}"
        return self

    def __exit__(self, *error: object) -> None:
        self._worker.__exit__(*error)
        self._folder.cleanup()


def _serve(place: tuple[str, str], pipe: Connection) -> None:
    asyncio.run(_serve_until_closed(*place, pipe))


async def _serve_until_closed(folder: str, fsync: str, pipe: Connection) -> None:
    settings = BrokerSettings(Path(folder), port=0, http_port=None, fsync=FsyncPolicy(fsync))
    server = await serve_broker(settings)
    closed = asyncio.Event()
    asyncio.get_running_loop().add_reader(pipe.fileno(), closed.set)
    pipe.send(server.address[1])
    await closed.wait()
    asyncio.get_running_loop().remove_reader(pipe.fileno())
    await server.close()
