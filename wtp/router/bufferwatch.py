"""Who fills the original's metrics files: sessions that count what they read, and a look a second.

Only a router with `--metrics-dir` has such sessions; the others pay nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from wtp.clock import monotonic_us, wall_us
from wtp.config.schema import RouterSettings
from wtp.router.bufferfiles import BufferFiles, Lines, explained
from wtp.router.bufferrows import COLUMNS, HEADER, Session, line, new_drops, stamp
from wtp.router.peer import Incoming, Peer
from wtp.router.route import Route
from wtp.wire import control
from wtp.wire.legacy import LegacyObject, LegacyParser
from wtp.wire.objects import ObjectParser, WireObject

INTERVAL_S = 1.0
AT_ONCE = 10
"""Sessions that are looked at before others get the loop: half a millisecond."""
MEGABYTE = 1_000_000

log = logging.getLogger("wtp.router")

Routes = Callable[[], Collection[Route]]


class BufferWatch:
    """Writes a line for each session and second, and what happens to them.

    Args:
        router: Folder and bound.
        routes: All routes there are.
        connected: Whether the broker is there.
        refused: Counts of what was refused, by reason.

    Raises:
        StorageError: The folder cannot be written.
    """

    def __init__(
        self,
        router: RouterSettings,
        routes: Routes,
        connected: Callable[[], bool],
        refused: Counter[str],
    ) -> None:
        folder, bound_bytes = Path(router.metrics_dir).expanduser(), router.metrics_mb * MEGABYTE
        self.files = BufferFiles(folder, bound_bytes, HEADER, explained(COLUMNS))
        self.sessions: dict[MeteredPeer, Session] = {}
        self._routes, self._connected, self._refused = routes, connected, refused
        self._refused_before: Counter[str] = Counter()
        self._was_connected: bool | None = None
        """None until it was there for the first time."""
        self._metrics: list[str] = []
        self._events: list[str] = []

    def peer(self, *args: Any, **more: Any) -> Peer:
        """A session that is watched; arguments as of `Peer`."""
        peer = MeteredPeer(*args, **more)
        peer.watch = self
        address = ":".join(str(part) for part in peer.session.peer[:2])
        self.sessions[peer] = peer.counts
        self.event("connect", peer.counts, f"from={address}")
        return peer

    def event(self, name: str, session: Session | None = None, details: str = "") -> None:
        """Remember one line of the events until the next look."""
        self._events.append(_event(name, session, details))

    def ended(self, peer: MeteredPeer, code: int, reason: str) -> None:
        """Remember what a session came to, before its routes go."""
        self.sessions.pop(peer, None)
        self._note(peer, [route for route in self._routes() if route.owner is peer])
        self.event("end", peer.counts, f"code={code} reason={reason[:200]!r}")

    async def run(self) -> None:
        """Look once a second until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL_S)
            for number, _ in enumerate(self._look(), 1):
                if number % AT_ONCE == 0:
                    await asyncio.sleep(0)

    def look(self) -> None:
        """Write the state of all sessions now, and what happened."""
        for _ in self._look():
            pass

    def _look(self) -> Iterator[None]:
        """Look at one session after the other; hand the lines on at the end."""
        owned: dict[object, list[Route]] = {}
        for route in self._routes():
            if route.owner is not None:
                owned.setdefault(route.owner, []).append(route)
        for peer in list(self.sessions):
            if peer in self.sessions:  # it may end meanwhile
                self._note(peer, owned.get(peer, []))
                yield
        self._note_common()
        lines = Lines("".join(self._metrics), "".join(self._events))
        self._metrics.clear()
        self._events.clear()
        self.files.put(lines)

    def _note(self, peer: MeteredPeer, routes: list[Route]) -> None:
        """Remember a session's line, and what was dropped of it."""
        session = peer.counted()
        drops = new_drops(session, routes)
        if drops:
            self.event("drop", session, _pairs(drops))
        self._metrics.append(line(session, routes, monotonic_us(), wall_us() / 1e6))

    def _note_common(self) -> None:
        """Remember what happened to no session in particular."""
        connected = self._connected()
        if self._was_connected is not None and connected is not self._was_connected:
            self.event("broker-back" if connected else "broker-lost")
        if connected or self._was_connected is not None:
            self._was_connected = connected
        refused = self._refused - self._refused_before
        if refused:
            self.event("refused", None, _pairs(refused))
            self._refused_before = Counter(self._refused)


