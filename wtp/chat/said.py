"""Own lines from Enter to the receipt: each is shown once, whichever of two ways it comes back.

A line comes back as the broker's receipt and, read from the topic like everybody's, as a message.
The first of both shows it; the second is left out.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Said:
    """An own line.

    Attributes:
        payload: Its text as UTF-8.
        style: `action`, or empty.
        at_us: When it was sent, Unix µs.
    """

    payload: bytes
    style: str
    at_us: int


Settled = Callable[[Said, str], None]
"""Is told of a line whose receipt came first, with "", or that was rejected, with why."""


class OwnLines:
    """The own lines that were not shown yet. May be asked from any thread.

    Args:
        settled: Shows a line that was receipted or rejected; called on the loop.

    Attributes:
        instance: Of the publisher's run; only lines of it are own ones.
    """

    def __init__(self, settled: Settled) -> None:
        self.instance = ""
        self.rejections = 0
        self._settled = settled
        self._lock = threading.Lock()
        self._waiting: dict[int, Said] = {}
        self._last_seq = 0
        self._last_back = 0

    def sending(self, said: Said) -> int:
        """A line is about to be offered; returns its sequence (they count from 1)."""
        with self._lock:
            self._last_seq += 1
            self._waiting[self._last_seq] = said
            return self._last_seq

    def receipted(self, up_to_seq: int) -> None:
        """The broker has everything up to this sequence."""
        with self._lock:
            done = [seq for seq in self._waiting if seq <= up_to_seq]
            lines = [self._waiting.pop(seq) for seq in done]
        for said in lines:
            self._settled(said, "")

    def rejected(self, seq: int, why: str) -> None:
        """The broker will never take this one."""
        with self._lock:
            said = self._waiting.pop(seq, None)
            self.rejections += 1
        if said is not None:
            self._settled(said, why or "it was refused")

    def came_back(self, seq: int) -> bool:
        """A line was read from the topic; whether it is still to be shown."""
        with self._lock:
            self._last_back = max(self._last_back, seq)
            return self._waiting.pop(seq, None) is not None

    @property
    def all_back(self) -> bool:
        """Whether the last line was read from the topic."""
        with self._lock:
            return self._last_back >= self._last_seq

    @property
    def waiting(self) -> list[Said]:
        """Lines that neither came back nor have a receipt, oldest first."""
        with self._lock:
            return list(self._waiting.values())
