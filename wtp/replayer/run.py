"""The replay role: find, survey, read, merge, pace, hand on."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

from wtp.clock import monotonic_us
from wtp.config.schema import Settings
from wtp.consumer.output import Finished
from wtp.consumer.places import reach
from wtp.consumer.ways import first_error
from wtp.metrics import Ledger
from wtp.replayer.figures import Figures
from wtp.replayer.pace import MAX_SPEED, Pace
from wtp.replayer.placed import Placed
from wtp.replayer.ports import Broker, Directory
from wtp.replayer.request import Request
from wtp.replayer.sink import OutputSink, Sink
from wtp.replayer.span import check_request
from wtp.replayer.tape import Tape
from wtp.replayer.topics import find_topics

LOGGER = logging.getLogger("wtp.replayer")

T = TypeVar("T")

BATCH = 256
"""Objects handed to the sink in one call."""

AHEAD_US = 500
"""Objects due so soon go along with those that are due: timers are not finer."""

FINISH_S = 2.0
"""What the sink gets to take what it was given when the replay is stopped."""

LEAVE_S = 3.0
"""What the broker's clients get to say goodbye."""

WATCH_S = 0.5


class Replayer:
    """Plays the past of a room (the role behind `wtp replay`).

    Args:
        settings: Broker and admin URL, room, topic templates.
        request: What to play, and how.
        sink: Where objects go; by default nowhere, they are only counted.
        broker: Makes a client of the broker, for tests.
        directory: Makes the admin API's client, for tests.
    """

    def __init__(
        self,
        settings: Settings,
        request: Request,
        sink: Sink | None = None,
        *,
        broker: Callable[[], Broker] | None = None,
        directory: Callable[[], AbstractAsyncContextManager[Directory]] | None = None,
    ) -> None:
        check_request(request)
        self.settings, self.request = settings, request
        self.sink: Sink = sink or OutputSink()
        self.ledger = Ledger()
        self.figures = Figures()
        self.pace = Pace(request.speed)
        self.state = "starting"
        self.topics: tuple[str, ...] = ()
        self._make_directory = directory or self._administer
        self._wake = asyncio.Event()
        self.tape = Tape(request, broker or self._connect, self._wake, LOGGER.warning)
        self._stop = asyncio.Event()
        self._target_us: int | None = None
        self._started_us = self._ended_us = 0

    # What somebody at the keyboard can do; also while it runs.

    def stop(self) -> None:
        """Ask to finish: what the sink was given is still written."""
        self._stop.set()
        self._wake.set()

    def toggle_pause(self) -> None:
        """Stand still, or go on."""
        self.pace.pause(not self.pace.paused)
        self._wake.set()

    def jump(self, by_us: int) -> None:
        """Go on from a time earlier or later than the one played now."""
        here_us = self._target_us or self.figures.newest_us
        if here_us is None or self.state not in ("playing", "live"):
            return
        first_us, last_us = self.tape.bounds() or (here_us, here_us)
        low_us = max(self.tape.span.from_us, first_us)
        high_us = min(self.tape.span.to_us, max(last_us, here_us))
        self._target_us = max(low_us, min(high_us, here_us + by_us))
        self._wake.set()

    def faster(self) -> None:
        """Double the speed."""
        self.pace.set_speed(self.pace.faster(), self.figures.newest_us)
        self._wake.set()

    def slower(self) -> None:
        """Halve the speed."""
        self.pace.set_speed(self.pace.slower(), self.figures.newest_us)
        self._wake.set()

    # The way through.

    async def run(self, ready: Callable[[dict[str, Any]], None]) -> None:
        """Play until the end, until stopped, or until the count or the time is reached.

        Args:
            ready: Called once when playing begins, with what is played.

        Raises:
            WtpError: The broker is not there, nothing is kept, the output cannot be written, ...
            BrokenPipeError: The reader of the output has gone.
        """
        try:
            with contextlib.suppress(Finished), first_error():
                await self._until_stopped(self._work(ready))
        finally:
            self.state = "stopped"
            self._ended_us = self._ended_us or monotonic_us()
            self.ledger.drop("stopped", self.ledger.in_flight)
            await self._leave()

    async def _until_stopped(self, work: Any) -> None:
        """Run to the end; once stopped, the sink gets a moment and everything else none."""
        async with asyncio.TaskGroup() as group:
            task = group.create_task(work)
            stopped = group.create_task(self._stop.wait())
            await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done() and self.ledger.in_flight:
                await asyncio.wait({task}, timeout=FINISH_S)
            stopped.cancel()
            task.cancel()

    async def _leave(self) -> None:
        """Close the sink, the readers and the clients, in bounded time."""

        async def leave() -> None:
            await self.sink.close()
            await self.tape.close()

        leaving = asyncio.create_task(leave())
        await asyncio.wait({leaving}, timeout=LEAVE_S)
        if leaving.done():
            leaving.result()
        leaving.cancel()

    async def _work(self, ready: Callable[[dict[str, Any]], None]) -> None:
        broker = self.settings.broker
        await reach(broker.url, wait=False, note=LOGGER.info)
        async with self._make_directory() as directory:
            self.topics = await find_topics(self.settings, self.request, directory, LOGGER.warning)
        await self.sink.open(self.topics)
        await self.tape.survey(self.topics)
        async with asyncio.TaskGroup() as group:
            await self.tape.open(group)
            first_us, last_us = self.tape.bounds() or (None, None)
            self.state, self._started_us = "playing", monotonic_us()
            ready({"topics": list(self.topics), "broker": broker.url, "room": self.room,
                   "from_us": first_us, "to_us": last_us})  # fmt: skip
            watching = group.create_task(self._watch())
            if self.request.duration_s:
                asyncio.get_running_loop().call_later(self.request.duration_s, self.stop)
            await self._play(group)
            self._ended_us = monotonic_us()
            watching.cancel()
            await self.tape.stop()

    @property
    def room(self) -> str:
        """The room that is played."""
        return self.settings.rooms.room

    async def _play(self, group: asyncio.TaskGroup) -> None:
        """Hand objects on when they are due."""
        idle_s = self.sink.idle_s or None
        while not self._stop.is_set():
            self._wake.clear()
            if self._target_us is not None:
                await self._jump_now(group)
            batch = self._due()
            if batch:
                await self._hand_on(batch)
                await asyncio.sleep(0)  # the readers fill their queues meanwhile
                continue
            if self.tape.merge.finished:
                return
            self._look_whether_live()
            await self._wait(self._next_in_s(), idle_s)

    def _due(self) -> list[Placed]:
        """The objects whose time has come, in order."""
        batch: list[Placed] = []
        merge, pace = self.tape.merge, self.pace
        merge.take_in()
        if pace.paused:
            return batch
        most = BATCH
        if self.request.count:
            most = min(most, self.request.count - self.ledger.offered)
        while len(batch) < most and (next_us := merge.next_us()) is not None:
            pace.start(next_us)
            if pace.speed != MAX_SPEED and pace.wait_us(next_us) > AHEAD_US:
                break
            batch.append(merge.pop())
        return batch

    def _next_in_s(self) -> float | None:
        """Seconds until the next object is due; None when something else has to happen first."""
        next_us = self.tape.merge.next_us()
        if next_us is None or self.pace.paused:
            return None
        return self.pace.wait_us(next_us) / 1e6

    async def _wait(self, due_s: float | None, idle_s: float | None) -> None:
        """Wait for the next object's time, for news, or for the sink's."""
        waits = [wait for wait in (due_s, idle_s) if wait is not None]
        try:
            async with asyncio.timeout(min(waits) if waits else None):
                await self._wake.wait()
        except TimeoutError:
            if idle_s is not None:
                await self.sink.idle()

    async def _hand_on(self, batch: list[Placed]) -> None:
        for item in batch:
            self.ledger.offer(len(item.message.payload))
        self.figures.add(batch)
        reasons = await self.sink.take(batch)
        for reason in reasons:
            if reason:
                self.ledger.drop(reason)
            else:
                self.ledger.deliver()
        if self.request.count and self.ledger.offered >= self.request.count:
            self.stop()

    def _look_whether_live(self) -> None:
        if self.state != "playing" or not self.request.follow or len(self.tape.merge):
            return
        if self.tape.live:
            self.state = "live"
            LOGGER.info("Everything that was there is played: going on live.")

    async def _jump_now(self, group: asyncio.TaskGroup) -> None:
        """Read again from another time on."""
        target_us, self._target_us = self._target_us or 0, None
        await self.tape.open(group, target_us)
        self.state = "playing"
        self.figures.jumped(target_us)
        self.pace.reset()

    async def _watch(self) -> None:
        """Say when the broker is lost and when it is back."""
        lost = False
        while True:
            await asyncio.sleep(WATCH_S)
            gone = not self.tape.connected
            if gone != lost:
                lost = gone
                word = "lost. Waiting for it" if lost else "back. Replay goes on"
                LOGGER.warning("The broker at %s is %s.", self.settings.broker.url, word)

    def snapshot(self) -> dict[str, Any]:
        """Live figures.

        Returns:
            `state`, `topics`, `room`, `speed` (0: as fast as it goes), `paused`, `from_us`,
            `to_us` and `position_us` on the time line; `next_s` until the next object; counts of
            objects, `tracks`, `placed_by`; `late` (behind their turn), `skipped` (not asked for),
            the ledger.
        """
        now_us = self._ended_us or monotonic_us()
        started_us = self._started_us or now_us
        first_us, last_us = self.tape.bounds() or (None, None)
        begin_us = max(self.tape.span.from_us, first_us) if first_us is not None else None
        until_us = min(self.tape.span.to_us, last_us) if last_us is not None else None
        return {
            "state": self.state,
            "room": self.room,
            "topics": list(self.topics),
            "speed": self.pace.speed,
            "paused": self.pace.paused,
            "follow": self.request.follow,
            "from_us": begin_us,
            "to_us": until_us,
            "position_us": self.figures.newest_us,
            "next_s": self._next_in_s(),
            "played_us": self.figures.played_us,
            "duration_s": round((now_us - started_us) / 1e6, 3),
            **self.figures.snapshot(),
            "late": self.tape.late,
            "skipped": self.tape.skipped,
            "held": len(self.tape.merge),
            "held_bytes": self.tape.merge.held_bytes,
            "delivered": self.ledger.delivered,
            "dropped": dict(self.ledger.dropped),
            "in_flight": self.ledger.in_flight,
        }

    def _connect(self) -> Broker:
        from wtp.broker.connect import connect

        return connect(self.settings.broker)

    def _administer(self) -> AbstractAsyncContextManager[Directory]:
        from wtp.broker.connect import administer

        return administer(self.settings.broker)
