"""One WebSocket to the broker, opened again whenever it is lost."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import socket
import ssl
from collections.abc import Awaitable, Callable

import aiohttp
from yarl import URL

from wtp.broker.access import Address, addresses, shown, ssl_context, token
from wtp.broker.accessfaults import not_authenticated, untrusted
from wtp.clock import monotonic_us
from wtp.config.schema import BrokerSettings
from wtp.errors import BrokerError, BrokerUnavailable, NotFound, Refused, UsageError, WtpError

HEARTBEAT_S = 10.0
"""Pause between two pings; without an answer within half of it the line is lost. Pulsar ends
sockets that are silent for 300 s, and proxies on the way after 60 s mostly."""

CONNECT_S = 5.0
FIRST_WAIT_S, LAST_WAIT_S = 0.1, 1.0
SETTLED_US = 2_000_000
"""A connection that lasted as long resets the back-off."""
MAX_TEXT_BYTES = 16 * 1024 * 1024
"""Largest text taken: base64 of the largest message a broker takes by default, and room."""

API = "/ws/v2"
HINT = "Start one (wtp broker), or give its address: WTP_BROKER_WEBSOCKET=ws://HOST:8080/ws/v2."

log = logging.getLogger("wtp.broker")


class Door:
    """Where the WebSocket API is and how one gets in; shared by the sockets of one client.

    Args:
        broker: The settings; the address is `broker.websocket`, else it follows `broker.admin`.

    Raises:
        BrokerUnavailable: The address is none of a WebSocket.
        ConfigError: A file of the settings cannot be used.
    """

    def __init__(self, broker: BrokerSettings) -> None:
        self._broker = broker
        self._places = addresses(api_url(broker), "ws", "wss")
        self.url = shown(self._places[0].url)
        self._tls: ssl.SSLContext | bool = ssl_context(broker) if self._places[0].secure else True
        token(broker)
        self._session: aiohttp.ClientSession | None = None

    async def open(self, path: str, what: str) -> aiohttp.ClientWebSocketResponse:
        """Open a socket, at the next host when the first cannot be reached.

        Args:
            path: Path and query below the API's address.
            what: What it is for, in errors.

        Raises:
            BrokerUnavailable: Nothing answers, or something that is no WebSocket API.
            Refused: We are not known or not allowed.
            NotFound: No such namespace or topic, or no such address.
            BrokerError: The broker refuses; `code` is `busy` when the name is taken.
        """
        fault: WtpError | None = None
        for place in tuple(self._places):
            try:
                ws = await self._connect(place, path)
            except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
                fault = self._fault(place, error, what)
                fault.__cause__ = error
                if isinstance(error, aiohttp.WSServerHandshakeError):
                    break
            else:
                self._places.remove(place)
                self._places.insert(0, place)
                return ws
        assert fault is not None  # noqa: S101 - there is one address at least
        raise fault

    async def _connect(self, place: Address, path: str) -> aiohttp.ClientWebSocketResponse:
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        secret = token(self._broker)
        async with asyncio.timeout(CONNECT_S):
            return await self._session.ws_connect(
                URL(place.url + path, encoded=True),
                headers={"Authorization": f"Bearer {secret}"} if secret else None,
                heartbeat=HEARTBEAT_S,
                max_msg_size=MAX_TEXT_BYTES,
                timeout=aiohttp.ClientWSTimeout(ws_close=1.0),
                ssl=self._tls,
            )

    def _fault(self, place: Address, error: Exception, what: str) -> WtpError:
        here = f"The WebSocket API at {place.url}"
        if isinstance(error, aiohttp.WSServerHandshakeError):
            return self._refusal(place, error.status, what)
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            cause = error.certificate_error
            if isinstance(cause, ssl.SSLCertVerificationError):
                return untrusted(place, cause)
        if isinstance(error, aiohttp.ClientConnectorSSLError):
            return BrokerUnavailable(
                f"{here} does not answer as a TLS server does.", hint=HINT, code="no-tls"
            )
        if isinstance(error, aiohttp.ClientConnectorError):
            if isinstance(error.os_error, socket.gaierror):
                return BrokerUnavailable(
                    f"The host of {place.url} is unknown.", hint=HINT, code="unknown-host"
                )
            return BrokerUnavailable(
                f"No broker's WebSocket API answers at {place.url}.", hint=HINT
            )
        if isinstance(error, TimeoutError):
            return BrokerUnavailable(f"{here} did not answer in time.", hint=HINT)
        return BrokerUnavailable(
            f"What listens at {place.url} is no WebSocket API of a Pulsar.",
            hint=HINT,
            code="no-pulsar",
        )

    def _refusal(self, place: Address, status: int, what: str) -> WtpError:
        """What an HTTP status in answer to the handshake means."""
        if status == 401:
            return not_authenticated(place.url, self._broker, token(self._broker))
        if status == 403:
            return Refused(
                f"The broker at {place.url} does not allow this client to {what}.",
                hint="Grant its role the right to do it.",
                code="not-allowed",
            )
        if status == 404:
            return NotFound(
                f"Cannot {what}: there is no such room or topic at {place.url}, or no WebSocket "
                "API.",
                hint="wtp topics list shows what there is; WTP_BROKER_WEBSOCKET sets the address.",
            )
        if status == 409:
            return BrokerError(
                f"Cannot {what}: another client has it.",
                hint="Close that one, or choose another name.",
                code="busy",
            )
        if status < 400:
            return BrokerUnavailable(
                f"What listens at {place.url} is no WebSocket API of a Pulsar.",
                hint=HINT,
                code="no-pulsar",
            )
        return BrokerError(
            f"Cannot {what}: the WebSocket API at {place.url} refuses it (HTTP {status}).",
            hint="Look into the broker's log.",
            code="unsupported" if status in (400, 405) else "broker",
        )

    async def answers(self) -> bool:
        """Whether something accepts a connection at one of the addresses."""
        for place in self._places:
            try:
                async with asyncio.timeout(CONNECT_S):
                    _, writer = await asyncio.open_connection(place.host, place.port)
            except (OSError, TimeoutError):
                continue
            writer.close()
            return True
        return False

    async def close(self) -> None:
        """Close what is left."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()


