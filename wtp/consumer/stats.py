"""What was received: counts, rates, gaps and latencies, by track and in all."""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from typing import Any

from wtp.consumer.item import PUBLISH_TO_RECEIVE, Item
from wtp.metrics import PERCENTILES, Latency

HOPS = (
    ("capture->encode", "capture_us", "encode_us"),
    ("encode->send", "encode_us", "send_us"),
    ("send->route", "send_us", "route_us"),
    ("route->publish", "route_us", "publish_us"),
    ("publish->receive", "publish_us", "receive_us"),
)
"""Name of a hop and the two stamps it lies between."""

MAX_TRACKS = 64
"""Tracks with figures of their own; beyond, the longest silent one gives way."""

MAX_MISSING = 1024
"""Missing sequence numbers a track remembers, to tell a late object from a repeated one."""

MAX_INSTANCES = 4
RATE_SLOT_US = 250_000
RATE_SLOTS = 8


NOTHING: dict[str, Any] = {"n": 0, **{f"{p}_ms": None for p in PERCENTILES}, "max_ms": None}
"""Figures of a latency that was never measured."""


class Rate:
    """Objects and bytes per second over the last two seconds."""

    def __init__(self) -> None:
        self._slots: deque[list[int]] = deque(maxlen=RATE_SLOTS + 1)

    def add(self, at_us: int, size_bytes: int) -> None:
        """Count one object at that time (CLOCK_MONOTONIC)."""
        slot = at_us // RATE_SLOT_US
        if not self._slots or self._slots[-1][0] < slot:
            self._slots.append([slot, 0, 0])
        self._slots[-1][1] += 1
        self._slots[-1][2] += size_bytes

    def at(self, now_us: int) -> tuple[float, float]:
        """Objects and bytes per second, over the whole slots of the window before now."""
        now = now_us // RATE_SLOT_US
        if not self._slots:
            return 0.0, 0.0
        first = max(self._slots[0][0], now - RATE_SLOTS)
        whole = [slot for slot in self._slots if first <= slot[0] < now]
        seconds = max(1, now - first) * RATE_SLOT_US / 1e6
        return sum(s[1] for s in whole) / seconds, sum(s[2] for s in whole) / seconds


class Sequence:
    """Gaps, repeats and late objects of one instance of a track."""

    def __init__(self) -> None:
        self.last: int | None = None
        self.missing: OrderedDict[int, None] = OrderedDict()

    def add(self, seq: int) -> tuple[int, str]:
        """Take the next number.

        Returns:
            By how many the count of missing objects changes, and `duplicate`, `late` or "".
        """
        if self.last is None or seq == self.last + 1:
            self.last = seq
            return 0, ""
        if seq > self.last:
            gap = seq - self.last - 1
            for number in range(max(self.last + 1, seq - MAX_MISSING), seq):
                self.missing[number] = None
            while len(self.missing) > MAX_MISSING:
                self.missing.popitem(last=False)
            self.last = seq
            return gap, ""
        if seq in self.missing:
            del self.missing[seq]
            return -1, "late"
        return 0, "duplicate"


