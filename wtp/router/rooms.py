"""Rooms: which track is whose, and the Pulsar namespaces and topics behind them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from wtp.broker.naming import parse_topic, topic_name
from wtp.broker.rooms import ensure_room
from wtp.broker.topics import Admin
from wtp.clock import Clock
from wtp.config.schema import Settings
from wtp.errors import BrokerError, BrokerUnavailable, NotFound, Refused
from wtp.metrics import Ledger
from wtp.model import Kind, Track
from wtp.router.link import BrokerLink
from wtp.router.routes import LiveRoute, Owner, ReliableRoute, Route
from wtp.router.totals import Totals

log = logging.getLogger("wtp.router")

LINGER_S = {True: 30.0, False: 2.0}
"""How long a route whose session ended (reliable, live) may still hand objects on."""

LAST_RECEIPTS_S = 5.0
"""How long receipts of a gone route are waited for."""

LAST_WORDS_S = 0.5
"""How long a new run waits for what an earlier one of its name left with the router."""

PREPARE_AGAIN_S = 1.0
"""Pause before a room whose broker was away is looked at again."""

Spawn = Callable[[Coroutine[Any, Any, None]], object]


class Rooms:
    """Every track that is being routed.

    Args:
        settings: Profile.
        clock: The router's clock.
        link: Producers.
        admin: The broker's admin API.
        spawn: Starts an owned task.
    """

    def __init__(
        self, settings: Settings, clock: Clock, link: BrokerLink, admin: Admin, spawn: Spawn
    ) -> None:
        self.routes: dict[Track, Route] = {}
        self._ended = {kind: Totals() for kind in Kind}
        self._leaving: set[Route] = set()
        """Routes that ended and whose last receipts are out."""
        self._retired: set[Route] = set()
        """Routes of earlier runs that hand on what they have."""
        self.notes: dict[str, str] = {}
        """What cannot be promised, by namespace, in one sentence each."""
        self.equip: Callable[[Route], None] = lambda _: None
        """Puts a stage on a new route where its kind has one."""
        self._settings = settings
        self._clock = clock
        self._link = link
        self._admin = admin
        self._spawn = spawn
        self._known: set[str] = set()
        self._unprepared: set[str] = set()
        self._partitioned: set[str] = set()

    def topic(self, room: str, kind: Kind) -> str:
        """The topic of a room's kind."""
        topics = self._settings.topics
        return topic_name(topics.kinds.get(kind.value, topics.template), room, kind.value)

    async def prepare(self, room: str, kind: Kind) -> None:
        """See to it that the namespace behind a room exists, and remember what it promises.

        Raises:
            Refused: `code` is `no-room`: it is missing and may not be created.
        """
        namespace = parse_topic(self.topic(room, kind)).namespace_path
        if namespace in self._known:
            return
        rules = self._settings.rooms
        try:
            if rules.create:
                await ensure_room(self._admin, namespace, rules)
            policies = await self._admin.policies(namespace)
        except NotFound as error:
            raise Refused(
                f"Room {room!r} does not exist (namespace {namespace}).",
                hint="Create it with wtp topics create, or allow rooms.create in the profile.",
                code="no-room",
            ) from error
        except BrokerUnavailable:
            if namespace not in self._unprepared:
                self._unprepared.add(namespace)
                self._spawn(self._prepare_later(namespace, room, kind))
            return
        except (BrokerError, Refused) as error:
            self.notes[namespace] = f"policies unknown: {error.message}"
            self._known.add(namespace)
            return
        self._known.add(namespace)
        self._note(namespace, policies.deduplication, policies.retention_minutes)

    async def _partition(self, topic: str) -> None:
        """Create a missing topic with the profile's partitions: by itself it would have none."""
        wanted = self._settings.topics.partitions
        if not wanted or topic in self._partitioned:
            return
        try:
            found = await self._admin.ensure_topic(topic, wanted)
        except (BrokerError, Refused) as error:
            self.notes[topic] = f"partitions unknown: {error.message}"
            return
        self._partitioned.add(topic)
        self.notes.pop(topic, None)
        if found != wanted:
            self.notes[topic] = f"it has {found} partitions, not {wanted} as the profile says"
            log.warning("%s: %s", topic, self.notes[topic])

    async def _prepare_later(self, namespace: str, room: str, kind: Kind) -> None:
        """Prepare a room whose broker was away, for as long as anybody publishes to it."""
        try:
            while namespace not in self._known:
                await asyncio.sleep(PREPARE_AGAIN_S)
                if not any(track.room == room for track in self.routes):
                    return
                await self.prepare(room, kind)
        except Refused as error:
            log.warning("%s", error)
        finally:
            self._unprepared.discard(namespace)

    def _note(self, namespace: str, deduplication: bool, retention_minutes: int) -> None:
        sentences = []
        if not deduplication:
            sentences.append("de-duplication is off: reliable kinds are delivered at least once")
        if not retention_minutes:
            sentences.append("no retention: nothing can be replayed")
        if sentences:
            self.notes[namespace] = "; ".join(sentences)
            log.warning("%s: %s", namespace, self.notes[namespace])

    async def claim(self, track: Track, kind: Kind, content_type: str, owner: Owner) -> Route:
        """Make a track the owner's and give it a producer.

        Raises:
            Refused: `code` is `name-taken`, `track-taken`, `no-room`, or `replaced` when the
                owner went meanwhile.
            BrokerError: The broker refuses the topic.
        """
        await self.prepare(track.room, kind)
        while True:
            route = await self._vacated(track, owner)
            if isinstance(route, ReliableRoute) and _goes_on(route, kind, owner):
                if await self._resumed(route, content_type, owner):
                    return route
            elif isinstance(route, ReliableRoute):
                await self._retire(route)
            else:
                if route is not None:
                    self._end(route, "replaced")
                return await self._open(track, kind, content_type, owner)

    async def _resumed(self, route: ReliableRoute, content_type: str, owner: Owner) -> bool:
        """Let a new session of the same run go on with its route.

        Returns:
            Whether the route still lives.

        Raises:
            Refused: Yet another session has come; `code` is `replaced`.
        """
        route.owner = owner
        await route.known.wait()
        route.withdraw("replaced")
        await route.idle.wait()
        if route.owner is not owner:
            raise Refused(f"Track {route.track} was taken over meanwhile.", code="replaced")
        if self.routes.get(route.track) is not route:
            return False
        route.begin(owner.instance, content_type)
        return True

    async def _retire(self, route: Route) -> None:
        """Let a run that is over hand on what it has beside the one that follows it.

        Its producer has another name, so the new run need not wait; a moment's patience keeps the
        two apart in the topic.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS_S):
                await route.idle.wait()
        if self.routes.get(route.track) is route and route.owner is None:
            del self.routes[route.track]
            self._retired.add(route)
            self._spawn(self._linger(route))

    async def _open(self, track: Track, kind: Kind, content_type: str, owner: Owner) -> Route:
        """A new route with its producer."""
        route = self._new_route(track, kind, content_type)
        self.routes[track] = route
        route.owner, route.instance = owner, owner.instance
        self.equip(route)
        try:
            while True:
                try:
                    await self._partition(route.topic)
                    await self._link.open(route)
                except NotFound:
                    namespace = parse_topic(route.topic).namespace_path
                    if namespace not in self._unprepared or self.routes.get(track) is not route:
                        raise
                    await asyncio.sleep(PREPARE_AGAIN_S)  # its namespace is still to be made
                else:
                    return route
        except BaseException:
            self._end(route, "no-producer")
            raise

    async def _vacated(self, track: Track, owner: Owner) -> Route | None:
        """The route of a track, if there is one, once nobody else owns it.

        The same publisher run takes its track over at once; another one only when the owner does
        not answer any more, as after a kill.

        Raises:
            Refused: `code` is `name-taken`, or `track-taken` by the owner itself.
        """
        while True:
            route = self.routes.get(track)
            if route is None or route.owner is None:
                return route
            if route.owner is owner:
                raise Refused(
                    f"Track {track} is published by this session already.",
                    hint="Choose another --track.",
                    code="track-taken",
                )
            previous = route.owner
            stranger = route.instance != owner.instance or not owner.instance
            if stranger and await previous.answers():
                raise Refused(
                    f"Track {track} is being published by somebody else.",
                    hint="Choose another --name or another --track.",
                    code="name-taken",
                )
            if route.owner is previous:
                route.owner = None
                previous.replaced()

    def _new_route(self, track: Track, kind: Kind, content_type: str) -> Route:
        topic = self.topic(track.room, kind)
        if kind.reliable:
            return ReliableRoute(track, kind, content_type, topic, self._clock)
        return self._live(track, kind, content_type)

    def _live(self, track: Track, kind: Kind, content_type: str) -> LiveRoute:
        router, topic = self._settings.router, self.topic(track.room, kind)
        return LiveRoute(
            track, kind, content_type, topic, self._clock, router.queues, router.keyframe_s
        )

    def derived(self, track: Track, kind: Kind, content_type: str, instance: str) -> Route | None:
        """The route of what a processor makes of another track, which is live.

        Returns:
            The one there is, or a new one; None while a publisher has a track of that name.
        """
        route = self.routes.get(track)
        if route is None:
            route = self._live(track, kind, content_type)
            self.routes[track] = route
            self._spawn(self._open_derived(route))
        elif route.owner is not None or route.kind is not kind:
            return None
        route.instance, route.content_type = instance, content_type
        return route

    async def _open_derived(self, route: Route) -> None:
        try:
            await self._partition(route.topic)
            await self._link.open(route)
        except (BrokerError, Refused) as error:
            log.warning("%s: %s", route.track, error)
            self._end(route, "no-producer")

    def release(self, route: Route) -> None:
        """Nothing more comes on a derived route."""
        self._spawn(self._linger(route))

    def leave(self, owner: Owner) -> None:
        """A session ended: its routes hand on what they have and go."""
        for route in [r for r in self.routes.values() if r.owner is owner]:
            route.owner = None
            self._spawn(self._linger(route))

    async def _linger(self, route: Route) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + LINGER_S[route.kind.reliable]
        while loop.time() < end and route.owner is None and route.ledger.in_flight:
            await asyncio.sleep(0.02)
        lives = self.routes.get(route.track) is route or route in self._retired
        if lives and route.owner is None:
            self._end(route, "session-ended")

    def _end(self, route: Route, reason: str) -> None:
        self._retired.discard(route)
        if self.routes.get(route.track) is route:
            del self.routes[route.track]
        route.abandon(reason)
        self._link.remove(route)
        self._leaving.add(route)
        self._spawn(self._bury(route))

    async def _bury(self, route: Route) -> None:
        """Add a gone route's counts to the totals once its last receipts are in."""
        loop = asyncio.get_running_loop()
        end = loop.time() + LAST_RECEIPTS_S
        while route.ledger.in_flight and loop.time() < end:
            await asyncio.sleep(0.02)
        route.ledger.drop("no-receipt", route.ledger.in_flight)
        self._leaving.discard(route)
        self._ended[route.kind].add(route)

    def total(self) -> Ledger:
        """The counts of all routes there have been."""
        total = Ledger()
        for ended in self._ended.values():
            total.add(ended.ledger)
        for route in (*self._leaving, *self._retired, *self.routes.values()):
            total.add(route.ledger)
        return total

    def totals(self) -> dict[Kind, Totals]:
        """The counts of all routes there have been, of each kind that was met."""
        out = {kind: Totals() for kind in Kind}
        for kind, ended in self._ended.items():
            out[kind].add(ended)
        for route in (*self._leaving, *self._retired, *self.routes.values()):
            out[route.kind].add(route)
        return {kind: one for kind, one in out.items() if one.ledger.offered}

    async def drained(self, timeout: float) -> bool:
        """Wait until nothing is in flight; tells whether that came true in time."""
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        while self.total().in_flight:
            if loop.time() > end:
                return False
            await asyncio.sleep(0.02)
        return True


def _goes_on(route: ReliableRoute, kind: Kind, owner: Owner) -> bool:
    """Whether a sender is the run that the route belongs to."""
    return route.kind is kind and route.instance == owner.instance
