"""Who gets which entry: the base of the dispatchers, and the one with a single active consumer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

from wtp.broker.embedded.answers import ActiveConsumerChange
from wtp.broker.embedded.consumer import Consumer
from wtp.broker.embedded.cursor import Cursor, after
from wtp.broker.embedded.metadata import murmur3
from wtp.broker.embedded.numbers import Cmd, SubType
from wtp.broker.embedded.values import Entry, Position

if TYPE_CHECKING:
    import asyncio

READ_ENTRIES = 256
"""Entries asked from the log at once."""

READ_BYTES = 256 * 1024
"""Bytes asked from the log at once."""

FAILOVER_DELAY_S = 1.0
"""What Pulsar waits before a new active consumer starts, so that late acknowledgements arrive."""


RING_POINTS = 100
"""Places of each consumer on the ring (CONSUMER_CONSISTENT_HASH_REPLICAS)."""

_POSITIVE = 0x7FFFFFFF


class Source(Protocol):
    """What a dispatcher needs from its subscription."""

    cursor: Cursor

    @property
    def partition(self) -> int:
        """Index of the topic's partition, -1 for none."""
        ...

    @property
    def topic_name(self) -> str:
        """Full name of the topic."""
        ...

    def read(self, position: Position, max_entries: int, max_bytes: int) -> list[Entry]:
        """Entries from the first one at or behind `position` on, as far as consumers may see."""
        ...

    def wake(self) -> None:
        """Dispatch when the broker settles next."""
        ...

    def call_later(self, delay_s: float, action: Callable[[], None]) -> asyncio.TimerHandle:
        """Run something later, then settle."""
        ...

    def now_ms(self) -> int:
        """Wall clock, Unix milliseconds."""
        ...


class Dispatcher(ABC):
    """Hands entries to the consumers of one subscription.

    Args:
        source: The subscription.
        start: Position of the first entry to read.

    Attributes:
        consumers: Those connected, in the order they are served.
        read_at: Where the next fresh entry is read.
    """

    sub_type: SubType

    def __init__(self, source: Source, start: Position) -> None:
        self.source = source
        self.consumers: list[Consumer] = []
        self.read_at = start

    def rewind(self) -> None:
        """Start again behind what is acknowledged."""
        self.read_at = after(self.source.cursor.mark)

    @abstractmethod
    def add(self, consumer: Consumer) -> None:
        """Take a consumer in, before it is told of its success."""

    def started(self, consumer: Consumer) -> None:
        """Go on with what follows once the consumer was told of its success."""
        return

    @abstractmethod
    def remove(self, consumer: Consumer) -> None:
        """Let a consumer go; what it did not acknowledge goes to others."""

    @abstractmethod
    def dispatch(self) -> None:
        """Deliver as much as permits and write buffers allow."""

    @abstractmethod
    def redeliver(self, consumer: Consumer, positions: Iterable[Position] | None) -> None:
        """Deliver again: some entries, or (None) all that the consumer did not acknowledge."""

    def acked(self, consumer: Consumer, position: Position) -> None:
        """An entry was acknowledged."""
        return

    def acked_up_to(self, position: Position) -> None:
        """Everything up to `position` was acknowledged."""
        return

    def skip_to(self, position: Position) -> None:
        """Nothing before `position` will be read (non-persistent topics drop what nobody takes)."""
        self.read_at = max(self.read_at, position)

    def close(self) -> None:
        """Cancel timers."""
        return


def on_ring(topic: str, names: Sequence[str]) -> int:
    """Index of the consumer that a topic without partitions is given to.

    Each name has a hundred places on a ring of hashes, and the topic belongs to the next one, as in
    a real Pulsar: so the consumers of many topics share them, and few move when one comes or goes.
    """
    ring = {
        murmur3(f"{name}{point}".encode()) & _POSITIVE: index
        for index, name in enumerate(names)
        for point in range(RING_POINTS)
    }
    at = murmur3(topic.encode()) & _POSITIVE
    return ring[min((place for place in ring if place >= at), default=min(ring))]


class SingleActive(Dispatcher):
    """Exclusive and Failover: one consumer gets everything, in order.

    Args:
        source: The subscription.
        start: Position of the first entry to read.
        sub_type: Exclusive or Failover.
        failover_delay_s: Pause before a consumer takes over from another one.
    """

    def __init__(
        self,
        source: Source,
        start: Position,
        sub_type: SubType,
        failover_delay_s: float = FAILOVER_DELAY_S,
    ) -> None:
        super().__init__(source, start)
        self.sub_type = sub_type
        self.active: Consumer | None = None
        self._delay_s = failover_delay_s
        self._timer: asyncio.TimerHandle | None = None
        self._told: dict[Consumer, bool] = {}

    def add(self, consumer: Consumer) -> None:
        """Take a consumer in; it is active when it is alone or comes first."""
        self.consumers.append(consumer)
        self.consumers.sort(key=lambda c: (c.priority, c.name))
        if len(self.consumers) == 1:
            self.active = consumer
            self.rewind()
            return
        self._choose()
        if self.active is not consumer:
            self._tell(consumer)

    def started(self, consumer: Consumer) -> None:
        """Tell a consumer that became active at once."""
        if consumer is self.active and self._timer is None:
            self._tell(consumer)
            self.source.wake()

    def remove(self, consumer: Consumer) -> None:
        """Let a consumer go; another one takes over after a pause."""
        self.consumers.remove(consumer)
        self._told.pop(consumer, None)
        if consumer is self.active:
            self.active = None
        if self.consumers:
            self._choose()
        else:
            self.close()

    def _choose(self) -> None:
        best = [c for c in self.consumers if c.priority == self.consumers[0].priority]
        if self.source.partition >= 0:
            chosen = best[self.source.partition % len(best)]
        else:
            chosen = best[on_ring(self.source.topic_name, [c.name for c in best])]
        if chosen is self.active:
            return
        self.active = chosen
        self.close()
        self._timer = self.source.call_later(self._delay_s, self._take_over)

    def _take_over(self) -> None:
        self._timer = None
        self.rewind()
        for consumer in self.consumers:
            self._tell(consumer)
        self.source.wake()

    def _tell(self, consumer: Consumer) -> None:
        active = consumer is self.active and self._timer is None
        if self.sub_type is SubType.FAILOVER and self._told.get(consumer) is not active:
            self._told[consumer] = active
            change = ActiveConsumerChange(consumer.consumer_id, active)
            consumer.link.answer(Cmd.ACTIVE_CONSUMER_CHANGE, change)

    def dispatch(self) -> None:
        """Deliver to the active consumer."""
        consumer = self.active
        if consumer is None or self._timer is not None:
            return
        cursor, deliver = self.source.cursor, consumer.deliver
        while consumer.ready:
            most = min(consumer.permits, READ_ENTRIES)
            entries = self.source.read(self.read_at, most, READ_BYTES)
            if not entries:
                return
            for entry in entries:
                if not consumer.ready:
                    return
                position = entry.position
                self.read_at = after(position)
                if not (cursor.acked and position in cursor.acked):
                    deliver(entry)

    def redeliver(self, consumer: Consumer, positions: Iterable[Position] | None) -> None:
        """Deliver all again, whatever the positions: order comes first."""
        if consumer is self.active and self._timer is None:
            self.rewind()
            self.source.wake()

    def acked_up_to(self, position: Position) -> None:
        """Read on behind what was acknowledged."""
        self.read_at = max(self.read_at, after(position))

    def close(self) -> None:
        """Cancel a pending take-over."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
