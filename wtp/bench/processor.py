"""`wtp bench processor`: what an HTTP processor adds to the path, and how fast a topic worker is.

The added latency is measured side by side: the same objects at the same time through two routers,
of which one sends them through `wtp processor` with the built-in `passthrough`. The topic worker
gets a topic that is full already, and one core; beside it runs a loop of the client alone.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from wtp.bench.machine import machine_line, spin_ms
from wtp.bench.path import START_S, LocalPath
from wtp.bench.router import SILENCE_S, expect, run_generator, run_reader
from wtp.broker.connect import connect
from wtp.children import Child
from wtp.children.child import PROGRAM
from wtp.clock import Clock, monotonic_us
from wtp.config.schema import BrokerSettings
from wtp.errors import WtpError
from wtp.model import Kind, Object, to_properties
from wtp.transport.trust import Trust

TRACKS = 4
"""Tracks that the topic worker's objects belong to."""

WARM = 0.1
"""Share of the worker's objects that is left out at the start."""

WORK_S = 120.0
PENDING = 500
CORE = 0

Say = Callable[[str], None]


async def run(config: dict[str, Any], say: Say = lambda _: None) -> dict[str, Any]:
    """Measure both.

    Args:
        config: `size_bytes`, `rate` (objects/s), `duration_s`, `warmup_s`, `objects` (for the topic
            worker), `fsync`, `data_format`.
        say: Told in a sentence what is going on.

    Returns:
        `n` and percentiles in ms from scheduled send to receipt with the processor, `baseline`
        (without it), `ratio_p50`, `added_p50_ms`, `added_p99_ms`, `call` (the router's own figures
        of its calls), `dropped`, `worker_objects_per_s`, `client_alone_objects_per_s` and what they
        were measured on.

    Raises:
        WtpError: A process failed.
    """
    spin_before = await asyncio.to_thread(spin_ms)
    async with LocalPath(config["fsync"]) as path:
        with tempfile.TemporaryDirectory(prefix="wtp-bench-") as folder:
            ways = await _http(path, Path(folder), config, say)
        worker = await _worker(path, config, say)
    added = {
        f"added_{name}_ms": _difference(ways["with"], ways["without"], f"{name}_ms")
        for name in ("p50", "p99")
    }
    return {
        "from": "scheduled send",
        "to": "receipt, through router and processor",
        **ways["with"],
        "baseline": ways["without"],
        "ratio_p50": _ratio(ways["with"], ways["without"]),
        **added,
        "call": ways["service"],
        "cpu_s_per_1000": ways["cpu"],
        "dropped": sum(ways["dropped"].values()),
        "dropped_by_hop": {"router": ways["dropped"]},
        **worker,
        "spin_ms": [spin_before, await asyncio.to_thread(spin_ms)],
        "configuration": {**config, "machine": machine_line()},
    }


def _difference(one: dict[str, Any], other: dict[str, Any], key: str) -> float | None:
    if one.get(key) is None or other.get(key) is None:
        return None
    return round(float(one[key]) - float(other[key]), 3)


def _ratio(one: dict[str, Any], other: dict[str, Any]) -> float | None:
    ours, theirs = one.get("p50_ms"), other.get("p50_ms")
    return round(ours / theirs, 3) if ours and theirs else None


async def _start(
    path: LocalPath, name: str, words: Sequence[str], program: Sequence[str] = PROGRAM
) -> Child:
    """Start a command that ends with the path; returns it once it is ready."""
    child = await Child(words, name=name, program=program).start()
    path.processes[name] = child
    try:
        async with asyncio.timeout(START_S):
            await asyncio.shield(child.ready)
    except TimeoutError:
        raise WtpError(f"wtp {name} was not ready in time.", hint=child.stderr_tail) from None
    return child


# Over HTTP


