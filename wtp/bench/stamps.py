"""`wtp bench stamps`: what all stamps and statistics cost the router.

Two routers stand before one broker: the router, and one without stamps and statistics (see
`wtp.bench.bare`). Short runs of the same load go through them in turns. What counts is the CPU time
of the router's process, all threads, for each object that arrived; the ratio of the medians is
taken, since other processes disturb both sides alike.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from statistics import median
from typing import Any

from wtp.bench.generator import Load, check_size
from wtp.bench.machine import machine_line, spin_ms
from wtp.bench.path import START_S, LocalPath
from wtp.bench.pinning import scheduling
from wtp.bench.result import Figures
from wtp.bench.rig import Rig, Target
from wtp.children import Child
from wtp.errors import WtpError

BARE = (sys.executable, "-m", "wtp.bench.bare")
SIDES = ("with", "without")

Say = Callable[[str], None]


def configuration(
    *,
    rounds: int,
    rate: float,
    size_bytes: int,
    kind: str,
    sessions: int,
    duration_s: float,
    fsync: str,
) -> dict[str, Any]:
    """What a run is made of; printed first.

    Args:
        rounds: Runs of each side, in turns; one more of each comes before and does not count.
        rate: Objects a second over all sessions; 0 is flat out.
        size_bytes: Payload of an object.
        kind: `data` or `video`.
        sessions: Sessions that share the rate.
        duration_s: Length of a run.
        fsync: Disk policy of the embedded broker.

    Raises:
        UsageError: The objects are too large.
    """
    check_size(kind, size_bytes)
    return {
        "rounds": rounds,
        "rate": rate,
        "size_bytes": size_bytes,
        "kind": kind,
        "sessions": sessions,
        "duration_s": duration_s,
        "fsync": fsync,
        "scheduling": scheduling(),
        "machine": machine_line(),
    }


async def run(config: dict[str, Any], say: Say = lambda _: None) -> Figures:
    """Measure both sides in turns.

    Args:
        config: From `configuration`.
        say: Told in a sentence what is going on.

    Returns:
        `cost_percent`: how many objects less a core-second of the router carries with stamps and
        statistics; `objects_per_core_s` by side (medians), `spread_percent` by side (half of the
        distance between the quartiles over the median), and `series` with every run.

    Raises:
        WtpError: A process failed, or the router refused.
    """
    spin_before = await asyncio.to_thread(spin_ms)
    series: list[Figures] = []
    async with LocalPath(config["fsync"]) as path:
        await path.make_rooms()
        bare = await _bare_router(path)
        async with Rig(path, 1, (config["kind"],)) as rig:
            targets = {
                "with": rig.target,
                "without": Target(
                    f"{bare.info['url']}?room={path.room}", bare.info["cert_hash"], bare
                ),
            }
            for number in range(config["rounds"] + 1):
                order = SIDES if number % 2 else SIDES[::-1]
                for side in order:
                    figures = await rig.round(_load(config), config["duration_s"],
                                              target=targets[side])  # fmt: skip
                    rate = carried(figures)
                    if number:
                        label = f"{side} {number}"
                        series.append({"label": label, "side": side, "objects_per_core_s": rate,
                                       **_essence(figures)})  # fmt: skip
                say(f"run {number} of {config['rounds']}" if number else "warmed up")
    spins = [spin_before, await asyncio.to_thread(spin_ms)]
    return {**weigh(series), "series": series, "spin_ms": spins, "configuration": config}


def _load(config: dict[str, Any]) -> Load:
    return Load(
        sessions=config["sessions"],
        kind=config["kind"],
        size_bytes=config["size_bytes"],
        rate_hz=config["rate"] / config["sessions"],
    )


async def _bare_router(path: LocalPath) -> Child:
    """Start the router without stamps; it ends with the path."""
    words = ["router", "--listen", "127.0.0.1:0", *path.broker_args]
    child = Child(words, name="bare router", program=BARE)
    path.processes["bare router"] = await child.start()
    try:
        async with asyncio.timeout(START_S):
            await asyncio.shield(child.ready)
    except TimeoutError:
        raise WtpError(
            f"The router without stamps was not ready after {START_S:.0f} s.",
            hint=child.stderr_tail,
        ) from None
    return child


def carried(figures: Figures) -> float:
    """Objects that one core-second of the router carried in a run.

    Raises:
        WtpError: Nothing arrived, or the system tells no CPU times.
    """
    used_s = figures["cpu_s"].get("router")
    if not used_s or not figures["delivered"]:
        raise WtpError(
            "A run carried nothing, or its CPU time is unknown.", hint="Try a longer --duration."
        )
    return round(float(figures["delivered"]) / float(used_s), 1)


def _essence(figures: Figures) -> Figures:
    return {key: figures[key] for key in ("offered", "delivered", "dropped", "cpu_s")}


def weigh(series: list[Figures]) -> Figures:
    """The figures of all runs together; pure."""
    rates = {
        side: sorted(one["objects_per_core_s"] for one in series if one["side"] == side)
        for side in SIDES
    }
    medians = {side: median(values) for side, values in rates.items()}
    ratio = medians["with"] / medians["without"]
    return {
        "cost_percent": round((1 - ratio) * 100, 2),
        "objects_per_core_s": medians,
        "spread_percent": {side: _spread_percent(values) for side, values in rates.items()},
        "offered": sum(one["offered"] for one in series),
        "delivered": sum(one["delivered"] for one in series),
        "dropped": sum(one["dropped"] for one in series),
        "notes": ["A cost below the spread says that it is lost in the noise of this machine."],
    }


def _spread_percent(ordered: list[float]) -> float:
    """Half the distance between the quartiles, in per cent of the median."""
    quarter = len(ordered) // 4
    distance = ordered[-1 - quarter] - ordered[quarter]
    return round(distance / 2 / median(ordered) * 100, 2)
