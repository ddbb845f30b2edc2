"""Figures of a running command as Prometheus metrics.

Names follow https://prometheus.io/docs/practices/naming: base units (`_seconds`, `_bytes`) and
`_total` for what only grows. What is not known has no sample. Tracks that have gone have none
either, so the number of series is bounded by what runs now.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)

from wtp import __version__
from wtp.metrics import BUCKETS_MS, Latency

Values = Mapping[str, Any]
Latencies = Callable[[], Mapping[str, Latency]]
Families = Callable[[Values], Iterable[Metric]]

MOST_TRACKS = 500
"""Tracks with series of their own; the sums count all."""

BOUNDS = [str(bound / 1000) for bound in BUCKETS_MS] + ["+Inf"]
_BOUNDS_US = [bound * 1000 for bound in BUCKETS_MS]


class Collector:
    """Makes metrics when they are asked for.

    Args:
        collect: Yields every family.
    """

    def __init__(self, collect: Callable[[], Iterable[Metric]]) -> None:
        self._collect = collect

    def collect(self) -> Iterable[Metric]:
        """Every family."""
        return self._collect()


def text_of(role: str, collect: Callable[[], Iterable[Metric]]) -> Callable[[], bytes]:
    """What makes the text of GET /metrics: the families, the process and what it is built of."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Collector(collect))
    ProcessCollector(registry=registry)
    build = InfoMetricFamily("wtp_build", "What this process is built of.")
    build.add_metric(
        [], {"role": role, "version": __version__, "python": platform.python_version()}
    )
    registry.register(Collector(lambda: [build]))
    return lambda: generate_latest(registry)


def exposition(
    role: str,
    snapshot: Callable[[], dict[str, Any]],
    latencies: Latencies | None = None,
) -> Callable[[], bytes]:
    """What makes the text of GET /metrics of a command other than the router.

    Args:
        role: The command.
        snapshot: Its figures.
        latencies: Its histograms by hop, `total` beside them.
    """
    families = _FAMILIES.get(role, _nothing)

    def collect() -> Iterator[Metric]:
        yield from families(snapshot())
        if latencies is not None:
            yield from hops(_NOUNS.get(role, role), latencies())

    return text_of(role, collect)


def counter(name: str, text: str, value: float) -> Metric:
    """One counter; `_total` is put behind its name."""
    return CounterMetricFamily(name, text, value)


def gauge(name: str, text: str, value: float | bool | None) -> Metric:
    """One gauge; without a sample when the value is not known."""
    return GaugeMetricFamily(name, text, None if value is None else float(value))


def labelled(
    make: Callable[..., Any], name: str, text: str, labels: Sequence[str], rows: Iterable[Any]
) -> Metric:
    """A family with labels.

    Args:
        make: `CounterMetricFamily` or `GaugeMetricFamily`.
        name: Of the family.
        text: Its help.
        labels: Names.
        rows: A value behind its labels; those whose value is None are left out.
    """
    family: Metric = make(name, text, labels=labels)
    for *values, value in rows:
        if value is not None:
            family.add_metric([str(one) for one in values], value)  # type: ignore[attr-defined]  # of both
    return family


def histogram(family: HistogramMetricFamily, labels: Sequence[str], figures: Values) -> None:
    """Add what `wtp.metrics.Buckets` has counted."""
    pairs = list(zip(BOUNDS, accumulate(figures["buckets"]), strict=True))
    family.add_metric(labels, pairs, (figures["mean_ms"] or 0) * figures["n"] / 1000)


def hops(noun: str, latencies: Mapping[str, Latency]) -> Iterator[Metric]:
    """Histograms of a reader: the whole way, and each hop that was met."""
    whole = HistogramMetricFamily(
        f"wtp_{noun}_latency_seconds", "Capture to receive of live objects whose clocks are known."
    )
    parts = HistogramMetricFamily(f"wtp_{noun}_hop_seconds", "Each hop.", labels=["hop"])
    for name, latency in latencies.items():
        if name != "total" and not latency.n:
            continue
        counts = [*latency.below(_BOUNDS_US), latency.n]
        pairs = list(zip(BOUNDS, counts, strict=True))
        family, labels = (whole, []) if name == "total" else (parts, [name])
        family.add_metric(labels, pairs, latency.sum_us / 1e6)
    yield from (whole, parts)


def ledger(noun: str, figures: Values, *, first: str = "offered") -> Iterator[Metric]:
    """A ledger's counts: offered = delivered + dropped + in flight.

    Args:
        noun: Of the role.
        figures: As of `wtp.metrics.Ledger.snapshot`.
        first: What its first figure is called.
    """
    yield counter(f"wtp_{noun}_{first}_objects", "Objects that came.", figures[first])
    yield counter(f"wtp_{noun}_{first}_bytes", "Their payload bytes.", figures["bytes"])
    yield counter(f"wtp_{noun}_delivered_objects", "Went on for good.", figures["delivered"])
    yield labelled(
        CounterMetricFamily, f"wtp_{noun}_dropped_objects", "Ended here, by reason.", ["reason"],
        figures["dropped"].items(),
    )  # fmt: skip
    yield gauge(f"wtp_{noun}_in_flight_objects", "Under way here.", figures["in_flight"])


def _nothing(_: Values) -> Iterator[Metric]:
    """A role with nothing but its process."""
    yield from ()


