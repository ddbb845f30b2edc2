"""Which picture is due, and how far picture and sound of a publisher are apart; pure.

Encoded pictures wait until `capture + delay`; all that are due are decoded then and the newest is
shown. A picture that comes late is shown at once: a late picture is better than a frozen one.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

from wtp.metrics import Latency, Ledger

MAX_PICTURES = 1200
"""Encoded pictures that wait at most: two groups of the largest size that can be asked for."""

MAX_BYTES = 48 * 1024 * 1024

BACK_US = 2_000
"""A step back of capture times that is more than the noise of an estimated clock."""

ALL_US = 1 << 62
"""Later than any capture time."""


@dataclass(frozen=True, slots=True)
class Shot:
    """One encoded picture.

    Attributes:
        capture_us: When it was captured, CLOCK_MONOTONIC.
        payload: Its bytes.
        content_type: How it is decoded.
        seq: Its number; None when it has none.
        startable: Whether decoding can start with it.
        run: The publisher's run it comes from; another one has numbers of its own.
        live: Whether it was published after joining: only such ones tell of delays.
        receive_us: When it arrived, CLOCK_MONOTONIC.
    """

    capture_us: int
    payload: bytes
    content_type: str
    seq: int | None
    startable: bool
    run: str = ""
    live: bool = True
    receive_us: int = 0


class Reel:
    """The encoded pictures of one track that wait for their time.

    Attributes:
        ledger: What became of them: delivered ones were shown.
        waiting: Whether it waits for a key frame.
        reordered: Whether objects come in another order than they are shown (B-frames).
    """

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.reordered = False
        self._last = ("", 0)
        self.waiting = True
        self._shots: deque[Shot] = deque()
        self._bytes = 0
        self._next: tuple[str, int] | None = None

    def put(self, shot: Shot) -> None:
        """Add a picture, in the order of the track."""
        self.ledger.offer(len(shot.payload))
        follows = shot.seq is None or self._next == (shot.run, shot.seq)
        if not shot.startable and (not follows or (self.waiting and shot.seq is not None)):
            self.waiting = True
            self.ledger.drop("no-key")
            return
        if len(self._shots) >= MAX_PICTURES or self._bytes > MAX_BYTES:
            self.clear("overflow")
            if not shot.startable:
                self.waiting = True
                self.ledger.drop("no-key")
                return
        run, last_us = self._last
        back = shot.capture_us < last_us - BACK_US
        self.reordered = run == shot.run and (self.reordered or back)
        self._last = (shot.run, shot.capture_us)
        self.waiting = False
        self._next = None if shot.seq is None else (shot.run, shot.seq + 1)
        self._shots.append(shot)
        self._bytes += len(shot.payload)

    def first_us(self) -> int | None:
        """Capture time of the oldest picture that waits; None when none does."""
        return self._shots[0].capture_us if self._shots else None

    def due(self, captured_us: int, at_most: int = MAX_PICTURES) -> list[Shot]:
        """Take out what was captured until then, in order; it stays in flight."""
        taken: list[Shot] = []
        while len(taken) < at_most and self._shots and self._shots[0].capture_us <= captured_us:
            taken.append(self._shots.popleft())
            self._bytes -= len(taken[-1].payload)
        return taken

    def broken(self) -> None:
        """A picture could not be decoded: begin anew at a key frame."""
        while self._shots and not self._shots[0].startable:
            self._bytes -= len(self._shots.popleft().payload)
            self.ledger.drop("no-key")
        self.waiting = not self._shots

    def clear(self, reason: str) -> None:
        """Drop everything that waits."""
        self.ledger.drop(reason, len(self._shots))
        self._shots.clear()
        self._bytes = 0


class SyncMeter:
    """How far what is seen is behind what is heard.

    Attributes:
        last_us: Of the last picture: positive when the picture came after its sound.
    """

    def __init__(self) -> None:
        self.last_us: int | None = None
        self._apart: Latency | None = None

    def add(self, seen_us: int, heard_us: int | None) -> None:
        """Take a picture into account.

        Args:
            seen_us: From its capture to its being shown.
            heard_us: From capture to hearing of the sound of that moment; None without sound.
        """
        if heard_us is None:
            self.last_us = None
            return
        self.last_us = seen_us - heard_us
        if self._apart is None:
            self._apart = Latency()
        self._apart.add(abs(self.last_us))

    def snapshot(self) -> dict[str, Any] | None:
        """Percentiles of the distance in ms as of `Latency`; None before the first."""
        return self._apart.snapshot() if self._apart is not None else None
