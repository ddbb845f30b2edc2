"""The queue of one stream between the thread that reads a container and the one that takes."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from wtp.errors import WtpError

READ_AHEAD = 64
"""Units read ahead of each stream of a file: about two seconds of video."""
MOST_AHEAD, MOST_AHEAD_BYTES = 4096, 32 * 1024 * 1024
"""Units and bytes read ahead when another stream of the file waits: it is badly interleaved."""
LIVE_UNITS = 256
"""Units of a live source that wait before they are dropped."""


@dataclass(frozen=True, slots=True)
class Part:
    """The source was opened (again): what it says of the units that follow.

    Attributes:
        context: What decodes or frames its units: it outlives the container, and belongs to the
            thread that takes them.
        unit_s: What its times count, in seconds.
        origin: Its time at which the source starts, in seconds.
        base_us: Time of that start within everything delivered, in µs.
        again: Whether a lost source is back.
    """

    context: Any
    unit_s: Fraction
    origin: Fraction
    base_us: int
    again: bool = False


@dataclass(frozen=True, slots=True)
class Piece:
    """One coded unit of a stream (`av.Packet`), and when it was read."""

    unit: Any
    arrived_us: int


Item = Part | Piece | WtpError | None
"""What a queue holds; an error or None is the end."""


class Lane:
    """The queue of one stream, from the reading thread to the one that takes.

    Attributes:
        open: Whether somebody takes from it.
        late: Units of a live source that were dropped since nobody took them in time.
    """

    def __init__(self, changed: threading.Condition) -> None:
        self.late = 0
        self._changed = changed
        self._items: deque[Item] = deque()
        self._bytes = 0
        self._skipping = False
        self.open = True

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: Item) -> None:
        """Add an item, whatever waits already."""
        with self._changed:
            if self.open:
                self._items.append(item)
                self._bytes += _size(item)
                self._changed.notify_all()

    def put_live(self, piece: Piece) -> None:
        """Add a unit; a full queue is emptied, and goes on at a unit that starts a group."""
        with self._changed:
            if len(self) >= LIVE_UNITS:
                self._drop(len(self))
                self._skipping = True
            if self._skipping and not piece.unit.is_keyframe:
                self.late += 1
                return
            self._skipping = False
            self.put(piece)

    def freshen(self) -> None:
        """Drop what waits before the last unit that starts a group."""
        with self._changed:
            keys = [
                at
                for at, item in enumerate(self._items)
                if isinstance(item, Piece) and item.unit.is_keyframe
            ]
            self._drop(keys[-1] if keys else 0)

    def _drop(self, count: int) -> None:
        """Drop units among the first `count` items; what else is there stays."""
        head = [self._items.popleft() for _ in range(count)]
        kept = [item for item in head if not isinstance(item, Piece)]
        self.late += len(head) - len(kept)
        self._bytes -= sum(map(_size, head))
        self._items.extendleft(reversed(kept))

    def items(self) -> Iterator[Part | Piece]:
        """Take what comes until the end.

        Raises:
            WtpError: The source failed.
        """
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._items or not self.open)
                if not self.open:
                    return
                item = self._items.popleft()
                self._bytes -= _size(item)
                self._changed.notify_all()
            if item is None:
                return
            if isinstance(item, WtpError):
                raise item
            yield item

    def close(self) -> None:
        """Take no more; safe from any thread."""
        with self._changed:
            self.open = False
            self._items.clear()
            self._bytes = 0
            self._changed.notify_all()

    def crowded(self, hungry: bool) -> bool:
        """Whether the reader has to wait; `hungry`: another stream has nothing."""
        if not self.open:
            return False
        if hungry:
            return len(self) >= MOST_AHEAD or self._bytes >= MOST_AHEAD_BYTES
        return len(self) >= READ_AHEAD


def _size(item: Item) -> int:
    return int(item.unit.size) if isinstance(item, Piece) else 0
