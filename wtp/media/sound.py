"""Sound in memory, and every source of it behind one interface.

A source is a blocking iterator for a thread of its own; it never runs on an event loop. `close` may
be called from any thread and ends the iterator promptly, also while it waits for the next block.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from wtp.errors import MediaError

Samples: TypeAlias = NDArray[np.int16]
"""`n` x channels signed 16-bit samples, C-contiguous."""

MAX_RATE_HZ = 192_000
MAX_CHANNELS = 8


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Some sound.

    Attributes:
        samples: The sound itself; treat it as read-only.
        rate_hz: Samples a second of each channel.
        capture_us: When its first sample was captured, Unix µs, or None when unknown.
        pts_us: Time of its first sample within its source in µs; starts at 0. A gap in it is a gap
            in the sound.
    """

    samples: Samples
    rate_hz: int
    capture_us: int | None = None
    pts_us: int = 0

    @property
    def duration_us(self) -> int:
        """How long it lasts."""
        return round(len(self.samples) * 1e6 / self.rate_hz)


class SoundSource(Protocol):
    """Where sound comes from.

    Attributes:
        name: What it is, for people.
        rate_hz: Samples a second of every block.
        channels: Of every block.
    """

    name: str
    rate_hz: int
    channels: int

    def blocks(self) -> Iterator[Block]:
        """Deliver blocks of any length in order, each at its time; blocks; call it once.

        Raises:
            MediaError: The source failed on the way.
        """
        ...

    def close(self) -> None:
        """End `blocks` and give everything back; safe from any thread, more than once."""
        ...


@dataclass(frozen=True, slots=True)
class SoundFormat:
    """What a content type says of sound.

    Attributes:
        codec: `opus`, `pcm`, `aac`, ...
        rate_hz: Samples a second.
        channels: Their number.
    """

    codec: str
    rate_hz: int
    channels: int

    def __str__(self) -> str:
        """The content type: `audio/opus;rate=48000;channels=1`."""
        form = "format=s16le;" if self.codec == "pcm" else ""
        return f"audio/{self.codec};{form}rate={self.rate_hz};channels={self.channels}"

    @classmethod
    def parse(cls, content_type: str) -> SoundFormat:
        """Read a content type; what it does not say is 48000 Hz and one channel.

        Raises:
            MediaError: It is not sound, or its figures make no sense.
        """
        name, *parts = (part.strip().lower() for part in content_type.split(";"))
        given = dict(part.partition("=")[::2] for part in parts)
        try:
            rate_hz, channels = int(given.get("rate", 48_000)), int(given.get("channels", 1))
        except ValueError:
            rate_hz = channels = 0
        sense = 1 <= rate_hz <= MAX_RATE_HZ and 1 <= channels <= MAX_CHANNELS
        if not name.startswith("audio/") or not sense or given.get("format", "s16le") != "s16le":
            raise MediaError(
                f"{content_type[:80]!r} is no sound that can be decoded.",
                hint="See the content types in the README.",
            )
        return cls(name.removeprefix("audio/"), rate_hz, channels)
