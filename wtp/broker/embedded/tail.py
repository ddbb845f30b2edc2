"""The newest entries of the topics in memory, bounded per topic and in all."""

from __future__ import annotations

from wtp.broker.embedded.values import Entry

TOPIC_BYTES = 8 * 1024 * 1024
"""What one topic may keep in memory."""

TOTAL_BYTES = 64 * 1024 * 1024
"""What all topics together may keep in memory."""

ENTRY_BYTES = 300
"""Cost of an entry beside its blob: two tuples, two integers, a dict slot (sys.getsizeof)."""


class TailBudget:
    """The memory that all tails share; when it is used up the largest tail gives half away."""

    def __init__(self, total_bytes: int = TOTAL_BYTES, topic_bytes: int = TOPIC_BYTES) -> None:
        self.total_bytes = total_bytes
        self.topic_bytes = min(topic_bytes, total_bytes)
        self.used_bytes = 0
        self._tails: set[Tail] = set()

    def tail(self) -> Tail:
        """Return a new, empty tail."""
        tail = Tail(self)
        self._tails.add(tail)
        return tail

    def drop(self, tail: Tail) -> None:
        """Empty a tail that is not needed any more."""
        tail.shrink(0)
        self._tails.discard(tail)

    def shrink(self) -> None:
        """Make room below the total."""
        while self.used_bytes > self.total_bytes:
            largest = max(self._tails, key=lambda tail: tail.size_bytes)
            largest.shrink(largest.size_bytes // 2)


class Tail:
    """The newest entries of one topic's current ledger: consecutive entry numbers."""

    __slots__ = ("_budget", "_entries", "low", "next", "size_bytes")

    def __init__(self, budget: TailBudget) -> None:
        self._budget = budget
        self._entries: dict[int, Entry] = {}
        self.low = 0
        self.next = 0
        self.size_bytes = 0

    def put(self, number: int, entry: Entry) -> None:
        """Add the entry behind all others."""
        if number != self.next:
            self.shrink(0)
            self.low = number
        self._entries[number] = entry
        self.next = number + 1
        cost = len(entry.blob) + ENTRY_BYTES
        self.size_bytes += cost
        budget = self._budget
        budget.used_bytes += cost
        if self.size_bytes > budget.topic_bytes:
            self.shrink(budget.topic_bytes)
        if budget.used_bytes > budget.total_bytes:
            budget.shrink()

    def shrink(self, size_bytes: int) -> None:
        """Forget the oldest entries until at most that many bytes are left."""
        while self.size_bytes > size_bytes:
            entry = self._entries.pop(self.low)
            self.low += 1
            cost = len(entry.blob) + ENTRY_BYTES
            self.size_bytes -= cost
            self._budget.used_bytes -= cost

    def forget_before(self, number: int) -> None:
        """Forget the entries below a number: they were trimmed."""
        while self.low < min(number, self.next):
            self.shrink(self.size_bytes - 1)

    def take(self, number: int, max_entries: int, max_bytes: int) -> list[Entry]:
        """Return entries from `number` (not below `low`) on; at least one if there is one."""
        entries = self._entries
        found: list[Entry] = []
        for wanted in range(max(number, self.low), min(self.next, number + max_entries)):
            entry = entries[wanted]
            max_bytes -= len(entry.blob)
            if max_bytes < 0 and found:
                break
            found.append(entry)
        return found
