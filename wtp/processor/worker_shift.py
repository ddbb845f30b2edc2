"""A topic worker between two losses of the broker: one client, its subscription, its lanes."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from wtp.broker.accessprobe import knock
from wtp.broker.client import BrokerClient, Producer, Subscription
from wtp.broker.connect import connect
from wtp.broker.messages import Received
from wtp.clock import monotonic_us, read_boot_id
from wtp.config.schema import BrokerSettings
from wtp.errors import BrokerError, BrokerUnavailable, Refused, WtpError
from wtp.processor.isolate import Made, Runner
from wtp.processor.worker_lane import Figures, Lane
from wtp.processor.worker_topics import Places
from wtp.wire.process import Parcel

log = logging.getLogger("wtp.processor")

QUEUE = 200
"""Messages that wait in the broker's client; as many again behind it."""

MOST_HELD = 1000
MOST_HELD_BYTES = 64 * 1024 * 1024
"""Inputs under way at once, and their payloads; then no more are taken."""

WATCH_S = 0.25
PATIENCE_S = 1.0
"""How long the client may take to come back by itself while the broker answers: its own back-off
grows to a minute."""

DRAIN_S = 5.0


class Shift:
    """Implements the lanes' `Port`.

    Args:
        broker: How to get in.
        places: What to read and write.
        runner: The code, started.
        figures: Counts, over all shifts.
    """

    def __init__(
        self, broker: BrokerSettings, places: Places, runner: Runner, figures: Figures
    ) -> None:
        self.places, self.figures = places, figures
        self.boot_id = read_boot_id()
        self.closed = False
        self.lanes: dict[str, Lane] = {}
        self._broker = broker
        self._runner = runner
        self._client: BrokerClient | None = None
        self._subscription: Subscription | None = None
        self._held = self._held_bytes = 0
        self._room = asyncio.Event()
        self._failure: BrokerError | Refused | None = None
        self._over = asyncio.Event()
        self._group: asyncio.TaskGroup | None = None

    @property
    def connected(self) -> bool:
        """Whether the broker is there at this moment."""
        return (
            not self.closed
            and self._subscription is not None
            and self._subscription.connected
            and all(lane.connected for lane in self.lanes.values())
        )

    async def open(self) -> None:
        """Subscribe.

        Raises:
            BrokerUnavailable: The broker is not there.
            BrokerError: `code` is `busy`: a consumer of another type has the subscription.
        """
        places = self.places
        self._client = connect(self._broker)
        try:
            self._subscription = await self._client.subscribe(
                places.source,
                places.subscription,
                kind="key_shared",
                start="earliest" if places.kind.reliable else "latest",
                queue=QUEUE,
            )
        except BrokerError as error:
            if error.code != "busy":
                raise
            raise BrokerError(
                f"Subscription {places.subscription!r} of {places.source} is in use by a consumer "
                "that does not share it by key.",
                hint="End that one, or take another name with --subscription.",
                code="busy",
            ) from error

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until told to stop.

        Raises:
            BrokerUnavailable: The broker was lost: begin anew.
            WtpError: What will not pass.
        """
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                receiving = group.create_task(self._receive())
                group.create_task(self._watch())
                group.create_task(self._end_with(stopping))
                await self._over.wait()
                receiving.cancel()
                if self._failure is None:
                    await self._drained()
                raise _Over
        except BaseExceptionGroup as errors:
            ours, others = errors.split((_Over, WtpError))
            if others is not None:
                raise
            real = ours.subgroup(WtpError) if ours is not None else None
            if real is not None:
                raise _first(real) from None
        if self._failure is not None:
            raise self._failure

    async def close(self) -> None:
        """Leave the broker; what was not acknowledged goes to another copy, or comes again."""
        self.closed = True
        self.figures.ledger.drop("given-back", self.figures.ledger.in_flight)
        if self._client is not None:
            await self._client.close()

    # Port

    async def process(self, parcel: Parcel) -> Made:
        """Apply the code."""
        return await self._runner.process(parcel)

    async def open_producer(self, topic: str, name: str) -> Producer:
        """A producer of that name."""
        assert self._client is not None  # noqa: S101 - lanes live between open and close
        return await self._client.producer(topic, name=name)

    def settled(self, message: Received) -> None:
        """An input is done with."""
        if self._subscription is not None:
            self._subscription.ack(message)
        self.figures.took.add(monotonic_us() - message.receive_monotonic_us)
        self._held -= 1
        self._held_bytes -= len(message.payload)
        self._room.set()

    def failed(self, error: BrokerError | Refused) -> None:
        """The broker does not take outputs."""
        self._failure = self._failure or error
        self._over.set()

    def gone(self, lane: Lane) -> None:
        """A lane has nothing to do any more."""
        self.lanes.pop(lane.track, None)

    # Tasks

    async def _receive(self) -> None:
        assert self._subscription is not None  # noqa: S101 - run follows open
        assert self._group is not None  # noqa: S101 - set by run
        while True:
            message = await self._subscription.receive()
            self.figures.ledger.offer(len(message.payload))
            self._held += 1
            self._held_bytes += len(message.payload)
            lane = self.lanes.get(message.key)
            if lane is None:
                lane = self.lanes[message.key] = Lane(message.key, self)
                self._group.create_task(lane.run())
            lane.put(message)
            while self._held >= MOST_HELD or self._held_bytes >= MOST_HELD_BYTES:
                self._room.clear()
                await self._room.wait()

    async def _watch(self) -> None:
        """End the shift when the client does not find back to the broker by itself."""
        loop = asyncio.get_running_loop()
        lost_since: float | None = None
        while True:
            await asyncio.sleep(WATCH_S)
            if self.connected:
                lost_since = None
            elif lost_since is None:
                lost_since = loop.time()
            elif loop.time() - lost_since > PATIENCE_S:
                with contextlib.suppress(WtpError):
                    await knock(self._broker)
                    self.failed(BrokerUnavailable("The connection to the broker was lost."))

    async def _end_with(self, stopping: asyncio.Event) -> None:
        await stopping.wait()
        self._over.set()

    async def _drained(self) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + DRAIN_S
        while self._held and loop.time() < end:
            await asyncio.sleep(0.01)


class _Over(Exception):
    """Ends a shift's tasks."""


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    first = errors.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
