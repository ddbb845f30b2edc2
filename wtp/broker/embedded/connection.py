"""One client connection: bytes in and out, SEND, FLOW, ACK; other commands are in `requests`."""

from __future__ import annotations

import asyncio
import logging
import socket
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

from wtp.broker.embedded import requests
from wtp.broker.embedded.alive import AliveCheck, Known
from wtp.broker.embedded.answers import AckResponse, Empty, SendError
from wtp.broker.embedded.commands import CloseProducer, MessageIdData
from wtp.broker.embedded.frames import FRAME_PADDING_BYTES, FrameParser, checksum_ok, command
from wtp.broker.embedded.hotpath import SendHead, read_ack, read_flow, read_send, receipt
from wtp.broker.embedded.numbers import NO_ID, Cmd, Code
from wtp.broker.embedded.producers import TopicProducer
from wtp.broker.embedded.values import Position
from wtp.errors import StorageError, WireError

if TYPE_CHECKING:
    from wtp.broker.embedded.consumer import Consumer
    from wtp.broker.embedded.core import Core
    from wtp.broker.embedded.protobuf import Message
    from wtp.broker.embedded.subscription import Subscription
    from wtp.broker.embedded.topic import Topic

_log = logging.getLogger(__name__)

SOCKET_BUFFER_BYTES = 1024 * 1024
"""Send buffer of a client's socket: a whole burst leaves in one call."""

MAX_UNRECEIPTED = 5000
"""Messages that may wait for the disk before reading from their connection stops."""

_MOST_PERMITS = 1 << 62
_MOST_SEQUENCE = (1 << 63) - 1
# Plain integers: comparing with members of an IntEnum costs several times as much.
_CONNECT, _SEND, _FLOW, _ACK = int(Cmd.CONNECT), int(Cmd.SEND), int(Cmd.FLOW), int(Cmd.ACK)


