"""The client: one connection, one session, and a clear sentence for each way it can fail."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from urllib.parse import SplitResult, parse_qsl, urlsplit

from aioquic.h3.events import HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.packet import QuicProtocolVersion

from wtp.errors import ConnectionFailed, UsageError, WtpError
from wtp.transport.endpoint import Address, Endpoint, connect_udp, is_loopback, plain_address
from wtp.transport.hardening import AES_ONLY, CID_BYTES, HardenedConnection
from wtp.transport.limits import MTU_START_BYTES, Limits, check_mtu
from wtp.transport.link import Link
from wtp.transport.session import Session, SessionEvents
from wtp.transport.trust import (
    ALERT_BAD_CERTIFICATE,
    CRYPTO_ERROR,
    Trust,
    handshake_failure,
    no_answer,
    nothing_listens,
    wrong_status,
)
from wtp.transport.verify import verify_aioquic

__all__ = ["Trust", "connect"]

DEFAULT_PORT = 4433
_SWEEP_S = 1.0

Events = SessionEvents | Callable[[Session], SessionEvents]


async def connect(
    url: str,
    events: Events,
    trust: Trust,
    *,
    timeout: float = 5.0,
    mtu: int = 0,
    protocol: str = "wtp1",
    limits: Limits | None = None,
    offload: bool = True,
) -> Session:
    """Open a session.

    Args:
        url: ``https://HOST[:PORT]/wt[?QUERY]``; the port is 4433 by default, ``localhost``
            is 127.0.0.1.
        events: Receives what happens, or makes the receiver from the session.
        trust: How to judge the certificate.
        timeout: Seconds for everything, name lookup included.
        mtu: Fixed packet size in bytes, or 0 to probe.
        protocol: Sub-protocol to offer; empty for none.
        limits: Windows and time-outs of this side.
        offload: False forces the plain UDP path without GSO and GRO.

    Raises:
        UsageError: The URL or ``mtu`` is impossible.
        ConnectionFailed: Every other failure; the code is one of ``unknown-host``,
            ``no-answer``, ``nothing-listens``, ``wrong-hash``, ``expired``, ``untrusted``,
            ``handshake``, ``http-status``.
    """
    verify_aioquic()
    check_mtu(mtu)
    parts = _parse(url)
    host, port = parts.hostname or "", parts.port or DEFAULT_PORT
    limits = limits or Limits()
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    where = f"{host}:{port}"
    candidates = await _resolve(host, port, deadline)
    failure: ConnectionFailed | None = None
    for index, (family, address) in enumerate(candidates):
        share_s = max(0.05, (deadline - loop.time()) / (len(candidates) - index))
        try:
            sock = connect_udp(address, family)
        except OSError as error:
            failure = no_answer(where, f"{error.strerror}")
            continue
        client = Client(sock, address, parts, events, trust, mtu, protocol, limits, offload)
        try:
            async with asyncio.timeout(share_s):
                return await client.open()
        except TimeoutError:
            client.abandon()
            failure = no_answer(where, f"no answer within {timeout:g} s")
        except ConnectionFailed as error:
            client.abandon()
            if error.code not in ("nothing-listens", "no-answer"):
                raise
            failure = error
        except BaseException:
            client.abandon()
            raise
    raise failure or no_answer(where, "no address")


class Client:
    """Owns the socket and the link of one session until both are gone."""

    _alive: set[Client] = set()  # noqa: RUF012 - keeps clients from garbage collection

    def __init__(
        self,
        sock: socket.socket,
        address: Address,
        parts: SplitResult,
        events: Events,
        trust: Trust,
        mtu: int,
        protocol: str,
        limits: Limits,
        offload: bool,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._parts = parts
        self._host, self._port = parts.hostname or "", parts.port or DEFAULT_PORT
        self._where = f"{self._host}:{self._port}"
        self._address = address
        self._events = events
        self._trust = trust
        self._protocol = protocol
        self._limits = limits
        self._opened: asyncio.Future[Session] = self._loop.create_future()
        self._sweeper: asyncio.TimerHandle | None = None
        self._stream = 0
        self._endpoint = Endpoint(
            sock, self._received, self._batch_done, self._failed, offload=offload
        )
        quic = HardenedConnection(configuration=self._configuration(mtu), limits=limits)
        self._quic = quic
        self._link = Link(quic, self._endpoint.send, self, limits, address, mtu)
        self._alive.add(self)

    async def open(self) -> Session:
        """Shake hands, request the session and wait for the answer."""
        self._quic.connect(self._address, self._loop.time())
        self._link.flush()
        self._sweep()
        return await self._opened

    def abandon(self) -> None:
        """Give up before the session is open."""
        self._opened.cancel()
        self._link.close()
        self._link.flush()
        self._link.abort("given up")

    def _configuration(self, mtu: int) -> QuicConfiguration:
        checked = not (self._trust.insecure or self._trust.cert_hash)
        configuration = QuicConfiguration(
            is_client=True,
            alpn_protocols=["h3"],
            connection_id_length=CID_BYTES,
            idle_timeout=self._limits.idle_s,
            max_data=self._limits.session_window_bytes,
            max_stream_data=self._limits.stream_window_bytes,
            max_datagram_frame_size=65536,
            max_datagram_size=mtu or MTU_START_BYTES,
            cipher_suites=AES_ONLY,
            supported_versions=[QuicProtocolVersion.VERSION_1],
            server_name=self._host,
            verify_mode=ssl.CERT_REQUIRED if checked else ssl.CERT_NONE,
        )
        if self._trust.ca is not None:
            if not self._trust.ca.is_file():
                raise UsageError(
                    f"There is no certificate file {self._trust.ca}.",
                    hint="Give the router's wtp.crt, or its hash with --cert-hash.",
                )
            configuration.load_verify_locations(cafile=str(self._trust.ca))
        return configuration

    # Datagrams

    def _received(self, data: bytes, address: Address) -> None:
        if not data[0] & 0x80 and not self._quic.owns_cid(data[1 : 1 + CID_BYTES]):
            if self._quic.is_stateless_reset(data):
                self._link.abort("the server does not know this connection any more")
            return
        self._link.receive(data, self._address, self._loop.time())

    def _batch_done(self) -> None:
        self._link.flush()

    def _failed(self, error: OSError) -> None:
        """Believe ICMP errors only on this machine; elsewhere they may be forged or passing."""
        if isinstance(error, ConnectionRefusedError) and is_loopback(str(self._address[0])):
            if not self._opened.done():
                self._fail(nothing_listens(self._where))
            self._loop.call_soon(self._link.abort, "the server is gone")

    def _sweep(self) -> None:
        if not self._link.gone:
            self._link.tend(self._loop.time())
            self._sweeper = self._loop.call_later(
                min(_SWEEP_S, self._limits.ping_s / 8), self._sweep
            )

    # What the link reports

    def cid_issued(self, cid: bytes, link: Link) -> None:
        """The socket belongs to this connection alone: nothing to route."""

    def cid_retired(self, cid: bytes) -> None:
        """The socket belongs to this connection alone: nothing to route."""

    def handshake_done(self, link: Link) -> None:
        """Judge the certificate, then request the session."""
        failure = self._trust.judge(self._quic.peer_certificate())
        if failure is not None:
            self._fail(failure)
            link.quic.close(CRYPTO_ERROR + ALERT_BAD_CERTIFICATE, 0x06, "certificate")
            link.touch()
            return
        if link.http is None:
            return
        target = self._parts.path or "/"
        if self._parts.query:
            target += f"?{self._parts.query}"
        netloc = f"[{self._host}]" if ":" in self._host else self._host
        request = [
            (b":method", b"CONNECT"),
            (b":scheme", b"https"),
            (b":authority", f"{netloc}:{self._port}".encode()),
            (b":path", target.encode()),
            (b":protocol", b"webtransport"),
        ]
        if self._protocol:
            request.append((b"wt-available-protocols", f'"{self._protocol}"'.encode()))
        self._stream = link.quic.get_next_available_stream_id()
        link.http.send_headers(self._stream, request)

    def headers_received(self, link: Link, event: HeadersReceived) -> None:
        """Open the session on status 200, fail on any other."""
        headers = {
            name.decode("latin-1"): value.decode("utf-8", "replace")
            for name, value in event.headers
        }
        status = headers.pop(":status", "")
        if event.stream_id != self._stream or status.startswith("1"):
            return
        if not status.startswith("2"):
            self._fail(wrong_status(status, self._parts.path))
            return
        query = dict(parse_qsl(self._parts.query, keep_blank_values=True))
        session = Session(
            link,
            self._limits,
            path=self._parts.path,
            query=query,
            headers=headers,
            peer=plain_address(self._address),
            protocol=headers.get("wt-protocol", "").strip('"'),
        )
        link.start_session(session, event.stream_id)
        try:
            session.attach(_receiver(self._events, session))
        except WtpError as error:
            self._fail(error)
            return
        link.quic.slim()
        link.start_probing()
        if not self._opened.done():
            self._opened.set_result(session)
        link.deliver_early()

    def link_gone(self, link: Link, code: int, reason: str, transport: bool) -> None:
        """Close the socket; before the session was open, say why."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._endpoint.close()
        self._alive.discard(self)
        if not self._opened.done():
            if link.heard:
                certificate = self._quic.peer_certificate() if transport else None
                self._fail(handshake_failure(self._where, code, reason, certificate))
            else:
                self._fail(no_answer(self._where, reason or "no answer"))

    def _fail(self, error: WtpError) -> None:
        if not self._opened.done():
            self._opened.set_exception(error)


def _receiver(events: Events, session: Session) -> SessionEvents:
    # A class has the methods as well, but it makes receivers.
    if not isinstance(events, type) and isinstance(events, SessionEvents):
        return events
    return events(session)


def _parse(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        port_known = parts.port is None or 0 < parts.port < 65536
    except ValueError:
        parts, port_known = SplitResult("", "", "", "", ""), False
    if parts.scheme != "https" or not parts.hostname or not port_known:
        raise UsageError(
            "The router's URL must look like https://HOST:4433/wt.",
            hint="Example: https://127.0.0.1:4433/wt",
        )
    return parts


async def _resolve(host: str, port: int, deadline: float) -> list[tuple[int, Address]]:
    name = "127.0.0.1" if host == "localhost" else host
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout_at(deadline):
            found = await loop.getaddrinfo(name, port, type=socket.SOCK_DGRAM)
    except (OSError, TimeoutError) as error:
        raise ConnectionFailed(
            f"The host name {host} is unknown.",
            hint="Correct the URL, or use an address.",
            code="unknown-host",
        ) from error
    return [(int(family), address) for family, _, _, _, address in found][:4]
