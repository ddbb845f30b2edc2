"""A producer over a WebSocket."""

from __future__ import annotations

import asyncio
import random
import time
import zlib
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wtp.broker.embedded.answers import SendError
from wtp.broker.embedded.commands import CloseProducer, Producer
from wtp.broker.embedded.frames import blob_of
from wtp.broker.embedded.metadata import murmur3
from wtp.broker.embedded.numbers import Cmd
from wtp.broker.embedded.wscodecs import Codec
from wtp.broker.embedded.wsfast import encode_id, encode_metadata, read_three, send_body
from wtp.broker.embedded.wsmessages import (
    FAILED,
    NotTaken,
    ToSend,
    not_sent,
    read_send,
    sent,
)
from wtp.broker.embedded.wssession import WsSession
from wtp.broker.naming import parse_topic
from wtp.errors import BrokerUnavailable, WtpError

if TYPE_CHECKING:
    from wtp.broker.embedded.core import Core
    from wtp.broker.embedded.wsoptions import ProducerOptions

MAX_UNSENT = 1000
"""Answers that wait for the client; above, nothing more is read from it."""

BLOB_HEAD_BYTES = 10
"""Magic, checksum and size: what a blob has beside metadata and payload, which are limited."""


@dataclass(slots=True)
class _Part:
    """The producer of one partition.

    Attributes:
        topic: Its topic.
        producer_id: On the connection.
        name: Its name.
        sequence: Of the next message.
        broken: It has to be opened again before it can send.
        fenced: A message failed whose sequence id the client had chosen: what follows would
            overtake it and make it a repetition, so nothing more is taken over this socket.
        waiting: Sequence ids and contexts of messages without a receipt, oldest first.
    """

    topic: str
    producer_id: int
    name: str
    sequence: int = 0
    broken: bool = False
    fenced: bool = False
    waiting: deque[tuple[int, str | None]] = field(default_factory=deque)


