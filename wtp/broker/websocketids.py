"""Pulsar's WebSocket API as text: paths, message ids, times, messages."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

from wtp.broker.embedded.commands import MessageIdData
from wtp.broker.messages import Received
from wtp.broker.naming import parse_topic
from wtp.errors import BrokerError, UsageError, WireError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Json = dict[str, Any]


def path(role: str, topic: str, query: Mapping[str, object], subscription: str = "") -> str:
    """Path and query of a socket below the API's address.

    Args:
        role: `producer`, `consumer` or `reader`.
        topic: Full topic name.
        query: Parameters; empty texts are left out.
        subscription: Of a consumer.

    Raises:
        UsageError: The topic has a name that cannot stand in a path.
    """
    name = parse_topic(topic)
    if "/" in name.local:
        raise UsageError(f"{topic!r} cannot be reached over a WebSocket: its name has a slash.")
    parts = [role, name.domain, name.tenant, name.namespace, name.local]
    parts += [subscription] if subscription else []
    given = {key: str(value) for key, value in query.items() if value != ""}
    text = "/" + "/".join(quote(part, safe="") for part in parts)
    return f"{text}?{urlencode(given)}" if given else text


def start_id(start: str, *, inclusive: bool) -> str:
    """The `messageId` of a reader, which begins behind what it names.

    Args:
        start: `earliest`, `latest` or a position `ledger:entry[:batch]`.
        inclusive: Whether the message there is wanted too.

    Raises:
        BrokerError: It is none of these.
    """
    if start in ("earliest", "latest"):
        return start
    try:
        ledger, entry, *rest = (int(part) for part in start.split(":"))
    except ValueError as error:
        raise BrokerError(
            f"{start!r} is no message id.", hint="Write LEDGER:ENTRY, earliest or latest."
        ) from error
    batch = rest[0] if rest else -1
    if inclusive:
        batch, entry = (batch - 1, entry) if batch > 0 else (-1, entry - 1)
    place = MessageIdData(ledger, entry, None, batch if batch >= 0 else None)
    return base64.b64encode(place.encode()).decode()


def position(message_id: str) -> str:
    """`ledger:entry` or `ledger:entry:batch` of an id.

    Raises:
        WireError: It is none.
    """
    try:
        place = MessageIdData.decode(base64.b64decode(message_id, validate=True))
    except (binascii.Error, ValueError) as error:
        raise WireError(f"{message_id[:100]!r} is no message id.") from error
    if place.batch_index is not None and place.batch_index >= 0 and place.batch_size:
        return f"{place.ledger}:{place.entry}:{place.batch_index}"
    return f"{place.ledger}:{place.entry}"


def unix_ms(text: str | None) -> int:
    """Unix ms of a time as Pulsar writes it; 0 for none."""
    if not text:
        return 0
    when = datetime.fromisoformat(text)
    return (when - _EPOCH) // timedelta(milliseconds=1)


def iso_time(ms: int) -> str:
    """A time as Pulsar reads it."""
    return (_EPOCH + timedelta(milliseconds=ms)).isoformat(timespec="milliseconds")


def received(text: str, topic: str, at_us: int) -> Received:
    """A message out of what came.

    Args:
        text: What came.
        topic: Full topic name.
        at_us: When, CLOCK_MONOTONIC in µs.

    Raises:
        WireError: It is no message.
    """
    fields = answer(text)
    try:
        return Received(
            topic=topic,
            key=str(fields.get("key") or ""),
            properties=dict(fields.get("properties") or {}),
            payload=base64.b64decode(fields["payload"]),
            publish_ms=unix_ms(fields.get("publishTime")),
            event_ms=unix_ms(fields.get("eventTime")),
            position=position(fields["messageId"]),
            receive_monotonic_us=at_us,
            redeliveries=int(fields.get("redeliveryCount") or 0),
            raw=fields["messageId"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise WireError(
            f"The broker's WebSocket API sent a message that cannot be read ({error!r}).",
            hint="Is it a Pulsar?",
        ) from error


def message(
    payload: bytes, properties: Mapping[str, str], key: str, event_ms: int, context: int
) -> str:
    """What a producer sends."""
    fields: Json = {
        "payload": base64.b64encode(payload).decode(),
        "properties": properties,
        "context": str(context),
    }
    if key:
        fields["key"] = key
    if event_ms > 0:
        fields["eventTime"] = iso_time(event_ms)
    return json.dumps(fields, separators=(",", ":"))


def answer(text: str) -> Json:
    """An object of the broker's.

    Raises:
        WireError: It is none.
    """
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WireError("The broker's WebSocket API sent something that is no JSON.") from error
    if not isinstance(fields, dict):
        raise WireError("The broker's WebSocket API sent something that is no JSON object.")
    return fields
