"""Playing into a room: the same bytes and stamps again, marked `replayed`."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager

from wtp.broker.naming import TopicName, parse_topic
from wtp.broker.rooms import ensure_room
from wtp.config.schema import Settings
from wtp.consumer.item import named_kind, read_place, split_track
from wtp.errors import BrokerError, NotFound, Refused, UsageError
from wtp.model import Kind
from wtp.replayer.placed import Placed
from wtp.replayer.ports import Broker, Directory, Producer
from wtp.replayer.request import Request
from wtp.replayer.topics import kind_topics
from wtp.replayer.when import EARLIEST

LOGGER = logging.getLogger("wtp.replayer")

UNRECEIPTED_BYTES = 16 * 1024 * 1024
"""Payload bytes without receipt at most; a single larger object still passes."""

MAX_PRODUCERS = 256
"""Producers open at a time; beyond, the one silent for longest is closed."""

LEDGER_BITS, ENTRY_BITS, BATCH_BITS = 27, 26, 10
"""How a place in the source makes up a sequence id of 63 bits, which rises with it."""


def sequence_id(position: str) -> int | None:
    """A number above 0 that rises along a topic, the same for a message whenever it is read.

    Returns:
        None when the position's numbers are too large for it.
    """
    ledger, entry, batch = read_place(position)
    batch += 2  # without one it is -1, and the client's API ignores an id of 0
    if ledger >> LEDGER_BITS or entry >> ENTRY_BITS or batch >> BATCH_BITS:
        return None
    return (ledger << ENTRY_BITS | entry) << BATCH_BITS | batch


class IntoRoom:
    """Publishes what is played into another room.

    A reliable track gets a producer that is named after where it comes from and where the replay
    began, with sequence ids out of the positions there: what the client sends again after a loss,
    and the same command given again, is stored once (where the room de-duplicates).

    Args:
        settings: Topic templates and policies of new rooms.
        request: What is played; `into` names the room.
        broker: Makes a client of the broker.
        directory: Makes a client of the admin API.
    """

    idle_s = 0.0

    def __init__(
        self,
        settings: Settings,
        request: Request,
        broker: Callable[[], Broker],
        directory: Callable[[], AbstractAsyncContextManager[Directory]],
    ) -> None:
        self.room = request.into
        self._settings, self._request = settings, request
        self._make_broker, self._make_directory = broker, directory
        self._targets = kind_topics(settings, self.room)
        self._source_kinds: dict[str, Kind] = {}
        self._client: Broker | None = None
        self._producers: OrderedDict[tuple[str, str], Producer] = OrderedDict()
        start = request.start
        self._begin = "earliest" if start == EARLIEST else start.position or str(start.at_us)

    async def open(self, topics: Sequence[str]) -> None:
        """See to it that the room is there and another one than the source.

        Raises:
            UsageError: It is the source.
            NotFound: It does not exist and may not be created.
            Refused: It may not be created by us.
        """
        wholes = {parse_topic(topic).whole for topic in topics}
        same = sorted(str(topic) for topic in wholes & set(self._targets.values()))
        if same:
            raise UsageError(
                f"{same[0]} would be replayed into itself, without end.",
                hint="Choose another room for --into.",
            )
        room = self._settings.rooms.room
        by_topic = {topic: kind for kind, topic in kind_topics(self._settings, room).items()}
        for topic in topics:
            kind = by_topic.get(parse_topic(topic).whole)
            if kind is None and len(self._request.kinds) == 1:
                kind = self._request.kinds[0]
            if kind is not None:
                self._source_kinds[topic] = kind
        await self._prepare()
        self._client = self._make_broker()

    async def _prepare(self) -> None:
        rules = self._settings.rooms
        async with self._make_directory() as directory:
            for namespace in sorted({name.namespace_path for name in self._targets.values()}):
                if not rules.create:
                    await self._must_exist(directory, namespace)
                elif await ensure_room(directory, namespace, rules):
                    LOGGER.info("Room %s was created (namespace %s).", self.room, namespace)

    async def _must_exist(self, directory: Directory, namespace: str) -> None:
        try:
            await directory.list_topics(namespace)
        except NotFound:
            raise NotFound(
                f"There is no room {self.room!r} to replay into (namespace {namespace}).",
                hint="Create it with wtp topics create, or allow rooms.create in the profile.",
                code="no-room",
            ) from None
        except (BrokerError, Refused) as error:
            LOGGER.warning("The broker's admin API does not answer: %s", error.message)

    async def take(self, items: Sequence[Placed]) -> list[str]:
        """Publish objects and wait for their receipts.

        Returns:
            For each "", `there-already`, `no-kind`, or `broker` when there was no receipt.
        """
        under_way = _UnderWay(len(items))
        for number, item in enumerate(items):
            await under_way.below(UNRECEIPTED_BYTES - len(item.message.payload))
            await self._send(item, under_way, number)
        await under_way.below(1)
        return under_way.reasons

    async def _send(self, item: Placed, under_way: _UnderWay, number: int) -> None:
        kind = self._kind(item)
        if kind is None:
            under_way.reasons[number] = "no-kind"
            return
        key = self._key(item)
        seq = sequence_id(item.message.position) if kind.reliable else None
        producer = await self._producer(self._targets[kind], item, key if seq else "")
        if seq is not None and seq <= producer.last_seq:
            under_way.reasons[number] = "there-already"
            return
        producer.send(
            item.message.payload,
            properties={**item.message.properties, "replayed": "1"},
            key=key,
            event_ms=item.at_us // 1000,
            seq=seq,
            done=under_way.sent(number, len(item.message.payload)),
        )

    def _kind(self, item: Placed) -> Kind | None:
        """The object's own kind, else that of the topic it comes from, else of its name."""
        text = item.message.properties.get("kind", "")
        if item.message.properties.get("wtp") == "1" and text in Kind.__members__.values():
            return Kind(text)
        return self._source_kinds.get(item.message.topic) or named_kind(item.message.topic)

    def _key(self, item: Placed) -> str:
        """The track's name in its new room; a key that is no track's stays as it is."""
        publisher, name = split_track(item.message.key)
        return f"{self.room}/{publisher}/{name}" if publisher else item.message.key

    async def _producer(self, target: TopicName, item: Placed, track: str) -> Producer:
        name = ""
        if track:
            name = f"wtp-replay/{item.message.topic}/{track}/{self._begin}"
        producer = self._producers.get((str(target), name))
        if producer is not None:
            self._producers.move_to_end((str(target), name))
            return producer
        assert self._client is not None  # noqa: S101 - take follows open
        try:
            producer = await self._client.producer(str(target), name=name)
        except BrokerError as error:
            if error.code != "busy":
                raise
            raise BrokerError(
                f"Track {track} is being replayed into {self.room} by somebody else.",
                hint="Wait for its end, or begin at another time: --from.",
                code="busy",
            ) from error
        self._producers[str(target), name] = producer
        if len(self._producers) > MAX_PRODUCERS:
            _, oldest = self._producers.popitem(last=False)
            await oldest.close()
        return producer

    async def idle(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Close the client; what has no receipt by now is given up."""
        if self._client is not None:
            await self._client.close()


class _UnderWay:
    """Objects without receipt of one call of `take`."""

    def __init__(self, count: int) -> None:
        self.reasons = [""] * count
        self._bytes = 0
        self._news = asyncio.Event()

    def sent(self, number: int, size_bytes: int) -> Callable[[Exception | None], None]:
        """Count an object in; returns what takes its receipt."""
        size_bytes += 1  # so that empty objects count
        self._bytes += size_bytes

        def done(error: Exception | None) -> None:
            self._bytes -= size_bytes
            if error is not None:
                self.reasons[number] = "broker"
            self._news.set()

        return done

    async def below(self, most_bytes: int) -> None:
        """Wait until less than so many bytes, or nothing, have no receipt."""
        while self._bytes and self._bytes >= most_bytes:
            self._news.clear()
            await self._news.wait()
