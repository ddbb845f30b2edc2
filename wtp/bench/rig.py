"""Generators and a meter around a path: rounds of generated objects, measured alike everywhere."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from wtp.bench.generator import Load, run_generator
from wtp.bench.machine import cpu_s
from wtp.bench.meter import run_meter
from wtp.bench.path import LocalPath
from wtp.bench.result import Figures
from wtp.bench.worker import Worker
from wtp.children import Child
from wtp.clock import monotonic_us

HEAD_START_S = 0.2
"""Between the order to send and the first object: all generators have heard by then."""
SILENCE_S = 2.0
"""How long nothing may arrive before what is missing counts as lost."""
FLUSH_S = 60.0
REPORT_S = 3.0
"""How long the router's status, which comes twice a second, may take to hold the last counts."""


@dataclass(frozen=True)
class Target:
    """Where a round is sent.

    Attributes:
        url: Of the router, or of a proxy before it.
        cert_hash: SHA-256 of the router's certificate.
        router: The router's process.
    """

    url: str
    cert_hash: str
    router: Child


@dataclass(frozen=True)
class Span:
    """When a round measures, CLOCK_MONOTONIC µs: sending starts, measuring starts, both end."""

    start_us: int
    from_us: int
    end_us: int


class Rig:
    """Generator processes and a meter process; both live as long as the block.

    Args:
        path: A started path whose room exists.
        generators: Generator processes; sessions are shared among them.
        kinds: Kinds whose topics are read.

    Attributes:
        generators: The generator processes.
        meter: The meter process.
        target: The path's own router.
    """

    def __init__(
        self, path: LocalPath, generators: int = 1, kinds: tuple[str, ...] = ("video", "data")
    ) -> None:
        self.path = path
        self.generators = [Worker("generator", run_generator) for _ in range(generators)]
        topics = [path.topic(kind) for kind in kinds]
        self.meter = Worker("meter", run_meter, path.broker, topics)
        self.target = Target(
            f"{path.router_url}?room={path.room}", path.cert_hash, path.processes["router"]
        )
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        try:
            async with asyncio.TaskGroup() as tasks:
                for worker in (self.meter, *self.generators):
                    tasks.create_task(self._stack.enter_async_context(worker))
        except BaseException as error:
            await self._stack.aclose()
            if isinstance(error, BaseExceptionGroup):
                raise error.exceptions[0] from None
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    async def round(
        self,
        load: Load,
        duration_s: float,
        warmup_s: float = 0.0,
        *,
        target: Target | None = None,
        started: Callable[[Span], None] = lambda _: None,
    ) -> Figures:
        """Send, receive, count.

        Args:
            load: What is sent; its sessions are all sessions, its address and tag are set here.
            duration_s: How long is measured.
            warmup_s: Time before that which does not count.
            target: Where to; default: the path's own router.
            started: Told when it measures.

        Returns:
            Keys as in `wtp.bench.result`, of the objects that were due in the measured time;
            `offered`, `delivered`, `dropped`, `dropped_by_hop` and `in_flight` of the whole round.

        Raises:
            WtpError: A process died, or the router refused.
        """
        target = target or self.target
        before = _objects(target.router)
        workers, tags = await self._open(load, target)
        start_us = monotonic_us() + int(HEAD_START_S * 1e6)
        from_us = start_us + int(warmup_s * 1e6)
        span = Span(start_us, from_us, from_us + int(duration_s * 1e6))
        await self.meter.ask("window", tags, span.from_us, span.end_us)
        for worker in workers:
            worker.say("send", span.start_us, span.end_us)
        started(span)
        pids = {**_pids(self.path), "router": target.router.pid}
        used = await _cpu_between(pids, span)
        sent = [await worker.hear(duration_s + FLUSH_S) for worker in workers]
        router = await _settled(target.router, before, sum(one["arrived"] for one in sent))
        got = await self.meter.ask("figures", router["delivered"], SILENCE_S, patience_s=FLUSH_S)
        used["meter"] = got["cpu_s"]
        used["generators"] = sum(one["cpu_s"] for one in sent)
        return _figures(load, duration_s, sent, router, got, used)

    async def _open(self, load: Load, target: Target) -> tuple[list[Worker], list[str]]:
        """Open all sessions; returns the processes that take part, and their instances."""
        share = [
            load.sessions // len(self.generators) + (i < load.sessions % len(self.generators))
            for i in range(len(self.generators))
        ]
        tag = secrets.token_hex(3)
        workers: list[Worker] = []
        tags: list[str] = []
        for number, (worker, sessions) in enumerate(zip(self.generators, share, strict=True)):
            if sessions:
                tags.append(f"{tag}-{number}")
                mine = replace(
                    load, url=target.url, cert_hash=target.cert_hash, tag=tags[-1],
                    sessions=sessions, seed=load.seed + number,
                )  # fmt: skip
                worker.say("open", mine)
                workers.append(worker)
        for worker in workers:
            await worker.hear()
        return workers, tags


