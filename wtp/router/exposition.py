"""The router's figures as JSON and as Prometheus metrics."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from wtp.children.figures import Pages
from wtp.children.prometheus import MOST_TRACKS, counter, gauge, histogram, labelled, text_of
from wtp.router import service_metrics
from wtp.router.route import Route
from wtp.router.totals import figures, hops

Values = Mapping[str, Any]

AT_ONCE = 10
"""Tracks whose figures are made before others get the loop: half a millisecond."""


class Shown(Protocol):
    """What shows figures: the router."""

    def brief(self) -> dict[str, Any]:
        """As of `wtp.router.run.Router.brief`."""

    def routes(self) -> list[Route]:
        """Every track's route."""


def pages(shown: Shown) -> Pages:
    """What GET /stats and GET /metrics answer, cheap enough to be asked each second."""
    latest: dict[str, Any] = {}
    text = text_of("router", lambda: families(latest))

    async def metrics() -> bytes:
        latest.update(shown.brief())
        await asyncio.sleep(0)
        sums = text()
        await asyncio.sleep(0)
        return sums + _tracks(shown.routes()).encode()

    return Pages(stats=lambda: _stats(shown), metrics=metrics)


def families(now: Values) -> Iterator[Metric]:
    """Yield every family but those of each track.

    Args:
        now: As of `wtp.router.run.Router.brief`.
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
        for name, latency in one["hops"].items():
            if latency["n"]:
                histogram(hop, [kind, name], latency)
    yield from (receipt, hop)


def _tracks(routes: Sequence[Route]) -> str:
    """What there is now. Written by hand: for hundreds of tracks the library takes 20 ms."""
    kinds = Counter(route.kind.value for route in routes)
    shown = [
        (f'{{track="{route.track}",kind="{route.kind.value}"}}', route)
        for route in routes[:MOST_TRACKS]
    ]
    columns = (
        ("tracks", "gauge", "Tracks.", [(f'{{kind="{kind}"}}', n) for kind, n in kinds.items()]),
        (
            "track_offered_objects_total", "counter", "Arrived whole.",
            [(labels, route.ledger.offered) for labels, route in shown],
        ),
        (
            "track_offered_bytes_total", "counter", "Their payload bytes.",
            [(labels, route.ledger.bytes) for labels, route in shown],
        ),
        (
            "track_dropped_objects_total", "counter", "Ended in the router.",
            [(labels, route.ledger.dropped_total) for labels, route in shown],
        ),
        (
            "track_queue_objects", "gauge", "Not yet with the broker's client.",
            [(labels, route.queued) for labels, route in shown],
        ),
        (
            "track_queue_bytes", "gauge", "Bytes held of it.",
            [(labels, route.queued_bytes) for labels, route in shown],
        ),
    )  # fmt: skip
    lines = []
    for name, kind, text, rows in columns:
        lines += [f"# HELP wtp_router_{name} {text}", f"# TYPE wtp_router_{name} {kind}"]
        lines += [f"wtp_router_{name}{labels} {value}" for labels, value in rows]
    return "\n".join(lines) + "\n"


async def _stats(shown: Shown) -> str:
    """The snapshot as JSON, made bit by bit: a router with hundreds of tracks has other work."""
    head = json.dumps(shown.brief())
    parts = []
    for number, route in enumerate(shown.routes(), 1):
        values = {**figures(route), "hops": hops(route)}
        parts.append(f"{json.dumps(str(route.track))}: {json.dumps(values)}")
        if number % AT_ONCE == 0:
            await asyncio.sleep(0)
    return f'{head[:-1]}, "tracks": {{{", ".join(parts)}}}}}'
