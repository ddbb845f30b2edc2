"""The server's socket: routes datagrams to connections, admits new ones, refuses floods cheaply."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Sequence

from aioquic.buffer import Buffer  # type: ignore[attr-defined]  # re-exported from C
from aioquic.h3.events import HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.packet import (
    QuicHeader,
    QuicPacketType,
    QuicProtocolVersion,
    encode_quic_retry,
    encode_quic_version_negotiation,
    pull_quic_header,
)
from aioquic.quic.retry import QuicRetryTokenHandler

from wtp.transport.driver import H3_NO_ERROR
from wtp.transport.endpoint import Address, Endpoint, bind_udp, is_loopback, plain_address
from wtp.transport.hardening import (
    CID_BYTES,
    RESET_TOKEN_BYTES,
    HardenedConnection,
    reset_token,
)
from wtp.transport.limits import Limits
from wtp.transport.link import Link

VERSIONS: list[int] = [QuicProtocolVersion.VERSION_1]
"""QUIC versions spoken."""
_INITIAL_MIN_BYTES = 1200  # RFC 9000 section 14.1
_RESET_MIN_BYTES = 21 + RESET_TOKEN_BYTES  # smaller datagrams could start a reset loop
_RESETS_PER_SWEEP = 200


class Listener:
    """Owns the socket and every connection on it.

    Args:
        configuration: For new connections.
        limits: Caps and time-outs.
        retry: Validate every address before any state is kept.
        mtu: Fixed packet size in bytes, or 0 to probe.
        key: Key of the stateless reset tokens.
    """

    def __init__(
        self,
        configuration: QuicConfiguration,
        limits: Limits,
        *,
        retry: bool,
        mtu: int,
        key: bytes,
    ) -> None:
        self.address: tuple[str, int] = ("", 0)
        self.counters: Counter[str] = Counter()
        self._configuration = configuration
        self._limits = limits
        self._retry = retry
        self._mtu = mtu
        self._key = key
        self._retry_tokens = QuicRetryTokenHandler()
        self._loop = asyncio.get_running_loop()
        self._endpoint: Endpoint | None = None
        self._by_cid: dict[bytes, Link] = {}
        self._links: dict[Link, set[bytes]] = {}
        self._half_open = 0
        self._per_address: Counter[str] = Counter()
        self._touched: dict[Link, None] = {}
        self._resets_left = _RESETS_PER_SWEEP
        self._idle = asyncio.Event()
        self._idle.set()
        self._closing = False
        self._sweeper: asyncio.TimerHandle | None = None
        # Deadlines are kept to within an eighth, once a second at most.
        self._sweep_s = min(1.0, limits.handshake_s / 8, limits.ping_s / 8)

    def listen(self, host: str, port: int, *, offload: bool = True) -> None:
        """Bind the socket and start to read."""
        self._endpoint = Endpoint(
            bind_udp(host, port), self._received, self._batch_done, offload=offload
        )
        self.address = plain_address(self._endpoint.address)
        self._sweep()

    def _stop(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
        for link in list(self._links):
            link.abort("the server stopped")
        if self._endpoint is not None:
            self._endpoint.close()

    # Datagrams

    def _received(self, data: bytes, address: Address) -> None:
        if data[0] & 0x80:
            link = self._route_long(data, address)
        else:
            link = self._by_cid.get(data[1 : 1 + CID_BYTES])
            if link is None:
                self._send_reset(data, address)
        if link is not None:
            link.receive(data, address, self._loop.time())
            self._touched[link] = None

    def _batch_done(self) -> None:
        touched, self._touched = self._touched, {}
        for link in touched:
            if link.quic.started:
                link.flush()
            else:
                # Not one packet could be decrypted: no client, so no state.
                self.counters["malformed"] += 1
                link.abort("not a QUIC client")

    def _route_long(self, data: bytes, address: Address) -> Link | None:
        try:
            header = pull_quic_header(Buffer(data=data), host_cid_length=CID_BYTES)
        except ValueError:
            self.counters["malformed"] += 1
            return None
        link = self._by_cid.get(header.destination_cid)
        if link is not None:
            return link
        if header.packet_type == QuicPacketType.VERSION_NEGOTIATION:
            return None
        if len(data) < _INITIAL_MIN_BYTES:
            return None
        if header.version not in VERSIONS:
            self._send([(self._version_negotiation(header), address)])
            return None
        if header.packet_type != QuicPacketType.INITIAL:
            return None
        if len(header.destination_cid) < CID_BYTES:  # RFC 9000 section 7.2
            self.counters["malformed"] += 1
            return None
        return self._admit(header, address)

    def _version_negotiation(self, header: QuicHeader) -> bytes:
        return encode_quic_version_negotiation(
            source_cid=header.destination_cid,
            destination_cid=header.source_cid,
            supported_versions=VERSIONS,
        )

    def _admit(self, header: QuicHeader, address: Address) -> Link | None:
        """Make a connection for a first Initial, or refuse: silently, it costs nothing."""
        refusal = self._refusal(str(address[0]))
        if refusal:
            self.counters[f"refused-{refusal}"] += 1
            return None
        original, retry_source = header.destination_cid, None
        now = self._loop.time()
        if header.token:
            try:
                original = self._retry_tokens.validate_token(
                    address=address,
                    destination_cid=header.destination_cid,
                    token=header.token,
                    now=now,
                )
                retry_source = header.destination_cid
            except ValueError:
                retry_source = None
        if retry_source is None and (self._retry or self._half_open * 2 > self._limits.half_open):
            if not header.token:
                self._send_retry(header, address, now)
            return None
        quic = HardenedConnection(
            configuration=self._configuration,
            limits=self._limits,
            reset_key=self._key,
            original_destination_connection_id=original,
            retry_source_connection_id=retry_source,
        )
        link = Link(quic, self._send, self, self._limits, address, self._mtu)
        self._links[link] = set()
        self._idle.clear()
        self._half_open += 1
        self._per_address[str(address[0])] += 1
        self.cid_issued(header.destination_cid, link)
        self.cid_issued(quic.host_cid, link)
        return link

    def _refusal(self, host: str) -> str:
        limits = self._limits
        if self._closing:
            return "closing"
        if self._half_open >= limits.half_open:
            return "half-open"
        # Twice the cap: sessions above it are told so instead of being left without an answer.
        if len(self._links) >= 2 * limits.sessions + limits.half_open:
            return "connections"
        if not is_loopback(host) and self._per_address[host] >= 2 * limits.sessions_per_address:
            return "address-connections"
        return ""

    def _send(self, datagrams: Sequence[tuple[bytes, Address]]) -> None:
        if self._endpoint is not None:
            self._endpoint.send(datagrams)

    def _send_retry(self, header: QuicHeader, address: Address, now: float) -> None:
        source_cid = os.urandom(CID_BYTES)
        token = self._retry_tokens.create_token(
            address=address,
            original_destination_connection_id=header.destination_cid,
            retry_source_connection_id=source_cid,
            now=now,
        )
        self.counters["retries"] += 1
        answer = encode_quic_retry(
            version=header.version or 1,
            source_cid=source_cid,
            destination_cid=header.source_cid,
            original_destination_cid=header.destination_cid,
            retry_token=token,
        )
        self._send([(answer, address)])

    def _send_reset(self, data: bytes, address: Address) -> None:
        """Tell the peer of a forgotten connection so (RFC 9000 section 10.3)."""
        if len(data) < _RESET_MIN_BYTES or self._resets_left <= 0 or not data[0] & 0x40:
            return
        self._resets_left -= 1
        self.counters["resets"] += 1
        # Always smaller than what caused it, so that two ends cannot answer each other for ever.
        noise = bytearray(os.urandom(min(len(data) - 1, 43) - RESET_TOKEN_BYTES))
        noise[0] = 0x40 | noise[0] & 0x3F
        token = reset_token(self._key, data[1 : 1 + CID_BYTES])
        self._send([(bytes(noise) + token, address)])

    def _sweep(self) -> None:
        now = self._loop.time()
        self._resets_left = _RESETS_PER_SWEEP
        for link in list(self._links):
            age = now - link.born_s
            if not link.handshaken and age > self._limits.handshake_s:
                self.counters["refused-handshake-timeout"] += 1
                link.abort("handshake timeout")
            elif link.session is None and age > 2 * self._limits.handshake_s:
                link.close(H3_NO_ERROR, "")
            else:
                link.tend(now)
        self._sweeper = self._loop.call_later(self._sweep_s, self._sweep)

    # What links report

    def cid_issued(self, cid: bytes, link: Link) -> None:
        """Route ``cid`` to the link."""
        self._by_cid[cid] = link
        self._links[link].add(cid)

    def cid_retired(self, cid: bytes) -> None:
        """Stop routing ``cid``."""
        link = self._by_cid.pop(cid, None)
        if link is not None:
            self._links[link].discard(cid)

    def handshake_done(self, link: Link) -> None:
        """Count the connection as open."""
        self._half_open -= 1
        self.counters["handshakes"] += 1
        link.start_probing()

    def link_gone(self, link: Link, code: int, reason: str, transport: bool) -> None:
        """Forget the link."""
        cids = self._links.pop(link, None)
        if cids is None:
            return
        for cid in cids:
            self._by_cid.pop(cid, None)
        if not link.handshaken:
            self._half_open -= 1
        host = str(link.first_peer[0])
        self._per_address[host] -= 1
        if self._per_address[host] <= 0:
            del self._per_address[host]
        if not self._links:
            self._idle.set()

    def headers_received(self, link: Link, event: HeadersReceived) -> None:
        """Answer a request."""
        raise NotImplementedError
