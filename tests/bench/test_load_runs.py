"""Benchmarks of generated load, run shortly on one path: their figures have to fit together."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from typing import Any, Self

import pytest
import pytest_asyncio

from wtp.bench import loss, sessions, stamps, throughput
from wtp.bench.generator import Load
from wtp.bench.path import LocalPath
from wtp.bench.rig import Rig, Span, Target
from wtp.clock import monotonic_us
from wtp.errors import ConnectionFailed

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(240),
    pytest.mark.xdist_group("load"),
]

STALL_S = 0.5


class Kept:
    """Stands for a class where a benchmark makes one of it, and gives it the one there is."""

    def __init__(self, one: LocalPath | Rig) -> None:
        self._one = one

    def __call__(self, *_: Any) -> Self:
        return self

    async def __aenter__(self) -> LocalPath | Rig:
        return self._one

    async def __aexit__(self, *_: object) -> None:
        """It stays for the next one."""


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def rig() -> AsyncIterator[Rig]:
    """One path with two generators and a meter for all tests: starting processes takes longest."""
    async with LocalPath() as path:
        await path.make_rooms()
        async with Rig(path, 2, ("video", "data")) as rig:
            yield rig


@pytest.fixture
def kept(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    for bench in (loss, sessions, stamps, throughput):
        monkeypatch.setattr(bench, "LocalPath", Kept(rig.path))
        monkeypatch.setattr(bench, "Rig", Kept(rig))


def fits(figures: dict[str, Any]) -> bool:
    """Whether every object is accounted for and percentiles rise."""
    assert figures["offered"] == (
        figures["delivered"] + figures["dropped"] + figures["in_flight"]
    ), figures
    assert figures["dropped"] == sum(
        sum(hop.values()) for hop in figures["dropped_by_hop"].values()
    )
    values = [figures[f"{name}_ms"] for name in ("p50", "p90", "p99", "p999", "max")]
    assert values == sorted(values)
    assert values[0] > 0
    assert sum(second["n"] for second in figures["timeline"]) == figures["n"]
    return True


async def refused(rig: Rig) -> None:
    """A round that the router does not want ends with the router's reason; the next one goes on."""
    url = rig.target.url.replace(rig.path.room, "video")
    target = Target(url, rig.target.cert_hash, rig.target.router)
    with pytest.raises(ConnectionFailed, match="named like a kind"):
        await rig.round(Load(), 0.2, target=target)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_stalled_generator_raises_the_latency_and_hides_nothing(rig: Rig) -> None:
    await refused(rig)
    began: asyncio.Future[Span] = asyncio.get_running_loop().create_future()
    load = Load(rate_hz=100.0, size_bytes=500)
    running = asyncio.create_task(rig.round(load, 2.0, 0.5, started=began.set_result))
    span = await began
    await asyncio.sleep((span.from_us + 500_000 - monotonic_us()) / 1e6)
    os.kill(rig.generators[0].pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(STALL_S)
    finally:
        os.kill(rig.generators[0].pid, signal.SIGCONT)
    stalled = await running
    assert fits(stalled)
    # All that was scheduled was sent and counts, from the time it was due: 50 of 200 objects wait
    # 0.5 s down to nothing.
    assert stalled["offered"] == 250
    assert stalled["n"] == 200
    assert stalled["max_ms"] >= STALL_S * 1000 - 30
    assert stalled["p90_ms"] >= STALL_S * 1000 * 0.6
    assert stalled["generator_late_ms"] >= STALL_S * 1000 - 30


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.usefixtures("kept")
async def test_loss_delay_and_their_seed() -> None:
    config = loss.configuration(
        losses=[0.0, 0.1], delay_ms=40.0, jitter_ms=5.0, reorder=0.05, seed=3, size_bytes=5000,
        rate=40.0, duration_s=1.5, warmup_s=0.3, mtu=1452, fsync="interval",
    )  # fmt: skip
    figures = await loss.run(config)
    clean, lossy = figures["series"]
    for step in (clean, lossy):
        assert fits(step)
        assert step["p50_ms"] > 40
        assert step["delivered"] == step["offered"]  # sent again, and overtaken by others
        assert step["notes"] == []
        assert step["packet_bytes"] == 1452
        for way in step["datagrams"].values():
            assert way["offered"] >= way["passed"] + way["lost"] > 0
            assert way["held"] > 0
    assert all(way["lost"] == 0 for way in clean["datagrams"].values())
    assert all(way["lost"] > 0 for way in lossy["datagrams"].values())
    assert (clean["loss_percent"], lossy["loss_percent"]) == (0, 10)
    assert lossy["max_ms"] > lossy["p50_ms"] + 20  # a lost tail costs a round trip or more


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.usefixtures("kept")
async def test_the_number_of_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "pin", lambda pid, to: None)  # others need the path as it is
    common: dict[str, Any] = {
        "rate": 20.0, "size_bytes": 2000, "generators": 2, "duration_s": 0.8, "warmup_s": 0.2,
        "mtu": 0, "fsync": "interval",
    }  # fmt: skip
    wide = await sessions.run(sessions.configuration(p99_ms=60_000, first=3, most=3, **common))
    assert (wide["sessions"], wide["least_missed"]) == (3, None)
    (step,) = wide["series"]
    assert (step["sessions"], step["held"]) == (3, True)
    assert fits(step)
    assert wide["p99_ms"] == step["p99_ms"]
    assert step["offered"] == 3 * 20
    assert step["cpu_s"]["generators"] > 0


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.usefixtures("kept")
async def test_stamps_against_a_router_without() -> None:
    config = stamps.configuration(
        rounds=1, rate=200.0, size_bytes=2000, kind="video", sessions=2, duration_s=0.5,
        fsync="interval",
    )  # fmt: skip
    figures = await stamps.run(config)
    assert [one["label"] for one in figures["series"]] == [
        "with 1",
        "without 1",
    ]
    assert figures["offered"] == figures["delivered"] == 2 * 100
    assert figures["dropped"] == 0
    rates = figures["objects_per_core_s"]
    assert figures["cost_percent"] == pytest.approx(
        (1 - rates["with"] / rates["without"]) * 100, abs=0.01
    )


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.usefixtures("kept")
async def test_throughput_paced_and_flat_out() -> None:
    config = throughput.configuration(
        rates=[200.0, 0.0], size_bytes=2000, kind="data", sessions=2, generators=1,
        duration_s=1.0, warmup_s=0.3, mtu=0, fsync="interval",
    )  # fmt: skip
    figures = await throughput.run(config)
    paced, flat_out = figures["series"]
    assert (paced["label"], flat_out["label"]) == ("200/s", "flat out")
    assert paced["offered"] == 260
    assert paced["n"] == 200
    for one in (paced, flat_out):
        assert fits(one)
        assert one["dropped"] == 0  # reliable: held back, never dropped
        assert one["mb_per_s"] == pytest.approx(one["objects_per_s"] * 2000 / 1e6, rel=0.01)
        assert one["objects_per_core_s"] > one["objects_per_core_s_with_broker"] > 0
        assert one["objects_per_core_s"] == pytest.approx(
            one["n"] / one["cpu_s"]["router"], rel=0.01
        )
    assert flat_out["objects_per_s"] > paced["objects_per_s"]
