"""`wtp bench files`: one file from `publish --file` to `consume file --save`, beside two others.

The time runs from the publisher's first object to the verified file in its place. Beside it, in the
same run: the same chunks through pulsar-client alone, read from the file and written to another
one, and a plain copy. All processes are those of a user.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any

from wtp.bench.machine import cpu_s, machine_line, spin_ms
from wtp.bench.path import LocalPath
from wtp.broker.connect import administer, connect
from wtp.clock import monotonic_us
from wtp.config.schema import BrokerSettings
from wtp.errors import BrokerError, Refused, WtpError
from wtp.publisher.files import CHUNK_BYTES

WINDOW = 8
"""Chunks without a receipt, as many bytes as a publisher keeps."""
READY_S = 30.0
POLL_S = 0.01
SLOWEST_BYTES_PER_S = 2_000_000
"""A path that is slower has failed."""

Say = Callable[[str], None]


def _make(path: Path, size_bytes: int) -> None:
    """A file that cannot be compressed."""
    block = os.urandom(1 << 20)
    with path.open("wb") as file:
        for start in range(0, size_bytes, len(block)):
            file.write(block[: size_bytes - start])


async def _routed(path: LocalPath, file: Path, into: Path, size_bytes: int) -> dict[str, Any]:
    """The whole path with the commands a user gives."""
    async with administer(path.broker) as admin:
        await admin.create_topic(path.topic("file"))
    await path.start(
        "consume",
        ["file", "--wait", "--save", str(into), "-n", "1"],
        path.broker_args,
        path.room_args,
    )
    before = path.cpu()
    await path.start("publish", ["--file", str(file)], path.router_args, path.room_args)
    began_us = monotonic_us()
    limit_s = READY_S + size_bytes / SLOWEST_BYTES_PER_S
    cpu: dict[str, float] = {}
    last = into / file.name
    consumer, publisher = path.processes["consume"], path.processes["publish"]
    while not last.exists():
        cpu |= path.cpu()
        if monotonic_us() - began_us > limit_s * 1e6 or consumer.exited:
            raise WtpError("The file did not arrive.", hint=consumer.stderr_tail)
        await asyncio.sleep(POLL_S)
    spent_us = monotonic_us() - began_us
    await publisher.wait()
    await consumer.wait()
    tracks = ((publisher.summary or {}).get("tracks") or {}).values()
    sent: dict[str, Any] = next((track["transfer"] for track in tracks if "transfer" in track), {})
    return {
        **_speed(size_bytes, spent_us),
        "sender_mb_per_s": round(sent.get("bytes_per_s", 0.0) / 1e6, 1),
        "cpu_s": {name: round(used - before.get(name, 0.0), 2) for name, used in cpu.items()},
    }


def _speed(size_bytes: int, spent_us: int) -> dict[str, Any]:
    return {"mb_per_s": round(size_bytes / spent_us, 1), "seconds": round(spent_us / 1e6, 2)}


# pulsar-client alone


async def _produce(broker: BrokerSettings, topic: str, file: Path) -> None:
    client = connect(broker)
    waiting = 0
    room = asyncio.Event()

    def done(error: BrokerError | Refused | None) -> None:
        nonlocal waiting
        if error is not None:
            raise error
        waiting -= 1
        room.set()

    try:
        producer = await client.producer(topic, name="bench", max_pending=2 * WINDOW)
        source = await asyncio.to_thread(os.open, file, os.O_RDONLY)
        seq = 0
        while chunk := await asyncio.to_thread(os.read, source, CHUNK_BYTES):
            while waiting >= WINDOW:
                room.clear()
                await room.wait()
            seq, waiting = seq + 1, waiting + 1
            producer.send(chunk, properties={}, key="bench", event_ms=0, seq=seq, done=done)
        os.close(source)
        await producer.flush()
    finally:
        await client.close()


async def _consume(
    broker: BrokerSettings, topic: str, into: Path, size_bytes: int, pipe: Pipe
) -> None:
    client = connect(broker)
    try:
        reader = await client.reader(topic, start="earliest", queue=WINDOW)
        pipe.send(("ready", 0, 0.0))
        target = await asyncio.to_thread(os.open, into, os.O_WRONLY | os.O_CREAT, 0o600)
        received = began_us = 0
        while received < size_bytes:
            message = await reader.receive()
            began_us = began_us or message.receive_monotonic_us
            received += await asyncio.to_thread(os.write, target, message.payload)
        os.close(target)
        pipe.send(("done", monotonic_us(), cpu_s(os.getpid()) or 0.0))
        await reader.close()
    finally:
        await client.close()


def _run_producer(broker: BrokerSettings, topic: str, file: Path, pipe: Pipe) -> None:
    pipe.send(monotonic_us())
    asyncio.run(_produce(broker, topic, file))


def _run_consumer(
    broker: BrokerSettings, topic: str, into: Path, size_bytes: int, pipe: Pipe
) -> None:
    asyncio.run(_consume(broker, topic, into, size_bytes, pipe))


def _alone(
    broker: BrokerSettings, topic: str, file: Path, into: Path, size_bytes: int
) -> dict[str, Any]:
    """The same chunks with pulsar-client in two processes. Blocks: run it in a thread."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    start, started = context.Pipe()
    consumer = context.Process(
        target=_run_consumer, args=(broker, topic, into, size_bytes, theirs), daemon=True
    )
    producer = context.Process(
        target=_run_producer, args=(broker, topic, file, started), daemon=True
    )
    try:
        consumer.start()
        if not ours.poll(READY_S):
            raise WtpError("The baseline's consumer did not start.", hint="Is the machine busy?")
        ours.recv()
        producer.start()
        if not start.poll(READY_S) or not ours.poll(READY_S + size_bytes / SLOWEST_BYTES_PER_S):
            raise WtpError("The baseline did not end.", hint="Is the machine very busy?")
        _, ended_us, _ = ours.recv()
        return _speed(size_bytes, ended_us - int(start.recv()))
    finally:
        for process in (producer, consumer):
            with suppress(ValueError, AssertionError):  # not started
                process.join(5)
                process.kill()
                process.join()
        for pipe in (ours, theirs, start, started):
            pipe.close()


