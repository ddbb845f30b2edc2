"""The benches themselves: short runs whose figures must parse and fit together."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from typing import Any

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]


def bench(*args: str, **env: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "wtp", "bench", *args, "-o", "json"],
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
        env={**os.environ, **env},
    )
    assert done.returncode == 0, done.stderr
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def rising(figures: dict[str, Any]) -> bool:
    keys = ("p50_ms", "p90_ms", "p99_ms", "p999_ms", "max_ms")
    values = [figures[key] for key in keys]
    return values == sorted(values) and values[0] > 0


def test_latency() -> None:
    figures = bench("latency", "--duration", "3", "--warmup", "1", "--fps", "30")
    assert rising(figures)
    assert 60 <= figures["n"] <= 130
    assert rising(figures["baseline"])
    assert figures["baseline"]["received"] == figures["baseline"]["sent"]
    assert figures["send_to_receive"]["p50_ms"] < figures["p50_ms"]
    assert figures["ratio_p50"] == pytest.approx(
        figures["send_to_receive"]["p50_ms"] / figures["baseline"]["p50_ms"], rel=0.01
    )
    assert figures["clock_error_ms"] == 0
    assert figures["dropped"] == sum(sum(d.values()) for d in figures["dropped_by_hop"].values())
    assert set(figures["dropped_by_hop"]) == {"publisher", "router", "consumer"}
    assert "no-report" not in str(figures["dropped_by_hop"])
    assert "cores" in figures["configuration"]["machine"]


def test_router() -> None:
    figures = bench("router", "--duration", "2", "--warmup", "1", "--rate", "50", "--size", "2KB")
    assert rising(figures)
    assert figures["received"] + sum(figures["dropped"].values()) >= figures["sent"]
    assert figures["received"] <= figures["sent"]
    assert figures["router_cpu_s_per_1000"] > 0
    assert figures["packet_bytes"] == 8900


async def test_broken_generator_is_an_error() -> None:
    from wtp.bench.path import LocalPath
    from wtp.errors import WtpError

    async with LocalPath() as path:
        with pytest.raises(WtpError):
            await path.start("consume", ["video", "--room", "nothing"], path.broker_args)
        pids = [child.pid for child in path.processes.values() if child.running]
    await asyncio.sleep(0)
    assert len(pids) == 2
    assert not any(child.running for child in path.processes.values())


async def test_two_brokers_in_one_run(monkeypatch: pytest.MonkeyPatch) -> None:
    from wtp.bench import latency
    from wtp.bench.path import LocalPath
    from wtp.broker.connect import administer
    from wtp.config.schema import PublishSettings

    warmed: list[str] = []
    monkeypatch.setattr(latency, "warm_up", lambda broker, topic: warmed.append(broker.url))
    config = latency.configuration(
        PublishSettings(size="320x240", bitrate="500k"), 2.0, 1.0, "interval"
    )
    async with LocalPath() as other:
        figures = await latency.run(config, broker=other.broker)
        async with administer(other.broker) as admin:
            assert [one for one in await admin.namespaces() if "bench" in one] == []
    assert warmed == [other.broker.url]
    assert figures["broker"] == "embedded"
    assert figures["beside"]["broker"] == other.broker.url
    assert rising(figures)
    assert rising(figures["beside"])
    assert figures["beside"]["baseline"]["received"] == figures["beside"]["baseline"]["sent"]


def test_glass() -> None:
    figures = bench("glass", "--duration", "2", "--warmup", "1")
    assert rising(figures)
    assert figures["decoded"] == figures["n"] + figures["unreadable"]
    assert figures["unreadable"] == 0
    assert rising(figures["baseline"])
    assert figures["publish_cpu_percent"] > 0


def test_files() -> None:
    figures = bench("files", "--size", "3MB")
    assert figures["mb_per_s"] > 0
    assert figures["alone"]["mb_per_s"] > 0
    assert figures["copy"]["mb_per_s"] > 0


@pytest.mark.device("display", "opencv")
@pytest.mark.tool("Xvfb")
def test_media() -> None:
    """Every codec, and a viewer with a window beside its publisher."""
    read, write = os.pipe()
    words = ["Xvfb", "-displayfd", str(write), "-screen", "0", "800x600x24", "-noreset"]
    display = subprocess.Popen(words, pass_fds=[write], stderr=subprocess.DEVNULL)
    os.close(write)
    try:
        with os.fdopen(read) as numbers:
            number = numbers.readline().strip()
        figures = bench(
            "media", "--duration", "4", "--warmup", "2", "--pictures", "20", DISPLAY=f":{number}"
        )
    finally:
        display.terminate()
        display.wait()
    assert [row["codec"] for row in figures["codecs"]] == ["h264", "vp8", "vp9", "av1", "jpeg"]
    assert all(row["encode_p50_ms"] > 0 for row in figures["codecs"] if not row["problem"])
    assert figures["viewer"] == "window and sound"
    assert figures["latency"]["n"] > 0
    assert set(figures["cpu_percent"]) == {"broker", "router", "publish", "watch"}
    assert set(figures["memory_mib_per_h"]) == set(figures["cpu_percent"])
