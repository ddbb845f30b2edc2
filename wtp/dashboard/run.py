"""The dashboard as a role: asks everything, each at its own pace, and keeps two minutes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wtp.broker.naming import parse_topic
from wtp.children.exposed import list_exposed
from wtp.clock import monotonic_us, wall_us
from wtp.config.load import home
from wtp.config.schema import Settings
from wtp.dashboard import view
from wtp.dashboard.asking import UNTRUSTED, WRONG_HASH, Caller
from wtp.dashboard.history import History
from wtp.dashboard.sources import BrokerSource, ProcessSource, RouterSource, base_url
from wtp.dashboard.watched import Watched
from wtp.errors import ConnectionFailed
from wtp.model import Kind

if TYPE_CHECKING:
    from wtp.dashboard.asking import Trust

TICK_S = 1.0
"""From one point of the history to the next."""

DISCOVER_S = 2.0
"""From one look for processes to the next."""

FORGET_S = 300.0
"""A router that was found, not named, is forgotten when it is gone for so long."""

MAX_ROUTERS = 32
MAX_PROCESSES = 64
"""Processes beyond, the youngest, are not watched."""

ONCE_S = 10.0
"""Longest time until a single snapshot: two answers a second apart, on a busy machine."""


@dataclass(frozen=True, slots=True)
class Watch:
    """What to watch.

    Attributes:
        routers: Their URLs; none: those that run on this machine, else that of the settings.
        trust: How a router's certificate is checked, called with its URL.
        check: Also check that of a router of this machine that has registered itself in the data
            folder, which only its own user can write.
        broker: Look at the broker's admin side, too.
        once: End as soon as everything has answered twice, for rates; or has not.
        duration_s: End after this time; 0: never.
    """

    routers: tuple[str, ...]
    trust: Callable[[str], Trust]
    check: bool = False
    broker: bool = True
    once: bool = False
    duration_s: float = 0.0


class Dashboard:
    """Watches what runs (the role behind `wtp dashboard`).

    Args:
        settings: Broker and admin URL, room, the router's URL.
        watch: What to watch.

    Raises:
        UsageError: A URL is none.
        ConfigError: A file of the settings cannot be used.
    """

    def __init__(self, settings: Settings, watch: Watch) -> None:
        self._settings, self._watch = settings, watch
        self._caller = Caller()
        self._stopping = asyncio.Event()
        self._history = History()
        self._routers: dict[str, RouterSource] = {}
        self._processes: dict[int, ProcessSource] = {}
        self._lost_tracks: dict[str, dict[str, Any]] = {}
        self._brokers: list[BrokerSource] = []
        self._tasks: dict[Watched, asyncio.Task[None]] = {}
        self._began_us = monotonic_us()
        for url in watch.routers:
            self._add_router(url, given=True)

    def stop(self) -> None:
        """End."""
        self._stopping.set()

    async def run(self, ready: Callable[[dict[str, Any]], None]) -> None:
        """Watch until stopped.

        Args:
            ready: Called once when asking begins.

        Raises:
            ConnectionFailed: Only with `once`: no router answers.
        """
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(self._caller.close)
            if self._watch.broker:
                topic = self._settings.topics.topic(self._settings.rooms.room, Kind.VIDEO)
                namespace = parse_topic(topic).namespace_path
                broker = BrokerSource(self._settings.broker, self._topics, namespace)
                stack.push_async_callback(broker.close)
                self._brokers.append(broker)
            await self._discover()
            async with asyncio.TaskGroup() as group:
                stack.callback(self._tasks.clear)
                working = [
                    group.create_task(self._follow_all(group)),
                    group.create_task(self._tick()),
                ]
                ready({"routers": list(self._routers)})
                await self._until_done()
                for task in (*working, *self._tasks.values()):
                    task.cancel()
        if self._watch.once and not any(one.state == "up" for one in self._routers.values()):
            raise self._nobody()

    async def _until_done(self) -> None:
        """Wait for `stop`, the end of the time, or, with `once`, for the answers."""
        loop = asyncio.get_running_loop()
        length_s = ONCE_S if self._watch.once else self._watch.duration_s
        end_s = loop.time() + length_s if length_s else None
        while not self._stopping.is_set() and (end_s is None or loop.time() < end_s):
            if self._watch.once and self._settled():
                return
            left_s = 0.1 if self._watch.once else 1.0 if end_s is None else end_s - loop.time()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, left_s)):
                    await self._stopping.wait()

    def _settled(self) -> bool:
        """Whether a second answer, where there is a first one, came from everything."""
        quick: list[Watched] = [*self._routers.values(), *self._processes.values()]
        done = all(one.asked >= (2 if one.state == "up" else 1) for one in quick)
        return done and all(one.asked for one in self._brokers)

    def _nobody(self) -> ConnectionFailed:
        reasons = [f"{one.url} ({one.problem})" for one in self._routers.values()]
        hint = "Start one with `wtp router` or `wtp demo`, or name it with --router."
        for one in self._routers.values():
            if one.error is not None and one.error.code in (WRONG_HASH, UNTRUSTED):
                hint = one.error.hint
        return ConnectionFailed(f"No router answers: {', '.join(reasons)}.", hint=hint)

    async def _follow_all(self, group: asyncio.TaskGroup) -> None:
        """Ask everything that is known, and look for what is new."""
        while True:
            known: list[Watched] = [
                *self._routers.values(), *self._processes.values(), *self._brokers,
            ]  # fmt: skip
            for gone in self._tasks.keys() - set(known):
                self._tasks.pop(gone).cancel()
            for source in known:
                if source not in self._tasks:
                    self._tasks[source] = group.create_task(source.follow())
            await asyncio.sleep(DISCOVER_S)
            await self._discover()

    async def _discover(self) -> None:
        """Take in processes that have appeared, and let go of those that ended."""
        found = await asyncio.to_thread(list_exposed, home())
        others = {one.pid: one for one in found if one.role != "router"}
        for pid in self._processes.keys() - others.keys():
            del self._processes[pid]
        for pid, exposed in others.items():
            same = pid in self._processes and self._processes[pid].exposed == exposed
            if not same and len(self._processes) < MAX_PROCESSES:
                self._processes[pid] = ProcessSource(exposed, self._caller)
        pids = {base_url(one.url): one.pid for one in found if one.role == "router"}
        if not self._watch.routers:
            self._find_routers(list(pids))
        for url, router in self._routers.items():
            router.pid = pids.get(url, 0)

    def _find_routers(self, urls: list[str]) -> None:
        """Take in routers of this machine; let go of those that are gone for long."""
        for url in urls:
            self._add_router(url, given=False)
        if not self._routers:
            self._add_router(self._settings.router.url, given=True)
        now_us = monotonic_us()
        for url, router in list(self._routers.items()):
            gone = router.state == "gone" and router.presence(now_us)["since_s"] > FORGET_S
            if gone and not router.given:
                del self._routers[url]

    def _add_router(self, url: str, *, given: bool) -> None:
        base = base_url(url)
        if base not in self._routers and len(self._routers) < MAX_ROUTERS:
            checked = given or self._watch.check
            trust = self._watch.trust if checked else _anything
            self._routers[base] = RouterSource(url, self._caller, trust, given=given)

    def _topics(self) -> set[str]:
        """Topics that routers use now."""
        return {t["topic"] for one in self._routers.values() for t in one.tracks.values()}

    async def _tick(self) -> None:
        """Add a point to the history, once a second."""
        loop = asyncio.get_running_loop()
        next_s = loop.time() + TICK_S
        while True:
            await asyncio.sleep(max(0.0, next_s - loop.time()))
            next_s = max(next_s + TICK_S, loop.time())
            tracks = self._tracks(monotonic_us())
            whole = view.whole_of(self._router_rows(monotonic_us()).values(), tracks)
            points = {name: view.point(row) for name, row in tracks.items()}
            self._history.add(whole, points)

    def _router_rows(self, now_us: int) -> dict[str, dict[str, Any]]:
        return {
            one.url: {
                "url": one.url,
                **one.presence(now_us),
                **view.filled(one.whole if one.fresh(now_us) else {}, view.ROUTER_UNKNOWN),
                "dropped": one.whole.get("dropped", {}) if one.fresh(now_us) else {},
                "refused": one.whole.get("refused", {}) if one.fresh(now_us) else {},
                "processors": one.whole.get("processors", []) if one.fresh(now_us) else [],
            }
            for one in self._routers.values()
        }

    def _tracks(self, now_us: int) -> dict[str, dict[str, Any]]:
        """Tracks with figures; those of a lost router stay, without any, until it is back."""
        fresh = {one.url: one.tracks for one in self._routers.values() if one.fresh(now_us)}
        lost = {one.url for one in self._routers.values()} - fresh.keys()
        consumers = {
            pid: one.figures["tracks"]
            for pid, one in self._processes.items()
            if one.fresh(now_us) and one.figures.get("tracks")
        }
        rows = view.tracks_of(fresh, consumers)
        for name, row in self._lost_tracks.items():
            if row["router"] in lost and (name not in rows or rows[name]["router"] is None):
                mine = rows.get(name, {})
                empty = dict.fromkeys(view.TRACK_UNKNOWN)
                rows[name] = {
                    **row, **empty, "dropped": {}, "hops": mine.get("hops", {}), "state": view.LOST,
                    "latency": mine.get("latency"),
                }  # fmt: skip
        self._lost_tracks = {name: row for name, row in rows.items() if row["router"]}
        return rows

    def snapshot(self) -> dict[str, Any]:
        """Everything of now and the last two minutes.

        Returns:
            `at` (Unix s), `elapsed_s`; `whole` (sums, the worst latency); `routers`, `tracks`,
            `rooms`, `brokers`, `processes`; `drops` by hop and reason; `history` of everything and
            `track_history` by track, a point a second. Rates are those of the last second,
            latencies in ms; what is not known now is None.
        """
        now_us = monotonic_us()
        routers, tracks = self._router_rows(now_us), self._tracks(now_us)
        processes = [self._process(one, now_us) for one in self._processes.values()]
        return {
            "at": round(wall_us() / 1e6, 3),
            "elapsed_s": round((now_us - self._began_us) / 1e6, 1),
            "whole": view.whole_of(routers.values(), tracks),
            "routers": list(routers.values()),
            "rooms": view.rooms_of(tracks),
            "tracks": tracks,
            "brokers": [self._broker(one, now_us) for one in self._brokers],
            "processes": processes,
            "drops": view.drops_of(routers.values(), processes),
            "history": self._history.snapshot(),
            "track_history": {name: self._history.track(name) for name in self._history.names()},
        }

    def _process(self, one: ProcessSource, now_us: int) -> dict[str, Any]:
        figures = one.figures if one.fresh(now_us) else {}
        shown = {k: v for k, v in figures.items() if k not in ("tracks", "state")}
        return {
            "role": one.exposed.role,
            "pid": one.exposed.pid,
            "room": one.exposed.room,
            "url": one.url,
            **one.presence(now_us),
            "does": figures.get("state", ""),
            **view.filled(shown, view.PROCESS_UNKNOWN),
        }

    def _broker(self, one: BrokerSource, now_us: int) -> dict[str, Any]:
        fresh = one.fresh(now_us)
        return {
            "url": one.url,
            **one.presence(now_us),
            **view.filled(one.health if fresh else {}, view.BROKER_UNKNOWN),
            "by_topic": dict(one.topics) if fresh else {},
        }


def _anything(_: str) -> bool:
    """Trust any certificate."""
    return False
