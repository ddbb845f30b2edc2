"""Reading over a WebSocket: a reader or a durable subscription that finds back by itself."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Mapping

from wtp.broker.messages import Received
from wtp.broker.websocketids import path, received, start_id
from wtp.broker.websocketline import Door, Line
from wtp.errors import BrokerError, BrokerUnavailable, WtpError

MAX_UNSENT = 10_000
"""Acknowledgements kept while there is no connection; older ones bring a message twice."""


class SocketSubscription:
    """Messages of one topic; made by `WebSocketClient`.

    Args:
        door: The broker.
        topic: Full topic name.
        queue: Messages that may wait here.
        name: Of a durable subscription; empty for a reader.
        query: Parameters of the socket.
        start: Where a reader begins.
        inclusive: Whether the message there is wanted.
    """

    def __init__(
        self,
        door: Door,
        topic: str,
        queue: int,
        *,
        name: str = "",
        query: Mapping[str, object],
        start: str = "latest",
        inclusive: bool = True,
    ) -> None:
        self.topic = topic
        self.durable = bool(name)
        self._name = name
        self._query = {**query, "receiverQueueSize": queue}
        self._start = start_id(start, inclusive=inclusive)
        self._most = 2 * queue
        self._waiting: deque[Received] = deque()
        self._room = asyncio.Event()
        self._unsent: deque[str] = deque(maxlen=MAX_UNSENT)
        self._news = asyncio.Event()
        self._to_send = asyncio.Event()
        self._closed = False
        self._writer: asyncio.Task[None] | None = None
        what = f"subscribe {name} to {topic}" if name else f"read {topic}"
        self._line = Line(
            door, what, self._path, opened=self._opened, text=self._arrived, lost=self._lost
        )

    def _path(self) -> str:
        if self.durable:
            return path("consumer", self.topic, self._query, self._name)
        return path("reader", self.topic, {**self._query, "messageId": self._start})

    async def open(self) -> None:
        """Open the socket.

        Raises:
            WtpError: See `Door.open`.
        """
        await self._line.open()
        self._writer = asyncio.create_task(self._write())

    def _opened(self) -> None:
        self._to_send.set()

    def _lost(self) -> None:
        if self.durable:  # all of it comes again
            self._waiting.clear()
        self._news.set()

    async def _arrived(self, text: str, at_us: int) -> None:
        message = received(text, self.topic, at_us)
        while len(self._waiting) >= self._most:  # more than was asked for: let the broker wait
            self._room.clear()
            await self._room.wait()
        if not self.durable:
            self._start = message.raw
        self._waiting.append(message)
        self._news.set()

    @property
    def waiting(self) -> int:
        """Messages received and not yet taken."""
        return len(self._waiting)

    async def receive(self) -> Received:
        """The next message; one caller at a time, cancellation loses nothing.

        Raises:
            BrokerUnavailable: The subscription was closed.
            WtpError: The broker does not let us in any more.
        """
        while not self._waiting:
            if self._closed:
                raise BrokerUnavailable("The subscription is closed.", code="closed")
            if self._line.failure is not None:
                raise self._line.failure
            self._news.clear()
            await self._news.wait()
        message = self._waiting.popleft()
        self._room.set()
        if not self.durable:
            self._say(message.raw)
        return message

    def ack(self, message: Received) -> None:
        """Acknowledge; nothing happens for a reader."""
        if self.durable:
            self._say(message.raw)

    def nack(self, message: Received) -> None:
        """Ask for redelivery; nothing happens for a reader."""
        if self.durable:
            self._say(message.raw, type="negativeAcknowledge")

    def _say(self, message_id: str, **more: str) -> None:
        self._unsent.append(json.dumps({**more, "messageId": message_id}))
        self._to_send.set()

    async def _write(self) -> None:
        """Send acknowledgements while there is a connection."""
        while True:
            await self._to_send.wait()
            self._to_send.clear()
            while self._unsent and self._line.connected:
                text = self._unsent.popleft()
                try:
                    await self._line.send(text)
                except ConnectionError:
                    self._unsent.appendleft(text)
                    break

    async def seek_ms(self, publish_ms: int) -> None:
        """Refuse: the WebSocket API cannot seek.

        Raises:
            BrokerError: Always; `code` is `unsupported`.
        """
        raise BrokerError(
            "Pulsar's WebSocket API cannot seek by time.",
            hint="Read without --via pulsar-ws.",
            code="unsupported",
        )

    @property
    def connected(self) -> bool:
        """Whether the broker is there at this moment."""
        return self._line.connected

    @property
    def failure(self) -> WtpError | None:
        """Why it will never come back."""
        return self._line.failure

    async def close(self) -> None:
        """Stop receiving; what was not taken is gone (a durable subscription gets it again)."""
        if self._closed:
            return
        self._closed = True
        while self._unsent and self._line.connected:  # acknowledgements go out first
            try:
                await self._line.send(self._unsent.popleft())
            except ConnectionError:
                break
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.gather(self._writer, return_exceptions=True)
        await self._line.close()
        self._news.set()
