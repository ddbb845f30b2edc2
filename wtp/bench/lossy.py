"""A bad network in user space: loses, delays and reorders UDP datagrams as a seed says.

`Fates` is pure: the fate of the n-th datagram of a direction depends on seed, direction, n and the
conditions alone, and what is lost at 1 % is lost at 5 % as well. `LossyLink` is the shell: a UDP
port on loopback that passes datagrams on to a target, each way with fates of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import random
import socket
from collections import Counter
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Literal, Self

from wtp.bench.worker import run_exact, serve
from wtp.clock import monotonic_us
from wtp.errors import UsageError

Direction = Literal["there", "back"]
QUEUE = 10_000
"""Datagrams on their way at once, each direction; more are dropped at the tail."""
BATCH = 64
DATAGRAM_BYTES = 65_535
SOCKET_BYTES = 4 << 20
HOLD_MS = 5.0
"""How much later a reordered datagram goes when nothing else is said: some others overtake it."""


@dataclass(frozen=True)
class Conditions:
    """What a network does to each direction.

    Attributes:
        loss: Share of datagrams that are lost, 0 to 1.
        delay_ms: One way.
        jitter_ms: Up to so much more, evenly spread; order is kept.
        reorder: Share of datagrams that are held back and overtaken, 0 to 1.
        hold_ms: How long those are held back.
    """

    loss: float = 0.0
    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    reorder: float = 0.0
    hold_ms: float = HOLD_MS

    def __post_init__(self) -> None:
        if not (0 <= self.loss <= 1 and 0 <= self.reorder <= 1):
            raise UsageError("A share of datagrams lies between 0 % and 100 %.", hint="Write 1%.")
        if min(self.delay_ms, self.jitter_ms, self.hold_ms) < 0:
            raise UsageError("A delay is not negative.", hint="Write e.g. 10ms.")


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of one datagram.

    Attributes:
        lost: Whether it is lost.
        delay_us: How much later it goes on.
        held: Whether later ones may overtake it.
    """

    lost: bool
    delay_us: int
    held: bool


class Fates:
    """The fates of a direction's datagrams, one after the other.

    Args:
        conditions: Of the network.
        seed: The same seed gives the same fates.
        direction: Both have fates of their own.
    """

    def __init__(self, conditions: Conditions, seed: int, direction: Direction = "there") -> None:
        self._conditions = conditions
        self._draw = random.Random(f"{seed}/{direction}").random  # noqa: S311 - no secret

    def next(self) -> Fate:
        """The fate of the next datagram; always three draws, whatever the conditions."""
        conditions, draw = self._conditions, self._draw
        loss, jitter, order = draw(), draw(), draw()
        held = order < conditions.reorder
        delay_ms = conditions.delay_ms + jitter * conditions.jitter_ms
        delay_ms += conditions.hold_ms if held else 0.0
        return Fate(loss < conditions.loss, round(delay_ms * 1000), held)


@dataclass
class Lane:
    """One direction: when which datagram goes on. Pure; time is an argument, in µs."""

    fates: Fates
    counts: Counter[str] = field(default_factory=Counter)
    _waiting: list[tuple[int, int, bytes, Any]] = field(default_factory=list)
    _number: Any = field(default_factory=itertools.count)
    _last_us: int = 0

    def take(self, data: bytes, way: Any, now_us: int) -> None:
        """Take a datagram that goes on by `way`."""
        fate = self.fates.next()
        self.counts["offered"] += 1
        if fate.lost:
            self.counts["lost"] += 1
            return
        if len(self._waiting) >= QUEUE:
            self.counts["queue"] += 1
            return
        due_us = now_us + fate.delay_us
        if fate.held:
            self.counts["held"] += 1
        else:
            due_us = self._last_us = max(due_us, self._last_us)
        heapq.heappush(self._waiting, (due_us, next(self._number), data, way))

    def due(self, now_us: int) -> list[tuple[bytes, Any]]:
        """Remove and return what goes on by now, in order."""
        found = []
        while self._waiting and self._waiting[0][0] <= now_us:
            _, _, data, way = heapq.heappop(self._waiting)
            found.append((data, way))
        self.counts["passed"] += len(found)
        return found

    @property
    def next_us(self) -> int | None:
        """When the next one goes on."""
        return self._waiting[0][0] if self._waiting else None


class LossyLink:
    """A UDP port on loopback before a target, as long as the block.

    Args:
        target: Host and port datagrams are passed on to.
        conditions: Of the network, both ways.
        seed: Of the fates.

    Attributes:
        address: Where clients send to.
    """

    def __init__(self, target: tuple[str, int], conditions: Conditions, seed: int = 1) -> None:
        self.address = ("", 0)
        self._target = target
        self._seed = seed
        self._lanes: dict[Direction, Lane] = {}
        self._ways: dict[Any, socket.socket] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._front = _udp()
        self.change(conditions)

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._front.bind(("127.0.0.1", 0))
        self.address = self._front.getsockname()[:2]
        self._loop.add_reader(self._front, self._from_client)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for sock in (self._front, *self._ways.values()):
            self._loop.remove_reader(sock)
            sock.close()

    def change(self, conditions: Conditions) -> None:
        """Other conditions from now on; counting of datagrams begins again, what waits is lost."""
        self._lanes = {
            "there": Lane(Fates(conditions, self._seed, "there")),
            "back": Lane(Fates(conditions, self._seed, "back")),
        }

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """Each way: `offered`, `passed`, `lost`, `held` (and passed later) and `queue` (full)."""
        names = ("offered", "passed", "lost", "held", "queue")
        return {
            way: {name: lane.counts[name] for name in names} for way, lane in self._lanes.items()
        }

    def _from_client(self) -> None:
        for _ in range(BATCH):
            try:
                data, client = self._front.recvfrom(DATAGRAM_BYTES)
            except OSError:
                break
            way = self._ways.get(client)
            if way is None:
                way = self._ways[client] = _udp()
                way.connect(self._target)
                self._loop.add_reader(way, self._from_target, way, client)
            self._lanes["there"].take(data, way, monotonic_us())
        self._pass_on()

    def _from_target(self, way: socket.socket, client: Any) -> None:
        for _ in range(BATCH):
            try:
                data = way.recv(DATAGRAM_BYTES)
            except OSError:
                break
            self._lanes["back"].take(data, client, monotonic_us())
        self._pass_on()

    def _pass_on(self) -> None:
        """Send what is due, and come back for the next."""
        now_us = monotonic_us()
        with contextlib.suppress(OSError):
            for data, way in self._lanes["there"].due(now_us):
                way.send(data)
        with contextlib.suppress(OSError):
            for data, client in self._lanes["back"].due(now_us):
                self._front.sendto(data, client)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        nexts = [lane.next_us for lane in self._lanes.values() if lane.next_us is not None]
        if nexts:
            wait_s = max(0, min(nexts) - monotonic_us()) / 1e6
            self._timer = self._loop.call_later(wait_s, self._pass_on)


def _udp() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BYTES)
    return sock


def run_lossy(pipe: Connection, target: tuple[str, int], seed: int) -> None:
    """Main of a process with such a link: `address`, `change CONDITIONS`, `counts`.

    The last two answer the counts so far.
    """
    run_exact(_run(pipe, target, seed))


async def _run(pipe: Connection, target: tuple[str, int], seed: int) -> None:
    async with LossyLink(target, Conditions(), seed) as link:

        async def answer(word: str, *args: Any) -> Any:
            if word == "address":
                return link.address
            counts = link.counts
            if word == "change":
                link.change(*args)
            return counts

        await serve(pipe, answer)
