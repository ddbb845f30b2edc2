"""A broker on the test's own loop, and a client that speaks raw frames to it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from tests.broker_protocol.memory_store import MemoryStore
from wtp.broker.embedded.answers import (
    AckResponse,
    ActiveConsumerChange,
    Connected,
    ConsumerStatsResponse,
    Deliver,
    Empty,
    Error,
    GetLastMessageIdResponse,
    GetOrCreateSchemaResponse,
    GetSchemaResponse,
    GetTopicsResponse,
    LookupResponse,
    PartitionedMetadataResponse,
    ProducerSuccess,
    SendError,
    SendReceipt,
    Success,
    WatchTopicsSuccess,
    WatchTopicsUpdate,
)
from wtp.broker.embedded.commands import (
    Ack,
    CloseConsumer,
    CloseProducer,
    Connect,
    Flow,
    Lookup,
    MessageIdData,
    Producer,
    Send,
    Subscribe,
)
from wtp.broker.embedded.connection import Connection
from wtp.broker.embedded.core import Core, Settings
from wtp.broker.embedded.frames import FrameParser, blob_of, frame
from wtp.broker.embedded.metadata import Metadata
from wtp.broker.embedded.numbers import Cmd
from wtp.broker.embedded.protobuf import Message

M = TypeVar("M", bound=Message)

ANSWERS: dict[int, type[Message]] = {
    Cmd.CONNECTED: Connected,
    Cmd.SUCCESS: Success,
    Cmd.ERROR: Error,
    Cmd.PRODUCER_SUCCESS: ProducerSuccess,
    Cmd.SEND_RECEIPT: SendReceipt,
    Cmd.SEND_ERROR: SendError,
    Cmd.MESSAGE: Deliver,
    Cmd.ACK_RESPONSE: AckResponse,
    Cmd.ACTIVE_CONSUMER_CHANGE: ActiveConsumerChange,
    Cmd.CLOSE_CONSUMER: CloseConsumer,
    Cmd.CLOSE_PRODUCER: CloseProducer,
    Cmd.PING: Empty,
    Cmd.PONG: Empty,
    Cmd.LOOKUP_RESPONSE: LookupResponse,
    Cmd.PARTITIONED_METADATA_RESPONSE: PartitionedMetadataResponse,
    Cmd.GET_LAST_MESSAGE_ID_RESPONSE: GetLastMessageIdResponse,
    Cmd.CONSUMER_STATS_RESPONSE: ConsumerStatsResponse,
    Cmd.GET_TOPICS_RESPONSE: GetTopicsResponse,
    Cmd.GET_SCHEMA_RESPONSE: GetSchemaResponse,
    Cmd.GET_OR_CREATE_SCHEMA_RESPONSE: GetOrCreateSchemaResponse,
    Cmd.WATCH_TOPICS_SUCCESS: WatchTopicsSuccess,
    Cmd.WATCH_TOPICS_UPDATE: WatchTopicsUpdate,
}


class ClosedByBroker(Exception):
    """The broker closed the connection."""


class Wire:
    """A connection of raw frames.

    Attributes:
        patience_s: How long an answer may take.
    """

    patience_s = 5.0

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.parser = FrameParser()
        self.frames: list[tuple[int, bytes, bytes]] = []
        self.blob = b""

    async def __aenter__(self) -> Wire:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except OSError:
            return

    def send(self, kind: int, message: Message, blob: bytes = b"") -> None:
        self.writer.write(frame(kind, message.encode(), blob))

    async def next(self) -> tuple[int, Message]:
        """The next answer; PINGs of the broker are answered and passed over."""
        while True:
            while not self.frames:
                async with asyncio.timeout(self.patience_s):
                    try:
                        data = await self.reader.read(65536)
                    except ConnectionError as error:
                        raise ClosedByBroker from error
                if not data:
                    raise ClosedByBroker
                self.frames += self.parser.feed(data)
            kind, body, self.blob = self.frames.pop(0)
            if kind != Cmd.PING:
                return kind, ANSWERS[kind].decode(body)
            self.send(Cmd.PONG, Empty())

    async def expect(self, wanted: type[M]) -> M:
        _, message = await self.next()
        assert isinstance(message, wanted), message
        return message

    async def closed(self) -> bool:
        """Whether the broker closes without another word."""
        try:
            answer = await self.next()
        except ClosedByBroker:
            return True
        raise AssertionError(f"got {answer}")

    async def quiet(self) -> None:
        """Nothing comes: a PING is answered first."""
        self.send(Cmd.PING, Empty())
        kind, message = await self.next()
        assert kind == Cmd.PONG, message

    @asynccontextmanager
    async def alive(self) -> AsyncIterator[None]:
        """Answers the broker's PINGs meanwhile; nothing else may come."""

        async def listen() -> None:
            raise AssertionError(f"got {await self.next()}")

        task = asyncio.create_task(listen())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})
            if not task.cancelled() and (failure := task.exception()) is not None:
                raise failure

    async def connect(self, version: int = 21) -> Connected:
        self.send(Cmd.CONNECT, Connect("test", version))
        return await self.expect(Connected)

    async def locate(self, topic: str) -> LookupResponse:
        """LOOKUP; a real broker serves a topic only after it was asked where it is."""
        self.send(Cmd.LOOKUP, Lookup(topic, 1))
        return await self.expect(LookupResponse)

    async def produce(self, topic: str = "t", producer_id: int = 1, **more: object) -> Message:
        """PRODUCER; returns the answer."""
        message = Producer(topic, producer_id, 100 + producer_id)
        self.send(Cmd.PRODUCER, replace(message, **more))  # type: ignore[arg-type]
        return (await self.next())[1]

    async def subscribe(self, topic: str = "t", consumer_id: int = 1, **more: object) -> Message:
        """SUBSCRIBE to `s`; returns the answer."""
        message = Subscribe(topic, "s", 0, consumer_id, 200 + consumer_id)
        self.send(Cmd.SUBSCRIBE, replace(message, **more))  # type: ignore[arg-type]
        return (await self.next())[1]

    def publish(self, sequence: int, payload: bytes = b"hello", **more: object) -> None:
        """SEND by producer 1."""
        self.send(Cmd.SEND, Send(1, sequence), blob(sequence, payload, **more))

    async def published(self, sequence: int, payload: bytes = b"hello") -> SendReceipt:
        self.publish(sequence, payload)
        return await self.expect(SendReceipt)

    def flow(self, permits: int, consumer_id: int = 1) -> None:
        self.send(Cmd.FLOW, Flow(consumer_id, permits))

    def ack(self, place: MessageIdData | None, kind: int = 0, request: int | None = None) -> None:
        assert place is not None
        ids = [MessageIdData(place.ledger, place.entry)]
        self.send(Cmd.ACK, Ack(1, kind, ids, request_id=request))


def blob(sequence: int, payload: bytes = b"hello", **more: object) -> bytes:
    """A message's blob with checksum."""
    metadata = replace(Metadata("p", sequence, 1_700_000_000_000), **more)  # type: ignore[arg-type]
    return blob_of(metadata.encode(), payload)


async def dial(host: str, port: int, *, connect: bool = True) -> Wire:
    """A connection to any broker."""
    wire = Wire(*await asyncio.open_connection(host, port))
    if connect:
        await wire.connect()
    return wire


class Bench:
    """A core that listens on a free port."""

    def __init__(self, core: Core, port: int) -> None:
        self.core = core
        self.port = port

    async def wire(self, *, connect: bool = True) -> Wire:
        return await dial("127.0.0.1", self.port, connect=connect)


@asynccontextmanager
async def bench(
    folder: Path, settings: Settings | None = None, clock: Callable[[], float] = time.monotonic
) -> AsyncIterator[Bench]:
    """A broker with its topics in memory."""
    core = Core(MemoryStore(folder), settings, clock)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(core), "127.0.0.1", 0)
    try:
        yield Bench(core, server.sockets[0].getsockname()[1])
    finally:
        server.close()
        await core.close()
        await server.wait_closed()
