"""What is asked: routers by HTTPS, processes of this machine by HTTP, a broker's admin side."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit, urlunsplit

from wtp.broker.adminhttp import AdminHttp
from wtp.broker.connect import administer
from wtp.broker.naming import parse_topic
from wtp.children.exposed import Exposed
from wtp.clock import monotonic_us
from wtp.config.schema import BrokerSettings
from wtp.dashboard.asking import Caller
from wtp.dashboard.brokerfigures import topic_figures, totals
from wtp.dashboard.processfigures import ProcessFigures
from wtp.dashboard.rates import Meter
from wtp.dashboard.routerfigures import RouterFigures, limited
from wtp.dashboard.watched import Watched
from wtp.errors import NotFound, Refused, UsageError, WtpError

if TYPE_CHECKING:
    from wtp.dashboard.asking import Trust

log = logging.getLogger("wtp.dashboard")

BROKER_S = 5.0
"""From one look at a broker to the next: what it is asked must stay a small part of its work."""

LIST_EVERY = 6
"""Looks from one listing of its topics to the next."""

MAX_TOPICS = 16
"""Topics that are asked for in one look; with more they take turns."""


def base_url(url: str) -> str:
    """Scheme and host of a router's URL.

    Raises:
        UsageError: It is no URL of a router.
    """
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("https", "http") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise UsageError(f"{url!r} is no router URL.", hint="Write https://HOST:4433/wt.")
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], "", "", ""))


class RouterSource(Watched):
    """One router.

    Args:
        url: Any URL of it.
        caller: Asks.
        trust: How its certificate is checked; called anew whenever it did not answer, since a
            restarted router may have made another certificate.
        given: Whether the command line named it; others are forgotten when they are gone.

    Raises:
        UsageError: It is no URL of a router, or the trust makes no sense.
    """

    def __init__(
        self, url: str, caller: Caller, trust: Callable[[str], Trust], *, given: bool = True
    ) -> None:
        self._base = base_url(url)
        super().__init__(f"{self._base}/wt")
        self.given = given
        self._caller, self._make_trust = caller, trust
        self._trust: Trust | None = trust(self._base)
        self._figures = RouterFigures()
        self._limited = False
        self.whole: dict[str, Any] = {}
        self.tracks: dict[str, dict[str, Any]] = {}

    async def _ask(self) -> None:
        if self._trust is None:
            self._trust = self._make_trust(self._base)
        if not self._limited:
            try:
                body = await self._caller.get(f"{self._base}/stats", self._trust)
            except Refused:
                self._limited = True
            else:
                self.whole, self.tracks = self._figures.take(body, monotonic_us())
                return
        self.whole = limited(await self._caller.get(f"{self._base}/health", self._trust))

    def _lost(self) -> None:
        self._trust, self._limited = None, False
        self._figures, self.whole, self.tracks = RouterFigures(), {}, {}


class ProcessSource(Watched):
    """One process that shows its figures.

    Args:
        exposed: Who and where.
        caller: Asks.
    """

    def __init__(self, exposed: Exposed, caller: Caller) -> None:
        super().__init__(exposed.url)
        self.exposed, self.pid = exposed, exposed.pid
        self._caller = caller
        self._figures = ProcessFigures(exposed.role)
        self.figures: dict[str, Any] = {}

    async def _ask(self) -> None:
        body = await self._caller.get(f"{self.url}/stats")
        self.figures = self._figures.take(body, monotonic_us())

    def _lost(self) -> None:
        self._figures, self.figures = ProcessFigures(self.exposed.role), {}


class BrokerSource(Watched):
    """One broker, or a cluster behind one admin URL.

    Args:
        broker: How to reach its admin side.
        topics: Names the topics that routers use now.
        room: Namespace that is listed beside those of these topics.

    Raises:
        UsageError: The admin URL is none.
        ConfigError: A file of the settings cannot be used.
    """

    def __init__(
        self, broker: BrokerSettings, topics: Callable[[], set[str]], namespace: str
    ) -> None:
        self._http = AdminHttp(broker.admin, broker, BROKER_S)
        self._admin = administer(broker)
        super().__init__(self._http.url, BROKER_S)
        self._used, self._namespace = topics, namespace
        self._looks = self._turn = 0
        self._listed: set[str] = set()
        self._version = ""
        self._meters: dict[str, Meter] = {}
        self._paths: dict[str, str] = {}
        self.health: dict[str, Any] = {}
        self.topics: dict[str, dict[str, Any]] = {}

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()
        await self._admin.close()

    async def _ask(self) -> None:
        began_s = asyncio.get_running_loop().time()
        said, _ = await self._http.call("GET", "/brokers/health")
        took_s = asyncio.get_running_loop().time() - began_s
        if not self._version:
            version, _ = await self._http.call("GET", "/brokers/version")
            self._version = version.decode(errors="replace").strip()
        healthy = said.strip().lower() == b"ok"
        await self._look_at_topics()
        self.health = {
            "healthy": healthy,
            "health_ms": round(took_s * 1000, 3),
            "version": self._version.removeprefix("wtp-"),
            "embedded": self._version.startswith("wtp-"),
            **totals(self.topics),
        }

    def _lost(self) -> None:
        self._version, self._looks = "", 0
        self.health, self.topics, self._meters, self._paths = {}, {}, {}, {}
        self._listed = set()

    async def _look_at_topics(self) -> None:
        """Ask for the topics that are busy, and now and then for all there are."""
        used = self._used()
        whole = self._looks % LIST_EVERY == 0
        if whole:
            self._listed = await self._list(used)
        self._looks += 1
        names = sorted(used | self._listed)
        for gone in self.topics.keys() - set(names):
            self._forget(gone)
        wanted = [name for name in names if whole or name not in self.topics or self._busy(name)]
        start = self._turn % len(wanted) if len(wanted) > MAX_TOPICS else 0
        self._turn += MAX_TOPICS
        for name in (wanted[start:] + wanted[:start])[:MAX_TOPICS]:
            try:
                stats = await self._stats(name)
            except NotFound:
                self._forget(name)
                self._listed.discard(name)
            else:
                meter = self._meters.setdefault(name, Meter())
                self.topics[name] = topic_figures(stats, meter, monotonic_us())

    def _busy(self, name: str) -> bool:
        topic = self.topics[name]
        return bool(topic["in_s"] or topic["out_s"] or topic["backlog"])

    def _forget(self, name: str) -> None:
        for table in (self.topics, self._meters, self._paths):
            table.pop(name, None)

    async def _stats(self, name: str) -> dict[str, Any]:
        """Statistics of a topic; whether it has partitions is asked once, since that stays."""
        if name not in self._paths:
            parted = await self._admin.partitions(name)
            topic = parse_topic(name)
            parts = (topic.domain, topic.tenant, topic.namespace, topic.local)
            path = "/".join(quote(part, safe="") for part in parts)
            self._paths[name] = f"/{path}/{'partitioned-stats' if parted else 'stats'}"
        return dict(await self._http.json("GET", self._paths[name]))

    async def _list(self, used: set[str]) -> set[str]:
        """Topics of the rooms in use and of the one of the settings."""
        spaces = {self._namespace}
        for name in used:
            try:
                spaces.add(parse_topic(name).namespace_path)
            except WtpError:
                continue
        found: set[str] = set()
        for space in sorted(spaces)[:MAX_TOPICS]:
            try:
                found.update(await self._admin.list_topics(space))
            except NotFound:
                continue
        return found
