"""How far a subscription has come: what is acknowledged, what comes next."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import Protocol

from wtp.broker.embedded.values import EARLIEST, CursorState, Position

Range = tuple[Position, Position]


class Order(Protocol):
    """The order of a topic's entries; `TopicLog` is one."""

    def next_position(self, position: Position) -> Position:
        """Position of the first entry behind `position`, or the end."""
        ...


class Ranges:
    """A set of positions as sorted runs, so that one hole does not cost an item per entry."""

    def __init__(self, ranges: Iterable[Range] = ()) -> None:
        self._first: list[Position] = []
        self._last: list[Position] = []
        for first, last in ranges:
            self._first.append(first)
            self._last.append(last)

    def __len__(self) -> int:
        return len(self._first)

    def __iter__(self) -> Iterator[Range]:
        return zip(self._first, self._last, strict=True)

    def __contains__(self, position: object) -> bool:
        if not isinstance(position, tuple):
            return False
        at = bisect_right(self._first, position) - 1
        return at >= 0 and position <= self._last[at]

    def add(self, position: Position) -> bool:
        """Put a position in; False when it was there."""
        at = bisect_right(self._first, position)
        if at and position <= self._last[at - 1]:
            return False
        ledger, entry = position
        joins_left = at > 0 and self._last[at - 1] == (ledger, entry - 1)
        joins_right = at < len(self._first) and self._first[at] == (ledger, entry + 1)
        if joins_left and joins_right:
            self._last[at - 1] = self._last.pop(at)
            del self._first[at]
        elif joins_left:
            self._last[at - 1] = position
        elif joins_right:
            self._first[at] = position
        else:
            self._first.insert(at, position)
            self._last.insert(at, position)
        return True

    def drop_up_to(self, position: Position) -> None:
        """Take out everything up to and including `position`."""
        at = bisect_right(self._first, position)
        keep_last = at > 0 and self._last[at - 1] > position
        cut = at - 1 if keep_last else at
        del self._first[:cut], self._last[:cut]
        if keep_last:
            self._first[0] = Position(position.ledger, position.entry + 1)

    def pop_first(self) -> Range:
        """Take the lowest run out."""
        return self._first.pop(0), self._last.pop(0)


class Cursor:
    """Acknowledgements of one subscription.

    Args:
        order: The topic's log.
        state: Where to start.

    Attributes:
        mark: Everything up to and including it is acknowledged.
        acked: What is acknowledged behind `mark`.
    """

    def __init__(self, order: Order, state: CursorState) -> None:
        self._order = order
        self.mark = state.mark_delete
        self.acked = Ranges(state.acked)
        self.properties = state.properties

    def state(self) -> CursorState:
        """What to keep on the disk."""
        return CursorState(self.mark, tuple(self.acked), self.properties)

    def is_acked(self, position: Position) -> bool:
        """Whether the entry was acknowledged."""
        return position <= self.mark or (bool(self.acked) and position in self.acked)

    def ack(self, position: Position) -> bool:
        """Acknowledge one entry; False when it was before."""
        mark = self.mark
        if position <= mark:
            return False
        if position == (mark.ledger, mark.entry + 1):
            self.mark = position
        elif not self.acked.add(position):
            return False
        if self.acked:
            self._absorb()
        return True

    def ack_up_to(self, position: Position) -> bool:
        """Acknowledge everything up to and including `position`; False when it was before."""
        if position <= self.mark:
            return False
        self.mark = position
        self.acked.drop_up_to(position)
        self._absorb()
        return True

    def _absorb(self) -> None:
        while self.acked:
            first, last = next(iter(self.acked))
            if first > self.mark and first != self._order.next_position(self.mark):
                break
            self.acked.pop_first()
            self.mark = max(self.mark, last)

    def reset(self, start: Position) -> None:
        """Forget all acknowledgements; the entry at `start` is the next to be read."""
        self.mark = before(start)
        self.acked = Ranges()


def before(start: Position) -> Position:
    """The mark of a subscription whose first entry is at `start`."""
    if start <= EARLIEST:
        return EARLIEST
    return Position(start.ledger, max(start.entry, 0) - 1)


def after(position: Position) -> Position:
    """The lowest position behind `position`."""
    return Position(position.ledger, position.entry + 1)
