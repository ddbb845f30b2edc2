"""One topic partition: what is published goes to its log, once, and wakes its subscriptions."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from wtp.broker.embedded.answers import ProducerSuccess
from wtp.broker.embedded.consumer import Traffic
from wtp.broker.embedded.cursor import after, before
from wtp.broker.embedded.log import TopicLog
from wtp.broker.embedded.memory import ProducerMemory
from wtp.broker.embedded.memorylog import MemoryLog
from wtp.broker.embedded.metadata import publish_time, read_metadata
from wtp.broker.embedded.numbers import Cmd
from wtp.broker.embedded.producers import ProducerSet, TopicProducer
from wtp.broker.embedded.subscription import Subscription
from wtp.broker.embedded.values import CursorState, Entry, FsyncPolicy, Position
from wtp.broker.naming import TopicName
from wtp.errors import BrokerError, StorageError

if TYPE_CHECKING:
    from wtp.broker.embedded.core import Core
    from wtp.broker.embedded.hotpath import SendHead

CLOCK_SKEW_MS = 600_000
"""A publish time further back than that, or in the future, is not trusted: the broker's counts."""

SNAPSHOT_ENTRIES = 5000
"""Entries between two snapshots of the producers' sequence ids."""

Receipt = Callable[[StorageError | None], None]


