"""The data folder of the embedded broker."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wtp.broker.embedded.log import TopicLog
from wtp.broker.embedded.values import CursorState, FsyncPolicy, Position, Retention


class Store:
    """Namespaces, topics, cursors and producer sequences in one locked folder.

    Args:
        folder: Where everything lies; made when it does not exist.
        fsync: When data is forced to the disk.

    Attributes:
        damage: Sentences on what was found torn or damaged, with file and offset.
        folder: The folder.
        fsync: The policy.

    Raises:
        StorageError: The folder is locked by another broker, read-only, full or of another format.
    """

    def __init__(self, folder: Path, fsync: FsyncPolicy = FsyncPolicy.INTERVAL) -> None:
        self.folder = folder
        self.fsync = fsync
        self.damage: list[str] = []

    def tenants(self) -> list[str]:
        """Return the tenants, sorted; `public` exists from the start."""
        raise NotImplementedError

    def create_tenant(self, tenant: str) -> None:
        """Create a tenant; BrokerError code "exists"."""
        raise NotImplementedError

    def delete_tenant(self, tenant: str) -> None:
        """Delete an empty tenant; NotFound, BrokerError code "exists" with namespaces left."""
        raise NotImplementedError

    def has_namespace(self, namespace: str) -> bool:
        """Tell whether `tenant/name` exists."""
        raise NotImplementedError

    def namespaces(self, tenant: str) -> list[str]:
        """Return the namespaces (`tenant/name`) of a tenant, sorted; NotFound."""
        raise NotImplementedError

    def create_namespace(self, namespace: str, policies: Mapping[str, Any] | None = None) -> None:
        """Create a namespace; NotFound (tenant), BrokerError code "exists"."""
        raise NotImplementedError

    def delete_namespace(self, namespace: str) -> None:
        """Delete a namespace without topics; NotFound, BrokerError code "exists"."""
        raise NotImplementedError

    def policies(self, namespace: str) -> dict[str, Any]:
        """Return the policies that were set, in Pulsar's key names; NotFound."""
        raise NotImplementedError

    def set_policy(self, namespace: str, name: str, value: object) -> None:
        """Set one policy (None removes it): `retention_policies`, `deduplicationEnabled`, ..."""
        raise NotImplementedError

    def retention(self, topic: str) -> Retention:
        """Return what applies to a topic: its own policy, its namespace's, or the default."""
        raise NotImplementedError

    def deduplication(self, topic: str) -> bool:
        """Tell whether de-duplication applies to a topic (namespace policy, or the default)."""
        raise NotImplementedError

    def topic_policies(self, topic: str) -> dict[str, Any]:
        """Return the policies set on one topic; NotFound."""
        raise NotImplementedError

    def set_topic_policy(self, topic: str, name: str, value: object) -> None:
        """Set one policy of a topic (None removes it): `retention`; NotFound."""
        raise NotImplementedError

    def topics(self, namespace: str) -> list[str]:
        """Return the complete names of the persistent topics, partitions one by one; NotFound."""
        raise NotImplementedError

    def has_topic(self, name: str) -> bool:
        """Tell whether a persistent topic exists."""
        raise NotImplementedError

    def open_topic(self, name: str, create: bool = True) -> TopicLog:
        """Return the log of a persistent topic, the same object while it is open.

        Raises:
            NotFound: No such namespace, or no such topic and `create` is False.
            UsageError: The name is illegal or not persistent.
            StorageError: The disk refuses.
        """
        raise NotImplementedError

    def close_topic(self, name: str) -> None:
        """Close a topic's log (it may be opened again); nothing happens when it is not open."""
        raise NotImplementedError

    def delete_topic(self, name: str) -> None:
        """Delete a topic with its data, cursors and sequences; NotFound."""
        raise NotImplementedError

    def partitions(self, name: str) -> int:
        """Return the number of partitions of a topic (of either domain), 0 for not partitioned."""
        raise NotImplementedError

    def set_partitions(self, name: str, partitions: int) -> None:
        """Set the number of partitions (0 removes the entry); makes no partition; NotFound."""
        raise NotImplementedError

    def partitioned_topics(self, namespace: str, domain: str = "persistent") -> list[str]:
        """Return the names of the partitioned topics of a namespace; NotFound."""
        raise NotImplementedError

    def load_cursors(self, topic: str) -> dict[str, CursorState]:
        """Return the durable subscriptions of a topic by name."""
        raise NotImplementedError

    def save_cursor(self, topic: str, subscription: str, state: CursorState) -> None:
        """Keep a cursor. A new one and one that moved back are written before this returns.

        Others are written within 100 ms: kill -9 may repeat deliveries but loses none.
        """
        raise NotImplementedError

    def delete_cursor(self, topic: str, subscription: str) -> None:
        """Forget a cursor before this returns."""
        raise NotImplementedError

    def load_sequences(self, topic: str) -> dict[str, int]:
        """Return each producer's last sequence id that is in the log."""
        raise NotImplementedError

    def save_sequences(self, topic: str, sequences: Mapping[str, int], position: Position) -> None:
        """Offer a snapshot, true after the entry at `position`.

        Optional: it only makes the next `load_sequences` scan less. Call it at close and every
        few thousand entries.
        """
        raise NotImplementedError

    def sweep(self, now_ms: int | None = None) -> int:
        """Apply retention to all topics; call it every 10 s or so. Returns segments dropped."""
        raise NotImplementedError

    def close(self) -> None:
        """Write everything, force it to the disk (unless the policy is `never`) and unlock."""
        raise NotImplementedError
