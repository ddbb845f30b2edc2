"""One track on its way to the broker.

A live route keeps the newest: its queue is bounded, only a few objects are with the client at once
(the client's own queue would keep the oldest), and a backlog goes as a whole. A reliable route
keeps everything until the broker's receipt; its bound is felt by the sender.

Each route's ledger holds offered = delivered + dropped{reason} + in flight at every moment.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from wtp.broker.client import Producer
from wtp.clock import Clock, Offset
from wtp.config.schema import QueueSettings
from wtp.errors import BrokerError, Refused
from wtp.metrics import Buckets, Ledger
from wtp.model import Kind, Object, Track, to_properties

OBJECT_BYTES, ATTRIBUTE_BYTES = 1024, 128
"""What an object and each of its attributes cost beside the payload, generously."""

log = logging.getLogger("wtp.router")

MOST_UNRECEIPTED = 1000
"""Objects of a reliable track that are with the broker's client at once."""


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

    async def answers(self) -> bool:
        """Whether it still answers."""

    def replaced(self) -> None:
        """The publisher has come back with another session; this one is to go."""


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
        self.owner: Owner | None = None
        self.instance = ""
        self.producer: Producer | None = None
        self.received = 0
        """Objects of the present session."""
        self.idle = asyncio.Event()
        self.idle.set()
        self.known = asyncio.Event()
        """It had a producer, so that `last_seq` is the broker's word, or it ended."""
        self._clock = clock
        self._key = str(track)
        self._error_us: int | None = None

    @property
    def last_seq(self) -> int:
        """Highest sequence the broker has of a reliable track; -1 for live ones."""
        return -1

    @property
    def queued(self) -> int:
        """Objects that wait here and are not yet with the broker's client."""
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
        offset = self.owner.offset if self.owner else None
        self._error_us = offset.error_us if offset else None
        shift = offset.offset_us if offset else 0
        moved = {
            name: value + shift
            for name in ("capture_us", "encode_us", "send_us")
            if shift and (value := getattr(obj, name)) is not None
        }
        now_us = self._clock.now_us()
        return replace(obj, route_us=now_us, content_type=self.content_type, **moved)

    def _hand_over(
        self, producer: Producer, obj: Object, seq: int | None, done: Callable[..., None]
    ) -> None:
        """Give an object to the broker's client."""
        properties = to_properties(obj, self.instance, str(self._clock.domain), self._error_us)
        now_us = self._clock.now_us()
        properties["publish_us"] = str(now_us)

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


class LiveRoute(Route):
    """A live track: the newest matters."""

    def __init__(
        self,
        track: Track,
        kind: Kind,
        content_type: str,
        topic: str,
        clock: Clock,
        limits: QueueSettings,
    ) -> None:
        super().__init__(track, kind, content_type, topic, clock)
        self._queue: deque[Object] = deque()
        self._bound = limits.audio_objects if kind is Kind.AUDIO else limits.video_objects
        self._most_unreceipted = limits.unreceipted
        self._stall_us = limits.stall_ms * 1000
        self._unreceipted = 0
        self._broken = False

    @property
    def queued(self) -> int:
        """Objects that wait here."""
        return len(self._queue)

    def offer(self, obj: Object) -> None:
        """Take an object; a full queue drops the backlog, not this one."""
        self.ledger.offer(len(obj.payload))
        self.received += 1
        obj = self._stamped(obj)
        if obj.key:
            self._broken = False
        elif self._broken:
            self.ledger.drop("broken-group")
            self._settle()
            return
        self._queue.append(obj)
        if len(self._queue) > self._bound:
            self._shorten("queue")
        self._pump()

    def attach(self, producer: Producer | None) -> None:
        """Use this producer from now on."""
        self.producer = producer
        self._pump()

    def abandon(self, reason: str) -> None:
        """Drop what waits here; what is with the broker's client ends by itself."""
        self.ledger.drop(reason, len(self._queue))
        self._queue.clear()
        self._settle()

    def _shorten(self, reason: str) -> None:
        """Drop the backlog up to the newest key object, or up to the next one to come."""
        queue = self._queue
        newest = next((i for i in range(len(queue) - 1, -1, -1) if queue[i].key), None)
        if newest:
            self.ledger.drop(reason, newest)
            for _ in range(newest):
                queue.popleft()
            return
        kept = queue[0] if newest == 0 else None
        self.ledger.drop(reason, len(queue) - (kept is not None))
        queue.clear()
        if kept is not None:
            queue.append(kept)
        self._broken = True

    def _pump(self) -> None:
        queue = self._queue
        if queue:
            waited_us = self._clock.now_us() - (queue[0].route_us or 0)
            if waited_us > self._stall_us and not (len(queue) == 1 and queue[0].key):
                self._shorten("stall")
        producer = self.producer
        while producer is not None and queue and self._unreceipted < self._most_unreceipted:
            self._unreceipted += 1
            self._hand_over(producer, queue.popleft(), None, self._on_receipt)
        self._settle()

    def _on_receipt(self, error: BrokerError | Refused | None) -> None:
        self._unreceipted -= 1
        if error is None:
            self.ledger.deliver()
        else:
            self.ledger.drop("broker")
            self._broken = True
            self._drop_deltas()
        self._pump()

    def _drop_deltas(self) -> None:
        """After a lost object nothing up to the next key object can be decoded."""
        while self._queue and not self._queue[0].key:
            self._queue.popleft()
            self.ledger.drop("broken-group")
        if self._queue:
            self._broken = False


