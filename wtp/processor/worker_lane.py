"""One track in a topic worker: input by input through the code, outputs in order, then the ack.

An input is acknowledged once all its outputs have the broker's receipt. What was not acknowledged
comes again, to whichever copy has the track then, and its outputs get the sequence ids they had:
the broker keeps them once. For that the inputs of a track must never be processed out of order, so
nothing is ever put back: a lane tries again itself, or the worker begins anew.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from wtp.broker.client import Producer
from wtp.broker.messages import Received, permanent
from wtp.clock import ClockDomain, monotonic_us
from wtp.errors import BrokerError, BrokerUnavailable, Refused, UsageError, WireError
from wtp.metrics import Latency, Ledger
from wtp.model import Kind, Object, Track, from_properties
from wtp.processor.code import CodeFailed, CodeMissing
from wtp.processor.isolate import Made
from wtp.processor.worker_topics import CHAIN, Places, chained, producer_name, sequence_id
from wtp.wire.process import Parcel

log = logging.getLogger("wtp.processor")

IDLE_S = 0.5
"""A producer that has had nothing to send for so long is closed: another copy may need its name."""

FIRST_WAIT_S, LAST_WAIT_S = 0.05, 1.0
MOST_UNRECEIPTED = 500
"""Outputs of a track without receipt at once; the client would take a thousand."""

MOST_ERROR = 1000
"""Characters of an error that a dead letter carries."""


@dataclass(slots=True)
class Figures:
    """What a worker counts, over all losses of the broker.

    Attributes:
        ledger: Inputs.
        took: From an input's arrival to its acknowledgement.
        dead_letters: Inputs in the dead letter topic.
    """

    ledger: Ledger = field(default_factory=Ledger)
    took: Latency = field(default_factory=Latency)
    dead_letters: int = 0


class Port(Protocol):
    """What a lane asks of its worker."""

    places: Places
    figures: Figures
    boot_id: str
    closed: bool

    async def process(self, parcel: Parcel) -> Made:
        """Apply the code."""

    async def open_producer(self, topic: str, name: str) -> Producer:
        """A producer; BrokerError with code `busy` while another copy has the name."""

    def settled(self, message: Received) -> None:
        """An input is done with: acknowledge it."""

    def failed(self, error: BrokerError | Refused) -> None:
        """The broker does not take outputs: begin anew."""

    def gone(self, lane: Lane) -> None:
        """A lane has nothing to do any more."""


class Lane:
    """The inputs of one track, in order.

    Args:
        track: Its name; the key of its messages.
        port: The worker.
    """

    def __init__(self, track: str, port: Port) -> None:
        self.track = track
        self._named = _is_track(track)
        self._port = port
        self._inputs: deque[Received] = deque()
        self._more = asyncio.Event()
        self._unreceipted = 0
        self._room = asyncio.Event()
        self._producers: dict[tuple[str, str], Producer] = {}

    def put(self, message: Received) -> None:
        """Take the next input."""
        self._inputs.append(message)
        self._more.set()

    async def run(self) -> None:
        """Work until nothing has come for a while."""
        while True:
            while self._inputs:
                await self._take(self._inputs.popleft())
            self._more.clear()
            try:
                async with asyncio.timeout(IDLE_S):
                    await self._more.wait()
            except TimeoutError:
                if self._unreceipted:
                    continue
                await self._close_producers()
                if not self._inputs:
                    self._port.gone(self)
                    return

    async def _take(self, message: Received) -> None:
        """Process one input."""
        parcel = Parcel(message.key, message.properties, message.payload)
        try:
            obj = from_properties(message.properties, message.payload)
        except WireError as error:
            self._drop_aloud(message, "not-wtp" if error.code == "not-wtp" else "damaged", error)
            return
        if not self._named:
            self._drop(message, "not-wtp")
            return
        chain = chained(obj.attributes.get(CHAIN, ""), self._port.places.code)
        if chain is None:
            self._drop_aloud(message, "cycle", "it has been through this code before")
            return
        try:
            made = await self._made(parcel)
        except CodeFailed as error:
            await self._bury(message, obj, parcel, error)
            return
        if not made.parcels:
            self._drop(message, made.reason or "filtered")
            return
        outputs = [
            (
                self._port.places.targets[Kind(one.properties["kind"])],
                Parcel(one.track, self._described(one, message, chain), one.payload),
            )
            for one in made.parcels
        ]
        await self._publish(message, obj, outputs)

    async def _bury(
        self, message: Received, obj: Object, parcel: Parcel, error: CodeFailed
    ) -> None:
        """Put an input that the code failed on into the dead letter topic, if there is one."""
        topic = self._port.places.dead_letters
        if not topic:
            self._drop(message, error.code)
            return
        said = {"error": error.message[:MOST_ERROR], CHAIN: self._port.places.code}
        letter = Parcel(parcel.track, {**parcel.properties, **said}, parcel.payload)
        await self._publish(message, obj, [(topic, letter)], error.code)

    async def _made(self, parcel: Parcel) -> Made:
        wait_s = FIRST_WAIT_S
        while True:
            try:
                return await self._port.process(parcel)
            except CodeMissing as error:
                log.debug("waiting for the code: %s", error)
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, LAST_WAIT_S)

    def _drop_aloud(self, message: Received, reason: str, why: object) -> None:
        """Drop an input, and say it the first time."""
        if reason not in self._port.figures.ledger.dropped:
            log.warning("%s: a message is left out (%s): %s", message.topic, reason, why)
        self._drop(message, reason)

    def _drop(self, message: Received, reason: str) -> None:
        self._port.figures.ledger.drop(reason)
        self._port.settled(message)

    async def _publish(
        self,
        message: Received,
        obj: Object,
        outputs: list[tuple[str, Parcel]],
        reason: str = "",
    ) -> None:
        """Hand an input's outputs over with their topics; the last receipt acknowledges the input.

        With a `reason` the input counts as dropped even so.
        """
        port, left, dead = self._port, len(outputs), bool(reason)
        instance = message.properties.get("instance", "")

        def done(error: BrokerError | Refused | None) -> None:
            nonlocal left, reason
            self._unreceipted -= 1
            self._room.set()
            if port.closed:
                return
            if error is not None and not permanent(error):
                port.failed(error)
                return
            left -= 1
            if dead and error is None:
                port.figures.dead_letters += 1
            reason = error.code if error else reason
            if left == 0 and reason:
                self._drop(message, reason)
            elif left == 0:
                port.figures.ledger.deliver()
                port.settled(message)

        for index, (topic, parcel) in enumerate(outputs):
            while self._unreceipted >= MOST_UNRECEIPTED:
                self._room.clear()
                await self._room.wait()
            key = (topic, producer_name(message.key, instance, port.places.code))
            producer = self._producers.get(key) or await self._producer(key)
            self._unreceipted += 1
            properties = dict(parcel.properties)
            domain = self._domain(properties)
            if domain is not None and not dead:
                properties["publish_us"] = str(domain.anchor_us + monotonic_us())
            producer.send(
                parcel.payload,
                properties=properties,
                key=parcel.track,
                event_ms=(obj.capture_us or 0) // 1000,
                seq=sequence_id(obj.seq, index),
                done=done,
            )

    def _described(self, parcel: Parcel, message: Received, chain: str) -> dict[str, str]:
        """Properties of an output: the input's stamps and ours, where it comes from, what made it.

        Stamps are left out where the input's are of another machine start.
        """
        properties = dict(parcel.properties)
        properties["source_track"], properties[CHAIN] = message.key, chain
        properties.pop("publish_us", None)
        properties.pop("process_us", None)
        domain = self._domain(properties)
        if domain is not None:
            handed_us = message.properties.get("publish_us")
            if handed_us is not None:
                properties["broker_us"] = handed_us
            properties["processor_us"] = str(domain.anchor_us + message.receive_monotonic_us)
            properties["process_us"] = str(domain.anchor_us + monotonic_us())
        return properties

    def _domain(self, properties: Mapping[str, str]) -> ClockDomain | None:
        """The clock of an object's stamps, when it is that of this machine start."""
        domain = ClockDomain.parse(properties.get("clock", ""))
        return domain if domain is not None and domain.same_start(self._port.boot_id) else None

    async def _producer(self, key: tuple[str, str]) -> Producer:
        """Open a producer; one that another copy still has is waited for."""
        wait_s = FIRST_WAIT_S
        while True:
            try:
                producer = await self._port.open_producer(*key)
            except BrokerError as error:
                if error.code != "busy" and not isinstance(error, BrokerUnavailable):
                    raise
                log.debug("waiting for a producer of %s: %s", self.track, error)
            else:
                self._producers[key] = producer
                return producer
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, LAST_WAIT_S)

    @property
    def connected(self) -> bool:
        """Whether the broker is there for all its producers."""
        return all(producer.connected for producer in self._producers.values())

    async def _close_producers(self) -> None:
        producers, self._producers = list(self._producers.values()), {}
        closing: list[Awaitable[None]] = [producer.close() for producer in producers]
        await asyncio.gather(*closing)


def _is_track(name: str) -> bool:
    try:
        Track.parse(name)
    except UsageError:
        return False
    return True
