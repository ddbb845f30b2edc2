"""What user code may ask to know about an object."""

from __future__ import annotations

from dataclasses import dataclass

from wtp.model import Kind, Object


@dataclass(frozen=True, slots=True)
class Info:
    """The second argument of user code that takes two.

    Attributes:
        track: `room/publisher/name`.
        object: The object as it came, with stamps, attributes and encoded bytes.
        rate_hz: Samples a second of decoded sound; 0 for anything else.
        channels: Of decoded sound; 0 for anything else.
    """

    track: str
    object: Object
    rate_hz: int = 0
    channels: int = 0

    @property
    def kind(self) -> Kind:
        """What the track carries."""
        return self.object.kind

    @property
    def seq(self) -> int:
        """Position in the track."""
        return self.object.seq

    @property
    def capture_us(self) -> int | None:
        """When it was captured, Unix µs; None when unknown."""
        return self.object.capture_us

    @property
    def publisher(self) -> str:
        """Who published it."""
        return self.track.split("/")[1]
