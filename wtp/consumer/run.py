"""The consumer role: read topics, count and measure, hand objects to an output."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from wtp.clock import monotonic_us
from wtp.config.schema import Settings
from wtp.consumer.feed import Feed
from wtp.consumer.history import HistoryFeed
from wtp.consumer.item import Item, read_object
from wtp.consumer.join import Newest
from wtp.consumer.keyframe import shorten
from wtp.consumer.latency import ArrivalClock, clock_url, measure, total_error_us
from wtp.consumer.output import Finished, Nowhere, Output, figures_of, seen_by
from wtp.consumer.pending import Pending
from wtp.consumer.places import answers, locate, reach
from wtp.consumer.ports import Broker, Directory, Message
from wtp.consumer.request import Request
from wtp.consumer.stats import Statistics
from wtp.consumer.ways import Via as Via
from wtp.consumer.ways import connect_by, directory_of, first_error, shown_url
from wtp.consumer.worker import Worker
from wtp.errors import NotFound
from wtp.metrics import Ledger
from wtp.model import Kind

LOGGER = logging.getLogger("wtp.consumer")

BATCH = 64
BATCH_BYTES = 8 * 1024 * 1024
"""Objects handed to an output in one call; the bytes count only where nothing is dropped."""

FILE_QUEUE = 8
"""Messages that wait in the broker's client for a receiver of files, twice; each has 1 MiB."""

FINISH_S = 2.0
"""What an output gets to take what is left when the consumer stops."""

LEAVE_S = 3.0
"""What the broker's client gets to say goodbye; it takes long when the broker is not there."""

WATCH_S = 0.5
RETRY_S = 0.5


