"""WebRTC data channel, aiortc on both ends; the offer goes by one HTTPS POST, as in WHIP.

Reliable and in order, or unordered without repeats. No STUN or TURN server: the ends see each
other's addresses. aiortc leaves 127.0.0.1 out, so without a link there must be another address.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from importlib import import_module
from typing import Any

from wtp.bench.compare_ends import Security, Take
from wtp.bench.rival_http import Site, client_tls, scheme, server_tls, site

HIGH_BYTES, LOW_BYTES = 600_000, 300_000
"""What may wait in the channel, as for WebTransport in this comparison."""
OPEN_S = 30.0
ASK_AGAIN_S = 0.25
"""A channel without repeats may lose a question or its answer."""


def _peer() -> Any:
    aiortc = import_module("aiortc")
    return aiortc.RTCPeerConnection(aiortc.RTCConfiguration(iceServers=[]))


def _description(values: dict[str, str]) -> Any:
    return import_module("aiortc").RTCSessionDescription(**values)


class Peers(Site):
    """The HTTPS side and the peer connections it has answered."""

    peers: set[Any]

    async def close(self) -> None:
        """Close all of them."""
        await asyncio.gather(*(peer.close() for peer in self.peers), return_exceptions=True)
        await super().close()


async def listen(host: str, security: Security, take: Take, *, reliable: bool) -> Peers:
    """Serve POST /offer."""
    from aiohttp import web

    peers: set[Any] = set()

    async def offer(request: web.Request) -> web.Response:
        peer = _peer()
        peers.add(peer)

        @peer.on("datachannel")  # type: ignore[untyped-decorator]  # loaded late
        def opened(channel: Any) -> None:
            @channel.on("message")  # type: ignore[untyped-decorator]  # loaded late
            def arrived(data: bytes) -> None:
                if take(data):
                    channel.send(b"1")

        @peer.on("connectionstatechange")  # type: ignore[untyped-decorator]  # loaded late
        async def changed() -> None:
            if peer.connectionState in ("closed", "failed"):
                await peer.close()
                peers.discard(peer)

        await peer.setRemoteDescription(_description(await request.json()))
        await peer.setLocalDescription(await peer.createAnswer())
        local = peer.localDescription
        return web.json_response({"sdp": local.sdp, "type": local.type})

    app = web.Application()
    app.router.add_post("/offer", offer)
    listening = await site(app, host, server_tls(security))
    found = Peers(listening._runner, listening.address)
    found.peers = peers
    return found


class Sender:
    """One data channel."""

    lanes = 1

    def __init__(self, peer: Any, channel: Any, reliable: bool) -> None:
        self._peer = peer
        self._channel = channel
        self._reliable = reliable
        self._room = asyncio.Event()
        self._answered = asyncio.Event()
        channel.bufferedAmountLowThreshold = LOW_BYTES
        channel.on("bufferedamountlow", self._room.set)
        channel.on("message", lambda _: self._answered.set())

    async def send(self, data: bytes) -> bool:
        """Send a message; waits while much is buffered."""
        while self._channel.bufferedAmount > HIGH_BYTES:
            self._room.clear()
            await self._room.wait()
        self._channel.send(data)
        return True

    async def ask(self, data: bytes) -> None:
        """Send a message and wait for the answer; without repeats by the channel, repeat it."""
        self._answered.clear()
        while not self._answered.is_set():
            self._channel.send(data)
            with suppress(TimeoutError):
                async with asyncio.timeout(None if self._reliable else ASK_AGAIN_S):
                    await self._answered.wait()

    async def close(self) -> None:
        """Close the connection; a channel has no orderly end of its own."""
        await self._peer.close()


async def connect(
    address: dict[str, Any], security: Security, use: str, *, reliable: bool
) -> Sender:
    """Make a peer connection with one channel and wait until it is open."""
    import aiohttp

    peer = _peer()
    kept = {} if reliable else {"ordered": False, "maxRetransmits": 0}
    channel = peer.createDataChannel("objects", **kept)
    open_ = asyncio.Event()
    channel.on("open", open_.set)
    url = f"{scheme(security, 'http')}://{address['host']}:{address['port']}/offer"
    try:
        await peer.setLocalDescription(await peer.createOffer())
        local = peer.localDescription
        body = {"sdp": local.sdp, "type": local.type}
        async with (
            asyncio.timeout(OPEN_S),
            aiohttp.ClientSession() as client,
            client.post(url, json=body, ssl=client_tls(security)) as answer,
        ):
            await peer.setRemoteDescription(_description(await answer.json()))
            await open_.wait()
    except BaseException:
        await peer.close()
        raise
    return Sender(peer, channel, reliable)
