"""The broker without its sockets: topics, connections, and the settling of one turn's work.

Whatever comes in (frames of one read, a timer, a REST call) changes topics and subscriptions, which
only note that they have work. `settle` then does all of it at once: dispatch, cursors, one write
per connection. So a burst costs one system call per peer, and a single message waits for nothing.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wtp.broker.embedded.consumer import Traffic
from wtp.broker.embedded.frames import MAX_MESSAGE_BYTES
from wtp.broker.embedded.schemas import SchemaRegistry
from wtp.broker.embedded.store import Store
from wtp.broker.embedded.topic import Topic
from wtp.broker.embedded.watch import TopicWatchers
from wtp.broker.naming import TopicName, parse_topic
from wtp.errors import BrokerError, NotFound, StorageError

if TYPE_CHECKING:
    from wtp.broker.embedded.connection import Connection
    from wtp.broker.embedded.subscription import Subscription


_log = logging.getLogger(__name__)

RETRY_S = 1.0
"""Pause after the disk refused."""

DRAIN_S = 5.0
"""How long receipts may wait for the disk, and clients for their last bytes, at close."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What can be set about the binary protocol.

    Attributes:
        advertised: `pulsar://host:port` that LOOKUP answers; empty: the address the client reached.
        max_message_bytes: Largest message taken.
        keepalive_s: A silent client is pinged after that time and closed after twice that time.
        liveness_s: How long a client may take to answer when somebody else wants its place.
        failover_delay_s: Pause before a failover consumer takes over.
        max_connections: More are closed at once.
        high_water_bytes: Unsent bytes of a connection above which it gets no more messages.
    """

    advertised: str = ""
    max_message_bytes: int = MAX_MESSAGE_BYTES
    keepalive_s: float = 30.0
    liveness_s: float = 5.0
    failover_delay_s: float = 1.0
    max_connections: int = 2000
    high_water_bytes: int = 1024 * 1024


DISK_LOG_S = 10.0
"""Seconds between two log lines about a disk that takes nothing."""


class Core:
    """All topics of one broker.

    Args:
        store: The data folder.
        settings: Limits and times.
        clock: Monotonic seconds.

    Attributes:
        topics: The open topics by name.
        links: The connections.
        started: `time.monotonic()` when it began.
        grown: Topics whose subscriptions are dispatched when the caller settles (an ordered set).
        past: What arrived at topics that are closed now, so that counters never fall.
        past_out: What was delivered by them.
        past_duplicates: What they took for sent again.
    """

    def __init__(
        self,
        store: Store,
        settings: Settings | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.store = store
        self.settings = settings or Settings()
        self.clock = clock
        self.topics: dict[str, Topic] = {}
        self.links: set[Connection] = set()
        self.schemas = SchemaRegistry(store.folder)
        self.watchers = TopicWatchers(self)
        self.started = time.monotonic()
        self.past = Traffic()
        self.past_out = Traffic()
        self.past_duplicates = 0
        self.send_errors = 0
        self._said_disk = float("-inf")
        self._loop = asyncio.get_running_loop()
        self._boot = secrets.token_hex(4)
        self._names = 0
        self._woken: dict[Subscription, None] = {}
        self.grown: dict[Topic, None] = {}
        self._moved: dict[Subscription, None] = {}
        self._unsent: dict[Connection, None] = {}
        self._again = False
        self._tasks: set[asyncio.Task[None]] = set()

    def disk_refused(self, error: StorageError) -> None:
        """Log that messages cannot be kept, at most every ten seconds."""
        now = time.monotonic()
        if now - self._said_disk > DISK_LOG_S:
            self._said_disk = now
            _log.error("messages are refused: %s", error)

    def producer_name(self) -> str:
        """A name that no producer had before, in any run: de-duplication depends on it."""
        self._names += 1
        return f"wtp-{self._boot}-{self._names}"

    def wake(self, subscription: Subscription) -> None:
        """Dispatch a subscription when the broker settles."""
        self._woken[subscription] = None
        if not self._again:
            self._again = True
            self._loop.call_soon(self._settle_again)

    def cursor_changed(self, subscription: Subscription) -> None:
        """Write a cursor when the broker settles."""
        self._moved[subscription] = None

    def forget_cursor(self, subscription: Subscription) -> None:
        """A subscription is gone: write nothing more about it."""
        self._moved.pop(subscription, None)
        self._woken.pop(subscription, None)

    def to_send(self, link: Connection) -> None:
        """Write a connection's queue when the broker settles."""
        self._unsent[link] = None
        if not self._again:
            self._again = True
            self._loop.call_soon(self._settle_again)

    def settle(self) -> None:
        """Do what came up: dispatch, keep cursors, write to the sockets."""
        grown, self.grown = self.grown, {}
        woken, self._woken = self._woken, {}
        for topic in grown:
            for subscription in topic.subscriptions.values():
                woken[subscription] = None
        for subscription in woken:
            self._dispatch(subscription)
        for topic in grown:
            if topic.volatile:
                topic.log.clear()  # type: ignore[attr-defined]  # volatile means MemoryLog
        moved, self._moved = self._moved, {}
        for subscription in moved:
            self._save(subscription)
        unsent, self._unsent = self._unsent, {}
        for link in unsent:
            link.flush()

    def _dispatch(self, subscription: Subscription) -> None:
        try:
            subscription.dispatch()
        except StorageError:
            _log.exception("subscription %s cannot be served now", subscription.name)
            self.call_later(RETRY_S, subscription.wake)

    def _save(self, subscription: Subscription) -> None:
        try:
            subscription.save()
        except StorageError:
            _log.exception("the cursor of %s cannot be kept now", subscription.name)
            self.call_later(RETRY_S, subscription.changed)

    def _settle_again(self) -> None:
        self._again = False
        self.settle()

    def call_later(self, delay_s: float, action: Callable[[], None]) -> asyncio.TimerHandle:
        """Run something later, then settle."""

        def run() -> None:
            action()
            self.settle()

        return self._loop.call_later(delay_s, run)

    def own(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine that ends with the broker."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def check_namespace(self, name: TopicName) -> None:
        """Refuse topics of a namespace that does not exist.

        Raises:
            NotFound: code "no-namespace".
        """
        if not self.store.has_namespace(name.namespace_path):
            raise NotFound(
                f"Namespace not found: {name.namespace_path}.",
                hint="Create it first: PUT /admin/v2/namespaces/<tenant>/<namespace>.",
                code="no-namespace",
            )

    def exists(self, name: TopicName) -> bool:
        """Whether a topic exists, partitioned or not."""
        if str(name) in self.topics:
            return True
        if self.store.partitions(str(name)) > 0:
            return True
        return name.persistent and self.store.has_topic(str(name))

    def topic(self, text: str, *, create: bool = True) -> Topic:
        """Return an open topic; opened, and created when allowed.

        Raises:
            UsageError: Not a topic name.
            NotFound: No such namespace, or no such topic and `create` is False.
            BrokerError: code "refused": it is partitioned, name a partition.
        """
        name = parse_topic(text)
        found = self.topics.get(str(name))
        if found is not None:
            return found
        self.check_namespace(name)
        if not create and not self.exists(name):
            raise NotFound(f"Topic {name} not found.", hint="Create it, or check the name.")
        self._check_partition(name)
        fresh = not self.exists(name)
        topic = Topic(self, name)
        self.topics[topic.name] = topic
        if fresh:
            self.watchers.changed(name.namespace_path, topic.name)
        return topic

    def _check_partition(self, name: TopicName) -> None:
        count = self.store.partitions(str(name.whole))
        if name.partition < 0 and count > 0:
            raise BrokerError(
                f"Topic {name} is partitioned.",
                hint=f"Use {name}-partition-0 to -{count - 1}.",
                code="refused",
            )
        if 0 < count <= name.partition:
            raise NotFound(f"Topic {name.whole} has only {count} partitions.")

    def names(self, namespace: str, *, persistent: bool = True, volatile: bool = True) -> list[str]:
        """Names of the topics of a namespace, sorted, partitions one by one.

        Raises:
            NotFound: No such namespace.
        """
        if not self.store.has_namespace(namespace):
            raise NotFound(f"Namespace not found: {namespace}.", code="no-namespace")
        found = set(self.store.topics(namespace)) if persistent else set[str]()
        for topic in self.topics.values():
            wanted = volatile if topic.volatile else persistent
            if wanted and topic.topic_name.namespace_path == namespace:
                found.add(topic.name)
        if volatile:
            for whole in self.store.partitioned_topics(namespace, "non-persistent"):
                count = self.store.partitions(whole)
                found.update(str(parse_topic(whole).part(n)) for n in range(count))
        return sorted(found)

    def drop_topic(self, topic: Topic) -> None:
        """Close a topic: clients are told to come back, cursors are kept."""
        topic.disconnect()
        topic.save()
        for subscription in topic.subscriptions.values():
            self.forget_cursor(subscription)
        self.grown.pop(topic, None)
        self.topics.pop(topic.name, None)
        self.past.add(topic.arrived)
        for subscription in topic.subscriptions.values():
            self.past_out.add(subscription.gone)
        self.past_duplicates += topic.duplicates
        if topic.volatile:
            topic.log.close()
        else:
            self.store.close_topic(topic.name)

    def tick(self, seconds: float) -> None:
        """Compute rates and forget what is old; `seconds` since the last time."""
        for topic in self.topics.values():
            topic.arrived.tick(seconds)
            topic.forget_producers()
            for producer in topic.producers.live.values():
                producer.traffic.tick(seconds)
            for subscription in topic.subscriptions.values():
                for consumer in subscription.consumers:
                    consumer.out.tick(seconds)

    async def close(self) -> None:
        """Write receipts and cursors, then close all connections."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=DRAIN_S)
        self.settle()
        for topic in self.topics.values():
            topic.save()
        links = list(self.links)
        for link in links:
            link.finish()
        await asyncio.gather(*(link.wait_closed() for link in links))
        for task in self._tasks:
            task.cancel()
        for topic in self.topics.values():
            for subscription in topic.subscriptions.values():
                subscription.close()
