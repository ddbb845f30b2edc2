"""The two processes of a comparison: one sends objects by a protocol, the other receives them.

Each answers commands over a pipe and ends with it. Both read CLOCK_MONOTONIC of one machine, which
network namespaces do not change, so a latency has no clock error: it counts from the time at which
an object was due to be sent to the time at which the receiving application had all of it.
"""

from __future__ import annotations

import asyncio
import importlib
import multiprocessing
import os
import select
import struct
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

from wtp.bench.lossylink import Place
from wtp.errors import WtpError
from wtp.metrics import Latency

HEAD = struct.Struct("!QQB")
"""What every object begins with: number, due time in ns, whether an answer is wanted."""
IN_FLIGHT = 64
"""Objects under way at once when a protocol takes its time; then the schedule slips, which the
latencies show."""
ANSWER_S = 120.0
POLL_S = 0.02
CLOSE_S = 5.0

Take = Callable[[bytes], bool]
"""Given every whole object that arrives; returns whether the sender wants an answer."""


@dataclass(frozen=True, slots=True)
class Security:
    """The certificate of a comparison.

    Attributes:
        cert: PEM file of the certificate, which is the trust anchor as well.
        key: PEM file of its key.
        plain: Speak without TLS where the protocol can.
    """

    cert: Path
    key: Path
    plain: bool = False


class Listening(Protocol):
    """The receiving end of a protocol.

    Attributes:
        address: What the sending end has to know.
        between: Process ids of what stands between both ends.
    """

    address: dict[str, Any]
    between: Sequence[int]

    async def close(self) -> None:
        """Stop; leaves nothing running."""


class Sending(Protocol):
    """One connection of a protocol, the sending end.

    Attributes:
        lanes: Objects worth having under way at once to be as fast as it can.
    """

    lanes: int

    async def send(self, data: bytes) -> bool:
        """Send an object; waits while too much is under way. False: it was given up."""

    async def ask(self, data: bytes) -> None:
        """Send an object that wants an answer, and wait for that."""

    async def close(self) -> None:
        """End the connection when what was sent has left."""


@dataclass(frozen=True, slots=True)
class Load:
    """What is sent.

    Attributes:
        use: Name of the use, as `live video`; protocols that can rank streams look at it.
        sizes: Sizes of the objects in bytes, repeated as long as it lasts.
        rate: Objects a second; 0: as fast as the receiver takes them.
        duration_s: How long to send.
        warmup_s: Sent before, and left out.
    """

    use: str
    sizes: tuple[int, ...]
    rate: float
    duration_s: float
    warmup_s: float


class End:
    """One of the processes, from the side of who started it.

    Args:
        main: `receive` or `send`.
        arguments: Its arguments after the pipe.
    """

    def __init__(self, main: Callable[..., None], *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=main, args=(theirs, *arguments), daemon=True)
        self._process.start()
        theirs.close()

    def ask(self, *command: Any) -> Any:
        """Send a command and wait for its answer.

        Raises:
            WtpError: It failed, died or fell silent.
        """
        with suppress(OSError):
            self._pipe.send(command)
        return self.answer()

    def answer(self) -> Any:
        """Wait for one answer.

        Raises:
            WtpError: As `ask`.
        """
        problem = "a process fell silent"
        try:
            if self._pipe.poll(ANSWER_S):
                failed, answer = self._pipe.recv()
                if not failed:
                    return answer
                problem = str(answer)
        except (EOFError, OSError):
            problem = "a process died"
        raise WtpError(problem, hint="Run it again alone to see more.", code="bench-child")

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join(10)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._process.close()


Command = Callable[..., Awaitable[Any]]


async def _serve(pipe: Connection, start: Callable[[], Awaitable[Any]], do: Command) -> None:
    """Start, then answer commands until the pipe ends, which also ends what is under way."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(pipe.fileno(), readable.set)

    async def work() -> None:
        await _answer(pipe, start)
        while True:
            await readable.wait()
            if not pipe.poll():
                readable.clear()
                continue
            command = pipe.recv()
            await _answer(pipe, lambda: do(*command))  # noqa: B023 - awaited at once

    async with asyncio.TaskGroup() as tasks:
        working = tasks.create_task(_until_end(work))
        watching = tasks.create_task(_watch(pipe))
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        working.cancel()
        watching.cancel()
    loop.remove_reader(pipe.fileno())


async def _until_end(work: Callable[[], Awaitable[None]]) -> None:
    with suppress(EOFError, OSError):
        await work()


async def _watch(pipe: Connection) -> None:
    """Return once the other side of the pipe is gone, also in the middle of a command."""
    poll = select.poll()
    poll.register(pipe.fileno(), select.POLLHUP)
    while not any(event & select.POLLHUP for _, event in poll.poll(0)):
        await asyncio.sleep(0.25)


async def _answer(pipe: Connection, do: Callable[[], Awaitable[Any]]) -> None:
    try:
        answer = await do()
    except WtpError as error:
        pipe.send((True, str(error)))
    except Exception as error:  # noqa: BLE001 - foreign errors of six libraries end here
        pipe.send((True, _sentence(error)))
    else:
        pipe.send((False, answer))


def _sentence(error: BaseException) -> str:
    """What went wrong, of a group the first of it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


# The receiving process


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
        await _serve(pipe, start, do)
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


# The sending process


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
        await _serve(pipe, start, do)
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
