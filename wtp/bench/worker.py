"""A process of a benchmark's own, driven over a pipe; it ends with the pipe, so with its parent."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
from collections.abc import Callable, Coroutine
from multiprocessing.connection import Connection
from selectors import SelectSelector
from types import TracebackType
from typing import Any, Self

from wtp.errors import WtpError

ANSWER_S = 60.0
JOIN_S = 2.0


class Worker:
    """A spawned process that takes words and gives answers, one for each.

    Args:
        name: What to call it in errors.
        main: Its function; gets its end of the pipe and `args`, and answers `ready` first.
        args: Picklable.
    """

    def __init__(self, name: str, main: Callable[..., None], *args: Any) -> None:
        self.name = name
        context = multiprocessing.get_context("spawn")
        self._pipe, self._theirs = context.Pipe()
        self._process = context.Process(target=main, args=(self._theirs, *args), daemon=True)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid or 0

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._process.start)
        self._theirs.close()
        try:
            await self.hear()
        except BaseException:
            await self._end()
            raise
        return self

    async def ask(self, *words: Any, patience_s: float = ANSWER_S) -> Any:
        """Say something and wait for the answer.

        Raises:
            WtpError: It died, fell silent, or answered with an error.
        """
        self.say(*words)
        return await self.hear(patience_s)

    def say(self, *words: Any) -> None:
        """Say something; the answer is to be heard later."""
        try:
            self._pipe.send(words)
        except OSError:
            raise self._dead() from None

    async def hear(self, patience_s: float = ANSWER_S) -> Any:
        """Wait for an answer.

        Raises:
            WtpError: It died, fell silent, or answered with an error.
        """
        if not await asyncio.to_thread(self._pipe.poll, patience_s):
            raise WtpError(
                f"The {self.name} of the benchmark said nothing for {patience_s:.0f} s.",
                hint="Run it again with less load on the machine.",
                code="bench-silent",
            )
        try:
            answer = self._pipe.recv()
        except EOFError:
            raise self._dead() from None
        if isinstance(answer, WtpError):
            raise answer
        return answer

    def _dead(self) -> WtpError:
        return WtpError(
            f"The {self.name} of the benchmark died.",
            hint="Its last words are above; run it again.",
            code="bench-died",
        )

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._end()

    async def _end(self) -> None:
        self._pipe.close()
        if self._process.pid is not None:
            await asyncio.to_thread(self._process.join, JOIN_S)
            if self._process.is_alive():
                self._process.kill()
                await asyncio.to_thread(self._process.join)
            self._process.close()


Answer = Callable[..., Coroutine[Any, Any, Any]]


async def serve(pipe: Connection, answer: Answer) -> None:
    """Answer words until the pipe ends; a `WtpError` goes back as the answer.

    Args:
        pipe: The process's end.
        answer: Called with the words of one question.
    """
    readable = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(pipe.fileno(), readable.set)
    pipe.send("ready")
    gc.freeze()  # as a role does: the collector's halts would count as latency
    try:
        while True:
            await readable.wait()
            readable.clear()
            while pipe.poll():
                words = pipe.recv()
                try:
                    pipe.send(await answer(*words))
                except WtpError as error:
                    pipe.send(error)
    except (EOFError, OSError):  # the parent is done, or dead
        loop.remove_reader(pipe.fileno())


def run_exact(work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine on a loop whose timers are exact to µs: epoll rounds up to whole ms."""
    with asyncio.Runner(loop_factory=_exact_loop) as runner:
        runner.run(work)


def _exact_loop() -> asyncio.AbstractEventLoop:
    return asyncio.SelectorEventLoop(SelectSelector())
