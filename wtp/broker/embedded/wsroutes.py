"""The WebSocket API of Pulsar, mounted on the broker's HTTP side: /ws/v2/{producer,...}."""

from __future__ import annotations

import contextlib
import ipaddress
import secrets
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aiohttp import WSCloseCode, web

from wtp.broker.embedded.wsconsumer import WsConsumer
from wtp.broker.embedded.wsoptions import (
    BadHandshake,
    consumer_options,
    producer_options,
    reader_options,
)
from wtp.broker.embedded.wsproducer import WsProducer
from wtp.broker.embedded.wssession import IDLE_S, WsSession
from wtp.errors import WtpError

if TYPE_CHECKING:
    from wtp.broker.embedded.core import Core

MAX_TEXT_BYTES = 8 * 1024 * 1024
"""Largest text taken: a message of 5 MiB in base64, and its properties."""

CLOSE_S = 2.0
"""How long a client may take to answer a close frame."""

_STATUS = {
    "consumer-busy": 409,
    "producer-busy": 409,
    "producer-fenced": 409,
    "consumer-assign": 409,
    "incompatible-schema": 409,
    "topic-not-found": 404,
    "subscription-not-found": 404,
    "authentication": 401,
    "authorization": 403,
    "too-many-requests": 429,
    "broker-unavailable": 503,
}
"""HTTP status by the protocol's error, as Pulsar maps them; others are 500."""


def mount(app: web.Application, core: Core, *, idle_s: float = IDLE_S) -> None:
    """Add the WebSocket API to an application that is not started yet.

    Args:
        app: The broker's HTTP side.
        core: The broker.
        idle_s: Silence that ends a socket.
    """
    endpoint = _Endpoint(core, idle_s)
    app.router.add_get("/ws/v2/{role:producer|consumer|reader}{rest:.*}", endpoint.serve)
    app.on_shutdown.append(endpoint.shut)


class _Endpoint:
    def __init__(self, core: Core, idle_s: float) -> None:
        self._core = core
        self._idle_s = idle_s
        self._sessions: set[WsSession] = set()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """One socket from its handshake to its end."""
        ws = web.WebSocketResponse(
            autoping=False, compress=False, max_msg_size=MAX_TEXT_BYTES, timeout=CLOSE_S
        )
        if not ws.can_prepare(request).ok:
            raise web.HTTPMethodNotAllowed("GET", [], text="This address is for WebSocket clients.")
        if not own_origin(request.headers.get("Origin"), request.host):
            raise web.HTTPForbidden(text="Pages of other hosts may not connect.")
        try:
            session = self._session(request)
        except BadHandshake as error:
            return _refusal(error.message, error.status)
        self._sessions.add(session)
        try:
            with contextlib.ExitStack() as opening:
                opening.callback(session.client.close)
                try:
                    await session.open()
                except WtpError as error:
                    return _refusal(error.message, self._status(request, error))
                await ws.prepare(request)
                opening.pop_all()
            await session.run(ws)
        finally:
            self._sessions.discard(session)
        return ws

    def _session(self, request: web.Request) -> WsSession:
        role = request.match_info["role"]
        raw = request.rel_url.raw_path.split("/")[4:]
        name = (request.transport and request.transport.get_extra_info("peername")) or ("", 0)
        peer = (str(name[0]), int(name[1]))
        if role == "producer":
            return WsProducer(self._core, peer, producer_options(raw, request.query), self._idle_s)
        if role == "consumer":
            options = consumer_options(raw, request.query)
        else:
            options = reader_options(raw, request.query, f"reader-{secrets.token_hex(5)}")
        return WsConsumer(self._core, peer, options, self._idle_s)

    def _status(self, request: web.Request, error: WtpError) -> int:
        status = _STATUS.get(error.code, 500)
        # Pulsar's reader answers whatever it meets but a taken name with 500.
        reader = request.match_info["role"] == "reader"
        return 500 if reader and status == 404 else status

    async def shut(self, _app: web.Application) -> None:
        """The broker ends: tell everybody."""
        for session in list(self._sessions):
            session.end(WSCloseCode.GOING_AWAY, "The broker ends.")


def _refusal(reason: str, status: int) -> web.Response:
    return web.json_response({"reason": reason}, status=status)


def own_origin(origin: str | None, host: str) -> bool:
    """Whether a client may connect as far as its page is concerned.

    Programs send no Origin. A page may come from the host that it connects to, from this machine
    (a name or address that nobody can bind to another one), or from a file.
    """
    if origin is None or origin == "file://":
        return True
    try:
        parts = urlsplit(origin)
        name = parts.hostname or ""
        own = parts.netloc == host
    except ValueError:
        return False
    if name == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return own or ipaddress.ip_address(name).is_loopback
    return False