def _pairs(counts: Counter[str] | dict[str, int]) -> str:
    return " ".join(f"{reason}={count}" for reason, count in sorted(counts.items()))


def _event(name: str, session: Session | None = None, details: str = "") -> str:
    """A line: when, what, who, details; names hold no spaces, sentences stand in quotes."""
    parts = [stamp(wall_us() / 1e6), name]
    if session is not None:
        parts += [f"client={session.id}", f"room={session.room}", f"publisher={session.publisher}"]
    return " ".join([*parts, details]).rstrip() + "\n"


class MeteredPeer(Peer):
    """A session that counts what it reads."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.counts = Session(self.id, self.room, self.name, monotonic_us())
        self.watch: BufferWatch | None = None

    def counted(self) -> Session:
        """The counts, with what is held now."""
        counts = self.counts
        counts.streams = len(self._streams)
        counts.partial_bytes = self._partial_bytes
        counts.half = sum(_inside(one) for one in self._streams.values())
        counts.held_back_bytes = sum(one.withheld_bytes for one in self._streams.values())
        return counts

    def stream_data(self, stream: int, data: bytes, end: bool) -> None:
        """Count the bytes."""
        self.counts.bytes += len(data)
        super().stream_data(stream, data, end)

    def stream_reset(self, stream: int, code: int) -> None:
        """Count the object that will never be whole."""
        incoming = self._streams.get(stream)
        if incoming is not None and _inside(incoming):
            self.counts.left += 1
        super().stream_reset(stream, code)

    def closed(self, code: int, reason: str) -> None:
        """Write the last line while the routes are still there."""
        if self.watch is not None:
            self.watch.ended(self, code, reason)
        super().closed(code, reason)

    def _new_stream(self, first: int) -> Incoming:
        incoming = super()._new_stream(first)
        if isinstance(incoming.parser, ObjectParser):
            incoming.parser = _Objects(self.counts)
        elif isinstance(incoming.parser, LegacyParser):
            incoming.parser = _LegacyObjects(self.counts)
        self.counts.most_streams = max(self.counts.most_streams, len(self._streams) + 1)
        return incoming

    def _take_whole(self, stream: int, data: bytes) -> bool:
        taken = super()._take_whole(stream, data)
        self.counts.whole += taken
        return taken

    def _feed(self, stream: int, incoming: Incoming, data: bytes) -> None:
        super()._feed(stream, incoming, data)
        if self._partial_bytes > self.counts.most_bytes:
            self.counts.most_bytes = self._partial_bytes

    def _hello(self, message: control.Hello) -> None:
        super()._hello(message)
        self.counts.publisher = self.name
        if self.watch is not None:
            self.watch.event("hello", self.counts)


def _inside(incoming: Incoming) -> bool:
    """Whether a stream stands inside an object."""
    parser = incoming.parser
    return (
        isinstance(parser, (ObjectParser, LegacyParser)) and not incoming.ended and parser.partial
    )


class _Assembly:
    """When the object that is arriving on a stream began."""

    def __init__(self, counts: Session) -> None:
        self._counts = counts
        self._since_us = 0

    def whole(self, *, held: bool) -> None:
        """An object is whole; `held`: earlier reads have brought part of it."""
        counts = self._counts
        counts.whole += 1
        if held:
            counts.fragmented += 1
            counts.wait_us += monotonic_us() - self._since_us

    def begun(self) -> None:
        """The first part of an object has come."""
        self._since_us = monotonic_us()


class _Objects(ObjectParser):
    def __init__(self, counts: Session) -> None:
        super().__init__()
        self._assembly = _Assembly(counts)

    def feed(self, data: bytes) -> Iterator[WireObject]:
        held, fresh = self.partial, not self.partial
        for item in super().feed(data):
            self._assembly.whole(held=held)
            held, fresh = False, True
            yield item
        if fresh and self.partial:
            self._assembly.begun()


class _LegacyObjects(LegacyParser):
    def __init__(self, counts: Session) -> None:
        super().__init__()
        self._assembly = _Assembly(counts)

    def feed(self, data: bytes) -> Iterator[LegacyObject]:
        held, fresh = self.partial, not self.partial
        for item in super().feed(data):
            self._assembly.whole(held=held)
            held, fresh = False, True
            yield item
        if fresh and self.partial:
            self._assembly.begun()
