"""Key_Shared subscriptions: all messages of a key go to one consumer, in order."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable

from wtp.broker.embedded.consumer import Consumer
from wtp.broker.embedded.cursor import after
from wtp.broker.embedded.dispatch import READ_BYTES, READ_ENTRIES, Source
from wtp.broker.embedded.metadata import HASH_RANGE, key_slot, murmur3, read_metadata
from wtp.broker.embedded.numbers import SubType
from wtp.broker.embedded.shared import MAX_DELAYED, Shared
from wtp.broker.embedded.values import Entry, Position
from wtp.errors import BrokerError, WireError

POINTS = 100
"""Points of each consumer on the hash ring (Pulsar's subscriptionKeySharedConsistentHashing...)."""

LOOK_AHEAD = 2000
"""Entries held back for blocked keys before reading stops; Pulsar's default per consumer."""


class KeyShared(Shared):
    """Keys are hashed to slots, slots belong to consumers.

    A slot stays with the consumer that has unacknowledged entries of it: when it should move, its
    entries wait until those are acknowledged. Entries that cannot go yet are held back, and with
    them all later ones of their slot.

    Args:
        source: The subscription.
        start: Position of the first entry to read.
        sticky: Consumers claim fixed ranges of slots.
        out_of_order: Nothing waits when slots move.
    """

    sub_type = SubType.KEY_SHARED

    def __init__(
        self, source: Source, start: Position, *, sticky: bool = False, out_of_order: bool = False
    ) -> None:
        super().__init__(source, start)
        self.sticky = sticky
        self.out_of_order = out_of_order
        self._ring: list[tuple[int, Consumer]] = []
        self._slots: dict[Position, int] = {}
        self._owners: dict[int, tuple[Consumer, int]] = {}

    def add(self, consumer: Consumer) -> None:
        """Take a consumer in.

        Raises:
            BrokerError: code "assign": its ranges are missing or overlap another consumer's.
        """
        if self.sticky:
            taken = [r for c in self.consumers for r in c.ranges]
            wrong = not consumer.ranges or any(
                not 0 <= a <= b < HASH_RANGE or any(a <= d and c <= b for c, d in taken)
                for a, b in consumer.ranges
            )
            if wrong:
                raise BrokerError(
                    "The hash ranges are missing, out of bounds or taken by another consumer.",
                    hint=f"Claim free ranges within 0 to {HASH_RANGE - 1}.",
                    code="assign",
                )
        super().add(consumer)
        self._make_ring()

    def remove(self, consumer: Consumer) -> None:
        """Let a consumer go; its slots move at once."""
        self._owners = {s: o for s, o in self._owners.items() if o[0] is not consumer}
        super().remove(consumer)
        self._make_ring()

    def _make_ring(self) -> None:
        """Place the consumers by their names; equal names are told apart by a number."""
        if self.sticky:
            return
        names = Counter[str]()
        self._ring = []
        for consumer in self.consumers:
            name = f"{consumer.name}-{names[consumer.name]}"
            names[consumer.name] += 1
            self._ring += [
                (murmur3(f"{name}-{n}".encode()) % HASH_RANGE, consumer) for n in range(POINTS)
            ]
        self._ring.sort(key=lambda point: (point[0], point[1].name))

    def _forget(self) -> None:
        super()._forget()
        self._slots.clear()
        self._owners.clear()

    def _owner(self, slot: int) -> Consumer | None:
        if self.sticky:
            for consumer in self.consumers:
                if any(first <= slot <= last for first, last in consumer.ranges):
                    return consumer
            return None
        if not self._ring:
            return None
        at = bisect_left(self._ring, slot, key=lambda point: point[0])
        return self._ring[at % len(self._ring)][1]

    def _taker(self, slot: int) -> Consumer | None:
        """Who may take an entry of the slot now; None when it has to wait."""
        consumer = self._owner(slot)
        if consumer is None or not self._can_take(consumer):
            return None
        holder = self._owners.get(slot)
        if holder is not None and holder[0] is not consumer and not self.out_of_order:
            return None
        return consumer

    def _slot(self, entry: Entry) -> int:
        slot = self._slots.get(entry.position)
        if slot is None:
            try:
                slot = key_slot(read_metadata(entry.blob).sticky_key())
            except WireError:
                slot = 0
        return slot

    def _give(self, consumer: Consumer, entry: Entry, slot: int) -> None:
        self._slots[entry.position] = slot
        held = self._owners.get(slot)
        self._owners[slot] = (consumer, held[1] + 1 if held and held[0] is consumer else 1)
        self._hand(consumer, entry)

    def _release(self, position: Position, consumer: Consumer) -> None:
        slot = self._slots.get(position)
        held = self._owners.get(slot) if slot is not None else None
        if slot is None or held is None or held[0] is not consumer:
            return
        if held[1] > 1:
            self._owners[slot] = (consumer, held[1] - 1)
        else:
            del self._owners[slot]
            if self.replay:
                self.source.wake()

    def acked(self, consumer: Consumer, position: Position) -> None:
        """Forget an entry; its slot may be free to move."""
        for holder in (consumer, *self.consumers):
            if position in holder.unacked:
                self._release(position, holder)
                break
        super().acked(consumer, position)
        self._slots.pop(position, None)

    def redeliver(self, consumer: Consumer, positions: Iterable[Position] | None) -> None:
        """Put unacknowledged entries of a consumer back."""
        wanted = list(consumer.unacked) if positions is None else list(positions)
        for position in wanted:
            if position in consumer.unacked:
                self._release(position, consumer)
        super().redeliver(consumer, wanted)

    def _send_again(self) -> bool:
        """Go over what is held back, in order; False when fresh entries have to wait."""
        self._heap.clear()
        self._blocked: set[int] = set()
        for position in sorted(self.replay):
            slot = self._slots.get(position)
            if slot is not None and (slot in self._blocked or self._taker(slot) is None):
                self._blocked.add(slot)
                continue
            entry = self._exactly(position)
            if entry is None:
                self.replay.discard(position)
                self._slots.pop(position, None)
                self.redeliveries.pop(position, None)
                continue
            slot = self._slot(entry)
            consumer = None if slot in self._blocked else self._taker(slot)
            if consumer is None:
                self._blocked.add(slot)
                continue
            self.replay.discard(position)
            self._give(consumer, entry, slot)
        return len(self.replay) < LOOK_AHEAD

    def _send_fresh(self) -> None:
        while permits := sum(c.permits for c in self.consumers if self._can_take(c)):
            entries = self.source.read(self.read_at, min(permits, READ_ENTRIES), READ_BYTES)
            if not entries:
                return
            for entry in entries:
                position = entry.position
                if len(self.replay) >= LOOK_AHEAD or self.delayed >= MAX_DELAYED:
                    return
                self.read_at = after(position)
                if self.source.cursor.is_acked(position) or self._wait_for_time(entry):
                    continue
                slot = self._slot(entry)
                consumer = None if slot in self._blocked else self._taker(slot)
                if consumer is None:
                    self._blocked.add(slot)
                    self._slots[position] = slot
                    self.replay.add(position)
                else:
                    self._give(consumer, entry, slot)
