"""VP8 and VP9 frames: where decoding can start, read from the first bytes."""

from __future__ import annotations

VP8_START = b"\x9d\x01\x2a"
"""Start code of a VP8 key frame (RFC 6386 section 9.1)."""

VP9_SYNC = 0x498342
"""Sync code of a VP9 key frame (VP9 bitstream specification 7.2)."""

_VP9_MARKER = 0b10


def is_vp8_key(payload: bytes) -> bool:
    """Whether it is a VP8 key frame: bit 0 of the frame tag is 0 and the start code follows."""
    return len(payload) >= 10 and not payload[0] & 1 and payload[3:6] == VP8_START


def is_vp9(payload: bytes) -> bool:
    """Whether the marker of a VP9 frame begins it."""
    return bool(payload) and payload[0] >> 6 == _VP9_MARKER


def is_vp9_key(payload: bytes) -> bool:
    """Whether it is a VP9 key frame, or a superframe that begins with one.

    The uncompressed header (VP9 bitstream specification 6.2) is a marker of two bits, two bits of
    profile with the low one first, a reserved bit in profile 3, `show_existing_frame`,
    `frame_type` (0: key), two more bits and the sync code.
    """
    if len(payload) < 10:
        return False
    bits = int.from_bytes(payload[:5], "big")

    def take(at: int, count: int) -> int:
        return bits >> (40 - at - count) & ((1 << count) - 1)

    reserved = take(2, 2) == 3
    at = 4 + reserved
    return (
        take(0, 2) == _VP9_MARKER
        and not (reserved and take(4, 1))
        and take(at, 2) == 0
        and take(at + 4, 24) == VP9_SYNC
    )
