"""What a WebSocket client asks for: the path and the query of its handshake.

Names, limits and the status of each refusal are those of Pulsar 4.0 as it answers them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import unquote

from wtp.broker.embedded.commands import MessageIdData
from wtp.broker.embedded.numbers import LATEST_ID, NO_ID, SubType
from wtp.broker.embedded.wsmessages import read_message_id
from wtp.broker.naming import parse_topic
from wtp.errors import UsageError, WireError, WtpError

T = TypeVar("T")
Query = Mapping[str, str]

QUEUE = 1000
"""Messages pushed and not acknowledged at most, when the client says nothing."""

MAX_QUEUE = 100_000
"""The same when it says much: each one is remembered until its acknowledgement."""

NACK_DELAY_MS = 60_000
DEAD_LETTER_TIMEOUT_MS = 30_000
"""Delay after a negative acknowledgement; acknowledgement time-out that a dead letter policy
brings. Both are the Java client's."""

LEAST_ACK_TIMEOUT_MS = 1000

CODECS = frozenset({"NONE", "LZ4", "ZLIB", "ZSTD", "SNAPPY"})
HASHES = frozenset({"JavaStringHash", "Murmur3_32Hash"})
ROUTINGS = frozenset({"SinglePartition", "RoundRobinPartition", "CustomPartition"})
TYPES = {
    "Exclusive": SubType.EXCLUSIVE,
    "Shared": SubType.SHARED,
    "Failover": SubType.FAILOVER,
    "Key_Shared": SubType.KEY_SHARED,
}
EARLIEST_ID = MessageIdData(NO_ID, NO_ID)
LATEST_PLACE = MessageIdData(LATEST_ID, LATEST_ID)


class BadHandshake(UsageError):
    """A handshake is refused; `status` is the HTTP status."""

    def __init__(self, why: str, status: int = 400) -> None:
        super().__init__(why, hint="See Pulsar's page on its WebSocket API.")
        self.status = status


@dataclass(frozen=True, slots=True)
class ProducerOptions:
    """Query of a producer. What only tunes Pulsar's client (batching, time-outs) is checked only.

    Attributes:
        topic: Full name.
        name: Producer's name; empty: the broker chooses.
        first_sequence: Sequence id before the first one; None: the broker's last one.
        compress: Whether payloads are packed (ZLIB; the others are sent as they are).
        murmur: Whether keys choose a partition by Murmur3 instead of Java's hash of strings.
        single: Whether messages without a key all go to one partition.
    """

    topic: str
    name: str = ""
    first_sequence: int | None = None
    compress: bool = False
    murmur: bool = False
    single: bool = True


@dataclass(frozen=True, slots=True)
class ConsumerOptions:
    """Query of a consumer or reader.

    Attributes:
        topic: Full name.
        subscription: Its name.
        kind: Its type.
        durable: Whether it outlives its consumers.
        start: Where a new subscription begins; only what lies behind it is delivered.
        consumer: The consumer's name; empty: the broker chooses.
        priority: Lower is served first.
        queue: Messages pushed and not acknowledged at most.
        pull: Nothing is pushed that was not asked for.
        ack_timeout_ms: Time after which what is not acknowledged comes again; 0 for never.
        nack_delay_ms: Time after which what was refused comes again.
        most_redeliveries: Redeliveries after which a message becomes a dead letter; 0 for never.
        dead_letter: Topic of dead letters.
        reader: A reader: its acknowledgements only ask for more.
    """

    topic: str
    subscription: str
    kind: SubType = SubType.EXCLUSIVE
    durable: bool = True
    start: MessageIdData = field(default_factory=lambda: LATEST_PLACE)
    consumer: str = ""
    priority: int = 0
    queue: int = QUEUE
    pull: bool = False
    ack_timeout_ms: int = 0
    nack_delay_ms: int = NACK_DELAY_MS
    most_redeliveries: int = 0
    dead_letter: str = ""
    reader: bool = False


def producer_options(parts: list[str], query: Query) -> ProducerOptions:
    """Read the handshake of a producer.

    Args:
        parts: Path behind `producer/`, not decoded.
        query: Its parameters.

    Raises:
        BadHandshake: They make no sense.
    """
    topic = _topic(parts, 4, 500)
    if "encryptionKeys" in query:
        raise BadHandshake("Encryption keys are not supported here.", 500)
    _integer(query, "sendTimeoutMillis", 0, least=0)
    if _flag(query, "batchingEnabled"):
        for name in ("batchingMaxMessages", "maxPendingMessages", "batchingMaxPublishDelay"):
            _integer(query, name, 0)
    return ProducerOptions(
        topic,
        _named(query, "producerName"),
        _integer(query, "initialSequenceId", None),
        _one_of(query, "compressionType", CODECS, "NONE") == "ZLIB",
        _one_of(query, "hashingScheme", HASHES, "JavaStringHash") == "Murmur3_32Hash",
        _one_of(query, "messageRoutingMode", ROUTINGS, "SinglePartition") == "SinglePartition",
    )


