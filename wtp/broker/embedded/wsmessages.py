"""Messages between Pulsar's binary form and the JSON of its WebSocket API."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from wtp.broker.embedded.commands import KeyValue, MessageIdData
from wtp.broker.embedded.protobuf import Message, damaged, pb
from wtp.broker.embedded.wscodecs import unpack
from wtp.broker.embedded.wsfast import Head
from wtp.errors import WireError

Json = dict[str, Any]

NOT_JSON = 3
NOT_SENDABLE = 7
FAILED = 8
"""Numbers after `send-error:` (WebSocketError of Pulsar 4.0, as seen): the text is no JSON of the
form; payload or time are wrong; the broker refused."""


@dataclass(slots=True)
class SingleMetadata(Message):
    """SingleMessageMetadata of PulsarApi.proto: what precedes each message of a batch."""

    properties: list[KeyValue] = pb(1, KeyValue, many=True)  # noqa: RUF009 - makes a field
    partition_key: str | None = pb(2, "string")
    payload_bytes: int = pb(3, "int", required=True, default=0)
    event_ms: int | None = pb(5, "uint")


@dataclass(frozen=True, slots=True)
class Content:
    """One message, out of its entry.

    Attributes:
        payload: Its bytes, unpacked.
        properties: Its properties.
        key: Partition key, None without one.
        publish_ms: Publish time; `event_ms`: event time, 0 without one.
        batch_index: Where it stands in a batch, -1 outside of one.
        batch_size: Messages of the batch, 0 outside of one.
    """

    payload: bytes
    properties: Mapping[str, str]
    key: str | None
    publish_ms: int
    event_ms: int = 0
    batch_index: int = -1
    batch_size: int = 0


def contents(meta: Head, payload: bytes) -> list[Content]:
    """The messages of an entry.

    Args:
        meta: Its metadata.
        payload: What follows, of all chunks.

    Raises:
        WireError: It cannot be unpacked.
    """
    data = unpack(payload, meta.compression, meta.uncompressed_size)
    if meta.num_messages is None or meta.num_chunks:
        key, publish_ms = meta.partition_key, meta.publish_ms
        return [Content(data, meta.properties, key, publish_ms, meta.event_ms)]
    found, at = [], 0
    for index in range(meta.num_messages):
        size = int.from_bytes(data[at : at + 4])
        one = SingleMetadata.decode(data[at + 4 : at + 4 + size])
        start = at + 4 + size
        at = start + max(one.payload_bytes, 0)
        if at > len(data):
            raise damaged("a batch is cut off")
        found.append(
            Content(
                data[start:at],
                {pair.key: pair.value for pair in one.properties},
                one.partition_key,
                meta.publish_ms,
                one.event_ms or 0,
                index,
                meta.num_messages,
            )
        )
    return found


def read_message_id(text: str) -> MessageIdData:
    """Read an id that `encode_id` (or any Pulsar) made.

    Raises:
        WireError: It is none.
    """
    try:
        return MessageIdData.decode(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError) as error:
        raise WireError(
            f"{text[:100]!r} is no message id.", hint="Send one that came with a message."
        ) from error


def time_text(unix_ms: int) -> str:
    """A time as Pulsar writes it: UTC, trailing zeros of the fraction left out."""
    try:
        when = datetime.fromtimestamp(unix_ms / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        when = datetime.fromtimestamp(0, UTC)
    return when.isoformat(timespec="milliseconds")[:23].rstrip("0").rstrip(".") + "Z"


def read_time(text: str) -> int:
    """Unix ms of a time with an offset, as ISO 8601 writes it.

    Raises:
        ValueError: It is none.
    """
    when = datetime.fromisoformat(text)
    if when.tzinfo is None:
        raise ValueError(f"Text '{text}' could not be parsed: it has no offset")
    return int(when.timestamp() * 1000 + 0.5)


def delivery(content: Content, where: str, redeliveries: int) -> str:
    """The text that a consumer or reader gets."""
    out: Json = {
        "messageId": where,
        "payload": base64.b64encode(content.payload).decode(),
        "properties": dict(content.properties),
        "publishTime": time_text(content.publish_ms),
        "redeliveryCount": redeliveries,
    }
    if content.event_ms:
        out["eventTime"] = time_text(content.event_ms)
    if content.key is not None:
        out["key"] = content.key
    return json.dumps(out, ensure_ascii=False, separators=(",", ":"))


def sent(where: str, context: str | None) -> str:
    """The acknowledgement of a message that the broker has."""
    return _result("ok", None, where, context)


def not_sent(number: int, why: str, context: str | None) -> str:
    """The answer to a message that was not taken."""
    return _result(f"send-error:{number}", why, None, context)


def _result(result: str, why: str | None, where: str | None, context: str | None) -> str:
    parts = {"result": result, "errorMsg": why, "messageId": where, "context": context}
    out: Json = {key: value for key, value in parts.items() if value is not None}
    out |= {"errorCode": 0, "schemaVersion": 0}
    return json.dumps(out, ensure_ascii=False, separators=(",", ":"))


class NotTaken(WireError):
    """A message that is not taken; the socket stays.

    Args:
        number: `NOT_JSON` or `NOT_SENDABLE`.
        why: For people.
        context: The message's own.
    """

    def __init__(self, number: int, why: str, context: str | None = None) -> None:
        super().__init__(why, hint="Send a JSON object with a base64 payload.")
        self.number = number
        self.context = context


@dataclass(frozen=True, slots=True)
class ToSend:
    """What a producer was given."""

    payload: bytes
    properties: Mapping[str, str] = field(default_factory=dict)
    context: str | None = None
    key: str | None = None
    event_ms: int = 0
    deliver_at_ms: int = 0
    deliver_after_ms: int = 0


def read_send(text: str) -> ToSend:
    """Read what a producer sends.

    Raises:
        NotTaken: It is no message.
        WireError: A property has no value: the socket closes, as Pulsar's does.
    """
    fields = _object(text)
    context = _text(fields, "context")
    properties = fields.get("properties")
    if properties is None:
        properties = {}
    if not isinstance(properties, dict):
        raise NotTaken(NOT_JSON, "properties is no object")
    pairs = {}
    for name in properties:
        value = _text(properties, name)
        if value is None:
            raise WireError(f"Need Non-Null value for key: {name}")
        pairs[name] = value
    numbers = [_number(fields, name) for name in ("deliverAt", "deliverAfterMs")]
    _number(fields, "sequenceId")
    _number(fields, "schemaVersion")
    payload, when = _text(fields, "payload"), _text(fields, "eventTime")
    try:
        event_ms = read_time(when) if when is not None else 0
    except ValueError as error:
        raise NotTaken(NOT_SENDABLE, str(error), context) from error
    return ToSend(
        _payload(payload, context), pairs, context, _text(fields, "key"), max(event_ms, 0), *numbers
    )


def _object(text: str) -> Json:
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NotTaken(NOT_JSON, f"The message is no JSON: {error}") from error
    if fields is None:
        raise NotTaken(NOT_SENDABLE, "The message is null")
    if not isinstance(fields, dict):
        raise NotTaken(NOT_JSON, "The message is no JSON object")
    return fields


def _payload(text: str | None, context: str | None) -> bytes:
    if text is None:
        raise NotTaken(NOT_SENDABLE, "The message has no payload", context)
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        why = f"Invalid Base64 message-payload error={error}"
        raise NotTaken(NOT_SENDABLE, why, context) from error


def _text(fields: Mapping[str, Any], name: str) -> str | None:
    """A text field; numbers and truth values are taken as text, as Pulsar does."""
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, (dict, list)):
        raise NotTaken(NOT_JSON, f"{name} is no text")
    text = value if isinstance(value, str) else json.dumps(value)
    if not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text):
        raise NotTaken(NOT_JSON, f"{name} is no text")
    return text


def _number(fields: Mapping[str, Any], name: str) -> int:
    value = fields.get(name)
    if value is None:
        return 0
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise NotTaken(NOT_JSON, f"{name} is no number") from error
    if not -(1 << 63) <= number < 1 << 63:
        raise NotTaken(NOT_JSON, f"{name} is no number of 64 bits")
    return number
