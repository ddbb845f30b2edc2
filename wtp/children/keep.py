"""A child that is started again when it ends by itself."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from enum import StrEnum
from typing import Any

from wtp.children.child import Child
from wtp.errors import WtpError

FIRST_DELAY_S = 0.1
MAX_DELAY_S = 5.0
STEADY_S = 10.0
"""Seconds of running after which an end counts as the first one again."""

ATTEMPTS = 8
"""Starts in a row that may fail before the child is given up (about 16 s of waiting)."""

USAGE = 2
"""Exit code of a wrong command line or profile: trying again is of no use."""


class State(StrEnum):
    """Where a kept child stands."""

    STARTING = "starting"
    RUNNING = "running"
    RESTARTING = "restarting"
    FAILED = "failed"
    STOPPED = "stopped"


class Kept:
    """Keeps one child running.

    Args:
        make: Makes the child anew for every start.
        name: What to call it.
        on_change: Called after every change of state.
    """

    def __init__(
        self,
        make: Callable[[], Child],
        name: str,
        on_change: Callable[[Kept], None] = lambda _: None,
    ) -> None:
        self.name = name
        self.state = State.STARTING
        self.restarts = 0
        self.error: WtpError | None = None
        """Why it ended last, or failed for good."""
        self.recovery_s: float | None = None
        """Seconds from its last end to being ready again."""
        self.child: Child | None = None
        self._make = make
        self._on_change = on_change
        self._stopping = asyncio.Event()
        self._once_ready = asyncio.Event()

    @property
    def last(self) -> dict[str, Any]:
        """The newest figures of the child, also of one that has just ended."""
        return self.child.last if self.child is not None else {}

    @property
    def pid(self) -> int:
        """Its process id, 0 while there is none."""
        return self.child.pid if self.child is not None and self.child.running else 0

    async def ready(self) -> dict[str, Any]:
        """Wait until it was ready for the first time.

        Returns:
            What it said then.

        Raises:
            WtpError: It failed for good instead.
        """
        await self._once_ready.wait()
        if self.state is State.FAILED and self.error is not None:
            raise self.error
        return self.child.info if self.child is not None else {}

    async def run(self) -> None:
        """Start it, and again whenever it ends, until `stop`; returns early when it failed."""
        try:
            await self._run()
        finally:
            self._once_ready.set()

    async def _run(self) -> None:
        failures = 0
        ended_at: float | None = None
        while not self._stopping.is_set():
            self.child = await self._make().start()
            if self._stopping.is_set():
                await self.child.stop()
                break
            began = time.monotonic()
            ready = await self._become_ready(self.child)
            if ready:
                if ended_at is not None:
                    self.restarts += 1
                    self.recovery_s = time.monotonic() - ended_at
                self._change(State.RUNNING)
                self._once_ready.set()
            ended_at = await self._until_end(self.child, ended_at)
            if self._stopping.is_set():
                break
            self.error = self.child.failure()
            steady = ready and time.monotonic() - began > STEADY_S
            failures = 0 if steady else failures + 1
            first_start = not self._once_ready.is_set()
            if failures > ATTEMPTS or first_start or self.error.exit_code == USAGE:
                self._change(State.FAILED)
                return
            self._change(State.RESTARTING)
            delay = min(FIRST_DELAY_S * 2 ** (failures - 1), MAX_DELAY_S) if failures else 0.0
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._stopping.wait()
        self._change(State.STOPPED)

    async def _become_ready(self, child: Child) -> bool:
        """Wait until it is ready (or has ended before, then False)."""
        try:
            await asyncio.wait({child.ready})
        except asyncio.CancelledError:
            child.kill()
            await child.wait()
            raise
        return child.ready.exception() is None

    async def _until_end(self, child: Child, before: float | None) -> float:
        """Wait for its end; the time of the end, or of the one before when it never got ready."""
        try:
            await child.wait()
        except asyncio.CancelledError:
            child.kill()
            await child.wait()
            raise
        if before is not None and not child.info:
            return before
        return time.monotonic()

    async def stop(self, timeout: float = 5.0) -> None:
        """Finish it cleanly and keep it no longer."""
        self._stopping.set()
        if self.child is not None:
            await self.child.stop(timeout)

    def _change(self, state: State) -> None:
        self.state = state
        self._on_change(self)