class TrackFigures:
    """Counts of one track."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.objects = self.bytes = self.keys = 0
        self.gaps = 0
        self.order: Counter[str] = Counter()
        self.rate = Rate()
        self.total: Latency | None = None
        self.sequences: OrderedDict[str, Sequence] = OrderedDict()
        self.content_type = ""
        self.instance = ""

    def count(self, item: Item) -> None:
        """Take an object, without its latency."""
        self.objects += 1
        self.bytes += item.size_bytes
        if item.live:
            self.rate.add(item.message.receive_monotonic_us, item.size_bytes)
        if item.obj is None:
            return
        self.keys += item.obj.key
        self.content_type, self.instance = item.obj.content_type, item.instance

    def follow(self, item: Item) -> int:
        """Follow the sequence; returns by how many the count of missing objects changes."""
        if item.obj is None:
            return 0
        if not item.instance and item.obj.seq <= 1:
            # Senders that name no instance begin anew like this.
            self.sequences.pop("", None)
        sequence = self.sequences.get(item.instance)
        if sequence is None:
            sequence = self.sequences[item.instance] = Sequence()
            if len(self.sequences) > MAX_INSTANCES:
                self.sequences.popitem(last=False)
        change, what = sequence.add(item.obj.seq)
        self.gaps += change
        if what:
            self.order[what] += 1
        return change

    def snapshot(self, now_us: int) -> dict[str, Any]:
        """Its figures as plain values."""
        objects_s, bytes_s = self.rate.at(now_us)
        return {
            "kind": self.kind or None,
            "content_type": self.content_type or None,
            "instance": self.instance or None,
            "objects": self.objects,
            "bytes": self.bytes,
            "keys": self.keys,
            "fps": round(objects_s, 2),
            "rate": round(bytes_s * 8),
            "gaps": self.gaps,
            "late": self.order["late"],
            "duplicates": self.order["duplicate"],
            "latency": self.total.snapshot() if self.total else dict(NOTHING),
        }


class Statistics:
    """Everything that is counted of what was received.

    Args:
        sequences: Whether gaps can be told: not when several consumers share the objects.
    """

    def __init__(self, *, sequences: bool = True) -> None:
        self.objects = self.bytes = self.past = self.unknown = 0
        self.gaps = 0
        self.faults: Counter[str] = Counter()
        self._follow = sequences
        self._rate = Rate()
        self._tracks: OrderedDict[str, TrackFigures] = OrderedDict()
        self._gone: Counter[str] = Counter()
        self.reset_latency()

    def reset_latency(self) -> None:
        """Forget every latency counted so far (after a warm-up); counts stay."""
        self.total = Latency()
        self.send_to_receive = Latency()
        self.hops = {name: Latency() for name, *_ in HOPS}
        self.since_publish = Latency()
        self.unknown = 0
        self.clock_error_us: int | None = 0
        for track in self._tracks.values():
            track.total = None

    def add(self, item: Item) -> None:
        """Take one received object."""
        self.objects += 1
        self.bytes += item.size_bytes
        if item.fault:
            self.faults[item.fault] += 1
        track = self._track(item)
        track.count(item)
        if self._follow:
            self.gaps += track.follow(item)
        if item.live:
            self._rate.add(item.message.receive_monotonic_us, item.size_bytes)
            self._measure(item, track)
        else:
            self.past += 1

    def _track(self, item: Item) -> TrackFigures:
        track = self._tracks.get(item.track)
        if track is None:
            track = self._tracks[item.track] = TrackFigures(item.kind)
            if len(self._tracks) > MAX_TRACKS:
                _, gone = self._tracks.popitem(last=False)
                self._gone.update(gone.order)
        else:
            self._tracks.move_to_end(item.track)
        return track

    def _measure(self, item: Item, track: TrackFigures) -> None:
        """Count every way whose two ends are known."""
        for name, start, end in HOPS:
            _add(self.hops[name], item.stamp(start), item.stamp(end))
        _add(self.send_to_receive, item.stamp("send_us"), item.receive_us)
        _add(self.since_publish, 0, item.publish_to_receive_us)
        latency_us = item.latency_us
        if latency_us is None:
            self.unknown += 1
            return
        self.total.add(latency_us)
        if track.total is None:
            track.total = Latency()
        track.total.add(latency_us)
        if item.clock_error_us is None:
            self.clock_error_us = None
        elif self.clock_error_us is not None:
            self.clock_error_us = max(self.clock_error_us, item.clock_error_us)

    @property
    def order(self) -> Counter[str]:
        """Late and duplicate objects of all tracks."""
        return sum((t.order for t in self._tracks.values()), self._gone.copy())

    def snapshot(self, now_us: int) -> dict[str, Any]:
        """All figures as plain values.

        Args:
            now_us: CLOCK_MONOTONIC, for the rates.

        Returns:
            Counts; `fps` in objects/s and `rate` in bit/s of live objects over the last two
            seconds; latencies in ms, None where nothing is known; `clock_error_ms`, the largest
            that was met, None when one was unknown or nothing was measured; `past`, objects from
            before the consumer joined, which say nothing about latency or rates. Where messages
            without stamps came, `hops` has one more entry, `PUBLISH_TO_RECEIVE`, which crosses
            two clocks; it counts into no total.
        """
        objects_s, bytes_s = self._rate.at(now_us)
        known = self.total.n and self.clock_error_us is not None
        order = self.order
        hops = {name: hop.snapshot() for name, hop in self.hops.items()}
        if self.since_publish.n:
            hops[PUBLISH_TO_RECEIVE] = self.since_publish.snapshot()
        return {
            "objects": self.objects,
            "bytes": self.bytes,
            "fps": round(objects_s, 2),
            "rate": round(bytes_s * 8),
            "past": self.past,
            "not_wtp": self.faults["not-wtp"],
            "damaged": self.faults["damaged"],
            "gaps": self.gaps if self._follow else None,
            "late": order["late"],
            "duplicates": order["duplicate"],
            "latency": {
                "total": self.total.snapshot(),
                "send_to_receive": self.send_to_receive.snapshot(),
                "hops": hops,
                "last_ms": _last_ms(self.total),
                "unknown": self.unknown,
                "negative": self.total.negative,
            },
            "clock_error_ms": (self.clock_error_us or 0) / 1000 if known else None,
            "tracks": {name: track.snapshot(now_us) for name, track in self._tracks.items()},
        }


def _add(way: Latency, start_us: int | None, end_us: int | None) -> None:
    if start_us is not None and end_us is not None:
        way.add(end_us - start_us)


def _last_ms(way: Latency) -> float | None:
    return None if way.last_us is None else round(way.last_us / 1000, 3)
