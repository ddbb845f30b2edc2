"""One consumer of a subscription, on one connection."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Protocol

from wtp.broker.embedded.alive import Known
from wtp.broker.embedded.hotpath import delivery_head
from wtp.broker.embedded.protobuf import Message, varint
from wtp.broker.embedded.values import Entry, Position


class Link(Protocol):
    """What topics and subscriptions need from a client's connection."""

    @property
    def address(self) -> str:
        """Address of the client, `/host:port` as Pulsar shows it."""
        ...

    @property
    def client_version(self) -> str:
        """What the client calls itself."""
        ...

    @property
    def has_room(self) -> bool:
        """Whether messages may be added; False above the high-water mark of the write buffer."""
        ...

    def write(self, data: bytes) -> None:
        """Queue bytes; they leave when the broker settles."""
        ...

    def answer(self, kind: int, message: Message) -> None:
        """Queue a command."""
        ...

    def check_alive(self, known: Known) -> None:
        """Find out whether the client lives; a silent one is cut off."""
        ...

    def forget_consumer(self, consumer: Consumer) -> None:
        """The broker closed a consumer: what the client still sends for it is ignored."""
        ...

    def forget_producer(self, producer_id: int) -> None:
        """The broker closed a producer and told the client."""
        ...

    def close(self, reason: str) -> None:
        """Close the connection without a word to the client, as Pulsar does."""
        ...


@dataclass(slots=True)
class Traffic:
    """Counters and rates of what went through one place.

    Attributes:
        messages: Messages so far, each one of a batch counted.
        size_bytes: Their bytes, metadata included.
        message_rate: Per second, over the last interval between two calls of `tick`.
        byte_rate: Bytes per second, likewise.
        last_ns: When something went through last, Unix ns; 0 for never.
    """

    messages: int = 0
    size_bytes: int = 0
    message_rate: float = 0.0
    byte_rate: float = 0.0
    last_ns: int = 0
    _before: tuple[int, int] = (0, 0)

    def add(self, other: Traffic) -> None:
        """Count what went through another place as well."""
        self.messages += other.messages
        self.size_bytes += other.size_bytes
        self.last_ns = max(self.last_ns, other.last_ns)

    def tick(self, seconds: float) -> None:
        """Compute the rates of an interval that ends now."""
        messages, size = self._before
        self.message_rate = (self.messages - messages) / seconds
        self.byte_rate = (self.size_bytes - size) / seconds
        self._before = (self.messages, self.size_bytes)


@dataclass(slots=True, eq=False)
class Consumer:
    """A consumer.

    Attributes:
        link: Its connection.
        consumer_id: Its id on that connection.
        name: Its name.
        priority: Lower values are served first.
        partition: Index of the partition it reads, -1 for none.
        permits: Messages it is ready to take; a batch may make it negative.
        unacked: Entries it has not acknowledged, with their number of messages; kept only for
            Shared and Key_Shared.
        ranges: Slots it claims (Key_Shared with fixed ranges), both ends inclusive.
        epoch: Counts its redelivery requests; sent along so that the client can tell old messages.
        flow_ms: When it asked for messages last, Unix ms; 0 for never.
        acked_ms: When it acknowledged something last, likewise.
        closed: It is gone.
    """

    link: Link
    consumer_id: int
    name: str
    priority: int = 0
    partition: int = -1
    ranges: tuple[tuple[int, int], ...] = ()
    epoch: int | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    connected_at: str = ""
    permits: int = 0
    unacked_messages: int = 0
    redelivered: int = 0
    flow_ms: int = 0
    acked_ms: int = 0
    closed: bool = False
    unacked: dict[Position, int] = field(default_factory=dict)
    out: Traffic = field(default_factory=Traffic)
    _id_field: bytes = b""
    _partition_field: bytes = b""

    def __post_init__(self) -> None:
        self._id_field = b"\x08" + varint(self.consumer_id)
        if self.partition >= 0:
            self._partition_field = b"\x18" + varint(self.partition)

    @property
    def ready(self) -> bool:
        """Whether it takes another message now."""
        return self.permits > 0 and self.link.has_room

    def deliver(self, entry: Entry, redeliveries: int = 0) -> None:
        """Queue an entry for it; its permits shrink by the number of messages."""
        (ledger, number), _, messages, blob = entry
        size = len(blob)
        write = self.link.write
        write(
            delivery_head(
                self._id_field,
                ledger,
                number,
                self._partition_field,
                redeliveries,
                size,
                self.epoch,
            )
        )
        write(blob)
        self.permits -= messages
        out = self.out
        out.messages += messages
        out.size_bytes += size
        out.last_ns = time.time_ns()

    def track(self, entry: Entry) -> None:
        """Remember that it has to acknowledge an entry."""
        self.unacked[entry.position] = entry.messages
        self.unacked_messages += entry.messages

    def settle(self, position: Position) -> bool:
        """Take an entry off its list; False when it was not on it."""
        messages = self.unacked.pop(position, 0)
        self.unacked_messages -= messages
        return messages > 0
