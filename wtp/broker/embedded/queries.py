"""Questions of clients: where topics are, which there are, schemas, figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wtp.broker.embedded.answers import (
    ConsumerStatsResponse,
    Error,
    GetLastMessageIdResponse,
    GetOrCreateSchemaResponse,
    GetSchemaResponse,
    GetTopicsResponse,
    LookupResponse,
    PartitionedMetadataResponse,
    Success,
    WatchTopicsSuccess,
)
from wtp.broker.embedded.commands import (
    ConsumerStats,
    GetLastMessageId,
    GetOrCreateSchema,
    GetSchema,
    GetTopics,
    Lookup,
    MessageIdData,
    PartitionedMetadata,
    WatchTopics,
    WatchTopicsClose,
)
from wtp.broker.embedded.metadata import read_metadata
from wtp.broker.embedded.numbers import NO_ID, Cmd, Code, SubType
from wtp.broker.embedded.watch import Watcher, matching, topics_hash, understood
from wtp.broker.naming import parse_namespace, parse_topic
from wtp.errors import BrokerError, NotFound, StorageError, UsageError, WireError, WtpError

if TYPE_CHECKING:
    from wtp.broker.embedded.connection import Connection

_CODES = {
    "no-namespace": Code.TOPIC_NOT_FOUND,
    "producer-busy": Code.PRODUCER_BUSY,
    "producer-fenced": Code.PRODUCER_FENCED,
    "busy": Code.CONSUMER_BUSY,
    "not-alone": Code.METADATA,
    "assign": Code.CONSUMER_ASSIGN,
    "incompatible": Code.INCOMPATIBLE_SCHEMA,
    "refused": Code.NOT_ALLOWED,
    "too-many": Code.TOO_MANY_REQUESTS,
}


def code_of(error: WtpError) -> Code:
    """The protocol's code for an error of the broker."""
    if error.code in _CODES:
        return _CODES[error.code]
    if isinstance(error, NotFound):
        return Code.TOPIC_NOT_FOUND
    if isinstance(error, UsageError):
        return Code.INVALID_TOPIC
    return Code.PERSISTENCE if isinstance(error, StorageError) else Code.UNKNOWN


def no_consumer(link: Connection, request_id: int) -> None:
    """Answer that a consumer is unknown."""
    link.answer(Cmd.ERROR, Error(request_id, Code.METADATA, "Consumer not found"))


def partitioned_metadata(link: Connection, message: PartitionedMetadata) -> None:
    """Answer how many partitions a topic has."""
    try:
        name = parse_topic(message.topic)
        link.core.check_namespace(name)
        if not message.auto_create and not link.core.exists(name):
            raise NotFound(f"Topic {name} not found.", hint="Create it, or check the name.")
    except WtpError as error:
        answer = PartitionedMetadataResponse(
            None, message.request_id, 1, code_of(error), error.message
        )
    else:
        count = link.core.store.partitions(str(name)) if name.partition < 0 else 0
        answer = PartitionedMetadataResponse(count, message.request_id, 0)
    link.answer(Cmd.PARTITIONED_METADATA_RESPONSE, answer)


def lookup(link: Connection, message: Lookup) -> None:
    """Answer where a topic is served: here."""
    try:
        link.core.check_namespace(parse_topic(message.topic))
    except WtpError as error:
        answer = LookupResponse(
            None, 2, message.request_id, error=code_of(error), message=error.message
        )
    else:
        url = link.core.settings.advertised or link.local_url
        answer = LookupResponse(
            url, 1, message.request_id, authoritative=True, proxy_through_service_url=False
        )
    link.answer(Cmd.LOOKUP_RESPONSE, answer)


def last_message_id(link: Connection, message: GetLastMessageId) -> None:
    """Answer the newest message's id."""
    found = link.consumers.get(message.consumer_id)
    if found is None:
        no_consumer(link, message.request_id)
        return
    _, subscription = found
    topic = subscription.topic
    if topic.volatile:
        raise BrokerError(
            "A non-persistent topic has no last message id.",
            hint="Use a persistent topic.",
            code="refused",
        )
    entries = topic.log.read(topic.log.last, 1, 1) if topic.log.last is not None else []
    if entries:
        ledger, entry = entries[0].position
        size = read_metadata(entries[0].blob).num_messages
        index = size - 1 if size is not None else -1
        place = MessageIdData(ledger, entry, topic.partition, index)
    else:
        place = MessageIdData(NO_ID, NO_ID, topic.partition, -1)
    mark = subscription.cursor.mark
    if entries:  # after a restart it may stand at the start of a segment that is still empty
        mark = min(mark, entries[0].position)
    deleted = MessageIdData(mark.ledger & NO_ID, mark.entry & NO_ID)
    answer = GetLastMessageIdResponse(place, message.request_id, deleted)
    link.answer(Cmd.GET_LAST_MESSAGE_ID_RESPONSE, answer)