def _pids(path: LocalPath) -> dict[str, int]:
    return {name: child.pid for name, child in path.processes.items() if child.running}


async def _cpu_between(pids: dict[str, int], span: Span) -> dict[str, float]:
    """CPU seconds of processes in the measured time."""
    await asyncio.sleep(max(0, span.from_us - monotonic_us()) / 1e6)
    before = {name: busy_s(pid) for name, pid in pids.items()}
    await asyncio.sleep(max(0, span.end_us - monotonic_us()) / 1e6)
    used = {}
    for name, pid in pids.items():
        first, last = before[name], busy_s(pid)
        if first is not None and last is not None:
            used[name] = last - first
    return used


def busy_s(pid: int) -> float | None:
    """CPU seconds of a process: of its threads in ns where the kernel says so, else in ticks."""
    try:
        stats = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/schedstat")]
        return sum(int(text.split()[0]) for text in stats) / 1e9 if stats else cpu_s(pid)
    except (OSError, ValueError, IndexError):  # a thread ended meanwhile
        return cpu_s(pid)


def _objects(router: Child) -> dict[str, Any]:
    none = {"offered": 0, "delivered": 0, "in_flight": 0, "dropped": {}}
    return dict(router.last.get("objects") or none)


async def _settled(router: Child, before: dict[str, Any], arrived: int) -> dict[str, Any]:
    """What the router counted in this round, once its status holds all that arrived.

    Returns:
        `offered`, `delivered`, `in_flight` and `dropped` by reason.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + REPORT_S
    while True:
        now = _objects(router)
        complete = now["offered"] - before["offered"] >= arrived and not now["in_flight"]
        if complete or loop.time() > end or not router.running:
            break
        await asyncio.sleep(0.05)
    if not router.running:
        raise router.failure()
    gone = {reason: n - before["dropped"].get(reason, 0) for reason, n in now["dropped"].items()}
    return {
        "offered": now["offered"] - before["offered"],
        "delivered": now["delivered"] - before["delivered"],
        "in_flight": now["in_flight"],
        "dropped": {reason: n for reason, n in gone.items() if n},
    }


def _figures(
    load: Load,
    duration_s: float,
    sent: list[dict[str, Any]],
    router: dict[str, Any],
    got: dict[str, Any],
    used: dict[str, float],
) -> Figures:
    offered, handed = (sum(one[key] for one in sent) for key in ("offered", "sent"))
    by_hop = {
        "generator": {"backlog": offered - handed},
        "network": {"lost": handed - router["offered"]},
        "router": router["dropped"],
        "consumer": {"missing": router["delivered"] - got["received"]},
    }
    by_hop = {hop: {why: n for why, n in whys.items() if n} for hop, whys in by_hop.items()}
    n, router_s = got["n"], used.get("router") or None
    both_s = router_s + used.get("broker", 0.0) if router_s else None
    rate = n / max(duration_s, got["span_s"])
    notes = [f"{one} repeated" for one in (got["repeated"],) if one]
    notes += sorted({error for one in sent for error in one["errors"]})
    if not n:
        notes.append("Nothing arrived in the measured time.")
    return {
        **{key: got[key] for key in ("n", "p50_ms", "p90_ms", "p99_ms", "p999_ms", "max_ms")},
        "from": "due time at the sender",
        "to": "receipt at the consumer",
        "clock_error_ms": 0.0,
        "objects_per_s": round(rate, 1),
        "mb_per_s": round(rate * load.size_bytes / 1e6, 3),
        "objects_per_core_s": round(n / router_s, 1) if router_s else None,
        "objects_per_core_s_with_broker": round(n / both_s, 1) if both_s else None,
        "cpu_s": {name: round(value, 3) for name, value in used.items()},
        "offered": offered,
        "delivered": got["received"],
        "in_flight": router["in_flight"],
        "dropped": sum(sum(whys.values()) for whys in by_hop.values()),
        "dropped_by_hop": by_hop,
        "generator_late_ms": max(one["late_ms"] for one in sent),
        "packet_bytes": sent[0]["packet_bytes"],
        "histogram": got["histogram"],
        "timeline": got["timeline"],
        "notes": notes,
    }
