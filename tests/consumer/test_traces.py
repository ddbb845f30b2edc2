"""Sampled objects as spans: what they hold, and a collector that is there, slow or away."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from time import monotonic, sleep
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.consumer.fakes import DOMAIN, foreign, item, message
from wtp.clock import monotonic_us
from wtp.config.schema import TracingSettings
from wtp.consumer.item import Item, Seen
from wtp.consumer.otlp import OtlpCollector, traces_url
from wtp.consumer.output import Nowhere, figures_of, seen_by
from wtp.consumer.traces import Journey, Traced, journey, traced
from wtp.errors import MissingLibrary, UsageError

STAMPS = {
    "capture_us": 1_000,
    "encode_us": 3_000,
    "send_us": 4_000,
    "route_us": 6_000,
    "publish_us": 7_000,
}
EXPECTED = [
    ("capture->encode", 2_000),
    ("encode->send", 1_000),
    ("send->route", 2_000),
    ("route->publish", 1_000),
    ("publish->receive", 4_000),
    ("receive->take", 500),
]


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the collector of a busy machine its time."""
    monkeypatch.setattr("wtp.consumer.otlp.CLOSE_S", 60.0)


def received(seq: int = 1, at_us: int = 11_000, track: str = "default/cam/video") -> Item:
    return item(
        message(seq, stamps=STAMPS, at_us=at_us, track=track), receive_us=DOMAIN.anchor_us + at_us
    )


class Kept:
    """A collector that keeps everything."""

    def __init__(self) -> None:
        self.journeys: list[Journey] = []
        self.closed = False

    def send(self, journey: Journey) -> None:
        self.journeys.append(journey)

    def close(self) -> None:
        self.closed = True


def through(output: Traced, items: Sequence[Item]) -> None:
    assert output.take(items) == [""] * len(items)
    output.seen()


def whole(one: Item, take_us: int, seen: Seen | None = None) -> Journey:
    found = journey(one, take_us, seen)
    assert found is not None
    return found


