"""AV1 temporal units in the low-overhead format: what is in them, and where decoding can start.

Sections named here are those of the AV1 bitstream specification.
"""

from __future__ import annotations

from collections.abc import Iterator

SEQUENCE_HEADER, TEMPORAL_DELIMITER, FRAME_HEADER, FRAME = 1, 2, 3, 6
"""OBU types (section 6.2.2)."""

REDUNDANT_FRAME_HEADER = 7
FRAMES = frozenset({FRAME_HEADER, FRAME, REDUNDANT_FRAME_HEADER})
KNOWN = frozenset({*range(1, 9), 15})
"""All OBU types that are not reserved; metadata, tiles and padding among them."""

DELIMITER = b"\x12\x00"
"""A temporal delimiter OBU with its size, which is 0 (sections 5.3.2 and 5.6)."""

_MAX_LEB128 = 8
_REDUCED_BIT = 1 << 3
"""`reduced_still_picture_header`, after three bits of profile and `still_picture` (5.5.1)."""


def units(payload: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and content of each OBU; ends early where the bytes make no sense.

    See section 5.3: a header byte with the type in bits 3 to 6, an extension byte when bit 2 is
    set, and a size as LEB128 when bit 1 is set, else the rest of the unit.
    """
    at = 0
    while at < len(payload):
        header = payload[at]
        at += 2 if header & 0b100 else 1
        if header & 0x80:
            return
        size = len(payload) - at
        if header & 0b10:
            sized = _leb128(payload, at)
            if sized is None:
                return
            size, at = sized
        if size < 0 or at + size > len(payload):
            return
        yield header >> 3 & 0xF, payload[at : at + size]
        at += size


def is_key_unit(payload: bytes) -> bool:
    """Whether a temporal unit has a sequence header and its first frame is a shown key frame.

    A frame header (section 5.9.2) starts with `show_existing_frame`, two bits of `frame_type` (0:
    key) and `show_frame`; with a reduced still picture header in the sequence it is always key.
    """
    sequence = False
    reduced = False
    for kind, content in units(payload):
        if kind == SEQUENCE_HEADER and content:
            sequence = True
            reduced = bool(content[0] & _REDUCED_BIT)
        elif kind in (FRAME, FRAME_HEADER):
            return sequence and bool(content) and (reduced or content[0] >> 4 == 0b0001)
    return False


def is_unit(payload: bytes) -> bool:
    """Whether it has a frame, and nothing but OBUs of known types from its first byte on."""
    kinds = [kind for kind, _ in units(payload)]
    return any(kind in FRAMES for kind in kinds) and all(kind in KNOWN for kind in kinds)


def with_delimiter(payload: bytes) -> bytes:
    """The temporal unit with a temporal delimiter in front, which some encoders leave out."""
    return payload if payload.startswith(DELIMITER) else DELIMITER + payload


def _leb128(payload: bytes, at: int) -> tuple[int, int] | None:
    """A number of seven bits a byte, the low ones first (section 4.10.5), and where it ends."""
    value = 0
    for i in range(_MAX_LEB128):
        if at + i >= len(payload):
            return None
        value |= (payload[at + i] & 0x7F) << (7 * i)
        if not payload[at + i] & 0x80:
            return value, at + i + 1
    return None