class Consumer:
    """Reads the objects of one topic (the role behind `wtp consume`).

    Args:
        settings: Broker and admin URL, room, topic templates.
        request: What to read.
        output: Where objects go; by default nowhere, they are only counted.
        via: `pulsar`, or `pulsar-ws` for the broker's WebSocket API.
        broker: Makes the broker's client from a URL, for tests.
        directory: Makes the admin API's client from a URL, or None; for tests.
        ask_key: Ask the request's router for a key frame when a long group was joined.
    """

    def __init__(
        self,
        settings: Settings,
        request: Request,
        output: Output | None = None,
        *,
        via: Via = "pulsar",
        broker: Callable[[str], Broker] | None = None,
        directory: Callable[[str], contextlib.AbstractAsyncContextManager[Directory]] | None = None,
        ask_key: bool = True,
    ) -> None:
        self.settings, self.request = settings, request
        self.output: Output = output or Nowhere()
        self.topic = request.topic or settings.topics.topic(
            settings.rooms.room, request.kind or Kind.VIDEO
        )
        self.stats = Statistics(sequences=request.reading.subscription_kind != "shared")
        self.ledger = Ledger()
        self.clock = ArrivalClock()
        self.filtered = 0
        """Messages of another kind, publisher or track than asked for; not counted elsewhere."""
        self.state = "starting"
        self._ask_key = ask_key
        self.topics: tuple[str, ...] = ()
        self._url = shown_url(settings.broker, via)
        self._make_broker = broker or partial(connect_by, settings.broker, via)
        self._make_directory = directory or partial(directory_of, settings.broker)
        live = request.live and not self.output.lossless
        self._pending = Pending(live=live)
        self._feeds: dict[str, Feed] = {}
        self._stop = asyncio.Event()
        self._room = asyncio.Event()
        self._worker: Worker | None = None
        self._hangs = False
        self._broker: Broker | None = None
        self._warm = request.warmup_s <= 0
        self._joined_us: int | None = None
        self._started_us: int | None = None
        self._ended_us: int | None = None

    def stop(self) -> None:
        """Ask to finish: what was received still goes to the output."""
        self._stop.set()

    async def run(self, ready: Callable[[dict[str, Any]], None]) -> None:
        """Read until stopped, or until the count or the time is reached.

        Args:
            ready: Called once when joined, with what is read.

        Raises:
            WtpError: The broker is not there, the topic does not exist, the output cannot be
                written, ...
            BrokenPipeError: The reader of the output has gone.
        """
        if self.request.router:
            clock_url(self.request.router)
        if not self.output.inline:
            self._worker = Worker("output")
        try:
            with first_error():
                await self._unless_stopped(self._call(self.output.open))
                await self._read_and_write(ready)
        except Finished:
            pass
        finally:
            self._settle()
            if not self._hangs:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(FINISH_S):
                        await self._call(self.output.close)
            if self._worker is not None:
                self._worker.close()
            await self._leave()

    async def _leave(self) -> None:
        """Close the broker's client, last: acknowledgements go out with it."""
        if self._broker is None:
            return
        closing = asyncio.create_task(self._broker.close())
        await asyncio.wait({closing}, timeout=LEAVE_S)
        if closing.done():
            closing.result()
        closing.cancel()

    async def _unless_stopped(self, work: Any) -> None:
        """Wait for something, but no longer than until `stop`."""
        async with asyncio.TaskGroup() as group:
            task = group.create_task(work)
            stopped = group.create_task(self._stop.wait())
            await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
            task.cancel()
            stopped.cancel()

    async def _call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call the output, in its thread when it may block."""
        if self._worker is None:
            return function(*args)
        return await self._worker.call(function, *args)

    async def _read_and_write(self, ready: Callable[[dict[str, Any]], None]) -> None:
        async with asyncio.TaskGroup() as group:
            reading = [group.create_task(self._read(ready))]
            if self.request.router:
                reading.append(group.create_task(self._measure()))
            writing = group.create_task(self._write())
            await self._stop.wait()
            for task in reading:
                task.cancel()
            self._pending.close()
            _, slow = await asyncio.wait({writing}, timeout=FINISH_S)
            self._hangs = bool(slow)
            writing.cancel()

    async def _measure(self) -> None:
        request = self.request
        await measure(self.clock, request.router, trust=request.trust, note=LOGGER.warning)

    async def _read(self, ready: Callable[[dict[str, Any]], None]) -> None:
        """Find the topic, join it, read until cancelled."""
        self.state = "waiting"
        url, request = self._url, self.request
        await reach(url, wait=request.wait, note=LOGGER.info)
        self._broker = self._make_broker(url)
        await self._join(self._broker)
        self.state = "reading"
        self._started_us = monotonic_us()
        ready({"topics": list(self.topics), "broker": url, "start": self.request.reading.start})
        if self.request.duration_s:
            asyncio.get_running_loop().call_later(self.request.duration_s, self.stop)
        async with asyncio.TaskGroup() as group:
            if request.router and self._ask_key and self._pending.live:
                behind = sum((feed.behind() for feed in self._feeds.values()), Counter[str]())
                group.create_task(shorten(behind, request.router, request.trust))
            for feed in self._feeds.values():
                group.create_task(feed.run())
            group.create_task(self._watch())

    async def _join(self, broker: Broker) -> None:
        """Open every partition of the topic, once it is there."""
        request, waited = self.request, False
        async with self._make_directory(self.settings.broker.admin) as directory:
            while True:
                found = await locate(self.topic, directory, wait=request.wait, note=LOGGER.info)
                try:
                    quick = getattr(directory, "last_message_id", None)
                    fresh = waited or found.fresh
                    await self._open(broker, found.topics, fresh=fresh, quick=quick)
                except NotFound as error:
                    if not request.wait:
                        raise
                    if not waited:
                        LOGGER.info("%s Waiting for it.", error.message)
                    waited = True
                    await asyncio.sleep(RETRY_S)
                else:
                    return

    async def _open(
        self, broker: Broker, topics: Sequence[str], *, fresh: bool, quick: Newest | None
    ) -> None:
        reading = self.request.joining
        if self.request.kind is Kind.FILE:
            reading = replace(reading, queue=FILE_QUEUE)
        make: Callable[..., Feed] = Feed
        if self.request.history:
            make = partial(HistoryFeed, count=self.request.history, wants=self.request.wants)
        feeds = {
            topic: make(broker, topic, reading, self._admit, LOGGER.warning) for topic in topics
        }
        self._joined_us = monotonic_us()  # what is published from here on is live
        for feed in feeds.values():
            feed.quick = quick
            await feed.open(fresh=fresh)
        self._feeds, self.topics = feeds, tuple(topics)

    async def _watch(self) -> None:
        """Say when the broker is lost and when it is back; help a client that stays stuck."""
        url = self._url
        while True:
            await asyncio.sleep(WATCH_S)
            lost = [feed for feed in self._feeds.values() if not feed.connected]
            if lost and self.state == "reading":
                LOGGER.warning("The broker at %s is lost. Waiting for it.", url)
                self.state = "broker-lost"
            elif not lost and self.state == "broker-lost":
                LOGGER.warning("The broker at %s is back. Reading goes on.", url)
                self.state = "reading"
            there = bool(lost) and await answers(url)
            for feed in self._feeds.values():
                await feed.look_after(there)

    async def _admit(self, feed: Feed, message: Message, live: bool) -> None:
        """Take one message in, unless it is not wanted or the count is complete."""
        if not self.request.wants(message):
            self.filtered += 1
            feed.ack(message)
            return
        while self._complete():
            self._room.clear()
            await self._room.wait()
        item = self._item(message, live, catching_up=feed.catching_up)
        if live and not self._warm:
            self._warm = True
            loop = asyncio.get_running_loop()
            loop.call_later(self.request.warmup_s, self.stats.reset_latency)
        self.stats.add(item)
        self.ledger.offer(item.size_bytes)
        dropped = await self._pending.put(item)
        self.ledger.drop("slow-output", len(dropped))

    def _complete(self) -> bool:
        """Whether what was delivered and what is under way make up the count."""
        count = self.request.count
        return bool(count) and self.ledger.delivered + self.ledger.in_flight >= count

    def _item(self, message: Message, live: bool, *, catching_up: bool) -> Item:
        obj, fault = read_object(message)
        properties = message.properties
        arrival_us, error_us = self.clock.arrival(
            properties.get("clock", ""),
            message.receive_monotonic_us,
            obj.publish_us if obj else None,
        )
        return Item(
            message=message,
            track=message.key,
            kind=obj.kind.value if obj else "",
            obj=obj,
            fault=fault,
            instance=properties.get("instance", "") if obj else "",
            live=live and not (obj is not None and obj.replayed),
            receive_us=arrival_us if obj else None,
            clock_error_us=total_error_us(error_us, properties.get("clock_error_us")),
            catching_up=catching_up,
        )

    async def _write(self) -> None:
        """Hand objects to the output until nothing more comes, then stop."""
        idle_s = self.output.idle_s or None
        most_bytes = None if self._pending.live else BATCH_BYTES
        while True:
            try:
                async with asyncio.timeout(idle_s):
                    items = await self._pending.take(BATCH, most_bytes)
            except TimeoutError:
                await self._call(self.output.idle)
                continue
            if not items:
                return
            take_us = monotonic_us()
            self.stats.took(items, take_us)
            reasons = await self._call(self.output.take, items)
            self.stats.saw(seen_by(self.output), take_us)
            self._account(items, reasons)
            items.clear()  # the worker's thread still has this list, and the next may take long
            if self.request.count and self.ledger.delivered >= self.request.count:
                self.stop()

    def _account(self, items: Sequence[Item], reasons: Sequence[str]) -> None:
        """Count what became of objects; only now are they acknowledged."""
        for item, reason in zip(items, reasons, strict=True):
            if reason:
                self.ledger.drop(reason)
            else:
                self.ledger.deliver()
            self._feeds[item.message.topic].ack(item.message)
        self._room.set()

    def _settle(self) -> None:
        """Close the books: what did not reach the output was stopped."""
        self.state = "stopped"
        self._ended_us = monotonic_us()
        self._pending.clear()
        self.ledger.drop("stopped", self.ledger.in_flight)

    @property
    def caught_up(self) -> bool:
        """Whether the past that was asked for was read and written."""
        feeds = self._feeds.values()
        left = any(feed.past_left for feed in feeds if isinstance(feed, HistoryFeed))
        return self.state == "reading" and not left and not self.ledger.in_flight

    def brief(self) -> str:
        """A few words on the state; may be called from any thread."""
        last_ms = self.stats.last_ms(monotonic_us())
        latency = "unknown" if last_ms is None else f"{last_ms:.1f} ms"
        dropped = self.ledger.dropped_total
        objects = self.stats.objects
        noun = "object" if objects == 1 else "objects"
        return f"{objects} {noun}  latency {latency}  dropped {dropped}"

    def snapshot(self) -> dict[str, Any]:
        """Live figures: those of `Statistics.snapshot` and what became of the objects.

        Returns:
            Beside the statistics: `state`, `topics`, `duration_s`, `live_s` in which live objects
            came, `delivered` to the output, `dropped` by reason, `in_flight`; objects =
            delivered + dropped + in_flight; `filtered`, messages that were not asked for; and
            `output`, what the output tells about itself.
        """
        now_us = self._ended_us or monotonic_us()
        started_us = self._started_us or now_us
        joined_us = self._joined_us or now_us
        router = self.clock.router
        figures = self.stats.snapshot(now_us)
        if self._ended_us and self.stats.total.n:
            figures["latency"]["total"]["histogram"] = self.stats.total.encoded()
        return {
            "state": self.state,
            "topic": self.topic,
            "topics": list(self.topics),
            "duration_s": round((now_us - started_us) / 1e6, 3),
            "live_s": round((now_us - joined_us) / 1e6, 3),
            **figures,
            "delivered": self.ledger.delivered,
            "dropped": dict(self.ledger.dropped),
            "in_flight": self.ledger.in_flight,
            "filtered": self.filtered,
            "clock_router": str(router) if router else None,
            "clock": self.clock.snapshot(),
            "output": figures_of(self.output),
        }
