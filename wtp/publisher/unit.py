"""What live tracks take and give: encoded units in, wishes of the network out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Unit:
    """One encoded picture or sound on its way from the encoder.

    Attributes:
        payload: The encoded bytes.
        key: Whether decoding can start here.
        capture_us: When it was captured.
        encode_us: When the encoder was done.
        duration_us: How long it lasts.
    """

    payload: bytes
    key: bool
    capture_us: int | None
    encode_us: int | None
    duration_us: int = 0


@dataclass(slots=True)
class Steering:
    """How a track follows the network; without one it sends as it likes.

    Attributes:
        ceiling_bps: Bit rate when nothing stands in the way.
        floor_bps: What the bit rate does not go below.
        follow: Takes a bit rate, and that every n-th picture is to be sent; on the loop.
        target_bps: Last bit rate that was asked for, 0 before.
        every_nth: Last share of pictures that was asked for.
        reason: Why it is not all; empty when it is.
    """

    ceiling_bps: int
    floor_bps: int
    follow: Callable[[int, int], None]
    target_bps: int = 0
    every_nth: int = 1
    reason: str = ""
