"""What live and reliable routes share: one track on its way to the broker.

    offer -> (stage) -> queue -> the broker's client -> receipt

Each route's ledger holds offered = delivered + dropped{reason} + in flight at every moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from wtp.broker.client import Producer
from wtp.clock import Clock, Offset
from wtp.errors import BrokerError, Refused
from wtp.metrics import Buckets, Ledger
from wtp.model import Kind, Object, Track, to_properties


class Owner(Protocol):
    """Who sends a track: what a route asks of its session."""

    @property
    def instance(self) -> str:
        """The publisher run."""

    @property
    def offset(self) -> Offset | None:
        """What brings its stamps into the router's clock; None when unknown."""

    def receipted(self, route: Route) -> None:
        """The broker has more of this route's objects."""

    def rejected(self, route: Route, seq: int, code: str, message: str) -> None:
        """An object will never be taken; to be answered by `ReliableRoute.confirmed`."""

    def want_key(self, route: Route) -> bool:
        """Ask for a key object of a live track; False when that is not possible."""

    async def answers(self) -> bool:
        """Whether it still answers."""

    def replaced(self) -> None:
        """The publisher has come back with another session; this one is to go."""


@dataclass(frozen=True, slots=True)
class Drop:
    """A stage's word that an object ends there.

    Attributes:
        reason: Under which the route counts it.
        message: Why, for the publisher, when the object is refused for good; empty when it was
            filtered as somebody wished. Only reliable tracks make the difference: a refused object
            has no receipt, a filtered one is receipted with its neighbours.
    """

    reason: str
    message: str = ""


StageDone = Callable[[list[Object] | Drop], None]
"""Takes what became of an object: what goes to the broker in its place (an empty list: somebody
else has brought it there), or that it is dropped."""


class Stage(Protocol):
    """What stands between a route and the broker, such as an HTTP processor; one for each route."""

    def put(self, obj: Object, done: StageDone) -> None:
        """Take an object, stamped; never blocks.

        Args:
            obj: What was offered.
            done: To be called on the loop, once for each object and in their order. A reliable
                track waits for it as long as it takes.
        """

    def close(self) -> None:
        """The route has ended: answers come too late."""


class Route:
    """What live and reliable routes share.

    Args:
        track: Its name.
        kind: Its kind.
        content_type: As declared by `publish`.
        topic: Full topic name.
        clock: The router's clock.
    """

    def __init__(
        self, track: Track, kind: Kind, content_type: str, topic: str, clock: Clock
    ) -> None:
        self.track = track
        self.kind = kind
        self.content_type = content_type
        self.topic = topic
        self.ledger = Ledger()
        self.receipt = Buckets()
        """Publish to the broker's receipt."""
        self.wait = Buckets()
        """Route to publish, of what was handed over: the queue, and a processor if there is one."""
        self.travel = Buckets()
        """Send to route, likewise, while the publisher's clock is known."""
        self.owner: Owner | None = None
        self.instance = ""
        self.producer: Producer | None = None
        self.stage: Stage | None = None
        """What objects go through before they are queued for the broker."""
        self.received = 0
        """Objects of the present session."""
        self.key_requests = 0
        """How often its publisher was asked for a key object."""
        self.idle = asyncio.Event()
        self.idle.set()
        self.known = asyncio.Event()
        """It had a producer, so that `last_seq` is the broker's word, or it ended."""
        self._clock = clock
        self._key = str(track)
        self._domain = str(clock.domain)
        self.clock_error_us: int | None = None
        """Bound on the error of the stamps that it publishes; None when unknown."""

    @property
    def last_seq(self) -> int:
        """Highest sequence the broker has of a reliable track; -1 for live ones."""
        return -1

    @property
    def queued(self) -> int:
        """Objects that wait here and are not yet with the broker's client."""
        return 0

    @property
    def queued_bytes(self) -> int:
        """What the router holds of it, in bytes."""
        return 0

    def offer(self, obj: Object) -> None:
        """Take an object that arrived whole."""
        raise NotImplementedError

    def attach(self, producer: Producer | None) -> None:
        """Use this producer from now on; None while there is no broker."""
        raise NotImplementedError

    def abandon(self, reason: str) -> None:
        """Drop what waits: the route ends."""
        raise NotImplementedError

    def _stamped(self, obj: Object) -> Object:
        """The object in the router's clock domain, with its route stamp."""
        if obj.process_us is not None:  # it has been here as part of another track
            return replace(obj, content_type=self.content_type)
        offset = self.owner.offset if self.owner else None
        self.clock_error_us = offset.error_us if offset else None
        shift = offset.offset_us if offset else 0
        return Object(  # `replace` takes twice as long
            kind=obj.kind,
            seq=obj.seq,
            group=obj.group,
            key=obj.key,
            payload=obj.payload,
            capture_us=None if obj.capture_us is None else obj.capture_us + shift,
            encode_us=None if obj.encode_us is None else obj.encode_us + shift,
            send_us=None if obj.send_us is None else obj.send_us + shift,
            route_us=self._clock.now_us(),
            duration_us=obj.duration_us,
            content_type=self.content_type,
            attributes=obj.attributes,
            replayed=obj.replayed,
        )

    def properties(self, obj: Object) -> dict[str, str]:
        """What describes an object of this track to the broker and to a stage."""
        return to_properties(obj, self.instance, self._domain, self.clock_error_us)

    def _hand_over(
        self, producer: Producer, obj: Object, seq: int | None, done: Callable[..., None]
    ) -> None:
        """Give an object to the broker's client."""
        properties = self.properties(obj)
        now_us = self._clock.now_us()
        properties["publish_us"] = str(now_us)
        if obj.route_us is not None:
            self.wait.add(max(0, now_us - obj.route_us))
            if obj.send_us is not None and self.clock_error_us is not None:
                self.travel.add(max(0, obj.route_us - obj.send_us))

        def on_receipt(error: BrokerError | Refused | None) -> None:
            if error is None:
                self.receipt.add(self._clock.now_us() - now_us)
            done(error)

        producer.send(
            obj.payload,
            properties=properties,
            key=self._key,
            event_ms=(obj.capture_us or 0) // 1000,
            seq=seq,
            done=on_receipt,
        )

    def _settle(self) -> None:
        if self.ledger.in_flight:
            self.idle.clear()
        else:
            self.idle.set()
