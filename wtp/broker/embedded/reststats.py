"""Statistics as Pulsar 4.0.7 words them: every key there, with the type it has there.

Clients in typed languages refuse an answer that lacks a number. What this broker does not count
(transactions, offloading, replication, throttling) is 0, false or empty, as in a Pulsar that does
not use it.
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

_BOTH: Json = {
    "nonContiguousDeletedMessagesRanges": 0,
    "nonContiguousDeletedMessagesRangesSerializedSize": 0,
    "delayedMessageIndexSizeInBytes": 0,
}
_TOPIC: Json = {
    **_BOTH,
    "systemTopicBytesInCounter": 0,
    "bytesOutInternalCounter": 0,
    "msgChunkPublished": False,
    "backlogQuotaLimitSize": -1,
    "backlogQuotaLimitTime": -1,
    "oldestBacklogMessageAgeSeconds": -1,
    "publishRateLimitedTimes": 0,
    "earliestMsgPublishTimeInBacklogs": 0,
    "offloadedStorageSize": 0,
    "lastOffloadLedgerId": 0,
    "lastOffloadSuccessTimeStamp": 0,
    "lastOffloadFailureTimeStamp": 0,
    "ongoingTxnCount": 0,
    "abortedTxnCount": 0,
    "committedTxnCount": 0,
    "replication": {},
    "compaction": {
        "lastCompactionRemovedEventCount": 0,
        "lastCompactionSucceedTimestamp": 0,
        "lastCompactionFailedTimestamp": 0,
        "lastCompactionDurationTimeInMills": 0,
    },
}
_SUBSCRIPTION: Json = {
    **_BOTH,
    "messageAckRate": 0.0,
    "chunkedMessageRate": 0.0,
    "earliestMsgPublishTimeInBacklog": 0,
    "blockedSubscriptionOnUnackedMsgs": False,
    "msgDelayed": 0,
    "msgInReplay": 0,
    "msgRateExpired": 0.0,
    "totalMsgExpired": 0,
    "lastExpireTimestamp": 0,
    "lastConsumedFlowTimestamp": 0,
    "lastConsumedTimestamp": 0,
    "lastAckedTimestamp": 0,
    "lastMarkDeleteAdvancedTimestamp": 0,
    "isReplicated": False,
    "allowOutOfOrderDelivery": False,
    "consumersAfterMarkDeletePosition": {},
    "drainingHashesCount": 0,
    "drainingHashesClearedTotal": 0,
    "drainingHashesUnackedMessages": 0,
    "filterProcessedMsgCount": 0,
    "filterAcceptedMsgCount": 0,
    "filterRejectedMsgCount": 0,
    "filterRescheduledMsgCount": 0,
    **{
        f"dispatchThrottled{what}EventsBy{by}Limit": 0
        for what in ("Msg", "Bytes")
        for by in ("Subscription", "Topic", "Broker")
    },
    "replicated": False,
}
_PUBLISHER: Json = {"chunkedMessageRate": 0.0, "supportsPartialProducer": False}
_CONSUMER: Json = {
    "msgRateRedeliver": 0.0,
    "messageAckRate": 0.0,
    "chunkedMessageRate": 0.0,
    "avgMessagesPerEntry": 0,
    "blockedConsumerOnUnackedMsgs": False,
    "drainingHashesCount": 0,
    "drainingHashesClearedTotal": 0,
    "drainingHashesUnackedMessages": 0,
    "lastAckedTimestamp": 0,
    "lastConsumedTimestamp": 0,
    "lastConsumedFlowTimestamp": 0,
}
_RATES = ("msgRateIn", "msgThroughputIn", "msgRateOut", "msgThroughputOut", "averageMsgSize")

_LEDGER: Json = {"offloaded": False, "underReplicated": False}
_CURSOR: Json = {
    "waitingReadOp": False,
    "pendingReadOps": 0,
    "cursorLedger": -1,
    "cursorLedgerLastEntry": -1,
    "lastLedgerSwitchTimestamp": "1970-01-01T00:00:00Z",
    "state": "Open",
    "active": False,
    "numberOfEntriesSinceFirstNotAckedMessage": 0,
    "totalNonContiguousDeletedMessagesRange": 0,
    "subscriptionHavePendingRead": False,
    "subscriptionHavePendingReplayRead": False,
    "properties": {},
}
_INTERNAL: Json = {
    "lastLedgerCreatedTimestamp": "1970-01-01T00:00:00Z",
    "waitingCursorsCount": 0,
    "pendingAddEntriesCount": 0,
    "schemaLedgers": [],
    "compactedLedger": {"ledgerId": -1, "entries": -1, "size": -1, **_LEDGER},
}


def whole_stats(stats: Json) -> Json:
    """Statistics of a topic with every key."""
    subscriptions = {
        name: _subscription(one) for name, one in (stats.get("subscriptions") or {}).items()
    }
    publishers = [{**_PUBLISHER, **_rated(one)} for one in stats.get("publishers") or []]
    return {
        **_TOPIC,
        **_rated(stats),
        "publishers": publishers,
        "subscriptions": subscriptions,
    }


def _subscription(one: Json) -> Json:
    backlog = one.get("msgBacklog", 0)
    derived = {
        "msgBacklogNoDelayed": backlog,
        "backlogSize": one.get("backlogSize", -1),
        "durable": one.get("isDurable", True),
    }
    consumers = [{**_CONSUMER, **_rated(each)} for each in one.get("consumers") or []]
    return {**_SUBSCRIPTION, **derived, **_rated(one), "consumers": consumers}


def _rated(values: Json) -> Json:
    """Rates as floating point, whatever they were added up from."""
    return {key: float(value) if key in _RATES else value for key, value in values.items()}


def whole_internal_stats(stats: Json) -> Json:
    """What lies on the disk for a topic, with every key."""
    ledgers = [{**_LEDGER, **one} for one in stats.get("ledgers") or []]
    cursors = {name: {**_CURSOR, **one} for name, one in (stats.get("cursors") or {}).items()}
    return {**_INTERNAL, **stats, "ledgers": ledgers, "cursors": cursors}
