"""The wire format WTP/1 and the original platform's framing: bytes in, values out, no I/O.

Every parser takes bytes in any split and yields the same values; damage raises `WireError` once and
for all. The first byte of a stream tells what follows (`stream_type`).
"""

from __future__ import annotations

from enum import IntEnum

from wtp.errors import WireError


class StreamType(IntEnum):
    """What a unidirectional stream carries, told by its first byte."""

    CONTROL = 0x01
    OBJECTS = 0x02
    LEGACY = 0x20
    """Any printable ASCII byte; it belongs to the first track id and is not consumed."""


def stream_type(first: int) -> StreamType:
    """Tell what a stream carries.

    Args:
        first: Its first byte.

    Raises:
        WireError: No stream starts with this byte.
    """
    if 0x20 <= first < 0x7F:
        return StreamType.LEGACY
    if first in (StreamType.CONTROL, StreamType.OBJECTS):
        return StreamType(first)
    raise WireError(f"A stream starts with the unknown byte 0x{first:02x}.", code="stream-type")
