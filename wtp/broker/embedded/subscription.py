"""One subscription of a topic: its members, its cursor, its dispatcher."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from wtp.broker.embedded.alive import Held
from wtp.broker.embedded.commands import CloseConsumer, KeySharedMeta
from wtp.broker.embedded.consumer import Consumer, Traffic
from wtp.broker.embedded.cursor import Cursor, after
from wtp.broker.embedded.dispatch import Dispatcher, SingleActive
from wtp.broker.embedded.keyshared import KeyShared
from wtp.broker.embedded.numbers import NO_ID, Cmd, SubType
from wtp.broker.embedded.shared import Shared
from wtp.broker.embedded.values import CursorState, Entry, Position
from wtp.errors import BrokerError

if TYPE_CHECKING:
    import asyncio

    from wtp.broker.embedded.topic import Topic


class Subscription:
    """A subscription.

    Args:
        topic: The topic.
        name: Its name.
        state: How far it has come.
        durable: Whether it outlives its consumers and the broker.

    Attributes:
        cursor: What is acknowledged.
        dispatcher: Who gets what; None until a consumer came.
        dropped: Messages of a non-persistent topic that nobody could take.
        flow_ms: When a consumer asked for messages last, Unix ms; 0 for never since the start.
        acked_ms: When a consumer acknowledged something last, likewise.
        marked_ms: When the cursor went on last, likewise.
    """

    def __init__(self, topic: Topic, name: str, state: CursorState, *, durable: bool) -> None:
        self.topic = topic
        self.name = name
        self.durable = durable
        self.cursor = Cursor(topic.log, state)
        self.dispatcher: Dispatcher | None = None
        self.dropped = 0
        self.gone = Traffic()
        self.redelivered = 0
        self.flow_ms = self.acked_ms = self.marked_ms = 0
        self._start = after(self.cursor.mark)

    @property
    def consumers(self) -> list[Consumer]:
        """The connected consumers."""
        return self.dispatcher.consumers if self.dispatcher is not None else []

    @property
    def sub_type(self) -> SubType | None:
        """The type that the last consumers agreed on."""
        return self.dispatcher.sub_type if self.dispatcher is not None else None

    @property
    def partition(self) -> int:
        """Index of the topic's partition, -1 for none."""
        return self.topic.partition

    @property
    def topic_name(self) -> str:
        """Full name of the topic."""
        return self.topic.name

    @property
    def read_at(self) -> Position:
        """Where the next fresh entry is read."""
        return self.dispatcher.read_at if self.dispatcher is not None else self._start

    def read(self, position: Position, max_entries: int, max_bytes: int) -> list[Entry]:
        """Entries that consumers may see."""
        return self.topic.read(position, max_entries, max_bytes)

    def wake(self) -> None:
        """Dispatch when the broker settles next."""
        self.topic.core.wake(self)

    def call_later(self, delay_s: float, action: Callable[[], None]) -> asyncio.TimerHandle:
        """Run something later, then settle."""
        return self.topic.core.call_later(delay_s, action)

    def now_ms(self) -> int:
        """Wall clock, Unix milliseconds."""
        return time.time_ns() // 1_000_000

    def add(self, consumer: Consumer, sub_type: SubType, keys: KeySharedMeta | None) -> None:
        """Take a consumer in.

        Raises:
            BrokerError: code "busy": it is taken, or of another type; "assign": see `KeyShared`.
        """
        dispatcher = self.dispatcher
        if dispatcher is None or not dispatcher.consumers:
            dispatcher = self._dispatcher_for(sub_type, keys)
        elif dispatcher.sub_type is not sub_type:
            raise BrokerError(
                f"Subscription {self.name!r} is of another type: {dispatcher.sub_type.name}.",
                hint="Use the same type, or another subscription name.",
                code="busy",
            )
        elif sub_type is SubType.EXCLUSIVE:
            holder = dispatcher.consumers[0].link
            raise Held(
                f"Exclusive consumer is already connected to subscription {self.name!r}.",
                hint="Close it, or use a shared or failover subscription.",
                code="busy",
                holder=holder if holder is not consumer.link else None,
            )
        dispatcher.add(consumer)
        self.dispatcher = dispatcher

    def _dispatcher_for(self, sub_type: SubType, keys: KeySharedMeta | None) -> Dispatcher:
        old = self.dispatcher
        if old is not None:
            old.close()
        start = self.read_at
        if sub_type is SubType.SHARED:
            return Shared(self, start)
        if sub_type is SubType.KEY_SHARED:
            meta = keys or KeySharedMeta()
            return KeyShared(self, start, sticky=meta.mode == 1, out_of_order=meta.out_of_order)
        delay_s = self.topic.core.settings.failover_delay_s
        return SingleActive(self, start, sub_type, delay_s)

    def remove(self, consumer: Consumer) -> None:
        """Let a consumer go; one that is not durable ends with its last consumer."""
        if consumer.closed or self.dispatcher is None:
            return
        consumer.closed = True
        self.dispatcher.remove(consumer)
        self.gone.add(consumer.out)
        self.redelivered += consumer.redelivered
        self.wake()
        if not self.durable and not self.consumers:
            self.topic.drop_subscription(self)

    def flow(self, consumer: Consumer) -> None:
        """A consumer asked for messages."""
        consumer.flow_ms = self.flow_ms = self.now_ms()
        self.wake()

    def ack(self, consumer: Consumer, positions: Iterable[Position]) -> None:
        """Acknowledge entries one by one."""
        dispatcher, cursor = self.dispatcher, self.cursor
        consumer.acked_ms = self.acked_ms = self.now_ms()
        mark = cursor.mark
        last = self.topic.log.last
        changed = False
        for position in positions:
            if last is None or position > last:
                continue
            changed |= cursor.ack(position)
            if dispatcher is not None:
                dispatcher.acked(consumer, position)
        if cursor.mark != mark:
            self.marked_ms = self.acked_ms
        if changed:
            self.changed()

    def ack_up_to(self, position: Position, consumer: Consumer | None = None) -> None:
        """Acknowledge everything up to and including `position`, for a consumer or from outside."""
        last = self.topic.log.last
        now_ms = self.now_ms()
        if consumer is not None:
            consumer.acked_ms = self.acked_ms = now_ms
        if last is not None and self.cursor.ack_up_to(min(position, last)):
            if self.dispatcher is not None:
                self.dispatcher.acked_up_to(self.cursor.mark)
            self.marked_ms = now_ms
            self.changed()

    def changed(self) -> None:
        """The cursor moved: keep it."""
        if self.durable:
            self.topic.core.cursor_changed(self)

    def save(self) -> None:
        """Write the cursor to the store."""
        if self.durable and not self.topic.volatile:
            self.topic.core.store.save_cursor(self.topic.name, self.name, self.cursor.state())

    def dispatch(self) -> None:
        """Deliver what can be delivered."""
        dispatcher = self.dispatcher
        if dispatcher is None:
            return
        dispatcher.dispatch()
        if self.topic.volatile:
            end = self.topic.log.end
            waiting = self.topic.log.count_between(dispatcher.read_at, end)
            if waiting > 0:
                self.dropped += waiting
            dispatcher.skip_to(end)
            self.cursor.reset(end)

    def seek(self, start: Position) -> None:
        """Move to `start`: consumers are told to come back and begin there."""
        self.disconnect()
        self.cursor.reset(start)
        self._start = start
        self.dispatcher = None
        self.save()

    def disconnect(self) -> None:
        """Tell all consumers to reconnect (CLOSE_CONSUMER without a request)."""
        for consumer in list(self.consumers):
            consumer.closed = True
            self.gone.add(consumer.out)
            consumer.link.forget_consumer(consumer)
            command = CloseConsumer(consumer.consumer_id, NO_ID)
            consumer.link.answer(Cmd.CLOSE_CONSUMER, command)
        self.close()

    def close(self) -> None:
        """Let go of timers and members; the cursor stays."""
        if self.dispatcher is not None:
            self._start = self.dispatcher.read_at
            self.dispatcher.close()
            self.dispatcher = None

    def consumed(self) -> int:
        """Messages delivered so far, redeliveries included."""
        return self.gone.messages + sum(c.out.messages for c in self.consumers)

    @property
    def consumed_ms(self) -> int:
        """When a message was delivered last, Unix ms; 0 for never since the start."""
        lasts = [self.gone.last_ns, *(c.out.last_ns for c in self.consumers)]
        return max(lasts) // 1_000_000

    def backlog(self) -> int:
        """Entries that are not acknowledged."""
        log, cursor = self.topic.log, self.cursor
        count = log.count_between(after(cursor.mark), log.end)
        for first, last in cursor.acked:
            count -= log.count_between(first, after(last))
        return max(count, 0)
