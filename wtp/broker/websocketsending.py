"""Publishing over a WebSocket: one producer, its receipts, and how long they take."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from wtp.broker.websocketids import answer, message, path
from wtp.broker.websocketline import Door, Line
from wtp.clock import monotonic_us
from wtp.errors import BrokerError, BrokerUnavailable, Refused
from wtp.metrics import Latency

Done = Callable[[BrokerError | Refused | None], None]

MAX_MESSAGE_BYTES = 5 * 1024 * 1024
"""Largest payload that a broker takes with its own settings."""

LAST_SENDS_S = 2.0
"""How long closing waits for receipts."""


@dataclass(slots=True)
class _Pending:
    """A message without a receipt."""

    payload: bytes
    properties: Mapping[str, str]
    key: str
    event_ms: int
    done: Done
    sent_us: int | None = None
    """When it was written to the present connection, CLOCK_MONOTONIC; None: not yet."""


class SocketProducer:
    """A producer; made by `WebSocketClient`, and used like `wtp.broker.sending.Producer`.

    With a name it keeps what has no receipt and sends it again over the next connection, numbered
    as before, so that a broker with de-duplication stores it once. Without one it gives it up.

    Args:
        door: The broker.
        topic: Full topic name.
        name: Producer's name, unique to this object for ever; empty for none.
        max_pending: Messages without a receipt that it takes at most.

    Attributes:
        last_seq: Always 0: the API does not tell what the broker has.
        receipt: Latency from the writing of a message to its receipt.
    """

    def __init__(self, door: Door, topic: str, name: str, max_pending: int) -> None:
        self.topic = topic
        self.last_seq = 0
        self.receipt = Latency()
        self._name = name
        self._max_pending = max_pending
        self._pending: OrderedDict[int, _Pending] = OrderedDict()
        self._number = 0
        self._unwritten = 0
        """Number before the first message that this connection has not got."""
        self._to_send = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._writer: asyncio.Task[None] | None = None
        self.changed: Callable[[bool], None] = _nothing
        """Told that the connection came (True) or went."""
        self._line = Line(
            door,
            f"publish to {topic}",
            self._path,
            opened=self._opened,
            text=self._arrived,
            lost=self._lost,
        )

    def _path(self) -> str:
        """The broker numbers messages itself, from the first one without a receipt on."""
        first = next(iter(self._pending), self._number + 1) - 1
        named = {"producerName": self._name, "initialSequenceId": first} if self._name else {}
        return path("producer", self.topic, {**named, "sendTimeoutMillis": 0})

    async def open(self) -> None:
        """Open the socket.

        Raises:
            WtpError: See `Door.open`; `code` is `busy` while another producer has this name.
        """
        await self._line.open()
        self._writer = asyncio.create_task(self._write())

    @property
    def connected(self) -> bool:
        """Whether the broker is there at this moment."""
        return self._line.connected

    @property
    def failure(self) -> Exception | None:
        """Why it will never come back."""
        return self._line.failure

    @property
    def reconnects(self) -> int:
        """Connections after the first."""
        return self._line.reconnects

    def send(
        self,
        payload: bytes,
        *,
        properties: Mapping[str, str],
        key: str,
        event_ms: int,
        seq: int | None,
        done: Done,
    ) -> None:
        """Hand a message over; never blocks.

        Args:
            payload: The bytes.
            properties: Strings only.
            key: Partition key.
            event_ms: Event time in Unix ms; 0 for none.
            seq: Not used: messages of a named producer are numbered as they come.
            done: Called with None after the broker's receipt, or with the error.
        """
        if len(payload) > MAX_MESSAGE_BYTES:
            done(BrokerError(f"{len(payload)} bytes are too many.", code="too-large"))
            return
        if len(self._pending) >= self._max_pending:
            done(BrokerError("Too many messages wait for receipts.", code="queue"))
            return
        if not self._name and not self._line.connected:
            done(BrokerUnavailable("There is no connection to the broker."))
            return
        self._number += 1
        self._pending[self._number] = _Pending(payload, properties, key, event_ms, done)
        self._empty.clear()
        self._to_send.set()

    async def _write(self) -> None:
        """Write what is new to the present connection."""
        while True:
            await self._to_send.wait()
            self._to_send.clear()
            while self._line.connected and self._unwritten < self._number:
                number = self._unwritten + 1
                self._unwritten = number
                item = self._pending.get(number)
                if item is None:
                    continue
                item.sent_us = monotonic_us()
                text = message(item.payload, item.properties, item.key, item.event_ms, number)
                try:
                    await self._line.send(text)
                except ConnectionError:
                    break

    async def _arrived(self, text: str, at_us: int) -> None:
        fields = answer(text)
        context = str(fields.get("context") or "")
        number = int(context) if context.isascii() and context.isdecimal() else 0
        item = self._pending.get(number)
        if item is None:
            return
        if fields.get("result") != "ok":
            await self._refused(number, item, str(fields.get("errorMsg") or "no reason given"))
            return
        if item.sent_us is not None:
            self.receipt.add(at_us - item.sent_us)
        self._settle(number, None)

    async def _refused(self, number: int, item: _Pending, why: str) -> None:
        """A message failed: with a name it and all behind it go again, in order."""
        if self._name:
            await self._line.renew()
        else:
            self._settle(number, BrokerError(f"send: {why[:300]}", code="broker"))

    def _settle(self, number: int, error: BrokerError | Refused | None) -> None:
        item = self._pending.pop(number)
        if not self._pending:
            self._empty.set()
        item.done(error)

    def _opened(self) -> None:
        self._unwritten = next(iter(self._pending), self._number + 1) - 1
        self._to_send.set()
        self.changed(True)

    def _lost(self) -> None:
        for item in self._pending.values():
            item.sent_us = None
        if not self._name or self._line.failure is not None:
            self._give_up()
        self.changed(False)

    def _give_up(self) -> None:
        error = BrokerUnavailable("The connection to the broker was lost.")
        while self._pending:
            self._settle(next(iter(self._pending)), error)

    async def flush(self) -> None:
        """Wait until everything handed over has its receipt or failed."""
        await self._empty.wait()

    async def close(self) -> None:
        """Close; what has no receipt after a moment failed."""
        if self._line.connected:
            try:
                async with asyncio.timeout(LAST_SENDS_S):
                    await self.flush()
            except TimeoutError:
                pass
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.gather(self._writer, return_exceptions=True)
        await self._line.close()
        self._give_up()

    def snapshot(self) -> dict[str, Any]:
        """Connection, messages without a receipt, and how long receipts take."""
        return {
            "connected": self.connected,
            "reconnects": self.reconnects,
            "pending": len(self._pending),
            "receipt": self.receipt.snapshot(),
        }


def _nothing(_there: bool) -> None:
    """Nobody wants to know."""
