"""Lines that hold what passes for a known time: UDP to a router, TCP to a broker."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from wtp.clock import monotonic_us


class Delay:
    """A delay that can be changed, and what it really came to each time.

    Attributes:
        wanted_s: 0 for none.
        done_us: What was waited, while it was wanted.
    """

    def __init__(self) -> None:
        self.wanted_s = 0.0
        self.done_us: list[int] = []

    def call(self, function: Callable[..., Any], *args: Any) -> None:
        """Call something on the running loop after the delay; at once without one."""
        if not self.wanted_s:
            function(*args)
            return
        began_us = monotonic_us()

        def late() -> None:
            self.done_us.append(monotonic_us() - began_us)
            function(*args)

        asyncio.get_running_loop().call_later(self.wanted_s, late)


class Back(asyncio.DatagramProtocol):
    """What a router sends to one client."""

    def __init__(self, front: asyncio.DatagramTransport | None, client: Any) -> None:
        self._front, self._client = front, client

    def datagram_received(self, data: bytes, _: Any) -> None:
        """Pass it on at once."""
        assert self._front is not None
        self._front.sendto(data, self._client)


class UdpLine(asyncio.DatagramProtocol):
    """Passes datagrams on to a router, those towards it late."""

    def __init__(self, target: tuple[str, int], delay: Delay) -> None:
        self._target, self._delay = target, delay
        self._front: asyncio.DatagramTransport | None = None
        self._ways: dict[Any, asyncio.DatagramTransport] = {}
        self._opening: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: Any) -> None:
        """Keep the side towards clients."""
        self._front = transport

    def datagram_received(self, data: bytes, client: Any) -> None:
        """Pass a client's datagram on."""
        self._delay.call(self._pass_on, data, client)

    def _pass_on(self, data: bytes, client: Any) -> None:
        way = self._ways.get(client)
        if way is not None:
            way.sendto(data)
        else:
            opening = asyncio.get_running_loop().create_task(self._open(data, client))
            self._opening.add(opening)
            opening.add_done_callback(self._opening.discard)

    async def _open(self, data: bytes, client: Any) -> None:
        loop = asyncio.get_running_loop()
        way, _ = await loop.create_datagram_endpoint(
            lambda: Back(self._front, client), remote_addr=self._target
        )
        self._ways[client] = way
        way.sendto(data)

    def close(self) -> None:
        """Close every socket."""
        for transport in (self._front, *self._ways.values()):
            if transport is not None:
                transport.close()


@asynccontextmanager
async def udp_line(target: tuple[str, int], delay: Delay) -> AsyncIterator[int]:
    """A line to a router; yields its port."""
    loop = asyncio.get_running_loop()
    transport, line = await loop.create_datagram_endpoint(
        lambda: UdpLine(target, delay), local_addr=("127.0.0.1", 0)
    )
    try:
        yield transport.get_extra_info("sockname")[1]
    finally:
        line.close()


@asynccontextmanager
async def tcp_line(port: int, delay: Delay) -> AsyncIterator[int]:
    """A line to a broker, late towards it; yields its port, which has as many digits.

    A broker tells clients its address in its answer to LOOKUP: the line puts its own there.
    """
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, out = await asyncio.open_connection("127.0.0.1", port)
        held: deque[bytes] = deque()

        def forward() -> None:
            out.write(held.popleft())

        async def towards() -> None:
            while data := await reader.read(1 << 16):
                held.append(data)
                delay.call(forward)

        async def back() -> None:
            old, new = (f"127.0.0.1:{one}".encode() for one in (port, own))
            while data := await there.read(1 << 16):
                writer.write(data.replace(old, new))

        ways = {asyncio.create_task(towards()), asyncio.create_task(back())}
        tasks.update(ways)
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        for end in (out, writer):
            end.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    while len(str(server.sockets[0].getsockname()[1])) != len(str(port)):
        server.close()
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
    own = server.sockets[0].getsockname()[1]
    try:
        yield own
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0.05)  # the connections' own tasks end with theirs
