"""Numbers of Pulsar's binary protocol: commands, error codes, types (source: PulsarApi.proto)."""

from __future__ import annotations

from enum import IntEnum

NO_ID = (1 << 64) - 1
"""-1 in an unsigned field: no position, no sequence id, no request."""

LATEST_ID = (1 << 63) - 1
"""Ledger and entry of `MessageId.latest`."""


class Cmd(IntEnum):
    """Command numbers."""

    CONNECT = 2
    CONNECTED = 3
    SUBSCRIBE = 4
    PRODUCER = 5
    SEND = 6
    SEND_RECEIPT = 7
    SEND_ERROR = 8
    MESSAGE = 9
    ACK = 10
    FLOW = 11
    UNSUBSCRIBE = 12
    SUCCESS = 13
    ERROR = 14
    CLOSE_PRODUCER = 15
    CLOSE_CONSUMER = 16
    PRODUCER_SUCCESS = 17
    PING = 18
    PONG = 19
    REDELIVER = 20
    PARTITIONED_METADATA = 21
    PARTITIONED_METADATA_RESPONSE = 22
    LOOKUP = 23
    LOOKUP_RESPONSE = 24
    CONSUMER_STATS = 25
    CONSUMER_STATS_RESPONSE = 26
    SEEK = 28
    GET_LAST_MESSAGE_ID = 29
    GET_LAST_MESSAGE_ID_RESPONSE = 30
    ACTIVE_CONSUMER_CHANGE = 31
    GET_TOPICS = 32
    GET_TOPICS_RESPONSE = 33
    GET_SCHEMA = 34
    GET_SCHEMA_RESPONSE = 35
    AUTH_RESPONSE = 37
    ACK_RESPONSE = 38
    GET_OR_CREATE_SCHEMA = 39
    GET_OR_CREATE_SCHEMA_RESPONSE = 40
    NEW_TXN = 50
    ADD_PARTITION_TO_TXN = 52
    ADD_SUBSCRIPTION_TO_TXN = 54
    END_TXN = 56
    END_TXN_ON_PARTITION = 58
    END_TXN_ON_SUBSCRIPTION = 60
    TC_CLIENT_CONNECT = 62
    WATCH_TOPICS = 64
    WATCH_TOPICS_SUCCESS = 65
    WATCH_TOPICS_UPDATE = 66
    WATCH_TOPICS_CLOSE = 67


class Code(IntEnum):
    """Error codes (ServerError)."""

    UNKNOWN = 0
    METADATA = 1
    PERSISTENCE = 2
    AUTHENTICATION = 3
    AUTHORIZATION = 4
    CONSUMER_BUSY = 5
    NOT_READY = 6
    CHECKSUM = 9
    TOPIC_NOT_FOUND = 11
    SUBSCRIPTION_NOT_FOUND = 12
    CONSUMER_NOT_FOUND = 13
    TOO_MANY_REQUESTS = 14
    PRODUCER_BUSY = 16
    INVALID_TOPIC = 17
    INCOMPATIBLE_SCHEMA = 18
    CONSUMER_ASSIGN = 19
    NOT_ALLOWED = 22
    PRODUCER_FENCED = 25


class SubType(IntEnum):
    """Subscription types."""

    EXCLUSIVE = 0
    SHARED = 1
    FAILOVER = 2
    KEY_SHARED = 3


class Access(IntEnum):
    """Producer access modes."""

    SHARED = 0
    EXCLUSIVE = 1
    WAIT_FOR_EXCLUSIVE = 2
    EXCLUSIVE_WITH_FENCING = 3
