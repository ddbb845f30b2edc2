"""Statistics of topics, in Pulsar's own key names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wtp.broker.embedded.cursor import after
from wtp.broker.embedded.dispatch import SingleActive
from wtp.broker.embedded.facade import Json
from wtp.broker.embedded.numbers import Access
from wtp.broker.embedded.queries import type_name

if TYPE_CHECKING:
    from wtp.broker.embedded.consumer import Consumer
    from wtp.broker.embedded.producers import TopicProducer
    from wtp.broker.embedded.subscription import Subscription
    from wtp.broker.embedded.topic import Topic

_ACCESS = {
    Access.SHARED: "Shared",
    Access.EXCLUSIVE: "Exclusive",
    Access.WAIT_FOR_EXCLUSIVE: "WaitForExclusive",
    Access.EXCLUSIVE_WITH_FENCING: "ExclusiveWithFencing",
}


def topic_stats(topic: Topic, owner: str) -> Json:
    """What `GET .../stats` answers for one topic.

    Args:
        topic: The topic.
        owner: Address of this broker, `host:port`.
    """
    log, arrived = topic.log, topic.arrived
    subscriptions = {name: subscription_stats(found) for name, found in topic.subscriptions.items()}
    marks = [s.cursor.mark for s in topic.subscriptions.values() if s.durable]
    return {
        "msgRateIn": arrived.message_rate,
        "msgThroughputIn": arrived.byte_rate,
        "msgRateOut": sum(s["msgRateOut"] for s in subscriptions.values()),
        "msgThroughputOut": sum(s["msgThroughputOut"] for s in subscriptions.values()),
        "msgInCounter": arrived.messages,
        "bytesInCounter": arrived.size_bytes,
        "msgOutCounter": sum(s["msgOutCounter"] for s in subscriptions.values()),
        "bytesOutCounter": sum(s["bytesOutCounter"] for s in subscriptions.values()),
        "averageMsgSize": arrived.size_bytes / arrived.messages if arrived.messages else 0.0,
        "storageSize": log.size_bytes,
        "backlogSize": log.size_between(after(min(marks)), log.end) if marks else 0,
        "publishers": [producer_stats(p) for p in topic.producers.live.values()],
        "waitingPublishers": len(topic.producers.waiting),
        "subscriptions": subscriptions,
        "deduplicationStatus": "Enabled" if topic.dedup else "Disabled",
        "duplicatesDropped": topic.duplicates,
        "ownerBroker": owner,
    }


def producer_stats(producer: TopicProducer) -> Json:
    """One entry of `publishers`."""
    traffic = producer.traffic
    return {
        "accessMode": _ACCESS[producer.access],
        "producerId": producer.producer_id,
        "producerName": producer.name,
        "msgRateIn": traffic.message_rate,
        "msgThroughputIn": traffic.byte_rate,
        "averageMsgSize": traffic.size_bytes / traffic.messages if traffic.messages else 0.0,
        "address": producer.link.address,
        "connectedSince": producer.connected_at,
        "clientVersion": producer.link.client_version,
        "metadata": producer.metadata,
    }


def subscription_stats(subscription: Subscription) -> Json:
    """One value of `subscriptions`."""
    consumers = subscription.consumers
    dispatcher = subscription.dispatcher
    active = dispatcher.active if isinstance(dispatcher, SingleActive) else None
    gone = subscription.gone
    return {
        "type": type_name(subscription.sub_type) or "None",
        "msgBacklog": subscription.backlog(),
        "unackedMessages": sum(c.unacked_messages for c in consumers),
        "msgRateOut": sum(c.out.message_rate for c in consumers),
        "msgThroughputOut": sum(c.out.byte_rate for c in consumers),
        "msgOutCounter": gone.messages + sum(c.out.messages for c in consumers),
        "bytesOutCounter": gone.size_bytes + sum(c.out.size_bytes for c in consumers),
        "msgRateRedeliver": 0.0,
        "msgDropCounter": subscription.dropped,
        "isDurable": subscription.durable,
        "activeConsumerName": active.name if active is not None else "",
        "lastConsumedFlowTimestamp": subscription.flow_ms,
        "lastConsumedTimestamp": subscription.consumed_ms,
        "lastAckedTimestamp": subscription.acked_ms,
        "lastMarkDeleteAdvancedTimestamp": subscription.marked_ms,
        "subscriptionProperties": dict(subscription.cursor.properties),
        "consumers": [consumer_stats(c) for c in consumers],
    }


def consumer_stats(consumer: Consumer) -> Json:
    """One entry of `consumers`."""
    return {
        "consumerName": consumer.name,
        "availablePermits": consumer.permits,
        "unackedMessages": consumer.unacked_messages,
        "msgRateOut": consumer.out.message_rate,
        "msgThroughputOut": consumer.out.byte_rate,
        "msgOutCounter": consumer.out.messages,
        "bytesOutCounter": consumer.out.size_bytes,
        "lastConsumedFlowTimestamp": consumer.flow_ms,
        "lastConsumedTimestamp": consumer.out.last_ns // 1_000_000,
        "lastAckedTimestamp": consumer.acked_ms,
        "address": consumer.link.address,
        "connectedSince": consumer.connected_at,
        "clientVersion": consumer.link.client_version,
        "metadata": consumer.metadata,
    }


def internal_stats(topic: Topic) -> Json:
    """What `GET .../internalStats` answers for one topic."""
    log = topic.log
    ledgers = log.ledgers()
    _, entries, size = ledgers[-1] if ledgers else (-1, 0, 0)
    cursors = {
        name: {
            "markDeletePosition": str(found.cursor.mark),
            "readPosition": str(found.read_at),
            "individuallyDeletedMessages": str([f"({a}..{b}]" for a, b in found.cursor.acked]),
            "messagesConsumedCounter": found.consumed(),
        }
        for name, found in topic.subscriptions.items()
    }
    return {
        "entriesAddedCounter": log.entries,
        "numberOfEntries": log.entries,
        "totalSize": log.size_bytes,
        "currentLedgerEntries": entries,
        "currentLedgerSize": size,
        "lastConfirmedEntry": str(log.last) if log.last is not None else "-1:-1",
        "state": "LedgerOpened",
        "ledgers": [
            {"ledgerId": ledger, "entries": count, "size": length, "offloaded": False}
            for ledger, count, length in ledgers
        ],
        "cursors": cursors,
    }
