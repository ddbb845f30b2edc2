"""A track straight to its topic: what the router would do, done here.

Tracks write to streams; `TopicStreams` takes the objects off them and publishes them, so that a
track behaves as it does in front of a router: live ones drop what waits too long, reliable ones
keep what has no receipt.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from typing import Protocol

from wtp.clock import Clock
from wtp.errors import BrokerError, Refused
from wtp.model import Object, to_properties
from wtp.publisher.outgoing import Line, Outgoing
from wtp.transport.session import BULK
from wtp.wire.objects import ObjectParser

LIVE_UNDER_WAY = 4
"""Objects of a live track handed to the broker's client without a receipt, as in the router."""

RELIABLE_UNDER_WAY = 512
"""The same of a reliable track, whose objects all have to go."""

Done = Callable[[BrokerError | Refused | None], None]


class Producer(Protocol):
    """What is used of `wtp.broker.websocketsending.SocketProducer`."""

    changed: Callable[[bool], None]

    @property
    def connected(self) -> bool:
        """Whether the broker is there at this moment."""
        ...

    def send(
        self,
        payload: bytes,
        *,
        properties: Mapping[str, str],
        key: str,
        event_ms: int,
        seq: int | None,
        done: Done,
    ) -> None:
        """Hand an object over."""
        ...


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a track's objects come from, as their properties say.

    Attributes:
        track: Full name of the track: the message key.
        instance: The publisher run.
        clock: Own clock; its domain is the stamps'.
    """

    track: str
    instance: str
    clock: Clock


@dataclass(slots=True)
class _Stream:
    parser: ObjectParser
    typed: bool = False
    ended: bool = False
    backlog: int = 0


class TopicStreams:
    """Implements `Streams`: objects out of a track's streams, into its topic.

    Args:
        producer: The topic's.
        track: Whose objects they are; told what became of them.
        origin: What their properties say.
    """

    def __init__(self, producer: Producer, track: Outgoing, origin: Origin) -> None:
        self._producer = producer
        self._track = track
        self._origin = origin
        self._reliable = track.spec.kind.reliable
        self._most = RELIABLE_UNDER_WAY if self._reliable else LIVE_UNDER_WAY
        self._numbers = count(1)
        self._streams: dict[int, _Stream] = {}
        self._waiting: deque[tuple[int, Object, int]] = deque()
        self._under_way = 0
        self._delivered = 0
        self._life = 0
        self._pumping = False

    # Streams

    def open_stream(self, rank: int = BULK, after: int | None = None) -> int:
        """A new stream; each track has a producer of its own, so ranks say nothing here."""
        number = next(self._numbers)
        self._streams[number] = _Stream(ObjectParser())
        return number

    def send(self, stream: int, data: bytes, end: bool = False) -> None:
        """Take the objects in these bytes."""
        found = self._streams[stream]
        if data and not found.typed:
            found.typed = True
            data = data[1:]
        for one in found.parser.feed(data) if data else ():
            found.backlog += one.wire_bytes
            self._waiting.append((stream, one.obj, one.wire_bytes))
        found.ended = end
        if end and not found.backlog:
            del self._streams[stream]
        self._pump()

    def reset(self, stream: int, code: int) -> None:
        """Drop what was not handed over yet."""
        self._streams.pop(stream, None)
        self._waiting = deque(item for item in self._waiting if item[0] != stream)

    def backlog(self, stream: int | None = None) -> int:
        """Bytes without a receipt."""
        if stream is None:
            return sum(one.backlog for one in self._streams.values())
        found = self._streams.get(stream)
        return found.backlog if found is not None else 0

    # To the broker

    def connection(self, there: bool) -> None:
        """The connection to the broker came or went; live tracks begin anew."""
        if self._reliable:
            if there and not self._life:
                self._attach()
            return
        if there:
            self._attach()
        elif self._life:
            self._life += 1
            self._waiting.clear()
            self._streams.clear()
            self._under_way = self._delivered = 0
            self._track.detach()

    def _attach(self) -> None:
        self._life += 1
        self._track.attach(Line(self, self._origin.clock, 0), 0)

    def _pump(self) -> None:
        """Hand over as much as may be under way."""
        if self._pumping:
            return
        self._pumping = True
        try:
            while self._waiting and self._under_way < self._most:
                stream, obj, size = self._waiting.popleft()
                self._under_way += 1
                self._hand_over(obj, partial(self._done, self._life, stream, obj.seq, size))
        finally:
            self._pumping = False

    def _hand_over(self, obj: Object, done: Done) -> None:
        origin = self._origin
        now_us = origin.clock.now_us()
        whole = replace(obj, content_type=self._track.spec.content_type, publish_us=now_us)
        event_us = now_us if obj.capture_us is None else obj.capture_us
        self._producer.send(
            obj.payload,
            properties=to_properties(whole, origin.instance, str(origin.clock.domain), 0),
            key=origin.track,
            event_ms=event_us // 1000,
            seq=obj.seq if self._reliable else None,
            done=done,
        )

    def _done(
        self, life: int, stream: int, seq: int, size: int, error: BrokerError | Refused | None
    ) -> None:
        """An object has its receipt, or failed."""
        if life != self._life:
            return
        self._under_way -= 1
        found = self._streams.get(stream)
        if found is not None:
            found.backlog -= size
            if found.ended and not found.backlog:
                del self._streams[stream]
        if self._reliable:
            self._settle(seq, error)
        elif error is None:
            self._delivered += 1
            self._track.counted({"received": self._delivered}, final=False)
        self._pump()

    def _settle(self, seq: int, error: BrokerError | Refused | None) -> None:
        """Tell a reliable track; its producer gives nothing up that could still be delivered."""
        if error is None:
            self._track.receipt(seq)
        elif error.code == "too-large":
            self._track.rejected(seq, error.code, error.message)
