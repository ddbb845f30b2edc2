"""Payloads unpacked in Python: the broker itself stores what it is given.

LZ4: https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md
Snappy: https://github.com/google/snappy/blob/main/format_description.txt
"""

from __future__ import annotations

import zlib
from enum import IntEnum

from wtp.errors import WireError

MAX_UNPACKED_BYTES = 64 * 1024 * 1024
"""Largest payload that is unpacked: what a message says of its size is not trusted."""


class Codec(IntEnum):
    """CompressionType of PulsarApi.proto."""

    NONE = 0
    LZ4 = 1
    ZLIB = 2
    ZSTD = 3
    SNAPPY = 4


def unpack(payload: bytes, codec: int, size: int) -> bytes:
    """Unpack a payload.

    Args:
        payload: As it was sent.
        codec: A `Codec`.
        size: Its size when unpacked, as its sender says.

    Raises:
        WireError: It is damaged, too large, or of a codec that is not known here (ZSTD).
    """
    if codec == Codec.NONE:
        return payload
    if size > MAX_UNPACKED_BYTES:
        raise _wrong(f"{size} bytes are too many to unpack")
    try:
        if codec == Codec.ZLIB:
            data = zlib.decompressobj().decompress(payload, max(size, 1))
        elif codec == Codec.LZ4:
            data = _lz4(payload, size)
        elif codec == Codec.SNAPPY:
            data = _snappy(payload, size)
        else:
            raise _wrong(f"compression {codec} (ZSTD is 3) is not known here")
    except (zlib.error, IndexError) as error:
        raise _wrong("it is damaged") from error
    if len(data) != size:
        raise _wrong(f"{len(data)} bytes instead of {size}")
    return data


def _wrong(why: str) -> WireError:
    return WireError(
        f"A message cannot be unpacked: {why}.",
        hint="Read it with a native Pulsar client.",
        code="compression",
    )


def _repeat(out: bytearray, offset: int, count: int, size: int) -> None:
    """Copy `count` bytes from `offset` back; they may overlap what is being written."""
    start = len(out) - offset
    if offset < 1 or start < 0 or len(out) + count > size:
        raise _wrong("it is damaged")
    if offset >= count:
        out += out[start : start + count]
        return
    piece = bytes(out[start:])
    out += (piece * (count // offset + 1))[:count]


def _literal(out: bytearray, data: bytes, at: int, count: int, size: int) -> int:
    if at + count > len(data) or len(out) + count > size:
        raise _wrong("it is damaged")
    out += data[at : at + count]
    return at + count


def _lz4(data: bytes, size: int) -> bytes:
    out = bytearray()
    at, end = 0, len(data)
    while at < end:
        token = data[at]
        count, at = _lz4_length(data, at + 1, token >> 4)
        at = _literal(out, data, at, count, size)
        if at >= end:
            break
        offset = data[at] | data[at + 1] << 8
        count, at = _lz4_length(data, at + 2, token & 15)
        _repeat(out, offset, count + 4, size)
    return bytes(out)


def _lz4_length(data: bytes, at: int, count: int) -> tuple[int, int]:
    if count == 15:
        while True:
            more = data[at]
            at += 1
            count += more
            if more != 255:
                break
    return count, at


def _snappy(data: bytes, size: int) -> bytes:
    at = 0
    while data[at] & 128:  # the size again, as a varint
        at += 1
    at += 1
    out = bytearray()
    while at < len(data):
        tag = data[at]
        at += 1
        kind, high = tag & 3, tag >> 2
        if kind == 0:
            if high >= 60:
                width = high - 59
                high = int.from_bytes(data[at : at + width], "little")
                at += width
            at = _literal(out, data, at, high + 1, size)
        elif kind == 1:
            _repeat(out, (tag >> 5) << 8 | data[at], (high & 7) + 4, size)
            at += 1
        else:
            width = 2 if kind == 2 else 4
            _repeat(out, int.from_bytes(data[at : at + width], "little"), high + 1, size)
            at += width
    return bytes(out)