class Topic:
    """A topic, or a partition of one.

    Args:
        core: The broker it belongs to.
        name: Its name.

    Attributes:
        log: Its entries.
        volatile: Nothing is stored (non-persistent).
        subscriptions: By name.
        producers: Who may publish.
        memory: Last sequence id of each producer; empty without de-duplication.
        dedup: Whether sent-again messages are recognised.
    """

    def __init__(self, core: Core, name: TopicName) -> None:
        self.core = core
        self.topic_name = name
        self.name = str(name)
        self.partition = name.partition
        self.volatile = not name.persistent
        self.log: TopicLog = (
            MemoryLog(self.name) if self.volatile else core.store.open_topic(self.name)
        )
        self.subscriptions: dict[str, Subscription] = {}
        self.producers = ProducerSet(self.name)
        self.memory = ProducerMemory({}, core.clock())
        self.dedup = False
        self.arrived = Traffic()
        self.duplicates = 0
        self._since_snapshot = 0
        self._waits = not self.volatile and core.store.fsync is FsyncPolicy.ALWAYS
        self._visible = self.log.end
        self._pending: deque[tuple[Position, Receipt]] = deque()
        self._syncing = False
        self.update_policies()
        if not self.volatile:
            for sub_name, state in core.store.load_cursors(self.name).items():
                self.subscriptions[sub_name] = Subscription(self, sub_name, state, durable=True)

    def update_policies(self) -> None:
        """Take over the namespace's policies."""
        wanted = not self.volatile and self.core.store.deduplication(self.name)
        if wanted and not self.dedup:
            self.memory = self._remember(self.core.store.load_sequences(self.name))
        elif not wanted:
            self.memory = self._remember({})
        self.dedup = wanted

    def last_sequence(self, producer_name: str) -> int:
        """The producer's last sequence id that is stored, -1 when not known."""
        return self.memory.last.get(producer_name, -1)

    def _remember(self, known: Mapping[str, int]) -> ProducerMemory:
        memory = ProducerMemory(known, self.core.clock())
        for name in self.producers.live:
            memory.came(name)
        return memory

    def forget_producers(self) -> None:
        """Drop the sequence ids of producers that have not been here for long."""
        self.memory.forget(self.core.clock())

    def publish(self, producer: TopicProducer, head: SendHead, blob: bytes) -> Position | None:
        """Store a message.

        Args:
            producer: Who sent it.
            head: The SEND command.
            blob: What came with it, checksum verified.

        Returns:
            Its position, or None when it is stored already.

        Raises:
            WireError: The blob has no metadata.
            StorageError: The disk refuses.
        """
        published = publish_time(blob)
        _, sequence, messages, highest, is_chunk, _ = head
        counts = True
        if self.dedup:
            if sequence <= self.memory.last.get(producer.name, -1):
                self.duplicates += 1
                return None
            if is_chunk:
                meta = read_metadata(blob)
                counts = (meta.chunk_id or 0) + 1 >= (meta.num_chunks or 1)
        now = time.time_ns() // 1_000_000
        if not now - CLOCK_SKEW_MS <= published <= now:
            published = now
        position = self.log.append(blob, published, messages)
        if self.dedup and counts:
            self.memory.last[producer.name] = highest if highest > sequence else sequence
        size = len(blob)
        arrived, sent = self.arrived, producer.traffic
        arrived.messages += messages
        arrived.size_bytes += size
        sent.messages += messages
        sent.size_bytes += size
        if not self._waits:
            self.core.grown[self] = None
        self._since_snapshot += 1
        if self._since_snapshot >= SNAPSHOT_ENTRIES:
            self.save_sequences()
        return position

    def save_sequences(self) -> None:
        """Offer the store a snapshot of the sequence ids."""
        self._since_snapshot = 0
        if self.dedup and self.log.last is not None:
            self.core.store.save_sequences(self.name, self.memory.last, self.log.last)

    @property
    def waits(self) -> bool:
        """Whether a receipt has to wait for the disk."""
        return self._waits

    def when_durable(self, position: Position, receipt: Receipt) -> None:
        """Call `receipt` once the entry may be acknowledged (fsync policy `always`), in order."""
        self._pending.append((position, receipt))
        if not self._syncing:
            self._syncing = True
            self.core.own(self._sync())

    async def _sync(self) -> None:
        try:
            while self._pending:
                position = self._pending[-1][0]
                error: StorageError | None = None
                try:
                    await self.log.durable(position)
                    self._visible = max(self._visible, after(position))
                except StorageError as failure:
                    error = failure
                while self._pending and self._pending[0][0] <= position:
                    self._pending.popleft()[1](error)
                self.core.grown[self] = None
                self.core.settle()
        finally:
            self._syncing = False

    def read(self, position: Position, max_entries: int, max_bytes: int) -> list[Entry]:
        """Entries that consumers may see: those that were, or may be, acknowledged."""
        entries = self.log.read(position, max_entries, max_bytes)
        if self._waits:
            return [entry for entry in entries if entry.position < self._visible]
        return entries

    def add_producer(self, producer: TopicProducer) -> None:
        """Let a producer in; see `ProducerSet.add`."""
        self.producers.add(producer)
        self.memory.came(producer.name)

    def remove_producer(self, producer: TopicProducer) -> None:
        """Let a producer go, and the next waiting one in."""
        heir = self.producers.remove(producer)
        if producer.name not in self.producers.live:
            self.memory.left(producer.name, self.core.clock())
        if heir is not None:
            success = ProducerSuccess(
                heir.request_id,
                heir.name,
                last_sequence_id=self.last_sequence(heir.name),
                schema_version=b"",
                topic_epoch=heir.topic_epoch,
                ready=True,
            )
            heir.link.answer(Cmd.PRODUCER_SUCCESS, success)

    def subscribe(self, name: str, start: Position, *, durable: bool) -> Subscription:
        """Return a subscription; a new one begins at `start`."""
        found = self.subscriptions.get(name)
        if found is not None:
            return found
        start = min(max(start, self.log.first), self.log.end)
        state = CursorState(before(start))
        durable = durable and not self.volatile
        found = Subscription(self, name, state, durable=durable)
        self.subscriptions[name] = found
        found.save()
        return found

    def drop_subscription(self, subscription: Subscription) -> None:
        """Forget a subscription; its consumers are gone or were told."""
        if self.subscriptions.get(subscription.name) is not subscription:
            return
        subscription.close()
        del self.subscriptions[subscription.name]
        self.core.past_out.add(subscription.gone)
        self.core.forget_cursor(subscription)
        if subscription.durable:
            self.core.store.delete_cursor(self.name, subscription.name)

    @property
    def busy(self) -> bool:
        """Whether producers or consumers are connected."""
        live = bool(self.producers.live or self.producers.waiting)
        return live or any(s.consumers for s in self.subscriptions.values())

    def disconnect(self) -> None:
        """Tell all clients to look the topic up again."""
        for producer in (*self.producers.live.values(), *self.producers.waiting):
            producer.fenced = True
            producer.link.forget_producer(producer.producer_id)
        self.producers = ProducerSet(self.name)
        for subscription in list(self.subscriptions.values()):
            subscription.disconnect()
            if not subscription.durable:
                self.drop_subscription(subscription)

    def save(self) -> None:
        """Write cursors and sequence ids to the store."""
        if not self.volatile:
            for subscription in self.subscriptions.values():
                subscription.save()
            self.save_sequences()

    def check_not_busy(self, *, force: bool) -> None:
        """Refuse to be deleted under live clients.

        Raises:
            BrokerError: code "in-use", unless forced.
        """
        if self.busy and not force:
            raise BrokerError(
                f"Topic {self.name!r} has live producers or consumers.",
                hint="Close them, or force the deletion.",
                code="in-use",
            )
