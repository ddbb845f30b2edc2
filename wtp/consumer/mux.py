"""Pictures and sound of one publisher together in a pipe: the role behind `wtp consume --mux`.

`MuxConsumer(settings, request, "mpegts" | "matroska", target="-", force=False, via="pulsar")` is
run like a `Consumer` and has its `run`, `stop` and `snapshot`. `request` is that of `wtp consume`;
its kind and topic are not used. `ffplay -` and `ffmpeg -i -` open what comes out.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from wtp.config.schema import Settings
from wtp.consumer.item import Item, split_track
from wtp.consumer.output import Sink
from wtp.consumer.pieces import piece_of
from wtp.consumer.places import locate, reach
from wtp.consumer.ports import Directory
from wtp.consumer.request import Request
from wtp.consumer.run import Consumer, Via
from wtp.consumer.ways import first_error
from wtp.errors import NotFound, UsageError
from wtp.media.libraries import load_av
from wtp.media.mux_formats import PIPES, Container
from wtp.media.mux_parts import Parts
from wtp.model import Kind

LOGGER = logging.getLogger("wtp.consumer")

RETRY_S = 0.5
IDLE_S = 0.5

OTHER_PUBLISHER = "other-publisher"
"""Left out: the pipe carries another publisher."""

_SUMS = (
    "objects", "bytes", "fps", "rate", "delivered", "in_flight", "filtered", "late", "duplicates",
    "gaps", "past", "not_wtp", "damaged",
)  # fmt: skip
"""Figures of a consumer that are added up."""


class _Pipe:
    """What libavformat writes to.

    Args:
        sink: Where it goes.
    """

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def write(self, data: bytes) -> int:
        """Write all of it."""
        self._sink.write(data)
        return len(data)

    def mark(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do: the sink is closed when both have left it."""


class _Both:
    """The one pipe of several consumers, each in a thread of its own."""

    def __init__(self, container: Container, sink: Sink, kinds: frozenset[str]) -> None:
        self._lock = threading.Lock()
        self._sink, self._kinds = sink, kinds
        self._publisher = ""
        self._users = 0
        self._opened = False
        self._parts = Parts(
            container,
            lambda _: _Pipe(sink),
            kinds=kinds,
            gather_us=0,
            single=True,
            note=LOGGER.warning,
        )

    def open(self) -> None:
        """Open the sink, the first time."""
        with self._lock:
            self._users += 1
            if not self._opened:
                self._sink.open()
                self._opened = True

    def take(self, items: Sequence[Item], pictures: bool) -> list[str]:
        """Write objects."""
        with self._lock:
            return [self._take(item, pictures) for item in items]

    def _take(self, item: Item, pictures: bool) -> str:
        publisher, _ = split_track(item.track)
        if not self._publisher and (pictures or "pictures" not in self._kinds):
            self._publisher = publisher
        if self._publisher and publisher != self._publisher:
            return OTHER_PUBLISHER
        at_us = item.stamp("capture_us")
        at_us = item.message.publish_ms * 1000 if at_us is None else at_us
        piece, text, reason = piece_of(item.message, at_us)
        if piece is None or text:
            return reason or "other-kind"
        return self._parts.take(piece)

    def idle(self) -> None:
        """Wait no longer for what does not come."""
        with self._lock:
            self._parts.idle()

    def close(self) -> None:
        """Complete the stream, the last time."""
        with self._lock:
            self._users -= 1
            if self._users == 0 and self._opened:
                try:
                    self._parts.close()
                finally:
                    self._sink.close()


class _Half:
    """The output of one of the consumers.

    Args:
        both: The pipe.
        pictures: Whether these are the pictures.
    """

    inline = False
    lossless = False
    idle_s = IDLE_S

    def __init__(self, both: _Both, pictures: bool) -> None:
        self._both, self._pictures = both, pictures
        self._opened = False

    def open(self) -> None:
        """Open the pipe."""
        self._opened = True
        self._both.open()

    def take(self, items: Sequence[Item]) -> list[str]:
        """Write objects."""
        return self._both.take(items, self._pictures)

    def idle(self) -> None:
        """Wait no longer for what does not come."""
        self._both.idle()

    def close(self) -> None:
        """Leave the pipe."""
        if self._opened:
            self._opened = False
            self._both.close()


