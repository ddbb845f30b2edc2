"""The one messaging path: `pulsar-client` behind an asyncio face.

The C++ client calls back on threads of its own. Nothing is done there but to note the time and to
wake the loop; conversion happens on the loop. Blocking calls run in a small thread pool.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, TypeVar

import pulsar

from wtp.broker.messages import Inbox, Received, message_id, received, translate
from wtp.clock import monotonic_us
from wtp.errors import BrokerError, BrokerUnavailable, Refused, WtpError

T = TypeVar("T")
Done = Callable[[BrokerError | Refused | None], None]
SubscriptionKind = Literal["exclusive", "shared", "failover", "key_shared"]

OPERATION_TIMEOUT_S = 5
LIVE_SEND_TIMEOUT_MS = 2000
"""A live object that has no receipt by then is given up; it would be worthless anyway."""

ASK_S = 0.1
"""How often a waiting call looks whether the client was closed."""

ANSWER_S = 1.0
"""How long closing waits for what the broker was asked."""

SCHEMES = ("pulsar://", "pulsar+ssl://")

_KINDS = {
    "exclusive": pulsar.ConsumerType.Exclusive,
    "shared": pulsar.ConsumerType.Shared,
    "failover": pulsar.ConsumerType.Failover,
    "key_shared": pulsar.ConsumerType.KeyShared,
}
_POSITIONS = {
    "earliest": pulsar.InitialPosition.Earliest,
    "latest": pulsar.InitialPosition.Latest,
}


def _logger() -> Any:
    """Where the C++ client logs: nowhere, or stderr with WTP_DEBUG; never to stdout."""
    if os.environ.get("WTP_DEBUG"):
        return pulsar.FileLogger(pulsar.LoggerLevel.Info, "/dev/stderr")
    return pulsar.FileLogger(pulsar.LoggerLevel.Error, os.devnull)


class Producer:
    """One producer; made by `BrokerClient.producer`."""

    def __init__(self, client: BrokerClient, raw: Any, topic: str) -> None:
        self.topic = topic
        self._client = client
        self._raw = raw
        self.last_seq: int = raw.last_sequence_id()
        """Last sequence id the broker had of this name when the producer opened; -1 for none."""

    def send(
        self,
        payload: bytes,
        *,
        properties: dict[str, str],
        key: str,
        event_ms: int,
        seq: int | None,
        done: Done,
    ) -> None:
        """Hand an object over; never blocks.

        Args:
            payload: The bytes.
            properties: Strings only.
            key: Partition key.
            event_ms: Event time in Unix ms; 0 for none.
            seq: Sequence id from 1 on, for a named producer; None otherwise.
            done: Called on the loop with None after the broker's receipt, or with the error.
        """
        post = self._client.inbox.post

        def on_receipt(result: Any, _message_id: Any) -> None:
            post(self._finish, done, result)

        try:
            self._raw.send_async(
                payload,
                on_receipt,
                properties=properties,
                partition_key=key,
                sequence_id=seq,
                event_timestamp=event_ms if event_ms > 0 else None,
            )
        except pulsar.PulsarException as error:
            done(translate(type(error).__name__, self._client.url, "send"))

    def _finish(self, done: Done, result: Any) -> None:
        if result == pulsar.Result.Ok:
            done(None)
        else:
            done(translate(result.name, self._client.url, "send"))

    @property
    def connected(self) -> bool:
        """Whether the broker is there at this moment."""
        return bool(self._raw.is_connected())

    async def flush(self) -> None:
        """Wait until everything handed over has its receipt or failed."""
        await self._client.call("flush", self._raw.flush)

    async def close(self) -> None:
        """Close; errors on the way out are of no interest."""
        with contextlib.suppress(WtpError):
            await self._client.call("close", self._raw.close)


class Subscription:
    """Messages of one topic, by a reader or a durable subscription."""

    def __init__(self, client: BrokerClient, topic: str, queue: int, durable: bool) -> None:
        self.topic = topic
        self.durable = durable
        self._client = client
        self._raw: Any = None
        self._slots = threading.Semaphore(queue)
        self._ready: deque[tuple[Any, int]] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False

    def on_message(self, _raw: Any, message: Any) -> None:
        """The client's listener. Blocks its thread while the queue is full: that is the bound."""
        at_us = monotonic_us()
        self._slots.acquire()
        if not self._closed:
            self._client.inbox.post(self._arrived, message, at_us)

    def _arrived(self, message: Any, at_us: int) -> None:
        self._ready.append((message, at_us))
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    @property
    def waiting(self) -> int:
        """Messages received and not yet taken."""
        return len(self._ready)

    async def receive(self) -> Received:
        """The next message; one caller at a time, cancellation loses nothing.

        Raises:
            BrokerUnavailable: The subscription was closed.
        """
        while not self._ready:
            if self._closed:
                raise BrokerUnavailable("The subscription is closed.")
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        message, at_us = self._ready.popleft()
        self._slots.release()
        return received(message, at_us)

    def ack(self, message: Received) -> None:
        """Acknowledge; nothing happens for a reader."""
        if self.durable:
            self._raw._consumer.acknowledge_async(message.raw._message, _ignore)

    def nack(self, message: Received) -> None:
        """Ask for redelivery; nothing happens for a reader."""
        if self.durable:
            self._raw.negative_acknowledge(message.raw)

    async def seek_ms(self, publish_ms: int) -> None:
        """Go to the first message with this publish time (Unix ms) or later."""
        await self._client.call("seek", self._raw.seek, publish_ms)

    @property
    def connected(self) -> bool:
        """Whether the broker is there at this moment."""
        return bool(self._raw.is_connected())

    async def close(self) -> None:
        """Stop receiving; what was not taken is gone (a durable subscription gets it again)."""
        if self._closed:
            return
        self._closed = True
        self._slots.release(1 << 20)
        self._wake()
        with contextlib.suppress(WtpError):
            await self._client.call("close", self._raw.close)


