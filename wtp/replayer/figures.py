"""What was played, track by track."""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import Any

from wtp.clock import monotonic_us
from wtp.consumer.stats import MAX_INSTANCES, MAX_TRACKS, Rate, Sequence
from wtp.replayer.placed import Played


class TrackFigures:
    """Counts of one track."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.objects = self.bytes = 0
        self.gaps = self.duplicates = 0
        self._sequences: OrderedDict[str, Sequence] = OrderedDict()

    def add(self, item: Played) -> None:
        """Take an object."""
        self.objects += 1
        self.bytes += len(item.message.payload)
        if item.obj is None:
            return
        sequence = self._sequences.get(item.instance)
        if sequence is None:
            sequence = self._sequences[item.instance] = Sequence()
            if len(self._sequences) > MAX_INSTANCES:
                self._sequences.popitem(last=False)
        change, what = sequence.add(item.obj.seq)
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

    def add(self, items: list[Played]) -> None:
        """Take objects in the order they are played."""
        now_us = monotonic_us()
        for item in items:
            size_bytes = len(item.message.payload)
            self.bytes += size_bytes
            self.rate.add(now_us, size_bytes)
            self.placed_by[item.placed_by] += 1
            self.live += item.live
            track = self._tracks.get(item.track)
            if track is None:
                track = self._tracks[item.track] = TrackFigures(item.kind)
                if len(self._tracks) > MAX_TRACKS:
                    self._tracks.popitem(last=False)
            track.add(item)
        self.objects += len(items)
        if self._first_us is None:
            self._first_us = items[0].at_us
        self.newest_us = items[-1].at_us

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