def consumer_stats(link: Connection, message: ConsumerStats) -> None:
    """Answer a consumer's figures."""
    found = link.consumers.get(message.consumer_id)
    if found is None:
        raise WireError("CONSUMER_STATS for an unknown consumer.", hint="Subscribe first.")
    consumer, subscription = found
    kind = subscription.sub_type
    link.answer(
        Cmd.CONSUMER_STATS_RESPONSE,
        ConsumerStatsResponse(
            message.request_id,
            rate_out=consumer.out.message_rate,
            throughput_out=consumer.out.byte_rate,
            rate_redeliver=0.0,
            consumer_name=consumer.name,
            available_permits=max(consumer.permits, 0),
            unacked=consumer.unacked_messages,
            blocked=False,
            address=link.address,
            connected_since=consumer.connected_at,
            type=type_name(kind),
            rate_expired=0.0,
            backlog=subscription.backlog(),
            ack_rate=0.0,
        ),
    )


def type_name(kind: SubType | None) -> str:
    """A subscription type as Pulsar writes it: `Key_Shared`."""
    return "" if kind is None else "_".join(p.capitalize() for p in kind.name.split("_"))


def topics(link: Connection, message: GetTopics) -> None:
    """Answer the topics of a namespace."""
    tenant, namespace = parse_namespace(message.namespace)
    path = f"{tenant}/{namespace}"
    names: list[str] = []
    if link.core.store.has_namespace(path):
        names = link.core.names(path, persistent=message.mode != 1, volatile=message.mode != 0)
    filtered = message.pattern is not None and understood(message.pattern)
    if message.pattern is not None and filtered:
        names = matching(names, message.pattern)
    now = topics_hash(names)
    changed = message.topics_hash != now
    answer = GetTopicsResponse(message.request_id, names if changed else [], filtered, now, changed)
    link.answer(Cmd.GET_TOPICS_RESPONSE, answer)


def watch(link: Connection, message: WatchTopics) -> None:
    """Answer the topics that match, and keep the client informed."""
    tenant, namespace = parse_namespace(message.namespace)
    path = f"{tenant}/{namespace}"
    names = link.core.watchers.add(Watcher(link, message.watcher_id, path, message.pattern))
    now = topics_hash(names)
    answer = WatchTopicsSuccess(
        message.request_id, message.watcher_id, [] if message.topics_hash == now else names, now
    )
    link.answer(Cmd.WATCH_TOPICS_SUCCESS, answer)


def watch_close(link: Connection, message: WatchTopicsClose) -> None:
    """Stop informing the client."""
    link.core.watchers.remove(link, message.watcher_id)
    link.answer(Cmd.SUCCESS, Success(message.request_id))


def get_schema(link: Connection, message: GetSchema) -> None:
    """Answer a schema of a topic."""
    found = link.core.schemas.get(message.topic, message.version)
    if found is None:
        answer = GetSchemaResponse(
            message.request_id, Code.TOPIC_NOT_FOUND, "Topic not found or no-schema"
        )
    else:
        answer = GetSchemaResponse(message.request_id, schema=found[0], version=found[1])
    link.answer(Cmd.GET_SCHEMA_RESPONSE, answer)


def create_schema(link: Connection, message: GetOrCreateSchema) -> None:
    """Keep a schema and answer its version."""
    try:
        topic = link.core.topic(message.topic)
        version = link.core.schemas.add(topic.name, message.schema)
        answer = GetOrCreateSchemaResponse(message.request_id, version=version)
    except WtpError as error:
        answer = GetOrCreateSchemaResponse(message.request_id, code_of(error), str(error))
    link.answer(Cmd.GET_OR_CREATE_SCHEMA_RESPONSE, answer)
