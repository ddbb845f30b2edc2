"""The two processes of a comparison: one sends objects by a protocol, the other receives them.

Each answers commands over a pipe and ends with it. Both read CLOCK_MONOTONIC of one machine, which
network namespaces do not change, so a latency has no clock error: it counts from the time at which
an object was due to be sent to the time at which the receiving application had all of it.
"""

from __future__ import annotations

import asyncio
import select
import struct
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

from wtp.bench.lossylink import start_process
from wtp.errors import WtpError

HEAD = struct.Struct("!QQB")
"""What every object begins with: number, due time in ns, whether an answer is wanted."""
ANSWER_S = 120.0

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
        self._pipe, self._process = start_process(main, *arguments)

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


async def serve(pipe: Connection, start: Callable[[], Awaitable[Any]], do: Command) -> None:
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
