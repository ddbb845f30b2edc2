"""A session with a router that publishes nothing: hello, welcome, and out again."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from dataclasses import dataclass

from wtp import __version__
from wtp.clock import monotonic_us
from wtp.errors import WtpError
from wtp.transport.client import connect
from wtp.transport.session import CONTROL, Session
from wtp.transport.trust import Trust
from wtp.wire import StreamType, control

NAME = "doctor"
"""The publisher's name under which it says hello; it takes no track, so nobody is disturbed."""

CONNECT_S, WELCOME_S, LEAVE_S = 2.2, 0.8, 0.4
"""Longest waits for the handshake, for the welcome, and for the end of the connection."""


@dataclass(frozen=True, slots=True)
class Met:
    """What came of it.

    Attributes:
        error: Why there is no session; None when there is one.
        connect_ms: From the first datagram to the open session.
        round_trip_ms: Smallest round trip that QUIC saw.
        datagram_bytes: UDP payload in use.
        welcome: The router's greeting; None when it said none.
        reason: What it closed the session with.
    """

    error: WtpError | None = None
    connect_ms: float = 0.0
    round_trip_ms: float = 0.0
    datagram_bytes: int = 0
    welcome: control.Welcome | None = None
    reason: str = ""


class _Visitor:
    """Receives what the router says; implements `SessionEvents`."""

    def __init__(self, session: Session) -> None:
        self.said = asyncio.Event()
        self.welcome: control.Welcome | None = None
        self.reason = ""
        self._session = session
        self._parser = control.ControlParser()
        self._stream: int | None = None

    def stream_data(self, stream: int, data: bytes, end: bool) -> None:
        """Look for the welcome on the control stream; other streams are only drained."""
        self._session.release(stream, len(data))
        if self._stream is None and data and data[0] == StreamType.CONTROL:
            self._stream, data = stream, data[1:]
        if stream != self._stream:
            return
        for message in self._parser.feed(data):
            if isinstance(message, control.Welcome):
                self.welcome = message
                self.said.set()
            elif isinstance(message, control.Error):
                self.reason = message.message
                self.said.set()

    def stream_reset(self, stream: int, code: int) -> None:
        """Nothing hangs on it."""

    def stream_stopped(self, stream: int, code: int) -> None:
        """Nothing hangs on it."""

    def datagram(self, data: bytes) -> None:
        """None is expected."""

    def writable(self) -> None:
        """So little is sent that nothing waits for this."""

    def closed(self, code: int, reason: str) -> None:
        """The router refused the session, or it is over."""
        self.reason = self.reason or reason or f"code {code:#x}"
        self.said.set()


async def visit(url: str, trust: Trust) -> Met:
    """Open a session, say hello, wait for the welcome, and leave.

    Args:
        url: The router's, with its query.
        trust: How its certificate is judged.
    """
    visitors: list[_Visitor] = []

    def receive(session: Session) -> _Visitor:
        visitors.append(_Visitor(session))
        return visitors[-1]

    began_us = monotonic_us()
    try:
        session = await connect(url, receive, trust, timeout=CONNECT_S)
    except WtpError as error:
        return Met(error=error)
    connect_ms = (monotonic_us() - began_us) / 1000
    visitor = visitors[-1]
    try:
        await _greet(session, visitor)
        stats = session.stats
        return Met(
            connect_ms=connect_ms,
            round_trip_ms=stats.min_rtt_ms,
            datagram_bytes=stats.datagram_bytes,
            welcome=visitor.welcome,
            reason=visitor.reason,
        )
    finally:
        session.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_S):
                await session.wait_closed()


async def _greet(session: Session, visitor: _Visitor) -> None:
    hello = control.Hello(NAME, secrets.token_hex(4), __version__)
    with contextlib.suppress(TimeoutError, WtpError):
        stream = session.open_stream(CONTROL)
        session.send(stream, bytes([StreamType.CONTROL]) + control.encode(hello))
        async with asyncio.timeout(WELCOME_S):
            await visitor.said.wait()
