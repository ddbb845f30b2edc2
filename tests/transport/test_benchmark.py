"""The transport benchmark returns plausible figures of a real run."""

from __future__ import annotations

from wtp.bench.transport import run


def test_short_run() -> None:
    found = run(flat_out_s=0.3, paced_s=0.4, idle_sessions=5)
    assert found["n"] > 10
    assert found["packet_bytes"] == 1452
    assert 0 < found["p50_ms"] <= found["p90_ms"] <= found["p99_ms"] <= found["p999_ms"]
    assert found["p999_ms"] <= found["max_ms"] < 2000
    assert found["mb_per_s"] > 1
    assert abs(found["messages_per_s"] * 20_000 / 1e6 - found["mb_per_s"]) < 0.01
    assert 0 < found["cpu_s_per_100mb"] < 60
    assert 0 < found["sender_cpu_s_per_100mb"] < 60
    assert found["rss_kib_per_idle_session"] < 1000
