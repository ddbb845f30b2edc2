"""A client of stock aioquic that can misbehave, and a sans-I/O pair for crafted frames."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.buffer import Buffer  # type: ignore[attr-defined]  # re-exported from C
from aioquic.h3.connection import H3Connection
from aioquic.h3.events import H3Event, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection, QuicReceiveContext
from aioquic.quic.events import ConnectionTerminated, QuicEvent
from aioquic.tls import Epoch

from wtp.transport.certs import Certificate
from wtp.transport.hardening import HardenedConnection
from wtp.transport.limits import Limits
from wtp.transport.server import Server

CLIENT = ("127.0.0.1", 40000)
SERVER = ("127.0.0.1", 40001)


class RawClient(QuicConnectionProtocol):
    """Stock HTTP/3 without any of our code."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.quic = self._quic
        self.http: H3Connection | None = None
        self.events: list[QuicEvent] = []
        self.http_events: list[H3Event] = []
        self.ended: ConnectionTerminated | None = None
        self.changed = asyncio.Event()

    def quic_event_received(self, event: QuicEvent) -> None:
        self.events.append(event)
        if isinstance(event, ConnectionTerminated):
            self.ended = event
        if self.http is not None:
            self.http_events += self.http.handle_event(event)
        self.changed.set()

    def start_http(self) -> H3Connection:
        self.http = H3Connection(self.quic, enable_webtransport=True)
        for event in self.events:  # the server speaks first
            self.http_events += self.http.handle_event(event)
        self.transmit()
        return self.http

    async def request(
        self, path: bytes = b"/wt", method: bytes = b"CONNECT", protocol: bytes = b"webtransport"
    ) -> int:
        """Send a request on a new stream and wait for the status."""
        http = self.http or self.start_http()
        stream = self.quic.get_next_available_stream_id()
        headers = [
            (b":method", method),
            (b":scheme", b"https"),
            (b":authority", b"localhost"),
            (b":path", path),
        ]
        if method == b"CONNECT":
            headers.append((b":protocol", protocol))
        http.send_headers(stream, headers, end_stream=method == b"GET")
        self.transmit()
        await self.wait_for(lambda: self.status(stream) is not None)
        return stream

    def status(self, stream: int) -> bytes | None:
        for event in self.http_events:
            if isinstance(event, HeadersReceived) and event.stream_id == stream:
                return dict(event.headers)[b":status"]
        return None

    async def wait_for(self, condition: Any, timeout: float = 60.0) -> None:
        async with asyncio.timeout(timeout):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    async def wait_ended(self) -> ConnectionTerminated:
        await self.wait_for(lambda: self.ended)
        assert self.ended is not None
        return self.ended


def raw_configuration(*, datagrams: bool = True, **options: Any) -> QuicConfiguration:
    return QuicConfiguration(
        is_client=True,
        alpn_protocols=["h3"],
        verify_mode=ssl.CERT_NONE,
        max_datagram_frame_size=65536 if datagrams else None,
        **options,
    )


@asynccontextmanager
async def raw_client(server: Server, **options: Any) -> AsyncIterator[RawClient]:
    async with connect(
        "127.0.0.1",
        server.address[1],
        configuration=raw_configuration(**options),
        create_protocol=RawClient,
    ) as client:
        assert isinstance(client, RawClient)
        yield client


def handshaken_pair(
    certificate: Certificate, limits: Limits
) -> tuple[QuicConnection, HardenedConnection]:
    """Return a stock client and a hardened server after their handshake, without sockets."""
    client = QuicConnection(configuration=raw_configuration())
    configuration = QuicConfiguration(
        is_client=False,
        alpn_protocols=["h3"],
        max_data=limits.session_window_bytes,
        max_stream_data=limits.stream_window_bytes,
        max_datagram_frame_size=65536,
    )
    configuration.load_cert_chain(certificate.cert_path, certificate.key_path)
    server = HardenedConnection(
        configuration=configuration,
        limits=limits,
        reset_key=b"k" * 32,
        original_destination_connection_id=client.original_destination_connection_id,
    )
    client.connect(SERVER, now=0.0)
    for step in range(6):
        exchange(client, server, now=0.01 * step)
    return client, server


def exchange(client: QuicConnection, server: QuicConnection, now: float) -> None:
    """Carry everything both have to say, once in each direction."""
    for data, _ in client.datagrams_to_send(now):
        server.receive_datagram(data, CLIENT, now)
    for data, _ in server.datagrams_to_send(now):
        client.receive_datagram(data, SERVER, now)


def inject(server: QuicConnection, payload: bytes) -> None:
    """Hand the server a decrypted 1-RTT payload, as a hostile client would encrypt it."""
    context = QuicReceiveContext(
        epoch=Epoch.ONE_RTT,
        host_cid=server.host_cid,
        network_path=server._network_paths[0],
        quic_logger_frames=[],
        time=1.0,
        version=1,
    )
    server._payload_received(context, payload)


def varints(*values: int) -> bytes:
    buffer = Buffer(capacity=8 * len(values))
    for value in values:
        buffer.push_uint_var(value)
    return bytes(buffer.data)
