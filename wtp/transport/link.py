"""The WebTransport session on a QUIC connection; the same for both ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from aioquic.h3.connection import ProtocolError
from aioquic.h3.events import DataReceived, HeadersReceived, WebTransportStreamDataReceived
from aioquic.quic import events as quic_events

from wtp.errors import WireError
from wtp.transport import capsule
from wtp.transport.driver import H3_NO_ERROR
from wtp.transport.endpoint import Address
from wtp.transport.hardening import HardenedConnection
from wtp.transport.http3 import HardenedHttp
from wtp.transport.limits import Limits
from wtp.transport.outgoing import Outgoing
from wtp.transport.session import ABNORMAL, Session

logger = logging.getLogger(__name__)

H3_EXCESSIVE_LOAD = 0x107
H3_REQUEST_REJECTED = 0x10B
_EARLY_CHUNKS = 256
"""Chunks of streams that arrive before their session; more is an attack."""
_BIDI_REFUSALS = 64
"""Bidirectional WebTransport streams are refused; each leaks state in aioquic, so not many."""


class Owner(Protocol):
    """The server or client that owns links."""

    def cid_issued(self, cid: bytes, link: Link) -> None:
        """The peer may use this connection id from now on."""

    def cid_retired(self, cid: bytes) -> None:
        """The peer will not use this connection id any more."""

    def handshake_done(self, link: Link) -> None:
        """The TLS handshake is complete."""

    def headers_received(self, link: Link, event: HeadersReceived) -> None:
        """A request (server) or response (client) arrived."""

    def link_gone(self, link: Link, code: int, reason: str, transport: bool) -> None:
        """The connection is over; ``transport`` tells QUIC's own codes from applications'."""


class Link(Outgoing):
    """One QUIC connection and the session on it.

    Args:
        quic: The connection, not yet started.
        send: Sends datagrams.
        owner: Who is told about connection ids, headers and the end.
        limits: Caps and time-outs.
        peer: Address of the peer.
        fixed_mtu: Packet size that must not be probed, or 0.
    """

    def __init__(
        self,
        quic: HardenedConnection,
        send: Callable[[Sequence[tuple[bytes, Address]]], None],
        owner: Owner,
        limits: Limits,
        peer: Address,
        fixed_mtu: int,
    ) -> None:
        super().__init__(quic, send, limits, peer, fixed_mtu)
        self.http: HardenedHttp | None = None
        self.session: Session | None = None
        self.connect_stream = -1
        self.handshaken = False
        self._owner = owner
        self._linger: asyncio.TimerHandle | None = None
        self._capsules: capsule.CapsuleReader | None = None
        # Peer's streams: bytes of an incomplete header, None once they belong to the session.
        self._incoming: dict[int, bytes | None] = {}
        self._foreign: set[int] = set()  # peer's streams of HTTP/3 itself
        self._stopped: set[int] = set()
        self._early: list[tuple[int, bytes, bool]] = []
        self._unreleased_bytes = 0
        self._bidi_refused = 0

    # Events

    def _event(self, event: quic_events.QuicEvent) -> None:
        if isinstance(event, quic_events.StreamDataReceived):
            self._stream_data(event)
        elif isinstance(event, quic_events.DatagramFrameReceived):
            self._datagram(event.data)
        elif isinstance(event, quic_events.StreamReset):
            self._stream_reset(event)
        elif isinstance(event, quic_events.StopSendingReceived):
            self._stop_sending(event)
        elif isinstance(event, quic_events.ConnectionIdIssued):
            self._owner.cid_issued(event.connection_id, self)
        elif isinstance(event, quic_events.ConnectionIdRetired):
            self._owner.cid_retired(event.connection_id)
        elif isinstance(event, quic_events.ProtocolNegotiated):
            self.http = HardenedHttp(
                self.quic, self.limits.header_bytes, draft_14=self.limits.draft_14
            )
        elif isinstance(event, quic_events.HandshakeCompleted):
            self.handshaken = True
            self._owner.handshake_done(self)

    def _passed(self) -> None:
        if self.session is not None:
            self.session.flushed()

    @property
    def _wants_pings(self) -> bool:
        return self.session is not None

    def _over(self, code: int, reason: str, transport: bool) -> None:
        if self._linger is not None:
            self._linger.cancel()
        if self.session is not None:
            own = (ABNORMAL if code else 0) if transport else _session_code(code)
            self.session.end(own, reason)
            self.session.gone()
        self._owner.link_gone(self, code, reason, transport)

    def _stream_data(self, event: quic_events.StreamDataReceived) -> None:
        stream, data = event.stream_id, event.data
        if stream & 2 and stream not in self._foreign:
            if stream in self._incoming and self._incoming[stream] is None:
                self._session_data(stream, data, event.end_stream)
            else:
                self._new_stream(stream, data, event.end_stream)
            return
        self.quic.release(stream, len(data))
        if event.end_stream:
            self._foreign.discard(stream)
        if stream not in self._stopped:
            self._http_event(event)

    def _new_stream(self, stream: int, data: bytes, end: bool) -> None:
        """Read the header of a peer's unidirectional stream: type, and session when ours."""
        if stream not in self._incoming and self.quic.stream_count() > self.limits.open_streams:
            self.close(H3_EXCESSIVE_LOAD, "too many streams")
            return
        prefix = self._stream_prefix
        if prefix and stream not in self._incoming and data.startswith(prefix):
            self._incoming[stream] = None
            self.quic.release(stream, len(prefix))
            if end or len(data) > len(prefix):
                self._session_data(stream, data[len(prefix) :], end)
            return
        known = (self._incoming.get(stream) or b"") + data
        kind = capsule.decode_varint(known)
        if kind is not None and known[: kind[1]] != capsule.WEBTRANSPORT_UNI_STREAM:
            self._incoming.pop(stream, None)
            self._foreign.add(stream)
            self.quic.release(stream, len(known))
            self._http_event(quic_events.StreamDataReceived(known, end, stream))
            return
        header = capsule.decode_varint(known, kind[1]) if kind is not None else None
        if header is None:
            if end:
                self._incoming.pop(stream, None)
                self.quic.release(stream, len(known))
            else:
                self._incoming[stream] = known
            return
        self._incoming[stream] = None
        self.quic.release(stream, header[1])
        if self.connect_stream >= 0 and header[0] != self.connect_stream:
            self._stopped.add(stream)
            self._stop(stream, capsule.BUFFERED_STREAM_REJECTED)
        payload = known[header[1] :]
        if payload or end:
            self._session_data(stream, payload, end)

    def _session_data(self, stream: int, data: bytes, end: bool) -> None:
        if end:
            self._incoming.pop(stream, None)
        session = self.session
        if stream in self._stopped or (session is not None and session.ended):
            self.quic.release(stream, len(data))
            if end:
                self._stopped.discard(stream)
            return
        if session is None:
            self._early.append((stream, data, end))
            if len(self._early) > _EARLY_CHUNKS:
                self.close(H3_EXCESSIVE_LOAD, "no session")
            return
        self._unreleased_bytes += len(data)
        session.deliver_data(stream, data, end)

    def _stream_reset(self, event: quic_events.StreamReset) -> None:
        stream = event.stream_id
        self.quic.release_undelivered(stream)
        known = self._incoming.pop(stream, b"")
        if stream == self.connect_stream:
            self._http_event(event)
            self._session_over(_session_code(event.error_code), "the peer reset the session")
        elif stream in self._foreign or not stream & 2:
            self._http_event(event)
        elif known:
            self.quic.release(stream, len(known))
        elif known is None and self.session is None:
            kept = [chunk for chunk in self._early if chunk[0] != stream]
            dropped = sum(len(chunk[1]) for chunk in self._early) - sum(len(c[1]) for c in kept)
            self._early = kept
            self.quic.release(stream, dropped)
        elif known is None and stream not in self._stopped and self.session is not None:
            code = capsule.from_http_code(event.error_code)
            self.session.deliver(lambda events: events.stream_reset(stream, code))
        self._stopped.discard(stream)

    def _stop_sending(self, event: quic_events.StopSendingReceived) -> None:
        stream = event.stream_id
        if stream in self._outgoing:
            del self._outgoing[stream]
            self.quic.drop_stream(stream, event.error_code)
            if self.session is not None:
                code = capsule.from_http_code(event.error_code)
                self.session.deliver(lambda events: events.stream_stopped(stream, code))
            return
        self._http_event(event)
        if stream == self.connect_stream:
            self._session_over(_session_code(event.error_code), "the peer stopped the session")

    def _datagram(self, data: bytes) -> None:
        prefix = self._datagram_prefix
        if self.session is not None and prefix and data.startswith(prefix):
            payload = data[len(prefix) :]
            self.session.deliver(lambda events: events.datagram(payload))

    def _http_event(self, event: quic_events.QuicEvent) -> None:
        if self.http is None:
            return
        for found in self.http.handle_event(event):
            if isinstance(found, HeadersReceived):
                if found.stream_id == self.connect_stream and self._capsules is not None:
                    continue  # trailers
                self._owner.headers_received(self, found)
                if found.stream_ended:
                    self._connect_stream_ended(found.stream_id)
            elif isinstance(found, DataReceived):
                self._connect_data(found)
            elif isinstance(found, WebTransportStreamDataReceived):
                self._refuse_bidi(found.stream_id)

    def _refuse_bidi(self, stream: int) -> None:
        if stream in self._stopped:
            return
        self._stopped.add(stream)
        self._bidi_refused += 1
        if self._bidi_refused > _BIDI_REFUSALS:
            self.close(H3_EXCESSIVE_LOAD, "bidirectional streams are not used")
            return
        self._stop(stream, capsule.BUFFERED_STREAM_REJECTED)
        self.quic.drop_stream(stream, capsule.BUFFERED_STREAM_REJECTED)

    def _connect_data(self, event: DataReceived) -> None:
        if event.stream_id != self.connect_stream or self._capsules is None:
            return
        try:
            closed = self._capsules.feed(event.data)
        except WireError as error:
            self.close_session(error.close_code, error.message)
            self._session_over(error.close_code, error.message)
            return
        if closed is not None:
            self._session_over(*closed)
        elif event.stream_ended:
            self._connect_stream_ended(event.stream_id)

    def _connect_stream_ended(self, stream: int) -> None:
        if stream == self.connect_stream:
            self._session_over(0, "")

    def _session_over(self, code: int, reason: str) -> None:
        """The peer ended the session: answer with FIN, tell the application, then linger."""
        if self.session is None:
            return
        self._capsules = None
        for stream in self._outgoing:
            self.quic.drop_stream(stream, capsule.SESSION_GONE)
        self._outgoing.clear()
        self._end_connect_stream(b"")
        self.session.end(code, reason)
        if self.quic.configuration.is_client:
            self.close()
        else:
            self._start_linger()

    def _start_linger(self) -> None:
        if self._linger is None and not self.gone:
            self._linger = self._loop.call_later(self.limits.linger_s, self.close)

    def _end_connect_stream(self, data: bytes) -> None:
        if self.http is None:
            return
        try:
            self.http.send_data(self.connect_stream, data, end_stream=True)
        except (ProtocolError, ValueError, RuntimeError):  # after STOP_SENDING or a FIN
            logger.debug("the CONNECT stream is closed already")
        self.touch()

    # Setting up

    def start_session(self, session: Session, stream: int) -> None:
        """Bind the session to its CONNECT stream and deliver what came early."""
        self.session = session
        self.connect_stream = stream
        self._capsules = capsule.CapsuleReader()
        self.bind(stream)

    def deliver_early(self) -> None:
        """Deliver the stream data that overtook the CONNECT exchange."""
        early, self._early = self._early, []
        for stream, data, end in early:
            self._session_data(stream, data, end)

    # What a session asks for

    def stop(self, stream: int, code: int) -> None:
        """See ``Session.stop``."""
        if stream in self._incoming and stream not in self._stopped:
            self._stopped.add(stream)
            self._stop(stream, capsule.to_http_code(code))

    def _stop(self, stream: int, code: int) -> None:
        if self.quic.has_stream(stream):
            self.quic.stop_stream(stream, code)
            self.touch()

    def release(self, stream: int, count: int) -> None:
        """See ``Session.release``."""
        count = min(count, self._unreleased_bytes)
        self._unreleased_bytes -= count
        if self.quic.release(stream, count):
            self.touch()

    def close_session(self, code: int, reason: str) -> None:
        """See ``Session.close``."""
        self._end_connect_stream(capsule.encode_close(code, reason))
        self._start_linger()


def _session_code(code: int) -> int:
    """Map the code of a QUIC close or reset to a session's: plain ends are 0."""
    if code in (0, H3_NO_ERROR, capsule.SESSION_GONE):
        return 0
    return capsule.from_http_code(code)