def _reader(noun: str) -> Families:
    """Families of what reads objects: consume, replay, record."""

    def families(now: Values) -> Iterator[Metric]:
        if "objects" not in now:
            return
        yield gauge(
            f"wtp_{noun}_reading", "1 while it reads from the broker.", now["state"] == "reading"
        )
        yield from ledger(noun, {**now, "received": now["objects"]}, first="received")
        if "latency" in now:
            yield from _followed(noun, now)

    return families


def _followed(noun: str, now: Values) -> Iterator[Metric]:
    """What a consumer finds out about what it received."""
    faults = [(name, now[name]) for name in ("not_wtp", "damaged", "late", "duplicates")]
    yield labelled(
        CounterMetricFamily, f"wtp_{noun}_odd_objects", "Received, but not as they should be.",
        ["what"], faults,
    )  # fmt: skip
    yield gauge(
        f"wtp_{noun}_missing_objects", "Gaps in sequences that nothing has filled.", now["gaps"]
    )
    yield counter(
        f"wtp_{noun}_latency_unknown_objects", "Without a latency: no clock or no stamp.",
        now["latency"]["unknown"],
    )  # fmt: skip
    error_ms = now["clock_error_ms"]
    yield gauge(
        f"wtp_{noun}_clock_error_seconds", "Largest bound on a latency's error.",
        None if error_ms is None else error_ms / 1000,
    )  # fmt: skip
    tracks = [(name, one["kind"] or "", one) for name, one in now["tracks"].items()][:MOST_TRACKS]
    for key, make, name, text in (
        ("objects", CounterMetricFamily, "objects", "Received."),
        ("bytes", CounterMetricFamily, "bytes", "Payload bytes received."),
        ("gaps", GaugeMetricFamily, "missing_objects", "Gaps in its sequence."),
    ):
        yield labelled(
            make, f"wtp_{noun}_track_{name}", text, ["track", "kind"],
            [(track, kind, one[key]) for track, kind, one in tracks],
        )  # fmt: skip


def _publisher(now: Values) -> Iterator[Metric]:
    """Families of `wtp publish`."""
    tracks = [(name, one) for name, one in (now.get("tracks") or {}).items() if "offered" in one]
    yield gauge("wtp_publisher_connected", "1 while it has a session.", "session" in now)
    yield counter("wtp_publisher_reconnects", "Sessions after the first.", now.get("reconnects", 0))
    for key, make, name, text in (
        ("offered", CounterMetricFamily, "offered_objects", "Captured or read."),
        ("bytes", CounterMetricFamily, "offered_bytes", "Their payload bytes."),
        ("delivered", CounterMetricFamily, "delivered_objects", "Sent; reliable: with receipt."),
        ("in_flight", GaugeMetricFamily, "in_flight_objects", "Under way here."),
        ("queue_objects", GaugeMetricFamily, "queue_objects", "Waiting to be sent."),
        ("queue_bytes", GaugeMetricFamily, "queue_bytes", "Bytes waiting to be sent."),
    ):
        yield labelled(
            make, f"wtp_publisher_{name}", text, ["track", "kind"],
            [(track, one["kind"], one.get(key)) for track, one in tracks],
        )  # fmt: skip
    yield labelled(
        CounterMetricFamily, "wtp_publisher_dropped_objects", "Never sent, by reason.",
        ["track", "kind", "reason"],
        [
            (track, one["kind"], why, count)
            for track, one in tracks
            for why, count in one["dropped"].items()
        ],
    )  # fmt: skip
    rtt_ms, error_us = now.get("rtt_ms"), now.get("clock_error_us")
    yield gauge(
        "wtp_publisher_rtt_seconds", "Round trip, smoothed.",
        None if rtt_ms is None else rtt_ms / 1000,
    )  # fmt: skip
    yield gauge(
        "wtp_publisher_clock_error_seconds", "Bound on the error of its stamps.",
        None if error_us is None else error_us / 1e6,
    )  # fmt: skip
    for key, name in (("packets_lost", "lost_packets"), ("sent_bytes", "sent_bytes")):
        yield gauge(f"wtp_publisher_session_{name}", "Of this session (UDP).", now.get(key))


def _processor(now: Values) -> Iterator[Metric]:
    """Families of `wtp processor`, over HTTP or from topic to topic."""
    if now.get("objects"):
        yield from ledger("processor", now["objects"])
    yield gauge("wtp_processor_connected", "1 while the broker is there.", now["connected"])
    yield counter("wtp_processor_dead_letters", "Objects given up.", now["dead_letters"])


def _watcher(now: Values) -> Iterator[Metric]:
    """Families of `wtp watch`."""
    yield counter("wtp_watcher_shown_frames", "Pictures shown.", now["shown"])
    yield gauge("wtp_watcher_publishers", "In the room.", len(now["publishers"]))
    yield from ledger("watcher", now["ledger"])


def _broker(now: Values) -> Iterator[Metric]:
    """Families of `wtp broker`: the names are those of its own HTTP side."""
    for name, value in now.items():
        if name.endswith("_total"):
            yield counter(f"wtp_broker_{name.removesuffix('_total')}", "Since start.", value)
        elif name != "uptime_s":
            yield gauge(f"wtp_broker_{name}", "Now.", value)


_NOUNS = {"consume": "consumer", "replay": "replayer", "record": "recorder"}
_FAMILIES: dict[str, Families] = {
    **{role: _reader(noun) for role, noun in _NOUNS.items()},
    "publish": _publisher,
    "processor": _processor,
    "watch": _watcher,
    "broker": _broker,
}
