"""The server: routes datagrams to connections, admits sessions, and refuses in good order."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import os
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from urllib.parse import parse_qsl, urlsplit

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

from wtp.errors import Refused, StorageError, WtpError
from wtp.transport.certs import Certificate
from wtp.transport.driver import H3_NO_ERROR
from wtp.transport.endpoint import Address, Endpoint, bind_udp, is_loopback, plain_address
from wtp.transport.hardening import (
    AES_ONLY,
    CID_BYTES,
    RESET_TOKEN_BYTES,
    HardenedConnection,
    reset_token,
    verify_aioquic,
)
from wtp.transport.limits import MTU_START_BYTES, Limits, check_mtu
from wtp.transport.link import H3_REQUEST_REJECTED, Link
from wtp.transport.session import Session, SessionEvents

__all__ = ["Accept", "Limits", "Server", "serve"]

logger = logging.getLogger(__name__)

Accept = Callable[[Session], SessionEvents]
"""Called for each session; raises ``Refused`` to close it with that code and message."""

PATH = "/wt"
SUB_PROTOCOL = "wtp1"
_PROTOCOLS = ("webtransport", "webtransport-h3")
_VERSIONS: list[int] = [QuicProtocolVersion.VERSION_1]
_INITIAL_MIN_BYTES = 1200  # RFC 9000 section 14.1
_RESET_MIN_BYTES = 21 + RESET_TOKEN_BYTES  # smaller datagrams could start a reset loop
_RESETS_PER_SWEEP = 200
_CLOSE_WAIT_S = 1.0


async def serve(
    host: str,
    port: int,
    certificate: Certificate,
    accept: Accept,
    *,
    limits: Limits | None = None,
    retry: bool = False,
    mtu: int = 0,
    path: str = PATH,
    reset_key: bytes | None = None,
    offload: bool = True,
) -> Server:
    """Listen for WebTransport sessions.

    Args:
        host: Address to bind; ``localhost`` is 127.0.0.1.
        port: UDP port, 0 for a free one (see ``Server.address``).
        certificate: What clients see.
        accept: Called for every CONNECT to ``path``.
        limits: Caps and time-outs.
        retry: Validate every address before any state is kept; for public binds.
        mtu: Fixed packet size in bytes, or 0 to probe.
        path: The one path that is served; others get 404.
        reset_key: Key of the stateless reset tokens; derived from the certificate's key by
            default, so that a restarted server is recognised by its old clients.
        offload: False forces the plain UDP path without GSO and GRO.

    Raises:
        UsageError: ``mtu`` is impossible or the host unknown.
        StorageError: The certificate cannot be read.
        WtpError: The address is taken (code ``bind``), or aioquic does not fit.
    """
    verify_aioquic()
    check_mtu(mtu)
    limits = limits or Limits()
    configuration = QuicConfiguration(
        is_client=False,
        alpn_protocols=["h3"],
        connection_id_length=CID_BYTES,
        idle_timeout=limits.idle_s,
        max_data=limits.session_window_bytes,
        max_stream_data=limits.stream_window_bytes,
        max_datagram_frame_size=65536,
        max_datagram_size=mtu or MTU_START_BYTES,
        cipher_suites=AES_ONLY,
        supported_versions=_VERSIONS,
    )
    try:
        configuration.load_cert_chain(certificate.cert_path, certificate.key_path)
        key_pem = certificate.key_path.read_bytes()
    except OSError as error:
        raise StorageError(
            f"The certificate {certificate.cert_path} cannot be read: {error.strerror}.",
            hint="Create one with `wtp certs create`.",
        ) from error
    if reset_key is None:
        reset_key = hmac.new(key_pem, b"wtp stateless reset", hashlib.sha256).digest()
    server = Server(configuration, accept, limits, retry=retry, mtu=mtu, path=path, key=reset_key)
    server.listen(host, port, offload=offload)
    return server


class Server:
    """A listening WebTransport server; made by ``serve``.

    Attributes:
        address: Bound host and port.
        counters: ``handshakes``, ``sessions``, ``malformed``, ``resets``, ``retries``,
            ``refused-<reason>``; they only grow.
    """

    def __init__(
        self,
        configuration: QuicConfiguration,
        accept: Accept,
        limits: Limits,
        *,
        retry: bool,
        mtu: int,
        path: str,
        key: bytes,
    ) -> None:
        self.address: tuple[str, int] = ("", 0)
        self.counters: Counter[str] = Counter()
        self._configuration = configuration
        self._accept = accept
        self._limits = limits
        self._retry = retry
        self._mtu = mtu
        self._path = path
        self._key = key
        self._retry_tokens = QuicRetryTokenHandler()
        self._loop = asyncio.get_running_loop()
        self._endpoint: Endpoint | None = None
        self._by_cid: dict[bytes, Link] = {}
        self._links: dict[Link, set[bytes]] = {}
        self._half_open = 0
        self._per_address: Counter[str] = Counter()
        self._sessions: dict[int, Session] = {}
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

    @property
    def sessions(self) -> Collection[Session]:
        """The open sessions."""
        return self._sessions.values()

    async def close(self, code: int = 0, reason: str = "") -> None:
        """Close every session with ``code`` and ``reason``, then the socket.

        Waits about a second at most for the peers.
        """
        self._closing = True
        for session in list(self._sessions.values()):
            session.close(code, reason)
        for link in list(self._links):
            if link.session is None:
                link.close(H3_NO_ERROR, "")
        try:
            async with asyncio.timeout(_CLOSE_WAIT_S):
                await self._idle.wait()
        except TimeoutError:
            for link in list(self._links):
                link.close(H3_NO_ERROR, "")
                link.flush()
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
        if header.version not in _VERSIONS:
            self._send([(self._version_negotiation(header), address)])
            return None
        if header.packet_type != QuicPacketType.INITIAL:
            return None
        return self._admit(header, address)

    def _version_negotiation(self, header: QuicHeader) -> bytes:
        return encode_quic_version_negotiation(
            source_cid=header.destination_cid,
            destination_cid=header.source_cid,
            supported_versions=_VERSIONS,
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
        if link.session is not None:
            self._sessions.pop(link.session.id, None)
        if not self._links:
            self._idle.set()

    def headers_received(self, link: Link, event: HeadersReceived) -> None:
        """Answer a request: a session for a CONNECT to the path, 404 for all else."""
        headers = _text(event.headers)
        target = urlsplit(headers.get(":path", ""))
        protocol = headers.get(":protocol")
        if headers.get(":method") != "CONNECT" or target.path != self._path:
            self._answer(link, event.stream_id, 404)
        elif protocol not in _PROTOCOLS:
            self._answer(link, event.stream_id, 501)
        elif link.session is not None:
            self.counters["refused-second-session"] += 1
            link.quic.reset_stream(event.stream_id, H3_REQUEST_REJECTED)
        else:
            self._open_session(link, event.stream_id, headers, target.path, target.query)

    def _answer(self, link: Link, stream: int, status: int) -> None:
        self.counters[f"refused-{status}"] += 1
        if link.http is not None:
            link.http.send_headers(stream, [(b":status", str(status).encode())], end_stream=True)

    def _open_session(
        self, link: Link, stream: int, headers: dict[str, str], path: str, query: str
    ) -> None:
        offered = _offered(headers.get("wt-available-protocols", ""))
        agreed = SUB_PROTOCOL if SUB_PROTOCOL in offered else ""
        answer = [(b":status", b"200")]
        if agreed:  # unasked, two clients abort
            answer.append((b"wt-protocol", f'"{agreed}"'.encode()))
        if link.http is not None:
            link.http.send_headers(stream, answer)
        session = Session(
            link,
            self._limits,
            path=path,
            query=_query(query),
            headers={name: value for name, value in headers.items() if name[0] != ":"},
            peer=plain_address(link.peer),
            protocol=agreed,
        )
        link.start_session(session, stream)
        try:
            self._check_caps(session.peer[0])
            session.attach(self._accept(session))
        except WtpError as error:
            reason = error.code if isinstance(error, Refused) else "error"
            self.counters[f"refused-{reason}"] += 1
            session.close(error.close_code, error.message)
            return
        except Exception:
            logger.exception("session %d: fault while accepting", session.id)
            session.close(WtpError.close_code, "internal error")
            return
        self._sessions[session.id] = session
        self.counters["sessions"] += 1
        link.quic.slim()
        link.deliver_early()

    def _check_caps(self, host: str) -> None:
        open_sessions = [session for session in self._sessions.values() if not session.ended]
        if self._closing:
            raise Refused("The router is shutting down.", hint="Try again.", code="closing")
        if len(open_sessions) >= self._limits.sessions:
            raise Refused("The router is full.", hint="Try again later.", code="full")
        same = sum(session.peer[0] == host for session in open_sessions)
        if not is_loopback(host) and same >= self._limits.sessions_per_address:
            raise Refused(
                "Too many sessions from this address.", hint="Close some.", code="address-full"
            )


def _text(headers: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("utf-8", "replace") for name, value in headers}


def _query(query: str) -> dict[str, str]:
    try:
        return dict(parse_qsl(query, keep_blank_values=True, max_num_fields=64))
    except ValueError:
        return {}


def _offered(value: str) -> list[str]:
    """Names in a structured-field list of strings, such as ``"wtp1", "other"``."""
    return [item.split(";")[0].strip().strip('"') for item in value.split(",")]