class Connection(asyncio.BufferedProtocol):
    """A client.

    Args:
        core: The broker.

    Attributes:
        producers: Its producers by id, with their topics.
        consumers: Its consumers by id, with their subscriptions.
        protocol_version: What CONNECT agreed on; 0 before.
    """

    def __init__(self, core: Core) -> None:
        self.core = core
        self.producers: dict[int, tuple[TopicProducer, Topic]] = {}
        self.consumers: dict[int, tuple[Consumer, Subscription]] = {}
        self.protocol_version = 0
        self.client_version = ""
        self.address = ""
        self.local_url = ""
        self.connected_at = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._parser = FrameParser(core.settings.max_message_bytes + FRAME_PADDING_BYTES)
        self._transport: asyncio.Transport | None = None
        self._queue: list[bytes] = []
        self._queued_bytes = 0
        self._paused = False
        self._full = False
        self._unreceipted = 0
        self._reading = True
        self._heard = True
        self._pinged = False
        self._stuck_bytes = -1
        self._closing = False
        self._alive = AliveCheck(self._ping, self._cut)
        self._timer: asyncio.TimerHandle | None = None
        self._closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._high = core.settings.high_water_bytes

    # --- transport ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Set the socket up."""
        self._transport = cast(asyncio.Transport, transport)
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER_BYTES)
        self._transport.set_write_buffer_limits(high=self._high)
        host, port = transport.get_extra_info("peername")[:2]
        self.address = f"/{host}:{port}"
        host, port = transport.get_extra_info("sockname")[:2]
        self.local_url = f"pulsar://[{host}]:{port}" if ":" in host else f"pulsar://{host}:{port}"
        self.core.links.add(self)
        if len(self.core.links) > self.core.settings.max_connections:
            self.close("too many connections")
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let producers and consumers go."""
        self._transport = None
        self._closing = True
        if self._timer is not None:
            self._timer.cancel()
        producers, self.producers = self.producers, {}
        consumers, self.consumers = self.consumers, {}
        for producer, topic in producers.values():
            topic.remove_producer(producer)
        for consumer, subscription in consumers.values():
            subscription.remove(consumer)
        self._queue.clear()
        self.core.links.discard(self)
        self.core.watchers.remove(self)
        if not self._closed.done():
            self._closed.set_result(None)
        self._alive.lost()
        self.core.settle()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go."""
        return self._parser.get_buffer()

    def buffer_updated(self, nbytes: int) -> None:
        """Take bytes: decode all whole frames, act on them, then settle."""
        self._heard = True
        self._alive.heard()
        try:
            for kind, body, blob in self._parser.advance(nbytes):
                self._take(kind, body, blob)
                if self._closing:
                    break
            if self._parser.error is not None:
                raise self._parser.error
        except WireError as error:
            self.close(str(error))
        finally:
            self.core.settle()

    def _take(self, kind: int, body: bytes, blob: bytes) -> None:
        if not self.protocol_version and kind != _CONNECT:
            self.close("a command before CONNECT")
        elif kind == _SEND:
            self._send(body, blob)
        elif kind == _FLOW:
            self._flow(*read_flow(body))
        elif kind == _ACK:
            self._ack(body)
        else:
            requests.take(self, kind, body)

    def pause_writing(self) -> None:
        """Stop delivering: the client does not read."""
        self._paused = True
        self._pace()

    def resume_writing(self) -> None:
        """Deliver again."""
        self._paused = False
        self._pace()
        self._wake_consumers()

    def _wake_consumers(self) -> None:
        self._full = False
        for _, subscription in self.consumers.values():
            self.core.wake(subscription)

    def _pace(self) -> None:
        """Read from the client only while its receipts find a way out."""
        reading = self._unreceipted < MAX_UNRECEIPTED and not self._paused
        if reading != self._reading and self._transport is not None:
            self._reading = reading
            if reading:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    # --- writing -----------------------------------------------------------------------------

    @property
    def has_room(self) -> bool:
        """Whether messages may be added now."""
        if self._paused or self._queued_bytes > self._high or self._closing:
            self._full = True
            return False
        return True

    def write(self, data: bytes) -> None:
        """Queue bytes; they leave when the broker settles."""
        if not self._queue:
            self.core.to_send(self)
        self._queue.append(data)
        self._queued_bytes += len(data)

    def answer(self, kind: int, message: Message) -> None:
        """Queue a command."""
        self.write(command(kind, message))

    def flush(self) -> None:
        """Write what is queued, in one call."""
        queue, self._queue = self._queue, []
        self._queued_bytes = 0
        if self._transport is None or not queue:
            return
        self._transport.write(b"".join(queue))
        if self._full and not self._paused:
            self._wake_consumers()

    # --- life --------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Ping a silent client, close one that stays silent."""
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self.core.settings.keepalive_s, self._watch)
        transport = self._transport
        if transport is None:
            return
        if transport.is_closing() or self._paused:
            # Bytes wait for the client; one that took none of them since the last time is gone.
            waiting = transport.get_write_buffer_size()
            if waiting == self._stuck_bytes:
                transport.abort()
            self._stuck_bytes = waiting
            return
        self._stuck_bytes = -1
        if not self._reading:
            return
        if not self._heard and (self._pinged or not self.protocol_version):
            self.close("the client is silent")
        elif self.protocol_version:
            self._pinged = True
            self.answer(Cmd.PING, Empty())
            self.core.settle()
        self._heard = False
        self._parser.shrink()

    @property
    def gone(self) -> bool:
        """Whether the connection is closed or about to be."""
        return self._closing or self._transport is None

    def check_alive(self, known: Known) -> None:
        """Find out whether the client lives; a silent one is cut off."""
        if self._transport is None:
            known(False)
        else:
            self._alive.ask(self.core.settings.liveness_s, known)

    def _ping(self) -> None:
        self.answer(Cmd.PING, Empty())

    def _cut(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def close(self, reason: str) -> None:
        """Close the connection without a word to the client, as Pulsar does."""
        if self._transport is not None and not self._closing:
            _log.info("connection %s closed: %s", self.address, reason)
            self.finish()

    def finish(self) -> None:
        """Write what is queued and close; `wait_closed` cuts off a client that does not read."""
        self._closing = True
        self.flush()
        if self._transport is not None:
            self._transport.close()

    async def wait_closed(self, timeout: float = 2.0) -> None:
        """Wait until the connection is closed; then cut it off."""
        await asyncio.wait({self._closed}, timeout=timeout)
        if self._transport is not None:
            self._transport.abort()
            await self._closed

    # --- messages ----------------------------------------------------------------------------

    def forget_consumer(self, consumer: Consumer) -> None:
        """The broker closed a consumer."""
        self.consumers.pop(consumer.consumer_id, None)

    def forget_producer(self, producer_id: int) -> None:
        """The broker closed a producer: tell the client."""
        if self.producers.pop(producer_id, None) is not None:
            self.answer(Cmd.CLOSE_PRODUCER, CloseProducer(producer_id, NO_ID))

    def _send(self, body: bytes, blob: bytes) -> None:
        head = read_send(body)
        producer_id, sequence_id, messages, highest, _, transaction = head
        known = self.producers.get(producer_id)
        if known is None or known[0].fenced or not known[0].ready:
            self.close("SEND of an unknown or fenced producer")
            return
        producer, topic = known
        if transaction:
            self._refuse(head, Code.NOT_ALLOWED, "Transactions are not enabled.")
        elif not checksum_ok(blob):
            self._refuse(head, Code.CHECKSUM, "Checksum failed on the broker")
        elif messages < 1 or max(sequence_id, highest) > _MOST_SEQUENCE:
            self.close("SEND with an impossible number")
        else:
            try:
                position = topic.publish(producer, head, blob)
            except StorageError as error:
                producer.fenced = True  # What follows must not overtake it: it would be skipped.
                self._not_kept(head, error)
                return
            data = receipt(producer_id, sequence_id, highest, position)
            if topic.waits:
                self._receipt_later(topic, head, data, position or topic.log.last)
            else:
                self.write(data)

    def _receipt_later(
        self, topic: Topic, head: SendHead, data: bytes, position: Position | None
    ) -> None:
        """Send a receipt once the disk has the message."""
        if position is None:
            self.write(data)
            return

        def written(error: StorageError | None) -> None:
            self._unreceipted -= 1
            self._pace()
            if self._transport is None:
                return
            if error is None:
                self.write(data)
            else:
                self._not_kept(head, error)

        self._unreceipted += 1
        self._pace()
        topic.when_durable(position, written)

    def _not_kept(self, head: SendHead, error: StorageError) -> None:
        self.core.disk_refused(error)
        self._refuse(head, Code.PERSISTENCE, str(error))

    def _refuse(self, head: SendHead, code: Code, why: str) -> None:
        self.core.send_errors += 1
        error = SendError(head[0], head[1], code, why)
        self.answer(Cmd.SEND_ERROR, error)

    def _flow(self, consumer_id: int, permits: int) -> None:
        consumer, subscription = self.consumers.get(consumer_id, (None, None))
        if consumer is not None and subscription is not None:
            consumer.permits = min(consumer.permits + permits, _MOST_PERMITS)
            subscription.flow(consumer)

    def _ack(self, body: bytes) -> None:
        ack = read_ack(body)
        consumer, subscription = self.consumers.get(ack.consumer_id, (None, None))
        error: tuple[Code, str] | None = None
        if ack.txn_least is not None or ack.txn_most is not None:
            error = (Code.NOT_ALLOWED, "Transactions are not enabled.")
        elif consumer is None or subscription is None:
            error = (Code.CONSUMER_NOT_FOUND, "Consumer not found.")
        elif ack.ack_type == 1:
            if ack.message_ids:
                subscription.ack_up_to(cumulative_position(ack.message_ids[-1]), consumer)
        else:
            subscription.ack(
                consumer,
                [
                    Position(m.ledger, m.entry)
                    for m in ack.message_ids
                    if not m.ack_set or not any(m.ack_set)
                ],
            )
        if ack.request_id is not None:
            code, why = error or (None, None)
            answer = AckResponse(ack.consumer_id, code, why, ack.request_id)
            self.answer(Cmd.ACK_RESPONSE, answer)


def cumulative_position(place: MessageIdData) -> Position:
    """The last entry that a cumulative acknowledgement covers whole.

    With bits left in the ack set the batch itself is not done, only what is before it.
    """
    if any(place.ack_set):
        return Position(place.ledger, place.entry - 1)
    return Position(place.ledger, place.entry)
