"""A broker without a protocol: a real data folder behind the facade that REST sees."""

from __future__ import annotations

from collections.abc import Mapping

from wtp.broker.embedded.facade import Json
from wtp.broker.embedded.schemas import SchemaRegistry
from wtp.broker.embedded.store import Store
from wtp.broker.embedded.values import CursorState, Entry, Position
from wtp.broker.naming import parse_topic
from wtp.errors import BrokerError, NotFound


class FakeBroker:
    """Implements `facade.Broker`; `busy` holds topics and subscriptions with live clients."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.busy: set[str] = set()
        self.changed: list[str] = []
        self.resets: list[tuple[str, str, Position | int]] = []
        self.skips: list[tuple[str, str, int | None]] = []
        self.unloaded: list[str] = []
        self.volatile: list[str] = []
        self.schemas = SchemaRegistry(store.folder)

    def uptime_s(self) -> float:
        return 12.5

    def binary_address(self) -> tuple[str, int]:
        return "127.0.0.1", 6650

    def http_address(self) -> tuple[str, int]:
        return "::1", 8080

    def counters(self) -> Mapping[str, float]:
        return {"connections": 2, "messages_in_total": 40}

    def topics(self, namespace: str, domain: str) -> list[str]:
        stored = self.store.topics(namespace)
        return stored if domain == "persistent" else list(self.volatile)

    async def create_topic(self, name: str) -> None:
        if self.store.has_topic(name) or self.store.partitions(name):
            raise BrokerError("This topic already exists", code="exists")
        self.store.open_topic(name)

    async def create_partitioned(self, name: str, partitions: int) -> None:
        if self.store.has_topic(name) or self.store.partitions(name):
            raise BrokerError("This topic already exists", code="exists")
        self.store.set_partitions(name, partitions)
        for number in range(partitions):
            self.store.open_topic(str(parse_topic(name).part(number)))

    async def update_partitions(self, name: str, partitions: int) -> None:
        if partitions < self.store.partitions(name):
            raise BrokerError("It can only grow", code="refused")
        self.store.set_partitions(name, partitions)

    async def delete_topic(self, name: str, *, force: bool) -> None:
        self._check(name, name, force)
        self.store.delete_topic(name)

    async def delete_partitioned(self, name: str, *, force: bool) -> None:
        for number in range(self.store.partitions(name)):
            await self.delete_topic(str(parse_topic(name).part(number)), force=force)
        self.store.set_partitions(name, 0)

    async def unload_topic(self, name: str) -> None:
        self.store.load_cursors(name)
        self.unloaded.append(name)

    async def delete_namespace(self, namespace: str, *, force: bool) -> None:
        for name in self.store.topics(namespace) if force else ():
            self.store.delete_topic(name)
        self.store.delete_namespace(namespace)

    async def policies_changed(self, namespace: str) -> None:
        self.changed.append(namespace)

    def stats(self, name: str) -> Json:
        log = self.store.open_topic(name, create=False)
        subscriptions = {
            sub: {"type": "Shared", "msgBacklog": 1, "consumers": [{"consumerName": name[-1]}]}
            for sub in self.store.load_cursors(name)
        }
        return {
            "msgInCounter": log.entries,
            "bytesInCounter": log.entries * 10,
            "averageMsgSize": 10.0,
            "publishers": [{"producerName": f"p{name[-1]}"}],
            "subscriptions": subscriptions,
            "ownerBroker": "127.0.0.1",
            "isDurable": True,
        }

    def internal_stats(self, name: str) -> Json:
        return {"numberOfEntries": self.store.open_topic(name, create=False).entries}

    def subscriptions(self, name: str) -> list[str]:
        return sorted(self.store.load_cursors(name))

    async def create_subscription(
        self, name: str, subscription: str, start: Position, properties: Mapping[str, str]
    ) -> None:
        log = self.store.open_topic(name)
        if subscription in self.store.load_cursors(name):
            raise BrokerError("Subscription already exists for topic", code="exists")
        mark = log.previous_position(start)
        self.store.save_cursor(name, subscription, CursorState(mark, (), properties))

    async def delete_subscription(self, name: str, subscription: str, *, force: bool) -> None:
        self._subscription(name, subscription)
        self._check(name, subscription, force)
        self.store.delete_cursor(name, subscription)

    async def reset_cursor(self, name: str, subscription: str, target: Position | int) -> Position:
        self._subscription(name, subscription)
        self.resets.append((name, subscription, target))
        return Position(0, 0)

    async def skip(self, name: str, subscription: str, entries: int | None) -> None:
        self._subscription(name, subscription)
        self.skips.append((name, subscription, entries))

    async def peek(self, name: str, subscription: str, nth: int) -> Entry:
        at = self._subscription(name, subscription).mark_delete
        log = self.store.open_topic(name)
        found = log.read(log.next_position(at), nth, 1 << 20)
        if len(found) < nth:
            raise NotFound("Message not found")
        return found[nth - 1]

    def _subscription(self, name: str, subscription: str) -> CursorState:
        found = self.store.load_cursors(name).get(subscription)
        if found is None:
            raise NotFound("Subscription not found")
        return found

    def _check(self, name: str, what: str, force: bool) -> None:
        self.store.load_cursors(name)
        if what in self.busy and not force:
            raise BrokerError(f"{what} has active clients", code="in-use")
