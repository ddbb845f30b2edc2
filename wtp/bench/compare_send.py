"""The sending process of a comparison: connects, and sends objects on schedule or flat out."""

from __future__ import annotations

import asyncio
import importlib
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from wtp.bench.compare_ends import HEAD, Load, Security, Sending, serve
from wtp.bench.lossylink import Place

IN_FLIGHT = 64
"""Objects under way at once when a protocol takes its time; then the schedule slips, which the
latencies show."""
CLOSE_S = 5.0


def send(
    pipe: Connection,
    place: Place,
    module: str,
    options: dict[str, Any],
    security: Security,
    address: dict[str, Any],
) -> None:
    """Main function of the sending process: `hands TIMES`, `load LOAD`."""
    place.enter()
    asyncio.run(_send(pipe, module, options, security, address))


async def _send(
    pipe: Connection,
    module: str,
    options: dict[str, Any],
    security: Security,
    address: dict[str, Any],
) -> None:
    source = Source()
    held: list[Sending] = []

    async def connect(use: str) -> Sending:
        rival = importlib.import_module(module)
        one: Sending = await rival.connect(address, security, use, **options)
        return one

    async def drop() -> None:
        while held:
            await _close(held.pop())

    async def do(command: str, *arguments: Any) -> Any:
        if command == "hands":
            return [await _handshake(connect, source) for _ in range(*arguments)]
        if command == "open":
            held.append(await connect(*arguments))
            await held[0].ask(source.object(HEAD.size, 0, answer=True))
            return None
        if command == "close":
            return await drop()
        return await _load(held[0], source, *arguments)

    async def start() -> None:
        """Shake hands once: libraries load parts of themselves at the first time."""
        await _handshake(connect, source)

    try:
        await serve(pipe, start, do)
    finally:
        with suppress(Exception):
            await drop()


class Source:
    """Makes objects: numbered, timed, and of bytes that cannot be compressed."""

    def __init__(self) -> None:
        self.number = 0
        self._bytes = os.urandom(1 << 20)

    def object(self, size: int, due_ns: int, *, answer: bool = False) -> bytes:
        """An object of that size; at least its head."""
        if not answer:
            self.number += 1
        head = HEAD.pack(self.number, due_ns, answer)
        rest = max(0, size - HEAD.size)
        body = self._bytes if rest <= len(self._bytes) else self._bytes * (1 + rest // (1 << 20))
        return head + body[:rest]


async def _handshake(connect: Callable[[str], Awaitable[Sending]], source: Source) -> float:
    """Milliseconds from nothing to the answer to a first small object on a new connection."""
    begin_s = time.monotonic()
    one = await connect("one-off message")
    try:
        await one.ask(source.object(HEAD.size, 0, answer=True))
        return (time.monotonic() - begin_s) * 1000
    finally:
        await _close(one)


async def _close(one: Sending) -> None:
    """Close a connection; one that does not end is left to the end of the process."""
    with suppress(TimeoutError):
        async with asyncio.timeout(CLOSE_S):
            await one.close()


async def _load(sending: Sending, source: Source, load: Load) -> dict[str, Any]:
    cpu_start_s = time.process_time()
    first = source.number
    send = _paced if load.rate else _flat_out
    given_up = await send(sending, source, load)
    return {
        "sent": source.number - first,
        "given_up": given_up,
        "cpu_s": time.process_time() - cpu_start_s,
        "next": source.number + 1,
    }


async def _paced(sending: Sending, source: Source, load: Load) -> int:
    """Send on schedule; a slow protocol has many objects under way, and slips when too many."""
    free = asyncio.Semaphore(IN_FLIGHT)
    given_up = 0

    async def one(data: bytes) -> None:
        nonlocal given_up
        try:
            given_up += not await sending.send(data)
        finally:
            free.release()

    start_ns = time.monotonic_ns() + 20_000_000
    step_ns = 1e9 / load.rate
    async with asyncio.TaskGroup() as tasks:
        for turn in range(max(1, round(load.duration_s * load.rate))):
            due_ns = start_ns + int(turn * step_ns)
            await asyncio.sleep(max(0.0, (due_ns - time.monotonic_ns()) / 1e9))
            await free.acquire()
            size = load.sizes[turn % len(load.sizes)]
            tasks.create_task(one(source.object(size, due_ns)))
    return given_up


async def _flat_out(sending: Sending, source: Source, load: Load) -> int:
    end_s = time.monotonic() + load.duration_s
    given_up = 0

    async def lane() -> None:
        nonlocal given_up
        while time.monotonic() < end_s:
            size = load.sizes[source.number % len(load.sizes)]
            given_up += not await sending.send(source.object(size, time.monotonic_ns()))
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(sending.lanes):
            tasks.create_task(lane())
    return given_up
