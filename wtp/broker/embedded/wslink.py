"""A Pulsar client inside the broker: what the WebSocket API stands on, as Pulsar's own does.

It speaks the binary protocol over a connection in memory, so that a WebSocket client meets the same
topics, subscriptions and rules as any other client, and nothing is done twice.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from wtp.broker.embedded.answers import (
    Empty,
    Error,
    PartitionedMetadataResponse,
    ProducerSuccess,
    Success,
)
from wtp.broker.embedded.commands import CloseConsumer, CloseProducer, Connect, PartitionedMetadata
from wtp.broker.embedded.connection import Connection
from wtp.broker.embedded.frames import frame, split_command
from wtp.broker.embedded.numbers import Cmd, Code
from wtp.errors import BrokerError, BrokerUnavailable

if TYPE_CHECKING:
    from wtp.broker.embedded.core import Core
    from wtp.broker.embedded.protobuf import Message

ANSWER_S = 30.0
"""How long an answer of the broker is waited for; it is in this process."""

_SIZES = struct.Struct(">II")
_MESSAGE, _RECEIPT, _REFUSED = int(Cmd.MESSAGE), int(Cmd.SEND_RECEIPT), int(Cmd.SEND_ERROR)
_ANSWERS: dict[int, type[Any]] = {
    int(Cmd.SUCCESS): Success,
    int(Cmd.ERROR): Error,
    int(Cmd.PRODUCER_SUCCESS): ProducerSuccess,
    int(Cmd.PARTITIONED_METADATA_RESPONSE): PartitionedMetadataResponse,
}


class ClientEvents:
    """What a client is told; none of it may send at once, since the broker is still at work."""

    def message(self, body: bytes, blob: bytes) -> None:
        """A MESSAGE came."""

    def receipt(self, body: bytes, *, good: bool) -> None:
        """A SEND_RECEIPT came, or a SEND_ERROR."""

    def producer_closed(self, producer_id: int) -> None:
        """The broker closed a producer, which has to come back."""

    def consumer_closed(self, consumer_id: int) -> None:
        """The broker closed a consumer, which has to come back."""

    def asked_alive(self) -> None:
        """The broker wants to know whether the client is alive; answer with `alive`."""

    def lost(self) -> None:
        """The connection is closed."""


class _Socket:
    """What a connection sets on a socket, ignored."""

    def setsockopt(self, *_args: Any) -> None:
        """Nothing to set."""


class _Pipe(asyncio.Transport):
    """The client's end of the connection, as the broker sees it."""

    def __init__(self, client: LocalClient, peer: tuple[str, int]) -> None:
        super().__init__()
        self._client = client
        self._peer = peer
        self._closing = False
        self.reading = asyncio.Event()
        self.reading.set()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Addresses of the WebSocket client; a socket without options."""
        known = {"socket": _Socket(), "peername": self._peer, "sockname": self._peer}
        return known.get(name, default)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """The client itself says when it is full."""

    def get_write_buffer_size(self) -> int:
        """Bytes the client has not passed on."""
        return self._client.waiting_bytes

    def write(self, data: Any) -> None:
        """Frames of the broker."""
        self._client.take(data)

    def pause_reading(self) -> None:
        """Too much waits for the disk."""
        self.reading.clear()

    def resume_reading(self) -> None:
        """Go on."""
        self.reading.set()

    def is_closing(self) -> bool:
        """Whether the broker has closed the connection."""
        return self._closing

    def close(self) -> None:
        """The broker closes the connection."""
        if not self._closing:
            self._closing = True
            self.reading.set()
            asyncio.get_running_loop().call_soon(self._client.cut)

    def abort(self) -> None:
        """As `close`: nothing is buffered here."""
        self.close()


class LocalClient:
    """A client of the broker it lives in.

    Args:
        core: The broker.
        peer: Address of whom it works for.
        events: Who is told what comes.

    Attributes:
        waiting_bytes: Bytes that its owner holds; kept up to date by the owner.
    """

    def __init__(self, core: Core, peer: tuple[str, int], events: ClientEvents) -> None:
        self.waiting_bytes = 0
        self._events = events
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._requests = 0
        self._open = True
        self._pipe = _Pipe(self, peer)
        self._link = Connection(core)
        self._link.connection_made(self._pipe)
        self.send(Cmd.CONNECT, Connect("wtp-websocket", 21))

    # --- to the broker -----------------------------------------------------------------------

    def send(self, kind: int, message: Message, blob: bytes = b"") -> None:
        """Send a command."""
        self.send_encoded(kind, message.encode(), blob)

    def send_encoded(self, kind: int, body: bytes, blob: bytes = b"") -> None:
        """Send a command that is encoded already."""
        data = frame(kind, body, blob)
        at = 0
        while at < len(data) and self._open:
            room = self._link.get_buffer(-1)
            part = data[at : at + len(room)]
            room[: len(part)] = part
            at += len(part)
            self._link.buffer_updated(len(part))

    async def ask(self, kind: int, declaration: Callable[[int], Message]) -> Any:
        """Send a request and return its answer.

        Args:
            kind: Command.
            declaration: Makes the command with a request id.

        Raises:
            BrokerError: The broker refused; `code` is the protocol's, e.g. `consumer-busy`.
            BrokerUnavailable: The connection is closed.
        """
        if not self._open:
            raise BrokerUnavailable("The connection inside the broker is closed.")
        self._requests += 1
        request_id = self._requests
        answer = asyncio.get_running_loop().create_future()
        self._asked[request_id] = answer
        try:
            self.send(kind, declaration(request_id))
            async with asyncio.timeout(ANSWER_S):
                return await answer
        finally:
            self._asked.pop(request_id, None)

    async def partitions(self, topic: str) -> int:
        """Number of partitions of a topic, 0 for a plain one.

        Raises:
            BrokerError: The namespace does not exist, or the name is none.
        """
        found = await self.ask(
            Cmd.PARTITIONED_METADATA, lambda request: PartitionedMetadata(topic, request)
        )
        return int(found.partitions or 0)

    async def writable(self) -> None:
        """Wait while the broker takes nothing because the disk is slow."""
        await self._pipe.reading.wait()

    def pause(self) -> None:
        """Get no more messages: the owner is full."""
        self._link.pause_writing()

    def resume(self) -> None:
        """Get messages again."""
        self._link.resume_writing()

    def alive(self) -> None:
        """Tell the broker that the client behind this one is there."""
        self.send(Cmd.PONG, Empty())

    def close(self) -> None:
        """Leave: producers and consumers are gone with it."""
        self.cut()

    def cut(self) -> None:
        """The connection is over, whoever ended it."""
        if not self._open:
            return
        self._open = False
        self._pipe.close()
        self._link.connection_lost(None)
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(BrokerUnavailable("The broker closed the connection."))
        self._events.lost()

    # --- from the broker ---------------------------------------------------------------------

    def take(self, data: bytes) -> None:
        """Frames, each whole."""
        at = 0
        while at < len(data):
            total, size = _SIZES.unpack_from(data, at)
            kind, body = split_command(data[at + 8 : at + 8 + size])
            end = at + 4 + total
            self._act(kind, body, data[at + 8 + size : end])
            at = end

    def _act(self, kind: int, body: bytes, blob: bytes) -> None:
        events = self._events
        if kind == _MESSAGE:
            events.message(body, blob)
        elif kind in (_RECEIPT, _REFUSED):
            events.receipt(body, good=kind == _RECEIPT)
        elif kind in _ANSWERS:
            self._answered(_ANSWERS[kind].decode(body))
        elif kind == Cmd.CLOSE_PRODUCER:
            events.producer_closed(CloseProducer.decode(body).producer_id)
        elif kind == Cmd.CLOSE_CONSUMER:
            events.consumer_closed(CloseConsumer.decode(body).consumer_id)
        elif kind == Cmd.PING:
            events.asked_alive()

    def _answered(self, answer: Any) -> None:
        waiting = self._asked.get(answer.request_id)
        if waiting is None or waiting.done():
            return
        if isinstance(answer, ProducerSuccess) and not answer.ready:
            return
        error = getattr(answer, "error", None)
        if isinstance(answer, Error) or error is not None:
            waiting.set_exception(_refusal(Code(answer.error), answer.message or ""))
        else:
            waiting.set_result(answer)


def _refusal(code: Code, message: str) -> BrokerError:
    return BrokerError(message, code=code.name.lower().replace("_", "-"))
