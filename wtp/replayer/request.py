"""What a replay is asked to play."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from wtp.consumer.item import Place, split_track
from wtp.model import Kind
from wtp.replayer.when import EARLIEST, NEVER_US, Moment


@dataclass(frozen=True, slots=True)
class Request:
    """What to play, and how.

    Attributes:
        kinds: Which kinds of the room; none for all that are there.
        topic: Full name of one topic of any origin to read instead; empty for the room's.
        publisher: Only objects of this publisher; empty for all.
        track: Only objects of tracks of this name; empty for all.
        start: Where to begin.
        end: Where to end, inclusive; None for the end of what is there.
        speed: Times real time; 0 for as fast as it goes.
        follow: Go over to live at the end of what is there.
        into: Room to play into; empty for none.
        count: Objects to play; 0 for no limit.
        duration_s: Seconds to play for; 0 for no limit.
    """

    kinds: tuple[Kind, ...] = ()
    topic: str = ""
    publisher: str = ""
    track: str = ""
    start: Moment = EARLIEST
    end: Moment | None = None
    speed: float = 1.0
    follow: bool = False
    into: str = ""
    count: int = 0
    duration_s: float = 0.0

    def wants(self, properties: Mapping[str, str], key: str) -> bool:
        """Whether a message is of the kinds, publisher and track that are asked for."""
        kind = properties.get("kind")
        if self.kinds and kind and kind not in self.kinds:
            return False
        if not self.publisher and not self.track:
            return True
        publisher, name = split_track(key)
        return self.publisher in ("", publisher) and self.track in ("", name)


@dataclass(frozen=True, slots=True)
class Span:
    """The part of the past that is played; all ends inclusive.

    Attributes:
        from_us: Earliest time on the line, Unix µs.
        to_us: Latest.
        from_place: Place in the one topic to begin at; None when a time says it.
        to_place: Place in the one topic to end at; None likewise.
    """

    from_us: int = 0
    to_us: int = NEVER_US
    from_place: Place | None = None
    to_place: Place | None = None
