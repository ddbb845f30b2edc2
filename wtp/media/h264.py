"""H.264 access units in Annex B form: what is in them, and where decoding can start."""

from __future__ import annotations

from collections.abc import Iterator

SLICE, SLICE_IDR, SPS = 1, 5, 7
"""NAL unit types (H.264 table 7-1)."""


def nal_types(payload: bytes) -> Iterator[int]:
    """Types of the NAL units of an Annex B access unit, up to its first slice.

    See H.264 annex B: every unit starts after 00 00 01; its type is the low five bits that follow.
    """
    at = payload.find(b"\x00\x00\x01")
    while 0 <= at < len(payload) - 3:
        kind = payload[at + 3] & 0x1F
        yield kind
        if kind in (SLICE, SLICE_IDR):
            return
        at = payload.find(b"\x00\x00\x01", at + 3)


def is_access_unit(payload: bytes) -> bool:
    """Whether it has any NAL unit."""
    return any(True for _ in nal_types(payload))


def is_key_access_unit(payload: bytes) -> bool:
    """Whether it is an IDR picture that carries its parameter sets."""
    types = list(nal_types(payload))
    return SPS in types and SLICE_IDR in types
