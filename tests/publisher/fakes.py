"""Doubles of the transport and of time."""

from __future__ import annotations

from dataclasses import dataclass, field

from wtp.clock import Clock, ClockDomain
from wtp.errors import Refused
from wtp.model import Object
from wtp.publisher.outgoing import Line
from wtp.transport.session import BULK
from wtp.wire import StreamType
from wtp.wire.objects import ObjectParser


@dataclass
class FakeStream:
    """What was written to one stream, and how much of it the peer has acknowledged."""

    data: bytearray = field(default_factory=bytearray)
    acknowledged: int = 0
    ended: bool = False
    reset_code: int | None = None
    rank: int = BULK
    after: int | None = None

    def objects(self) -> list[Object]:
        assert self.data[0] == StreamType.OBJECTS
        return [item.obj for item in ObjectParser().feed(bytes(self.data[1:]))]


class FakeStreams:
    """Implements `Streams`; acknowledges at once unless `stuck`."""

    def __init__(self, *, stuck: bool = False) -> None:
        self.stuck = stuck
        self.no_credit = False
        self.streams: dict[int, FakeStream] = {}

    def open_stream(self, rank: int = BULK, after: int | None = None) -> int:
        if self.no_credit:
            raise Refused("no credit", code="stream-limit")
        number = 4 * len(self.streams) + 2
        self.streams[number] = FakeStream(rank=rank, after=after)
        return number

    def send(self, stream: int, data: bytes, end: bool = False) -> None:
        one = self.streams[stream]
        assert not one.ended
        assert one.reset_code is None
        one.data += data
        one.ended = end
        if not self.stuck:
            one.acknowledged = len(one.data)

    def reset(self, stream: int, code: int) -> None:
        one = self.streams[stream]
        assert one.reset_code is None
        one.reset_code = code

    def backlog(self, stream: int | None = None) -> int:
        chosen = self.streams.values() if stream is None else [self.streams[stream]]
        return sum(len(one.data) - one.acknowledged for one in chosen if one.reset_code is None)

    def acknowledge(self) -> None:
        for one in self.streams.values():
            one.acknowledged = len(one.data)

    def all(self) -> list[FakeStream]:
        return list(self.streams.values())

    def objects(self) -> list[Object]:
        return [obj for one in self.streams.values() for obj in one.objects()]


class FakeTime:
    """A monotonic clock that moves when told."""

    def __init__(self) -> None:
        self.us = 0

    def __call__(self) -> int:
        return self.us

    def clock(self, anchor_us: int = 1_000_000_000, boot_id: str = "here") -> Clock:
        return Clock(ClockDomain(boot_id, anchor_us), self)


def line_to(streams: FakeStreams, clock: Clock, shift_us: int = 0) -> Line:
    return Line(streams, clock, shift_us)
