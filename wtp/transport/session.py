"""One WebTransport session as the application sees it, the same on both ends."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from wtp.errors import ConnectionFailed, WtpError
from wtp.transport.limits import Limits

logger = logging.getLogger(__name__)

ABNORMAL = 0x1
"""Close code of ends that carry none of their own: time-outs, transport errors, bugs."""

CONTROL, URGENT, LIVE, BULK = 0, 1, 2, 3
"""Ranks of streams: what is ready of a lower number is sent first (see ``fastpath``). A session
that carries `URGENT` or `LIVE` streams keeps the network's queue short (see ``congestion``)."""

_ids = itertools.count(1)


@runtime_checkable
class SessionEvents(Protocol):
    """What the application gives. Everything is called on the event loop and must not block.

    A ``WtpError`` raised by one of them closes the session with that error's close code and
    message; any other exception is logged and closes it with code 1.
    """

    def stream_data(self, stream: int, data: bytes, end: bool) -> None:
        """Bytes of an incoming unidirectional stream, in order; call ``Session.release``."""

    def stream_reset(self, stream: int, code: int) -> None:
        """The peer reset its stream; undelivered bytes are gone."""

    def stream_stopped(self, stream: int, code: int) -> None:
        """The peer does not want more of one of our streams; it is reset already."""

    def datagram(self, data: bytes) -> None:
        """A datagram of the peer."""

    def writable(self) -> None:
        """The send backlog fell below low water after having been above high water."""

    def closed(self, code: int, reason: str) -> None:
        """The session is over; called exactly once, whatever ended it."""


@dataclass(frozen=True, slots=True)
class SessionStats:
    """A snapshot of one connection.

    Attributes:
        rtt_ms: Smoothed round-trip time, 0 before the first sample.
        min_rtt_ms: Smallest round-trip time seen.
        bytes_sent: UDP payload bytes sent.
        bytes_received: UDP payload bytes received.
        packets_lost: QUIC packets declared lost.
        datagram_bytes: Largest UDP payload in use now.
        streams_open: QUIC streams alive, both sides, HTTP/3's own included.
        base_rtt_ms: Round-trip time without a queue, of the last 10 to 20 s.
        peak_rtt_ms: Longest round trip of the last 0.2 to 0.4 s.
        delivered_bytes: UDP payload bytes that the peer has acknowledged.
    """

    rtt_ms: float
    min_rtt_ms: float
    bytes_sent: int
    bytes_received: int
    packets_lost: int
    datagram_bytes: int
    streams_open: int
    base_rtt_ms: float = 0.0
    peak_rtt_ms: float = 0.0
    delivered_bytes: int = 0


class Carrier(Protocol):
    """What a session needs of the connection below it."""

    def open_stream(self, rank: int, after: int | None) -> int:
        """See ``Session``."""

    def send(self, stream: int, data: bytes, end: bool) -> None:
        """See ``Session``."""

    def reset(self, stream: int, code: int) -> None:
        """See ``Session``."""

    def stop(self, stream: int, code: int) -> None:
        """See ``Session``."""

    def release(self, stream: int, count: int) -> None:
        """See ``Session``."""

    def backlog(self, stream: int | None) -> int:
        """See ``Session``."""

    def send_datagram(self, data: bytes) -> bool:
        """See ``Session``."""

    def close_session(self, code: int, reason: str) -> None:
        """Send the close capsule and FIN, and close the connection shortly after."""

    def stats(self) -> SessionStats:
        """See ``Session``."""


