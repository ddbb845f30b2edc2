"""What a WebSocket consumer was given and has not acknowledged."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from wtp.broker.embedded.commands import MessageIdData
from wtp.broker.embedded.wsmessages import Content

MAX_LATE = 10_000
"""Entries whose acknowledgement comes in parts from a client that got them over another socket."""

Key = tuple[int, int, int]
"""Consumer id (the partition), ledger, entry."""


@dataclass(slots=True, eq=False)
class Owed:
    """An entry that was pushed.

    Attributes:
        key: Which.
        places: What has to be acknowledged: the entry, or all chunks of a message.
        left: Indexes in its batch that are not acknowledged; -1 for a single message.
        refused: Those of them that were acknowledged negatively.
        last_chance: Its content, when the next redelivery would be one too many.
    """

    key: Key
    places: list[MessageIdData]
    left: set[int]
    refused: set[int] = field(default_factory=set)
    last_chance: list[Content] = field(default_factory=list)

    @property
    def pushed(self) -> int:
        """Messages that count as pushed and unacknowledged."""
        return len(self.left - self.refused)


class OwedEntries:
    """Entries without acknowledgement, and when they come again.

    Args:
        ack_timeout_s: Time after which that happens by itself; 0 for never.
        nack_delay_s: Time after which it happens on request.
    """

    def __init__(self, ack_timeout_s: float, nack_delay_s: float) -> None:
        self._entries: dict[Key, Owed] = {}
        self._ack_timeout_s = ack_timeout_s
        self._nack_delay_s = nack_delay_s
        self._timeouts: deque[tuple[float, Owed]] = deque()
        self._refusals: deque[tuple[float, Owed]] = deque()

    def __len__(self) -> int:
        return len(self._entries)

    def holds(self, owed: Owed) -> bool:
        """Whether an entry is still owed."""
        return self._entries.get(owed.key) is owed

    def add(self, owed: Owed, now_s: float) -> None:
        """An entry is about to be pushed."""
        self._entries[owed.key] = owed
        if self._ack_timeout_s:
            self._timeouts.append((now_s + self._ack_timeout_s, owed))

    def ack(self, consumer_id: int, place: MessageIdData) -> tuple[int, list[MessageIdData]]:
        """A message was acknowledged.

        Returns:
            Messages that count no longer, and what the broker has to be told.
        """
        key = (consumer_id, place.ledger, place.entry)
        index, size = place.batch_index, place.batch_size or 0
        if index is None or index < 0 or size < 1:
            index = -1
        owed = self._entries.get(key)
        if owed is None:
            if index < 0:
                return 0, [MessageIdData(place.ledger, place.entry)]
            if size > MAX_LATE or len(self._entries) > MAX_LATE:
                return 0, []
            left = set(range(size))
            owed = Owed(key, [MessageIdData(place.ledger, place.entry)], left, set(left))
            self._entries[key] = owed
        before = owed.pushed
        owed.left.discard(index)
        owed.refused.discard(index)
        freed = before - owed.pushed
        if owed.left:
            return freed, []
        del self._entries[key]
        return freed, owed.places

    def nack(self, consumer_id: int, place: MessageIdData, now_s: float) -> int:
        """A message was acknowledged negatively; returns messages that count no longer."""
        owed = self._entries.get((consumer_id, place.ledger, place.entry))
        if owed is None:
            return 0
        single = place.batch_index is None or not place.batch_size
        index = -1 if single or place.batch_index is None else place.batch_index
        if index not in owed.left or index in owed.refused:
            return 0
        owed.refused.add(index)
        self._refusals.append((now_s + self._nack_delay_s, owed))
        return 1

    def due(self, now_s: float) -> Iterator[Owed]:
        """Entries that have to come again now."""
        for line in (self._timeouts, self._refusals):
            while line and line[0][0] <= now_s:
                owed = line.popleft()[1]
                if self._entries.get(owed.key) is owed:
                    yield owed

    def next_s(self) -> float | None:
        """When something is due next."""
        return min((line[0][0] for line in (self._timeouts, self._refusals) if line), default=None)

    def drop(self, owed: Owed) -> int:
        """Forget an entry; returns messages that count no longer."""
        self._entries.pop(owed.key, None)
        return owed.pushed

    def drop_all(self, consumer_id: int) -> int:
        """Forget everything of a consumer; returns messages that count no longer."""
        gone = [owed for key, owed in self._entries.items() if key[0] == consumer_id]
        return sum(self.drop(owed) for owed in gone)
