"""What was played, track by track."""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from typing import Any

from wtp.clock import monotonic_us
from wtp.consumer.stats import MAX_INSTANCES, MAX_TRACKS, Sequence
from wtp.replayer.placed import Placed
from wtp.replayer.ports import Message

RATE_WINDOW_US = 2_000_000
RATE_STEP_US = 50_000

SEQ_DIGITS = 19
"""A sequence number of 63 bits has as many."""


class TrackFigures:
    """Counts of one track."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.objects = self.bytes = 0
        self.gaps = self.duplicates = 0
        self._sequences: OrderedDict[str, Sequence] = OrderedDict()

    def add(self, message: Message) -> None:
        """Take an object."""
        self.objects += 1
        self.bytes += len(message.payload)
        properties = message.properties
        seq = properties.get("seq", "")
        if not seq.isdecimal() or len(seq) > SEQ_DIGITS or properties.get("wtp") != "1":
            return
        instance = properties.get("instance", "")
        sequence = self._sequences.get(instance)
        if sequence is None:
            sequence = self._sequences[instance] = Sequence()
            if len(self._sequences) > MAX_INSTANCES:
                self._sequences.popitem(last=False)
        change, what = sequence.add(int(seq))
        self.gaps += change
        self.duplicates += what == "duplicate"

    def restart(self) -> None:
        """What comes next does not follow what was before."""
        self._sequences.clear()

    def snapshot(self) -> dict[str, Any]:
        """Its counts as plain values."""
        return {
            "kind": self.kind or None,
            "objects": self.objects,
            "bytes": self.bytes,
            "gaps": self.gaps,
            "duplicates": self.duplicates,
        }


class Rate:
    """Objects and bytes per second over the last two seconds, counted by batches."""

    def __init__(self) -> None:
        self._batches: deque[tuple[int, int, int]] = deque()

    def add(self, now_us: int, objects: int, size_bytes: int) -> None:
        """Count a batch at that time (CLOCK_MONOTONIC)."""
        last = self._batches[-1] if self._batches else None
        if last is not None and now_us - last[0] < RATE_STEP_US:
            self._batches[-1] = (last[0], last[1] + objects, last[2] + size_bytes)
        else:
            self._batches.append((now_us, objects, size_bytes))
        self._forget(now_us)

    def _forget(self, now_us: int) -> None:
        while self._batches and self._batches[0][0] < now_us - RATE_WINDOW_US:
            self._batches.popleft()

    def at(self, now_us: int) -> tuple[float, float]:
        """Objects and bytes per second before now."""
        self._forget(now_us)
        if not self._batches:
            return 0.0, 0.0
        seconds = max(RATE_STEP_US, now_us - self._batches[0][0]) / 1e6
        objects = sum(batch[1] for batch in self._batches)
        return objects / seconds, sum(batch[2] for batch in self._batches) / seconds


class Figures:
    """Everything that was played; sequences begin anew after a jump."""

    def __init__(self) -> None:
        self.objects = self.bytes = self.live = 0
        self.newest_us: int | None = None
        """Where on the time line the last object lay, or where a jump went; Unix µs."""
        self._first_us: int | None = None
        self._before_us = 0
        self.placed_by: Counter[str] = Counter()
        self.rate = Rate()
        self._tracks: OrderedDict[str, TrackFigures] = OrderedDict()

    def add(self, items: list[Placed]) -> None:
        """Take objects in the order they are played."""
        now_us = monotonic_us()
        tracks, before_bytes = self._tracks, self.bytes
        for message, _, placed_by, live in items:
            self.bytes += len(message.payload)
            self.placed_by[placed_by] += 1
            self.live += live
            track = tracks.get(message.key) or self._new_track(message)
            track.add(message)
        self.objects += len(items)
        self.rate.add(now_us, len(items), self.bytes - before_bytes)
        if self._first_us is None:
            self._first_us = items[0].at_us
        self.newest_us = items[-1].at_us

    def _new_track(self, message: Message) -> TrackFigures:
        track = self._tracks[message.key] = TrackFigures(message.properties.get("kind", ""))
        if len(self._tracks) > MAX_TRACKS:
            self._tracks.popitem(last=False)
        return track

    @property
    def played_us(self) -> int:
        """How much of the time line was played, in µs; what was played twice counts twice."""
        if self._first_us is None or self.newest_us is None:
            return self._before_us
        return self._before_us + max(0, self.newest_us - self._first_us)

    def jumped(self, target_us: int) -> None:
        """What comes next begins at another time, and does not follow what was before."""
        self._before_us = self.played_us
        self._first_us, self.newest_us = None, target_us
        for track in self._tracks.values():
            track.restart()

    def snapshot(self) -> dict[str, Any]:
        """All counts as plain values."""
        objects_s, bytes_s = self.rate.at(monotonic_us())
        return {
            "objects": self.objects,
            "bytes": self.bytes,
            "live_objects": self.live,
            "fps": round(objects_s, 2),
            "rate": round(bytes_s * 8),
            "gaps": sum(track.gaps for track in self._tracks.values()),
            "duplicates": sum(track.duplicates for track in self._tracks.values()),
            "placed_by": dict(self.placed_by),
            "tracks": {name: track.snapshot() for name, track in self._tracks.items()},
        }
