"""Made figures of benchmarks, for what is done with results."""

from __future__ import annotations

import random
from typing import Any

from wtp.metrics import Latency, Timeline


def latency(median_ms: float, n: int = 600, seed: int = 1) -> dict[str, Any]:
    """Figures of a latency with histogram and time line: 30 objects a second, a long tail."""
    chance = random.Random(seed)
    found, line = Latency(), Timeline(0)
    for number in range(n):
        value_us = int(median_ms * 1000 * chance.lognormvariate(0, 0.4))
        found.add(value_us)
        line.add(number * 1_000_000 // 30, value_us)
    return {**found.snapshot(), "histogram": found.encoded(), "timeline": line.snapshot()}


def figures(median_ms: float = 5.0, seed: int = 1) -> dict[str, Any]:
    """Figures as `wtp bench latency` has them."""
    whole = latency(median_ms, seed=seed)
    shares = {
        "capture->encode": 0.4,
        "encode->send": 0.05,
        "send->route": 0.25,
        "route->publish": 0.05,
        "publish->receive": 0.25,
    }
    hops = {}
    for number, (name, share) in enumerate(shares.items()):
        hops[name] = latency(median_ms * share, seed=seed + number)
        del hops[name]["histogram"], hops[name]["timeline"]
    alone = latency(median_ms / 4, seed=seed + 9)
    return {
        "from": "capture",
        "to": "receipt at the consumer",
        **whole,
        "clock_error_ms": 0.0,
        "hops": hops,
        "offered": 600,
        "delivered": 598,
        "in_flight": 0,
        "dropped": 2,
        "dropped_by_hop": {"router": {"stalled": 2}},
        "cpu_s": {"router": 1.25, "publish": 3.5},
        "baseline": {**alone, "sent": 600, "received": 600},
        "ratio_p50": round(whole["p50_ms"] / alone["p50_ms"], 3),
    }


def result(median_ms: float = 5.0, seed: int = 1) -> dict[str, Any]:
    """A whole result, as `-o json` prints it."""
    return {
        "bench": "latency",
        "started": "2026-11-21T20:00:00+00:00",
        "configuration": {"machine": "a machine, 2 cores", "duration_s": 20.0, "fps": 30},
        **figures(median_ms, seed),
    }


def ranged(name: str = "size_bytes") -> dict[str, Any]:
    """A result over a range."""
    points = [
        {"label": f"{size} KB", name: size * 1000, **latency(1 + size / 10, seed=size),
         "objects_per_s": 3000 / (1 + size / 20), "dropped": 0}
        for size in (2, 8, 30)
    ]  # fmt: skip
    config = {"machine": "a machine", "size_bytes": "2KB:30KB:3"}
    about = {"bench": "router", "started": "2026-11-21T20:00:00+00:00", "configuration": config}
    return {**about, "series": points}
