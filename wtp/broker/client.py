"""The one messaging path: `pulsar-client` behind an asyncio face.

The C++ client calls back on threads of its own. Nothing is done there but to note the time and to
wake the loop; conversion happens on the loop. Blocking calls run in a small thread pool.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Literal, TypeVar

import pulsar

from wtp.broker.access import addresses, shown, ssl_context, token, trust_file
from wtp.broker.accessprobe import Entry, knock
from wtp.broker.messages import Inbox, Received, Right, message_id, no_right, translate
from wtp.broker.newest import OPERATION_TIMEOUT_S, Newest
from wtp.broker.receiving import KINDS, POSITIONS, Subscription, SubscriptionKind
from wtp.broker.sending import Done, Producer, open_producer
from wtp.config.schema import BrokerSettings
from wtp.errors import BrokerUnavailable, ConfigError, NotFound, Refused

__all__ = ["BrokerClient", "Done", "Producer", "Received", "Subscription", "SubscriptionKind"]

log = logging.getLogger("wtp.broker")

T = TypeVar("T")


def _logger() -> Any:
    """Where the C++ client logs: nowhere, or stderr with WTP_DEBUG; never to stdout."""
    if os.environ.get("WTP_DEBUG"):
        return pulsar.FileLogger(pulsar.LoggerLevel.Info, "/dev/stderr")
    return pulsar.FileLogger(pulsar.LoggerLevel.Error, os.devnull)


def _current_token(broker: BrokerSettings) -> str:
    """The token for one more connection; asked for on a thread of the client's."""
    try:
        return token(broker)
    except ConfigError as error:
        log.warning("%s", error)
        return ""


def _security(broker: BrokerSettings) -> dict[str, Any]:
    """Arguments of the client for TLS and authentication.

    Raises:
        ConfigError: A file of the settings cannot be used.
    """
    found: dict[str, Any] = {}
    if addresses(broker.url)[0].secure:
        ssl_context(broker)  # says which file is wrong, which the client does not
        found["tls_trust_certs_file_path"] = trust_file(broker)
        found["tls_validate_hostname"] = broker.verify_host
        if broker.cert:
            found["tls_certificate_file_path"] = broker.cert
            found["tls_private_key_file_path"] = broker.key
    if token(broker):
        found["authentication"] = pulsar.AuthenticationToken(partial(_current_token, broker))
    elif "tls_certificate_file_path" in found:
        found["authentication"] = pulsar.AuthenticationTLS(broker.cert, broker.key)
    return found


def _place(position: str) -> tuple[int, ...]:
    return tuple(int(part) for part in position.split(":")[:2])


