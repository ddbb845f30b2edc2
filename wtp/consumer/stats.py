"""What was received: counts, rates, gaps and latencies, by track and in all."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable
from typing import Any

from wtp.consumer.counting import Rate as Rate
from wtp.consumer.counting import Sequence as Sequence
from wtp.consumer.hops import DECODE, RECEIVE, SHOW, TAKE, Way, error_ms
from wtp.consumer.item import PUBLISH_TO_RECEIVE, Item, Seen
from wtp.metrics import PERCENTILES, Latency

MAX_TRACKS = 64
"""Tracks with figures of their own; beyond, the longest silent one gives way."""

MAX_INSTANCES = 4
STALE_US = 3_000_000
"""What came longer ago is no figure of now."""

NOTHING: dict[str, Any] = {"n": 0, **{f"{p}_ms": None for p in PERCENTILES}, "max_ms": None}
"""Figures of a latency that was never measured."""


class TrackFigures:
    """Counts of one track."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.objects = self.bytes = self.keys = 0
        self.gaps = 0
        self.order: Counter[str] = Counter()
        self.rate = Rate()
        self.last_live_us: int | None = None
        self.sequences: OrderedDict[str, Sequence] = OrderedDict()
        self.content_type = ""
        self.instance = ""
        self.reset_latency()

    def reset_latency(self) -> None:
        """Forget every latency counted so far."""
        self.total: Latency | None = None
        self.way = Way()

    def measure(self, item: Item, latency_us: int | None) -> None:
        """Count the way of a live object."""
        self.way.add(item)
        if latency_us is None:
            return
        if self.total is None:
            self.total = Latency()
        self.total.add(latency_us)

    def count(self, item: Item) -> None:
        """Take an object, without its latency."""
        self.objects += 1
        self.bytes += item.size_bytes
        if item.live:
            self.last_live_us = item.message.receive_monotonic_us
            self.rate.add(self.last_live_us, item.size_bytes)
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
        whole = self.total is not None
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
            "silent_s": _silent_s(self.last_live_us, now_us),
            "last_ms": _fresh_ms(self.total, self.last_live_us, now_us),
            "latency": self.total.snapshot() if self.total else dict(NOTHING),
            "clock_error_ms": error_ms(self.way.clock_error_us, known=whole),
            "hops": self.way.snapshot(whole=whole),
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
        self._last_live_us: int | None = None
        self.reset_latency()

    def reset_latency(self) -> None:
        """Forget every latency counted so far (after a warm-up); counts stay."""
        self.total = Latency()
        self.send_to_receive = Latency()
        self.capture_to_show = Latency()
        self.since_publish = Latency()
        self._gone_way = Way()
        self.unknown = 0
        for track in self._tracks.values():
            track.reset_latency()

    @property
    def hops(self) -> dict[str, Latency]:
        """The hops of all tracks, in the order of the way."""
        return self._way().by_name()

    def _way(self) -> Way:
        way = Way()
        for one in (self._gone_way, *(track.way for track in self._tracks.values())):
            way.merge(one)
        return way

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
            self._last_live_us = item.message.receive_monotonic_us
            self._rate.add(self._last_live_us, item.size_bytes)
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
                self._gone_way.merge(gone.way)
        else:
            self._tracks.move_to_end(item.track)
        return track

    def _measure(self, item: Item, track: TrackFigures) -> None:
        """Count every way whose two ends are known."""
        latency_us = item.latency_us
        track.measure(item, latency_us)
        send_us = item.obj.send_us if item.obj else None
        if send_us is not None and item.receive_us is not None and item.synced:
            self.send_to_receive.add(item.receive_us - send_us)
        if item.foreign and (since_us := item.publish_to_receive_us) is not None:
            self.since_publish.add(since_us)
        if latency_us is None:
            self.unknown += 1
            return
        self.total.add(latency_us)

    def took(self, items: Iterable[Item], take_us: int) -> None:
        """Count how long objects waited for the output that has them now.

        Args:
            items: The objects.
            take_us: CLOCK_MONOTONIC.
        """
        for item in items:
            track = self._tracks.get(item.track)
            if item.live and track is not None:
                track.way.count((RECEIVE, TAKE), take_us - item.message.receive_monotonic_us)

    def saw(self, seen: Iterable[Seen], take_us: int) -> None:
        """Count decoding and showing of objects that were taken at that time."""
        for one in seen:
            item = one.item
            track = self._tracks.get(item.track)
            if not item.live or track is None:
                continue
            track.way.count((TAKE, DECODE), one.decode_us - take_us)
            if one.show_us is None:
                continue
            track.way.count((DECODE, SHOW), one.show_us - one.decode_us)
            if (latency_us := item.latency_us) is not None:
                since_us = one.show_us - item.message.receive_monotonic_us
                self.capture_to_show.add(latency_us + since_us)

    def last_ms(self, now_us: int) -> float | None:
        """The latency of the last object; None when it came too long ago to be one of now."""
        return _fresh_ms(self.total, self._last_live_us, now_us)

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
            seconds; latencies in ms, None where nothing is known; `silent_s` since the last live
            object; `last_ms`, None when that is no figure of now; `hops` as of `Way.snapshot`, in
            all and by track; `clock_error_ms`, the largest that was met, None when one was unknown
            or nothing was measured; `past`, objects from before the consumer joined, which say
            nothing about latency or rates. Where messages without stamps came, `hops` has one
            more entry, `PUBLISH_TO_RECEIVE`, which crosses two clocks; it counts into no total.
        """
        objects_s, bytes_s = self._rate.at(now_us)
        order, way, whole = self.order, self._way(), bool(self.total.n)
        hops = way.snapshot(whole=whole)
        if self.since_publish.n:
            mean_ms = round((self.since_publish.mean_us or 0) / 1000, 3)
            figures = {**self.since_publish.snapshot(), "mean_ms": mean_ms, "share": None}
            hops[PUBLISH_TO_RECEIVE] = figures
        silent_s = _silent_s(self._last_live_us, now_us)
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
                "total": {"from": "capture", "to": "receive", **self.total.snapshot()},
                "send_to_receive": self.send_to_receive.snapshot(),
                "capture_to_show": self.capture_to_show.snapshot(),
                "hops": hops,
                "last_ms": self.last_ms(now_us),
                "silent_s": silent_s,
                "unknown": self.unknown,
                "negative": self.total.negative,
            },
            "clock_error_ms": error_ms(way.clock_error_us, known=whole),
            "tracks": {name: track.snapshot(now_us) for name, track in self._tracks.items()},
        }


def _fresh_ms(total: Latency | None, last_us: int | None, now_us: int) -> float | None:
    if total is None or total.last_us is None or last_us is None or now_us - last_us > STALE_US:
        return None
    return round(total.last_us / 1000, 3)


def _silent_s(last_us: int | None, now_us: int) -> float | None:
    """Seconds since something came; None when nothing ever did."""
    return None if last_us is None else round(max(0, now_us - last_us) / 1e6, 1)
