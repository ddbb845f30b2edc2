"""WebTransport by `wtp.transport` on both ends: a stream per object, or datagrams.

An object that does not fit into one datagram is cut into several and put together again here, as
an application would have to; without repeats the loss of one part loses the whole.
"""

from __future__ import annotations

import asyncio
import struct
from collections import OrderedDict
from typing import Any

from wtp.bench.compare_ends import Security, Take
from wtp.errors import Refused
from wtp.transport.certs import load_certificate
from wtp.transport.client import Trust
from wtp.transport.client import connect as open_session
from wtp.transport.server import Server, serve
from wtp.transport.session import BULK, LIVE, URGENT, Session

BACKLOG_BYTES = 600_000
"""About 30 objects of 20 KB in flight: enough for full speed, few enough streams to stay cheap."""
RANKS = {"live video": LIVE, "audio": URGENT}
"""As the publisher ranks its streams; everything else is bulk."""

PART = struct.Struct("!IHH")
"""What a datagram begins with: number of the object, of the part, and how many parts."""
OVERHEAD_BYTES = 40
"""What a packet needs besides a datagram's payload, generously: headers, ids, tag."""
HALF_OBJECTS = 64
"""Objects of which parts may be missing at once; the oldest goes first."""
WAIT_S, WAITS = 0.001, 1000
"""A full queue of datagrams is tried again so often; then the object is given up."""


class Ends:
    """What both ends do with what arrives."""

    def __init__(self) -> None:
        self.answered = asyncio.Event()
        self.over = asyncio.Event()
        self.session: Session | None = None

    def stream_data(self, stream: int, data: bytes, end: bool) -> None:
        """An answer."""
        if self.session is not None:
            self.session.release(stream, len(data))
        if end:
            self.answered.set()

    def stream_reset(self, stream: int, code: int) -> None:
        """Nobody resets."""

    def stream_stopped(self, stream: int, code: int) -> None:
        """Nobody stops."""

    def datagram(self, data: bytes) -> None:
        """None are expected at the sending end."""

    def writable(self) -> None:
        """The backlog is looked at before each send."""

    def closed(self, code: int, reason: str) -> None:
        """Whoever waits for an answer waits in vain."""
        self.over.set()
        self.answered.set()


class Arrivals(Ends):
    """The receiving end of one session."""

    def __init__(self, session: Session, take: Take) -> None:
        super().__init__()
        self.session: Session = session
        self._take = take
        self._streams: dict[int, list[bytes]] = {}
        self._parts: OrderedDict[int, dict[int, bytes]] = OrderedDict()

    def stream_data(self, stream: int, data: bytes, end: bool) -> None:
        """Gather a stream; at its end it is an object."""
        self.session.release(stream, len(data))
        parts = self._streams.setdefault(stream, [])
        parts.append(data)
        if end and self._take(b"".join(self._streams.pop(stream))):
            self.session.send(self.session.open_stream(URGENT), b"1", end=True)

    def datagram(self, data: bytes) -> None:
        """Gather the parts of an object."""
        number, part, count = PART.unpack_from(data)
        parts = self._parts.setdefault(number, {})
        parts[part] = data[PART.size :]
        if len(parts) == count:
            del self._parts[number]
            self._take(b"".join(parts[index] for index in range(count)))
        elif len(self._parts) > HALF_OBJECTS:
            self._parts.popitem(last=False)


class Listener:
    """A WebTransport server.

    Attributes:
        address: `host`, `port` and the certificate's `hash`.
        between: Nothing stands between the ends.
    """

    def __init__(self, server: Server, cert_hash: str) -> None:
        host, port = server.address
        self.address: dict[str, Any] = {"host": host, "port": port, "hash": cert_hash}
        self.between: list[int] = []
        self._server = server

    async def close(self) -> None:
        """Close all sessions."""
        await self._server.close()


async def listen(host: str, security: Security, take: Take, *, datagrams: bool) -> Listener:
    """Serve sessions; QUIC has no form without TLS."""
    certificate = load_certificate(security.cert.parent)
    server = await serve(host, 0, certificate, lambda session: Arrivals(session, take))
    return Listener(server, certificate.sha256)


class StreamSender:
    """One session that sends a stream per object."""

    lanes = 1

    def __init__(self, session: Session, ends: Ends, rank: int) -> None:
        self._session = session
        self._ends = ends
        self._rank = rank

    async def send(self, data: bytes) -> bool:
        """Send an object; waits while much is under way."""
        if self._session.backlog() > BACKLOG_BYTES:
            await self._session.drained(BACKLOG_BYTES // 2)
        try:
            stream = self._session.open_stream(self._rank)
        except Refused:  # too many small ones under way
            await self._session.drained()
            stream = self._session.open_stream(self._rank)
        self._session.send(stream, data, end=True)
        return True

    async def ask(self, data: bytes) -> None:
        """Send an object and wait for a stream that comes back."""
        self._ends.answered.clear()
        self._session.send(self._session.open_stream(self._rank), data, end=True)
        await self._ends.answered.wait()

    async def close(self) -> None:
        """Close when everything is acknowledged."""
        if not self._ends.over.is_set():
            await self._session.drained()
            self._session.close()
        await self._session.wait_closed()


class DatagramSender(StreamSender):
    """One session that sends datagrams; questions go by stream."""

    _number = 0

    async def send(self, data: bytes) -> bool:
        """Send an object in as many parts as it needs."""
        self._number += 1
        room = self._session.stats.datagram_bytes - OVERHEAD_BYTES - PART.size
        count = -(-len(data) // room)
        for part in range(count):
            piece = data[part * room : (part + 1) * room]
            if not await self._one(PART.pack(self._number, part, count) + piece):
                return False
        return True

    async def _one(self, datagram: bytes) -> bool:
        for _ in range(WAITS):
            if self._session.send_datagram(datagram):
                return True
            await asyncio.sleep(WAIT_S)
        return False


async def connect(
    address: dict[str, Any], security: Security, use: str, *, datagrams: bool
) -> StreamSender:
    """Open a session."""
    ends = Ends()
    url = f"https://{address['host']}:{address['port']}/wt"
    trust = Trust(cert_hash=address["hash"])
    ends.session = session = await open_session(url, ends, trust, timeout=20)
    kind = DatagramSender if datagrams else StreamSender
    return kind(session, ends, RANKS.get(use, BULK))
