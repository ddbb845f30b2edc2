"""The server: admits sessions, and refuses them in good order."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
from collections.abc import Callable, Collection, Sequence
from urllib.parse import parse_qsl, urlsplit

from aioquic.h3.events import HeadersReceived
from aioquic.quic.configuration import QuicConfiguration

from wtp.errors import Refused, StorageError, WtpError
from wtp.transport.certs import Certificate
from wtp.transport.driver import H3_NO_ERROR
from wtp.transport.endpoint import is_loopback, plain_address
from wtp.transport.hardening import (
    AES_ONLY,
    CID_BYTES,
)
from wtp.transport.limits import MTU_START_BYTES, Limits, check_mtu
from wtp.transport.link import H3_REQUEST_REJECTED, Link
from wtp.transport.listener import VERSIONS, Listener
from wtp.transport.session import Session, SessionEvents
from wtp.transport.verify import verify_aioquic

__all__ = ["Accept", "Limits", "Server", "serve"]

logger = logging.getLogger(__name__)

Accept = Callable[[Session], SessionEvents]
"""Called for each session; raises ``Refused`` to close it with that code and message."""

PATH = "/wt"
SUB_PROTOCOL = "wtp1"
_PROTOCOLS = ("webtransport", "webtransport-h3")
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
        supported_versions=VERSIONS,
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


class Server(Listener):
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
        super().__init__(configuration, limits, retry=retry, mtu=mtu, key=key)
        self._accept = accept
        self._path = path
        self._sessions: dict[int, Session] = {}

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
        self._stop()

    # What links report

    def link_gone(self, link: Link, code: int, reason: str, transport: bool) -> None:
        """Forget the link and its session."""
        super().link_gone(link, code, reason, transport)
        if link.session is not None:
            self._sessions.pop(link.session.id, None)

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
