"""`wtp bench sessions`: at how many sessions the p99 of the path leaves its objective.

The number doubles until a step misses, then the space between is halved. The router has a core of
its own where there are two; generators, broker and consumer use the others. A step that misses is
measured again, since any other process may have caused it; the first one that misses twice counts.
Objects that fit into one packet are sent by `wtp.transport.lean`, so that a few generators are
enough; what they lose on the way counts as dropped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from wtp.bench.generator import Load, check_size
from wtp.bench.machine import machine_line, spin_ms
from wtp.bench.path import LocalPath
from wtp.bench.pinning import cores, pin, scheduling, split
from wtp.bench.result import Figures
from wtp.bench.rig import Rig

TRIES = 2
BUSY = 0.8
"""Share of its cores from which on queues grow: the bench's own then bound what it finds."""
FINE = 0.05
"""The search ends when the two sides are this close, as a share of the number that holds."""

Say = Callable[[str], None]


class Search:
    """Doubling, then bisection; pure.

    Args:
        first: Where to begin.
        most: Where to end.

    Attributes:
        best: The largest number that held; 0 while none did.
        least_missed: The smallest number that missed; None while none did.
    """

    def __init__(self, first: int, most: int) -> None:
        self.best = 0
        self.least_missed: int | None = None
        self._next = min(first, most)
        self._most = most

    @property
    def number(self) -> int | None:
        """What to try now; None at the end."""
        if self.least_missed is None:
            return None if self.best >= self._most else self._next
        gap = self.least_missed - self.best
        if gap <= max(1, int(self.best * FINE)):
            return None
        return self.best + gap // 2

    def told(self, number: int, held: bool) -> None:
        """Take the outcome of a number."""
        if held:
            self.best = max(self.best, number)
            self._next = min(2 * number, self._most)
        elif self.least_missed is None or number < self.least_missed:
            self.least_missed = number


def configuration(
    *,
    rate: float,
    size_bytes: int,
    p99_ms: float,
    first: int,
    most: int,
    generators: int,
    duration_s: float,
    warmup_s: float,
    mtu: int,
    fsync: str,
) -> dict[str, Any]:
    """What a run is made of; printed first.

    Args:
        rate: Objects a second of each session.
        size_bytes: Payload of an object.
        p99_ms: The objective: p99 from due time to receipt, with nothing dropped.
        first: Sessions of the first step.
        most: Sessions at which the search ends.
        generators: Generator processes.
        duration_s: How long each step is measured.
        warmup_s: Time before that.
        mtu: UDP payload size; 0 probes it.
        fsync: Disk policy of the embedded broker.

    Raises:
        UsageError: The objects are too large.
    """
    check_size("video", size_bytes)
    router, others = split(cores())
    return {
        "rate": rate,
        "size_bytes": size_bytes,
        "objective_p99_ms": p99_ms,
        "first": first,
        "most": most,
        "generators": generators,
        "duration_s": duration_s,
        "warmup_s": warmup_s,
        "mtu": mtu,
        "fsync": fsync,
        "router_cores": router,
        "other_cores": others,
        "scheduling": scheduling(),
        "machine": machine_line(),
    }


async def run(config: dict[str, Any], say: Say = lambda _: None) -> Figures:
    """Search.

    Args:
        config: From `configuration`.
        say: Told in a sentence what is going on.

    Returns:
        `sessions` (the largest number that held), `least_missed`, the figures of that step, and
        `series`: every step in the order it was measured, with `held`, `router_busy_percent` of
        the router's cores and `others_busy_percent` of the other ones.

    Raises:
        WtpError: A process failed, or the router refused.
    """
    spin_before = await asyncio.to_thread(spin_ms)
    search = Search(config["first"], config["most"])
    series: list[Figures] = []
    best: Figures = {}
    async with LocalPath(config["fsync"]) as path:
        await path.make_rooms()
        async with Rig(path, config["generators"], ("video",)) as rig:
            for pid in [rig.meter.pid, *(worker.pid for worker in rig.generators)]:
                pin(pid, config["other_cores"])
            pin(path.processes["broker"].pid, config["other_cores"])
            pin(path.processes["router"].pid, config["router_cores"])
            while (number := search.number) is not None:
                steps = await _try(rig, number, config, say)
                series += steps
                search.told(number, steps[-1]["held"])
                if steps[-1]["held"] and number == search.best:
                    best = steps[-1]
    notes = [
        "The router had a core of its own."
        if config["router_cores"] != config["other_cores"]
        else "There was one core for everything.",
        *limited(series),
    ]
    return {
        "sessions": search.best,
        "least_missed": search.least_missed,
        **{key: value for key, value in best.items() if key not in ("label", "held", "sessions")},
        "series": series,
        "notes": notes + best.get("notes", []),
        "spin_ms": [spin_before, await asyncio.to_thread(spin_ms)],
        "configuration": config,
    }


async def _try(rig: Rig, number: int, config: dict[str, Any], say: Say) -> list[Figures]:
    """Measure a number of sessions, again when it misses."""
    steps: list[Figures] = []
    load = Load(
        sessions=number,
        size_bytes=config["size_bytes"],
        rate_hz=config["rate"],
        mtu=config["mtu"],
        lean=True,
    )
    while len(steps) < TRIES and not (steps and steps[-1]["held"]):
        figures = await rig.round(load, config["duration_s"], config["warmup_s"])
        held = holds(figures, config["objective_p99_ms"])
        say(f"{number} sessions: p99 {figures['p99_ms']} ms, {'held' if held else 'missed'}")
        busy = _busy(figures["cpu_s"], config)
        steps.append(
            {"label": f"{number} sessions", "sessions": number, "held": held, **busy, **figures}
        )
    return steps


def _busy(cpu_s: dict[str, float], config: dict[str, Any]) -> Figures:
    """How much of their cores the router and everything else used, in percent."""
    router_s = cpu_s.get("router", 0.0)
    others_s = sum(cpu_s.values()) - router_s
    duration_s, cores_of = config["duration_s"], (config["router_cores"], config["other_cores"])
    router, others = (
        round(100 * used_s / (duration_s * len(has)), 1)
        for used_s, has in zip((router_s, others_s), cores_of, strict=True)
    )
    return {"router_busy_percent": router, "others_busy_percent": others}


def limited(series: list[Figures]) -> list[str]:
    """A sentence where a step was missed with the cores of the bench itself full; pure."""
    for step in series:
        others = step["others_busy_percent"]
        if not step["held"] and others >= 100 * BUSY and others > step["router_busy_percent"]:
            return [
                f"At {step['sessions']} sessions generators, broker and meter used {others:.0f} % "
                f"of their cores, the router {step['router_busy_percent']:.0f} % of its own: the "
                "machine is too small to find the router's limit."
            ]
    return []


def holds(figures: Figures, p99_ms: float) -> bool:
    """Whether a step keeps the objective: p99 known and within it, nothing dropped or missing."""
    p99 = figures["p99_ms"]
    return p99 is not None and p99 < p99_ms and not figures["dropped"]
