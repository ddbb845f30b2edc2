"""The topics of a replay as one tape: what it holds, its readers, winding it to a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, TypeVar

from wtp.replayer.merge import Merge
from wtp.replayer.ports import Broker
from wtp.replayer.request import Request, Span
from wtp.replayer.source import Source
from wtp.replayer.span import bounds, check_found, find_span
from wtp.replayer.survey import Extent, read_one, start_for, survey

T = TypeVar("T")


class Tape:
    """Reads all topics of a replay, each with a client of its own.

    Args:
        request: What is played.
        broker: Makes a client of the broker.
        wake: Set whenever there is something new.
        note: Is told what happens.
    """

    def __init__(
        self,
        request: Request,
        broker: Callable[[], Broker],
        wake: asyncio.Event,
        note: Callable[[str], None],
    ) -> None:
        self.span = Span()
        self.merge = Merge([])
        self.sources: list[Source] = []
        self._request, self._make_broker = request, broker
        self._wake, self._note = wake, note
        self._clients: dict[str, Broker] = {}
        self._extents: dict[str, Extent | None] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._late = self._skipped = 0

    async def survey(self, topics: Sequence[str]) -> None:
        """Look at the ends of all topics, and find the part that is asked for.

        Raises:
            NotFound: Nothing of it is kept, or a message is not of its topic.
            BrokerError: A topic cannot be read.
        """
        for topic in topics:
            self._clients[topic] = self._make_broker()
        await self._look()
        self.span = find_span(self._request, self._extents, self._note)
        for moment in (self._request.start, self._request.end):
            if moment and moment.position:
                topic = topics[0]
                message = await read_one(self._clients[topic], topic, moment.position)
                if message is not None:
                    check_found(moment, topic, message.position)

    async def _look(self) -> None:
        clients = self._clients.items()
        found = await every(survey(client, topic) for topic, client in clients)
        self._extents = dict(zip(self._clients, found, strict=True))

    def bounds(self) -> tuple[int, int] | None:
        """The earliest and the latest time that is kept, Unix µs; None when there is nothing."""
        return bounds(self._extents)

    async def open(self, group: asyncio.TaskGroup, from_us: int | None = None) -> None:
        """Begin to read every topic.

        Args:
            group: Owns the readers' tasks.
            from_us: Where to begin instead of at the span's start; what was read is forgotten.
        """
        span = self.span
        if from_us is not None:
            await self.stop()
            if self._request.follow:
                await self._look()
            span = Span(from_us=from_us, to_us=span.to_us, to_place=span.to_place)
        self.sources = [
            Source(client, topic, self._request, self._wake, self._note)
            for topic, client in self._clients.items()
        ]
        self.merge = Merge(self.sources)
        await every(self._open_one(source, span) for source in self.sources)
        self._tasks = [group.create_task(source.run()) for source in self.sources]

    async def _open_one(self, source: Source, span: Span) -> None:
        extent = self._extents[source.topic]
        if extent is None:
            await source.open(span, "", None)
            return
        start = "earliest"
        if span.from_place:
            start = ":".join(str(part) for part in span.from_place[:2])
        elif span.from_us:
            start = await start_for(source.client, source.topic, extent, span.from_us)
        await source.open(span, start, extent.end, extent.size_bytes)

    @property
    def late(self) -> int:
        """Objects that came behind their turn."""
        return self._late + self.merge.late

    @property
    def skipped(self) -> int:
        """Messages outside the span, or not asked for."""
        return self._skipped + sum(source.skipped for source in self.sources)

    @property
    def live(self) -> bool:
        """Whether all that was there is read, and everything else comes live."""
        return all(source.live for source in self.sources)

    @property
    def connected(self) -> bool:
        """Whether the broker is there at this moment."""
        return all(source.connected for source in self.sources)

    async def stop(self) -> None:
        """Stop reading."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await every(source.close() for source in self.sources)
        self._late, self._skipped = self.late, self.skipped
        self.sources, self._tasks = [], []
        self.merge = Merge([])

    async def close(self) -> None:
        """Stop reading and close the clients."""
        await self.stop()
        await every(client.close() for client in self._clients.values())


async def every(works: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Do things side by side; the first that fails ends the others."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(work) for work in works]
    return [task.result() for task in tasks]
