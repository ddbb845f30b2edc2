"""The HTTP processors that objects go through before the broker, by kind; they change in flight.

A service stands for a kind, has an endpoint for each URL and a stage for each route. When the
configuration changes, tries that are out end with the old endpoints and all later ones take the
new; a stage whose processor is removed lets objects through in their order.
"""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections.abc import Callable
from functools import partial
from math import inf
from typing import Any, Protocol

import aiohttp

from wtp.config.schema import QueueSettings, ServiceDefaults, ServiceSettings
from wtp.metrics import Ledger
from wtp.model import Kind, Object, Track
from wtp.router.route import Route
from wtp.router.service_circuit import State
from wtp.router.service_client import ERROR, Answer, Fault, ask, open_session, shown
from wtp.router.service_endpoint import Endpoint, Recent, Rules
from wtp.router.service_ports import Timer
from wtp.router.service_stage import ServiceStage
from wtp.wire.process import Parcel

log = logging.getLogger("wtp.router")

Sent = Callable[[Answer | Fault], None]


class Tracks(Protocol):
    """Where objects go that are not of the track they were made of."""

    def derived(self, track: Track, kind: Kind, content_type: str, instance: str) -> Route | None:
        """The route of such a track; None while it is somebody's own."""

    def release(self, route: Route) -> None:
        """Nothing more comes on it."""


class Service:
    """The processors of one kind.

    Args:
        kind: Which.
        session: Connections.
        tasks: Holds the tasks of tries; their owner cancels them in the end.
        tracks: Where what is made for other tracks goes.
    """

    def __init__(
        self,
        kind: Kind,
        session: Callable[[], aiohttp.ClientSession],
        tasks: set[asyncio.Task[None]],
        tracks: Tracks,
    ) -> None:
        self.kind = kind
        self._tracks = tracks
        self.ledger = Ledger()
        self.latency = Recent()
        """From the stage's door in to its door out, of objects that got through."""
        self.rules: Rules | None = None
        self.stages: dict[ServiceStage, set[Route]] = {}
        """With the routes of what was made for other tracks."""
        self._session = session
        self._tasks = tasks
        self._endpoints: list[Endpoint] = []
        self._loop = asyncio.get_running_loop()

    def configure(self, rules: Rules | None) -> None:
        """Take other rules; None removes the processors."""
        if rules == self.rules:
            return
        self.rules = rules
        known = {endpoint.url: endpoint for endpoint in self._endpoints}
        self._endpoints = []
        if rules is not None:
            for url in rules.urls:
                endpoint = known.get(url) or Endpoint(url, rules, self.now_s)
                endpoint.configure(rules)
                self._endpoints.append(endpoint)
        for stage in list(self.stages):
            stage.pump()

    # Surroundings of stages

    @property
    def removed(self) -> bool:
        """Whether there is no processor any more."""
        return self.rules is None

    @property
    def max_retries(self) -> int:
        """Of one live object."""
        return self.rules.max_retries if self.rules else 0

    def now_s(self) -> float:
        """The loop's time."""
        return self._loop.time()

    def call_at(self, when_s: float, call: Callable[[], None]) -> Timer:
        """Make a call later."""
        return self._loop.call_at(when_s, call)

    def choose(
        self,
        track: str,
        current: Endpoint | None,
        avoid: Endpoint | None,
        wake: Callable[[], None],
    ) -> Endpoint | float:
        """The processor for a track: the same as long as it works, then the next in its order."""
        now_s = self.now_s()
        able = [one for one in self._endpoints if one.circuit.allows(now_s)]
        if not able:
            return self._look_again(now_s, wake)
        if current in able and current is not avoid:
            chosen = current
        else:
            order = sorted(able, key=partial(_rank, track))
            chosen = next((one for one in order if one is not avoid), order[0])
        if chosen.full:
            chosen.wait(wake)
            return inf
        return chosen

    def _look_again(self, now_s: float, wake: Callable[[], None]) -> float:
        trying = [one for one in self._endpoints if one.circuit.state(now_s) is State.HALF_OPEN]
        for one in trying:
            one.wait(wake)
        return inf if trying else min(one.circuit.again_s(now_s) for one in self._endpoints)

    def send(self, endpoint: Endpoint, parcel: Parcel, done: Sent) -> None:
        """Try an object with a processor, in a task of its own."""
        began_s = endpoint.begin()
        task = self._loop.create_task(self._send(endpoint, parcel, began_s, done))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send(self, endpoint: Endpoint, parcel: Parcel, began_s: float, done: Sent) -> None:
        result: Answer | Fault | None = None
        rules = endpoint.rules
        try:
            result = await ask(
                self._session(), endpoint.url, parcel, rules.data_format, rules.timeout_s
            )
        except Exception as error:
            log.exception("asking %s failed", shown(endpoint.url))
            result = Fault(ERROR, f"{type(error).__name__}")
        finally:
            endpoint.end(result, began_s)
        done(result)

    def aside(self, stage: ServiceStage, parcel: Parcel, obj: Object) -> bool:
        """Publish what a processor made for another track of the same room."""
        track, source = Track.parse(parcel.track), Track.parse(stage.track)
        instance = parcel.properties.get("instance", "")
        if track == source or track.room != source.room:
            return False
        route = self._tracks.derived(track, obj.kind, obj.content_type, instance)
        if route is None:
            return False
        self.stages[stage].add(route)
        error = parcel.properties.get("clock_error_us", "")
        route.clock_error_us = int(error) if error.isdecimal() and len(error) < 19 else None
        route.offer(obj)
        return True

    def forget(self, stage: ServiceStage) -> None:
        """A stage's route has ended."""
        for route in self.stages.pop(stage, ()):
            self._tracks.release(route)

    def snapshot(self) -> dict[str, Any]:
        """State, counts and latencies in ms, for people and programs."""
        return {
            "data_format": self.rules.data_format if self.rules else "",
            "tracks": len(self.stages),
            **self.ledger.snapshot(),
            **self.latency.snapshot(),
            "urls": {shown(one.url): one.snapshot() for one in self._endpoints},
        }


