"""Hand-tuned coding of what travels once per message between a socket and the broker.

Each gives what the declarations in `commands`, `answers` and `metadata` give; tests compare them.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field

from wtp.broker.embedded.metadata import metadata_bounds
from wtp.broker.embedded.protobuf import damaged, read_varint, skip, varint

_MASK = (1 << 64) - 1


@dataclass(slots=True)
class Head:
    """What a consumer needs of a message's metadata; names as in `metadata.Metadata`."""

    publish_ms: int = 0
    properties: dict[str, str] = field(default_factory=dict)
    partition_key: str | None = None
    compression: int = 0
    uncompressed_size: int = 0
    num_messages: int | None = None
    event_ms: int = 0
    uuid: str | None = None
    num_chunks: int = 0
    chunk_id: int = 0


_NUMBERS = {
    24: "publish_ms",
    64: "compression",
    72: "uncompressed_size",
    88: "num_messages",
    96: "event_ms",
    216: "num_chunks",
    232: "chunk_id",
}
"""Tags of number fields (PulsarApi.proto, MessageMetadata)."""

_PROPERTY, _KEY, _UUID = 34, 50, 210


def read_head(blob: bytes) -> tuple[Head, bytes]:
    """Metadata and payload of a blob.

    Raises:
        WireError: It has none.
    """
    pos, end = metadata_bounds(blob)
    head = Head()
    while pos < end:
        tag, pos = read_varint(blob, pos)
        if tag in _NUMBERS:
            value, pos = read_varint(blob, pos)
            setattr(head, _NUMBERS[tag], value)
        elif tag == _PROPERTY:
            size, pos = read_varint(blob, pos)
            key, value_text = _pair(blob, pos, pos + size)
            head.properties[key] = value_text
            pos += size
        elif tag in (_KEY, _UUID):
            size, pos = read_varint(blob, pos)
            text = _text(blob, pos, pos + size)
            pos += size
            if tag == _KEY:
                head.partition_key = text
            else:
                head.uuid = text
        else:
            pos = skip(blob, pos, tag & 7)
    if pos != end:
        raise damaged("message metadata is cut off")
    return head, blob[end:]


def _pair(blob: bytes, pos: int, end: int) -> tuple[str, str]:
    found = ["", ""]
    while pos < end:
        tag, pos = read_varint(blob, pos)
        size, pos = read_varint(blob, pos)
        if tag in (10, 18):
            found[tag >> 4] = _text(blob, pos, pos + size)
        pos += size
    return found[0], found[1]


def _text(blob: bytes, pos: int, end: int) -> str:
    try:
        return blob[pos:end].decode()
    except UnicodeDecodeError:
        raise damaged("a string is not UTF-8") from None


def _prefixed(raw: bytes) -> bytes:
    return varint(len(raw)) + raw


def encode_metadata(
    name: str,
    sequence: int,
    publish_ms: int,
    properties: Mapping[str, str],
    *,
    key: str | None = None,
    event_ms: int = 0,
    deliver_at_ms: int = 0,
    packed: tuple[int, int] | None = None,
) -> bytes:
    """Encode the metadata of a message.

    Args:
        name: The producer's.
        sequence: Sequence id.
        publish_ms: Publish time.
        properties: Its properties.
        key: Partition key.
        event_ms: Event time; 0 for none.
        deliver_at_ms: Earliest time of delivery; 0 for none.
        packed: Codec and size when unpacked, of a compressed payload.
    """
    out = [b"\x0a", _prefixed(name.encode()), b"\x10", varint(sequence & _MASK), b"\x18"]
    out.append(varint(publish_ms))
    for one, value in properties.items():
        pair = b"\x0a" + _prefixed(one.encode()) + b"\x12" + _prefixed(value.encode())
        out += (b"\x22", _prefixed(pair))
    if key is not None:
        out += (b"\x32", _prefixed(key.encode()))
    if packed is not None:
        out += (b"\x40", varint(packed[0]), b"\x48", varint(packed[1]))
    if event_ms:
        out += (b"\x60", varint(event_ms))
    if deliver_at_ms:
        out += (b"\x98\x01", varint(deliver_at_ms))
    return b"".join(out)


def send_body(producer_id: int, sequence: int) -> bytes:
    """SEND of one message."""
    return b"\x08" + varint(producer_id) + b"\x10" + varint(sequence & _MASK)


def flow_body(consumer_id: int, permits: int) -> bytes:
    """FLOW."""
    return b"\x08" + varint(consumer_id) + b"\x10" + varint(permits)


def ack_body(consumer_id: int, ledger: int, entry: int) -> bytes:
    """ACK of one entry."""
    place = b"\x08" + varint(ledger) + b"\x10" + varint(entry)
    return b"\x08" + varint(consumer_id) + b"\x10\x00\x1a" + _prefixed(place)


def encode_id(
    ledger: int, entry: int, partition: int = -1, batch_index: int = -1, batch_size: int = 0
) -> str:
    """A message id as clients get it: base64 of its protobuf form."""
    raw = b"\x08" + varint(ledger & _MASK) + b"\x10" + varint(entry & _MASK)
    if partition >= 0:
        raw += b"\x18" + varint(partition)
    if batch_index >= 0:
        raw += b"\x20" + varint(batch_index)
    return base64.b64encode(raw + b"\x30" + varint(batch_size)).decode()


def read_three(body: bytes) -> tuple[int, int, int, int]:
    """Read SEND_RECEIPT or MESSAGE, which are alike.

    Returns:
        Field 1 (producer or consumer id), the sequence id or redelivery count, ledger and entry.

    Raises:
        WireError: It is neither.
    """
    who = count = 0
    ledger = entry = 0
    pos, end = 0, len(body)
    while pos < end:
        tag, pos = read_varint(body, pos)
        if tag & 7 == 2:
            size, pos = read_varint(body, pos)
            ledger, entry = _read_place(body, pos, pos + size)
            pos += size
            continue
        value, pos = read_varint(body, pos)
        if tag == 8:
            who = value
        elif tag in (16, 24):
            count = value
    return who, count, ledger, entry


def _read_place(body: bytes, pos: int, end: int) -> tuple[int, int]:
    found = [0, 0]
    while pos < end:
        tag, pos = read_varint(body, pos)
        if tag & 7:
            pos = skip(body, pos, tag & 7)
            continue
        value, pos = read_varint(body, pos)
        if tag in (8, 16):
            found[(tag >> 3) - 1] = value
    return found[0], found[1]