def consumer_options(parts: list[str], query: Query) -> ConsumerOptions:
    """Read the handshake of a consumer; see `producer_options`."""
    if len(parts) != 5:
        raise BadHandshake("Invalid topic name format")
    subscription = unquote(parts[4])
    if not subscription:
        raise BadHandshake("Empty subscription name")
    topic = _topic(parts[:4], 4, 500)
    kind = TYPES[_one_of(query, "subscriptionType", frozenset(TYPES), "Exclusive")]
    mode = _one_of(query, "subscriptionMode", frozenset({"Durable", "NonDurable"}), "Durable")
    first = _one_of(
        query, "subscriptionInitialPosition", frozenset({"Latest", "Earliest"}), "Latest"
    )
    ack_timeout_ms = _integer(query, "ackTimeoutMillis", 0)
    if 0 != ack_timeout_ms < LEAST_ACK_TIMEOUT_MS:
        raise BadHandshake("Ack timeout should be greater than 1000 ms")
    most = 0
    if "maxRedeliverCount" in query or "deadLetterTopic" in query:
        most = _integer(query, "maxRedeliverCount", 0)
        if most < 1:
            raise BadHandshake("MaxRedeliverCount must be > 0.")
        if kind in (SubType.SHARED, SubType.KEY_SHARED):
            ack_timeout_ms = ack_timeout_ms or DEAD_LETTER_TIMEOUT_MS
        else:
            most = 0
    return ConsumerOptions(
        topic,
        subscription,
        kind,
        mode == "Durable",
        EARLIEST_ID if first == "Earliest" else LATEST_PLACE,
        _named(query, "consumerName"),
        _integer(query, "priorityLevel", 0, least=0),
        _queue(query, 400),
        _flag(query, "pullMode"),
        ack_timeout_ms,
        _integer(query, "negativeAckRedeliveryDelay", NACK_DELAY_MS, least=0),
        most,
        query.get("deadLetterTopic") or f"{topic}-{subscription}-DLQ",
    )


def reader_options(parts: list[str], query: Query, fresh_name: str) -> ConsumerOptions:
    """Read the handshake of a reader; see `producer_options`.

    Args:
        parts: Path behind `reader/`.
        query: Its parameters.
        fresh_name: Subscription of a reader that has no name.
    """
    topic = _topic(parts, 4, 500)
    text = query.get("messageId") or "latest"
    start = {"earliest": EARLIEST_ID, "latest": LATEST_PLACE}.get(text)
    if start is None:
        try:
            start = read_message_id(text.replace(" ", "+"))
        except WireError as error:
            raise BadHandshake(error.message, 500) from error
    return ConsumerOptions(
        topic,
        fresh_name,
        durable=False,
        start=start,
        consumer=query.get("readerName", ""),
        queue=_queue(query, 500),
        reader=True,
    )


def _topic(parts: list[str], count: int, status: int) -> str:
    if len(parts) != count:
        raise BadHandshake("Invalid topic name format", status)
    domain, tenant, namespace, local = (unquote(part) for part in parts)
    try:
        return str(parse_topic(f"{domain}://{tenant}/{namespace}/{local}"))
    except WtpError as error:
        raise BadHandshake(error.message, status) from error


def _queue(query: Query, status: int) -> int:
    try:
        return min(max(_integer(query, "receiverQueueSize", QUEUE, least=0), 1), MAX_QUEUE)
    except BadHandshake as error:
        raise BadHandshake(error.message, status) from error


def _integer(query: Query, name: str, default: T, *, least: int | None = None) -> int | T:
    """A number; the default when it is not given."""
    if name not in query:
        return default
    text = query[name]
    try:
        value = int(text) if text.isascii() and "_" not in text else None
    except ValueError:
        value = None
    if value is None or abs(value) > 1 << 62 or (least is not None and value < least):
        raise BadHandshake(f"{name} {text[:40]!r} is no number that is allowed")
    return value


def _named(query: Query, name: str) -> str:
    text = query.get(name)
    if text is not None and not text.strip():
        raise BadHandshake(f"{name} cannot be blank")
    return text or ""


def _flag(query: Query, name: str) -> bool:
    return query.get(name, "").lower() == "true"


def _one_of(query: Query, name: str, allowed: frozenset[str], default: str) -> str:
    text = query.get(name, default)
    if text not in allowed:
        raise BadHandshake(f"Invalid {name} {text[:40]!r}; {', '.join(sorted(allowed))} are known")
    return text