class Services:
    """All of them.

    Args:
        queues: Bounds of live routes.
        tracks: Where what is made for other tracks goes.
    """

    def __init__(self, queues: QueueSettings, tracks: Tracks) -> None:
        self._queues = queues
        self._tracks = tracks
        self._services: dict[Kind, Service] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._open: aiohttp.ClientSession | None = None

    def configure(self, services: dict[str, ServiceSettings], defaults: ServiceDefaults) -> None:
        """Take the sections `services:` and `service_defaults:` of a profile."""
        for kind in {Kind(name) for name in services} | self._services.keys():
            given = services.get(kind.value)
            service = self._services.get(kind)
            if service is None:
                service = Service(kind, self._session, self._tasks, self._tracks)
                self._services[kind] = service
            service.configure(Rules.of(given, defaults) if given else None)

    def equip(self, route: Route) -> None:
        """Put a stage on a route when its kind has processors and it has none."""
        service = self._services.get(route.kind)
        if service is None or service.removed or route.stage is not None:
            return
        audio = route.kind is Kind.AUDIO
        stage = ServiceStage(
            str(route.track),
            route.kind,
            route.properties,
            service,
            bound=self._queues.audio_objects if audio else self._queues.video_objects,
            stall_s=self._queues.stall_ms / 1000,
        )
        service.stages[stage] = set()
        route.stage = stage

    def _session(self) -> aiohttp.ClientSession:
        if self._open is None:
            self._open = open_session()
        return self._open

    def snapshot(self) -> dict[str, Any]:
        """By kind."""
        return {kind.value: service.snapshot() for kind, service in self._services.items()}

    async def close(self) -> None:
        """End all tries and connections."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._open is not None:
            await self._open.close()
            self._open = None


def _rank(track: str, endpoint: Endpoint) -> int:
    """Place of an endpoint in a track's order.

    Rendezvous hashing (Thaler and Ravishankar, 1998): tracks are spread, and a URL that comes or
    goes moves no track but its own.
    """
    return zlib.crc32(f"{track} {endpoint.url}".encode())
