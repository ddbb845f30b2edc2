"""The commands of a connection that are not per message: each function takes one command."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from wtp.broker.embedded import queries
from wtp.broker.embedded.alive import Held
from wtp.broker.embedded.answers import (
    Connected,
    Empty,
    Error,
    FeatureFlags,
    ProducerSuccess,
    Success,
)
from wtp.broker.embedded.commands import (
    CloseConsumer,
    CloseProducer,
    Connect,
    ConsumerStats,
    GetLastMessageId,
    GetOrCreateSchema,
    GetSchema,
    GetTopics,
    KeyValue,
    Lookup,
    MessageIdData,
    PartitionedMetadata,
    Producer,
    Redeliver,
    Seek,
    Subscribe,
    Transaction,
    Unsubscribe,
    WatchTopics,
    WatchTopicsClose,
)
from wtp.broker.embedded.consumer import Consumer
from wtp.broker.embedded.numbers import LATEST_ID, NO_ID, Access, Cmd, Code, SubType
from wtp.broker.embedded.producers import TopicProducer
from wtp.broker.embedded.values import EARLIEST, LATEST, Position
from wtp.errors import BrokerError, StorageError, UsageError, WireError, WtpError

if TYPE_CHECKING:
    from wtp.broker.embedded.connection import Connection
    from wtp.broker.embedded.protobuf import Message
    from wtp.broker.embedded.topic import Topic

SERVER_VERSION = "wtp-embedded-broker"
"""What CONNECTED calls this broker; clients show it and nothing else."""

MAX_PER_CONNECTION = 10_000
"""Producers and consumers that one connection may have."""

MAX_NAME_CHARS = 1024
"""Longest name of a producer or a subscription."""

PROTOCOL_VERSION = 21
"""Newest protocol version spoken (AUTO_CONSUME schemas are carried)."""


def take(link: Connection, kind: int, body: bytes) -> None:
    """Act on a command.

    Raises:
        WireError: It is none that a client may send; the connection has to be closed.
    """
    entry = _TABLE.get(kind)
    if entry is None:
        raise WireError(f"Unexpected command {kind}.", hint="Use a Pulsar client.")
    declaration, action = entry
    message = declaration.decode(body)
    try:
        action(link, message)
    except WireError:
        raise
    except Held as held:
        _ask_holder(link, held, message, action)
    except WtpError as error:
        _refuse(link, message, error)


def _ask_holder(
    link: Connection, held: Held, message: Message, action: Callable[[Any, Any], None]
) -> None:
    """Refuse when the holder of what is wanted lives; try once more when it is gone."""

    def known(alive: bool) -> None:
        if link.gone:
            return
        try:
            if alive:
                raise held
            action(link, message)
        except WireError as error:
            link.close(str(error))
        except WtpError as error:
            _refuse(link, message, error)

    if held.holder is None:
        _refuse(link, message, held)
    else:
        held.holder.check_alive(known)


def _refuse(link: Connection, message: Message, error: WtpError) -> None:
    request_id = getattr(message, "request_id", 0)
    link.answer(Cmd.ERROR, Error(request_id, queries.code_of(error), str(error)))


def _connect(link: Connection, message: Connect) -> None:
    if link.protocol_version:
        raise WireError("A second CONNECT.", hint="Open another connection.")
    link.protocol_version = max(min(PROTOCOL_VERSION, message.protocol_version), 1)
    link.client_version = message.client_version
    link.answer(
        Cmd.CONNECTED,
        Connected(
            SERVER_VERSION,
            min(PROTOCOL_VERSION, message.protocol_version),
            link.core.settings.max_message_bytes,
            FeatureFlags(True, True, True),
        ),
    )


def _ping(link: Connection, message: Empty) -> None:
    link.answer(Cmd.PONG, Empty())


def _nothing(link: Connection, message: Message) -> None:
    """PONG and AUTH_RESPONSE only show that the client is alive."""


def _producer(link: Connection, message: Producer) -> None:
    core = link.core
    known = link.producers.get(message.producer_id)
    if known is not None and not known[0].fenced:
        _producer_success(link, message.request_id, *known)
        return
    if message.txn_enabled:
        raise BrokerError("Transactions are not enabled.", hint="Leave them out.", code="refused")
    if message.access not in list(Access):
        raise WireError("An unknown access mode.", hint="Use a Pulsar client.")
    _check_room(link, message.name or "")
    _check_room(link, message.initial_subscription or "")
    topic = core.topic(message.topic)
    version = core.schemas.add(topic.name, message.schema)
    producer = TopicProducer(
        link,
        message.producer_id,
        message.name or core.producer_name(),
        Access(message.access),
        message.epoch,
        message.topic_epoch,
        message.request_id,
        message.user_provided_name,
        _pairs(message.metadata),
        link.connected_at,
    )
    topic.add_producer(producer)
    if message.initial_subscription and not topic.volatile:
        topic.subscribe(message.initial_subscription, EARLIEST, durable=True)
    link.producers[message.producer_id] = (producer, topic)
    last = topic.log.last
    if not topic.waits or last is None:
        _producer_success(link, message.request_id, producer, topic, version)
        return

    def written(error: StorageError | None) -> None:
        """Its last sequence id is a receipt, and waits for the disk like one."""
        if link.producers.get(message.producer_id) != (producer, topic):
            return
        if error is None:
            _producer_success(link, message.request_id, producer, topic, version)
            return
        del link.producers[message.producer_id]
        topic.remove_producer(producer)
        link.answer(Cmd.ERROR, Error(message.request_id, queries.code_of(error), str(error)))

    topic.when_durable(last, written)


def _check_room(link: Connection, name: str) -> None:
    if len(name) > MAX_NAME_CHARS:
        raise BrokerError("The name is too long.", hint="Use a shorter one.", code="refused")
    if len(link.producers) + len(link.consumers) >= MAX_PER_CONNECTION:
        raise BrokerError(
            "Too many producers and consumers on one connection.",
            hint="Close some, or open another connection.",
            code="too-many",
        )


def _producer_success(
    link: Connection, request_id: int, producer: TopicProducer, topic: Topic, version: bytes = b""
) -> None:
    success = ProducerSuccess(
        request_id,
        producer.name,
        topic.last_sequence(producer.name),
        version,
        producer.topic_epoch if producer.ready else None,
        producer.ready,
    )
    link.answer(Cmd.PRODUCER_SUCCESS, success)


def _close_producer(link: Connection, message: CloseProducer) -> None:
    known = link.producers.pop(message.producer_id, None)

    def done(error: StorageError | None) -> None:
        link.answer(Cmd.SUCCESS, Success(message.request_id))

    if known is not None:
        producer, topic = known
        topic.remove_producer(producer)
        last = topic.log.last
        if topic.waits and last is not None:
            topic.when_durable(last, done)
            return
    done(None)


def _subscribe(link: Connection, message: Subscribe) -> None:
    core = link.core
    if message.consumer_id in link.consumers:
        link.answer(Cmd.SUCCESS, Success(message.request_id))
        return
    if message.sub_type not in list(SubType):
        raise WireError("An unknown subscription type.", hint="Use a Pulsar client.")
    if not message.subscription:
        raise UsageError("The subscription has no name.", hint="Give it one.")
    _check_room(link, message.subscription)
    topic = core.topic(message.topic, create=message.force_topic_creation)
    idle = not topic.busy and topic.log.last is None
    core.schemas.check_consumer(topic.name, message.schema, idle=idle)
    start = _start(message, topic)
    fresh = message.subscription not in topic.subscriptions
    subscription = topic.subscribe(message.subscription, start, durable=message.durable)
    keys = message.key_shared
    consumer = Consumer(
        link,
        message.consumer_id,
        message.consumer_name or f"c-{core.producer_name()}",
        message.priority_level,
        topic.partition,
        tuple((r.start, r.end) for r in keys.ranges) if keys is not None else (),
        message.consumer_epoch,
        _pairs(message.metadata),
        link.connected_at,
    )
    try:
        if not message.durable and subscription.durable:
            raise BrokerError(
                "The subscription is durable.", hint="Use another name.", code="refused"
            )
        subscription.add(consumer, SubType(message.sub_type), keys)
    except BrokerError:
        if fresh:
            topic.drop_subscription(subscription)
        raise
    link.consumers[message.consumer_id] = (consumer, subscription)
    link.answer(Cmd.SUCCESS, Success(message.request_id))
    if subscription.dispatcher is not None:
        subscription.dispatcher.started(consumer)


def _start(message: Subscribe, topic: Topic) -> Position:
    """Where a new subscription begins; the start id is inclusive."""
    if message.rollback_s:
        return topic.log.seek_time(time.time_ns() // 1_000_000 - message.rollback_s * 1000)
    if message.start_message_id is not None:
        return position_of(message.start_message_id)
    return EARLIEST if message.initial_position == 1 else LATEST


def position_of(place: MessageIdData) -> Position:
    """A position that a client names; `earliest` and `latest` have numbers of their own."""
    if place.ledger == NO_ID:
        return EARLIEST
    if place.ledger >= LATEST_ID:
        return LATEST
    return Position(place.ledger, -1 if place.entry == NO_ID else min(place.entry, LATEST_ID))


def _close_consumer(link: Connection, message: CloseConsumer) -> None:
    consumer, subscription = link.consumers.pop(message.consumer_id, (None, None))
    if consumer is not None and subscription is not None:
        subscription.remove(consumer)
    link.answer(Cmd.SUCCESS, Success(message.request_id))


def _unsubscribe(link: Connection, message: Unsubscribe) -> None:
    found = link.consumers.get(message.consumer_id)
    if found is None:
        queries.no_consumer(link, message.request_id)
        return
    consumer, subscription = found
    if len(subscription.consumers) > 1 and not message.force:
        raise BrokerError(
            "Unconnected or shared consumer attempting to unsubscribe.",
            hint="Close the other consumers first.",
            code="not-alone",
        )
    del link.consumers[message.consumer_id]
    subscription.remove(consumer)
    subscription.disconnect()
    subscription.topic.drop_subscription(subscription)
    link.answer(Cmd.SUCCESS, Success(message.request_id))


def _seek(link: Connection, message: Seek) -> None:
    found = link.consumers.get(message.consumer_id)
    if found is None:
        queries.no_consumer(link, message.request_id)
        return
    _, subscription = found
    log = subscription.topic.log
    if message.message_id is not None:
        start = min(max(position_of(message.message_id), log.first), log.end)
    elif message.publish_ms is not None:
        start = log.seek_time(message.publish_ms)
    else:
        start = log.end
    subscription.seek(start)
    link.answer(Cmd.SUCCESS, Success(message.request_id))


def _redeliver(link: Connection, message: Redeliver) -> None:
    found = link.consumers.get(message.consumer_id)
    if found is None:
        return
    consumer, subscription = found
    if message.consumer_epoch is not None:
        consumer.epoch = message.consumer_epoch
    if subscription.dispatcher is not None:
        places = [Position(m.ledger, m.entry) for m in message.message_ids]
        subscription.dispatcher.redeliver(consumer, places or None)


def _transaction(link: Connection, message: Transaction) -> None:
    error = Error(message.request_id, Code.NOT_ALLOWED, "Transactions are not enabled.")
    link.answer(Cmd.ERROR, error)


def _pairs(metadata: list[KeyValue]) -> dict[str, str]:
    return {pair.key: pair.value for pair in metadata}


_TABLE: dict[int, tuple[type[Message], Callable[[Any, Any], None]]] = {
    Cmd.CONNECT: (Connect, _connect),
    Cmd.PING: (Empty, _ping),
    Cmd.PONG: (Empty, _nothing),
    Cmd.AUTH_RESPONSE: (Empty, _nothing),
    Cmd.PARTITIONED_METADATA: (PartitionedMetadata, queries.partitioned_metadata),
    Cmd.LOOKUP: (Lookup, queries.lookup),
    Cmd.PRODUCER: (Producer, _producer),
    Cmd.CLOSE_PRODUCER: (CloseProducer, _close_producer),
    Cmd.SUBSCRIBE: (Subscribe, _subscribe),
    Cmd.CLOSE_CONSUMER: (CloseConsumer, _close_consumer),
    Cmd.UNSUBSCRIBE: (Unsubscribe, _unsubscribe),
    Cmd.SEEK: (Seek, _seek),
    Cmd.REDELIVER: (Redeliver, _redeliver),
    Cmd.GET_LAST_MESSAGE_ID: (GetLastMessageId, queries.last_message_id),
    Cmd.CONSUMER_STATS: (ConsumerStats, queries.consumer_stats),
    Cmd.GET_TOPICS: (GetTopics, queries.topics),
    Cmd.WATCH_TOPICS: (WatchTopics, queries.watch),
    Cmd.WATCH_TOPICS_CLOSE: (WatchTopicsClose, queries.watch_close),
    Cmd.GET_SCHEMA: (GetSchema, queries.get_schema),
    Cmd.GET_OR_CREATE_SCHEMA: (GetOrCreateSchema, queries.create_schema),
    **dict.fromkeys(
        (
            Cmd.TC_CLIENT_CONNECT,
            Cmd.NEW_TXN,
            Cmd.ADD_PARTITION_TO_TXN,
            Cmd.ADD_SUBSCRIPTION_TO_TXN,
            Cmd.END_TXN,
            Cmd.END_TXN_ON_PARTITION,
            Cmd.END_TXN_ON_SUBSCRIPTION,
        ),
        (Transaction, _transaction),
    ),
}
