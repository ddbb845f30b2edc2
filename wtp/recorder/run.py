"""The recorder role: a replay of a room, past or live, whose objects go into files.

The past and the live stream are one way: objects come from `wtp.replayer` in the order of their
capture and go over to live without gap or repeat. Topics that appear later are read as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from wtp.clock import wall_us
from wtp.config.schema import Settings
from wtp.consumer.places import reach
from wtp.consumer.ways import first_error
from wtp.errors import BrokerError, NotFound, Refused
from wtp.model import Kind
from wtp.recorder.joining import LOOK_BACK_US
from wtp.recorder.request import KINDS, RecordRequest
from wtp.recorder.sink import RecordSink
from wtp.replayer.ports import Broker, Directory
from wtp.replayer.request import Request
from wtp.replayer.run import Replayer
from wtp.replayer.topics import find_topics
from wtp.replayer.when import EARLIEST, Moment

LOGGER = logging.getLogger("wtp.recorder")

LOOK_S = 2.0
"""How often topics that are new are looked for, live."""

PICTURES = frozenset({Kind.VIDEO, Kind.SCREEN})


class Recorder:
    """Records a room (the role behind `wtp record`).

    Args:
        settings: Broker and admin URL, room, topic templates.
        request: What to record, and where.
        broker: Makes a client of the broker, for tests.
        directory: Makes the admin API's client, for tests.

    Raises:
        UsageError: The request makes no sense, or a file is in the way.
        StorageError: Its folder cannot be written.
    """

    def __init__(
        self,
        settings: Settings,
        request: RecordRequest,
        *,
        broker: Callable[[], Broker] | None = None,
        directory: Callable[[], AbstractAsyncContextManager[Directory]] | None = None,
    ) -> None:
        request.check()
        self.settings, self.request = settings, request
        self.sink = RecordSink(request, title=settings.rooms.room)
        self._broker, self._make_directory = broker, directory or self._administer
        self._now_us = wall_us()
        self._main: Replayer | None = None
        self._late: list[Replayer] = []
        self._read: set[Kind] = set()
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """Ask to finish: what was received is written and the files are completed."""
        self._stop.set()
        for replayer in (self._main, *self._late):
            if replayer is not None:
                replayer.stop()

    async def run(self, ready: Callable[[dict[str, Any]], None]) -> None:
        """Record until the end, until stopped, or until the time is over.

        Args:
            ready: Called once when reading begins, with what is recorded.

        Raises:
            WtpError: The broker is not there, the room has nothing, the disk is full, a container
                cannot hold a track, ...
        """
        broker = self.settings.broker
        await reach(broker.url, wait=self.request.wait, note=LOGGER.info)
        async with self._make_directory() as directory:
            kinds = await self._wait_for_kinds(directory)
            if not kinds:
                return
            try:
                await self._record(kinds, directory, ready)
            finally:
                await self.sink.finish()

    async def _wait_for_kinds(self, directory: Directory) -> tuple[Kind, ...]:
        """The kinds whose topics are there, once one of pictures or sound is; none when stopped."""
        waiting = False
        while not self._stop.is_set():
            try:
                return await self._find_kinds(directory)
            except NotFound as error:
                if not self.request.wait:
                    raise
                if not waiting:
                    LOGGER.info("%s Waiting for it.", error.message)
                waiting = True
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._stop.wait()
        return ()

    async def _find_kinds(
        self, directory: Directory, note: Callable[[str], None] = LOGGER.warning
    ) -> tuple[Kind, ...]:
        """The kinds that are wanted and have a topic.

        Args:
            directory: Knows the topics; when it does not answer, those asked for are believed in.
            note: Is told that.

        Raises:
            NotFound: There is none; the hint lists what there is.
        """
        found, problem = [], NotFound("Nothing is asked for.")
        wanted, room = self.request.kinds or KINDS, self.settings.rooms.room
        for kind in wanted:
            asked = Request(kinds=(kind,))
            try:
                await find_topics(self.settings, asked, directory, note)
            except NotFound as error:
                problem = error
            else:
                found.append(kind)
        if set(found) - {Kind.CHAT}:
            return tuple(found)
        if len(wanted) == 1 or problem.message.startswith("There is no room"):
            raise problem
        raise NotFound(f"Room {room!r} has neither pictures nor sound.", hint=problem.hint)

    async def _record(
        self,
        kinds: tuple[Kind, ...],
        directory: Directory,
        ready: Callable[[dict[str, Any]], None],
    ) -> None:
        request, live = self.request, self.request.live
        joins = live and request.start is None
        start = Moment(self._now_us - LOOK_BACK_US, about=True) if joins else request.moment
        announced = {"pictures" if kind in PICTURES else "sound" for kind in kinds
                     if kind is not Kind.CHAT}  # fmt: skip
        wanted = request.kinds or KINDS
        texts = Kind.CHAT in kinds or (live and Kind.CHAT in wanted)
        await self.sink.begin(
            frozenset(announced), texts=texts, live_from_us=self._now_us if joins else None
        )
        self._main = self._replayer(kinds, start)
        self._read = set(kinds)
        if self._stop.is_set():
            return

        def started(info: dict[str, Any]) -> None:
            ready({**info, "file": str(request.path), "live": live,
                   "container": request.container.name})  # fmt: skip

        with first_error():
            async with asyncio.TaskGroup() as group:
                looking = group.create_task(self._look(directory, group)) if live else None
                await self._main.run(started)
                if looking is not None:
                    looking.cancel()
                for replayer in self._late:
                    replayer.stop()

    def _replayer(self, kinds: tuple[Kind, ...], start: Moment) -> Replayer:
        request = self.request
        asked = Request(
            kinds=kinds,
            publisher=request.publisher,
            track=request.track,
            start=start,
            end=request.end,
            speed=0.0,
            follow=request.live,
            duration_s=request.duration_s,
        )
        return Replayer(
            self.settings, asked, self.sink, broker=self._broker, directory=self._make_directory
        )

    async def _look(self, directory: Directory, group: asyncio.TaskGroup) -> None:
        """Read the topics that appear while it records."""
        while True:
            await asyncio.sleep(LOOK_S)
            silent: list[str] = []
            try:
                kinds = await self._find_kinds(directory, silent.append)
            except (BrokerError, Refused):
                continue
            fresh = tuple(kind for kind in kinds if kind not in self._read)
            if silent or not fresh or self._stop.is_set():
                continue
            self._read.update(fresh)
            LOGGER.info("%s has begun and is recorded as well.", ", ".join(fresh))
            group.create_task(self._record_late(fresh))

    async def _record_late(self, kinds: tuple[Kind, ...]) -> None:
        """Read topics that have appeared; when the broker fails them, they are looked for again."""
        replayer = self._replayer(kinds, EARLIEST)
        self._late.append(replayer)
        try:
            await replayer.run(lambda _: None)
        except BrokerError as error:
            LOGGER.warning("%s cannot be recorded yet: %s", ", ".join(kinds), error.message)
            self._read.difference_update(kinds)

    def snapshot(self) -> dict[str, Any]:
        """Live figures: those of the replay, and of the files (see `RecordSink.snapshot`)."""
        main = self._main.snapshot() if self._main else {}
        for replayer in self._late:
            late = replayer.snapshot()
            for name in ("objects", "bytes", "delivered"):
                main[name] += late[name]
            main["tracks"] = {**main["tracks"], **late["tracks"]}
            for reason, count in late["dropped"].items():
                main["dropped"][reason] = main["dropped"].get(reason, 0) + count
        return {"state": "starting", **main, **self.sink.snapshot(), "live": self.request.live}

    def _administer(self) -> AbstractAsyncContextManager[Directory]:
        from wtp.broker.connect import administer

        return administer(self.settings.broker)
