"""`wtp bench loss`: what loss, delay, jitter and reordering of the network do to the latency.

Generated live objects go to the router through `wtp.bench.lossy`, a seeded UDP proxy in a process
of its own, one step for each share of loss.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from wtp.bench.generator import Load, check_size
from wtp.bench.lossy import Conditions, run_lossy
from wtp.bench.machine import machine_line, spin_ms
from wtp.bench.path import LocalPath
from wtp.bench.pinning import scheduling
from wtp.bench.result import Figures
from wtp.bench.rig import Rig, Target
from wtp.bench.worker import Worker

Say = Callable[[str], None]


def configuration(
    *,
    losses: list[float],
    delay_ms: float,
    jitter_ms: float,
    reorder: float,
    seed: int,
    size_bytes: int,
    rate: float,
    duration_s: float,
    warmup_s: float,
    mtu: int,
    fsync: str,
) -> dict[str, Any]:
    """What a run is made of; printed first.

    Args:
        losses: Shares of datagrams lost each way, 0 to 1; one step each.
        delay_ms: One way.
        jitter_ms: Up to so much more.
        reorder: Share of datagrams that later ones overtake.
        seed: Of the fates of datagrams.
        size_bytes: Payload of an object.
        rate: Objects a second.
        duration_s: How long each step is measured.
        warmup_s: Time before that.
        mtu: UDP payload size.
        fsync: Disk policy of the embedded broker.

    Raises:
        UsageError: A share, a time or the size is impossible.
    """
    check_size("video", size_bytes)
    for loss in losses:
        Conditions(loss, delay_ms, jitter_ms, reorder)
    return {
        "loss_percent": [round(loss * 100, 3) for loss in losses],
        "delay_ms": delay_ms,
        "jitter_ms": jitter_ms,
        "reorder_percent": round(reorder * 100, 3),
        "seed": seed,
        "size_bytes": size_bytes,
        "rate": rate,
        "duration_s": duration_s,
        "warmup_s": warmup_s,
        "mtu": mtu,
        "fsync": fsync,
        "scheduling": scheduling(),
        "machine": machine_line(),
    }


async def run(config: dict[str, Any], say: Say = lambda _: None) -> Figures:
    """Measure each share of loss.

    Args:
        config: From `configuration`.
        say: Told in a sentence what is going on.

    Returns:
        `series` with the latency from due time to receipt, what was dropped where, and
        `datagrams` each way, counted by the proxy; the ratio of each p99 to the first step's.

    Raises:
        WtpError: A process failed, or the router refused.
    """
    spin_before = await asyncio.to_thread(spin_ms)
    series: list[Figures] = []
    async with LocalPath(config["fsync"]) as path:
        await path.make_rooms()
        router = urlsplit(path.router_url)
        address = (str(router.hostname), int(router.port or 0))
        async with (
            Rig(path, 1, ("video",)) as rig,
            Worker("lossy network", run_lossy, address, config["seed"]) as proxy,
        ):
            host, port = await proxy.ask("address")
            url = f"https://{host}:{port}{router.path}?room={path.room}"
            target = Target(url, path.cert_hash, path.processes["router"])
            for percent in config["loss_percent"]:
                say(f"{percent:g} % loss")
                series.append(await _step(rig, proxy, target, percent, config))
    first = series[0]["p99_ms"]
    for step in series:
        step["ratio_p99"] = round(step["p99_ms"] / first, 2) if first and step["p99_ms"] else None
    whole: Figures = series[0] if len(series) == 1 else {"series": series}
    spins = [spin_before, await asyncio.to_thread(spin_ms)]
    return {**whole, "spin_ms": spins, "configuration": config}


async def _step(
    rig: Rig, proxy: Worker, target: Target, percent: float, config: dict[str, Any]
) -> Figures:
    conditions = Conditions(
        percent / 100,
        config["delay_ms"],
        config["jitter_ms"],
        config["reorder_percent"] / 100,
    )
    load = Load(size_bytes=config["size_bytes"], rate_hz=config["rate"], mtu=config["mtu"])
    await proxy.ask("change", conditions)
    figures = await rig.round(load, config["duration_s"], config["warmup_s"], target=target)
    datagrams = await proxy.ask("change", Conditions())
    return {
        "label": f"{percent:g} % loss",
        "loss_percent": percent,
        **figures,
        "datagrams": datagrams,
    }
