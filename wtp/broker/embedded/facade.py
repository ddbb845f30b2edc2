"""What the admin REST needs from a broker. `server.py` implements it; tests bring a fake.

Topic names are complete (`persistent://public/default/video`, maybe with `-partition-3`),
namespaces are `tenant/name`. Errors that REST turns into an answer:

    NotFound                     404   namespace, topic, subscription or message
    BrokerError code "exists"    409   created twice
    BrokerError code "in-use"    412   live producers or consumers, and no force
    BrokerError code "refused"   412   the request cannot be met (partition of a partition, ...)
    UsageError                   412   an illegal name or value
    StorageError                 500   disk full, read-only, ...
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from wtp.broker.embedded.schemas import SchemaRegistry
    from wtp.broker.embedded.store import Store
    from wtp.broker.embedded.values import Entry, Position

Json = dict[str, Any]
"""A JSON object in Pulsar's own key names."""


class Broker(Protocol):
    """A running broker, as the admin REST sees it.

    The store is used directly for tenants, namespaces, policies, partition counts and retention;
    after a change of policies REST calls `policies_changed`.
    """

    @property
    def store(self) -> Store:
        """The data folder."""
        ...

    @property
    def schemas(self) -> SchemaRegistry:
        """The schemas of all topics."""
        ...

    def uptime_s(self) -> float:
        """Seconds since the broker began to listen."""
        ...

    def binary_address(self) -> tuple[str, int]:
        """Host and port of the binary protocol, as bound."""
        ...

    def http_address(self) -> tuple[str, int]:
        """Host and port of the REST side, as bound."""
        ...

    def counters(self) -> Mapping[str, float]:
        """Numbers for /metrics, named without prefix.

        A name that ends in `_total` is a counter, any other one a gauge: `connections`,
        `producers`, `consumers`, `messages_in_total`, `bytes_in_total`, `messages_out_total`,
        `bytes_out_total`, `send_errors_total`, `duplicates_total`, ...
        """
        ...

    def topics(self, namespace: str, domain: str) -> list[str]:
        """Names of the topics of a namespace, sorted; partitions one by one.

        Args:
            namespace: `tenant/name`.
            domain: `persistent` (from the store) or `non-persistent` (those that are live).

        Raises:
            NotFound: The namespace does not exist.
        """
        ...

    async def create_topic(self, name: str) -> None:
        """Create a topic that is not partitioned; NotFound (namespace), "exists"."""
        ...

    async def create_partitioned(self, name: str, partitions: int) -> None:
        """Create a partitioned topic and its partitions; NotFound, "exists"."""
        ...

    async def update_partitions(self, name: str, partitions: int) -> None:
        """Raise the number of partitions; NotFound, "refused" when it would shrink."""
        ...

    async def delete_topic(self, name: str, *, force: bool) -> None:
        """Delete a topic with its cursors; NotFound, "in-use" with live clients and no force."""
        ...

    async def delete_partitioned(self, name: str, *, force: bool) -> None:
        """Delete a partitioned topic with all partitions; NotFound, "in-use"."""
        ...

    async def unload_topic(self, name: str) -> None:
        """Close a topic and tell its clients to come back; NotFound."""
        ...

    async def delete_namespace(self, namespace: str, *, force: bool) -> None:
        """Delete a namespace; NotFound, "exists" (code 409) when topics are left and no force."""
        ...

    async def policies_changed(self, namespace: str) -> None:
        """Namespace or topic policies in the store are new: let the live topics take them over."""
        ...

    def stats(self, name: str) -> Json:
        """Statistics of one topic in Pulsar's key names; NotFound.

        `msgRateIn`, `msgThroughputIn`, `msgRateOut`, `msgThroughputOut` (per second),
        `msgInCounter`, `bytesInCounter`, `msgOutCounter`, `bytesOutCounter`, `averageMsgSize`,
        `storageSize`, `backlogSize`, `publishers` (list of `{accessMode, producerId, producerName,
        msgRateIn, msgThroughputIn, averageMsgSize, address, connectedSince, clientVersion,
        metadata}`), `subscriptions` (name -> `{type, msgBacklog, unackedMessages, msgRateOut,
        msgThroughputOut, msgOutCounter, bytesOutCounter, msgRateRedeliver, isDurable,
        activeConsumerName, consumers: [{consumerName, availablePermits, unackedMessages,
        msgRateOut, msgOutCounter, bytesOutCounter, address, connectedSince, clientVersion,
        metadata}]}`), `deduplicationStatus` ("Enabled" or "Disabled"), `ownerBroker`.
        """
        ...

    def internal_stats(self, name: str) -> Json:
        """What lies on the disk for a persistent topic, in Pulsar's key names; NotFound.

        `entriesAddedCounter`, `numberOfEntries`, `totalSize`, `currentLedgerEntries`,
        `currentLedgerSize`, `lastConfirmedEntry` ("5:17"), `state`, `ledgers` (list of `{ledgerId,
        entries, size, offloaded: false}`: see `TopicLog.ledgers`), `cursors` (name ->
        `{markDeletePosition, readPosition, individuallyDeletedMessages, messagesConsumedCounter}`).
        """
        ...

    def subscriptions(self, name: str) -> list[str]:
        """Names of the subscriptions of a topic, durable and live ones; NotFound."""
        ...

    async def create_subscription(
        self, name: str, subscription: str, start: Position, properties: Mapping[str, str]
    ) -> None:
        """Create a durable subscription whose first message is the one at `start` or after.

        Args:
            name: The topic; created when it does not exist and its namespace does.
            subscription: Its name.
            start: `EARLIEST`, `LATEST` or a position (inclusive).
            properties: Kept with the subscription.

        Raises:
            NotFound: No such namespace.
            BrokerError: code "exists".
        """
        ...

    async def delete_subscription(self, name: str, subscription: str, *, force: bool) -> None:
        """Delete a subscription; NotFound, "in-use" with live consumers and no force."""
        ...

    async def reset_cursor(self, name: str, subscription: str, target: Position | int) -> Position:
        """Move a subscription; its consumers are told to come back.

        Args:
            name: The topic.
            subscription: Its name.
            target: A position (inclusive) or a publish time in Unix milliseconds.

        Returns:
            The position of the message that comes next.

        Raises:
            NotFound: No such topic or subscription.
        """
        ...

    async def skip(self, name: str, subscription: str, entries: int | None) -> None:
        """Acknowledge the next `entries` entries of the backlog, or all of it; NotFound."""
        ...

    async def peek(self, name: str, subscription: str, nth: int) -> Entry:
        """Return the nth entry (from 1) of a subscription's backlog; NotFound."""
        ...
