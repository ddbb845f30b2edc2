"""The benches themselves; those that the README names are run by tests/test_readme_figures.py."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest

from wtp.metrics import Latency

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


async def test_a_stopped_consumer_shows_no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped after it had said figures: none of them is shown as if it held."""
    from wtp.bench import latency
    from wtp.bench.path import LocalPath
    from wtp.config.schema import PublishSettings

    said: list[int] = []

    class Stopping(LocalPath):
        async def start(self, name: str, *args: Sequence[str]) -> dict[str, Any]:
            info = await super().start(name, *args)
            if name == "consume":
                consumer = self.processes[name]
                async with asyncio.timeout(60):
                    while not (consumer.last.get("latency") or {}).get("total", {}).get("n"):
                        await asyncio.sleep(0.05)
                said.append(consumer.last["latency"]["total"]["n"])
                os.kill(consumer.pid, signal.SIGSTOP)
            return info

    async def no_baseline(*_: object) -> dict[str, Any]:
        return {}

    monkeypatch.setattr(latency, "LocalPath", Stopping)
    monkeypatch.setattr(latency, "_baseline", no_baseline)
    config = latency.configuration(PublishSettings(size="320x240"), 1.0, 0.2, "never")
    figures = await latency.run(config)
    assert said[0] > 0
    assert figures["n"] == 0
    for key in ("p50_ms", "p99_ms", "max_ms", "dropped", "delivered", "ratio_p50"):
        assert figures[key] is None, key
    assert figures["send_to_receive"]["p50_ms"] is None
    assert "did not answer" in figures["notes"][0]


async def test_a_silent_reader_shows_no_figures() -> None:
    from multiprocessing import Pipe

    from wtp.bench import router

    ours, theirs = Pipe()
    theirs.send({**Latency().snapshot(), "received": 0, "objects_per_s": None})
    figures = await router._received(ours)
    assert "No object reached the reader" in figures["notes"][0]
    assert figures["p99_ms"] is None
    sent = {"sent": 90, "generator_dropped": 10}
    ledger = {"offered": 88, "delivered": 80, "in_flight": 3, "dropped": {"stalled": 5}}
    found = router.account(sent, ledger, 79)
    assert found["offered"] == found["delivered"] + found["dropped"] + found["in_flight"] == 100
    assert found["dropped_by_hop"]["network"] == {"lost": 2}
    assert found["dropped_by_hop"]["broker"] == {"not received": 1}
    assert router.account(sent, ledger, None)["dropped"] is None
    ours.close()
    theirs.close()


async def test_a_router_that_runs_already_and_one_that_refuses() -> None:
    from wtp.bench import router
    from wtp.bench.path import GivenPath, LocalPath
    from wtp.errors import ConnectionFailed, NotFound, Refused

    config = {"size_bytes": 1000, "rate": 50.0, "duration_s": 0.6, "warmup_s": 0.1, "mtu": 0}
    async with LocalPath("never") as path:
        await path.make_rooms()
        given = GivenPath(path.url, path.trust, path.broker, path.room)
        figures = await router.run(config, given=given)
        assert figures["n"] > 0
        assert figures["dropped"] is None
        assert "router_cpu_s_per_1000" not in figures
        with pytest.raises(NotFound, match="nowhere"):
            await router.run(config, given=GivenPath(path.url, path.trust, path.broker, "nowhere"))
        source = ["--source", "testsrc", "--size", "320x240", "--name", "bench"]
        await path.start("publish", source, path.room_args, path.router_args)
        with pytest.raises(Refused, match="refused the generator") as refused:
            await router.run(config, given=given)
        assert refused.value.exit_code == 4
        nobody = GivenPath("https://127.0.0.1:9/wt", path.trust, path.broker, path.room)
        with pytest.raises(ConnectionFailed):
            await router.run(config, given=nobody)


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
