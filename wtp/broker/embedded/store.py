"""The data folder of the embedded broker.

    lock, FORMAT                          one broker, one format
    ledgers.json                          ledger ids up to this number may have been given out
    registry.json                         tenants, namespaces, policies, partition counts
    topics/TENANT/NAMESPACE/TOPIC/        *.seg *.idx topic.json cursors.json sequences.json

Each call runs on the event loop's thread. One thread beside it writes moved cursors within 100 ms
and forces logs to the disk once a second (policy `interval`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wtp.broker.embedded.appender import SEGMENT_BYTES, LogOptions
from wtp.broker.embedded.files import read_json, write_json
from wtp.broker.embedded.folderlock import FolderLock
from wtp.broker.embedded.log import TopicLog
from wtp.broker.embedded.recovery import ledger_in_name
from wtp.broker.embedded.registry import (
    DEFAULT_RETENTION,
    Registry,
    check_policy,
    read_retention,
)
from wtp.broker.embedded.topicfolder import TopicFolder, find_topics, folder_name
from wtp.broker.embedded.values import CursorState, FsyncPolicy, Position, Retention
from wtp.broker.embedded.writebehind import WriteBehind
from wtp.broker.naming import TopicName, parse_topic
from wtp.errors import BrokerError, NotFound, StorageError, UsageError

CLOSED_SWEEP_MS = 60_000
"""Topics whose log is closed are swept this often."""

LEDGER_BLOCK = 1000
"""Ledger ids reserved with one write."""

MAX_DAMAGE = 1000
"""Sentences on damage that are kept."""


class Store:
    """Namespaces, topics, cursors and producer sequences in one locked folder.

    Args:
        folder: Where everything lies; made when it does not exist.
        fsync: When data is forced to the disk.
        segment_bytes: Size at which a log begins another file.

    Attributes:
        damage: Sentences on what was found torn or damaged, with file and offset.
        folder: The folder.
        fsync: The policy.

    Raises:
        StorageError: The folder is locked by another broker, read-only, full or of another format.
    """

    def __init__(
        self,
        folder: Path,
        fsync: FsyncPolicy = FsyncPolicy.INTERVAL,
        *,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        self.folder = folder
        self.fsync = fsync
        self.damage: list[str] = []
        self._lock = FolderLock(folder)
        try:
            self._load(segment_bytes)
        except BaseException:
            self._lock.release()
            raise
        self._beside = WriteBehind(self._all, fsync, self._report)
        self._closed = False

    def _load(self, segment_bytes: int) -> None:
        self._sync = self.fsync is not FsyncPolicy.NEVER
        options = LogOptions(
            self.fsync,
            self._new_ledger,
            segment_bytes,
            report=self._report,
            out_of_files=self._close_idle_files,
            before_drop=self._before_drop,
        )
        self._options = options
        self._root = self.folder / "topics"
        self._closed_swept_ms = 0
        found = list(find_topics(self._root, self._report))
        self._registry = Registry(
            self.folder / "registry.json",
            sync=self._sync,
            report=self._report,
            names=[name for name, _ in found],
        )
        self._next_ledger = self._reserved = self._first_ledger()
        self._topics: dict[str, TopicFolder] = {}
        for name, path in found:
            topic = self._topics[name] = TopicFolder(name, path, options)
            topic.open_log()

    def announce(self, addresses: dict[str, str]) -> None:
        """Write where this broker answers into the lock file (see `folderlock.holder`)."""
        self._lock.announce(addresses)

    # Tenants and namespaces

    def tenants(self) -> list[str]:
        """Return the tenants, sorted; `public` exists from the start."""
        return self._registry.tenants()

    def create_tenant(self, tenant: str) -> None:
        """Create a tenant; BrokerError code "exists"."""
        self._registry.create_tenant(tenant)

    def delete_tenant(self, tenant: str) -> None:
        """Delete an empty tenant; NotFound, BrokerError code "exists" with namespaces left."""
        self._registry.delete_tenant(tenant)

    def has_namespace(self, namespace: str) -> bool:
        """Tell whether `tenant/name` exists."""
        return self._registry.has(namespace)

    def namespaces(self, tenant: str) -> list[str]:
        """Return the namespaces (`tenant/name`) of a tenant, sorted; NotFound."""
        return self._registry.namespaces(tenant)

    def create_namespace(self, namespace: str, policies: Mapping[str, Any] | None = None) -> None:
        """Create a namespace; NotFound (tenant), BrokerError code "exists"."""
        self._registry.create(namespace, policies)

    def delete_namespace(self, namespace: str) -> None:
        """Delete a namespace without topics; NotFound, BrokerError code "exists"."""
        if self.topics(namespace):
            raise BrokerError(
                f"Namespace {namespace} still has topics.", hint="Delete them first.", code="exists"
            )
        self._registry.delete(namespace)

    def policies(self, namespace: str) -> dict[str, Any]:
        """Return the policies that were set, in Pulsar's key names; NotFound."""
        return dict(self._registry.check(namespace))

    def set_policy(self, namespace: str, name: str, value: object) -> None:
        """Set one policy (None removes it): `retention_policies`, `deduplicationEnabled`, ...

        Raises:
            NotFound: No such namespace.
            UsageError: A value that cannot be.
        """
        self._registry.set_policy(namespace, name, value)

    def retention(self, topic: str) -> Retention:
        """Return what applies to a topic: its own policy, its namespace's, or the default."""
        found = self._topics.get(topic)
        own = found.policies.get("retention") if found else None
        namespace = self._registry.check(parse_topic(topic).namespace_path)
        value = own or namespace.get("retention_policies")
        return read_retention(value) if value else DEFAULT_RETENTION

    def deduplication(self, topic: str) -> bool:
        """Tell whether de-duplication applies to a topic (namespace policy; on by default)."""
        namespace = parse_topic(topic).namespace_path
        return bool(self._registry.check(namespace).get("deduplicationEnabled", True))

    # Topics

    def topic_policies(self, topic: str) -> dict[str, Any]:
        """Return the policies set on one topic; NotFound."""
        return dict(self._topic(topic).policies)

    def set_topic_policy(self, topic: str, name: str, value: object) -> None:
        """Set one policy of a topic (None removes it): `retention`; NotFound, UsageError."""
        check_policy(name, value)
        self._topic(topic).set_policy(name, value)

    def topics(self, namespace: str) -> list[str]:
        """Return the complete names of the persistent topics, partitions one by one; NotFound."""
        self._registry.check(namespace)
        prefix = f"persistent://{namespace}/"
        return sorted(name for name in self._topics if name.startswith(prefix))

    def has_topic(self, name: str) -> bool:
        """Tell whether a persistent topic exists."""
        return name in self._topics

    def sizes(self) -> dict[str, tuple[int, int]]:
        """Return entries and bytes of each topic whose log is open."""
        logs = [topic.log for topic in self._all() if topic.log is not None]
        return {log.name: (log.entries, log.size_bytes) for log in logs}

    def open_topic(self, name: str, create: bool = True) -> TopicLog:
        """Return the log of a persistent topic, the same object while it is open.

        Raises:
            NotFound: No such namespace, or no such topic and `create` is False.
            UsageError: The name is illegal or not persistent.
            StorageError: The disk refuses.
        """
        found = self._topics.get(name)
        if found is None:
            topic = _persistent(name)
            self._registry.check(topic.namespace_path)
            if not create:
                raise _no_topic(name)
            path = self._root / topic.tenant / topic.namespace / folder_name(topic.local)
            found = TopicFolder.create(name, path, self._options)
            self._topics[name] = found
        return found.open_log()

    def close_topic(self, name: str) -> None:
        """Close a topic's log (it may be opened again); nothing happens when it is not open."""
        found = self._topics.get(name)
        if found is not None:
            found.close()

    def delete_topic(self, name: str) -> None:
        """Delete a topic with its data, cursors and sequences; NotFound."""
        self._topic(name).delete()
        del self._topics[name]

    def partitions(self, name: str) -> int:
        """Return the number of partitions of a topic (of either domain), 0 for not partitioned."""
        return self._registry.partitions(name)

    def set_partitions(self, name: str, partitions: int) -> None:
        """Set the number of partitions (0 removes the entry); makes no partition; NotFound."""
        self._registry.set_partitions(name, partitions)

    def partitioned_topics(self, namespace: str, domain: str = "persistent") -> list[str]:
        """Return the names of the partitioned topics of a namespace; NotFound."""
        return self._registry.partitioned(namespace, domain)

    # Cursors and sequences

    def load_cursors(self, topic: str) -> dict[str, CursorState]:
        """Return the durable subscriptions of a topic by name."""
        return self._topic(topic).cursors.load()

    def save_cursor(self, topic: str, subscription: str, state: CursorState) -> None:
        """Keep a cursor. A new one and one that moved back are written before this returns.

        Others are written within 100 ms: kill -9 may repeat deliveries but loses none.

        Raises:
            NotFound: No such topic.
            StorageError: It had to be written at once, and the disk refuses.
        """
        if self._topic(topic).cursors.save(subscription, state):
            self._beside.wake()

    def delete_cursor(self, topic: str, subscription: str) -> None:
        """Forget a cursor before this returns; NotFound (topic)."""
        self._topic(topic).cursors.delete(subscription)

    def load_sequences(self, topic: str) -> dict[str, int]:
        """Return each producer's last sequence id that is in the log."""
        found = self._topic(topic)
        return found.sequences.load(found.open_log())

    def save_sequences(self, topic: str, sequences: Mapping[str, int], position: Position) -> None:
        """Offer a snapshot, true after the entry at `position`.

        Optional: it only makes the next `load_sequences` scan less. Call it at close and every
        few thousand entries.
        """
        if self._topic(topic).sequences.offer(sequences, position):
            self._beside.wake()

    # Upkeep

    def sweep(self, now_ms: int | None = None) -> int:
        """Apply retention to all topics; call it every 10 s or so. Returns segments dropped.

        Args:
            now_ms: Unix time in milliseconds; the system's when None.
        """
        now_ms = time.time_ns() // 1_000_000 if now_ms is None else now_ms
        closed_too = now_ms - self._closed_swept_ms >= CLOSED_SWEEP_MS
        if closed_too:
            self._closed_swept_ms = now_ms
        dropped = 0
        for topic in self._all():
            if topic.log is None and not closed_too:
                continue
            try:
                dropped += self._trim(topic, now_ms)
            except StorageError as error:
                self._report(str(error))
        return dropped

    def close(self) -> None:
        """Write everything, force it to the disk (unless the policy is `never`) and unlock.

        Raises:
            StorageError: Something could not be written; the folder is unlocked nevertheless.
        """
        if self._closed:
            return
        self._closed = True
        self._beside.close()
        failures = []
        for topic in self._all():
            try:
                topic.close()
            except StorageError as error:
                failures.append(error)
        self._lock.release()
        if failures:
            raise failures[0]

    def _trim(self, topic: TopicFolder, now_ms: int) -> int:
        was_open = topic.log is not None
        log = topic.open_log()
        retention = self.retention(topic.name)
        keep_from = min(map(log.next_position, topic.cursors.marks()), default=None)
        seconds = retention.minutes * 60 if retention.minutes >= 0 else -1
        size = retention.megabytes * 1024 * 1024 if retention.megabytes >= 0 else -1
        dropped = log.trim(now_ms, seconds, size, keep_from)
        log.idle()
        if not was_open:
            topic.close()
        return dropped

    def _before_drop(self, name: str, stays: Position) -> None:
        topic = self._topics[name]
        if topic.log is not None and (topic.sequences.used or self.deduplication(name)):
            topic.sequences.cover(topic.log, stays)

    def _close_idle_files(self) -> None:
        for topic in self._all():
            if topic.log is not None:
                topic.log.idle(force=True)

    def _all(self) -> list[TopicFolder]:
        return list(self._topics.values())

    def _topic(self, name: str) -> TopicFolder:
        found = self._topics.get(name)
        if found is None:
            _persistent(name)
            raise _no_topic(name)
        return found

    def _first_ledger(self) -> int:
        reserved = read_json(self.folder / "ledgers.json", self._report)
        if reserved is not None:
            return int(reserved)
        return 1 + max(map(ledger_in_name, self._root.glob("*/*/*/*.seg")), default=0)

    def _new_ledger(self, newest: int) -> int:
        ledger = max(self._next_ledger, newest + 1)
        if ledger >= self._reserved:
            reserved = ledger + LEDGER_BLOCK
            write_json(self.folder / "ledgers.json", reserved, sync=self._sync)
            self._reserved = reserved
        self._next_ledger = ledger + 1
        return ledger

    def _report(self, sentence: str) -> None:
        if sentence not in self.damage and len(self.damage) < MAX_DAMAGE:
            self.damage.append(sentence)


def _persistent(name: str) -> TopicName:
    topic = parse_topic(name)
    if not topic.persistent or str(topic) != name:
        raise UsageError(
            f"{name} is not the complete name of a persistent topic.",
            hint="Write persistent://tenant/namespace/topic.",
        )
    return topic


def _no_topic(name: str) -> NotFound:
    return NotFound(f"Topic {name} does not exist.", hint="Create it, or check the name.")
