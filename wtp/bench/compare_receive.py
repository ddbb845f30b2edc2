"""The receiving process of a comparison: listens, and counts the whole objects that arrive."""

from __future__ import annotations

import asyncio
import importlib
import time
from multiprocessing.connection import Connection
from typing import Any

from wtp.bench.compare_ends import HEAD, Listening, Security, serve
from wtp.bench.lossylink import Place
from wtp.metrics import Latency

POLL_S = 0.02


class Meter:
    """Counts whole objects; only what was due after the last `start` counts."""

    def __init__(self) -> None:
        self.seen: set[int] = set()
        self.start(0)

    def start(self, first: int) -> None:
        """Begin anew with the object of that number."""
        self.first = first
        self.seen = set()
        self.bytes = self.doubles = 0
        self.first_ns = self.last_ns = 0
        self.cpu_start_s = time.process_time()
        self.latency = Latency()

    def take(self, data: bytes) -> bool:
        """Count an object."""
        now_ns = time.monotonic_ns()
        number, due_ns, answer = HEAD.unpack_from(data)
        if answer or number < self.first:
            return bool(answer)
        if number in self.seen:
            self.doubles += 1
            return False
        self.seen.add(number)
        self.bytes += len(data)
        self.first_ns = self.first_ns or due_ns
        self.last_ns = now_ns
        self.latency.add((now_ns - due_ns) // 1000)
        return False

    def snapshot(self) -> dict[str, Any]:
        """What was counted since `start`."""
        return {
            **self.latency.snapshot(),
            "histogram": self.latency.encoded(),
            "bytes": self.bytes,
            "doubles": self.doubles,
            "span_s": (self.last_ns - self.first_ns) / 1e9,
            "cpu_s": time.process_time() - self.cpu_start_s,
        }


def receive(
    pipe: Connection, place: Place, module: str, options: dict[str, Any], security: Security
) -> None:
    """Main function of the receiving process: `start FIRST`, `settle COUNT PATIENCE`."""
    place.enter()
    asyncio.run(_receive(pipe, module, options, security))


async def _receive(
    pipe: Connection, module: str, options: dict[str, Any], security: Security
) -> None:
    meter = Meter()
    listening: list[Listening] = []

    async def start() -> Any:
        rival = importlib.import_module(module)
        one = await rival.listen(options.pop("host"), security, meter.take, **options)
        listening.append(one)
        return one.address, list(one.between)

    async def do(command: str, *arguments: Any) -> Any:
        if command == "start":
            meter.start(*arguments)
            return None
        await _settle(meter, *arguments)
        return meter.snapshot()

    try:
        await serve(pipe, start, do)
    finally:
        for one in listening:
            await one.close()


async def _settle(meter: Meter, count: int, patience_s: float) -> None:
    """Wait until so many objects are here, or nothing has come for a while."""
    loop = asyncio.get_running_loop()
    before, since_s = len(meter.seen), loop.time()
    while len(meter.seen) < count and loop.time() - since_s < patience_s:
        await asyncio.sleep(POLL_S)
        if len(meter.seen) > before:
            before, since_s = len(meter.seen), loop.time()