class BrokerClient:
    """A connection to a Pulsar broker, embedded or real. `wtp.broker.connect` makes them.

    Args:
        url: `pulsar://host:6650` or `pulsar+ssl://host:6651`, several hosts with commas.
        broker: Trust, certificate and token; its own URL is not used.

    Raises:
        BrokerUnavailable: The URL is none of a broker.
        ConfigError: A file of the settings cannot be used.
    """

    def __init__(self, url: str, broker: BrokerSettings | None = None) -> None:
        self._settings = (broker or BrokerSettings()).model_copy(update={"url": url})
        addresses(url)
        self.url = shown(url)
        self.inbox = Inbox(asyncio.get_running_loop())
        security = _security(self._settings)
        self._pool = ThreadPoolExecutor(8, thread_name_prefix="pulsar")
        self._closed = False
        self._entering: asyncio.Task[Entry] | None = None
        try:
            self._raw = pulsar.Client(
                url,
                operation_timeout_seconds=OPERATION_TIMEOUT_S,
                connection_timeout_ms=OPERATION_TIMEOUT_S * 1000,
                stats_interval_in_seconds=0,
                logger=_logger(),
                **security,
            )
        except (pulsar.PulsarException, ValueError, RuntimeError) as error:
            self._pool.shutdown(wait=False)
            raise BrokerUnavailable(
                f"{self.url!r} is no broker URL ({error}).", hint="Write pulsar://HOST:6650."
            ) from error
        self._newest = Newest(self._raw)

    async def enter(self) -> Entry:
        """Make sure, once, that the broker lets us in.

        Raises:
            WtpError: It does not; see `wtp.broker.accessprobe.knock`.
        """
        entering = self._entering
        if entering is None or (entering.done() and _failed(entering)):
            entering = self._entering = asyncio.create_task(knock(self._settings))
            entering.add_done_callback(_failed)
        try:
            return await asyncio.shield(entering)
        except asyncio.CancelledError:
            if not entering.cancelled():
                raise
            raise self._gone() from None

    def _gone(self) -> BrokerUnavailable:
        return BrokerUnavailable(f"The connection to {self.url} is closed.", code="closed")

    async def call(self, what: str, function: Callable[..., T], *args: Any) -> T:
        """Run a blocking call of the client in the pool and translate its errors."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._pool, function, *args)
        except pulsar.PulsarException as error:
            raise translate(type(error).__name__, self.url, what) from error
        except RuntimeError as error:
            raise self._gone() from error
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not self._closed or (task is not None and task.cancelling()):
                raise
            raise self._gone() from None

    async def _open(self, what: str, topic: str, right: Right, function: Callable[..., T]) -> T:
        """Open something on a topic; when that fails, find out why.

        Raises:
            BrokerUnavailable: The broker is not there, or what is there does not let us in.
            Refused: It does not accept who we are (`code` as `knock`), or `right` is missing
                (`not-allowed`).
            NotFound: The topic, or its namespace, does not exist.
        """
        await self.enter()
        try:
            return await self.call(what, function)
        except Refused as error:
            raise no_right(right, topic, self.url) from error
        except NotFound as error:
            raise NotFound(
                f"The broker has no topic {topic}, or its namespace does not exist.",
                hint="`wtp topics list` shows what there is, `wtp topics create` makes one.",
            ) from error
        except BrokerUnavailable:
            if not self._closed:
                self._entering = None
                await self.enter()
            raise

    async def producer(self, topic: str, *, name: str = "", max_pending: int = 1000) -> Producer:
        """Open a producer without batching.

        Args:
            topic: Full topic name; of a partitioned one each key keeps its order.
            name: A stable name for a reliable track: its sends wait for the broker for ever and
                carry sequence ids. Without one, sends time out after 2 s.
            max_pending: Objects without receipt that the client takes at most.

        Raises:
            BrokerError: `code` is `busy` while another producer has this name.
        """
        opening = partial(open_producer, self._raw, topic, name, max_pending)
        raw = await self._open(f"open a producer on {topic}", topic, "produce", opening)
        return Producer(self, raw, topic)

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

        subscription._raw = await self._open(f"read {topic}", topic, "consume", open_reader)
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

        def open_consumer() -> Any:
            return self._raw.subscribe(
                topic,
                name,
                consumer_type=KINDS[kind],
                message_listener=subscription.on_message,
                receiver_queue_size=queue,
                initial_position=POSITIONS[start],
                negative_ack_redelivery_delay_ms=1000,
            )

        subscription._raw = await self._open(
            f"subscribe {name} to {topic}", topic, "consume", open_consumer
        )
        return subscription

    async def last_position(self, topic: str) -> str | None:
        """Position of the newest message; None when the topic is empty.

        A reader that starts at `latest`, inclusive, delivers just that message.
        """
        looking = partial(self._newest.position, topic)
        return await self._open(f"look at {topic}", topic, "consume", looking)

    async def partitions(self, topic: str) -> list[str]:
        """Names of a topic's partitions, of a topic without partitions its own; no admin rights."""
        asking = partial(self._raw.get_topic_partitions, topic)
        return list(await self._open(f"look at {topic}", topic, "look up", asking))

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
        if self._entering is not None:
            self._entering.cancel()
        loop = asyncio.get_running_loop()
        # A thread of its own: the pool may be full of calls that only this ends.
        closing = ThreadPoolExecutor(1, thread_name_prefix="pulsar-close")
        with contextlib.suppress(TimeoutError, pulsar.PulsarException):
            async with asyncio.timeout(OPERATION_TIMEOUT_S):
                await loop.run_in_executor(closing, self._newest.await_answers)
                await loop.run_in_executor(closing, self._raw.close)
        closing.shutdown(wait=False)
        self._pool.shutdown(wait=False, cancel_futures=True)


def _failed(entering: asyncio.Task[Entry]) -> bool:
    """Whether a knock came to nothing; its error counts as seen."""
    return entering.cancelled() or entering.exception() is not None
