"""Publishing without a router: straight to the room's topics, over Pulsar's WebSocket API."""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from wtp.broker.connect import administer
from wtp.broker.naming import parse_topic
from wtp.broker.rooms import ensure_room
from wtp.broker.websocket import WebSocketClient, connect_websocket
from wtp.broker.websocketsending import SocketProducer
from wtp.clock import Clock, monotonic_us
from wtp.config.schema import Settings
from wtp.errors import BrokerUnavailable, NotFound, Refused, UsageError, WtpError
from wtp.model import Track, check_name, clean_name
from wtp.publisher.choice import Input, track_names
from wtp.publisher.feeds import Feed, open_feeds
from wtp.publisher.reliable import ReliableTrack
from wtp.publisher.run import first_error
from wtp.publisher.running import announced, run_feeds, unreceipted, until_stopped
from wtp.publisher.viapulsartrack import Origin, TopicStreams

FLUSH_S = 5.0
"""How long the end may take once it was asked for."""
RETRY_S = 0.25
WATCH_S = 0.25
MAX_PENDING = 1024

_log = logging.getLogger(__name__)


class Client(Protocol):
    """What is used of `WebSocketClient`."""

    url: str

    async def producer(
        self, topic: str, *, name: str = "", max_pending: int = 1000
    ) -> SocketProducer:
        """Open a producer."""
        ...

    async def close(self) -> None:
        """Close everything."""
        ...