class MuxConsumer:
    """Reads pictures and sound of a room into one container on a pipe.

    Args:
        settings: Broker and admin URL, room, topic templates.
        request: What to read: publisher, track, where to begin, for how long.
        container: `mpegts` or `matroska`.
        target: `-` for standard output, else a path.
        force: Whether a file that exists may be replaced.
        via: How the broker is reached.
        directory: Makes the admin API's client, for tests.

    Raises:
        UsageError: There is no such container.
    """

    def __init__(
        self,
        settings: Settings,
        request: Request,
        container: str,
        *,
        target: str = "-",
        force: bool = False,
        via: Via = "pulsar",
        directory: Callable[[], contextlib.AbstractAsyncContextManager[Directory]] | None = None,
    ) -> None:
        if container not in PIPES:
            raise UsageError(
                f"{container!r} is no container for a pipe.", hint=f"Use {' or '.join(PIPES)}."
            )
        self.settings, self.request = settings, request
        self._container, self._via = PIPES[container], via
        self._sink = Sink(target, force=force, binary=True)
        self._make_directory = directory or self._administer
        self._consumers: list[Consumer] = []
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """Ask to finish: what was received still goes into the pipe."""
        self._stop.set()
        for consumer in self._consumers:
            consumer.stop()

    async def run(self, ready: Callable[[dict[str, Any]], None]) -> None:
        """Read until stopped or until the time is over.

        Args:
            ready: Called once when all topics are joined, with what is read.

        Raises:
            WtpError: The broker is not there, the room has neither pictures nor sound, the
                container cannot hold a track, ...
            BrokenPipeError: The reader of the pipe has gone.
        """
        load_av()
        await reach(self.settings.broker.url, wait=self.request.wait, note=LOGGER.info)
        kinds = await self._find()
        names = {"sound" if kind is Kind.AUDIO else "pictures" for kind in kinds}
        both = _Both(self._container, self._sink, frozenset(names))
        self._consumers = [
            Consumer(
                self.settings,
                replace(self.request, kind=kind, topic=""),
                _Half(both, kind is not Kind.AUDIO),
                via=self._via,
            )
            for kind in kinds
        ]
        if self._stop.is_set():
            return
        joined: list[dict[str, Any]] = []

        def ready_one(info: dict[str, Any]) -> None:
            joined.append(info)
            if len(joined) == len(self._consumers):
                ready({**info, "topics": [topic for one in joined for topic in one["topics"]]})

        with first_error():
            async with asyncio.TaskGroup() as group:
                for consumer in self._consumers:
                    group.create_task(self._run_one(consumer, ready_one))

    async def _run_one(self, consumer: Consumer, ready: Callable[[dict[str, Any]], None]) -> None:
        """When one ends so do the others: by count, by time, by an error."""
        await consumer.run(ready)
        self.stop()

    async def _find(self) -> list[Kind]:
        """The kinds of the room that are there: of pictures video, else the screen.

        Raises:
            NotFound: There are none.
        """
        waiting = False
        async with self._make_directory() as directory:
            while not self._stop.is_set():
                found, problem = [], NotFound("There is nothing.")
                for kind in (Kind.VIDEO, Kind.SCREEN, Kind.AUDIO):
                    topic = self.settings.topics.topic(self.settings.rooms.room, kind)
                    try:
                        await locate(topic, directory, wait=False, note=LOGGER.info)
                    except NotFound as error:
                        problem = error
                    else:
                        found.append(kind)
                if Kind.VIDEO in found and Kind.SCREEN in found:
                    found.remove(Kind.SCREEN)
                if found:
                    return found
                if not self.request.wait:
                    raise problem
                if not waiting:
                    LOGGER.info("%s Waiting for it.", problem.message)
                waiting = True
                await asyncio.sleep(RETRY_S)
        return []

    def snapshot(self) -> dict[str, Any]:
        """Live figures: those of the consumer of pictures, counts and tracks of all."""
        shots = [consumer.snapshot() for consumer in self._consumers]
        if not shots:
            return Consumer(self.settings, replace(self.request, kind=Kind.VIDEO)).snapshot()
        whole = shots[0]
        for other in shots[1:]:
            for name in _SUMS:
                if isinstance(whole.get(name), int | float) and other.get(name) is not None:
                    whole[name] += other[name]
            whole["tracks"] = {**whole["tracks"], **other["tracks"]}
            whole["topics"] = [*whole["topics"], *other["topics"]]
            for reason, count in other["dropped"].items():
                whole["dropped"][reason] = whole["dropped"].get(reason, 0) + count
        return whole

    def _administer(self) -> contextlib.AbstractAsyncContextManager[Directory]:
        from wtp.broker.connect import administer

        return administer(self.settings.broker)