async def _http(
    path: LocalPath, folder: Path, config: dict[str, Any], say: Say
) -> dict[str, dict[str, Any]]:
    """The same objects with and without a processor in the path, at the same time."""
    rooms = {"without": path.room, "with": f"{path.room}-http"}
    await path.make_rooms(*rooms.values())
    processor = await _start(
        path,
        "processor",
        ["processor", "video", "--return", "--listen", "127.0.0.1:0", *path.broker_args],
    )
    profile = folder / "with.yaml"
    url, form = processor.info["url"], config["data_format"]
    text = f"services:\n  video:\n    url: {url}\n    data_format: {form}\n"
    await asyncio.to_thread(profile.write_text, text)
    router = await _start(
        path,
        "router-http",
        [
            *("router", "--profile", str(profile), "--listen", "127.0.0.1:0"),
            *("--certs", str(folder / "certs"), *path.broker_args),
        ],
    )
    targets = {
        "without": (path.router_url, path.trust),
        "with": (router.info["url"], Trust(cert_hash=router.info["cert_hash"])),
    }
    figures = await _side_by_side(path, config, rooms, targets, say)
    await asyncio.sleep(0.6)
    last = router.last
    service = (last.get("services") or {}).get("video") or {}
    figures["service"] = {key: service.get(key) for key in ("p50_ms", "p99_ms", "delivered")}
    figures["dropped"] = dict((last.get("objects") or {}).get("dropped", {}))
    return figures


async def _side_by_side(
    path: LocalPath,
    config: dict[str, Any],
    rooms: dict[str, str],
    targets: dict[str, tuple[str, Trust]],
    say: Say,
) -> dict[str, dict[str, Any]]:
    context = multiprocessing.get_context("spawn")
    length_s = config["duration_s"] + config["warmup_s"]
    started: list[Any] = []
    pipes: dict[str, tuple[Connection, Connection]] = {}
    try:
        for name, room in rooms.items():
            results, theirs = context.Pipe()
            topic = f"persistent://public/{room}/video"
            reader = context.Process(
                target=run_reader,
                args=(path.broker, topic, int(config["warmup_s"] * 1e6), theirs),
                daemon=True,
            )
            reader.start()
            started.append(reader)
            await expect(results, 30, "the reader")
            sent, generator_end = context.Pipe()
            url, trust = targets[name]
            work = (f"{url}?room={room}", trust, config["size_bytes"], config["rate"], length_s)
            generator = context.Process(
                target=run_generator, args=(generator_end, *work, 0), daemon=True
            )
            started.append(generator)
            pipes[name] = (sent, results)
        say(f"{config['rate']:g} objects/s of {config['size_bytes']} bytes through both routers")
        before = path.cpu()
        for process in started:
            if process.pid is None:
                process.start()
        figures = {}
        for name, (sent, results) in pipes.items():
            counted = await expect(sent, length_s + 60, "the generator")
            got = await expect(results, SILENCE_S + 60, "the reader")
            figures[name] = {**got, "sent": counted["sent"]}
        after, sent_count = path.cpu(), figures["with"]["sent"]
        figures["cpu"] = {
            name: round((after[name] - before[name]) * 1000 / sent_count, 3)
            for name in ("router", "router-http", "processor")
        }
        return figures
    finally:
        for process in started:
            if process.pid is not None:
                process.kill()
                await asyncio.to_thread(process.join)


# From topic to topic


