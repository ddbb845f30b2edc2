"""Reading a message's metadata inside a blob; never changing it."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from functools import lru_cache

from wtp.broker.embedded.commands import KeyValue
from wtp.broker.embedded.frames import MAGIC
from wtp.broker.embedded.protobuf import Message, damaged, pb


@dataclass(slots=True)
class Metadata(Message):
    """MessageMetadata, the fields that a broker looks at (numbers: PulsarApi.proto)."""

    producer_name: str = pb(1, "string", required=True, default="")
    sequence_id: int = pb(2, "uint", required=True, default=0)
    publish_ms: int = pb(3, "uint", required=True, default=0)
    properties: list[KeyValue] = pb(4, KeyValue, many=True)  # noqa: RUF009 - makes a field
    partition_key: str | None = pb(6, "string")
    compression: int | None = pb(8, "int")
    uncompressed_size: int | None = pb(9, "uint")
    num_messages: int | None = pb(11, "int")
    event_ms: int | None = pb(12, "uint")
    key_is_base64: bool = pb(17, "bool", default=False)
    ordering_key: bytes | None = pb(18, "bytes")
    deliver_at_ms: int | None = pb(19, "int")
    highest_sequence_id: int | None = pb(24, "uint")
    uuid: str | None = pb(26, "string")
    num_chunks: int | None = pb(27, "int")
    chunk_id: int | None = pb(29, "int")

    def sticky_key(self) -> bytes:
        """The bytes that decide on the consumer of a Key_Shared subscription."""
        if self.ordering_key is not None:
            return self.ordering_key
        if self.partition_key is None:
            return f"{self.producer_name}-{self.sequence_id}".encode()
        if self.key_is_base64:
            try:
                return base64.b64decode(self.partition_key, validate=True)
            except (binascii.Error, ValueError):
                pass
        return self.partition_key.encode()


def metadata_bounds(blob: bytes) -> tuple[int, int]:
    """Start and end of the metadata inside a blob.

    Raises:
        WireError: the blob is too short for what it says.
    """
    at = 6 if blob[:2] == MAGIC else 0
    start = at + 4
    end = start + int.from_bytes(blob[at:start])
    if len(blob) < start or end > len(blob):
        raise damaged("message metadata is cut off")
    return start, end


def read_metadata(blob: bytes) -> Metadata:
    """Decode a blob's metadata.

    Raises:
        WireError: it has none.
    """
    start, end = metadata_bounds(blob)
    return Metadata.decode(blob[start:end])


def payload_of(blob: bytes) -> bytes:
    """The payload inside a blob, as sent (maybe compressed, maybe a batch)."""
    return blob[metadata_bounds(blob)[1] :]


def publish_time(blob: bytes) -> int:
    """Publish time in Unix ms; only the head of the metadata is read.

    Raises:
        WireError: the blob has no metadata.
    """
    # Every client writes fields 1 (name), 2 (sequence id) and 3 (publish time) first.
    at = 10 if blob[:2] == MAGIC else 4
    try:
        if blob[at] == 10 and blob[at + 1] < 128:
            at += 2 + blob[at + 1]
            if blob[at] == 16:
                at += 1
                while blob[at] >= 128:
                    at += 1
                if blob[at + 1] == 24:
                    at += 2
                    value = shift = 0
                    while blob[at] >= 128:
                        value |= (blob[at] & 127) << shift
                        shift += 7
                        at += 1
                    return value | blob[at] << shift
    except IndexError:
        raise damaged("message metadata is cut off") from None
    return read_metadata(blob).publish_ms


HASH_RANGE = 1 << 16
"""Key_Shared divides the hashes of keys into this many slots."""


@lru_cache(maxsize=4096)
def key_slot(key: bytes) -> int:
    """The slot of a key: Murmur3 (32 bit, x86, seed 0), positive, modulo `HASH_RANGE`.

    Clients compute the same to claim fixed ranges (KeySharedMode.STICKY).
    """
    return (murmur3(key) & 0x7FFFFFFF) % HASH_RANGE


def murmur3(data: bytes, seed: int = 0) -> int:
    """MurmurHash3_x86_32 (Austin Appleby, public domain algorithm)."""
    value, length = seed, len(data)
    body = length & ~3
    for at in range(0, body, 4):
        value ^= _scramble(int.from_bytes(data[at : at + 4], "little"))
        value = (value << 13 | value >> 19) & 0xFFFFFFFF
        value = (value * 5 + 0xE6546B64) & 0xFFFFFFFF
    if body < length:
        value ^= _scramble(int.from_bytes(data[body:], "little"))
    value ^= length
    value = (value ^ value >> 16) * 0x85EBCA6B & 0xFFFFFFFF
    value = (value ^ value >> 13) * 0xC2B2AE35 & 0xFFFFFFFF
    return value ^ value >> 16


def _scramble(k: int) -> int:
    k = k * 0xCC9E2D51 & 0xFFFFFFFF
    k = (k << 15 | k >> 17) & 0xFFFFFFFF
    return k * 0x1B873593 & 0xFFFFFFFF
