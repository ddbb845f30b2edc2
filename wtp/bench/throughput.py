"""`wtp bench throughput`: how many objects go through router and broker, and what they cost.

Generated objects go flat out, or at a ramp of rates, through a router and the embedded broker to a
consumer. Of a live kind the router drops what the broker does not take in time; a reliable kind is
held back at the sender and loses nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from wtp.bench.generator import Load, check_size
from wtp.bench.machine import machine_line, spin_ms
from wtp.bench.path import LocalPath
from wtp.bench.pinning import scheduling
from wtp.bench.result import Figures
from wtp.bench.rig import Rig

Say = Callable[[str], None]


def configuration(
    *,
    size_bytes: int,
    rates: list[float],
    kind: str,
    sessions: int,
    generators: int,
    duration_s: float,
    warmup_s: float,
    mtu: int,
    fsync: str,
) -> dict[str, Any]:
    """What a run is made of; printed first.

    Args:
        size_bytes: Payload of an object.
        rates: Objects a second over all sessions, one round each; 0 is flat out.
        kind: `data` or `video`.
        sessions: Sessions that share the rate.
        generators: Processes that share the sessions.
        duration_s: How long each round is measured.
        warmup_s: Time before that.
        mtu: UDP payload size; 0 probes it.
        fsync: Disk policy of the embedded broker.

    Raises:
        UsageError: The objects are too large.
    """
    check_size(kind, size_bytes)
    return {
        "size_bytes": size_bytes,
        "rates": rates,
        "kind": kind,
        "sessions": sessions,
        "generators": min(generators, sessions),
        "duration_s": duration_s,
        "warmup_s": warmup_s,
        "mtu": mtu,
        "fsync": fsync,
        "scheduling": scheduling(),
        "machine": machine_line(),
    }


def rate_label(rate: float) -> str:
    """A rate for people."""
    return f"{rate:g}/s" if rate else "flat out"


async def run(config: dict[str, Any], say: Say = lambda _: None) -> Figures:
    """Measure each rate.

    Args:
        config: From `configuration`.
        say: Told in a sentence what is going on.

    Returns:
        Figures of one rate, or `series` of several: `objects_per_s`, `mb_per_s`,
        `objects_per_core_s` (of the router's CPU time), `objects_per_core_s_with_broker`, `cpu_s`
        by process, latency from due time to receipt, `offered`, `delivered`, `dropped_by_hop`.

    Raises:
        WtpError: A process failed, or the router refused.
    """
    spin_before = await asyncio.to_thread(spin_ms)
    series: list[Figures] = []
    async with LocalPath(config["fsync"]) as path:
        await path.make_rooms()
        async with Rig(path, config["generators"], (config["kind"],)) as rig:
            for rate in config["rates"]:
                say(f"{rate_label(rate)} of {config['size_bytes']} bytes")
                load = Load(
                    sessions=config["sessions"],
                    kind=config["kind"],
                    size_bytes=config["size_bytes"],
                    rate_hz=rate / config["sessions"],
                    mtu=config["mtu"],
                )
                figures = await rig.round(load, config["duration_s"], config["warmup_s"])
                series.append({"label": rate_label(rate), "rate_per_s": rate or None, **figures})
    spins = [spin_before, await asyncio.to_thread(spin_ms)]
    whole: Figures = series[0] if len(series) == 1 else {"series": series}
    return {**whole, "spin_ms": spins, "configuration": config}
