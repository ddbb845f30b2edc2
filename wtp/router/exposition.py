"""The router's figures as Prometheus metrics, out of its snapshot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from wtp.children.prometheus import MOST_TRACKS, counter, gauge, histogram, labelled
from wtp.router import service_metrics

Values = Mapping[str, Any]


def families(now: Values) -> Iterator[Metric]:
    """Yield every family.

    Args:
        now: As of `wtp.router.run.Router.snapshot`.
    """
    yield gauge("wtp_router_uptime_seconds", "Since start.", now["uptime_s"])
    yield gauge("wtp_router_sessions", "Open sessions.", now["sessions"])
    yield gauge("wtp_router_broker_connected", "1 while the broker is there.", now["connected"])
    yield counter(
        "wtp_router_broker_reopened", "All producers opened anew.", now["broker_reopened"]
    )
    yield counter(
        "wtp_router_lost_lines", "Of metrics files, which the disk did not take.", now["lost_lines"]
    )
    for name, label, text, counts in (
        ("refused", "reason", "Refused sessions, tracks and objects.", now["refused"]),
        ("transport_events", "event", "Counts of the QUIC endpoint.", now["transport"]),
    ):
        yield labelled(CounterMetricFamily, f"wtp_router_{name}", text, [label], counts.items())
    yield from _kinds(now["kinds"])
    yield from _tracks(now["tracks"])
    yield from service_metrics.families(now["services"])


def _kinds(kinds: Values) -> Iterator[Metric]:
    """Sums of all tracks there have been, by kind."""
    for key, make, name, text in (
        ("offered", CounterMetricFamily, "offered_objects", "Arrived whole."),
        ("bytes", CounterMetricFamily, "offered_bytes", "Their payload bytes."),
        ("delivered", CounterMetricFamily, "delivered_objects", "With the broker's receipt."),
        ("in_flight", GaugeMetricFamily, "in_flight_objects", "Queued or without receipt."),
    ):
        rows = [(kind, one[key]) for kind, one in kinds.items()]
        yield labelled(make, f"wtp_router_{name}", text, ["kind"], rows)
    yield labelled(
        CounterMetricFamily,
        "wtp_router_dropped_objects",
        "Ended in the router, by reason.",
        ["kind", "reason"],
        [(kind, why, n) for kind, one in kinds.items() for why, n in one["dropped"].items()],
    )
    receipt = HistogramMetricFamily(
        "wtp_router_receipt_seconds", "Publish to the broker's receipt.", labels=["kind"]
    )
    hop = HistogramMetricFamily(
        "wtp_router_hop_seconds",
        "Hops that end in the router; send->route while the sender's clock is known.",
        labels=["kind", "hop"],
    )
    for kind, one in kinds.items():
        histogram(receipt, [kind], one["receipt"])
        for name, figures in one["hops"].items():
            if figures["n"]:
                histogram(hop, [kind, name], figures)
    yield from (receipt, hop)


def _tracks(tracks: Values) -> Iterator[Metric]:
    """What there is now."""
    counts: dict[str, int] = {}
    for one in tracks.values():
        counts[one["kind"]] = counts.get(one["kind"], 0) + 1
    yield labelled(GaugeMetricFamily, "wtp_router_tracks", "Tracks.", ["kind"], counts.items())
    shown = [(name, one["kind"], one) for name, one in islice(tracks.items(), MOST_TRACKS)]
    for key, make, name, text in (
        ("offered", CounterMetricFamily, "offered_objects", "Arrived whole."),
        ("bytes", CounterMetricFamily, "offered_bytes", "Their payload bytes."),
        ("queued", GaugeMetricFamily, "queue_objects", "Not yet with the broker's client."),
        ("queued_bytes", GaugeMetricFamily, "queue_bytes", "Bytes held of it."),
    ):
        rows = [(track, kind, one[key]) for track, kind, one in shown]
        yield labelled(make, f"wtp_router_track_{name}", text, ["track", "kind"], rows)
    dropped = [(track, kind, sum(one["dropped"].values())) for track, kind, one in shown]
    yield labelled(
        CounterMetricFamily,
        "wtp_router_track_dropped_objects",
        "Ended in the router.",
        ["track", "kind"],
        dropped,
    )
