"""How fast a room's past is recorded: minutes of 480p30 H.264 and Opus out of an embedded broker.

Two seconds are encoded once; their objects are written again and again with new stamps, so that the
room is as long as wanted and cheap to make. The recorder is a process of its own, the real command.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wtp.bench.machine import cpu_s, machine_line, spin_ms
from wtp.bench.path import LocalPath
from wtp.broker.client import BrokerClient
from wtp.broker.connect import connect
from wtp.clock import Clock
from wtp.config.schema import Settings
from wtp.errors import BrokerError
from wtp.media.audio import AudioEncoder
from wtp.media.picture import Picture
from wtp.media.testsrc import Pattern
from wtp.media.testtone import ToneSource
from wtp.media.video import Encoded, VideoEncoder
from wtp.model import Kind, Object, to_properties

WIDTH, HEIGHT, FPS = 640, 480, 30
RATE_HZ = 48_000
LOOP_S = 2
"""Length of what is encoded."""

UNRECEIPTED = 500
SEEN_S = 0.1

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Loop:
    """What is repeated: the objects of one kind of `LOOP_S` seconds.

    Attributes:
        kind: Video or audio.
        content_type: Of its objects.
        objects: Themselves; `pts_us` counts from 0.
    """

    kind: Kind
    content_type: str
    objects: list[Encoded]


def encode_loops(start_us: int = 0) -> list[Loop]:
    """Two seconds of the test picture and the test sound, one group of pictures.

    Args:
        start_us: Time that stands in the first picture; beeps begin at its whole seconds.
    """
    video = VideoEncoder("h264", WIDTH, HEIGHT, FPS, gop=LOOP_S * FPS)
    pattern, pictures = Pattern(WIDTH, HEIGHT), list[Encoded]()
    for number in range(LOOP_S * FPS):
        pts_us = number * 1_000_000 // FPS
        planes = pattern.draw(start_us + pts_us)
        picture = Picture(planes, WIDTH, HEIGHT, start_us + pts_us, pts_us)
        pictures += video.encode(picture, force_key=not number)
    sound = AudioEncoder("opus", RATE_HZ, 1)
    objects = list[Encoded]()
    source = ToneSource(RATE_HZ, 1, now_us=lambda: start_us, pace=False)
    for block in source.blocks():
        if block.pts_us >= LOOP_S * 1_000_000:
            break
        objects += sound.encode(block)
    return [
        Loop(Kind.VIDEO, video.content_type, pictures),
        Loop(Kind.AUDIO, sound.content_type, objects),
    ]


@dataclass(frozen=True, slots=True)
class Stamped:
    """An object of the room, ready to be published.

    Attributes:
        kind: Its kind.
        obj: Itself.
        at_us: Its capture stamp, Unix µs.
    """

    kind: Kind
    obj: Object
    at_us: int


def repeated(loops: list[Loop], start_us: int, seconds: float) -> Iterator[Stamped]:
    """The objects of a room that begins at a time, in the order of their capture."""
    seqs = {loop.kind: 0 for loop in loops}
    for turn in range(-(-int(seconds) // LOOP_S)):
        base_us = start_us + turn * LOOP_S * 1_000_000
        both = [(encoded.pts_us, loop, encoded) for loop in loops for encoded in loop.objects]
        for pts_us, loop, encoded in sorted(both, key=lambda one: one[0]):
            seqs[loop.kind] += 1
            at_us = base_us + pts_us
            obj = Object(
                kind=loop.kind, seq=seqs[loop.kind], group=turn, key=encoded.key,
                payload=encoded.payload, capture_us=at_us, encode_us=at_us + 2000,
                send_us=at_us + 2500, route_us=at_us + 3000, publish_us=at_us + 3200,
                duration_us=encoded.duration_us, content_type=loop.content_type,
            )  # fmt: skip
            yield Stamped(loop.kind, obj, at_us)


async def write(client: BrokerClient, settings: Settings, room: str, seconds: float) -> int:
    """Write a past whose end is now.

    Returns:
        Objects written.

    Raises:
        BrokerError: The broker did not take all of it.
    """
    clock, failed, slots, count = Clock(), list[object](), asyncio.Semaphore(UNRECEIPTED), 0

    def done(error: object) -> None:
        slots.release()
        if error is not None:
            failed.append(error)

    kinds = (Kind.VIDEO, Kind.AUDIO)
    producers = {kind: await client.producer(settings.topics.topic(room, kind)) for kind in kinds}
    domain = str(clock.domain)
    for one in repeated(encode_loops(), clock.now_us() - int(seconds * 1e6), seconds):
        await slots.acquire()
        producers[one.kind].send(
            one.obj.payload,
            properties=to_properties(one.obj, "bench", domain, 0),
            key=f"{room}/cam/{one.kind}",
            event_ms=one.at_us // 1000,
            seq=None,
            done=done,
        )
        count += 1
    for producer in producers.values():
        await producer.flush()
    if failed:
        raise BrokerError(f"The broker did not take all objects: {failed[0]}.", hint="See its log.")
    return count


async def measure(
    minutes: float = 10.0, ending: str = ".mp4", say: Say = lambda _: None
) -> dict[str, Any]:
    """Measure `wtp record --from earliest` of a room of 480p30 H.264 and Opus.

    Args:
        minutes: Length of the room's past.
        ending: Of the file: `.mp4` or `.mkv`.
        say: Told what happens.

    Returns:
        `times_real_time`, `objects_per_s`, `left_out` at the start, `recorded_s`, `took_s` (from
        the first object asked for to the last one taken), `record_cpu_s` and `broker_cpu_s`,
        `file_bytes`, `machine`.

    Raises:
        WtpError: A process does not come up; an object is missing.
    """
    seconds = minutes * 60
    with tempfile.TemporaryDirectory(prefix="wtp-bench-record-") as folder:
        async with LocalPath(fsync="never") as path:
            await path.make_rooms()
            settings = Settings()
            client = connect(path.broker)
            say(f"writing {seconds:g} s of a room")
            try:
                objects = await write(client, settings, path.room, seconds)
            finally:
                await client.close()
            say(f"recording {objects} objects")
            spin = spin_ms()
            shot = await _record(path, Path(folder) / f"room{ending}")
            found = shot["objects"]
            if found != objects or shot["dropped"]:
                raise BrokerError(
                    f"{shot['delivered']} of {objects} objects were recorded.", hint="Run it again."
                )
    took_s = shot["duration_s"]
    return {
        "times_real_time": round(seconds / took_s, 1),
        "objects": objects,
        "objects_per_s": round(objects / took_s),
        "left_out": shot["left_out"],
        "recorded_s": round(shot["recorded_us"] / 1e6, 3),
        "took_s": took_s,
        "record_cpu_s": shot["record_cpu_s"],
        "broker_cpu_s": shot["broker_cpu_s"],
        "file_bytes": shot["file_bytes"],
        "container": ending,
        "spin_ms": spin,
        "machine": machine_line(),
    }


async def _record(path: LocalPath, file: Path) -> dict[str, Any]:
    """Run the command to its end; its last snapshot."""
    broker_pid = path.processes["broker"].pid
    before_s = cpu_s(broker_pid) or 0.0
    process = await asyncio.create_subprocess_exec(
        *_command(), "record", str(file), *path.broker_args, *path.room_args,
        "--from", "earliest", "-q", "-o", "json",
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    used_s = 0.0
    async for used in _cpu(process):
        used_s = used
    out, _ = await process.communicate()
    if process.returncode:
        raise BrokerError("wtp record failed.", hint="See what it said.")
    shot: dict[str, Any] = json.loads(out)
    shot["record_cpu_s"] = round(used_s, 2)
    shot["broker_cpu_s"] = round((cpu_s(broker_pid) or 0.0) - before_s, 2)
    return shot


def _command() -> list[str]:
    import sys

    return [sys.executable, "-m", "wtp"]


async def _cpu(process: asyncio.subprocess.Process) -> AsyncIterator[float]:
    """CPU seconds of a process while it runs."""
    while process.returncode is None:
        used_s = cpu_s(process.pid)
        if used_s is not None:
            yield used_s
        await asyncio.sleep(SEEN_S)


def run(config: dict[str, Any], say: Say = lambda _: None) -> dict[str, Any]:
    """Measure with `minutes` and `ending` of a configuration; see `measure`."""
    begun = time.perf_counter()
    figures = asyncio.run(measure(config.get("minutes", 10.0), config.get("ending", ".mp4"), say))
    return {**figures, "whole_s": round(time.perf_counter() - begun, 1)}