def api_url(broker: BrokerSettings) -> str:
    """The API's address: as set, or where the admin API is.

    Raises:
        UsageError: The admin URL is none of HTTP.
    """
    if broker.websocket:
        scheme, colon, rest = broker.websocket.partition("://")
        if "/" not in rest.rstrip("/"):
            rest = rest.rstrip("/") + API
        return f"{scheme}{colon}{rest}"
    url = broker.admin.rstrip("/")
    if not url.startswith(("http://", "https://")):
        raise UsageError(
            f"{broker.admin!r} is not an admin URL.",
            hint="Write http://HOST:PORT, port 8080 mostly.",
        )
    for web, scheme in (("https://", "wss://"), ("http://", "ws://")):
        url = url.replace(web, scheme)
    return url + API


class Line:
    """A socket that comes back.

    Args:
        door: Where to.
        what: What it is for, in errors.
        path: Gives path and query of the next connection.
        opened: Told of each connection, the first included.
        text: Gets what comes, with CLOCK_MONOTONIC in µs; may wait, which holds the broker up.
        lost: Told that a connection is over.

    Attributes:
        connected: Whether the broker is there at this moment.
        reconnects: Connections after the first.
        failure: Why it will not come back.
    """

    def __init__(
        self,
        door: Door,
        what: str,
        path: Callable[[], str],
        *,
        opened: Callable[[], None],
        text: Callable[[str, int], Awaitable[None]],
        lost: Callable[[], None],
    ) -> None:
        self.connected = False
        self.reconnects = 0
        self.failure: WtpError | None = None
        self._door = door
        self._what = what
        self._path = path
        self._opened, self._text, self._lost = opened, text, lost
        self._ws: aiohttp.ClientWebSocketResponse | None = None
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Connect for the first time; from then on it keeps itself connected.

        Raises:
            WtpError: See `Door.open`.
        """
        self._ws = await self._door.open(self._path(), self._what)
        self._up()
        self._task = asyncio.create_task(self._keep())

    def _up(self) -> None:
        self.connected = True
        self._opened()

    async def send(self, text: str) -> None:
        """Send; what cannot be sent is lost, and `lost` is called for it soon.

        Raises:
            ConnectionError: There is no connection.
        """
        if self._ws is None or not self.connected:
            raise ConnectionResetError("no connection")
        await self._ws.send_str(text)

    async def renew(self) -> None:
        """Give the connection up and open another one."""
        if self._ws is not None:
            await self._ws.close()

    async def _keep(self) -> None:
        wait_s, said = FIRST_WAIT_S, ""
        try:
            while True:
                if self._ws is not None:
                    began_us = monotonic_us()
                    await self._read(self._ws)
                    self._down()
                    if monotonic_us() - began_us > SETTLED_US:
                        wait_s = FIRST_WAIT_S
                await asyncio.sleep(wait_s * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
                wait_s = min(2 * wait_s, LAST_WAIT_S)
                try:
                    self._ws = await self._door.open(self._path(), self._what)
                except Refused:
                    raise
                except WtpError as error:
                    if error.message != said:
                        said = error.message
                        log.debug("%s", said)
                    continue
                said = ""
                self.reconnects += 1
                self._up()
        except WtpError as error:
            self.failure = error
            self._down()

    async def _read(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        async for message in ws:
            if message.type == aiohttp.WSMsgType.TEXT:
                await self._text(message.data, monotonic_us())
        if ws.close_code not in (None, 1000, 1001, 1006):
            code = ws.close_code
            log.warning("The broker closed a socket (%s) with code %s.", self._what, code)

    def _down(self) -> None:
        self._ws = None
        self.connected = False
        self._lost()

    async def close(self) -> None:
        """Close for good."""
        task, self._task = self._task, None
        ws, self._ws = self._ws, None
        self.connected = False
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        if ws is not None:
            with contextlib.suppress(aiohttp.ClientError, ConnectionError):
                await ws.close()
