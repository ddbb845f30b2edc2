"""The router's line to the broker: producers for routes, opened again for as long as it takes.

The C++ client reconnects by itself, but its back-off grows to a minute and cannot be set, and what
it was asked while the broker was away may take as long. So the link watches: when the broker
answers and producers stay away, cannot be opened or get no receipts, it starts with a new client.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine
from functools import partial
from typing import Any

from wtp.broker.accessprobe import PASSING, knock
from wtp.broker.client import BrokerClient, Producer
from wtp.broker.connect import connect
from wtp.children.broker import BROKER_PORT, answers, host_port
from wtp.config.schema import BrokerSettings
from wtp.errors import BrokerUnavailable, WtpError
from wtp.router.routes import ReliableRoute, Route

log = logging.getLogger("wtp.router")

TLS_PORT = 6651
WATCH_S = 0.25
PATIENCE_S = 1.0
"""How long a lost producer may take to come back by itself while the broker answers."""
HANG_S, LONGEST_HANG_S = 3.0, 24.0
"""How long opening a producer may take while the broker answers; doubled after each new client."""
OPENED_S, OPENED_LAST_S = 30.0, 3.0
"""How long a client that was left behind may take to answer what it was asked; at the end."""
SILENCE_S = 10.0
"""How long a producer may be connected to a broker that answers, and get no receipt."""
FIRST_WAIT_S, LAST_WAIT_S = 0.1, 1.0
LIVE_PENDING = 1000
UNSAID = (*PASSING, "broker-unavailable", "busy", "closed")
"""Codes of faults that `watch` tells of, or that pass: TLS and tokens are not among them."""
LIVE_OPEN_S = 1.0
"""How long a live route is held up by a broker that does not answer before it goes on without."""


async def reachable(url: str) -> bool:
    """Whether something accepts TCP connections at a broker URL; it may name several hosts."""
    scheme, _, hosts = url.partition("://")
    port = TLS_PORT if scheme == "pulsar+ssl" else BROKER_PORT
    for host in hosts.split(","):
        try:
            if await answers(*host_port(f"{scheme}://{host}", port)):
                return True
        except BrokerUnavailable:
            continue
    return False


async def serves(broker: BrokerSettings) -> bool:
    """Whether a broker answers, not only its port or a balancer before it."""
    try:
        await knock(broker)
    except WtpError:
        return False
    return True


def _say(route: Route, attaching: asyncio.Task[None]) -> None:
    """Log why a route that nobody waits for got no producer."""
    if not attaching.cancelled() and (error := attaching.exception()) is not None:
        log.warning("%s has no producer: %s", route.track, error)


def _unwanted(work: asyncio.Task[Producer]) -> None:
    """A producer that nobody waits for: its client will be closed, and it with it."""
    if not work.cancelled():
        work.exception()


def writer(route: Route) -> str:
    """The producer name of a reliable route: its track and publisher run.

    Sequence ids count from 1 in every run. So the broker's last sequence id speaks of this run
    alone, and the name is not free while another router has it (`ProducerBusy`).
    """
    return f"wtp/{route.track}/{route.instance}" if route.instance else f"wtp/{route.track}"


class BrokerLink:
    """Producers of all routes.

    Args:
        broker: The broker and how one gets in.
    """

    def __init__(self, broker: BrokerSettings) -> None:
        self.url = broker.url
        self._broker = broker
        self.connected = False
        self.reopened = 0
        """How often all producers had to be opened anew."""
        self._client = connect(broker)
        self._shared: dict[str, Producer] = {}
        self._routes: set[Route] = set()
        self._opening: dict[Route, float] = {}
        """Routes whose producer is being opened, and since when (loop time)."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing: set[asyncio.Task[Any]] = set()
        """Old clients that are being closed."""
        self._asked: dict[BrokerClient, set[asyncio.Task[Producer]]] = {}
        """Producers that a client was asked to open."""
        self._hang_s = HANG_S
        self._until = float("inf")
        """When no client waits any longer for what it was asked (loop time)."""
        self._left = asyncio.Event()
        """Set when the present client is left behind."""
        self._lost_since: float | None = None
        self._told: bool | None = None

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def open(self, route: Route) -> None:
        """Give a route its producer.

        A reliable route waits for the broker as long as it takes, since its sender must learn the
        last sequence; a live one goes on without and is served later.

        Raises:
            BrokerError: The broker refuses for good (no such namespace, not allowed).
        """
        self._routes.add(route)
        if route.kind.reliable:
            await self._attach(route, first=True)
            return
        attaching = self._spawn(self._attach(route, first=True))
        done, _ = await asyncio.wait({attaching}, timeout=LIVE_OPEN_S)
        if done:
            attaching.result()
        else:
            attaching.add_done_callback(partial(_say, route))

    async def _attach(self, route: Route, *, first: bool = False) -> None:
        """Open a route's producer; a live route that finds no broker is left to `watch`.

        Args:
            route: Which.
            first: Its sender waits for an answer: raise a refusal instead of trying again.
        """
        wait_s, said = FIRST_WAIT_S, ""
        loop = asyncio.get_running_loop()
        try:
            while route in self._routes:
                self._opening[route] = loop.time()
                try:
                    producer = await self._producer(route, self._client)
                except WtpError as error:
                    passing = isinstance(error, BrokerUnavailable) or error.code == "busy"
                    if first and not passing:
                        self._routes.discard(route)
                        raise
                    if passing and not route.kind.reliable:
                        return
                    if error.code not in UNSAID and str(error) != said:
                        said = str(error)
                        log.warning("%s has no producer: %s", route.track, error)
                    log.debug("waiting for a producer of %s: %s", route.track, error)
                else:
                    await self._give(route, producer)
                    return
                self._opening[route] = loop.time() + wait_s
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, LAST_WAIT_S)
        finally:
            self._opening.pop(route, None)

    async def _give(self, route: Route, producer: Producer) -> None:
        """Attach a producer, or close it when its route went meanwhile: its name is needed."""
        if route in self._routes:
            route.attach(producer)
            self.connected = True
            self._hang_s = HANG_S
        elif isinstance(route, ReliableRoute):
            await producer.close()
        else:
            self._leave(route.topic, producer)

    async def _producer(self, route: Route, client: BrokerClient) -> Producer:
        """Open a route's producer, or take the one it shares.

        Raises:
            WtpError: It cannot be opened now; `code` is `closed` when the client was left behind.
        """
        if isinstance(route, ReliableRoute):
            if route.failed is not None:  # it would hold the name against the next one
                await route.failed.close()
                route.failed = None
            return await self._or_left(
                client,
                client.producer(route.topic, name=writer(route), max_pending=4 * LIVE_PENDING),
            )
        producer = self._shared.get(route.topic)
        if producer is None:
            opened = await self._or_left(
                client, client.producer(route.topic, max_pending=LIVE_PENDING)
            )
            producer = self._shared.setdefault(route.topic, opened)
            if producer is not opened:
                self._spawn(opened.close())
        return producer

    async def _or_left(
        self, client: BrokerClient, opening: Coroutine[Any, Any, Producer]
    ) -> Producer:
        """Wait for a producer as long as its client is used.

        Raises:
            WtpError: It cannot be opened; `code` is `closed` when the client was left behind.
        """
        left = self._left
        work = asyncio.get_running_loop().create_task(opening)
        asked = self._asked.setdefault(client, set())
        asked.add(work)
        leaving = asyncio.get_running_loop().create_task(left.wait())
        try:
            await asyncio.wait({work, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
            if left.is_set() or not work.done():
                work.add_done_callback(_unwanted)
            else:
                asked.discard(work)
        if left.is_set():
            raise BrokerUnavailable("The client was left behind.", code="closed")
        return work.result()

    def remove(self, route: Route) -> None:
        """A route ended; its producer is closed unless others share it."""
        self._routes.discard(route)
        producer = route.producer
        if isinstance(route, ReliableRoute):
            producer = producer or route.failed
        route.attach(None)
        if producer is not None:
            self._leave(route.topic, producer)

    def _leave(self, topic: str, producer: Producer) -> None:
        """Close a producer unless others share it."""
        if any(other.producer is producer for other in self._routes):
            return
        if self._shared.get(topic) is producer:
            del self._shared[topic]
        self._spawn(producer.close())

    async def watch(self) -> None:
        """Keep `connected` true to the facts and bring lost producers back; runs for ever."""
        loop = asyncio.get_running_loop()
        while True:
            producers = {route.producer for route in self._routes if route.producer}
            if producers:
                self.connected = all(producer.connected for producer in producers)
            else:
                self.connected = await reachable(self.url)
            self._tell()
            if self.connected or not producers:
                self._lost_since = None
            elif self._lost_since is None:
                self._lost_since = loop.time()
            why = self._overdue(loop.time())
            if why and await serves(self._broker):
                self._renew(why)
            for route in self._routes - self._opening.keys():
                if route.producer is None:
                    attaching = self._spawn(self._attach(route))
                    attaching.add_done_callback(partial(_say, route))
            await asyncio.sleep(WATCH_S)

    def _overdue(self, now: float) -> str:
        """What has taken too long, if the broker answers; empty for nothing."""
        if self._lost_since is not None and now - self._lost_since > PATIENCE_S:
            return "the producers stay away"
        if any(now - began > self._hang_s for began in self._opening.values()):
            self._hang_s = min(2 * self._hang_s, LONGEST_HANG_S)
            return "a producer does not open"
        reliable = (route for route in self._routes if isinstance(route, ReliableRoute))
        if any(route.silent_us > SILENCE_S * 1e6 for route in reliable):
            return "receipts do not come"
        return ""

    def _tell(self) -> None:
        """Say once when there is no broker, and when it is back."""
        if self.connected is not self._told:
            if not self.connected:
                log.warning(
                    "No broker at %s: live objects are dropped, others wait. Start one: wtp broker",
                    self.url,
                )
            elif self._told is not None:
                log.info("The broker at %s is back.", self.url)
            self._told = self.connected

    def _renew(self, why: str) -> None:
        """Leave the old client and open everything with a new one.

        A name that the old one still holds is free once that is closed: `busy` until then.
        """
        log.info("The broker answers and %s: starting with a new client.", why)
        self._lost_since = None
        try:
            old, self._client = self._client, connect(self._broker)
        except WtpError as error:
            log.warning("No new client: %s", error)
            return
        self.reopened += 1
        self._left.set()
        self._left = asyncio.Event()
        self._shared.clear()
        producers = {route.producer for route in self._routes if route.producer}
        for route in self._routes:
            if isinstance(route, ReliableRoute):
                producers |= {route.failed} if route.failed else set()
                route.failed = None
            route.attach(None)
        closing = asyncio.get_running_loop().create_task(self._close_old(old, producers))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def _close_old(self, old: BrokerClient, producers: set[Producer]) -> None:
        """Close a client that was left behind.

        Not while it is opening producers: it would forget the question, and the thread that asked
        would wait for ever and hold up the end of the process.
        """
        asked = {work for work in self._asked.pop(old, set()) if not work.done()}
        loop = asyncio.get_running_loop()
        until = loop.time() + OPENED_S
        if asked:
            for producer in producers:
                self._spawn(producer.close())
        while asked and loop.time() < min(until, self._until):
            _, asked = await asyncio.wait(asked, timeout=WATCH_S)
        await old.close()
        for work in asked:
            work.cancel()

    async def close(self) -> None:
        """Close all producers; what they hold is sent first, within the client's time-out."""
        for task in list(self._tasks):
            task.cancel()
        self._until = asyncio.get_running_loop().time() + OPENED_LAST_S
        with contextlib.suppress(WtpError):
            await self._close_old(self._client, set())
        await asyncio.gather(*self._closing, return_exceptions=True)
