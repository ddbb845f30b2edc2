"""Every command's figures as Prometheus metrics, out of the snapshots that its role makes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.consumer.fakes import DOMAIN, item, message
from tests.e2e.test_figures import faults_of
from wtp.children.prometheus import MOST_TRACKS, exposition
from wtp.config.schema import BrokerSettings, Settings
from wtp.consumer.request import Request
from wtp.consumer.run import Consumer
from wtp.consumer.stats import Statistics
from wtp.metrics import Latency
from wtp.model import Kind

SETTINGS = Settings(broker=BrokerSettings(start=False))
LEDGER = {"offered": 9, "delivered": 6, "in_flight": 1, "dropped": {"queue": 2}, "bytes": 900}

Snapshot = dict[str, Any]


def consumer() -> Consumer:
    return Consumer(SETTINGS, Request(kind=Kind.VIDEO))


def mux() -> Snapshot:
    from wtp.consumer.mux import MuxConsumer

    return MuxConsumer(SETTINGS, Request(), "mpegts").snapshot()


def replayer() -> Snapshot:
    from wtp.replayer.request import Request
    from wtp.replayer.run import Replayer

    return Replayer(SETTINGS, Request(kinds=(Kind.VIDEO,))).snapshot()


def recorder(path: Path) -> Snapshot:
    from wtp.recorder.request import RecordRequest
    from wtp.recorder.run import Recorder

    return Recorder(SETTINGS, RecordRequest(path=path / "room.mkv")).snapshot()


def watcher() -> Snapshot:
    from wtp.watcher.room import Watch, Watcher

    return Watcher(SETTINGS, Watch()).snapshot()


def worker() -> Snapshot:
    from wtp.processor.code import CodeSpec
    from wtp.processor.worker import Worker

    return Worker(SETTINGS, Kind.CHAT, CodeSpec.parse("passthrough")).snapshot()


def http_processor() -> Snapshot:
    from wtp.processor.code import CodeSpec
    from wtp.processor.run import Processor

    return Processor(SETTINGS, Kind.CHAT, CodeSpec.parse("passthrough")).snapshot()


def publisher() -> Snapshot:
    track = {"kind": "video", **LEDGER, "queue_objects": 3, "queue_bytes": 300}
    return {
        "reconnects": 2, "session": "s", "rtt_ms": 1.5, "packets_lost": 4, "sent_bytes": 5,
        "clock_error_us": 250, "tracks": {"video": track},
    }  # fmt: skip


def via_pulsar() -> Snapshot:
    """As of `wtp.publisher.viapulsar`: no session, no packets."""
    return {"reconnects": 0, "rtt_ms": None, "clock_error_us": 0, "tracks": publisher()["tracks"]}


def families(
    role: str, snapshot: Snapshot, latencies: Mapping[str, Latency] | None = None
) -> dict[str, Metric]:
    text = exposition(role, lambda: snapshot, None if latencies is None else lambda: latencies)()
    found = {one.name: one for one in text_string_to_metric_families(text.decode())}
    assert not [fault for one in found.values() for fault in faults_of(one)]
    return found


def values(family: Metric) -> dict[tuple[str, ...], float]:
    return {
        tuple(one.labels[name] for name in ("track", "kind", "reason") if name in one.labels): (
            one.value
        )
        for one in family.samples
    }


@pytest.mark.parametrize(
    ("role", "make", "name"),
    [
        ("consume", lambda: consumer().snapshot(), "wtp_consumer_received_objects"),
        ("consume", mux, "wtp_consumer_received_objects"),
        ("replay", replayer, "wtp_replayer_delivered_objects"),
        ("watch", watcher, "wtp_watcher_shown_frames"),
        ("processor", worker, "wtp_processor_dropped_objects"),
        ("processor", http_processor, "wtp_processor_connected"),
        ("publish", publisher, "wtp_publisher_delivered_objects"),
        ("publish", via_pulsar, "wtp_publisher_delivered_objects"),
        ("publish", lambda: {"state": "opening"}, "wtp_publisher_connected"),
        ("broker", lambda: {"uptime_s": 0.0}, "process_cpu_seconds"),
        ("chat", dict, "wtp_build_info"),
        ("demo", dict, "wtp_build_info"),
    ],
)
def test_every_role_has_metrics_from_its_first_moment_on(
    role: str, make: Callable[[], Snapshot], name: str
) -> None:
    found = families(role, make())
    assert {name, "process_resident_memory_bytes", "wtp_build_info"} <= set(found)
    assert found["wtp_build_info"].samples[0].labels["role"] == role


def test_a_recorder_has_metrics_before_it_reads(tmp_path: Path) -> None:
    assert "wtp_build_info" in families("record", recorder(tmp_path))


def test_a_publishers_figures_in_base_units() -> None:
    found = families("publish", publisher())
    assert values(found["wtp_publisher_dropped_objects"]) == {("video", "video", "queue"): 2}
    assert values(found["wtp_publisher_queue_bytes"]) == {("video", "video"): 300}
    assert values(found["wtp_publisher_rtt_seconds"]) == {(): 0.0015}
    assert values(found["wtp_publisher_clock_error_seconds"]) == {(): 0.00025}
    away = families("publish", {"state": "connecting", "reconnects": 2, "tracks": {}})
    assert values(away["wtp_publisher_connected"]) == {(): 0}


def test_a_consumers_latencies_are_histograms_and_the_unknown_is_absent() -> None:
    role = consumer()
    unknown = families("consume", role.snapshot(), {"total": role.stats.total})
    assert values(unknown["wtp_consumer_clock_error_seconds"]) == {}
    (count,) = [
        sample.value
        for sample in unknown["wtp_consumer_latency_seconds"].samples
        if sample.name.endswith("_count")
    ]
    assert count == 0
    stamps = {"capture_us": 1_000, "send_us": 2_000, "route_us": 3_000, "publish_us": 4_000}
    for seq in range(1, 5):
        receive_us = DOMAIN.anchor_us + 5_000 + seq * 5_000
        role.stats.add(item(message(seq, stamps=stamps), receive_us=receive_us))
    latencies = {"total": role.stats.total, **role.stats.hops}
    found = families("consume", role.snapshot(), latencies)
    total = {
        sample.labels.get("le", sample.name.rpartition("_")[2]): sample.value
        for sample in found["wtp_consumer_latency_seconds"].samples
    }
    # 9, 14, 19 and 24 ms
    assert [total[le] for le in ("0.005", "0.01", "0.02", "0.05", "+Inf")] == [0, 1, 3, 4, 4]
    assert total["sum"] == pytest.approx(0.066)
    hops = {sample.labels["hop"] for sample in found["wtp_consumer_hop_seconds"].samples}
    assert {"route->publish", "publish->receive"} <= hops
    assert "decode->show" not in hops
    assert values(found["wtp_consumer_clock_error_seconds"]) == {(): 0}
    assert values(found["wtp_consumer_track_objects"]) == {("default/cam/video", "video"): 4}


def test_names_from_outside_cannot_break_a_line() -> None:
    role = consumer()
    odd = 'a"b\\c\nd{}='
    role.stats.add(item(message(1, track=odd)))
    found = families("consume", role.snapshot())
    assert values(found["wtp_consumer_track_objects"]) == {(odd, "video"): 1}


def test_series_are_bounded_by_what_is_there() -> None:
    stats = Statistics()
    for number in range(MOST_TRACKS + 100):
        stats.add(item(message(1, track=f"default/cam/t{number}")))
    snapshot = {**consumer().snapshot(), **stats.snapshot(0)}
    found = families("consume", snapshot)
    assert len(found["wtp_consumer_track_objects"].samples) <= MOST_TRACKS
    assert values(found["wtp_consumer_received_objects"]) == {(): MOST_TRACKS + 100}
