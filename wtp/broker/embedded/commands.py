"""What clients send: the fields of each command of Pulsar's binary protocol.

Source: the public protocol description, https://pulsar.apache.org/docs/develop-binary-protocol/ and
PulsarApi.proto. A command's number is also the number of its field in BaseCommand. Fields that this
broker neither reads nor writes are left out; decoding skips them. Answers are in `answers`.
"""

# ruff: noqa: D101, RUF009 - each class is the protocol's message of that name (PulsarApi.proto), and
# `pb` makes the dataclass field.

from __future__ import annotations

from dataclasses import dataclass

from wtp.broker.embedded.protobuf import Message, pb


@dataclass(slots=True)
class KeyValue(Message):
    key: str = pb(1, "string", required=True, default="")
    value: str = pb(2, "string", required=True, default="")


@dataclass(slots=True)
class Schema(Message):
    name: str = pb(1, "string", required=True, default="")
    data: bytes = pb(3, "bytes", required=True, default=b"")
    type: int = pb(4, "int", required=True, default=0)
    properties: list[KeyValue] = pb(5, KeyValue, many=True)


@dataclass(slots=True)
class MessageIdData(Message):
    ledger: int = pb(1, "uint", required=True, default=0)
    entry: int = pb(2, "uint", required=True, default=0)
    partition: int | None = pb(3, "int")
    batch_index: int | None = pb(4, "int")
    ack_set: list[int] = pb(5, "int", many=True)
    batch_size: int | None = pb(6, "int")


@dataclass(slots=True)
class IntRange(Message):
    start: int = pb(1, "int", required=True, default=0)
    end: int = pb(2, "int", required=True, default=0)


@dataclass(slots=True)
class KeySharedMeta(Message):
    mode: int = pb(1, "int", required=True, default=0)
    ranges: list[IntRange] = pb(3, IntRange, many=True)
    out_of_order: bool = pb(4, "bool", default=False)


@dataclass(slots=True)
class Connect(Message):
    client_version: str = pb(1, "string", required=True, default="")
    protocol_version: int = pb(4, "int", default=0)


@dataclass(slots=True)
class Subscribe(Message):
    topic: str = pb(1, "string", required=True, default="")
    subscription: str = pb(2, "string", required=True, default="")
    sub_type: int = pb(3, "int", required=True, default=0)
    consumer_id: int = pb(4, "uint", required=True, default=0)
    request_id: int = pb(5, "uint", required=True, default=0)
    consumer_name: str | None = pb(6, "string")
    priority_level: int = pb(7, "int", default=0)
    durable: bool = pb(8, "bool", default=True)
    start_message_id: MessageIdData | None = pb(9, MessageIdData)
    metadata: list[KeyValue] = pb(10, KeyValue, many=True)
    schema: Schema | None = pb(12, Schema)
    initial_position: int = pb(13, "int", default=0)
    force_topic_creation: bool = pb(15, "bool", default=True)
    rollback_s: int = pb(16, "uint", default=0)
    key_shared: KeySharedMeta | None = pb(17, KeySharedMeta)
    consumer_epoch: int | None = pb(19, "uint")


@dataclass(slots=True)
class PartitionedMetadata(Message):
    topic: str = pb(1, "string", required=True, default="")
    request_id: int = pb(2, "uint", required=True, default=0)
    auto_create: bool = pb(6, "bool", default=True)


@dataclass(slots=True)
class Lookup(Message):
    topic: str = pb(1, "string", required=True, default="")
    request_id: int = pb(2, "uint", required=True, default=0)


@dataclass(slots=True)
class Producer(Message):
    topic: str = pb(1, "string", required=True, default="")
    producer_id: int = pb(2, "uint", required=True, default=0)
    request_id: int = pb(3, "uint", required=True, default=0)
    name: str | None = pb(4, "string")
    metadata: list[KeyValue] = pb(6, KeyValue, many=True)
    schema: Schema | None = pb(7, Schema)
    epoch: int = pb(8, "uint", default=0)
    user_provided_name: bool = pb(9, "bool", default=True)
    access: int = pb(10, "int", default=0)
    topic_epoch: int | None = pb(11, "uint")
    txn_enabled: bool = pb(12, "bool", default=False)
    initial_subscription: str | None = pb(13, "string")