class WsProducer(WsSession):
    """Takes messages, answers each with its id or why it was not taken.

    Args:
        core: The broker.
        peer: Address of the client.
        options: What it asked for.
        idle_s: Silence that ends it.
    """

    def __init__(
        self, core: Core, peer: tuple[str, int], options: ProducerOptions, idle_s: float
    ) -> None:
        super().__init__(core, peer, idle_s)
        self._options = options
        self._parts: list[_Part] = []
        self._partitioned = False
        self._turn = 0
        self._answers: deque[str] = deque()
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    async def open(self) -> None:
        """Open a producer on the topic, or on each of its partitions."""
        options = self._options
        count = await self.client.partitions(options.topic)
        name = parse_topic(options.topic)
        topics = [str(name.part(n)) for n in range(count)] or [options.topic]
        self._partitioned = count > 0
        self._turn = random.randrange(len(topics))  # noqa: S311 - spreads load, hides nothing
        for number, topic in enumerate(topics):
            part = _Part(topic, number, options.name)
            last = await self._open_part(part)
            first = options.first_sequence
            part.sequence = (last if first is None else first) + 1
            self._parts.append(part)

    async def _open_part(self, part: _Part) -> int:
        """Open a producer; returns the last sequence id that the broker has of it."""
        success = await self.client.ask(
            Cmd.PRODUCER,
            lambda request: Producer(
                part.topic,
                part.producer_id,
                request,
                part.name or None,
                user_provided_name=bool(self._options.name),
            ),
        )
        part.name, part.broken = success.name, False
        last = success.last_sequence_id
        return -1 if last is None else int(last)

    async def text(self, text: str) -> None:
        """Take one message."""
        await self._room.wait()
        try:
            message = read_send(text)
        except NotTaken as error:
            self._answer(not_sent(error.number, error.message, error.context))
            return
        await self.client.writable()
        part = self._part_for(message.key)
        if part.fenced:
            why = "An earlier message failed: connect again and send from there on."
            self._answer(not_sent(FAILED, why, message.context))
            return
        if part.broken and not await self._mended(part, message):
            return
        blob = self._blob(part, message)
        size, most = len(blob) - BLOB_HEAD_BYTES, self.core.settings.max_message_bytes
        if size > most:
            why = f"The message has {size} bytes; at most {most} are taken."
            self._answer(not_sent(FAILED, why, message.context))
            return
        sequence = part.sequence
        part.sequence += 1
        part.waiting.append((sequence, message.context))
        self.client.send_encoded(Cmd.SEND, send_body(part.producer_id, sequence), blob)

    async def _mended(self, part: _Part, message: ToSend) -> bool:
        """Open a producer again that the broker closed or refused; False when it says no."""
        try:
            await self.client.ask(
                Cmd.CLOSE_PRODUCER, lambda request: CloseProducer(part.producer_id, request)
            )
            await self._open_part(part)
        except BrokerUnavailable:
            raise
        except WtpError as error:
            self._answer(not_sent(FAILED, error.message, message.context))
            return False
        return True

    def _part_for(self, key: str | None) -> _Part:
        """The partition of a key; without one they take turns."""
        parts = self._parts
        if len(parts) == 1:
            return parts[0]
        if key is not None:
            value = murmur3(key.encode()) if self._options.murmur else java_hash(key)
            return parts[(value & 0x7FFFFFFF) % len(parts)]
        if not self._options.single:
            self._turn += 1
        return parts[self._turn % len(parts)]

    def _blob(self, part: _Part, message: ToSend) -> bytes:
        """The message as it is stored."""
        now_ms = time.time_ns() // 1_000_000
        deliver_at_ms = message.deliver_at_ms
        if message.deliver_after_ms > 0:
            deliver_at_ms = now_ms + message.deliver_after_ms
        payload, packed = message.payload, None
        if self._options.compress:
            packed = int(Codec.ZLIB), len(payload)
            payload = zlib.compress(payload)
        metadata = encode_metadata(
            part.name,
            part.sequence,
            now_ms,
            message.properties,
            key=message.key,
            event_ms=message.event_ms,
            deliver_at_ms=max(deliver_at_ms, 0),
            packed=packed,
        )
        return blob_of(metadata, payload)

    # --- what the broker answers -------------------------------------------------------------

    def receipt(self, body: bytes, *, good: bool) -> None:
        """A message was stored, or refused."""
        if good:
            producer_id, sequence, ledger, entry = read_three(body)
            part = self._parts[producer_id]
            context = self._settled(part, sequence)
            partition = producer_id if self._partitioned else -1
            self._answer(sent(encode_id(ledger, entry, partition), context))
            return
        error = SendError.decode(body)
        part = self._parts[error.producer_id]
        part.broken = True
        part.fenced = self._options.first_sequence is not None
        self._answer(not_sent(FAILED, error.message, self._settled(part, error.sequence_id)))

    def _settled(self, part: _Part, sequence: int) -> str | None:
        while part.waiting:
            number, context = part.waiting.popleft()
            if number == sequence:
                return context
        return None

    def producer_closed(self, producer_id: int) -> None:
        """The topic was closed: the next message opens it again."""
        if producer_id < len(self._parts):
            self._parts[producer_id].broken = True

    # --- answers -----------------------------------------------------------------------------

    def _answer(self, text: str) -> None:
        self._answers.append(text)
        self._news.set()
        if len(self._answers) >= MAX_UNSENT:
            self._room.clear()

    async def write(self) -> None:
        """Send answers in order."""
        while True:
            while self._answers:
                await self.send(self._answers.popleft())
                if len(self._answers) < MAX_UNSENT:
                    self._room.set()
            self._news.clear()
            await self._news.wait()


def java_hash(text: str) -> int:
    """`String.hashCode` of Java: over UTF-16 units, 32 bits; what keys choose a partition by."""
    value = 0
    data = text.encode("utf-16-le")
    for at in range(0, len(data), 2):
        value = (31 * value + (data[at] | data[at + 1] << 8)) & 0xFFFFFFFF
    return value
