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
from wtp.consumer.stats import NOTHING
from wtp.metrics import Ledger

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
        `n`, `p50_ms` ... `max_ms` from capture to receipt, `send_to_receive`, `hops`, `offered`,
        `delivered`, `in_flight`, `dropped` and `dropped_by_hop`, `clock_error_ms`, `cpu_s` by
        process, `router_cpu_s_per_1000`, `memory_mib_per_h` (slope), `baseline` (send to receipt)
        and `ratio_p50`; with `broker` the same once more as `beside`. When nothing arrived `n` is
        0, and `notes` say so.

    Raises:
        WtpError: A process failed.
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
    return {
        **_latencies(consumer),
        "from": "capture",
        "to": "receipt at the consumer",
        **_account(publisher, router, consumer),
        "cpu_s": used,
        "router_cpu_s_per_1000": round(used.get("router", 0.0) * 1000 / objects, 3),
        "objects": objects,
        **memory_figures(memory),
    }


def _latencies(consumer: dict[str, Any]) -> dict[str, Any]:
    """What the consumer measured; nothing is known of one that gave no summary."""
    latency = consumer.get("latency") or {"total": dict(NOTHING)}
    figures = {
        **latency["total"],
        "clock_error_ms": consumer.get("clock_error_ms"),
        "send_to_receive": latency.get("send_to_receive") or dict(NOTHING),
        "hops": latency.get("hops") or {},
    }
    if not consumer:
        figures["notes"] = [
            "The consumer did not answer at the end; nothing is known of what it received."
        ]
    elif not latency["total"]["n"]:
        figures["notes"] = ["No object with a known latency arrived in the measured time."]
    return figures


def _offered(path: LocalPath) -> int:
    objects = path.processes["router"].last.get("objects") or {}
    return int(objects.get("offered", 0))


def _account(
    publisher: dict[str, Any], router: dict[str, Any], consumer: dict[str, Any]
) -> dict[str, Any]:
    """Where the objects of all tracks went; a hop that never reported makes all of it unknown.

    Delivered is what the broker took and the consumer did not miss. What the publisher handed over
    and the router has not counted yet is in flight.
    """
    sent, routed = Ledger(), router.get("objects")
    for track in (publisher.get("tracks") or {}).values():
        sent.add(_ledger(track))
    missed = Counter(consumer.get("dropped") or {})
    if consumer.get("gaps"):
        missed["gap"] = consumer["gaps"]
    if not publisher or routed is None or not consumer:
        return {"offered": None, "delivered": None, "in_flight": None, "dropped": None}
    taken = _ledger(routed)
    by_hop = {
        "publisher": dict(sent.dropped),
        "router": dict(taken.dropped),
        "consumer": dict(missed),
    }
    return {
        "offered": sent.offered,
        "delivered": taken.delivered - missed.total(),
        "in_flight": sent.in_flight + taken.in_flight + sent.delivered - taken.offered,
        "dropped": sum(sum(counts.values()) for counts in by_hop.values()),
        "dropped_by_hop": by_hop,
    }


def _ledger(counts: dict[str, Any]) -> Ledger:
    return Ledger(
        counts["offered"], counts["delivered"], counts["in_flight"], Counter(counts["dropped"])
    )


async def _baseline(path: LocalPath, config: dict[str, Any]) -> dict[str, Any]:
    seconds = min(config["duration_s"], BASELINE_S) + config["warmup_s"]
    objects = await read_back(path.broker, path.topic("video"), int(seconds * config["fps"]))
    skip = int(config["warmup_s"] * config["fps"])
    return await asyncio.to_thread(measure, path.broker, path.topic("direct"), objects, skip)
