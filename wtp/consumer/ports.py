"""What the consumer uses of `wtp.broker`; tests bring fakes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

Start = Literal["latest", "earliest"]
SubscriptionKind = Literal["exclusive", "shared", "failover", "key_shared"]


class Message(Protocol):
    """What the consumer uses of `wtp.broker.messages.Received`; see there."""

    @property
    def topic(self) -> str:
        """Full topic name."""
        ...

    @property
    def key(self) -> str:
        """Partition key: the track."""
        ...

    @property
    def properties(self) -> Mapping[str, str]:
        """Its properties."""
        ...

    @property
    def payload(self) -> bytes:
        """Its bytes."""
        ...

    @property
    def publish_ms(self) -> int:
        """The producer's publish time, Unix ms."""
        ...

    @property
    def position(self) -> str:
        """`ledger:entry` or `ledger:entry:batch`."""
        ...

    @property
    def receive_monotonic_us(self) -> int:
        """CLOCK_MONOTONIC when it arrived, µs."""
        ...


class Subscription(Protocol):
    """What is used of `wtp.broker.client.Subscription`."""

    async def receive(self) -> Any:
        """Return the next message; cancellation loses nothing."""
        ...

    async def seek_ms(self, publish_ms: int) -> None:
        """Go to the first message of this publish time or later."""
        ...

    @property
    def connected(self) -> bool:
        """Whether the broker is there at this moment."""
        ...

    def ack(self, message: Any) -> None:
        """Acknowledge; nothing happens for a reader."""
        ...

    async def close(self) -> None:
        """Stop."""
        ...


class Broker(Protocol):
    """What is used of `wtp.broker.client.BrokerClient`."""

    async def reader(
        self, topic: str, *, start: str = "latest", inclusive: bool = True, queue: int = 100
    ) -> Subscription:
        """Open a reader."""
        ...

    async def subscribe(
        self,
        topic: str,
        name: str,
        *,
        kind: SubscriptionKind = "exclusive",
        start: Start = "latest",
        queue: int = 1000,
    ) -> Subscription:
        """Open a durable subscription."""
        ...

    async def last_position(self, topic: str) -> str | None:
        """Return the newest position, None for an empty topic."""
        ...

    async def close(self) -> None:
        """Close everything."""
        ...


class Directory(Protocol):
    """What is used of `wtp.broker.topics.Admin`."""

    async def namespaces(self, tenant: str = "public") -> Sequence[str]:
        """Return the namespaces of a tenant, as `tenant/name`."""
        ...

    async def list_topics(self, namespace: str, *, each_partition: bool = False) -> Sequence[str]:
        """Return full topic names of `tenant/name`; raises NotFound."""
        ...
