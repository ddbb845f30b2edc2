"""Stand-ins for what the router meets: a producer, an owner, a session."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from wtp.clock import Clock, ClockDomain, Offset
from wtp.errors import BrokerError, BrokerUnavailable, Refused
from wtp.model import Kind, Object
from wtp.router.routes import Route
from wtp.wire import control


class Time:
    """A monotonic clock that moves when told."""

    def __init__(self) -> None:
        self.now = 1_000_000

    def __call__(self) -> int:
        return self.now


def clock(time: Time | None = None) -> Clock:
    return Clock(ClockDomain("boot", 0), time or Time())


@dataclass(eq=False)
class FakeProducer:
    """Keeps what it is sent until `receipt` or `fail`."""

    last_seq: int = -1
    sent: list[dict[str, Any]] = field(default_factory=list)
    waiting: list[Callable[[BrokerError | Refused | None], None]] = field(default_factory=list)
    closed: bool = False
    connected: bool = True
    topic: str = ""

    def send(self, payload: bytes, **rest: Any) -> None:
        self.waiting.append(rest.pop("done"))
        self.sent.append({"payload": payload, **rest})

    def receipt(self, count: int = 1) -> None:
        for _ in range(count):
            self.waiting.pop(0)(None)

    def fail(self, count: int = 1, error: BrokerError | None = None) -> None:
        for _ in range(count):
            self.waiting.pop(0)(error or BrokerUnavailable("gone"))

    @property
    def seqs(self) -> list[int]:
        return [int(sent["properties"]["seq"]) for sent in self.sent]

    async def flush(self) -> None:
        return

    async def close(self) -> None:
        self.closed = True


@dataclass
class FakeOwner:
    instance: str = "run"
    offset: Offset | None = None
    told: list[int] = field(default_factory=list)
    gone: bool = False
    refusals: list[tuple[int, str]] = field(default_factory=list)
    keys: int = 0
    deaf: bool = False

    def want_key(self, route: Route) -> bool:
        self.keys += not self.deaf
        return not self.deaf

    def receipted(self, route: Route) -> None:
        self.told.append(route.last_seq)

    def rejected(self, route: Route, seq: int, code: str, message: str) -> None:
        self.refusals.append((seq, code))

    async def answers(self) -> bool:
        return not self.gone

    def replaced(self) -> None:
        self.gone = True


class FakeSession:
    """Takes what a peer sends and remembers it."""

    def __init__(self, query: dict[str, str] | None = None) -> None:
        self.query = query or {}
        self.origin = ""
        self.headers: dict[str, str] = {}
        self.peer = ("127.0.0.1", 5)
        self.messages: list[control.Message] = []
        self.released: dict[int, int] = {}
        self.closed_with: tuple[int, str] | None = None
        self.unread_bytes = 0
        self._parser = control.ControlParser()
        self._first = True

    def open_stream(self) -> int:
        return 3

    def send(self, stream: int, data: bytes, end: bool = False) -> None:
        if self._first:
            assert data[:1] == b"\x01"
            data = data[1:]
            self._first = False
        self.messages += self._parser.feed(data)

    def release(self, stream: int, count: int) -> None:
        self.released[stream] = self.released.get(stream, 0) + count

    def backlog(self, stream: int | None = None) -> int:
        return self.unread_bytes

    def close(self, code: int = 0, reason: str = "") -> None:
        self.closed_with = self.closed_with or (code, reason)


def picture(seq: int, key: bool = False, kind: Kind = Kind.VIDEO, size: int = 100) -> Object:
    return Object(kind, seq, seq // 10, key, bytes(size), capture_us=seq * 1000, send_us=seq * 1000)


def line(seq: int, text: str = "") -> Object:
    return Object(Kind.CHAT, seq, seq, True, (text or f"line {seq}").encode())
