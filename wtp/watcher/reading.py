"""Reading the pictures and sounds of a room: a consumer per topic, from when it is there on."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from wtp.broker.naming import parse_topic
from wtp.clock import monotonic_us
from wtp.config.schema import Settings
from wtp.consumer.item import Item
from wtp.consumer.places import no_room
from wtp.consumer.ports import Broker, Directory
from wtp.consumer.request import Request
from wtp.consumer.run import Consumer
from wtp.consumer.stats import Statistics
from wtp.consumer.ways import first_error
from wtp.errors import BrokerError, NotFound, Refused
from wtp.model import Kind

POLL_S = 2.0
"""How often a topic that is not there yet is looked for."""

SAID_US = 2_000_000

LOGGER = logging.getLogger("wtp.watcher")

Administer = Callable[[], contextlib.AbstractAsyncContextManager[Directory]]


class Into:
    """A consumer's output that hands every object on, on the loop.

    It never blocks, so nothing has to be dropped before it: a long group that is read back at the
    start arrives whole.

    Args:
        take: Takes one; returns why it was left out.
    """

    inline = True
    lossless = True
    idle_s = 0.0

    def __init__(self, take: Callable[[Item], str]) -> None:
        self._take = take

    def open(self) -> None:
        """Nothing to do."""

    def take(self, items: Sequence[Item]) -> list[str]:
        """Hand objects on."""
        return [self._take(item) for item in items]

    def idle(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do."""


class NoStatistics(Statistics):
    """Counts nothing: the figures of a room are those of what was shown and heard."""

    def add(self, item: Item) -> None:
        """Nothing to do."""


class Lent:
    """A broker's client that several consumers share: it stays open when one of them leaves."""

    def __init__(self, broker: Broker) -> None:
        self.reader, self.subscribe = broker.reader, broker.subscribe
        self.last_position = broker.last_position

    async def close(self) -> None:
        """Its owner closes it."""


class RoomReading:
    """Reads several kinds of a room; kinds that come later are taken up.

    Args:
        settings: Room and topic templates.
        kinds: What to read.
        request: Publisher, router and `wait`; the rest is set here.
        take: Takes each object; returns why it was left out.
        administer: Makes the admin API's client.

    Attributes:
        consumers: By kind, those that read.
    """

    def __init__(
        self,
        settings: Settings,
        kinds: Sequence[Kind],
        request: Request,
        take: Callable[[Item], str],
        administer: Administer,
    ) -> None:
        self.room, self.kinds = settings.rooms.room, tuple(kinds)
        self.consumers: dict[Kind, Consumer] = {}
        self._settings, self._request, self._take = settings, request, take
        self._administer = administer
        self._stop = asyncio.Event()

    @property
    def broker_lost(self) -> bool:
        """Whether some consumer waits for the broker."""
        return any(one.state == "broker-lost" for one in self.consumers.values())

    def left_out(self) -> dict[str, dict[str, int]]:
        """Objects that were not taken, by kind and reason."""
        found = {kind.value: dict(one.ledger.dropped) for kind, one in self.consumers.items()}
        return {kind: dropped for kind, dropped in found.items() if dropped}

    def stop(self) -> None:
        """Ask to finish."""
        self._stop.set()
        for consumer in self.consumers.values():
            consumer.stop()

    async def run(self, broker: Broker, ready: Callable[[list[Kind]], None]) -> None:
        """Read until stopped.

        Args:
            broker: Is not closed.
            ready: Gets the kinds that are there at the start.

        Raises:
            WtpError: There is no such room, the broker refuses, ...
        """
        lent = Lent(broker)
        with first_error(), said_once():
            async with self._administer() as directory, asyncio.TaskGroup() as group:
                there = await self._there(directory, first=True)
                ready(there)
                while not self._stop.is_set():
                    for kind in there:
                        if kind not in self.consumers:
                            self.consumers[kind] = self._consumer(kind, lent)
                            group.create_task(self._follow(kind))
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._stop.wait(), POLL_S)
                    missing = any(kind not in self.consumers for kind in self.kinds)
                    there = await self._there(directory) if missing else []

    def _consumer(self, kind: Kind, broker: Broker) -> Consumer:
        asked = self._request
        request = Request(
            kind=kind, publisher=asked.publisher, wait=True,
            router=asked.router, trust=asked.trust,
        )  # fmt: skip
        consumer = Consumer(
            self._settings, request, Into(self._take),
            broker=lambda _: broker, directory=lambda _: self._administer(),
        )  # fmt: skip
        consumer.stats = NoStatistics()
        return consumer

    async def _follow(self, kind: Kind) -> None:
        """Read one topic; one that was deleted is looked for again."""

        def ready(_: dict[str, Any]) -> None:
            """Nobody waits for it."""

        try:
            await self.consumers[kind].run(ready)
        except NotFound:
            del self.consumers[kind]

    async def _there(self, directory: Directory, *, first: bool = False) -> list[Kind]:
        """Kinds whose topic is there, or cannot be asked for.

        Args:
            directory: The broker's.
            first: Whether a missing room is an error, unless it is waited for.
        """
        found: list[Kind] = []
        listed: dict[str, Sequence[str]] = {}
        for kind in (kind for kind in self.kinds if kind not in self.consumers):
            topic = parse_topic(self._settings.topics.topic(self.room, kind))
            space = topic.namespace_path
            try:
                if space not in listed:
                    listed[space] = await directory.list_topics(space)
            except NotFound:
                if first and not self._request.wait:
                    raise await no_room(topic, directory) from None
                continue
            except (BrokerError, Refused) as error:
                if first and not found:
                    LOGGER.info("The admin API cannot be asked for topics: %s", error.message)
                if first or not self.consumers:
                    found.append(kind)
                continue
            # A non-persistent topic is listed only while somebody uses it.
            if str(topic) in listed[space] or not topic.persistent:
                found.append(kind)
        if first and not found:
            LOGGER.info("Nothing to see or hear is in room %s yet. Waiting for it.", self.room)
        return found


class Said(logging.Filter):
    """Keeps a sentence back that was said a moment ago: a lost broker is lost for all consumers."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[str, int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is news."""
        text, now_us = record.getMessage(), monotonic_us()
        before_us = self._said.get(text)
        self._said = {one: at for one, at in self._said.items() if now_us - at < SAID_US}
        self._said[text] = now_us
        return before_us is None or now_us - before_us >= SAID_US


@contextlib.contextmanager
def said_once() -> Iterator[None]:
    """Let what several consumers say at the same time be said once."""
    logger, said = logging.getLogger("wtp.consumer"), Said()
    logger.addFilter(said)
    try:
        yield
    finally:
        logger.removeFilter(said)
