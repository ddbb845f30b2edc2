"""Order per track for objects that arrive on many connections.

Requests of one track may overtake each other by a little. A lane lets them in by their sequence,
one after the other; where one is missing it waits a moment. Of a reliable track an object that
was sent away to come again holds up those behind it, for a producer with sequence ids would
silently discard it once a later one is published.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import OrderedDict
from itertools import count

from wtp.errors import Refused

LIVE_PATIENCE_S = 0.02
"""How long a live object waits for the one before: drops upstream leave gaps, too."""

RELIABLE_PATIENCE_S = 1.0
MOST_LANES = 4096


class OutOfTurn(Refused):
    """An object came at the wrong time: `code` is `wait` (try again) or `late` (never again)."""


class Lane:
    """The way of one track of one publisher run.

    Args:
        reliable: Whether objects that were sent away hold up the others.
    """

    def __init__(self, reliable: bool) -> None:
        self._reliable = reliable
        self._patience_s = RELIABLE_PATIENCE_S if reliable else LIVE_PATIENCE_S
        self._next: int | None = 1 if reliable else None
        self._failed: int | None = None
        self._busy = False
        self._number = count()
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._alarm: asyncio.TimerHandle | None = None

    @property
    def idle(self) -> bool:
        """Whether nobody is on it or waits for it."""
        return not (self._busy or self._waiting)

    async def enter(self, seq: int) -> None:
        """Wait for the turn of an object; `leave` must follow.

        Raises:
            OutOfTurn: It must come again later.
        """
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (seq, next(self._number), turn))
        self._pump()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._busy = False
            self._pump()
            raise

    def leave(self, seq: int, *, failed: bool = False) -> None:
        """The object is handed on, or sent away to come again (`failed`)."""
        self._busy = False
        if failed and self._reliable:
            self.fail(seq)
        else:
            self._next = seq + 1 if self._next is None else max(self._next, seq + 1)
            if self._failed is not None and self._failed < self._next:
                self._failed = None
        self._pump()

    def fail(self, seq: int) -> None:
        """An object that was handed on did not arrive: it and those behind it must come again."""
        if self._reliable:
            self._failed = seq if self._failed is None else min(self._failed, seq)
            self._next = self._failed

    def _pump(self) -> None:
        waiting = self._waiting
        while waiting and waiting[0][2].done():
            heapq.heappop(waiting)
        if self._busy or not waiting:
            return
        if self._next is None or waiting[0][0] <= self._next:
            self._admit()
        elif self._alarm is None:
            self._alarm = asyncio.get_running_loop().call_later(self._patience_s, self._give_up)

    def _admit(self) -> None:
        _, _, turn = heapq.heappop(self._waiting)
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self._busy = True
        turn.set_result(None)

    def _give_up(self) -> None:
        """The one that was waited for did not come."""
        self._alarm = None
        waiting = self._waiting
        while waiting and waiting[0][2].done():
            heapq.heappop(waiting)
        if self._busy or not waiting:
            return
        if self._failed is not None:
            for _, _, turn in waiting:
                if not turn.done():
                    turn.set_exception(
                        OutOfTurn(f"Object {self._failed} must come first.", code="wait")
                    )
            waiting.clear()
            return
        self._admit()


class Lanes:
    """The lanes of all tracks; the longest unused ones are forgotten."""

    def __init__(self) -> None:
        self._lanes: OrderedDict[tuple[str, str], Lane] = OrderedDict()

    def of(self, track: str, instance: str, reliable: bool) -> Lane:
        """The lane of a track of a publisher run."""
        key = (track, instance)
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane(reliable)
            if len(self._lanes) > MOST_LANES:
                oldest = next(iter(self._lanes))
                if self._lanes[oldest].idle:
                    del self._lanes[oldest]
        self._lanes.move_to_end(key)
        return lane
