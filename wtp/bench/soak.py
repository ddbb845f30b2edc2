"""`wtp bench soak`: publish and watch for long; what they cost, and whether that grows.

Publisher (test picture and test sound), router, broker and viewer are the processes that users
start; a meter beside them measures every picture from capture to receipt. The viewer has a window
where there is a display, and plays the sound where there is a sound card; without either a consumer
reads in its place.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from statistics import median, quantiles
from typing import Any

from wtp.bench.machine import machine_line, memory_figures, spin_ms
from wtp.bench.meter import run_meter
from wtp.bench.path import LocalPath
from wtp.bench.worker import Worker
from wtp.clock import monotonic_us
from wtp.errors import WtpError

LOOK_S = 1.0
SHARE = 0.2
"""Drift compares the first and the last fifth of the run."""
PARTS = 5
TENTHS = 10

LOOKS = {"window and sound": "seen_ms", "sound only": "heard_ms", "none": ""}
"""Kinds of viewers, and the figure of theirs that is looked at."""

Say = Callable[[str], None]


async def run(config: dict[str, Any], say: Say = lambda _: None) -> dict[str, Any]:
    """Watch a publisher.

    Args:
        config: `duration_s`, `warmup_s`, `fsync`.
        say: Told in a sentence what is going on.

    Returns:
        Latency from capture to receipt of all pictures, `p99_first_ms` and `p99_last_ms` of the
        first and the last fifth of the run, and `p99_drift_percent` between them; `cpu_percent` of
        a core by process; `delay_ms`, from capture to show, p50 and p99 of looks once a second, of
        the first and of the last fifth of the run, and `drift_percent` of the p50 between them;
        `lip_sync_ms`; `dropped` of the viewer; `rss_mib` and `memory_mib_per_h`, the slope of the
        last 80 % of the run.

    Raises:
        WtpError: A process failed, or nothing was seen or heard.
    """
    spin_before = await asyncio.to_thread(spin_ms)
    async with LocalPath(config["fsync"]) as path:
        await path.make_rooms()
        await path.start(
            "publish",
            ["--source", "testsrc", "--mic", "testsrc", "--name", "bench", *path.room_args],
            path.router_args,
        )
        viewer_is = await _start_viewer(path, say)
        say(f"watching for {config['duration_s']:g} s after {config['warmup_s']:g} s of warm-up")
        async with Worker("meter", run_meter, path.broker, [path.topic("video")]) as meter:
            await asyncio.sleep(config["warmup_s"])
            from_us = monotonic_us()
            to_us = from_us + int(config["duration_s"] * 1e6)
            await meter.ask("window", [], from_us, to_us, PARTS)
            before = path.cpu()
            watching = asyncio.create_task(path.watch_memory())
            delays = await _look(path, config["duration_s"], LOOKS[viewer_is], say)
            watching.cancel()
            memory = await watching
            used = {name: cpu - before.get(name, 0.0) for name, cpu in path.cpu().items()}
            pictures = await meter.ask("figures", 0, 0.0)
        last = [name for name in ("watch", "consume") if name in path.processes]
        viewer = await path.processes[last[0]].stop() or {}
    if not delays and LOOKS[viewer_is]:
        raise WtpError(
            "Nothing was seen or heard.",
            hint="A viewer needs a display (DISPLAY), or PortAudio with a sound card.",
        )
    return {
        **_pictures(pictures),
        "viewer": viewer_is,
        "cpu_percent": {
            name: round(cpu / config["duration_s"] * 100, 1) for name, cpu in used.items()
        },
        **(_drift(delays) if delays else {}),
        "lip_sync_ms": viewer.get("lip_sync_ms"),
        "latency": viewer.get("latency"),
        "dropped": (viewer.get("ledger") or {}).get("dropped", {}),
        **memory_figures(memory),
        "spin_ms": [spin_before, await asyncio.to_thread(spin_ms)],
        "configuration": {**config, "machine": machine_line()},
    }


async def _start_viewer(path: LocalPath, say: Say) -> str:
    """Start what can be seen or heard here, else a consumer; returns which, as in `LOOKS`."""
    window = bool(os.environ.get("DISPLAY"))
    try:
        await path.start(
            "watch",
            ["--wait", *path.room_args, *path.broker_args],
            [] if window else ["--no-window"],
        )
    except WtpError as error:
        if window:
            raise
        say(f"nobody can see or hear here, so a consumer reads instead ({error.message})")
        del path.processes["watch"]
        await path.start("consume", ["video"], path.room_args, path.broker_args)
        return "none"
    return "window and sound" if window else "sound only"


def _pictures(got: dict[str, Any]) -> dict[str, Any]:
    """Figures of the meter, and how far the last part's p99 is from the first one's."""
    first, last = (got["parts"][end]["p99_ms"] for end in (0, -1))
    return {
        **{key: got[key] for key in ("n", "p50_ms", "p90_ms", "p99_ms", "p999_ms", "max_ms")},
        "from": "capture",
        "to": "receipt at the consumer",
        "clock_error_ms": 0.0,
        "p99_first_ms": first,
        "p99_last_ms": last,
        "p99_drift_percent": round((last / first - 1) * 100, 1) if first and last else None,
        "histogram": got["histogram"],
        "timeline": got["timeline"],
    }


async def _look(path: LocalPath, duration_s: float, what: str, say: Say) -> list[float]:
    """The delay once a second."""
    found: list[float] = []
    loop = asyncio.get_running_loop()
    began = loop.time()
    said = 0
    while (passed_s := loop.time() - began) < duration_s:
        await asyncio.sleep(LOOK_S)
        for child in path.processes.values():
            if not child.running:
                raise child.failure()
        if what:
            people = path.processes["watch"].last.get("publishers") or []
            if people and people[0][what] is not None:
                found.append(people[0][what])
        if duration_s > 60 and int(passed_s / duration_s * TENTHS) > said:
            said += 1
            say(f"{said * 100 // TENTHS} % of the time")
    return found


def _drift(delays: list[float]) -> dict[str, Any]:
    part = max(2, round(len(delays) * SHARE))
    first, last = median(delays[:part]), median(delays[-part:])
    cuts = quantiles(delays, n=100) if len(delays) > 1 else [delays[0]] * 99
    return {
        "delay_ms": {
            "p50": round(cuts[49], 1),
            "p99": round(cuts[98], 1),
            "first": round(first, 1),
            "last": round(last, 1),
        },
        "drift_percent": round((last / first - 1) * 100, 1) if first else None,
    }
