"""Drives one QUIC connection: datagrams, passes, timers, packet size; knows no WebTransport.

One touch of a connection is one event pass, one transmit, and one more event pass, because aioquic
issues connection ids while it builds packets; a peer may use such an id at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from aioquic.quic import events as quic_events

from wtp.transport.endpoint import Address, is_loopback, plain_address
from wtp.transport.hardening import HardenedConnection
from wtp.transport.limits import (
    MTU_ETHERNET_BYTES,
    MTU_LOOPBACK_BYTES,
    MTU_START_BYTES,
    Limits,
)
from wtp.transport.session import ABNORMAL

logger = logging.getLogger(__name__)

H3_NO_ERROR = 0x100
_PROBE_ATTEMPTS = 3


class Driver:
    """One QUIC connection.

    Args:
        quic: The connection, not yet started.
        send: Sends datagrams.
        limits: Caps and time-outs.
        peer: Address of the peer.
        fixed_mtu: Packet size that must not be probed, or 0.

    Attributes:
        peer: Address of the peer now.
        first_peer: Address it came from first.
        heard: Whether anything came from it.
        heard_s: Loop time of the last datagram.
        born_s: Loop time of its creation.
        closing: Whether this side closes it.
        gone: Whether it is over.
    """

    def __init__(
        self,
        quic: HardenedConnection,
        send: Callable[[Sequence[tuple[bytes, Address]]], None],
        limits: Limits,
        peer: Address,
        fixed_mtu: int,
    ) -> None:
        self.quic = quic
        self.limits = limits
        self.peer: Address = peer
        self.first_peer: Address = peer
        self.heard = False
        self.gone = False
        self.closing = False
        self._send = send
        self._fixed_mtu = fixed_mtu
        self._loop = asyncio.get_running_loop()
        self.born_s = self.heard_s = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._scheduled: asyncio.Handle | None = None
        self._in_pass = False
        self._dirty = False
        self._probes: dict[int, int] = {}
        quic.probe_lost = self._probe_again

    def receive(self, data: bytes, address: Address, now: float) -> None:
        """Take one datagram; ``flush`` must follow."""
        self.heard_s = now
        self.heard = True
        self.quic.bytes_received += len(data)
        try:
            self.quic.receive_datagram(data, address, now)
        except Exception:
            logger.exception("connection of %s: fault in QUIC", plain_address(address))
            self.abort("internal error")

    def touch(self) -> None:
        """Ask for a flush in this turn of the loop; many touches make one flush."""
        if self._in_pass:
            self._dirty = True
        elif self._scheduled is None and not self.gone:
            self._scheduled = self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """One event pass, one transmit, one event pass; then the timer."""
        if self._scheduled is not None:
            self._scheduled.cancel()
            self._scheduled = None
        if self.gone or self._in_pass:
            return
        self._in_pass = True
        self._dirty = False
        try:
            self._pass_events()
            self._transmit(self._loop.time())
            self._pass_events()
            self._notice_end()
        except Exception:
            logger.exception("connection of %s: fault in QUIC", plain_address(self.peer))
            self.abort("internal error")
        finally:
            self._in_pass = False
        if self.gone:
            return
        self._passed()
        if self._dirty:
            self.touch()
        self._arm()

    def _pass_events(self) -> None:
        next_event = self.quic.next_event
        event = next_event()
        while event is not None and not self.gone:
            if isinstance(event, quic_events.ConnectionTerminated):
                transport = event.frame_type is not None
                self._finish(event.error_code, event.reason_phrase, transport=transport)
            else:
                self._event(event)
            event = next_event()

    def _transmit(self, now: float) -> None:
        datagrams = self.quic.datagrams_to_send(now)
        if datagrams:
            self.quic.bytes_sent += sum(len(data) for data, _ in datagrams)
            self._send(datagrams)
        if self.quic.more_to_send:
            self._dirty = True

    def _notice_end(self) -> None:
        """Forget a closed connection at once; late packets get a stateless reset."""
        ended = self.quic.termination()
        if ended is not None:
            transport = ended.frame_type is not None
            self._finish(ended.error_code, ended.reason_phrase, transport=transport)

    def _arm(self) -> None:
        at = self.quic.get_timer()
        if at is None:
            return
        if self._timer is not None:
            # A timer that fires too early re-arms itself: cheaper than cancelling each time.
            if self._timer.when() <= at:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(at, self._timer_fired)

    def _timer_fired(self) -> None:
        self._timer = None
        if self.gone:
            return
        at = self.quic.get_timer()
        now = self._loop.time()
        if at is None:
            return
        if at > now + 0.0005:
            self._arm()
            return
        try:
            self.quic.handle_timer(max(now, at))
        except Exception:
            logger.exception("connection of %s: fault in QUIC", plain_address(self.peer))
            self.abort("internal error")
        self.flush()

    def abort(self, reason: str) -> None:
        """Forget the connection without a word to the peer."""
        self._finish(ABNORMAL, reason, transport=True)

    def close(self, code: int = H3_NO_ERROR, reason: str = "") -> None:
        """Close the QUIC connection with an application code."""
        if not self.gone:
            self.quic.close(error_code=code, reason_phrase=reason)
            self.closing = True
            self.touch()

    def _finish(self, code: int, reason: str, *, transport: bool) -> None:
        if self.gone:
            return
        self.gone = True
        for handle in (self._timer, self._scheduled):
            if handle is not None:
                handle.cancel()
        self._over(code, reason, transport)

    # What the session layer does with it

    def _event(self, event: quic_events.QuicEvent) -> None:
        """Take one event of QUIC."""
        raise NotImplementedError

    def _passed(self) -> None:
        """A pass is complete: acknowledgements may have lowered the backlog."""

    def _over(self, code: int, reason: str, transport: bool) -> None:
        """The connection is over; ``transport`` tells QUIC's own codes from applications'."""

    @property
    def _wants_pings(self) -> bool:
        return True

    # Packet size and signs of life

    def start_probing(self) -> None:
        """Probe larger packets, once per candidate size, unless the size is fixed."""
        if self._fixed_mtu:
            return
        sizes = [MTU_ETHERNET_BYTES]
        if is_loopback(str(self.peer[0])):
            sizes.append(MTU_LOOPBACK_BYTES)
        self._probes = dict.fromkeys(sizes, _PROBE_ATTEMPTS)
        for size in sizes:
            self._probe(size)

    def _probe(self, size_bytes: int) -> None:
        if self.gone or self.closing:
            return
        self._probes[size_bytes] -= 1
        datagrams = self.quic.build_probe(size_bytes, self._loop.time())
        if datagrams:
            self._send(datagrams)
            self.touch()

    def _probe_again(self, size_bytes: int) -> None:
        if self._probes.get(size_bytes, 0) > 0 and size_bytes > self.quic.mtu_bytes:
            self._loop.call_soon(self._probe, size_bytes)

    def tend(self, now: float) -> None:
        """Regular care, about once a second: sign of life, packet size after a move."""
        if self.gone or self.closing:
            return
        if self._wants_pings and now - self.heard_s >= self.limits.ping_s:
            self.quic.send_ping(0)
            self.touch()
        if self._fixed_mtu:
            return
        address = self.quic.get_peer_address()
        if address is not None and address != self.peer:
            self.peer = address
            self.quic.set_mtu(MTU_START_BYTES)
            self.start_probing()
        elif self.quic.black_hole():
            self._probes.clear()
            self.quic.set_mtu(MTU_START_BYTES)
