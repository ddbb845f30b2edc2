"""Pages of an Ogg stream (RFC 3533) and the two heads of Opus in it (RFC 7845)."""

from __future__ import annotations

import struct

_POLYNOMIAL = 0x04C11DB7
_FIRST, _LAST = 2, 4
MAX_PAGE_BYTES = 255 * 255 - 1
"""What one page holds of one object; an Opus packet has at most 61,298 (RFC 7845, section 6)."""


def _table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        value = byte << 24
        for _ in range(8):
            value = (value << 1 ^ (_POLYNOMIAL if value & 0x80000000 else 0)) & 0xFFFFFFFF
        table.append(value)
    return tuple(table)


_TABLE = _table()


def _checksum(data: bytes) -> int:
    value = 0
    for byte in data:
        value = (value << 8 & 0xFFFFFFFF) ^ _TABLE[value >> 24 ^ byte]
    return value


def page(
    payload: bytes, number: int, *, granule: int = 0, first: bool = False, last: bool = False
) -> bytes:
    """A page with one object in it.

    Args:
        payload: The object, at most `MAX_PAGE_BYTES`.
        number: Of the page, from 0.
        granule: Samples up to its end at 48 kHz.
        first: Whether the stream begins here.
        last: Whether it ends here.
    """
    full, rest = divmod(min(len(payload), MAX_PAGE_BYTES), 255)
    lacing = b"\xff" * full + bytes([rest])
    flags = first * _FIRST | last * _LAST
    head = b"OggS" + struct.pack("<BBqIII", 0, flags, granule, 1, number, 0)
    head += bytes([len(lacing)]) + lacing
    checksum = _checksum(head + payload)
    return head[:22] + struct.pack("<I", checksum) + head[26:] + payload


def opus_head(channels: int, rate_hz: int, pre_skip: int) -> bytes:
    """The identification header (RFC 7845, section 5.1), mono or stereo.

    Args:
        channels: One or two.
        rate_hz: Of what was encoded, for information.
        pre_skip: Samples to leave out at the start, at 48 kHz.
    """
    return b"OpusHead" + struct.pack("<BBHIhB", 1, channels, pre_skip, rate_hz, 0, 0)


def opus_tags() -> bytes:
    """The comment header, without comments (RFC 7845, section 5.2)."""
    return b"OpusTags" + struct.pack("<I", 3) + b"wtp" + struct.pack("<I", 0)
