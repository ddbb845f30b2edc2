"""One topic (or partition) being read: how it is joined, and how reading goes on after a loss."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from wtp.clock import monotonic_us
from wtp.consumer.item import read_place
from wtp.consumer.join import EMPTY, Entry, Newest, join_live, newest_entry
from wtp.consumer.ports import Broker, Message, Start, Subscription, SubscriptionKind
from wtp.errors import BrokerError, BrokerUnavailable, WtpError

LIVE_QUEUE = 100
DEEP_QUEUE = 200
"""Messages that wait in the broker's client, live and otherwise; 30 a second is common."""

FIRST_RETRY_S = 0.25
LAST_RETRY_S = 5.0

STUCK_US = 10_000_000
"""After being cut off for so long, with the broker there, reading begins anew where it was."""

ASKED_ANEW = 3
"""How often in a row a broker is asked anew for messages that it has and does not send."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How a topic is read.

    Attributes:
        start: `latest` (live) or `earliest` (everything there is).
        key_frames: Whether joining live begins at the last key frame of each track.
        subscription: Name of a durable subscription; empty for a reader that leaves no trace.
        subscription_kind: Its type.
        queue: Messages that wait in the broker's client, twice; 0 takes what suits `start`.
    """

    start: Start = "latest"
    key_frames: bool = False
    subscription: str = ""
    subscription_kind: SubscriptionKind = "exclusive"
    queue: int = 0


class Feed:
    """Reads one topic until cancelled.

    Args:
        broker: Where it is.
        topic: Full name of a topic or partition.
        reading: How.
        take: Gets each message in order and whether it was published after joining.
        note: Is told what happens.

    Attributes:
        quick: Tells the newest entry of a topic sooner than the broker's client; may stay None.
        catching_up: Whether what is handed on only leads to the present: from the last key frame
            to where reading joined.
    """

    def __init__(
        self,
        broker: Broker,
        topic: str,
        reading: Reading,
        take: Callable[[Feed, Message, bool], Awaitable[None]],
        note: Callable[[str], None],
    ) -> None:
        self.topic = topic
        self.quick: Newest | None = None
        self.catching_up = False
        self._broker, self._reading = broker, reading
        self._take, self._note = take, note
        self._subscription: Subscription | None = None
        self._first: list[Message] = []
        self._newest: Entry | None = None
        self._position = ""
        self._waits_since_us: int | None = None
        self._asked_anew = 0
        self._lost_us: int | None = None

    async def open(self, *, fresh: bool = False) -> None:
        """Join the topic.

        Args:
            fresh: Whether all of it is wanted, because it was waited for.

        Raises:
            NotFound: There is no such topic.
            BrokerError: It cannot be read; `code` is `busy` when the subscription is taken.
            BrokerUnavailable: The broker is not there.
        """
        reading = self._reading
        queue = reading.queue or (LIVE_QUEUE if reading.start == "latest" else DEEP_QUEUE)
        start: Start = "earliest" if fresh else reading.start
        if reading.subscription:
            self._newest = await self._newest_known()
            self._subscription = await self._subscribe(start)
        elif start == "latest" and reading.key_frames:
            joined = await join_live(self._broker, self.topic, queue=queue, quick=self.quick)
            self.catching_up = bool(joined.first)
            self._subscription = joined.reader
            self._first, self._newest = joined.first, joined.last
        else:
            if start == "earliest":
                self._newest = await self._newest_known()
            self._subscription = await self._broker.reader(self.topic, start=start, queue=queue)

    async def _newest_known(self) -> Entry | None:
        newest = await newest_entry(self._broker, self.topic)
        return None if newest == EMPTY else newest

    async def _subscribe(self, start: Start) -> Subscription:
        name = self._reading.subscription
        try:
            return await self._broker.subscribe(
                self.topic,
                name,
                kind=self._reading.subscription_kind,
                start=start,
                queue=self._reading.queue or DEEP_QUEUE,
            )
        except BrokerError as error:
            if error.code != "busy":
                raise
            raise BrokerError(
                f"Subscription {name!r} of {self.topic} is in use by another consumer.",
                hint="--type shared lets several read it, if all say so; or take another name.",
                code="busy",
            ) from error

    async def run(self) -> None:
        """Hand every message on, for ever; a subscription that ends is opened again."""
        first, self._first = self._first, []
        for message in first:
            await self._hand_on(message)
        self.catching_up = False
        while True:
            assert self._subscription is not None  # noqa: S101 - run follows open
            try:
                self._waits_since_us = monotonic_us()
                message = await self._subscription.receive()
                self._waits_since_us, self._asked_anew = None, 0
            except BrokerUnavailable:
                await self._open_again()
                continue
            if message.position == self._position and not self._reading.subscription:
                continue
            await self._hand_on(message)

    async def _hand_on(self, message: Message) -> None:
        self._position = message.position
        live = self._newest is None or read_place(message.position)[:2] > self._newest
        await self._take(self, message, live)

    async def _open_again(self) -> None:
        """Go on behind the last message, as soon as the broker lets us."""
        pause_s = FIRST_RETRY_S
        while True:
            try:
                if self._reading.subscription:
                    self._subscription = await self._subscribe(self._reading.start)
                else:
                    self._subscription = await self._broker.reader(
                        self.topic,
                        start=self._position or self._reading.start,
                        inclusive=not self._position,
                        queue=self._reading.queue or DEEP_QUEUE,
                    )
            except WtpError as error:
                self._note(f"{self.topic} cannot be read at the moment: {error.message}")
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, LAST_RETRY_S)
            else:
                return

    def behind(self) -> Counter[str]:
        """Messages that lead to the present and were not handed on yet, by track."""
        return Counter(message.key for message in self._first) if self.catching_up else Counter()

    def ack(self, message: Message) -> None:
        """Acknowledge a message; nothing happens without a durable subscription."""
        if self._subscription is not None:
            self._subscription.ack(message)

    @property
    def connected(self) -> bool:
        """Whether the broker is there at this moment."""
        return self._subscription is not None and self._subscription.connected

    async def look_after(self, broker_answers: bool) -> None:
        """Begin anew when the client does not find back by itself; call it regularly.

        Args:
            broker_answers: Whether something listens at the broker's address.
        """
        if self._subscription is None:
            return
        now_us = monotonic_us()
        if self.connected:
            self._lost_us = None
            if self._starves(now_us):
                self._asked_anew += 1
                self._note(f"{self.topic}: the broker sends nothing of what it has. Asking anew.")
                await self._subscription.close()
            return
        if self._lost_us is None:
            self._lost_us = now_us
        if broker_answers and now_us - self._lost_us > STUCK_US:
            self._lost_us = None
            await self._subscription.close()

    def _starves(self, now_us: int) -> bool:
        """Whether messages that were there when we joined do not come, for long."""
        since_us = self._waits_since_us
        if self._newest is None or since_us is None or self._reading.subscription:
            return False
        left = not self._position or read_place(self._position)[:2] < self._newest
        return left and now_us - since_us > STUCK_US and self._asked_anew < ASKED_ANEW

    async def close(self) -> None:
        """Stop reading."""
        if self._subscription is not None:
            await self._subscription.close()