class ReliableRoute(Route):
    """A reliable track: everything, in order, once."""

    def __init__(
        self, track: Track, kind: Kind, content_type: str, topic: str, clock: Clock
    ) -> None:
        super().__init__(track, kind, content_type, topic, clock)
        self._kept: deque[Object] = deque()
        self._waiting: deque[Object] = deque()
        self._with_client = 0
        self._taken = 0
        self._receipted = 0
        self._refused = 0
        self.failed: Producer | None = None
        """A producer that refused an object; to be closed before the next one of its name."""
        self.kept_bytes = 0
        """What waits for receipts costs, payload and bookkeeping: empty objects count too."""

    @property
    def last_seq(self) -> int:
        """Highest sequence that has its receipt; 0 for none."""
        return self._receipted

    @property
    def next_seq(self) -> int:
        """The sequence that must come next."""
        return self._taken + 1

    @property
    def queued(self) -> int:
        """Objects that are not yet with the broker's client."""
        return len(self._waiting)

    def offer(self, obj: Object) -> None:
        """Take the next object.

        Raises:
            Refused: Its sequence leaves a gap; the sender must start at `last_seq` + 1.
        """
        self.ledger.offer(len(obj.payload))
        self.received += 1
        if obj.seq <= self._taken:
            self.ledger.drop("duplicate")
            if self.owner and obj.seq <= self._receipted:
                self.owner.receipted(self)
            return
        if obj.seq != self._taken + 1:
            self.ledger.drop("gap")
            raise Refused(
                f"Object {obj.seq} of {self.track} came where {self._taken + 1} was due.",
                code="sequence",
            )
        self._taken = obj.seq
        obj = self._stamped(obj)
        self._kept.append(obj)
        self._waiting.append(obj)
        self.kept_bytes += _cost(obj)
        self._pump()

    def attach(self, producer: Producer | None) -> None:
        """Use a producer of this track's name; what the broker lacks is sent again."""
        self.producer = producer
        if producer is None:
            return
        self._with_client = 0
        self._confirm(producer.last_seq)
        self.known.set()
        self._taken = max(self._taken, self._receipted)
        self._waiting = deque(self._kept)
        self._pump()

    def abandon(self, reason: str) -> None:
        """Forget what has no receipt: its sender still has it and will send it again."""
        self.ledger.drop(reason, len(self._kept))
        self._kept.clear()
        self._waiting.clear()
        self.kept_bytes = 0
        self._taken = self._receipted
        self.known.set()
        self._settle()

    def _pump(self) -> None:
        producer = self.producer
        while producer and self._waiting and self._with_client < MOST_UNRECEIPTED:
            self._with_client += 1
            self._send(producer, self._waiting.popleft())
            producer = self.producer
        self._settle()

    def _send(self, producer: Producer, obj: Object) -> None:
        def done(error: BrokerError | Refused | None) -> None:
            if self.producer is not producer:
                return
            if error is not None:
                if obj.seq != self._refused:
                    self._refused = obj.seq
                    log.warning("%s: object %d will be sent again: %s", self.track, obj.seq, error)
                self.producer, self.failed = None, producer
                return
            self._with_client -= 1
            self._confirm(obj.seq)
            self._pump()

        self._hand_over(producer, obj, obj.seq, done)

    def _confirm(self, seq: int) -> None:
        """The broker has everything up to `seq`."""
        if seq <= self._receipted:
            return
        self._receipted = seq
        while self._kept and self._kept[0].seq <= seq:
            self.kept_bytes -= _cost(self._kept.popleft())
            self.ledger.deliver()
        self._settle()
        if self.owner is not None:
            self.owner.receipted(self)


def _cost(obj: Object) -> int:
    return len(obj.payload) + OBJECT_BYTES + ATTRIBUTE_BYTES * len(obj.attributes)
