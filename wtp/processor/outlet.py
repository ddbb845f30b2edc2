"""Publishing what was processed: producers, opened when needed and again when the broker was away.

Outputs of live inputs share one producer per topic. Those of reliable inputs have a producer per
track and publisher run, `wtp/<track>/<instance>/<code>`, and the input's sequence as sequence id:
what a router sends twice is published once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import OrderedDict
from collections.abc import Coroutine
from typing import Any
from weakref import WeakKeyDictionary

from wtp.broker.accessprobe import knock
from wtp.broker.client import BrokerClient, Producer
from wtp.broker.connect import connect
from wtp.broker.naming import topic_name
from wtp.clock import ClockDomain, monotonic_us, read_boot_id
from wtp.config.schema import Settings
from wtp.errors import BrokerError, BrokerUnavailable, Refused, WtpError
from wtp.model import Kind, Object
from wtp.processor.lanes import OutOfTurn
from wtp.wire.process import Parcel

log = logging.getLogger("wtp.processor")

WATCH_S = 0.25
KNOCK_S = 1.0
"""How often a broker is looked for to which no producer is open."""

PATIENCE_S = 1.0
"""How long lost producers may take to come back by themselves while the broker answers."""

RECEIPT_S = 10.0
"""How long a receipt is waited for before the router is told to try again."""

MOST_PRODUCERS = 512
MOST_ERROR = 1000
"""Characters of an error that a dead letter carries."""

NOT_YET = frozenset({"no-answer", "unknown-host"})
"""Codes of a broker that may still come; anything else has to be put right first."""

MOST_MISSING = 1000
"""Sequences that a track has left out so far, as many as are remembered."""

Receipt = asyncio.Future[None]


class Sequence:
    """What one named producer has sent, to tell a repeated object from one that comes too late.

    Both have a sequence below the last one, and the broker discards either without a word.

    Args:
        last: Last sequence that the broker had when the producer opened.
    """

    def __init__(self, last: int) -> None:
        self._highest = max(last, 0)
        self._missing: OrderedDict[int, None] = OrderedDict()

    def check(self, seq: int) -> None:
        """See that an object may be sent, which it then must be.

        Raises:
            OutOfTurn: `code` is `late`.
        """
        if seq in self._missing:
            raise OutOfTurn(f"Object {seq} came after later ones were published.", code="late")
        if seq > self._highest:
            first = max(self._highest + 1, seq - MOST_MISSING)
            self._missing.update(dict.fromkeys(range(first, seq)))
            while len(self._missing) > MOST_MISSING:
                self._missing.popitem(last=False)
            self._highest = seq


class Outlet:
    """The way to the broker.

    Args:
        settings: Profile.
        code: Name of the code, for names of producers.
    """

    def __init__(self, settings: Settings, code: str) -> None:
        self.connected = False
        self.problem = ""
        """Why the broker cannot be used at the moment."""
        self.published = 0
        self.dead_letters = 0
        self._settings = settings
        self._code = code
        self._boot_id = read_boot_id()
        self._client: BrokerClient | None = None
        self._producers: OrderedDict[tuple[str, str], asyncio.Task[Producer]] = OrderedDict()
        self._sequences: WeakKeyDictionary[Producer, Sequence] = WeakKeyDictionary()
        self._tasks: set[asyncio.Task[None]] = set()
        self._lost_since: float | None = None
        self._told: bool | None = None

    async def start(self) -> None:
        """Begin to look for the broker; it need not be there yet.

        Raises:
            BrokerUnavailable: What answers is no broker that can be used.
            Refused: It does not let us in.
        """
        self._client = connect(self._settings.broker)
        try:
            await knock(self._settings.broker)
            self.connected = True
        except BrokerUnavailable as error:
            if error.code not in NOT_YET:
                raise
            self.problem = error.message
        self._tell()
        self._spawn(self._watch())

    async def hand_over(self, parcels: list[Parcel], source: Parcel, obj: Object) -> list[Receipt]:
        """Give objects to the broker's client, in order.

        Args:
            parcels: What was made of `source`.
            source: The input.
            obj: The same.

        Returns:
            A future per object that ends with the broker's receipt or a BrokerError.

        Raises:
            BrokerUnavailable: The broker is not there.
            BrokerError: It refuses; `code` is `busy` while the track's last producer lingers.
            Refused: It does not allow it.
            OutOfTurn: `code` is `late`: later objects of the track were published before.
        """
        name, seq = "", None
        processed_us = monotonic_us()
        if obj.kind.reliable:
            instance = source.properties.get("instance") or "-"
            name, seq = f"wtp/{source.track}/{instance}/{self._code}", obj.seq
        receipts = []
        for parcel in parcels:
            kind = Kind(parcel.properties["kind"])
            topics = self._settings.topics
            template = topics.kinds.get(kind.value, topics.template)
            topic = topic_name(template, parcel.track.split("/")[0], kind.value)
            producer = await self._producer(topic, name)
            if seq is not None:
                self._sequence_of(producer).check(seq)
            receipts.append(self._send(producer, parcel, seq, processed_us))
        return receipts

    def _sequence_of(self, producer: Producer) -> Sequence:
        sequence = self._sequences.get(producer)
        if sequence is None:
            sequence = self._sequences[producer] = Sequence(producer.last_seq)
        return sequence

    def _send(
        self, producer: Producer, parcel: Parcel, seq: int | None, processed_us: int | None = None
    ) -> Receipt:
        """Hand one over with the stamps of its processing (CLOCK_MONOTONIC) and of this moment."""
        receipt: Receipt = asyncio.get_running_loop().create_future()

        def done(error: BrokerError | Refused | None) -> None:
            self.published += error is None
            if receipt.done():
                return
            if error is None:
                receipt.set_result(None)
            else:
                receipt.set_exception(error)

        properties = dict(parcel.properties)
        properties.pop("publish_us", None)
        properties.pop("process_us", None)
        domain = ClockDomain.parse(properties.get("clock", ""))
        if domain is not None and domain.same_start(self._boot_id):
            properties["publish_us"] = str(domain.anchor_us + monotonic_us())
            if processed_us is not None:
                properties["process_us"] = str(domain.anchor_us + processed_us)
        capture = properties.get("capture_us", "0")
        producer.send(
            parcel.payload,
            properties=properties,
            key=parcel.track,
            event_ms=int(capture) // 1000,
            seq=seq,
            done=done,
        )
        return receipt

    async def bury(self, source: Parcel, error: str) -> None:
        """Put an object that code failed on into the dead letter topic, if there is one."""
        template = self._settings.processor.dead_letter
        if not template:
            return
        kind = source.properties.get("kind", "data")
        topic = topic_name(template, source.track.split("/")[0], kind)
        letter = Parcel(
            source.track,
            {**source.properties, "error": error[:MOST_ERROR], "processor": self._code},
            source.payload,
        )
        try:
            async with asyncio.timeout(RECEIPT_S):
                await self._send(await self._producer(topic, ""), letter, None)
            self.dead_letters += 1
        except (TimeoutError, WtpError) as problem:
            log.warning("No dead letter for an object of %s: %s", source.track, problem)

    async def _producer(self, topic: str, name: str) -> Producer:
        key = (topic, name)
        if not self.connected:
            raise self._missing()
        opening = self._producers.get(key)
        if opening is None:
            opening = self._producers[key] = asyncio.create_task(self._open(topic, name))
            opening.add_done_callback(lambda task: self._opened(key, task))
            self._make_room()
        self._producers.move_to_end(key)
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            if opening.cancelled():
                raise self._missing() from None
            raise

    async def _open(self, topic: str, name: str) -> Producer:
        if self._client is None:
            raise self._missing()
        return await self._client.producer(topic, name=name)

    def _opened(self, key: tuple[str, str], task: asyncio.Task[Producer]) -> None:
        """Forget a producer that could not be opened: the next object tries again."""
        failed = task.cancelled() or task.exception() is not None
        if failed and self._producers.get(key) is task:
            del self._producers[key]

    def _make_room(self) -> None:
        if len(self._producers) > MOST_PRODUCERS:
            _, oldest = self._producers.popitem(last=False)
            self._spawn(_close(oldest))

    def _missing(self) -> BrokerUnavailable:
        return BrokerUnavailable(
            self.problem or f"No broker at {self._settings.broker.url}.",
            hint="Start one (wtp broker), or correct --broker.",
        )

    def _open_ones(self) -> list[Producer]:
        tasks = (t for t in self._producers.values() if t.done() and not t.cancelled())
        return [task.result() for task in tasks if task.exception() is None]

    async def _watch(self) -> None:
        """Keep `connected` true to the facts and bring lost producers back; runs for ever."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(WATCH_S if self._producers else KNOCK_S)
            producers = self._open_ones()
            if producers:
                self.connected = all(producer.connected for producer in producers)
            else:
                self.connected = await self._reachable()
            self._tell()
            if self.connected or not producers:
                self._lost_since = None
            elif self._lost_since is None:
                self._lost_since = loop.time()
            elif loop.time() - self._lost_since > PATIENCE_S and await self._reachable():
                await self._renew()

    async def _renew(self) -> None:
        """Leave the old client, whose back-off grows to a minute, and open everything anew."""
        self._lost_since = None
        old, self._client = self._client, connect(self._settings.broker)
        opening = list(self._producers.values())
        self._producers.clear()
        for task in opening:
            task.cancel()
        if old is not None:
            self._spawn(old.close())

    def _tell(self) -> None:
        if self.connected is not self._told:
            if not self.connected:
                log.warning("%s Requests are answered 503.", self._missing().message)
            elif self._told is not None:
                log.info("The broker at %s is back.", self._settings.broker.url)
            self._told = self.connected

    async def _reachable(self) -> bool:
        """Whether the broker lets us in; why not is kept in `problem`."""
        try:
            await knock(self._settings.broker)
        except WtpError as error:
            self.problem = error.message
            return False
        self.problem = ""
        return True

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Flush within a bounded time and close."""
        for task in [*self._tasks, *(t for t in self._producers.values() if not t.done())]:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(TimeoutError, WtpError):
            async with asyncio.timeout(RECEIPT_S if self.connected else 0):
                await asyncio.gather(*(producer.flush() for producer in self._open_ones()))
        if self._client is not None:
            await self._client.close()


async def _close(opening: asyncio.Task[Producer]) -> None:
    """Close a producer that is not needed any more, after what it holds was sent."""
    with contextlib.suppress(WtpError, asyncio.CancelledError):
        producer = await opening
        await producer.flush()
        await producer.close()