@pytest.mark.usefixtures("patience")
def test_a_journey_becomes_a_span_with_one_below_it_for_each_hop() -> None:
    exporter = InMemorySpanExporter()
    collector = OtlpCollector("http://127.0.0.1:4318", exporter)
    collector.send(whole(received(), 11_500))
    collector.close()
    *hops, root = exporter.get_finished_spans()
    assert root.name == "capture->take"
    assert (root.start_time, root.end_time) == (
        (DOMAIN.anchor_us + 1_000) * 1000,
        (DOMAIN.anchor_us + 11_500) * 1000,
    )
    assert dict(root.attributes or {}) == {
        "wtp.track": "default/cam/video",
        "wtp.kind": "video",
        "wtp.seq": 1,
        "wtp.key": True,
        "wtp.size_bytes": 7,
        "wtp.clock_error_us": 0,
    }
    assert [
        (hop.name, ((hop.end_time or 0) - (hop.start_time or 0)) // 1000) for hop in hops
    ] == EXPECTED
    assert all(hop.parent and hop.parent.span_id == root.context.span_id for hop in hops)
    assert all(one.end_time == two.start_time for one, two in pairwise(hops))
    assert root.resource.attributes["service.name"] == "wtp"


def test_the_screen_ends_a_journey() -> None:
    one = received()
    names = [name for name, _ in whole(one, 12_000, Seen(one, 13_000, 15_000)).points]
    assert names[-4:] == ["receive", "take", "decode", "show"]
    *_, last = whole(one, 12_000, Seen(one, 13_000, None)).points
    assert last == ("decode", DOMAIN.anchor_us + 13_000)


def test_within_the_clock_error_time_never_runs_backwards() -> None:
    early = message(1, stamps={**STAMPS, "route_us": 3_900}, at_us=11_000)
    exact = item(early, receive_us=DOMAIN.anchor_us + 11_000)
    found = whole(replace(exact, clock_error_us=200), 11_500)
    times = [at_us for _, at_us in found.points]
    assert times == sorted(times)
    assert journey(exact, 11_500, None) is None


@pytest.mark.parametrize("name", ["capture_us", "route_us"])
@pytest.mark.parametrize("value", [-(2**62), 2**62])
def test_a_stamp_that_is_no_time_makes_no_span(name: str, value: int) -> None:
    odd = message(1, stamps={**STAMPS, name: value}, at_us=11_000)
    assert journey(item(odd, receive_us=DOMAIN.anchor_us + 11_000), 11_500, None) is None


def test_one_object_of_a_track_in_its_time_and_only_with_known_clocks() -> None:
    kept = Kept()
    output = Traced(Nowhere(), 1.0, kept)
    through(output, [replace(received(), clock_error_us=None)])
    through(output, [item(message(1, stamps=STAMPS), receive_us=None)])
    through(output, [item(foreign())])
    through(output, [item(message(2, stamps=STAMPS), live=False, receive_us=DOMAIN.anchor_us)])
    assert kept.journeys == []
    for seq, at_us in enumerate((20_000, 30_000, 1_019_999, 1_020_000, 1_500_000), 1):
        through(output, [received(seq, at_us), received(seq, at_us, "default/cam/other")])
    seqs = [(one.attributes["wtp.track"], one.attributes["wtp.seq"]) for one in kept.journeys]
    assert sorted(seqs) == [
        ("default/cam/other", 1), ("default/cam/other", 4),
        ("default/cam/video", 1), ("default/cam/video", 4),
    ]  # fmt: skip


def test_the_output_behind_it_is_as_it_was() -> None:
    calls: list[str] = []

    class Screen(Nowhere):
        inline, lossless, idle_s = False, True, 0.5

        def open(self) -> None:
            calls.append("open")

        def idle(self) -> None:
            calls.append("idle")

        def close(self) -> None:
            calls.append("close")
            raise OSError("gone")

        def figures(self) -> dict[str, Any]:
            return {"shown": 3}

        def seen(self) -> list[Seen]:
            now_us = monotonic_us()
            return [Seen(one, now_us, now_us + 1)]

    kept, one = Kept(), received()
    output = Traced(Screen(), 1.0, kept)
    assert (output.inline, output.lossless, output.idle_s) == (False, True, 0.5)
    output.open()
    output.idle()
    output.take([one])
    (seen,) = seen_by(output)
    assert seen.item is one
    assert kept.journeys[0].points[-1] == ("show", DOMAIN.anchor_us + (seen.show_us or 0))
    assert figures_of(output) == {"shown": 3}
    with pytest.raises(OSError, match="gone"):
        output.close()
    assert calls == ["open", "idle", "close"]
    assert kept.closed


@pytest.mark.usefixtures("patience")
async def test_spans_reach_a_collector() -> None:
    requests: list[ExportTraceServiceRequest] = []

    async def take(request: web.Request) -> web.Response:
        requests.append(ExportTraceServiceRequest.FromString(await request.read()))
        return web.Response(body=b"", content_type="application/x-protobuf")

    app = web.Application()
    app.router.add_post("/v1/traces", take)
    async with TestServer(app) as server:
        output = traced(Nowhere(), TracingSettings(endpoint=str(server.make_url("/"))))
        output.take([received()])
        seen_by(output)
        await asyncio.to_thread(output.close)
    spans = [
        span
        for request in requests
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    assert {span.name for span in spans} > {name for name, _ in EXPECTED[:-1]}
    (root,) = [span for span in spans if not span.parent_span_id]
    assert root.start_time_unix_nano == (DOMAIN.anchor_us + 1_000) * 1000


def until(condition: Callable[[], object]) -> None:
    end = monotonic() + 60
    while not condition():
        assert monotonic() < end
        sleep(0.01)


class Lines(logging.Handler):
    """What reaches the root logger."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def test_a_collector_that_is_away_is_said_once_and_holds_nobody_up() -> None:
    root, seen = logging.getLogger(), Lines()
    root.addHandler(seen)
    try:
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))  # bound and not listening: refuses
            collector = OtlpCollector(f"http://127.0.0.1:{nobody.getsockname()[1]}")
            for _ in range(350):  # more spans than the queue takes
                collector.send(whole(received(), 11_500))
            collector.close()
            until(lambda: any("takes no traces" in line for line in seen.lines))
    finally:
        root.removeHandler(seen)
    assert len([line for line in seen.lines if "takes no traces" in line]) == 1
    assert not [line for line in seen.lines if "retrying" in line or "Queue full" in line]


def test_a_missing_extra_is_said_with_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in [*sys.modules]:
        if name.startswith("opentelemetry"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(MissingLibrary) as caught:
        traced(Nowhere(), TracingSettings(endpoint="http://127.0.0.1:4318"))
    assert "pip install 'wtp[otel]'" in caught.value.hint


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("http://h:4318", "http://h:4318/v1/traces"),
        ("https://h/", "https://h/v1/traces"),
        ("http://h/v1/traces", "http://h/v1/traces"),
        ("http://h/base", "http://h/base/v1/traces"),
    ],
)
def test_the_path_may_be_left_out(endpoint: str, url: str) -> None:
    assert traces_url(endpoint) == url


@pytest.mark.parametrize(
    "endpoint", ["h:4318", "grpc://h:4317", "http://", "http://h:x", "http://["]
)
def test_what_is_no_url_is_refused(endpoint: str) -> None:
    with pytest.raises(UsageError, match="no URL") as caught:
        traces_url(endpoint)
    assert "4318" in caught.value.hint
