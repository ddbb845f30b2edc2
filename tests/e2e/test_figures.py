"""Figures of running commands: who shows them, Prometheus, the dashboard's names, logs, files."""

from __future__ import annotations

import csv
import json
import re
import signal
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.stage import Stage, balanced, wait_for
from tests.processes import ROOT, Process
from wtp.children.exposed import list_exposed

pytestmark = pytest.mark.e2e

LONG_S = 60.0
SHOW = ("--metrics", "127.0.0.1:0", "--log-format", "json")


@contextmanager
def collector() -> Iterator[tuple[str, list[bytes]]]:
    """A stand-in for an OTLP collector: its URL, and what it was sent."""
    bodies: list[bytes] = []

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", bodies
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return str(answer.read().decode())


def faults_of(family: Metric) -> Iterator[str]:
    """What `promtool check metrics` would say, and more."""
    name = family.name
    if not family.documentation:
        yield f"{name} has no help"
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        yield f"{name} is no snake_case"
    if re.search(r"_(ms|us|ns|kb|mb|mbps|millis\w*|bits|minutes)(_|$)", name):
        yield f"{name} is not in a base unit"
    if family.type == "gauge" and name.endswith(("_total", "_count", "_sum", "_bucket")):
        yield f"{name} is named like another type"
    if family.type == "histogram":
        if not name.endswith("_seconds"):
            yield f"{name} does not name its unit"
        series: dict[tuple[str, ...], list[float]] = {}
        for sample in family.samples:
            labels = tuple(v for k, v in sorted(sample.labels.items()) if k != "le")
            if sample.name.endswith("_bucket"):
                series.setdefault(labels, []).append(sample.value)
            elif sample.name.endswith("_count") and series[labels][-1] != sample.value:
                yield f"{name}: the last bucket is not the count"
        if any(counts != sorted(counts) for counts in series.values()):
            yield f"{name}: buckets are not cumulative"


def families_of(url: str) -> dict[str, Metric]:
    found = {one.name: one for one in text_string_to_metric_families(fetch(url + "/metrics"))}
    faults = [fault for one in found.values() for fault in faults_of(one)]
    assert not faults, faults
    return found


def asked_by_the_dashboard() -> set[str]:
    """The metrics in the expressions of deploy/grafana/wtp.json."""
    board = json.loads((ROOT / "deploy/grafana/wtp.json").read_text())
    expressions = [
        target["expr"] for panel in board["panels"] for target in panel.get("targets", [])
    ]
    return {name for text in expressions for name in re.findall(r"\b(?:wtp|process)_\w+", text)}


def samples_of(families: dict[str, Metric]) -> set[str]:
    """Every name that a family can be asked by."""
    ends = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}
    return {name + end for name, one in families.items() for end in ends.get(one.type, [""])}


def logged(process: Process) -> list[dict[str, Any]]:
    """What a process has logged; every line is an object with the fields of all."""
    lines = [json.loads(line) for line in process.stderr.splitlines()]
    for line in lines:
        assert {"ts", "level", "logger", "message"} <= set(line), line
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["ts"])
    return lines


def test_commands_show_their_figures_and_log_for_machines(stage: Stage) -> None:
    metrics = stage.folder / "metrics"
    with collector() as (otlp, bodies):
        broker = stage.command("broker", *SHOW)
        broker.wait_for('"ready"', LONG_S)
        router = stage.command("router", *SHOW, "--metrics-dir", str(metrics))
        router.wait_for('"ready"', LONG_S)
        consumer = stage.command("consume", "video", "--wait", *SHOW, "--otlp", otlp)
        publisher = stage.command(
            "publish", "--source", "testsrc", "--size", "160x120", "--name", "cam", *SHOW
        )
        everybody = {"broker": broker, "router": router, "consume": consumer, "publish": publisher}

        def figures(role: str) -> dict[str, Any]:
            return dict(json.loads(fetch(plain[role] + "/stats")))

        wait_for(
            lambda: {one.role for one in list_exposed(stage.home)} == set(everybody),
            "all of them shown", LONG_S,
        )  # fmt: skip
        found = {one.role: one for one in list_exposed(stage.home)}
        assert {role: one.pid for role, one in found.items()} == {
            role: process.pid for role, process in everybody.items()
        }
        assert found["router"].url == f"https://127.0.0.1:{stage.router_port}"
        assert found["consume"].room == "default"
        plain = {role: one.url for role, one in found.items()}
        (address,) = re.findall(r"figures at (http://[^/]+)/stats", router.stderr)
        plain["router"] = address
        wait_for(lambda: figures("consume")["latency"]["total"]["n"] > 20, "latencies", LONG_S)
        wait_for(lambda: bodies, "spans", LONG_S)

        families: dict[str, Metric] = {}
        for role in everybody:
            families |= families_of(plain[role])
        assert asked_by_the_dashboard() <= samples_of(families)
        check_figures(families)
        assert b"capture->encode" in b"".join(bodies)
        wait_for(lambda: "cam" in table(metrics).read_text(), "a line of the session", LONG_S)

        publisher.popen.send_signal(signal.SIGTERM)
        consumer.popen.send_signal(signal.SIGINT)
        assert (publisher.wait(LONG_S), consumer.wait(LONG_S)) == (0, 130)
        assert router.stop(signal.SIGTERM, LONG_S) == 0
        assert broker.stop(signal.SIGTERM, LONG_S) == 0
    assert list_exposed(stage.home) == []
    assert list((stage.home / "run").iterdir()) == []
    for process in everybody.values():
        lines = logged(process)
        assert [line["message"] for line in lines].count("ready") == 1
        assert process.stdout == ""
    check_files(metrics)


