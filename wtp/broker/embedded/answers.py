"""What the broker sends: the fields of each answer of Pulsar's binary protocol.

Source: as for `commands`. MESSAGE and SEND_RECEIPT are built by `hotpath`; their declarations here
are what the tests compare it with.
"""

# ruff: noqa: D101, RUF009 - each class is the protocol's message of that name (PulsarApi.proto), and
# `pb` makes the dataclass field.

from __future__ import annotations

from dataclasses import dataclass

from wtp.broker.embedded.commands import MessageIdData, Schema
from wtp.broker.embedded.protobuf import Message, pb


@dataclass(slots=True)
class FeatureFlags(Message):
    topic_watchers: bool | None = pb(4, "bool")
    metadata_without_auto_creation: bool | None = pb(5, "bool")
    replication_dedup: bool | None = pb(6, "bool")


@dataclass(slots=True)
class Connected(Message):
    server_version: str = pb(1, "string", required=True, default="")
    protocol_version: int = pb(2, "int", default=0)
    max_message_size: int | None = pb(3, "int")
    feature_flags: FeatureFlags | None = pb(4, FeatureFlags)


@dataclass(slots=True)
class PartitionedMetadataResponse(Message):
    partitions: int | None = pb(1, "uint")
    request_id: int = pb(2, "uint", required=True, default=0)
    response: int | None = pb(3, "int")
    error: int | None = pb(4, "int")
    message: str | None = pb(5, "string")


@dataclass(slots=True)
class LookupResponse(Message):
    url: str | None = pb(1, "string")
    response: int | None = pb(3, "int")
    request_id: int = pb(4, "uint", required=True, default=0)
    authoritative: bool | None = pb(5, "bool")
    error: int | None = pb(6, "int")
    message: str | None = pb(7, "string")
    proxy_through_service_url: bool | None = pb(8, "bool")


@dataclass(slots=True)
class ProducerSuccess(Message):
    request_id: int = pb(1, "uint", required=True, default=0)
    name: str = pb(2, "string", required=True, default="")
    last_sequence_id: int | None = pb(3, "int")
    schema_version: bytes | None = pb(4, "bytes")
    topic_epoch: int | None = pb(5, "uint")
    ready: bool | None = pb(6, "bool")


@dataclass(slots=True)
class SendReceipt(Message):
    producer_id: int = pb(1, "uint", required=True, default=0)
    sequence_id: int = pb(2, "uint", required=True, default=0)
    message_id: MessageIdData | None = pb(3, MessageIdData)
    highest_sequence_id: int | None = pb(4, "uint")


@dataclass(slots=True)
class SendError(Message):
    producer_id: int = pb(1, "uint", required=True, default=0)
    sequence_id: int = pb(2, "uint", required=True, default=0)
    error: int = pb(3, "int", required=True, default=0)
    message: str = pb(4, "string", required=True, default="")


@dataclass(slots=True)
class Deliver(Message):
    """MESSAGE: an entry on its way to a consumer."""

    consumer_id: int = pb(1, "uint", required=True, default=0)
    message_id: MessageIdData | None = pb(2, MessageIdData, required=True)
    redelivery_count: int | None = pb(3, "uint")
    ack_set: list[int] = pb(4, "int", many=True)
    consumer_epoch: int | None = pb(5, "uint")


@dataclass(slots=True)
class AckResponse(Message):
    consumer_id: int = pb(1, "uint", required=True, default=0)
    error: int | None = pb(4, "int")
    message: str | None = pb(5, "string")
    request_id: int | None = pb(6, "uint")


@dataclass(slots=True)
class ActiveConsumerChange(Message):
    consumer_id: int = pb(1, "uint", required=True, default=0)
    is_active: bool = pb(2, "bool", default=False)


@dataclass(slots=True)
class Success(Message):
    request_id: int = pb(1, "uint", required=True, default=0)
    schema: Schema | None = pb(2, Schema)


@dataclass(slots=True)
class Error(Message):
    request_id: int = pb(1, "uint", required=True, default=0)
    error: int = pb(2, "int", required=True, default=0)
    message: str = pb(3, "string", required=True, default="")


@dataclass(slots=True)
class Empty(Message):
    """PING and PONG."""


@dataclass(slots=True)
class ConsumerStatsResponse(Message):
    request_id: int = pb(1, "uint", required=True, default=0)
    error: int | None = pb(2, "int")
    message: str | None = pb(3, "string")
    rate_out: float | None = pb(4, "double")
    throughput_out: float | None = pb(5, "double")
    rate_redeliver: float | None = pb(6, "double")
    consumer_name: str | None = pb(7, "string")
    available_permits: int | None = pb(8, "uint")
    unacked: int | None = pb(9, "uint")
    blocked: bool | None = pb(10, "bool")
    address: str | None = pb(11, "string")
    connected_since: str | None = pb(12, "string")
    type: str | None = pb(13, "string")
    rate_expired: float | None = pb(14, "double")
    backlog: int | None = pb(15, "uint")
    ack_rate: float | None = pb(16, "double")


@dataclass(slots=True)
class GetLastMessageIdResponse(Message):
    last_message_id: MessageIdData | None = pb(1, MessageIdData, required=True)
    request_id: int = pb(2, "uint", required=True, default=0)
    mark_delete: MessageIdData | None = pb(3, MessageIdData)


@dataclass(slots=True)
class GetTopicsResponse(Message):
    request_id: int = pb(1, "uint", required=True, default=0)
    topics: list[str] = pb(2, "string", many=True)
    filtered: bool | None = pb(3, "bool")
    topics_hash: str | None = pb(4, "string")
    changed: bool | None = pb(5, "bool")


@dataclass(slots=True)
class WatchTopicsSuccess(Message):
    request_id: int = pb(1, "uint", required=True, default=0)
    watcher_id: int = pb(2, "uint", required=True, default=0)
    topics: list[str] = pb(3, "string", many=True)
    topics_hash: str = pb(4, "string", required=True, default="")


@dataclass(slots=True)
class WatchTopicsUpdate(Message):
    watcher_id: int = pb(1, "uint", required=True, default=0)
    new_topics: list[str] = pb(2, "string", many=True)
    deleted_topics: list[str] = pb(3, "string", many=True)
    topics_hash: str = pb(4, "string", required=True, default="")


@dataclass(slots=True)
class GetSchemaResponse(Message):
    request_id: int = pb(1, "uint", required=True, default=0)
    error: int | None = pb(2, "int")
    message: str | None = pb(3, "string")
    schema: Schema | None = pb(4, Schema)
    version: bytes | None = pb(5, "bytes")


@dataclass(slots=True)
class GetOrCreateSchemaResponse(Message):
    request_id: int = pb(1, "uint", required=True, default=0)
    error: int | None = pb(2, "int")
    message: str | None = pb(3, "string")
    version: bytes | None = pb(4, "bytes")


@dataclass(slots=True)
class TransactionRefused(Message):
    """Answer to NEW_TXN, ADD_*_TO_TXN and END_TXN*: error in field 4, sentence in field 5."""

    request_id: int = pb(1, "uint", required=True, default=0)
    error: int | None = pb(4, "int")
    message: str | None = pb(5, "string")


@dataclass(slots=True)
class CoordinatorRefused(Message):
    """Answer to TC_CLIENT_CONNECT: error in field 2, sentence in field 3."""

    request_id: int = pb(1, "uint", required=True, default=0)
    error: int | None = pb(2, "int")
    message: str | None = pb(3, "string")
