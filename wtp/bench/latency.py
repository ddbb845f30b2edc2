"""`wtp bench latency`: the real path, measured from capture to receipt, and its baseline.

Publisher, router, broker and consumer run as the processes that users start; sound goes beside the
pictures, as it does in use, and the pictures are measured. Afterwards the very objects that went
through are read back from the topic and sent again, at their own pace, from one `pulsar-client`
process to another through the same broker: the baseline.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

from wtp.bench.direct import measure, read_back, warm_up
from wtp.bench.machine import machine_line, memory_figures, spin_ms
from wtp.bench.path import LocalPath
from wtp.config.schema import BrokerSettings, PublishSettings
from wtp.errors import WtpError

BASELINE_S = 20.0
"""Most seconds the baseline takes."""
POLL_S = 0.25

Say = Callable[[str], None]


def configuration(
    video: PublishSettings, duration_s: float, warmup_s: float, fsync: str
) -> dict[str, Any]:
    """What a run is made of; printed first."""
    return {
        "duration_s": duration_s,
        "warmup_s": warmup_s,
        "size": video.size,
        "fps": video.fps,
        "codec": video.codec,
        "bitrate": video.bitrate,
        "fsync": fsync,
        "machine": machine_line(),
    }


async def run(
    config: dict[str, Any], say: Say = lambda _: None, broker: BrokerSettings | None = None
) -> dict[str, Any]:
    """Measure.

    Args:
        config: From `configuration`.
        say: Told in a sentence what is going on.
        broker: One that is there already, measured after the embedded one in the same run.

    Returns:
        `n`, `p50_ms` ... `max_ms` from capture to receipt, `send_to_receive`, `hops`, `dropped`
        and `dropped_by_hop`, `clock_error_ms`, `cpu_s` by process, `router_cpu_s_per_1000`,
        `memory_mib_per_h` (slope), `baseline` (send to receipt) and `ratio_p50`; with `broker` the
        same once more as `beside`.

    Raises:
        WtpError: A process failed, or nothing arrived.
    """
    spin_before = await asyncio.to_thread(spin_ms)
    figures = await _through(LocalPath(config["fsync"]), config, say)
    if broker is not None:
        path = LocalPath(broker=broker)
        say(f"warming {broker.url} up")
        await asyncio.to_thread(warm_up, broker, "persistent://public/default/bench-warm-up")
        figures["beside"] = await _through(path, config, say)
    spin_after = await asyncio.to_thread(spin_ms)
    return {**figures, "spin_ms": [spin_before, spin_after], "configuration": config}


async def _through(path: LocalPath, config: dict[str, Any], say: Say) -> dict[str, Any]:
    """The path through one broker, and that broker's baseline."""
    async with path:
        say("publisher, router, broker and consumer are starting")
        await path.start(
            "publish",
            ["--source", "testsrc", "--mic", "testsrc", "--name", "bench", *path.room_args],
            ["--size", config["size"], "--fps", str(config["fps"])],
            ["--codec", config["codec"], "--bitrate", config["bitrate"]],
            path.router_args,
        )
        await path.start(
            "consume", ["video", "--warmup", str(config["warmup_s"])], path.room_args,
            path.broker_args,
        )  # fmt: skip
        say(f"measuring {config['duration_s']:g} s after {config['warmup_s']:g} s of warm-up")
        figures = await _watch(path, config)
        say("measuring the same objects through pulsar-client alone")
        baseline = await _baseline(path, config)
        where = path.broker.url if "broker" not in path.processes else "embedded"
    ours, direct = figures["send_to_receive"]["p50_ms"], baseline.get("p50_ms")
    return {
        "broker": where,
        **figures,
        "baseline": baseline,
        "ratio_p50": round(ours / direct, 3) if ours and direct else None,
    }


async def _watch(path: LocalPath, config: dict[str, Any]) -> dict[str, Any]:
    """Let it run, end the publisher so that it flushes, and add everything up."""
    await asyncio.sleep(config["warmup_s"])
    before = path.cpu()
    sent_before = _offered(path)
    watching = asyncio.create_task(path.watch_memory())
    loop = asyncio.get_running_loop()
    end = loop.time() + config["duration_s"]
    while loop.time() < end:
        await asyncio.sleep(POLL_S)
        for child in path.processes.values():
            if not child.running:
                watching.cancel()
                raise child.failure()
    watching.cancel()
    memory = await watching
    after = path.cpu()
    used = {name: round(after[name] - before.get(name, 0.0), 3) for name in after}
    objects = max(1, _offered(path) - sent_before)
    publisher = await path.processes["publish"].stop() or {}
    await asyncio.sleep(POLL_S)
    router = path.processes["router"].last
    consumer = await path.processes["consume"].stop() or {}
    total = consumer["latency"]["total"]
    if not total["n"]:
        raise WtpError("No object arrived with a known latency.", hint="Try a longer --duration.")
    dropped = _dropped(publisher, router, consumer)
    return {
        **total,
        "from": "capture",
        "to": "receipt at the consumer",
        "clock_error_ms": consumer["clock_error_ms"],
        "send_to_receive": consumer["latency"]["send_to_receive"],
        "hops": consumer["latency"]["hops"],
        "dropped": sum(sum(counts.values()) for counts in dropped.values()),
        "dropped_by_hop": dropped,
        "cpu_s": used,
        "router_cpu_s_per_1000": round(used.get("router", 0.0) * 1000 / objects, 3),
        "objects": objects,
        **memory_figures(memory),
    }


def _offered(path: LocalPath) -> int:
    objects = path.processes["router"].last.get("objects") or {}
    return int(objects.get("offered", 0))


def _dropped(
    publisher: dict[str, Any], router: dict[str, Any], consumer: dict[str, Any]
) -> dict[str, dict[str, int]]:
    """Drops by hop and reason; a hop that never reported counts as one unknown drop."""
    missing = {"no-report": 1}
    return {
        "publisher": _sum(publisher.get("tracks", {"": {"dropped": missing}})),
        "router": (router.get("objects") or {}).get("dropped", missing),
        "consumer": {
            **consumer.get("dropped", missing),
            **({"gap": consumer["gaps"]} if consumer.get("gaps") else {}),
        },
    }


def _sum(tracks: dict[str, Any]) -> dict[str, int]:
    """Drops of all tracks by reason."""
    total: Counter[str] = Counter()
    for track in tracks.values():
        total.update(track["dropped"])
    return dict(total)


async def _baseline(path: LocalPath, config: dict[str, Any]) -> dict[str, Any]:
    seconds = min(config["duration_s"], BASELINE_S) + config["warmup_s"]
    objects = await read_back(path.broker, path.topic("video"), int(seconds * config["fps"]))
    skip = int(config["warmup_s"] * config["fps"])
    return await asyncio.to_thread(measure, path.broker, path.topic("direct"), objects, skip)
