"""The demo as a role: its processes kept running, their figures put side by side."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import shutil
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from wtp.children import Child, Kept, State
from wtp.config.keys import variables
from wtp.config.schema import Settings
from wtp.demo.figures import ledgers, measured
from wtp.demo.plan import PUBLISHER_NAME, DemoOptions, Plan, prepare
from wtp.errors import BrokerUnavailable, WtpError

Snapshot = dict[str, Any]

_log = logging.getLogger(__name__)

START_S = 30.0
"""Seconds until everything has to run."""

TAIL_S = 0.3
"""Seconds the consumer gets for what is still under way when the publisher has ended."""

EVENTS = 50
TAKEN = {"port-in-use", "bind"}
"""Code of the error of a router or a broker that cannot listen."""

NEEDED = ("broker", "router", "publisher", "consumer")
"""Without these nothing is shown; in the order in which they become ready."""

LEAVING = (("publisher",), ("consumer", "router", "processor"), ("broker",))
"""The order in which the processes end, so that nothing is lost on the way."""


class Demo:
    """Broker, router, publisher, consumer and a processor on this machine.

    Args:
        settings: Profile; addresses and folders are the demo's own.
        options: What to show.
        make: Makes a child of its words, its name and its environment; for tests.
    """

    def __init__(
        self,
        settings: Settings,
        options: DemoOptions,
        make: Callable[..., Child] = Child,
    ) -> None:
        self._settings = settings
        self._options = options
        self._make = make
        self._began = time.monotonic()
        self._running_since: float | None = None
        self._ran_until: float | None = None
        self._first_latency_s: float | None = None
        self._stopping = asyncio.Event()
        self._flowing = asyncio.Event()
        self._ending = False
        self._plan: Plan | None = None
        self._kept: dict[str, Kept] = {}
        self._events: deque[tuple[float, str]] = deque(maxlen=EVENTS)

    async def run(self, ready: Callable[[Snapshot], None]) -> None:
        """Start everything, watch it, end it, and clean up.

        Raises:
            WtpError: A process did not start; the error is its own.
        """
        try:
            await self._once(ready, usual=True)
        except* WtpError as group:
            error = group.exceptions[0]
            if not isinstance(error, WtpError) or error.code not in TAKEN:
                raise
            retry = True
        else:
            retry = False
        if retry and not self._stopping.is_set():  # somebody was faster on a usual port
            await self._once(ready, usual=False)

    async def _once(self, ready: Callable[[Snapshot], None], *, usual: bool) -> None:
        self._ending, self._ran_until = False, None
        self._flowing.clear()
        self._plan = plan = await asyncio.to_thread(
            prepare, self._settings, self._options, usual=usual
        )
        try:
            for port in plan.taken:
                self._say(f"Port {port} is taken: a free one is used instead.")
            await self._run_processes(plan, ready)
        finally:
            if not self._options.keep:
                await asyncio.to_thread(shutil.rmtree, plan.folder, ignore_errors=True)

    def stop(self) -> None:
        """End the demo cleanly."""
        self._stopping.set()

    async def _run_processes(self, plan: Plan, ready: Callable[[Snapshot], None]) -> None:
        for name in plan.args:
            self._kept[name] = Kept(self._maker(plan, name), name, self._changed)
        async with asyncio.TaskGroup() as tasks:
            for name in NEEDED:  # each waits by itself for those it needs
                tasks.create_task(self._kept[name].run())
            if "processor" in self._kept:
                tasks.create_task(self._run_processor(self._kept["processor"]))
            try:
                await self._until_done(plan, ready)
            finally:
                self._ending = True
                await self._leave()

    async def _run_processor(self, kept: Kept) -> None:
        """Keep the processor running from the first figures on: they do not wait for it."""
        await self._flowing.wait()
        if self._ending:
            await kept.stop()
        await kept.run()
        if kept.error is not None and kept.error.exit_code == BrokerUnavailable.exit_code:
            await kept.run()  # the broker was away when it started: now as after any other end

    def _maker(self, plan: Plan, name: str) -> Callable[[], Child]:
        env = _neutral()
        starts = itertools.count(1)

        def make() -> Child:
            args = list(plan.args[name])
            start = next(starts)
            if name == "publisher":  # the router holds the name of a killed one for a while
                args += ["--name", PUBLISHER_NAME if start == 1 else f"{PUBLISHER_NAME}-{start}"]
            return self._make(args, name=name, env=env, on_event=self._event)

        return make

    async def _until_done(self, plan: Plan, ready: Callable[[Snapshot], None]) -> None:
        """Wait until everything runs, then until the time is over or somebody stops it."""
        stopping = asyncio.create_task(self._stopping.wait())
        starting = asyncio.create_task(self._all_ready())
        try:
            async with asyncio.timeout(START_S):
                await asyncio.wait({stopping, starting}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
                self._running_since = time.monotonic()
                ready(self._info(plan))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._options.duration_s):
                        await asyncio.shield(stopping)
        except TimeoutError:
            late = [name for name in NEEDED if self._kept[name].state is State.STARTING]
            raise WtpError(
                f"Not ready after {START_S:.0f} s: {', '.join(late)}.",
                hint="The machine may be too busy; WTP_DEBUG=1 shows more.",
            ) from None
        finally:
            self._ran_until = time.monotonic()
            for task in (stopping, starting):
                task.cancel()
            await asyncio.gather(stopping, starting, return_exceptions=True)

    async def _all_ready(self) -> None:
        for name in NEEDED:
            await self._kept[name].ready()

    async def _leave(self) -> None:
        """End the processes so that each can still hand on what it has."""
        self._flowing.set()
        for names in LEAVING:
            ending = (self._kept[name].stop() for name in names if name in self._kept)
            await asyncio.gather(*ending)
            if "publisher" in names and self._running_since is not None:
                await asyncio.sleep(TAIL_S)

    def _info(self, plan: Plan) -> Snapshot:
        return {"connect": plan.connect, "folder": str(plan.folder), "taken": plan.taken}

    def _event(self, event: Snapshot) -> None:
        """Note when the first latency came out of the consumer."""
        if self._first_latency_s is None:
            latency = (event.get("latency") or {}).get("total") or {}
            if latency.get("n"):
                self._first_latency_s = round(time.monotonic() - self._began, 2)
                self._flowing.set()

    def _changed(self, kept: Kept) -> None:
        """Say what happened to a process."""
        if self._ending:
            return
        if kept.state is State.RESTARTING:
            reason = kept.error.message if kept.error else "it ended"
            self._say(f"{kept.name} ended and is started again: {reason}")
        elif kept.state is State.RUNNING and kept.recovery_s is not None:
            self._say(f"{kept.name} is back after {kept.recovery_s:.1f} s")
        elif kept.state is State.FAILED and (
            kept.name not in NEEDED or self._running_since is not None  # before, it is raised
        ):
            self._say(f"{kept.name} cannot be started: {kept.error}")

    def _say(self, text: str) -> None:
        _log.info("%s", text)
        self._events.append((round(time.monotonic() - self._began, 1), text))

    def snapshot(self) -> Snapshot:
        """All figures side by side; also the final summary.

        Returns:
            Beside the figures: `elapsed_s` since the start, `started_s` from there until everything
            ran, `running_s` from then until the processes were ended; `at_s` of an event and
            `first_latency_s` count from the start.
        """
        plan = self._plan
        last = {name: kept.last for name, kept in self._kept.items()}
        since, now = self._running_since, time.monotonic()
        ran_s = None if since is None else (self._ran_until or now) - since
        return {
            "elapsed_s": round(now - self._began, 1),
            "started_s": None if since is None else round(since - self._began, 1),
            "running_s": None if ran_s is None else round(ran_s, 1),
            "duration_s": self._options.duration_s,
            "first_latency_s": self._first_latency_s,
            **measured(last.get("publisher", {}), last.get("consumer", {})),
            "ledgers": ledgers(last),
            "processes": {name: _process(kept) for name, kept in self._kept.items()},
            "connect": plan.connect if plan else {},
            "folder": str(plan.folder) if plan else "",
            "kept": self._options.keep,
            "events": [{"at_s": at, "text": text} for at, text in self._events],
        }


def _process(kept: Kept) -> Snapshot:
    return {
        "state": kept.state.value,
        "pid": kept.pid,
        "restarts": kept.restarts,
        "recovery_s": None if kept.recovery_s is None else round(kept.recovery_s, 2),
        "error": str(kept.error) if kept.error else "",
    }


def _neutral() -> dict[str, str]:
    """The user's settings emptied: they stand in the demo's profile, with its addresses."""
    return {name: "" for name in ("WTP_PROFILE", *variables()) if name in os.environ}