@dataclass(slots=True)
class Send(Message):
    producer_id: int = pb(1, "uint", required=True, default=0)
    sequence_id: int = pb(2, "uint", required=True, default=0)
    num_messages: int = pb(3, "int", default=1)
    txn_least: int | None = pb(4, "uint")
    txn_most: int | None = pb(5, "uint")
    highest_sequence_id: int | None = pb(6, "uint")
    is_chunk: bool = pb(7, "bool", default=False)


@dataclass(slots=True)
class Ack(Message):
    consumer_id: int = pb(1, "uint", required=True, default=0)
    ack_type: int = pb(2, "int", required=True, default=0)
    message_ids: list[MessageIdData] = pb(3, MessageIdData, many=True)
    validation_error: int | None = pb(4, "int")
    txn_least: int | None = pb(6, "uint")
    txn_most: int | None = pb(7, "uint")
    request_id: int | None = pb(8, "uint")


@dataclass(slots=True)
class Flow(Message):
    consumer_id: int = pb(1, "uint", required=True, default=0)
    permits: int = pb(2, "uint", required=True, default=0)


@dataclass(slots=True)
class Unsubscribe(Message):
    consumer_id: int = pb(1, "uint", required=True, default=0)
    request_id: int = pb(2, "uint", required=True, default=0)
    force: bool = pb(3, "bool", default=False)


@dataclass(slots=True)
class Seek(Message):
    consumer_id: int = pb(1, "uint", required=True, default=0)
    request_id: int = pb(2, "uint", required=True, default=0)
    message_id: MessageIdData | None = pb(3, MessageIdData)
    publish_ms: int | None = pb(4, "uint")


@dataclass(slots=True)
class CloseProducer(Message):
    producer_id: int = pb(1, "uint", required=True, default=0)
    request_id: int = pb(2, "uint", required=True, default=0)


@dataclass(slots=True)
class CloseConsumer(Message):
    consumer_id: int = pb(1, "uint", required=True, default=0)
    request_id: int = pb(2, "uint", required=True, default=0)


@dataclass(slots=True)
class Redeliver(Message):
    consumer_id: int = pb(1, "uint", required=True, default=0)
    message_ids: list[MessageIdData] = pb(2, MessageIdData, many=True)
    consumer_epoch: int | None = pb(3, "uint")


@dataclass(slots=True)
class ConsumerStats(Message):
    request_id: int = pb(1, "uint", required=True, default=0)
    consumer_id: int = pb(4, "uint", required=True, default=0)


@dataclass(slots=True)
class GetLastMessageId(Message):
    consumer_id: int = pb(1, "uint", required=True, default=0)
    request_id: int = pb(2, "uint", required=True, default=0)


@dataclass(slots=True)
class GetTopics(Message):
    request_id: int = pb(1, "uint", required=True, default=0)
    namespace: str = pb(2, "string", required=True, default="")
    mode: int = pb(3, "int", default=0)
    pattern: str | None = pb(4, "string")
    topics_hash: str | None = pb(5, "string")


@dataclass(slots=True)
class WatchTopics(Message):
    request_id: int = pb(1, "uint", required=True, default=0)
    watcher_id: int = pb(2, "uint", required=True, default=0)
    namespace: str = pb(3, "string", required=True, default="")
    pattern: str = pb(4, "string", required=True, default="")
    topics_hash: str | None = pb(5, "string")


@dataclass(slots=True)
class WatchTopicsClose(Message):
    request_id: int = pb(1, "uint", required=True, default=0)
    watcher_id: int = pb(2, "uint", required=True, default=0)


@dataclass(slots=True)
class GetSchema(Message):
    request_id: int = pb(1, "uint", required=True, default=0)
    topic: str = pb(2, "string", required=True, default="")
    version: bytes | None = pb(3, "bytes")


@dataclass(slots=True)
class GetOrCreateSchema(Message):
    request_id: int = pb(1, "uint", required=True, default=0)
    topic: str = pb(2, "string", required=True, default="")
    schema: Schema | None = pb(3, Schema, required=True)


@dataclass(slots=True)
class Transaction(Message):
    """Any transaction request: only its id matters, all are refused."""

    request_id: int = pb(1, "uint", required=True, default=0)