class TopicPublisher:
    """Publishes inputs to the topics of a room (the role behind `--via pulsar-ws`).

    Args:
        settings: Broker, room, topic templates.
        inputs: What to publish.
        name: The publisher's name; empty: the host's.
        duration_s: Seconds after which to end; 0 for never.
        count: Objects of each input after which to end; 0 for all.
        wait: Wait for a broker as long as it takes.

    Raises:
        UsageError: No input, or a name that is not allowed.
        BrokerUnavailable: The address is none of a WebSocket.
    """

    def __init__(
        self,
        settings: Settings,
        inputs: Sequence[Input],
        *,
        name: str = "",
        duration_s: float = 0.0,
        count: int = 0,
        wait: bool = False,
    ) -> None:
        if not inputs:
            raise UsageError("There is nothing to publish.", hint="Choose at least one input.")
        self._settings = settings
        self._inputs = list(inputs)
        self._name = check_name("publisher", name or clean_name(socket.gethostname()))
        self._room = check_name("room", settings.rooms.room)
        track_names(inputs)
        self._duration_s, self._count, self._wait = duration_s, count, wait
        self._instance = secrets.token_hex(8)
        self._clock = Clock()
        self._client: WebSocketClient = connect_websocket(settings.broker)
        self._feeds: list[Feed] = []
        self._producers: list[SocketProducer] = []
        self._stopping = asyncio.Event()
        self._expired = False
        self._state = "opening"
        self._began_us = monotonic_us()
        self._ended_us: int | None = None

    async def run(self, ready: Callable[[dict[str, Any]], None]) -> None:
        """Publish until every input has ended, or until `stop`.

        Args:
            ready: Called once when every topic is open.

        Raises:
            WtpError: An input cannot be used, or the broker refuses.
        """
        try:
            self._feeds = await asyncio.to_thread(
                open_feeds, self._inputs, self._name, self._settings.publish, self._clock,
                self._count,
            )  # fmt: skip
            async with asyncio.TaskGroup() as group:
                watching = group.create_task(self._watch())
                await self._publish(ready)
                watching.cancel()
        except BaseExceptionGroup as errors:
            raise first_error(errors) from errors
        finally:
            for feed in self._feeds:
                feed.close()
            self._state = "closed"
            await self._client.close()
            for feed in self._feeds:
                feed.track.close()
            self._ended_us = monotonic_us()
        self._account()

    def stop(self) -> None:
        """End the inputs, wait for receipts and close."""
        self._stopping.set()
        for feed in self._feeds:
            feed.stop()

    async def _publish(self, ready: Callable[[dict[str, Any]], None]) -> None:
        self._state = "connecting"
        opening = asyncio.create_task(self._open_all())
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({opening, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not opening.done():
                return
            opening.result()
        finally:
            opening.cancel()
            stopping.cancel()
            await asyncio.gather(opening, stopping, return_exceptions=True)
        self._state = "live"
        self._began_us = monotonic_us()
        ready(self._info())
        await run_feeds(self._feeds, self._duration_s, self._expire)
        await until_stopped(self._flush(), self._stopping, FLUSH_S)

    async def _open_all(self) -> None:
        """Open the topic of every track.

        Raises:
            WtpError: The broker is not there or refuses.
        """
        for feed in self._feeds:
            track = feed.track
            topic = self._settings.topics.topic(self._room, track.spec.kind)
            full = str(Track(self._room, self._name, track.spec.name))
            reliable = track.spec.kind.reliable
            producer = await self._producer(topic, f"wtp/{full}/{self._instance}" * reliable)
            streams = TopicStreams(producer, track, Origin(full, self._instance, self._clock))
            self._producers.append(producer)
            producer.changed = streams.connection
            streams.connection(True)

    async def _producer(self, topic: str, name: str) -> SocketProducer:
        told = False
        prepared = False
        while True:
            try:
                if not prepared:
                    await self._prepare(topic)
                    prepared = True
                return await self._client.producer(topic, name=name, max_pending=MAX_PENDING)
            except NotFound as error:
                raise Refused(
                    f"Room {self._room!r} does not exist, or {self._client.url} is no WebSocket "
                    "API of a Pulsar.",
                    hint="Create the room with wtp topics create, or allow rooms.create in the "
                    "profile; WTP_BROKER_WEBSOCKET sets the address.",
                    code="no-room",
                ) from error
            except BrokerUnavailable as error:
                if not self._wait or error.code != BrokerUnavailable.code:
                    raise
                if not told:
                    _log.info("%s Waiting for it.", error.message)
                told = True
            await asyncio.sleep(RETRY_S)

    async def _prepare(self, topic: str) -> None:
        """Create the room when the profile allows it."""
        rules = self._settings.rooms
        if not rules.create:
            return
        async with administer(self._settings.broker) as admin:
            await ensure_room(admin, parse_topic(topic).namespace_path, rules)

    async def _watch(self) -> None:
        """Follow the connections; a refusal that will not pass ends the publisher.

        Raises:
            WtpError: The broker does not let us in any more.
        """
        while True:
            await asyncio.sleep(WATCH_S)
            if self._state not in ("live", "reconnecting"):
                continue
            for producer in self._producers:
                if isinstance(producer.failure, WtpError):
                    raise producer.failure
            there = all(producer.connected for producer in self._producers)
            state = "live" if there else "reconnecting"
            if state != self._state:
                self._state = state
                if there:
                    _log.warning("The broker at %s is back.", self._client.url)
                else:
                    _log.warning("The broker at %s is lost; connecting again.", self._client.url)

    def _expire(self) -> None:
        self._expired = True
        self.stop()

    async def _flush(self) -> None:
        for feed, producer in zip(self._feeds, self._producers, strict=True):
            if isinstance(feed.track, ReliableTrack):
                await feed.track.receipted()
            feed.track.finish()
            await producer.flush()

    def _account(self) -> None:
        """Say what was promised and not kept.

        Raises:
            BrokerUnavailable: Reliable objects have no receipt, although nobody asked to end.
        """
        for sentence in unreceipted(self._feeds):
            if self._expired:
                raise BrokerUnavailable(sentence, hint="Send them again when the broker is back.")
            _log.warning("%s", sentence)

    # What it says

    def _info(self) -> dict[str, Any]:
        return {
            "url": self._client.url,
            "room": self._room,
            "name": self._name,
            "clock": "own",
            "tracks": announced(self._feeds),
        }

    def snapshot(self) -> dict[str, Any]:
        """State and tracks with their ledgers; `receipt` by track: from sending to receipt."""
        now_us = self._ended_us or monotonic_us()
        receipts = {
            feed.track.spec.name: producer.snapshot()
            for feed, producer in zip(self._feeds, self._producers, strict=False)
        }
        middles = [one["receipt"]["p50_ms"] for one in receipts.values() if one["receipt"]["n"]]
        return {
            "name": self._name,
            "room": self._room,
            "router": "",
            "broker": self._client.url,
            "uptime_s": round((now_us - self._began_us) / 1e6, 3),
            "state": self._state,
            "reconnects": max((one["reconnects"] for one in receipts.values()), default=0),
            "rtt_ms": max(middles, default=None),
            "clock": "own",
            "clock_error_us": 0,
            "receipts": receipts,
            "tracks": {
                feed.track.spec.name: {**feed.track.snapshot(), **feed.figures()}
                for feed in self._feeds
            },
        }