def _copied(file: Path, into: Path, size_bytes: int) -> dict[str, Any]:
    """A plain copy within the machine's page cache."""
    began_us = monotonic_us()
    with file.open("rb") as source, into.open("wb") as target:
        shutil.copyfileobj(source, target, CHUNK_BYTES)
    return _speed(size_bytes, monotonic_us() - began_us)


async def run(config: dict[str, Any], say: Say = lambda _: None) -> dict[str, Any]:
    """Measure one file on the whole path, by pulsar-client alone, and copied.

    Args:
        config: `size_bytes` of the file, `fsync` of the embedded broker.
        say: Told in a sentence what is going on.

    Returns:
        `mb_per_s` (10^6 bytes a second, from the publisher's start to the verified file in its
        place) and `seconds`; `sender_mb_per_s` to the last receipt; `cpu_s` by process; `alone` and
        `copy`: the same figures for the two beside it; `ratio` to pulsar-client alone; `spin_ms`,
        `configuration`.

    Raises:
        WtpError: A process failed, or the file did not arrive.
    """
    size_bytes = config["size_bytes"]
    folder = Path(tempfile.mkdtemp(prefix="wtp-bench-files-"))
    spin_before = await asyncio.to_thread(spin_ms)
    try:
        file = folder / "file.bin"
        await asyncio.to_thread(_make, file, size_bytes)
        async with LocalPath(config["fsync"]) as path:
            await path.make_rooms()
            say("publish --file to consume file --save")
            routed = await _routed(path, file, folder / "in", size_bytes)
            say("pulsar-client alone")
            topic = path.topic("data")
            target = folder / "alone.bin"
            alone = await asyncio.to_thread(_alone, path.broker, topic, file, target, size_bytes)
            copied = await asyncio.to_thread(_copied, file, folder / "copy.bin", size_bytes)
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
    return {
        **routed,
        "alone": alone,
        "copy": copied,
        "ratio": round(routed["mb_per_s"] / alone["mb_per_s"], 2),
        "spin_ms": [spin_before, await asyncio.to_thread(spin_ms)],
        "configuration": {**config, "chunk_bytes": CHUNK_BYTES, "machine": machine_line()},
    }
