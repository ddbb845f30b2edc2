"""What a replay uses of `wtp.broker`; tests bring fakes of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from wtp.consumer import ports


class Message(ports.Message, Protocol):
    """What is used of `wtp.broker.messages.Received`."""

    @property
    def event_ms(self) -> int:
        """Event time, Unix ms; 0 without one."""
        ...


class Reader(Protocol):
    """What is used of `wtp.broker.client.Subscription`."""

    @property
    def waiting(self) -> int:
        """Messages received and not yet taken."""
        ...

    @property
    def connected(self) -> bool:
        """Whether the broker is there at this moment."""
        ...

    async def receive(self) -> Any:
        """Return the next message; cancellation loses nothing."""
        ...

    async def seek_ms(self, publish_ms: int) -> None:
        """Go to the first message of this publish time or later."""
        ...

    async def close(self) -> None:
        """Stop."""
        ...


class Producer(Protocol):
    """What is used of `wtp.broker.client.Producer`."""

    last_seq: int

    def send(
        self,
        payload: bytes,
        *,
        properties: dict[str, str],
        key: str,
        event_ms: int,
        seq: int | None,
        done: Callable[[Exception | None], None],
    ) -> None:
        """Hand an object over."""
        ...

    async def close(self) -> None:
        """Close."""
        ...


class Broker(Protocol):
    """What is used of `wtp.broker.client.BrokerClient`."""

    async def reader(
        self, topic: str, *, start: str = "latest", inclusive: bool = True, queue: int = 100
    ) -> Reader:
        """Open a reader."""
        ...

    async def producer(self, topic: str, *, name: str = "", max_pending: int = 1000) -> Producer:
        """Open a producer."""
        ...

    async def last_position(self, topic: str) -> str | None:
        """Return the newest position, None for an empty topic."""
        ...

    async def close(self) -> None:
        """Close everything."""
        ...


class Directory(ports.Directory, Protocol):
    """What is used of `wtp.broker.topics.Admin`."""

    async def ensure_namespace(
        self,
        namespace: str,
        *,
        retention_minutes: int | None = None,
        retention_mb: int | None = None,
        deduplication: bool | None = None,
    ) -> bool:
        """Create a namespace unless it is there; tells whether it was created."""
        ...
