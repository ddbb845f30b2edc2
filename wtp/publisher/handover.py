"""Units from a thread that makes them to the loop, through a bounded queue.

When the loop is so slow that the queue fills, what is newest matters. Of pictures everything in it
is dropped and counted, for what follows can be decoded from the next key unit on; of sound, where
each unit stands alone, the oldest go.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence

from wtp.errors import MediaError, WtpError
from wtp.publisher.live import Unit

STOP_S = 1.0
"""How long the end of the thread is waited for; a device that hangs is left behind."""

Deliver = Callable[[Sequence[Unit], int], None]
"""Takes units on the loop, and how many were dropped before the first of them."""


class Handover:
    """A thread that makes units, and the way from it to the loop.

    Args:
        name: What it reads from, for errors; also of its thread.
        work: Makes units until its source ends or is closed, calling `push`; in the thread.
        close: Ends `work` soon; safe from any thread, more than once.
        deliver: Takes the units, on the loop.
        most: Units that wait for the loop at most.
        alone: Whether each unit stands alone.
        on_drop: Called in the thread when the queue was dropped.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[], None],
        close: Callable[[], None],
        deliver: Deliver,
        *,
        most: int,
        alone: bool = False,
        on_drop: Callable[[], None] = lambda: None,
    ) -> None:
        self._name = name
        self._work = work
        self._close = close
        self._deliver = deliver
        self._most = most
        self._alone = alone
        self._on_drop = on_drop
        self._lock = threading.Lock()
        self._ready: deque[Unit] = deque()
        self._lost = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended: asyncio.Future[None] | None = None

    async def run(self) -> None:
        """Work until the source ends or is closed.

        Raises:
            MediaError: The work failed; what it made before is delivered.
        """
        self._loop = asyncio.get_running_loop()
        self._ended = self._loop.create_future()
        threading.Thread(target=self._run, name=self._name, daemon=True).start()
        try:
            await asyncio.shield(self._ended)
        finally:
            self._close()
            await asyncio.wait({self._ended}, timeout=STOP_S)
            self._take()

    def push(self, units: Sequence[Unit]) -> None:
        """Hand units over; from the thread."""
        if not units:
            return
        with self._lock:
            idle = not self._ready
            if not self._alone and len(self._ready) >= self._most:
                self._lost += len(self._ready)
                self._ready.clear()
                self._on_drop()
            self._ready.extend(units)
            while self._alone and len(self._ready) > self._most:
                self._ready.popleft()
                self._lost += 1
        if idle:
            self._call(self._take)

    def _run(self) -> None:
        error: WtpError | None = None
        try:
            self._work()
        except WtpError as failure:
            error = failure
        except BaseException as failure:  # noqa: BLE001 - the border of the thread, panics too
            error = MediaError(f"{self._name} failed: {failure}.", hint="See WTP_DEBUG=1.")
        finally:
            self._close()
        self._call(lambda: self._end(error))

    def _call(self, call: Callable[[], None]) -> None:
        assert self._loop is not None  # noqa: S101 - `run` sets it
        try:
            self._loop.call_soon_threadsafe(call)
        except RuntimeError:
            self._close()

    def _take(self) -> None:
        """On the loop: hand over what is ready."""
        with self._lock:
            units, lost = list(self._ready), self._lost
            self._ready.clear()
            self._lost = 0
        if units or lost:
            self._deliver(units, lost)

    def _end(self, error: WtpError | None) -> None:
        self._take()
        if self._ended is not None and not self._ended.done():
            if error is None:
                self._ended.set_result(None)
            else:
                self._ended.set_exception(error)
