"""What crosses the border to `pulsar-client`: messages, errors, calls from its threads."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import pulsar

from wtp.errors import BrokerError, BrokerUnavailable, NotFound, Refused, WtpError

Right = Literal["produce", "consume", "look up"]
"""What one may be allowed to do with a topic."""

_UNAVAILABLE = {
    "ConnectError", "Timeout", "NotConnected", "ReadError", "ServiceUnitNotReady",
    "BrokerMetadataError", "BrokerPersistenceError", "AlreadyClosed", "LookupError",
    "Disconnected", "RetryableError", "TooManyLookupRequestException",
}  # fmt: skip
_NOT_FOUND = {"TopicNotFound", "SubscriptionNotFound"}
_REFUSED = {"AuthorizationError": "not-allowed", "NotAllowedError": "not-allowed",
            "AuthenticationError": "token-refused",
            "ErrorGettingAuthenticationData": "token-refused"}  # fmt: skip
_CODES = {
    "ProducerBusy": "busy",
    "ConsumerBusy": "busy",
    "ProducerFenced": "busy",
    "ProducerQueueIsFull": "queue",
    "MemoryBufferIsFull": "queue",
    "ProducerBlockedQuotaExceededError": "quota",
    "ProducerBlockedQuotaExceededException": "quota",
    "ProducerBlockedQuotaExceeded": "quota",
    "MessageTooBig": "too-large",
    "InvalidMessage": "bad-message",
    "IncompatibleSchema": "schema",
    "TopicTerminated": "terminated",
    "OperationNotSupported": "unsupported",
    "UnsupportedVersionError": "unsupported",
    "InvalidTopicName": "bad-topic",
}
_HINTS = {
    "too-large": "Send smaller objects, or raise maxMessageSize of the broker.",
    "quota": "The topic's backlog quota is used up: read or delete subscriptions that lag behind.",
    "schema": "The topic has a schema; wtp writes plain bytes. Choose another topic.",
    "terminated": "Nothing can be added to a terminated topic. Choose another one.",
    "bad-topic": "Write persistent://tenant/namespace/topic.",
}

PERMANENT = frozenset(
    {"too-large", "bad-message", "schema", "terminated", "unsupported", "bad-topic", "not-allowed"}
)
"""Codes of refusals that the same object meets again, however often it is tried."""


def permanent(error: WtpError) -> bool:
    """Whether sending the same object again is pointless: it was refused for good.

    Everything else passes, be it by waiting for a broker, for a quota or for a new token.
    """
    return error.code in PERMANENT


def translate(result: str, url: str, what: str) -> BrokerError | Refused:
    """The error for a result name of the client.

    Args:
        result: Name of a result or of an exception of the client library.
        url: The broker, as `shown`.
        what: What was being done.
    """
    if result in _UNAVAILABLE:
        return BrokerUnavailable(
            f"No usable broker at {url} ({what}: {result}).",
            hint="Check the URL, or start one: wtp broker. In a cluster, check that the addresses "
            "which brokers advertise can be reached from here.",
        )
    if result in _NOT_FOUND:
        return NotFound(
            f"{what}: the broker knows no such topic, namespace or subscription.",
            hint="wtp topics list shows what there is.",
        )
    if result in _REFUSED:
        return Refused(
            f"{what}: the broker refused ({result}).",
            hint="Check token and rights.",
            code=_REFUSED[result],
        )
    code = _CODES.get(result, "broker")
    return BrokerError(f"{what}: {result}.", hint=_HINTS.get(code, ""), code=code)


def no_right(right: Right, topic: str, url: str) -> Refused:
    """That a right on a topic is missing, and how it is given."""
    action = "produce or consume" if right == "look up" else right
    words = {"produce": "write to", "consume": "read", "look up": "look at"}[right]
    return Refused(
        f"The broker at {url} does not allow this client to {words} {topic}.",
        hint=f"Grant its role the right to {action}: pulsar-admin namespaces grant-permission "
        f"{'/'.join(topic.split('://')[-1].split('/')[:2])} --role ROLE --actions "
        f"{'produce' if right == 'produce' else 'consume'}.",
        code="not-allowed",
    )


class Received(NamedTuple):
    """A message as it came from the broker.

    Attributes:
        topic: Full topic name.
        key: Partition key, "" without one.
        properties: Its properties.
        payload: Its bytes.
        publish_ms: The producer's publish time, Unix ms; `event_ms`: event time, 0 without one.
        position: `ledger:entry` or `ledger:entry:batch`.
        receive_monotonic_us: CLOCK_MONOTONIC when the client's thread got it, µs.
        redeliveries: How often it was delivered before.
        raw: The client's own message, for acknowledgement.
    """

    topic: str
    key: str
    properties: Mapping[str, str]
    payload: bytes
    publish_ms: int
    event_ms: int
    position: str
    receive_monotonic_us: int
    redeliveries: int
    raw: Any


def received(message: Any, at_us: int) -> Received:
    """A message of the client, as it came at `at_us` (CLOCK_MONOTONIC)."""
    where = message.message_id()
    batch = where.batch_index()
    position = f"{where.ledger_id()}:{where.entry_id()}" + (f":{batch}" if batch >= 0 else "")
    return Received(
        message.topic_name(),
        message.partition_key(),
        message.properties(),
        message.data(),
        message.publish_timestamp(),
        message.event_timestamp(),
        position,
        at_us,
        message.redelivery_count(),
        message,
    )


def message_id(start: str) -> Any:
    """The client's id for `earliest`, `latest` or `ledger:entry[:batch]`.

    Raises:
        BrokerError: None of these.
    """
    if start == "earliest":
        return pulsar.MessageId.earliest
    if start == "latest":
        return pulsar.MessageId.latest
    try:
        ledger, entry, *batch = (int(part) for part in start.split(":"))
        return pulsar.MessageId(-1, ledger, entry, batch[0] if batch else -1)
    except ValueError as error:
        raise BrokerError(
            f"{start!r} is no message id.", hint="Write LEDGER:ENTRY, earliest or latest."
        ) from error


class Inbox:
    """Calls from the client's threads, run on the loop with one wake-up for many."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._calls: deque[tuple[Callable[..., None], Any, Any]] = deque()
        self._armed = False

    def post(self, call: Callable[..., None], first: Any, second: Any) -> None:
        """Run `call(first, second)` on the loop; from any thread."""
        self._calls.append((call, first, second))
        if not self._armed:
            self._armed = True
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(self._drain)

    def _drain(self) -> None:
        self._armed = False
        try:
            while self._calls:
                call, first, second = self._calls.popleft()
                call(first, second)
        finally:  # a fault in one call is no reason for the others to wait
            if self._calls and not self._armed:
                self._armed = True
                self._loop.call_soon(self._drain)
