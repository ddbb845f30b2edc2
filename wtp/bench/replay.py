"""`wtp bench replay`: the past of a room at full speed, beside a plain pulsar-client reader.

A room of several tracks is written as if it had been captured at its real rate. It is then read in
turns by a replay, which merges all topics by capture time, parses and counts every object, and by
pulsar-client alone, topic after topic, which does nothing with them. Each reads in a fresh process.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnContext
from statistics import median
from typing import Any

from wtp.bench.broker import EmbeddedProcess, Worker
from wtp.bench.machine import machine_line, spin_ms
from wtp.broker.connect import connect
from wtp.broker.load import Load
from wtp.broker.load import consume as consume_plainly
from wtp.clock import Clock, monotonic_us
from wtp.config.load import override
from wtp.config.schema import Settings
from wtp.errors import BrokerError
from wtp.model import Kind, Object, to_properties
from wtp.replayer.placed import Placed
from wtp.replayer.request import Request
from wtp.replayer.run import Replayer
from wtp.replayer.sink import OutputSink

KINDS = (Kind.VIDEO, Kind.AUDIO, Kind.SCREEN)
"""The tracks are spread over the topics of these kinds."""

UNRECEIPTED = 500
GROUP = 60

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Past:
    """A room's past.

    Attributes:
        url: Broker URL.
        room: Part of the topics' names.
        tracks: Tracks in all.
        fps: Objects a second of each track.
        seconds: Length.
        size_bytes: Payload of an object.
    """

    url: str
    room: str
    tracks: int
    fps: float
    seconds: float
    size_bytes: int

    @property
    def per_track(self) -> int:
        """Objects of each track."""
        return int(self.seconds * self.fps)

    def kind(self, track: int) -> Kind:
        """The kind of a track."""
        return KINDS[track % len(KINDS)]

    @property
    def topics(self) -> dict[str, int]:
        """Objects by topic."""
        counts: dict[str, int] = {}
        for track in range(self.tracks):
            topic = self.settings.topics.topic(self.room, self.kind(track))
            counts[topic] = counts.get(topic, 0) + self.per_track
        return counts

    @property
    def settings(self) -> Settings:
        """Settings that lead to it: no namespace needs to be made for it."""
        template = "persistent://public/default/{room}-{kind}"
        changes = {"broker.url": self.url, "rooms.room": self.room, "topics.template": template}
        return override(Settings(), changes)


def run(config: dict[str, Any], say: Say = lambda _: None, url: str = "") -> dict[str, Any]:
    """Measure replay on an embedded broker, and on another one in the same run.

    Args:
        config: `tracks`, `fps`, `seconds` (length of the past), `size_bytes`, `rounds`, `fsync`.
        say: Told what happens.
        url: Of a broker that is there already, measured as well; empty for none.

    Returns:
        Of the embedded broker: `objects_per_s` and `times_real_time` of the median round,
        `plain_objects_per_s` of pulsar-client alone, `ratio` of the two, `rounds` of each in
        objects/s, `opening_s` until the first object; with `url` the same once more as `beside`.

    Raises:
        BrokerError: A broker does not answer, or an object is missing.
    """
    context = multiprocessing.get_context("spawn")
    with EmbeddedProcess(context, config["fsync"]) as embedded:
        figures = _measure(context, embedded.url, config, say)
    figures = {"broker": "embedded", **figures, "machine": machine_line()}
    if url:
        figures["beside"] = {"broker": url, **_measure(context, url, config, say)}
    return figures


def _measure(context: SpawnContext, url: str, config: dict[str, Any], say: Say) -> dict[str, Any]:
    past = Past(
        url,
        f"bench-{secrets.token_hex(4)}",
        config["tracks"],
        config["fps"],
        config["seconds"],
        config["size_bytes"],
    )
    say(f"writing {past.seconds:g} s of {past.tracks} tracks to {url}")
    asyncio.run(write(past))
    spin = [spin_ms()]
    plain: list[float] = []
    replays: list[dict[str, Any]] = []
    for number in range(config["rounds"]):
        say(f"round {number + 1} of {config['rounds']}: pulsar-client alone, then replay")
        plain.append(float(_in_process(context, _plain, past)))
        replays.append(_in_process(context, _replay, past))
    spin.append(spin_ms())
    rates = [found["objects_per_s"] for found in replays]
    return {
        "objects": past.tracks * past.per_track,
        "size_bytes": past.size_bytes,
        "tracks": past.tracks,
        "objects_per_s": median(rates),
        "times_real_time": median(rates) / (past.tracks * past.fps),
        "plain_objects_per_s": median(plain),
        "ratio": median(rates) / median(plain),
        "rounds": {"replay": rates, "plain": plain},
        "opening_s": median(found["opening_s"] for found in replays),
        "cpu_s_per_1000": median(found["cpu_s_per_1000"] for found in replays),
        "spin_ms": spin,
    }


def _in_process(context: SpawnContext, work: Any, past: Past) -> Any:
    with Worker(context, work, past) as worker:
        return worker.result()


async def write(past: Past) -> None:
    """Write a past, its end being now.

    Raises:
        BrokerError: The broker did not take all of it.
    """
    settings, clock = past.settings, Clock()
    client = connect(settings.broker)
    slots, failed = asyncio.Semaphore(UNRECEIPTED), list[object]()

    def done(error: object) -> None:
        slots.release()
        if error is not None:
            failed.append(error)

    try:
        producers = {topic: await client.producer(topic) for topic in past.topics}
        start_us = clock.now_us() - int(past.seconds * 1e6)
        payload = bytes(past.size_bytes)
        for number in range(past.per_track * past.tracks):
            seq, track = divmod(number, past.tracks)
            kind = past.kind(track)
            at_us = start_us + int((seq + track / past.tracks) * 1e6 / past.fps)
            await slots.acquire()
            producers[settings.topics.topic(past.room, kind)].send(
                payload,
                properties=_properties(kind, seq, at_us, past.fps, str(clock.domain)),
                key=f"{past.room}/cam-{track}/{kind}",
                event_ms=at_us // 1000,
                seq=None,
                done=done,
            )
        for producer in producers.values():
            await producer.flush()
    finally:
        await client.close()
    if failed:
        raise BrokerError(f"The broker did not take all objects: {failed[0]}.", hint="See its log.")


def _properties(kind: Kind, seq: int, at_us: int, fps: float, clock: str) -> dict[str, str]:
    """What the router would write: every stamp there is."""
    obj = Object(
        kind=kind,
        seq=seq + 1,
        group=seq // GROUP,
        key=seq % GROUP == 0,
        payload=b"",
        capture_us=at_us,
        encode_us=at_us + 1000,
        send_us=at_us + 1500,
        route_us=at_us + 2000,
        publish_us=at_us + 2500,
        duration_us=int(1e6 / fps),
        content_type="image/jpeg",
    )
    return to_properties(obj, "bench", clock, 0)


def _plain(past: Past, pipe: Connection) -> None:
    """Objects a second of pulsar-client alone, the time between the topics left out."""
    try:
        ns = 0
        for topic, count in past.topics.items():
            found = consume_plainly(Load(past.url, topic, past.size_bytes, count))
            ns += found.last_ns - found.first_ns
        pipe.send(sum(past.topics.values()) * 1e9 / ns)
    except BrokerError as error:
        pipe.send(str(error))


def _replay(past: Past, pipe: Connection) -> None:
    try:
        pipe.send(asyncio.run(_replayed(past)))
    except BrokerError as error:
        pipe.send(str(error))


async def _replayed(past: Past) -> dict[str, float]:
    sink = _Timed()
    role = Replayer(past.settings, Request(speed=0.0), sink, directory=lambda: _listed(past))
    begin_us, cpu_s, ready_us = monotonic_us(), 0.0, 0

    def ready(_: dict[str, Any]) -> None:
        nonlocal ready_us, cpu_s
        ready_us, cpu_s = monotonic_us(), time.process_time()

    await role.run(ready)
    shot = role.snapshot()
    wanted = past.tracks * past.per_track
    if shot["objects"] != wanted or shot["gaps"] or shot["late"] or shot["duplicates"]:
        raise BrokerError(f"{shot['objects']} of {wanted} objects came, {shot['late']} late.")
    return {
        "objects_per_s": wanted / shot["duration_s"],
        "opening_s": (ready_us - begin_us) / 1e6,
        "cpu_s_per_1000": (sink.cpu_s - cpu_s) * 1000 / wanted,
    }


class _Timed(OutputSink):
    """Counts only, as the replay does by default; knows the CPU time used so far."""

    cpu_s = 0.0

    async def take(self, items: Sequence[Placed]) -> list[str]:
        """Take objects."""
        self.cpu_s = time.process_time()
        return await super().take(items)


class _Topics:
    """A directory that knows the topics without asking: the broker may have no admin API."""

    def __init__(self, past: Past) -> None:
        self._past = past

    async def namespaces(self, tenant: str = "public") -> list[str]:
        """One."""
        return [f"{tenant}/default"]

    async def list_topics(self, namespace: str, *, each_partition: bool = False) -> list[str]:
        """Those that were written."""
        return list(self._past.topics)

    async def ensure_namespace(self, namespace: str, **_policies: Any) -> bool:
        """Nothing to do."""
        return False


@contextlib.asynccontextmanager
async def _listed(past: Past) -> AsyncIterator[_Topics]:
    yield _Topics(past)