def check_figures(families: dict[str, Metric]) -> None:
    """Figures of the path that hold whatever the machine does."""

    def value(name: str, **labels: str) -> float:
        return sum(
            sample.value
            for sample in families[name.removesuffix("_total").removesuffix("_count")].samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    offered = value("wtp_router_offered_objects_total", kind="video")
    assert offered > 20
    assert offered == (
        value("wtp_router_delivered_objects_total", kind="video")
        + value("wtp_router_dropped_objects_total", kind="video")
        + value("wtp_router_in_flight_objects", kind="video")
    )
    for hop in ("send->route", "route->publish"):
        assert 0 < value("wtp_router_hop_seconds_count", hop=hop) <= offered
    assert value("wtp_router_tracks", kind="video") == 1
    assert value("wtp_router_sessions") == value("wtp_router_broker_connected") == 1
    assert (
        0
        < value("wtp_consumer_latency_seconds_count")
        <= value("wtp_consumer_received_objects_total")
    )
    assert value("wtp_consumer_hop_seconds_count", hop="publish->receive") > 0
    assert value("wtp_consumer_clock_error_seconds") == 0
    assert value("wtp_publisher_connected") == 1
    assert value("wtp_broker_messages_in_total") >= 0
    assert {sample.labels["role"] for sample in families["wtp_build_info"].samples}
    assert value("process_resident_memory_bytes") > 10_000_000


def table(metrics: Path) -> Path:
    (path,) = metrics.glob("buffer_metrics_*.csv")
    return path


def check_files(metrics: Path) -> None:
    """What the router wrote about the publisher's session."""
    with table(metrics).open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["publisher"] == "cam"]
    last = rows[-1]
    ledger = {name: int(last[name]) for name in ("offered", "delivered", "in_flight")}
    assert balanced({**ledger, "dropped": {"all": int(last["dropped"])}})
    assert int(last["packets_complete"]) >= ledger["offered"] > 20
    assert 0 <= float(last["fragmentation_rate"]) <= 1
    (log,) = metrics.glob("buffer_events_*.log")
    assert re.findall(r"Z (connect|hello|end) ", log.read_text()) == ["connect", "hello", "end"]


def test_prometheus_configuration_names_ports_that_its_comments_open() -> None:
    text = (ROOT / "deploy/prometheus.yml").read_text()
    (job,) = yaml.safe_load(text)["scrape_configs"]
    targets = job["static_configs"][0]["targets"]
    assert targets == re.findall(r"--metrics (\S+)", text)


def test_errors_are_lines_for_machines_too(stage: Stage) -> None:
    nobody = stage.command("consume", "video", "--log-format", "json")
    usage = stage.command("consume", "video", "--log-format", "json", "--history", "0")
    public = stage.command("broker", env={"WTP_LOG_FORMAT": "json", "WTP_METRICS": "0.0.0.0:1"})
    assert [one.wait(LONG_S) for one in (nobody, usage, public)] == [3, 2, 2]
    for process, code in ((nobody, "broker-unavailable"), (usage, "usage"), (public, "usage")):
        line = logged(process)[-1]
        assert (line["level"], line["code"]) == ("error", code), process.report()
        assert line["hint"]
