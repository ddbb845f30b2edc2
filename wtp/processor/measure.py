"""How fast code is: objects per second and time per object, beside a bare pass-through."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from statistics import median
from typing import Any

from wtp.clock import monotonic_us
from wtp.metrics import Latency
from wtp.model import Kind, Object, to_properties
from wtp.processor.code import CodeFailed, CodeSpec
from wtp.processor.isolate import Isolated
from wtp.wire.process import Parcel

ROUNDS = 3
"""Code and pass-through are measured in turn, so that both see the same machine."""

WARM_UP = 20
"""Objects before a round that are not counted."""

MOST_S = 10.0
"""Seconds that code may take for one object; slower code has no speed worth measuring."""

PICTURES, SIZE = 60, (640, 480)
SOUND_RATE_HZ, SOUND_MS = 48_000, 10
OTHER_BYTES = 20_000


async def run(
    spec: CodeSpec, kind: Kind, objects: list[Parcel], duration_s: float, workers: int = 1
) -> dict[str, Any]:
    """Measure code on one object after the other.

    Args:
        spec: The code.
        kind: What it is given.
        objects: To be used over and over again.
        duration_s: For the code; the pass-through takes as long.
        workers: Processes, each with a track of its own.

    Returns:
        `code` and `pass_through` with `objects_per_s`, `p50_ms`, ..., `failed`; `added_p50_ms`.

    Raises:
        UsageError: The code cannot be loaded.
        CodeFailed: `timeout`: it took longer than `MOST_S` for one object.
    """
    bare = CodeSpec.parse("passthrough")
    runners = [Isolated(one, kind, workers, MOST_S, False, 0) for one in (spec, bare)]
    latencies = [Latency(), Latency()]
    rates: list[list[float]] = [[], []]
    failed = [0, 0]
    try:
        for runner in runners:
            await runner.start()
        feeds = [_endless(objects, worker) for worker in range(workers)]
        for turn in range(2 * ROUNDS):
            at = turn % 2
            took_s, done, lost = await _round(
                runners[at], feeds, duration_s / ROUNDS, latencies[at].add
            )
            rates[at].append(done / took_s)
            failed[at] += lost
    finally:
        for runner in runners:
            await runner.close()
    named = zip(("code", "pass_through"), rates, latencies, failed, strict=True)
    out: dict[str, Any] = {
        name: {"objects_per_s": round(median(rate), 1), "failed": lost, **latency.snapshot()}
        for name, rate, latency, lost in named
    }
    out["objects"] = len(objects)
    out["bytes"] = median(len(parcel.payload) for parcel in objects)
    out["workers"] = workers
    added_ms = (out["code"]["p50_ms"] or 0) - (out["pass_through"]["p50_ms"] or 0)
    out["added_p50_ms"] = round(added_ms, 3)
    return out


async def _round(
    runner: Isolated,
    feeds: list[Iterator[Parcel]],
    duration_s: float,
    add: Callable[[int], None],
) -> tuple[float, int, int]:
    """One round: seconds, objects, and how many of them the code failed on."""
    done = lost = 0
    for feed in feeds:
        for _ in range(WARM_UP):
            try:
                await runner.process(next(feed))
            except CodeFailed as error:
                _see_speed(error)
                break
    start_us = monotonic_us()
    end_us = start_us + int(duration_s * 1e6)

    async def drive(feed: Iterator[Parcel]) -> None:
        nonlocal done, lost
        now_us = monotonic_us()
        while now_us < end_us:
            try:
                await runner.process(next(feed))
            except CodeFailed as error:
                _see_speed(error)
                lost += 1
            before_us, now_us = now_us, monotonic_us()
            add(now_us - before_us)
            done += 1

    async with asyncio.TaskGroup() as group:
        for feed in feeds:
            group.create_task(drive(feed))
    return (monotonic_us() - start_us) / 1e6, done, lost


def _see_speed(error: CodeFailed) -> None:
    """Give up on code that does not end: each object would cost the time-out again.

    Raises:
        CodeFailed: It was that.
    """
    if error.code == "timeout":
        hint = "Try it on one object first, with wtp processor test."
        raise CodeFailed(error.message, hint=hint, code="timeout") from error


def _endless(objects: list[Parcel], worker: int) -> Iterator[Parcel]:
    """The objects over and over, numbered on, as a track of its own."""
    numbers = count(1)
    while True:
        for parcel in objects:
            properties = {**parcel.properties, "seq": str(next(numbers))}
            yield Parcel(f"{parcel.track}-{worker}", properties, parcel.payload)


def sample(kind: Kind) -> list[Parcel]:
    """Objects of a kind when there is no recording: a test pattern, a tone, lines, bytes."""
    if kind in (Kind.VIDEO, Kind.SCREEN):
        return list(_pictures(kind))
    if kind is Kind.AUDIO:
        return list(_sounds())
    if kind is Kind.CHAT:
        lines = (f"This is line {n}, and a damn long one." for n in range(100))
        return [_parcel(kind, n, line.encode(), "text/plain") for n, line in enumerate(lines)]
    return [_parcel(kind, n, bytes(OTHER_BYTES), "application/octet-stream") for n in range(10)]


def _pictures(kind: Kind) -> Iterator[Parcel]:
    from wtp.media.picture import Picture
    from wtp.media.testsrc import Pattern
    from wtp.media.video import VideoEncoder

    encoder, pattern = VideoEncoder("h264", *SIZE, 30.0, gop=PICTURES), Pattern(*SIZE)
    for number in range(PICTURES):
        at_us = number * 33_333
        picture = Picture(pattern.draw(at_us), *SIZE, capture_us=at_us)
        for unit in encoder.encode(picture):
            yield _parcel(kind, number, unit.payload, encoder.content_type, unit.key)


def _sounds() -> Iterator[Parcel]:
    import numpy as np

    samples = SOUND_RATE_HZ * SOUND_MS // 1000
    content_type = f"audio/pcm;format=s16le;rate={SOUND_RATE_HZ};channels=1"
    for number in range(100):
        time = (np.arange(samples) + number * samples) / SOUND_RATE_HZ
        tone = (8000 * np.sin(2 * np.pi * 440 * time)).astype("<i2")
        yield _parcel(Kind.AUDIO, number, tone.tobytes(), content_type)


def _parcel(kind: Kind, number: int, payload: bytes, content_type: str, key: bool = True) -> Parcel:
    obj = Object(kind, number + 1, number + 1, key, payload, capture_us=number * 33_333)
    properties = to_properties(replace(obj, content_type=content_type), "", "", None)
    return Parcel(f"bench/bench/{kind}", properties, payload)