def _ignore(_result: Any) -> None:
    """An acknowledgement has no one to tell: unconfirmed ones are delivered again."""


def _place(position: str) -> tuple[int, ...]:
    return tuple(int(part) for part in position.split(":")[:2])


class BrokerClient:
    """A connection to a Pulsar broker, embedded or real.

    Args:
        url: `pulsar://host:6650`.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.inbox = Inbox(asyncio.get_running_loop())
        self._pool = ThreadPoolExecutor(8, thread_name_prefix="pulsar")
        self._closed = False
        self._asking: set[threading.Thread] = set()
        self._gone = False
        try:
            if not url.startswith(SCHEMES):
                raise ValueError("another scheme")
            self._raw = pulsar.Client(
                url,
                operation_timeout_seconds=OPERATION_TIMEOUT_S,
                connection_timeout_ms=OPERATION_TIMEOUT_S * 1000,
                stats_interval_in_seconds=0,
                logger=_logger(),
            )
        except (pulsar.PulsarException, ValueError, RuntimeError) as error:
            self._pool.shutdown(wait=False)
            raise BrokerUnavailable(
                f"{url!r} is no broker URL ({error}).", hint="Write pulsar://HOST:6650."
            ) from error

    async def call(self, what: str, function: Callable[..., T], *args: Any) -> T:
        """Run a blocking call of the client in the pool and translate its errors."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._pool, function, *args)
        except pulsar.PulsarException as error:
            raise translate(type(error).__name__, self.url, what) from error
        except RuntimeError as error:
            raise BrokerUnavailable(f"The connection to {self.url} is closed.") from error
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not self._closed or (task is not None and task.cancelling()):
                raise
            raise BrokerUnavailable(f"The connection to {self.url} is closed.") from None

    async def producer(self, topic: str, *, name: str = "", max_pending: int = 1000) -> Producer:
        """Open a producer without batching.

        Args:
            topic: Full topic name.
            name: A stable name for a reliable track: its sends wait for the broker for ever and
                carry sequence ids. Without one, sends time out after 2 s.
            max_pending: Objects without receipt that the client takes at most.

        Raises:
            BrokerError: `code` is `busy` while another producer has this name.
        """
        raw = await self.call(f"open a producer on {topic}", self._open, topic, name, max_pending)
        return Producer(self, raw, topic)

    def _open(self, topic: str, name: str, max_pending: int) -> Any:
        return self._raw.create_producer(
            topic,
            producer_name=name or None,
            send_timeout_millis=0 if name else LIVE_SEND_TIMEOUT_MS,
            max_pending_messages=max_pending,
            block_if_queue_full=False,
            batching_enabled=False,
        )

    async def reader(
        self, topic: str, *, start: str = "latest", inclusive: bool = True, queue: int = 100
    ) -> Subscription:
        """Read a topic without leaving a trace in the broker.

        Args:
            topic: Full topic name.
            start: `earliest`, `latest` or a position `ledger:entry`.
            inclusive: Whether a message at the start position itself is delivered (`latest` starts
                behind the newest message, whatever this says).
            queue: Messages that wait here at most, twice (in the client and behind it).
        """
        subscription = Subscription(self, topic, queue, durable=False)

        def open_reader() -> Any:
            return self._raw.create_reader(
                topic,
                message_id(start),
                reader_listener=subscription.on_message,
                receiver_queue_size=queue,
                start_message_id_inclusive=inclusive and start != "latest",
            )

        subscription._raw = await self.call(f"read {topic}", open_reader)
        return subscription

    async def subscribe(
        self,
        topic: str,
        name: str,
        *,
        kind: SubscriptionKind = "exclusive",
        start: Literal["earliest", "latest"] = "latest",
        queue: int = 1000,
    ) -> Subscription:
        """Open a durable subscription; what is not acknowledged comes again.

        Raises:
            BrokerError: `code` is `busy` while another consumer has it exclusively.
        """
        subscription = Subscription(self, topic, queue, durable=True)
        position = (
            pulsar.InitialPosition.Earliest
            if start == "earliest"
            else pulsar.InitialPosition.Latest
        )

        def open_consumer() -> Any:
            return self._raw.subscribe(
                topic,
                name,
                consumer_type=_KINDS[kind],
                message_listener=subscription.on_message,
                receiver_queue_size=queue,
                initial_position=position,
                negative_ack_redelivery_delay_ms=1000,
            )

        subscription._raw = await self.call(f"subscribe {name} to {topic}", open_consumer)
        return subscription

    async def last_position(self, topic: str) -> str | None:
        """Position of the newest message; None when the topic is empty.

        A reader that starts at `latest`, inclusive, delivers just that message.
        """

        def newest() -> str | None:
            reader = self._raw.create_reader(
                topic, pulsar.MessageId.latest, start_message_id_inclusive=True
            )
            try:
                if not self._has_message(reader):
                    return None
                where = reader.read_next(timeout_millis=OPERATION_TIMEOUT_S * 1000).message_id()
                return f"{where.ledger_id()}:{where.entry_id()}"
            finally:
                reader.close()

        return await self.call(f"look at {topic}", newest)

    def _has_message(self, reader: Any) -> bool:
        """Whether a reader has something to read; to be called in the pool.

        The client's own call waits for ever when the client is closed meanwhile, and Python waits
        for a pool's threads at its end: so it gets a thread that nobody waits for.

        Raises:
            pulsar.PulsarException: The client was closed, or the broker does not answer in time.
        """
        answers: queue.SimpleQueue[bool | pulsar.PulsarException] = queue.SimpleQueue()

        def ask() -> None:
            self._asking.add(threading.current_thread())
            try:
                answers.put(bool(reader.has_message_available()))
            except pulsar.PulsarException as error:
                answers.put(error)
            finally:
                self._asking.discard(threading.current_thread())

        threading.Thread(target=ask, name="pulsar-ask", daemon=True).start()
        give_up_us = monotonic_us() + 2 * OPERATION_TIMEOUT_S * 1_000_000
        while True:
            try:
                answer = answers.get(timeout=ASK_S)
            except queue.Empty:
                if self._gone:
                    raise pulsar.AlreadyClosed("closed while asking") from None
                if monotonic_us() > give_up_us:
                    raise pulsar.Timeout("no answer") from None
                continue
            if isinstance(answer, pulsar.PulsarException):
                raise answer
            return answer

    def _await_answers(self) -> None:
        """Let what was asked be answered: a client that is closed first forgets the question."""
        until_us = monotonic_us() + int(ANSWER_S * 1e6)
        for asking in list(self._asking):
            asking.join(max(0.0, (until_us - monotonic_us()) / 1e6))
        self._gone = True

    async def history(self, topic: str, most: int = 0) -> list[Received]:
        """What a topic holds now, from the earliest message on.

        Args:
            topic: Full topic name.
            most: Messages at most; 0 for all.
        """
        end = await self.last_position(topic)
        found: list[Received] = []
        if end is None:
            return found
        reader = await self.reader(topic, start="earliest", queue=1000)
        try:
            while not found or (_place(found[-1].position) < _place(end) and len(found) != most):
                found.append(await reader.receive())
        finally:
            await reader.close()
        return found

    async def close(self) -> None:
        """Close everything; waits a bounded time for a broker that does not answer."""
        if self._closed:
            return
        self._closed = True
        loop = asyncio.get_running_loop()
        # A thread of its own: the pool may be full of calls that only this ends.
        closing = ThreadPoolExecutor(1, thread_name_prefix="pulsar-close")
        with contextlib.suppress(TimeoutError, pulsar.PulsarException):
            async with asyncio.timeout(OPERATION_TIMEOUT_S):
                await loop.run_in_executor(closing, self._await_answers)
                await loop.run_in_executor(closing, self._raw.close)
        closing.shutdown(wait=False)
        self._pool.shutdown(wait=False, cancel_futures=True)
