"""A bare client of Pulsar's WebSocket API, for the contract tests."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import aiohttp

MAX_TEXT_BYTES = 16 * 1024 * 1024
QUIET_S = 0.3


def text_of(data: bytes) -> str:
    """Bytes as they stand in a payload."""
    return base64.b64encode(data).decode()


class Socket:
    """One WebSocket."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self.ws = ws

    async def say(self, **fields: Any) -> None:
        """Send an object."""
        await self.ws.send_str(json.dumps(fields))

    async def hear(self, timeout_s: float = 60.0) -> dict[str, Any]:
        """The next object."""
        return dict(json.loads(await self.hear_text(timeout_s)))

    async def hear_text(self, timeout_s: float = 60.0) -> str:
        """The next text."""
        message = await self.ws.receive(timeout_s)
        assert message.type is aiohttp.WSMsgType.TEXT, message
        return str(message.data)

    async def ask(self, **fields: Any) -> dict[str, Any]:
        """Send an object and return the answer."""
        await self.say(**fields)
        return await self.hear()

    async def publish(self, *payloads: bytes, **fields: Any) -> list[str]:
        """Publish; returns the message ids."""
        found = []
        for payload in payloads:
            answer = await self.ask(payload=text_of(payload), **fields)
            assert answer["result"] == "ok", answer
            found.append(answer["messageId"])
        return found

    async def messages(self, count: int, *, ack: bool = False) -> list[dict[str, Any]]:
        """The next `count` messages."""
        found = []
        for _ in range(count):
            found.append(await self.hear())
            if ack:
                await self.say(messageId=found[-1]["messageId"])
        return found

    async def silent(self, quiet_s: float = QUIET_S) -> bool:
        """Whether nothing comes."""
        try:
            message = await self.ws.receive(quiet_s)
        except TimeoutError:
            return True
        raise AssertionError(f"It got {message}.")

    async def closing(self) -> int | None:
        """The code with which the broker closes; what comes before is thrown away."""
        while True:
            message = await self.ws.receive(15.0)
            if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.PING):
                return self.ws.close_code


def payloads(messages: list[dict[str, Any]]) -> list[bytes]:
    """What messages carry."""
    return [base64.b64decode(message["payload"]) for message in messages]


class Api:
    """The WebSocket API of one broker; closes what it opened."""

    def __init__(self, admin: str) -> None:
        self.base = admin.replace("http", "ws", 1) + "/ws/v2"
        self._session: aiohttp.ClientSession
        self._open: list[aiohttp.ClientWebSocketResponse] = []

    @asynccontextmanager
    async def used(self) -> AsyncIterator[Api]:
        """Close everything at the end."""
        async with aiohttp.ClientSession() as self._session:
            yield self
            await asyncio.gather(*(ws.close() for ws in self._open))

    async def open(self, role: str, topic: str, subscription: str = "", **query: Any) -> Socket:
        """Open a socket to a full topic name."""
        path = f"/{role}/{topic.replace('://', '/')}" + (subscription and f"/{subscription}")
        return await self.open_path(path, **query)

    async def again(self, role: str, topic: str, subscription: str, **query: Any) -> Socket:
        """Open a socket in the place of one just closed: Pulsar frees it a little later."""
        for _ in range(100):
            try:
                return await self.open(role, topic, subscription, **query)
            except aiohttp.WSServerHandshakeError as error:
                if error.status != 409:
                    raise
            await asyncio.sleep(0.05)
        raise AssertionError(f"{subscription} stays taken.")

    async def open_path(self, path: str, **query: Any) -> Socket:
        """Open a socket by its path."""
        url = self.base + path + (f"?{urlencode(query)}" if query else "")
        ws = await self._session.ws_connect(
            url, max_msg_size=MAX_TEXT_BYTES, timeout=aiohttp.ClientWSTimeout(ws_close=2.0)
        )
        self._open.append(ws)
        return Socket(ws)

    async def refusal(self, path: str, **query: Any) -> int:
        """The HTTP status of a refused handshake; 101 when it is not."""
        try:
            socket = await self.open_path(path, **query)
        except aiohttp.WSServerHandshakeError as error:
            return error.status
        await socket.ws.close()
        return 101
