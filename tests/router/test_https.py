from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import BaseTestServer, TestServer
from prometheus_client.parser import text_string_to_metric_families

from tests.router.fakes import clock, picture
from wtp.config.schema import QueueSettings
from wtp.model import Kind, Track
from wtp.router import https
from wtp.router.routes import LiveRoute, Route
from wtp.router.totals import figures, hops
from wtp.transport.certs import Certificate, create_certificate

SNAPSHOT: dict[str, Any] = {
    "status": "ok",
    "version": "1",
    "uptime_s": 2.5,
    "sessions": 3,
    "connected": True,
    "broker": "pulsar://b",
    "notes": {"public/x": "no retention"},
    "objects": {
        "offered": 10,
        "delivered": 7,
        "in_flight": 1,
        "bytes": 99,
        "dropped": {"queue": 2},
    },
    "broker_reopened": 1,
    "lost_lines": 0,
    "kinds": {
        "video": {
            "offered": 10,
            "delivered": 7,
            "in_flight": 1,
            "bytes": 99,
            "dropped": {"queue": 2},
            "receipt": {"n": 3, "mean_ms": 2.0, "buckets": [1, 2] + [0] * 11},
            "hops": {
                "send->route": {"n": 0, "mean_ms": None, "buckets": [0] * 13},
                "route->publish": {"n": 2, "mean_ms": 1.5, "buckets": [0, 1, 1] + [0] * 10},
            },
        }
    },
    "services": {},
    "profile": {"error": ""},
    "refused": {"origin": 4},
    "transport": {"handshakes": 5},
}


class Shown:
    """A router's figures."""

    def __init__(self, values: Mapping[str, Any] = SNAPSHOT) -> None:
        self.values = dict(values)
        queues = QueueSettings(video_objects=5)
        self.route = LiveRoute(
            Track("r", "p", "t"), Kind.VIDEO, "video/h264", "topic", clock(), queues
        )

    def brief(self) -> dict[str, Any]:
        return self.values

    def routes(self) -> list[Route]:
        return [self.route]


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    return create_certificate(tmp_path)


@pytest.fixture
def shown() -> Shown:
    return Shown()


@pytest.fixture
async def server(certificate: Certificate, shown: Shown) -> AsyncIterator[BaseTestServer]:
    app = https.build(shown, lambda: {"boot_id": "b", "anchor_us": 1, "now_us": 2}, certificate)
    async with TestServer(app) as running:
        yield running


async def get(server: BaseTestServer, path: str) -> tuple[int, str]:
    async with ClientSession() as session, session.get(server.make_url(path)) as answer:
        return answer.status, await answer.text()


async def test_health_has_version_uptime_and_notes(server: BaseTestServer) -> None:
    status, text = await get(server, "/health")
    assert status == 200
    for word in ('"version": "1"', '"uptime_s": 2.5', "no retention"):
        assert word in text


async def test_ready_follows_the_broker_and_the_drain(server: BaseTestServer, shown: Shown) -> None:
    assert (await get(server, "/ready"))[0] == 200
    shown.values["connected"] = False
    status, text = await get(server, "/ready")
    assert status == 503
    assert "broker" in text
    shown.values.update(connected=True, status="draining")
    assert "draining" in (await get(server, "/ready"))[1]


async def test_clock_and_hash_are_open_to_pages(
    server: BaseTestServer, certificate: Certificate
) -> None:
    async with ClientSession() as session:
        async with session.get(server.make_url("/clock")) as answer:
            assert await answer.json() == {"boot_id": "b", "anchor_us": 1, "now_us": 2}
            assert answer.headers["Access-Control-Allow-Origin"] == "*"
        async with session.get(server.make_url("/cert-hash")) as answer:
            assert (await answer.json())["value"] == certificate.sha256


async def test_metrics_are_prometheus_text(server: BaseTestServer, shown: Shown) -> None:
    for seq in range(9):
        shown.route.offer(picture(seq, key=seq == 0, size=50))
    status, text = await get(server, "/metrics")
    assert status == 200
    families = {family.name: family for family in text_string_to_metric_families(text)}
    dropped = families["wtp_router_dropped_objects"].samples[0]
    assert (dropped.labels, dropped.value) == ({"kind": "video", "reason": "queue"}, 2)
    receipt = {
        sample.labels.get("le", sample.name.rpartition("_")[2]): sample.value
        for sample in families["wtp_router_receipt_seconds"].samples
    }
    assert receipt["0.0005"] == 1
    assert receipt["0.001"] == receipt["2.5"] == receipt["+Inf"] == receipt["count"] == 3
    assert receipt["sum"] == pytest.approx(0.006)
    hops = families["wtp_router_hop_seconds"].samples
    assert {sample.labels["hop"] for sample in hops} == {"route->publish"}  # the other is unknown
    (queue,) = families["wtp_router_track_queue_bytes"].samples
    assert queue.labels == {"track": "r/p/t", "kind": "video"}
    assert queue.value == shown.route.queued * 50 > 0
    (dropped,) = families["wtp_router_track_dropped_objects"].samples
    assert dropped.value == 9 - shown.route.queued > 0
    assert families["wtp_router_tracks"].samples[0].value == 1
    assert all(family.documentation for family in families.values())


async def test_stats_are_the_whole_snapshot(server: BaseTestServer, shown: Shown) -> None:
    _, text = await get(server, "/stats")
    track = {**figures(shown.route), "hops": hops(shown.route)}
    assert json.loads(text) == {**SNAPSHOT, "tracks": {"r/p/t": track}}
    shown.routes = lambda: []  # type: ignore[method-assign]  # a router nobody uses
    assert json.loads((await get(server, "/stats"))[1])["tracks"] == {}


async def test_stats_are_for_this_machine_only(
    server: BaseTestServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await get(server, "/stats"))[0] == 200
    monkeypatch.setattr("aiohttp.web_request.BaseRequest.remote", "192.0.2.1")
    assert (await get(server, "/stats"))[0] == 403
    assert (await get(server, "/metrics"))[0] == 403
    assert (await get(server, "/health"))[0] == 200


def test_tls_is_1_3(certificate: Certificate) -> None:
    assert https.tls(certificate).minimum_version.name == "TLSv1_3"
