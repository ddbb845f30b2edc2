"""One session as the router sees it: who it is, what it sends, what it is told."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from wtp import __version__
from wtp.clock import Clock, Offset
from wtp.config.schema import Settings
from wtp.errors import Refused, UsageError, WireError, WtpError
from wtp.model import Kind, Object, Track, check_name
from wtp.router.legacy import LegacyTracks
from wtp.router.rooms import Rooms, Spawn
from wtp.router.routes import ReliableRoute, Route
from wtp.transport.session import Session
from wtp.wire import StreamType, control, stream_type
from wtp.wire.legacy import HEADER as LEGACY_HEADER
from wtp.wire.legacy import LegacyParser
from wtp.wire.objects import ObjectParser, decode_whole

log = logging.getLogger("wtp.router")

MAX_PARTIAL_BYTES = 16 * 1024 * 1024
"""Bytes of half-arrived objects that one session may hold: four of the largest."""
MAX_UNREAD_BYTES = 1024 * 1024
"""Control messages that may wait for a client to read them."""
FLUSH_ARRIVAL_S = 3.0
"""How long a flush waits for streams that were sent before it and have not arrived."""
LEGACY_NAME = "legacy-"
"""How the names of publishers start that never say hello."""
MAX_SENTENCE = 1000
"""Characters of a sentence for the client: a control message is bounded."""
PROOF_S = 2.0
"""How long a client may be silent when another one wants its track."""
TAKEN_OVER = 0x30
"""Close code for a session whose publisher came back with another one."""


@dataclass(slots=True)
class Incoming:
    """One incoming stream: its parser, and what of it waits for credit.

    A stream that ended stays until its credit could be given back.
    """

    parser: ObjectParser | LegacyParser | control.ControlParser
    kind: StreamType
    partial_bytes: int = 0
    withheld_bytes: int = 0
    routes: set[ReliableRoute] = field(default_factory=set)
    ended: bool = False


class Peer:
    """Implements `SessionEvents` and `Owner`.

    Args:
        session: The WebTransport session.
        rooms: Where tracks live.
        clock: The router's clock.
        settings: Profile.
        spawn: Starts an owned task.
        gone: Called once when the session is over.
        refused: Counter of what was refused, by reason, shared by all sessions.
    """

    def __init__(
        self,
        session: Session,
        rooms: Rooms,
        clock: Clock,
        settings: Settings,
        spawn: Spawn,
        gone: Callable[[Peer], None],
        refused: Counter[str],
    ) -> None:
        self.id = secrets.token_hex(4)
        self.room = check_name("room", session.query.get("room") or settings.rooms.room)
        self.name = LEGACY_NAME + self.id
        self.instance = ""
        self.offset: Offset | None = None
        self.routes: dict[int, Route] = {}
        self.session = session
        self._rooms = rooms
        self._clock = clock
        self._settings = settings
        self._spawn = spawn
        self._gone = gone
        self._refused = refused
        self._streams: dict[int, Incoming] = {}
        self._partial_bytes = 0
        self._control: int | None = None
        self._greeted = False
        self._flushing: dict[str, int] | None = None
        self._claiming: set[int] = set()
        self._legacy = LegacyTracks(self, rooms, settings, spawn, refused, self._end)
        self._receipts: set[Route] = set()
        self._heard = asyncio.Event()
        self._closed = False

    # SessionEvents

    def stream_data(self, stream: int, data: bytes, end: bool) -> None:
        """Bytes of a stream; an error closes this session and no other."""
        self._heard.set()
        incoming = self._streams.get(stream)
        if incoming is None:
            if not data or (end and self._take_whole(stream, data)):
                return
            incoming = self._new_stream(data[0])
            self._streams[stream] = incoming
            if incoming.kind is not StreamType.LEGACY:
                data = data[1:]
                self.session.release(stream, 1)
        self._feed(stream, incoming, data)
        if end:
            self._stream_over(stream)
            if not isinstance(incoming.parser, control.ControlParser) and incoming.parser.partial:
                raise WireError("A stream ended inside an object.", code="half-object")

    def stream_reset(self, stream: int, code: int) -> None:
        """The sender dropped the rest of a group; whole objects of it were taken already."""
        self._stream_over(stream)

    def stream_stopped(self, stream: int, code: int) -> None:
        """The client does not want our control stream: without it there is no session."""
        if stream == self._control:
            self._control = None
            self.session.close(WireError.close_code, "the control stream was refused")

    def datagram(self, data: bytes) -> None:
        """Datagrams carry nothing yet."""
        self._refused["datagram"] += 1

    def writable(self) -> None:
        """Control messages are few: nothing waits for this."""

    def closed(self, code: int, reason: str) -> None:
        """The session is over."""
        self._closed = True
        self._heard.set()
        log.info("session %s (%s) ended: code %d %.200r", self.id, self.name, code, reason)
        self._streams.clear()
        self._rooms.leave(self)
        self._gone(self)

    # Owner

    def receipted(self, route: Route) -> None:
        """Tell the client, once per turn of the loop, and give credit back."""
        if self._closed:
            return
        if not self._receipts:
            asyncio.get_running_loop().call_soon(self._send_receipts)
        self._receipts.add(route)

    def rejected(self, route: Route, seq: int, code: str, message: str) -> None:
        """Tell the client, after the receipts of what came before."""
        self._refused[code] += 1
        alias = next((alias for alias, one in self.routes.items() if one is route), None)
        if alias is not None:
            self._send_receipts()
            self.tell(control.Rejected(alias, seq, code, message[:MAX_SENTENCE]))
        elif isinstance(route, ReliableRoute) and self._control is None:  # it can never answer
            asyncio.get_running_loop().call_soon(route.confirmed, seq)

    def want_key(self, route: Route) -> bool:
        """Ask the client for a key object; those of the original framing cannot be asked."""
        alias = next((alias for alias, one in self.routes.items() if one is route), None)
        if alias is None or self._control is None or self._closed:
            return False
        self.tell(control.Keyframe(alias))
        return True

    async def answers(self) -> bool:
        """Whether the client is there: a killed one is silent long before QUIC gives it up."""
        self._heard.clear()
        self.tell(control.Ping(self._clock.now_us()))
        try:
            async with asyncio.timeout(PROOF_S):
                await self._heard.wait()
        except TimeoutError:
            return False
        return not self._closed

    def replaced(self) -> None:
        """The publisher came back with another session."""
        self.routes.clear()
        self.session.close(TAKEN_OVER, "taken over by a newer session of this publisher")

    @property
    def over(self) -> bool:
        """Whether the session has ended."""
        return self._closed

    def _end(self, error: WtpError) -> None:
        self.session.close(error.close_code, error.message)

    # Outgoing

    def tell(self, message: control.Message) -> None:
        """Send a control message; nothing happens before `hello` or after the end."""
        if self._control is None or self._closed:
            return
        if self.session.backlog(self._control) > MAX_UNREAD_BYTES:
            self._control = None
            self.session.close(WireError.close_code, "the client does not read")
            return
        self.session.send(self._control, control.encode(message))

    def tell_stats(self) -> None:
        """Send what was counted of this session's tracks."""
        if self.routes:
            self.tell(control.Stats(self._counts()))

    def _counts(self) -> dict[str, dict[str, int]]:
        return {
            str(alias): {
                "received": route.received,
                "delivered": route.ledger.delivered,
                "dropped": route.ledger.dropped_total,
                "queued": route.ledger.in_flight,
            }
            for alias, route in self.routes.items()
        }

    def _send_receipts(self) -> None:
        routes, self._receipts = self._receipts, set()
        for alias, route in self.routes.items():
            if route in routes:
                self.tell(control.Receipt(alias, route.last_seq))
        for stream, incoming in list(self._streams.items()):
            if incoming.withheld_bytes and not self._full(incoming):
                self.session.release(stream, incoming.withheld_bytes)
                incoming.withheld_bytes = 0
                if incoming.ended:
                    del self._streams[stream]

    # Incoming

    def _new_stream(self, first: int) -> Incoming:
        if len(self._streams) >= self._settings.router.limits.streams_per_session:
            raise Refused("Too many streams are open.", code="too-many-streams")
        kind = stream_type(first)
        if kind is StreamType.LEGACY:
            return Incoming(LegacyParser(), kind)
        if kind is StreamType.OBJECTS:
            return Incoming(ObjectParser(), kind)
        if any(s.kind is StreamType.CONTROL for s in self._streams.values()):
            raise WireError("A session has one control stream.", code="control")
        return Incoming(control.ControlParser(), kind)

    def _take_whole(self, stream: int, data: bytes) -> bool:
        """Take a stream that came at once and is one live object; False when it is another."""
        item = decode_whole(data, 1) if data[0] == StreamType.OBJECTS else None
        if item is None or item.obj.kind.reliable:
            return False
        route = self.routes.get(item.alias)
        if route is None or route.kind is not item.obj.kind:
            self._refused["unknown-track"] += 1
        else:
            route.offer(item.obj)
        self.session.release(stream, len(data))
        return True

    def _feed(self, stream: int, incoming: Incoming, data: bytes) -> None:
        incoming.partial_bytes += len(data)
        self._partial_bytes += len(data)
        parser = incoming.parser
        taken = 0
        if isinstance(parser, ObjectParser):
            for item in parser.feed(data):
                taken += item.wire_bytes
                self._object(incoming, item.alias, item.obj)
        elif isinstance(parser, LegacyParser):
            for message in parser.feed(data):
                taken += LEGACY_HEADER.size + len(message.payload)
                route = self._legacy.take(message)
                if isinstance(route, ReliableRoute):
                    incoming.routes.add(route)
        else:
            for order in parser.feed(data):
                self._order(order)
            taken = incoming.partial_bytes
        incoming.partial_bytes -= taken
        self._partial_bytes -= taken
        if self._partial_bytes > MAX_PARTIAL_BYTES:
            raise WireError("Too many half objects are on their way.", code="too-much-partial")
        if self._full(incoming):
            incoming.withheld_bytes += len(data)
        else:
            self.session.release(stream, len(data))

    def _full(self, incoming: Incoming) -> bool:
        """Whether a reliable track waits for so many receipts that its sender must wait too."""
        bound = self._settings.router.limits.reliable_buffer_bytes
        return any(route.kept_bytes > bound for route in incoming.routes)

    def _stream_over(self, stream: int) -> None:
        incoming = self._streams.get(stream)
        if incoming is None or incoming.ended:
            return
        incoming.ended = True
        self._partial_bytes -= incoming.partial_bytes
        if not incoming.withheld_bytes:
            del self._streams[stream]

    def _object(self, incoming: Incoming, alias: int, obj: Object) -> None:
        route = self.routes.get(alias)
        if route is None or route.kind is not obj.kind:
            self._refused["unknown-track"] += 1
            return
        route.offer(obj)
        if isinstance(route, ReliableRoute):
            incoming.routes.add(route)

    def _order(self, message: control.Message) -> None:
        match message:
            case control.Hello():
                self._hello(message)
            case control.Publish() if self._greeted:
                self._publish(message)
            case control.Ping():
                now_us = self._clock.now_us()
                self.tell(control.Pong(message.t0_us, now_us, self._clock.now_us()))
            case control.Offset():
                known = message.error_us >= 0
                self.offset = Offset(message.offset_us, message.error_us) if known else None
            case control.Flush():
                if self._flushing is None:
                    self._spawn(self._flush())
                self._flushing = message.sent
            case control.Rejected():
                route = self.routes.get(message.alias)
                if isinstance(route, ReliableRoute):
                    route.confirmed(message.seq)
            case control.Error():
                log.warning("session %s says: %.200r", self.id, message.message)
            case control.Pong() | control.Stats():
                pass
            case _:
                raise WireError(
                    f"A {type(message).__name__.lower()} message is out of place.", code="control"
                )

    def _hello(self, message: control.Hello) -> None:
        if self._greeted:
            raise WireError("A second hello.", code="control")
        if message.name.startswith(LEGACY_NAME):
            raise Refused(
                f"Names that start with {LEGACY_NAME} belong to the original framing.",
                hint="Choose another --name.",
                code="name-taken",
            )
        self._greeted = True
        self.name = check_name("publisher", message.name)
        if message.instance:
            self.instance = check_name("instance", message.instance)
        self._control = self.session.open_stream()
        self.session.send(self._control, bytes([StreamType.CONTROL]))
        domain = self._clock.domain
        self.tell(
            control.Welcome(self.id, domain.boot_id, domain.anchor_us, __version__, self.room)
        )
        log.info("session %s is %s in room %s", self.id, self.name, self.room)

    def _publish(self, message: control.Publish) -> None:
        alias = message.alias
        try:
            if alias in self.routes or alias in self._claiming:
                raise Refused(f"Alias {alias} is in use.", code="alias")
            if len(self.routes) + len(self._claiming) >= self._most_tracks:
                raise Refused("Too many tracks in one session.", code="too-many-tracks")
            if message.kind not in Kind.__members__.values():
                raise Refused(
                    f"There is no kind {message.kind!r}.", hint=f"Kinds: {', '.join(Kind)}.",
                    code="kind",
                )  # fmt: skip
            track = Track(self.room, self.name, check_name("track", message.track))
        except (Refused, UsageError) as error:
            self._refuse(alias, error)
            return
        self._claiming.add(alias)
        self._spawn(self._claim(alias, track, Kind(message.kind), message.content_type[:256]))

    @property
    def _most_tracks(self) -> int:
        return self._settings.router.limits.tracks_per_session

    async def _claim(self, alias: int, track: Track, kind: Kind, content_type: str) -> None:
        try:
            route = await self._rooms.claim(track, kind, content_type, self)
        except WtpError as error:
            self._refuse(alias, error)
            return
        finally:
            self._claiming.discard(alias)
        if self._closed:
            self._rooms.leave(self)
            return
        self.routes[alias] = route
        log.info("track %s: %s, last sequence %d", track, content_type, route.last_seq)
        self.tell(control.Published(alias, route.last_seq))

    def _refuse(self, alias: int, error: WtpError) -> None:
        self._refused[error.code] += 1
        self.tell(control.Error(error.code, str(error), alias))

    async def _flush(self) -> None:
        """Answer once what was sent, by the latest word, has arrived and been handed on."""
        loop = asyncio.get_running_loop()
        end = loop.time() + FLUSH_ARRIVAL_S
        routes = dict(self.routes)
        while not self._closed:
            late = [
                route
                for alias, route in routes.items()
                if route.received < (self._flushing or {}).get(str(alias), 0) and loop.time() < end
            ]
            if not late and not any(route.ledger.in_flight for route in routes.values()):
                break
            await asyncio.sleep(0.005)
        self._flushing = None
        self.tell(control.Flushed(self._counts()))
