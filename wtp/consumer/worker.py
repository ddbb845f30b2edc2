"""A thread of one's own for an output that may block (a pipe, a disk, a window).

A pool's thread would hold the process at its end while somebody does not read our pipe; this one
is left behind instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class Worker:
    """Runs calls one after the other in a daemon thread.

    Args:
        name: Of the thread.
    """

    def __init__(self, name: str) -> None:
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call()

    async def call(self, function: Callable[..., T], *args: Any) -> T:
        """Run a function in the thread and return what it returns, or raise what it raises.

        When this is cancelled the function still runs to its end.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def work() -> None:
            result: T | None = None
            problem: BaseException | None = None
            try:
                result = function(*args)
            except BaseException as error:  # noqa: BLE001 - carried over to the caller
                problem = error
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(_settle, future, result, problem)

        self._calls.put(work)
        return await future

    def close(self) -> None:
        """End the thread after the calls it has; does not wait."""
        self._calls.put(None)


def _settle(future: asyncio.Future[T], result: T | None, problem: BaseException | None) -> None:
    if future.done():
        return
    if problem is None:
        future.set_result(result)  # type: ignore[arg-type]  # T may itself be Optional
    else:
        future.set_exception(problem)
