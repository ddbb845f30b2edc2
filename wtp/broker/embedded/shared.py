"""Shared subscriptions: entries go to whoever has room, and are acknowledged one by one."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import TYPE_CHECKING

from wtp.broker.embedded.consumer import Consumer
from wtp.broker.embedded.cursor import after
from wtp.broker.embedded.dispatch import READ_BYTES, READ_ENTRIES, Dispatcher, Source
from wtp.broker.embedded.metadata import Metadata, metadata_bounds, read_metadata
from wtp.broker.embedded.numbers import SubType
from wtp.broker.embedded.values import Entry, Position
from wtp.errors import WireError

if TYPE_CHECKING:
    import asyncio

MAX_DELAYED = 100_000
"""Delayed entries put aside before reading stops, so that memory stays bounded."""

MAX_UNACKED_MESSAGES = 50_000
"""A consumer with that many unacknowledged messages gets no more (Pulsar's default)."""

_DELIVER_AT_TAG = b"\x98\x01"
_UUID_TAG = b"\xd2\x01"


def special_metadata(entry: Entry) -> Metadata | None:
    """The metadata of a chunk or of a delayed message, None for any other entry.

    The tags of these fields are searched first, which is far cheaper than decoding each entry.
    """
    try:
        start, end = metadata_bounds(entry.blob)
        if (
            entry.blob.find(_DELIVER_AT_TAG, start, end) < 0
            and entry.blob.find(_UUID_TAG, start, end) < 0
        ):
            return None
        return read_metadata(entry.blob)
    except WireError:
        return None


class Shared(Dispatcher):
    """Round robin over the consumers with permits, lowest priority value first.

    Args:
        source: The subscription.
        start: Position of the first entry to read.
    """

    sub_type = SubType.SHARED

    def __init__(self, source: Source, start: Position) -> None:
        super().__init__(source, start)
        self.replay: set[Position] = set()
        self.redeliveries: dict[Position, int] = {}
        self._heap: list[Position] = []
        self._turn = 0
        self._chunks: dict[str, Consumer] = {}
        self._delayed: list[tuple[int, Position]] = []
        self._timer: asyncio.TimerHandle | None = None

    @property
    def delayed(self) -> int:
        """Entries that wait for their time of delivery."""
        return len(self._delayed)

    def add(self, consumer: Consumer) -> None:
        """Take a consumer in; the first one starts behind what is acknowledged."""
        if not self.consumers:
            self._forget()
            self.rewind()
        self.consumers.append(consumer)
        self.consumers.sort(key=lambda c: c.priority)

    def started(self, consumer: Consumer) -> None:
        """Nothing to tell; its permits will wake the subscription."""
        self.source.wake()

    def remove(self, consumer: Consumer) -> None:
        """Let a consumer go; its entries go to the others."""
        self.consumers.remove(consumer)
        self._chunks = {uuid: c for uuid, c in self._chunks.items() if c is not consumer}
        if self.consumers:
            for position in consumer.unacked:
                self._again(position)
            self.source.wake()
        else:
            self._forget()
        consumer.unacked.clear()
        consumer.unacked_messages = 0

    def _forget(self) -> None:
        self.replay.clear()
        self._heap.clear()
        self.redeliveries.clear()
        self._chunks.clear()
        self._delayed.clear()

    def _again(self, position: Position) -> None:
        if position not in self.replay and not self.source.cursor.is_acked(position):
            self.replay.add(position)
            heapq.heappush(self._heap, position)

    def redeliver(self, consumer: Consumer, positions: Iterable[Position] | None) -> None:
        """Put unacknowledged entries of a consumer back, counting the delivery."""
        wanted = list(consumer.unacked) if positions is None else positions
        for position in wanted:
            if consumer.settle(position):
                consumer.redelivered += 1
                self.redeliveries[position] = self.redeliveries.get(position, 0) + 1
                self._again(position)
        self.source.wake()

    def acked(self, consumer: Consumer, position: Position) -> None:
        """Forget an entry; whoever has it does not owe it any longer."""
        if not consumer.settle(position):
            for other in self.consumers:
                if other.settle(position):
                    break
        self.redeliveries.pop(position, None)
        self.replay.discard(position)
        if len(consumer.unacked) >= MAX_UNACKED_MESSAGES // 2:
            self.source.wake()

    def acked_up_to(self, position: Position) -> None:
        """Forget everything up to a position (skipped by an administrator)."""
        self.read_at = max(self.read_at, after(position))
        for consumer in self.consumers:
            for owed in [p for p in consumer.unacked if p <= position]:
                self.acked(consumer, owed)
        self.replay = {p for p in self.replay if p > position}
        self.redeliveries = {p: n for p, n in self.redeliveries.items() if p > position}

    def dispatch(self) -> None:
        """Deliver what comes again, then what is fresh."""
        self._ripen()
        if self._send_again():
            self._send_fresh()

    def _can_take(self, consumer: Consumer) -> bool:
        return consumer.ready and consumer.unacked_messages < MAX_UNACKED_MESSAGES

    def _next(self) -> Consumer | None:
        """The consumer whose turn it is among the best ones that can take a message."""
        count = len(self.consumers)
        found: Consumer | None = None
        for step in range(count):
            at = (self._turn + step) % count
            consumer = self.consumers[at]
            if (found is None or consumer.priority < found.priority) and self._can_take(consumer):
                found, turn = consumer, at + 1
        if found is not None:
            self._turn = turn
        return found

    def _hand(self, consumer: Consumer, entry: Entry) -> None:
        consumer.track(entry)
        consumer.deliver(entry, self.redeliveries.get(entry.position, 0))

    def _pop_replay(self) -> Entry | None:
        """The lowest entry to deliver again; None when there is none."""
        while self._heap:
            position = heapq.heappop(self._heap)
            if position not in self.replay:
                continue
            self.replay.discard(position)
            entry = self._exactly(position)
            if entry is not None:
                return entry
            self.redeliveries.pop(position, None)
        return None

    def _exactly(self, position: Position) -> Entry | None:
        if self.source.cursor.is_acked(position):
            return None
        entries = self.source.read(position, 1, 1)
        return entries[0] if entries and entries[0].position == position else None

    def _send_again(self) -> bool:
        """Deliver what comes again; False when consumers are full."""
        while self.replay:
            consumer = self._next()
            if consumer is None:
                return False
            entry = self._pop_replay()
            if entry is None:
                break
            self._hand(consumer, entry)
        return True

    def _send_fresh(self) -> None:
        while permits := sum(c.permits for c in self.consumers if self._can_take(c)):
            entries = self.source.read(self.read_at, min(permits, READ_ENTRIES), READ_BYTES)
            if not entries:
                return
            for entry in entries:
                if len(self._delayed) >= MAX_DELAYED:
                    return
                position = entry.position
                if self.source.cursor.is_acked(position) or self._wait_for_time(entry):
                    self.read_at = after(position)
                    continue
                consumer = self._consumer_for(entry)
                if consumer is None:
                    return
                self.read_at = after(position)
                self._hand(consumer, entry)

    def _consumer_for(self, entry: Entry) -> Consumer | None:
        """Whose turn it is; all chunks of a message go to one consumer."""
        meta = special_metadata(entry)
        if meta is None or meta.uuid is None or (meta.num_chunks or 1) < 2:
            return self._next()
        consumer = self._chunks.get(meta.uuid)
        if consumer is None:
            consumer = self._next()
        elif not self._can_take(consumer):
            return None
        if consumer is not None:
            if (meta.chunk_id or 0) + 1 < (meta.num_chunks or 1):
                self._chunks[meta.uuid] = consumer
            else:
                self._chunks.pop(meta.uuid, None)
        return consumer

    def _wait_for_time(self, entry: Entry) -> bool:
        """Put a message with a delivery time in the future aside."""
        meta = special_metadata(entry)
        due = meta.deliver_at_ms if meta is not None else None
        if due is None or due <= self.source.now_ms():
            return False
        heapq.heappush(self._delayed, (due, entry.position))
        self._set_timer()
        return True

    def _ripen(self) -> None:
        now = self.source.now_ms() if self._delayed else 0
        while self._delayed and self._delayed[0][0] <= now:
            self._again(heapq.heappop(self._delayed)[1])
        self._set_timer()

    def _set_timer(self) -> None:
        self.close()
        if self._delayed:
            wait_s = max(self._delayed[0][0] - self.source.now_ms(), 0) / 1000 + 0.001
            self._timer = self.source.call_later(wait_s, self.source.wake)

    def close(self) -> None:
        """Cancel the timer for delayed messages."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
