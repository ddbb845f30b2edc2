"""A router stand-in: real sessions over loopback, objects kept in memory, receipts on command."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from wtp.clock import Clock, Offset
from wtp.model import Object
from wtp.transport.certs import Certificate, create_certificate
from wtp.transport.server import Server, serve
from wtp.transport.session import Session
from wtp.wire import StreamType, control, stream_type
from wtp.wire.objects import ObjectParser


class Standin:
    """What its sessions share; survives a restart of the server as a broker would.

    Attributes:
        objects: What arrived whole, by track name.
        last_seq: What the broker has, by track name.
        receipts: Whether objects are receipted at once.
        refuse: Error code by track name.
        reject: Payloads that are refused for good.
        confirmed: What the publisher said of such.
        greet: Whether hello is answered.
        stats_s: How often counts are told; 0 for never.
    """

    def __init__(self) -> None:
        self.objects: dict[str, list[Object]] = {}
        self.last_seq: dict[str, int] = {}
        self.receipts = True
        self.refuse: dict[str, str] = {}
        self.reject: set[bytes] = set()
        self.confirmed: list[control.Rejected] = []
        self.greet = True
        self.stats_s = 0.05
        self.clock = Clock()
        self.guests: list[Guest] = []
        self.hellos: list[control.Hello] = []
        self.publishes: list[control.Publish] = []
        self.changed = asyncio.Event()

    def __call__(self, session: Session) -> Guest:
        guest = Guest(session, self)
        self.guests.append(guest)
        return guest

    def notify(self) -> None:
        self.changed.set()

    async def until(self, condition: Callable[[], object], timeout: float = 60.0) -> None:
        async with asyncio.timeout(timeout):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    def seqs(self, track: str) -> list[int]:
        return [obj.seq for obj in self.objects.get(track, [])]


class Guest:
    """One session of the stand-in."""

    def __init__(self, session: Session, home: Standin) -> None:
        self.session = session
        self.home = home
        self.tracks: dict[int, control.Publish] = {}
        self.received: dict[int, int] = {}
        self.due: dict[int, int] = {}
        self.offset: Offset | None = None
        self.flushes: list[control.Flush] = []
        self.resets: list[tuple[int, int]] = []
        self.ends: set[int] = set()
        self.over: tuple[int, str] | None = None
        self.deaf = False
        self._parsers: dict[int, control.ControlParser | ObjectParser] = {}
        self._own: int | None = None
        self._timer: asyncio.TimerHandle | None = None

    def tell(self, message: control.Message) -> None:
        if self._own is not None and self.over is None and not self.deaf:
            self.session.send(self._own, control.encode(message))

    def stream_data(self, stream: int, data: bytes, end: bool) -> None:
        self.session.release(stream, len(data))
        if self.deaf:
            return
        if stream not in self._parsers and data:
            kind = stream_type(data[0])
            data = data[1:]
            self._parsers[stream] = (
                control.ControlParser() if kind is StreamType.CONTROL else ObjectParser()
            )
        parser = self._parsers.get(stream)
        if isinstance(parser, control.ControlParser):
            for message in parser.feed(data):
                self._order(message)
        elif parser is not None:
            for item in parser.feed(data):
                self._object(item.alias, item.obj)
        if end:
            self.ends.add(stream)
        self.home.notify()

    def _order(self, message: control.Message) -> None:
        match message:
            case control.Hello():
                self.home.hellos.append(message)
                if not self.home.greet:
                    return
                self._own = self.session.open_stream()
                self.session.send(self._own, bytes([StreamType.CONTROL]))
                domain = self.home.clock.domain
                self.tell(control.Welcome("s1", domain.boot_id, domain.anchor_us))
                self._tick()
            case control.Publish():
                self.home.publishes.append(message)
                code = self.home.refuse.get(message.track)
                if code:
                    self.tell(control.Error(code, f"{message.track}: {code}.", message.alias))
                    return
                self.tracks[message.alias] = message
                self.received[message.alias] = 0
                reliable = message.kind in ("chat", "data")
                last = self.home.last_seq.get(message.track, 0) if reliable else -1
                self.due[message.alias] = last
                self.tell(control.Published(message.alias, last))
            case control.Ping():
                now_us = self.home.clock.now_us()
                self.tell(control.Pong(message.t0_us, now_us, now_us))
            case control.Rejected():
                self.home.confirmed.append(message)
            case control.Offset():
                self.offset = Offset(message.offset_us, message.error_us)
            case control.Flush():
                self.flushes.append(message)
                self.tell(control.Flushed(self.counts()))
            case _:
                pass

    def _object(self, alias: int, obj: Object) -> None:
        track = self.tracks[alias]
        self.received[alias] += 1
        self.home.objects.setdefault(track.track, []).append(obj)
        if track.kind in ("chat", "data"):
            last = self.due[alias]
            first = self.received[alias] == 1
            fits = obj.seq > last if first else obj.seq == last + 1
            assert fits, f"{obj.seq} came behind {last}"
            self.due[alias] = obj.seq
            if obj.payload in self.home.reject:
                self.tell(control.Rejected(alias, obj.seq, "too-large", "It is too large."))
                return
            if self.home.receipts:
                self.home.last_seq[track.track] = obj.seq
                self.tell(control.Receipt(alias, obj.seq))

    def counts(self) -> dict[str, dict[str, int]]:
        return {str(alias): {"received": count} for alias, count in self.received.items()}

    def _tick(self) -> None:
        if self.over is None and self.home.stats_s:
            self.tell(control.Stats(self.counts()))
            self._timer = asyncio.get_running_loop().call_later(self.home.stats_s, self._tick)

    def stream_reset(self, stream: int, code: int) -> None:
        self.resets.append((stream, code))
        self.home.notify()

    def stream_stopped(self, stream: int, code: int) -> None:
        pass

    def datagram(self, data: bytes) -> None:
        pass

    def writable(self) -> None:
        pass

    def closed(self, code: int, reason: str) -> None:
        self.over = (code, reason)
        if self._timer is not None:
            self._timer.cancel()
        self.home.notify()


def make_certificate(folder: Path) -> Certificate:
    return create_certificate(folder)


@asynccontextmanager
async def serving(
    home: Standin, certificate: Certificate, port: int = 0
) -> AsyncIterator[tuple[Server, str]]:
    server = await serve("127.0.0.1", port, certificate, home)
    try:
        yield server, f"https://127.0.0.1:{server.address[1]}/wt"
    finally:
        await server.close(0, "test over")
