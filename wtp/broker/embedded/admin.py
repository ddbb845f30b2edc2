"""The broker as the admin REST sees it: topics and subscriptions made, moved and counted."""

from __future__ import annotations

import time
from collections.abc import Mapping

from wtp.broker.embedded.core import Core
from wtp.broker.embedded.cursor import after
from wtp.broker.embedded.facade import Json
from wtp.broker.embedded.schemas import SchemaRegistry
from wtp.broker.embedded.stats import internal_stats, topic_stats
from wtp.broker.embedded.store import Store
from wtp.broker.embedded.subscription import Subscription
from wtp.broker.embedded.topic import Topic
from wtp.broker.embedded.values import CursorState, Entry, Position
from wtp.broker.naming import TopicName, parse_topic
from wtp.errors import BrokerError, NotFound


class Admin:
    """Implements `facade.Broker` on top of the core.

    Args:
        core: The broker.

    Attributes:
        binary: Host and port of the binary protocol, set once bound.
        http: Host and port of the REST side, set once bound.
    """

    def __init__(self, core: Core) -> None:
        self.core = core
        self.binary = ("", 0)
        self.http = ("", 0)

    @property
    def store(self) -> Store:
        """The data folder."""
        return self.core.store

    @property
    def schemas(self) -> SchemaRegistry:
        """The schemas of all topics."""
        return self.core.schemas

    def uptime_s(self) -> float:
        """Seconds since the broker began."""
        return time.monotonic() - self.core.started

    def binary_address(self) -> tuple[str, int]:
        """Host and port of the binary protocol."""
        return self.binary

    def http_address(self) -> tuple[str, int]:
        """Host and port of the REST side."""
        return self.http

    def counters(self) -> Mapping[str, float]:
        """Numbers for /metrics."""
        core = self.core
        topics = core.topics.values()
        consumers = [c for t in topics for s in t.subscriptions.values() for c in s.consumers]
        left = [s.gone for t in topics for s in t.subscriptions.values()]
        return {
            "connections": len(core.links),
            "topics": len(core.topics),
            "producers": sum(len(t.producers.live) for t in topics),
            "consumers": len(consumers),
            "messages_in_total": core.past.messages + sum(t.arrived.messages for t in topics),
            "bytes_in_total": core.past.size_bytes + sum(t.arrived.size_bytes for t in topics),
            "messages_out_total": core.past_out.messages
            + sum(c.out.messages for c in consumers)
            + sum(gone.messages for gone in left),
            "bytes_out_total": core.past_out.size_bytes
            + sum(c.out.size_bytes for c in consumers)
            + sum(gone.size_bytes for gone in left),
            "send_errors_total": core.send_errors,
            "duplicates_total": core.past_duplicates + sum(t.duplicates for t in topics),
        }

    def topics(self, namespace: str, domain: str) -> list[str]:
        """Names of the topics of a namespace; NotFound."""
        persistent = domain == "persistent"
        return self.core.names(namespace, persistent=persistent, volatile=not persistent)

    async def create_topic(self, name: str) -> None:
        """Create a topic that is not partitioned; NotFound, "exists"."""
        parsed = self._new(name)
        self.core.topic(str(parsed))
        self.core.settle()

    async def create_partitioned(self, name: str, partitions: int) -> None:
        """Create a partitioned topic and its partitions; NotFound, "exists"."""
        parsed = self._new(name)
        if parsed.partition >= 0 or partitions < 1:
            raise BrokerError(
                f"{name} cannot have {partitions} partitions.",
                hint="Name a whole topic and at least one partition.",
                code="refused",
            )
        self.store.set_partitions(str(parsed), partitions)
        self._open_partitions(parsed, 0, partitions)

    def _new(self, name: str) -> TopicName:
        parsed = parse_topic(name)
        self.core.check_namespace(parsed)
        if self.core.exists(parsed):
            raise BrokerError(
                "This topic already exists", hint="Use it, or another name.", code="exists"
            )
        return parsed

    def _open_partitions(self, name: TopicName, first: int, count: int) -> None:
        for number in range(first, count):
            if name.persistent:
                self.core.topic(str(name.part(number)))
        self.core.settle()

    async def update_partitions(self, name: str, partitions: int) -> None:
        """Raise the number of partitions; NotFound, "refused"."""
        parsed = parse_topic(name)
        count = self.store.partitions(str(parsed))
        if count == 0:
            raise NotFound(f"Partitioned topic {name} not found.", hint="Create it first.")
        if partitions < count:
            raise BrokerError(
                f"{name} has {count} partitions already.",
                hint="The number of partitions can only grow.",
                code="refused",
            )
        self.store.set_partitions(str(parsed), partitions)
        self._open_partitions(parsed, count, partitions)

    async def delete_topic(self, name: str, *, force: bool) -> None:
        """Delete a topic with its cursors; NotFound, "in-use"."""
        parsed = parse_topic(name)
        if self.store.partitions(str(parsed)) > 0:
            raise BrokerError(
                f"{name} is partitioned.", hint="Delete the partitioned topic.", code="refused"
            )
        topic = self._existing(name)
        topic.check_not_busy(force=force)
        self._delete(topic)

    async def delete_partitioned(self, name: str, *, force: bool) -> None:
        """Delete a partitioned topic with all partitions; NotFound, "in-use"."""
        parsed = parse_topic(name)
        count = self.store.partitions(str(parsed))
        if count == 0:
            raise NotFound(f"Partitioned topic {name} not found.", hint="Check the name.")
        parts = [parsed.part(number) for number in range(count)]
        topics = [self.core.topic(str(p)) for p in parts if self.core.exists(p)]
        for topic in topics:
            topic.check_not_busy(force=force)
        for topic in topics:
            self._delete(topic)
        self.store.set_partitions(str(parsed), 0)
        self.core.schemas.forget(str(parsed))

    def _delete(self, topic: Topic) -> None:
        for subscription in list(topic.subscriptions.values()):
            subscription.disconnect()
            topic.drop_subscription(subscription)
        self.core.drop_topic(topic)
        if not topic.volatile:
            self.store.delete_topic(topic.name)
        if topic.partition < 0:
            self.core.schemas.forget(topic.name)
        self.core.watchers.changed(topic.topic_name.namespace_path, topic.name, deleted=True)
        self.core.settle()

    async def unload_topic(self, name: str) -> None:
        """Close a topic and tell its clients to come back; NotFound."""
        self.core.drop_topic(self._existing(name))
        self.core.settle()

    async def delete_namespace(self, namespace: str, *, force: bool) -> None:
        """Delete a namespace; NotFound, "exists"."""
        names = self.core.names(namespace)
        wholes = [
            whole
            for domain in ("persistent", "non-persistent")
            for whole in self.store.partitioned_topics(namespace, domain)
        ]
        if (names or wholes) and not force:
            raise BrokerError(
                f"Namespace {namespace} still has topics.",
                hint="Delete them first, or force the deletion.",
                code="exists",
            )
        for whole in wholes:
            await self.delete_partitioned(whole, force=True)
        for name in self.core.names(namespace):
            await self.delete_topic(name, force=True)
        self.store.delete_namespace(namespace)

    async def policies_changed(self, namespace: str) -> None:
        """Let the live topics take over new policies."""
        for topic in self.core.topics.values():
            if topic.topic_name.namespace_path == namespace:
                topic.update_policies()

    def stats(self, name: str) -> Json:
        """Statistics of one topic; NotFound."""
        host, port = self.binary
        return topic_stats(self._existing(name), f"{host}:{port}")

    def internal_stats(self, name: str) -> Json:
        """What lies on the disk for a persistent topic; NotFound."""
        return internal_stats(self._existing(name))

    def subscriptions(self, name: str) -> list[str]:
        """Names of the subscriptions of a topic; NotFound."""
        return sorted(self._existing(name).subscriptions)

    async def create_subscription(
        self, name: str, subscription: str, start: Position, properties: Mapping[str, str]
    ) -> None:
        """Create a durable subscription; NotFound (namespace), "exists"."""
        topic = self.core.topic(name)
        if subscription in topic.subscriptions:
            raise BrokerError(
                "Subscription already exists for topic", hint="Reset it instead.", code="exists"
            )
        fresh = topic.subscribe(subscription, start, durable=True)
        state = fresh.cursor.state()
        fresh.cursor.properties = CursorState(state.mark_delete, (), properties).properties
        fresh.save()

    async def delete_subscription(self, name: str, subscription: str, *, force: bool) -> None:
        """Delete a subscription; NotFound, "in-use"."""
        found = self._subscription(name, subscription)
        if found.consumers and not force:
            raise BrokerError(
                "Subscription has active connected consumers",
                hint="Close them, or force the deletion.",
                code="in-use",
            )
        found.disconnect()
        found.topic.drop_subscription(found)
        self.core.settle()

    async def reset_cursor(self, name: str, subscription: str, target: Position | int) -> Position:
        """Move a subscription to a position or a publish time; NotFound."""
        found = self._subscription(name, subscription)
        log = found.topic.log
        place = target if isinstance(target, Position) else log.seek_time(target)
        start = min(max(place, log.first), log.end)
        found.seek(start)
        self.core.settle()
        return start

    async def skip(self, name: str, subscription: str, entries: int | None) -> None:
        """Acknowledge the next entries of the backlog, or all of it; NotFound."""
        found = self._subscription(name, subscription)
        last = found.topic.log.last
        if entries is None:
            if last is not None:
                found.ack_up_to(last)
        else:
            for position in self._backlog(found, entries):
                found.ack_up_to(position)
        self.core.settle()

    async def peek(self, name: str, subscription: str, nth: int) -> Entry:
        """Return the nth entry (from 1) of a subscription's backlog; NotFound."""
        found = self._subscription(name, subscription)
        places = self._backlog(found, nth)
        if nth < 1 or len(places) < nth:
            raise NotFound("Message not found", hint="The backlog is shorter than that.")
        return found.topic.log.read(places[-1], 1, 1)[0]

    def _backlog(self, subscription: Subscription, count: int) -> list[Position]:
        """Positions of the first `count` entries that are not acknowledged."""
        log, cursor = subscription.topic.log, subscription.cursor
        found: list[Position] = []
        place = after(cursor.mark)
        while len(found) < count:
            entries = log.read(place, 256, 1 << 20)
            if not entries:
                break
            found += [e.position for e in entries if not cursor.is_acked(e.position)]
            place = after(entries[-1].position)
        return found[:count]

    def _existing(self, name: str) -> Topic:
        return self.core.topic(name, create=False)

    def _subscription(self, name: str, subscription: str) -> Subscription:
        found = self._existing(name).subscriptions.get(subscription)
        if found is None:
            raise NotFound("Subscription not found", hint="Check its name, or create it.")
        return found
