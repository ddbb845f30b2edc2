"""One reader or durable subscription of `pulsar-client`, with messages on the loop."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Literal

import pulsar

from wtp.broker.messages import Received, received
from wtp.clock import monotonic_us
from wtp.errors import BrokerUnavailable, WtpError

if TYPE_CHECKING:
    from wtp.broker.client import BrokerClient

SubscriptionKind = Literal["exclusive", "shared", "failover", "key_shared"]

KINDS = {
    "exclusive": pulsar.ConsumerType.Exclusive,
    "shared": pulsar.ConsumerType.Shared,
    "failover": pulsar.ConsumerType.Failover,
    "key_shared": pulsar.ConsumerType.KeyShared,
}
"""The client's names of the subscription types."""

POSITIONS = {
    "earliest": pulsar.InitialPosition.Earliest,
    "latest": pulsar.InitialPosition.Latest,
}
"""The client's names of where a new subscription begins."""


class Subscription:
    """Messages of one topic, by a reader or a durable subscription.

    The client's one listener thread writes `_came`, the loop `_taken`: their difference bounds what
    waits, without a lock for each message. A listener that had to wait goes on when half is taken,
    since one that did for each message would cost the loop more than the messages do.
    """

    def __init__(self, client: BrokerClient, topic: str, queue: int, durable: bool) -> None:
        self.topic = topic
        self.durable = durable
        self._client = client
        self._raw: Any = None
        self._most = queue
        self._came = self._taken = 0
        self._room = threading.Event()
        self._room.set()
        self._ready: deque[tuple[Any, int]] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False

    def on_message(self, _raw: Any, message: Any) -> None:
        """The client's listener. Blocks its thread while the queue is full: that is the bound."""
        at_us = monotonic_us()
        if self._came - self._taken >= self._most:
            self._wait_for_room()
        if not self._closed:
            self._came += 1
            self._client.inbox.post(self._arrived, message, at_us)

    def _wait_for_room(self) -> None:
        """Block the listener; in its thread."""
        self._room.clear()
        if self._came - self._taken >= self._most and not self._closed:
            self._room.wait()

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
        self._taken += 1
        if not self._room.is_set() and self._came - self._taken <= self._most // 2:
            self._room.set()
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
        self._room.set()  # for the listener thread, should it wait
        self._wake()
        with contextlib.suppress(WtpError):
            await self._client.call("close", self._raw.close)


def _ignore(_result: Any) -> None:
    """An acknowledgement has no one to tell: unconfirmed ones are delivered again."""
