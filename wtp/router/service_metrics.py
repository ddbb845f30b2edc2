"""HTTP processors as Prometheus metrics, out of the router's snapshot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

WAY = ["kind", "url"]


def families(services: Mapping[str, Any]) -> Iterator[Metric]:
    """Yield every metric family of the processors, by kind and URL."""
    objects = GaugeMetricFamily(
        "wtp_router_processor_held_objects", "Between route and broker.", labels=["kind"]
    )
    closed = GaugeMetricFamily(
        "wtp_router_processor_up", "1 while its circuit is closed.", labels=WAY
    )
    out = GaugeMetricFamily("wtp_router_processor_in_flight_requests", "Now.", labels=WAY)
    tries = CounterMetricFamily(
        "wtp_router_processor_requests", "Tries by their end.", labels=[*WAY, "end"]
    )
    took = GaugeMetricFamily(
        "wtp_router_processor_recent_seconds",
        "Request to answer, of the last thousand requests.",
        labels=[*WAY, "quantile"],
    )
    for kind, service in services.items():
        objects.add_metric([kind], service["in_flight"])
        for url, one in service["urls"].items():
            closed.add_metric([kind, url], int(one["circuit"] == "closed"))
            out.add_metric([kind, url], one["in_flight"])
            for end, count in one["tries"].items():
                tries.add_metric([kind, url, end], count)
            for name, quantile in (("p50_ms", "0.5"), ("p99_ms", "0.99")):
                if one[name] is not None:
                    took.add_metric([kind, url, quantile], one[name] / 1000)
    yield from (objects, closed, out, tries, took)