async def _worker(path: LocalPath, config: dict[str, Any], say: Say) -> dict[str, Any]:
    """Objects a second of `passthrough` from a full topic, on one core."""
    count = config["objects"]
    say(f"{count} objects into a topic")
    source = path.topic("data")
    await _fill(path.broker, source, count, config["size_bytes"])
    say("the client alone")
    alone = await _alone(path, source, count)
    say("the topic worker")
    taskset = shutil.which("taskset")
    pin = [taskset, "-c", str(CORE)] if taskset else []
    worker = await _start(
        path,
        "worker",
        ["processor", "data", "--from-topic", *path.room_args, *path.broker_args],
        (*pin, *PROGRAM),
    )
    before = path.cpu()["worker"]
    stamps = await _stamps(path.broker, f"{source}-passthrough", count)
    await asyncio.sleep(0.6)
    used = path.cpu()["worker"] - before
    skip = int(count * WARM)
    span_us = stamps[-1] - stamps[skip]
    return {
        "worker_objects_per_s": round((len(stamps) - skip - 1) / span_us * 1e6, 1),
        "client_alone_objects_per_s": alone,
        "worker_cpu_s_per_1000": round(used * 1000 / len(stamps), 3),
        "worker_objects": worker.last.get("objects"),
        "worker_cores": 1 if pin else "not limited: there is no taskset",
    }


async def _fill(broker: BrokerSettings, topic: str, count: int, size_bytes: int) -> None:
    client, clock, payload = connect(broker), Clock(), bytes(size_bytes)
    waiting = 0
    room = asyncio.Event()

    def done(error: Exception | None) -> None:
        nonlocal waiting
        waiting -= 1
        room.set()

    try:
        producer = await client.producer(topic)
        for number in range(count):
            seq, track = number // TRACKS + 1, f"bench/bench/{number % TRACKS}"
            obj = Object(Kind.DATA, seq, seq, True, payload, capture_us=clock.now_us())
            waiting += 1
            producer.send(
                payload,
                properties=to_properties(obj, "bench", str(clock.domain), 0),
                key=track,
                event_ms=0,
                seq=None,
                done=done,
            )
            while waiting >= PENDING:
                room.clear()
                await room.wait()
        await producer.flush()
    finally:
        await client.close()


async def _stamps(broker: BrokerSettings, topic: str, count: int) -> list[int]:
    """When each output was handed to the producer, µs; read once all are there."""
    client = connect(broker)
    try:
        end_us = monotonic_us() + int(WORK_S * 1e6)
        reader = await client.reader(topic, start="earliest", queue=100)
        stamps: list[int] = []
        while len(stamps) < count:
            async with asyncio.timeout(max(0.1, (end_us - monotonic_us()) / 1e6)):
                message = await reader.receive()
            stamps.append(int(message.properties["publish_us"]))
        return sorted(stamps)
    except TimeoutError:
        raise WtpError(
            "The topic worker was too slow to be measured.", hint="Try fewer --objects."
        ) from None
    finally:
        await client.close()


async def _alone(path: LocalPath, source: str, count: int) -> float:
    """The same with nothing between receive and send but the client, in a process of its own."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(
        target=_run_alone, args=(path.broker, source, count, theirs), daemon=True
    )
    process.start()
    try:
        return float(await expect(ours, WORK_S, "the client alone"))
    finally:
        process.kill()
        await asyncio.to_thread(process.join)


def _run_alone(broker: BrokerSettings, source: str, count: int, pipe: Connection) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    pipe.send(asyncio.run(_copy(broker, source, count)))


async def _copy(broker: BrokerSettings, source: str, count: int) -> float:
    client = connect(broker)
    left, skip, start_us = count, int(count * WARM), 0
    over = asyncio.Event()
    try:
        reader = await client.subscribe(source, "alone", kind="key_shared", start="earliest")
        producer = await client.producer(f"{source}-alone", name="alone", max_pending=PENDING * 2)
        for number in range(count):
            message = await reader.receive()
            if number == skip:
                start_us = monotonic_us()

            def done(_: Exception | None, message: Any = message) -> None:
                nonlocal left
                reader.ack(message)
                left -= 1
                if not left:
                    over.set()

            producer.send(
                message.payload,
                properties=dict(message.properties),
                key=message.key,
                event_ms=message.event_ms,
                seq=number + 1,
                done=done,
            )
            while left - (count - number - 1) >= PENDING:
                await asyncio.sleep(0.001)
        await over.wait()
        return round((count - skip) / (monotonic_us() - start_us) * 1e6, 1)
    finally:
        await client.close()
