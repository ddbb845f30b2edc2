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
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from typing import Any

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from wtp.router.exposition import Shown, pages
from wtp.transport.certs import Certificate

_OPEN = {"Access-Control-Allow-Origin": "*", "Cache-Control": "no-store"}
"""/clock and /cert-hash hold nothing secret and are there for pages."""


def build(
    shown: Shown,
    clock: Callable[[], dict[str, Any]],
    certificate: Certificate,
    more: Iterable[web.RouteDef] = (),
) -> web.Application:
    """The application.

    Args:
        shown: The router's live figures.
        clock: `boot_id`, `anchor_us` and `now_us`.
        certificate: What is served.
        more: Paths beside those above.
    """
    served = pages(shown)

    async def health(_: web.Request) -> web.Response:
        now = shown.brief()
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
        now = shown.brief()
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
            body=await served.metrics(), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )

    async def stats(request: web.Request) -> web.Response:
        _loopback_only(request)
        return web.Response(text=await served.stats(), content_type="application/json")

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
