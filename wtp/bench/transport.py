"""What the WebTransport layer itself can do: one sender process, one receiver process, loopback.

Nothing but ``wtp.transport`` is in the path: no router, no broker, no wire format.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Coroutine
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from hdrh.histogram import HdrHistogram

from wtp.errors import ConnectionFailed
from wtp.transport.certs import create_certificate
from wtp.transport.client import Trust, connect
from wtp.transport.limits import Limits
from wtp.transport.server import serve
from wtp.transport.session import Session

OBJECT_BYTES = 20_000
RATE_HZ = 30
IDLE_SESSIONS = 200
_STAMP_BYTES = 8
_BACKLOG_BYTES = 600_000
"""About 30 objects in flight: enough to keep a core busy, few enough streams to stay cheap."""
_SETTLE_S = 1.0
_ANSWER_S = 60.0


def run(
    *,
    mtu: int = 1452,
    object_bytes: int = OBJECT_BYTES,
    flat_out_s: float = 4.0,
    paced_s: float = 4.0,
    idle_sessions: int = IDLE_SESSIONS,
) -> dict[str, Any]:
    """Measure throughput, one-way latency and memory of the transport.

    Args:
        mtu: Fixed packet size in bytes, 0 to probe as in production.
        object_bytes: Size of an object; one unidirectional stream each.
        flat_out_s: Seconds of sending as fast as the receiver takes it.
        paced_s: Seconds of sending 30 objects per second, for the latencies.
        idle_sessions: Sessions that are opened for the memory figure.

    Returns:
        ``flat_out_objects`` received flat out, ``messages_per_s`` and ``mb_per_s`` of them, ``n``,
        ``p50_ms`` to ``max_ms`` one way (scheduled send to last byte) at 30/s by the shared
        CLOCK_MONOTONIC and their ``histogram``, ``cpu_s_per_100mb`` of the receiving process,
        ``sender_cpu_s_per_100mb``, ``rss_kib_per_idle_session`` of the receiving process and
        ``packet_bytes``.

    Raises:
        ConnectionFailed: One of the two processes died or fell silent.
    """
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="wtp-bench-") as folder:
        receiver = _Child(context, _receive, folder, mtu)
        address, cert_hash = receiver.answer()
        sender = _Child(context, _send, address, cert_hash, mtu, object_bytes)
        try:
            sender.answer()
            idle_kib = _idle_cost(receiver, sender, idle_sessions)
            receiver.ask("mark")
            packet_bytes, _ = sender.ask("paced", paced_s)
            latency = receiver.ask("mark")
            _, sender_cpu_s = sender.ask("flat", flat_out_s)
            flat = receiver.ask("mark")
        finally:
            sender.stop()
            receiver.stop()
    return _figures(latency, flat, sender_cpu_s) | {
        "rss_kib_per_idle_session": idle_kib,
        "packet_bytes": packet_bytes,
    }


def _figures(latency: dict[str, Any], flat: dict[str, Any], sender_cpu_s: float) -> dict[str, Any]:
    histogram = HdrHistogram.decode(latency["histogram"])
    percentiles = {"p50_ms": 50.0, "p90_ms": 90.0, "p99_ms": 99.0, "p999_ms": 99.9, "max_ms": 100.0}
    span_s = max(flat["last_s"] - flat["first_s"], 1e-9)
    hundreds = max(flat["bytes"] / 1e8, 1e-9)
    return {
        "from": "scheduled send",
        "to": "last byte",
        "n": latency["n"],
        "flat_out_objects": flat["n"],
        "messages_per_s": flat["n"] / span_s,
        "mb_per_s": flat["bytes"] / 1e6 / span_s,
        **{
            name: histogram.get_value_at_percentile(share) / 1e3
            for name, share in percentiles.items()
        },
        "histogram": latency["histogram"].decode("ascii"),
        "cpu_s_per_100mb": flat["cpu_s"] / hundreds,
        "sender_cpu_s_per_100mb": sender_cpu_s / hundreds,
    }


def _idle_cost(receiver: _Child, sender: _Child, count: int) -> float | None:
    """Return KiB per idle session, None without any; a few before warm the allocator up."""
    if not count:
        return None
    sender.ask("idle", 10)
    before_kib = receiver.ask("rss")
    sender.ask("idle", count)
    after_kib = receiver.ask("rss")
    sender.ask("drop")
    return float(after_kib - before_kib) / count


class _Child:
    """A spawned process that answers commands over a pipe and ends with it."""

    def __init__(self, context: Any, main: Callable[..., None], *arguments: Any) -> None:
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=main, args=(theirs, *arguments), daemon=True)
        self._process.start()
        theirs.close()

    def ask(self, *command: Any) -> Any:
        """Send a command and wait for the answer."""
        self._pipe.send(command)
        return self.answer()

    def answer(self) -> Any:
        """Wait for one answer."""
        try:
            if self._pipe.poll(_ANSWER_S):
                return self._pipe.recv()
        except EOFError:
            pass
        raise ConnectionFailed(
            "A process of the transport benchmark died or fell silent.",
            hint="Run it again with nothing else on the machine.",
            code="bench-child",
        )

    def stop(self) -> None:
        """Close the pipe, which ends the child."""
        self._pipe.close()
        self._process.join(5)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._process.close()


async def _commands(
    pipe: Connection, answer: Callable[..., Coroutine[Any, Any, Any]], first: Any
) -> None:
    """Answer commands until the pipe ends; reading never blocks the loop."""
    readable = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(pipe.fileno(), readable.set)
    pipe.send(first)
    try:
        while True:
            await readable.wait()
            readable.clear()
            while pipe.poll():
                pipe.send(await answer(*pipe.recv()))
    except EOFError:
        loop.remove_reader(pipe.fileno())


# The receiving process


class _Meter:
    """Counts complete objects of all sessions and their one-way times."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.n = 0
        self.bytes = 0
        self.first_s = self.last_s = 0.0
        self.cpu_start_s = time.process_time()
        self.histogram = HdrHistogram(1, 60_000_000, 3)

    def count(self, payload: bytes, size: int) -> None:
        now_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        self.last_s = now_ns / 1e9
        self.first_s = self.first_s or self.last_s
        self.n += 1
        self.bytes += size
        sent_ns = int.from_bytes(payload[:_STAMP_BYTES], "big")
        self.histogram.record_value(max(1, (now_ns - sent_ns) // 1000))

    def snapshot(self) -> dict[str, Any]:
        return {
            "n": self.n,
            "bytes": self.bytes,
            "first_s": self.first_s,
            "last_s": self.last_s,
            "cpu_s": time.process_time() - self.cpu_start_s,
            "histogram": self.histogram.encode(),
        }


class _Sink:
    """Receives the objects of one session."""

    def __init__(self, session: Session, meter: _Meter) -> None:
        self._session = session
        self._meter = meter
        self._parts: dict[int, list[bytes]] = {}

    def stream_data(self, stream: int, data: bytes, end: bool) -> None:
        self._session.release(stream, len(data))
        parts = self._parts.setdefault(stream, [])
        parts.append(data)
        if end:
            whole = b"".join(self._parts.pop(stream))
            self._meter.count(whole, len(whole))

    def stream_reset(self, stream: int, code: int) -> None:
        self._parts.pop(stream, None)

    def stream_stopped(self, stream: int, code: int) -> None:
        pass

    def datagram(self, data: bytes) -> None:
        pass

    def writable(self) -> None:
        pass

    def closed(self, code: int, reason: str) -> None:
        self._parts.clear()


def _receive(pipe: Connection, folder: str, mtu: int) -> None:
    asyncio.run(_receive_loop(pipe, folder, mtu))


async def _receive_loop(pipe: Connection, folder: str, mtu: int) -> None:
    certificate = create_certificate(Path(folder))
    meter = _Meter()
    server = await serve(
        "127.0.0.1", 0, certificate, lambda session: _Sink(session, meter), mtu=mtu
    )

    async def answer(command: str) -> Any:
        if command == "rss":
            return _rss_kib()
        snapshot = meter.snapshot()
        meter.reset()
        return snapshot

    try:
        await _commands(pipe, answer, (server.address, certificate.sha256))
    finally:
        await server.close()


def _rss_kib() -> int:
    """Resident memory of this process; Linux only, 0 elsewhere."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


# The sending process


class _Silent:
    """An application that only sends."""

    def stream_data(self, stream: int, data: bytes, end: bool) -> None: ...

    def stream_reset(self, stream: int, code: int) -> None: ...

    def stream_stopped(self, stream: int, code: int) -> None: ...

    def datagram(self, data: bytes) -> None: ...

    def writable(self) -> None: ...

    def closed(self, code: int, reason: str) -> None: ...


def _send(
    pipe: Connection, address: tuple[str, int], cert_hash: str, mtu: int, object_bytes: int
) -> None:
    asyncio.run(_send_loop(pipe, address, cert_hash, mtu, object_bytes))


async def _send_loop(
    pipe: Connection, address: tuple[str, int], cert_hash: str, mtu: int, object_bytes: int
) -> None:
    url = f"https://{address[0]}:{address[1]}/wt"
    trust = Trust(cert_hash=cert_hash)
    body = os.urandom(object_bytes - _STAMP_BYTES)
    idle: list[Session] = []

    async def open_session(limits: Limits | None = None) -> Session:
        return await connect(url, _Silent(), trust, mtu=mtu, limits=limits, timeout=20)

    session = await open_session()

    async def answer(command: str, value: float = 0.0) -> Any:
        cpu_start_s = time.process_time()
        if command == "idle":
            idle.extend([await open_session() for _ in range(int(value))])
            await asyncio.sleep(_SETTLE_S)
        elif command == "drop":
            for one in idle:
                one.close()
            await asyncio.gather(*(one.wait_closed() for one in idle))
            idle.clear()
        elif command == "paced":
            await _paced(session, body, value)
        else:
            await _flat_out(session, body, value)
        return session.stats.datagram_bytes, time.process_time() - cpu_start_s

    try:
        await _commands(pipe, answer, "ready")
    finally:
        for one in (session, *idle):
            one.close()
            await one.wait_closed()


def _send_object(session: Session, body: bytes, due_s: float | None = None) -> None:
    due_ns = time.monotonic_ns() if due_s is None else int(due_s * 1e9)
    stamp = due_ns.to_bytes(_STAMP_BYTES, "big")
    session.send(session.open_stream(), stamp + body, end=True)


async def _paced(session: Session, body: bytes, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    start_s = loop.time()
    for number in range(int(seconds * RATE_HZ)):
        due_s = start_s + number / RATE_HZ
        await asyncio.sleep(max(0.0, due_s - loop.time()))
        _send_object(session, body, due_s)
    await session.drained()


async def _flat_out(session: Session, body: bytes, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    end_s = loop.time() + seconds
    while loop.time() < end_s:
        while session.backlog() < _BACKLOG_BYTES:
            _send_object(session, body)
        await session.drained(_BACKLOG_BYTES // 2)
    await session.drained()
