"""The HTTPS side of the router, on the TCP port of the same number and with the same certificate.

GET /health     state in one object, 200 while the process works
GET /ready      200 when it takes sessions and the broker answers, else 503
GET /clock      the clock domain and the time in it
GET /cert-hash  what a page gives as `serverCertificateHashes`
GET /metrics    Prometheus text format (loopback only)
GET /stats      the same as JSON (loopback only)
POST /rooms/R/tracks/PUBLISHER/NAME/keyframe   see ``keyframes``
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable, Iterator
from ipaddress import ip_address
from itertools import accumulate
from typing import Any

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from wtp.metrics import BUCKETS_MS
from wtp.router.service_metrics import families
from wtp.transport.certs import Certificate

Snapshot = Callable[[], dict[str, Any]]
_OPEN = {"Access-Control-Allow-Origin": "*", "Cache-Control": "no-store"}
"""/clock and /cert-hash hold nothing secret and are there for pages."""


class Collector:
    """The router's snapshot as Prometheus metrics, made when they are asked for."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        """Yield every metric family."""
        now = self._snapshot()
        yield GaugeMetricFamily("wtp_router_uptime_seconds", "Since start.", now["uptime_s"])
        yield GaugeMetricFamily("wtp_router_sessions", "Open sessions.", now["sessions"])
        yield GaugeMetricFamily("wtp_router_tracks", "Tracks.", len(now["tracks"]))
        yield GaugeMetricFamily(
            "wtp_router_broker_connected", "1 while the broker is there.", int(now["connected"])
        )
        total = now["objects"]
        for name, text in (("offered", "Arrived whole."), ("delivered", "With receipt.")):
            yield CounterMetricFamily(f"wtp_router_objects_{name}", text, total[name])
        yield GaugeMetricFamily(
            "wtp_router_objects_in_flight", "Queued or without receipt.", total["in_flight"]
        )
        yield CounterMetricFamily("wtp_router_bytes", "Payload bytes offered.", total["bytes"])
        for name, text, counts in (
            ("dropped_objects", "Dropped, by reason.", total["dropped"]),
            ("refused", "Refused sessions, tracks and objects, by reason.", now["refused"]),
            ("transport", "Counts of the QUIC endpoint.", now["transport"]),
        ):
            family = CounterMetricFamily(f"wtp_router_{name}", text, labels=["reason"])
            for reason, count in counts.items():
                family.add_metric([reason], count)
            yield family
        receipt = HistogramMetricFamily(
            "wtp_router_receipt_seconds", "Publish to the broker's receipt.", labels=["track"]
        )
        for name, track in now["tracks"].items():
            receipt.add_metric([name], *_histogram(track["receipt"]))
        yield receipt
        yield from families(now["services"])


def _histogram(figures: dict[str, Any]) -> tuple[list[tuple[str, float]], float]:
    """Cumulative buckets and the sum, in seconds, as Prometheus wants them."""
    bounds = [*(str(bound / 1000) for bound in BUCKETS_MS), "+Inf"]
    sums = list(accumulate(figures["buckets"]))
    return list(zip(bounds, sums, strict=True)), (figures["mean_ms"] or 0) * figures["n"] / 1000


def build(
    snapshot: Snapshot,
    clock: Callable[[], dict[str, Any]],
    certificate: Certificate,
    more: Iterable[web.RouteDef] = (),
) -> web.Application:
    """The application.

    Args:
        snapshot: The router's live figures.
        clock: `boot_id`, `anchor_us` and `now_us`.
        certificate: What is served.
        more: Paths beside those above.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Collector(snapshot))

    async def health(_: web.Request) -> web.Response:
        now = snapshot()
        keys = (
            "status",
            "version",
            "uptime_s",
            "sessions",
            "connected",
            "broker",
            "notes",
            "services",
            "profile",
        )
        return web.json_response({key: now[key] for key in keys})

    async def ready(_: web.Request) -> web.Response:
        now = snapshot()
        good = now["status"] == "ok" and now["connected"]
        reason = "" if good else "draining" if now["connected"] else "the broker does not answer"
        return web.json_response({"ready": good, "reason": reason}, status=200 if good else 503)

    async def time(_: web.Request) -> web.Response:
        return web.json_response(clock(), headers=_OPEN)

    async def cert_hash(_: web.Request) -> web.Response:
        body = {
            "algorithm": "sha-256",
            "value": certificate.sha256,
            "not_after": certificate.not_after.isoformat(),
        }
        return web.json_response(body, headers=_OPEN)

    async def metrics(request: web.Request) -> web.Response:
        _loopback_only(request)
        return web.Response(
            body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )

    async def stats(request: web.Request) -> web.Response:
        _loopback_only(request)
        return web.json_response(snapshot())

    app = web.Application(client_max_size=64 * 1024)
    app.add_routes(
        [
            web.get("/health", health),
            web.get("/ready", ready),
            web.get("/clock", time),
            web.get("/cert-hash", cert_hash),
            web.get("/metrics", metrics),
            web.get("/stats", stats),
            *more,
        ]
    )
    return app


def _loopback_only(request: web.Request) -> None:
    if not request.remote or not ip_address(request.remote).is_loopback:
        raise web.HTTPForbidden(text="metrics are for this machine only\n")


def tls(certificate: Certificate) -> ssl.SSLContext:
    """TLS 1.3 with the router's certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(certificate.cert_path, certificate.key_path)
    return context