class Session:
    """One WebTransport session, either end.

    Attributes:
        id: Number of the session, unique in this process.
        path: Path of the request, without the query.
        query: Decoded query of the request; never log it, it carries tokens.
        headers: Request headers (server) or response headers (client), lower-case names.
        peer: Address and port of the other end at the start.
        origin: Origin header of the request, empty when absent.
        protocol: Agreed sub-protocol, ``wtp1`` or empty.
    """

    __slots__ = (
        "_above_high",
        "_carrier",
        "_ended",
        "_events",
        "_gone",
        "_limits",
        "_sent_since",
        "_waiters",
        "headers",
        "id",
        "origin",
        "path",
        "peer",
        "protocol",
        "query",
    )

    def __init__(
        self,
        carrier: Carrier,
        limits: Limits,
        *,
        path: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        peer: tuple[str, int],
        protocol: str,
    ) -> None:
        self.id = next(_ids)
        self.path = path
        self.query = query
        self.headers = headers
        self.peer = peer
        self.origin = headers.get("origin", "")
        self.protocol = protocol
        self._carrier = carrier
        self._limits = limits
        self._events: SessionEvents | None = None
        self._ended = False
        self._gone: asyncio.Event | None = None
        self._above_high = False
        self._sent_since = 0
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []

    # For the application

    def open_stream(self, rank: int = BULK, after: int | None = None) -> int:
        """Open a unidirectional stream and return its id.

        Args:
            rank: ``CONTROL``, ``URGENT`` (sound), ``LIVE`` (pictures) or ``BULK``: which streams
                go first when they do not all fit.
            after: A stream of the same rank that this one is not sent before; where packets are
                lost it may arrive earlier all the same.

        Raises:
            Refused: The peer gives no more credit, or too many of ours are alive
                (code ``stream-limit``).
            ConnectionFailed: The session is over.
        """
        self._check_open()
        return self._carrier.open_stream(rank, after)

    def send(self, stream: int, data: bytes, end: bool = False) -> None:
        """Queue bytes on a stream; never blocks. Bytes for a stopped stream are dropped.

        Raises:
            ConnectionFailed: The session is over.
        """
        self._check_open()
        self._carrier.send(stream, data, end)
        self._sent_since += len(data)
        if self._sent_since > self._limits.send_high_bytes:
            self._sent_since = self._carrier.backlog(None)
            self._above_high |= self._sent_since > self._limits.send_high_bytes

    def reset(self, stream: int, code: int) -> None:
        """Abort one of our streams; what is unsent of it is dropped."""
        if not self._ended:
            self._carrier.reset(stream, code)

    def stop(self, stream: int, code: int) -> None:
        """Ask the peer to stop sending; its further bytes are dropped and released."""
        if not self._ended:
            self._carrier.stop(stream, code)

    def release(self, stream: int, count: int) -> None:
        """Say that ``count`` delivered bytes were consumed, which lets the peer send as many."""
        if not self._ended:
            self._carrier.release(stream, count)

    def backlog(self, stream: int | None = None) -> int:
        """Bytes taken by ``send`` and not acknowledged: of one stream, or of the session."""
        return 0 if self._ended else self._carrier.backlog(stream)

    async def drained(self, below_bytes: int = 0) -> None:
        """Wait until ``backlog() <= below_bytes``.

        Raises:
            ConnectionFailed: The session ended first.
        """
        self._check_open()
        if self._carrier.backlog(None) <= below_bytes:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (below_bytes, waiter)
        self._waiters.append(entry)
        try:
            await waiter
        finally:
            if entry in self._waiters:
                self._waiters.remove(entry)

    def send_datagram(self, data: bytes) -> bool:
        """Queue a datagram; False when it does not fit, is not wanted or the queue is full."""
        return not self._ended and self._carrier.send_datagram(data)

    def close(self, code: int = 0, reason: str = "") -> None:
        """End the session: close capsule and FIN now, QUIC close shortly after.

        Undelivered data may be lost: ask the peer for a receipt before.
        """
        if self._ended:
            return
        self._carrier.close_session(code, reason)
        asyncio.get_running_loop().call_soon(self.end, code, reason)

    async def wait_closed(self) -> None:
        """Wait until the connection below is gone."""
        if self._gone is None:
            self._gone = asyncio.Event()
        await self._gone.wait()

    @property
    def stats(self) -> SessionStats:
        """Figures of the connection at this moment."""
        return self._carrier.stats()

    # For the connection

    @property
    def ended(self) -> bool:
        """Whether ``closed`` was reported."""
        return self._ended

    def attach(self, events: SessionEvents) -> None:
        """Set the receiver of everything that happens."""
        self._events = events

    def deliver(self, call: Callable[[SessionEvents], None]) -> None:
        """Call the application; its faults end this session and nothing else."""
        if self._events is None or self._ended:
            return
        try:
            call(self._events)
        except WtpError as error:
            self.close(error.close_code, error.message)
        except Exception:
            logger.exception("session %d: fault in the application", self.id)
            self.close(ABNORMAL, "internal error")

    def deliver_data(self, stream: int, data: bytes, end: bool) -> None:
        """Hand bytes of a stream to the application."""
        events = self._events
        if events is None or self._ended:
            return
        try:
            events.stream_data(stream, data, end)
        except WtpError as error:
            self.close(error.close_code, error.message)
        except Exception:
            logger.exception("session %d: fault in the application", self.id)
            self.close(ABNORMAL, "internal error")

    def flushed(self) -> None:
        """Wake those who wait for the backlog to fall; called after each pass."""
        if not (self._above_high or self._waiters):
            return
        backlog = self._carrier.backlog(None)
        for below_bytes, waiter in self._waiters:
            if backlog <= below_bytes and not waiter.done():
                waiter.set_result(None)
        if self._above_high and backlog <= self._limits.send_low_bytes:
            self._above_high = False
            self._sent_since = backlog
            self.deliver(lambda events: events.writable())

    def end(self, code: int, reason: str) -> None:
        """Report the end once and fail those who wait."""
        if self._ended:
            return
        self._ended = True
        for _, waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(self._over())
        if self._events is None:
            return
        try:
            self._events.closed(code, reason)
        except Exception:
            logger.exception("session %d: fault in the application", self.id)

    def gone(self) -> None:
        """Report that the connection below is gone."""
        if self._gone is None:
            self._gone = asyncio.Event()
        self._gone.set()

    def _check_open(self) -> None:
        if self._ended:
            raise self._over()

    def _over(self) -> ConnectionFailed:
        return ConnectionFailed(
            "The session is over.", hint="Connect again.", code="session-closed"
        )
