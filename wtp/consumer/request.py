"""What a consumer is asked to read."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from wtp.consumer.feed import Reading
from wtp.consumer.item import split_track
from wtp.consumer.ports import Message
from wtp.model import Kind

if TYPE_CHECKING:
    from ssl import SSLContext

    from aiohttp import Fingerprint

LIVE_KINDS = frozenset({Kind.VIDEO, Kind.AUDIO, Kind.SCREEN})
PICTURE_KINDS = frozenset({Kind.VIDEO, Kind.SCREEN})


@dataclass(frozen=True, slots=True)
class Request:
    """What to read.

    Attributes:
        topic: Full topic name; empty takes that of the kind in the room of the settings.
        kind: Only objects of this kind; None takes any, with a topic given.
        reading: How the topic is read; whether it begins at key frames follows from the kind.
        publisher: Only objects of this publisher; empty for all.
        track: Only objects of tracks of this name; empty for all.
        history: Objects of the past to begin with, at most; 0 for none. Each partition of a topic
            brings as many.
        count: Objects to take, exactly; 0 for no end.
        duration_s: Seconds to read once joined; 0 for no end.
        wait: Wait for a broker, room or topic that is not there.
        warmup_s: Latencies in the first seconds after the first live object do not count.
        router: URL of a router whose clock is measured; empty for none.
        trust: How that router's certificate is checked, as aiohttp's `ssl`.
    """

    topic: str = ""
    kind: Kind | None = None
    reading: Reading = field(default_factory=Reading)
    publisher: str = ""
    track: str = ""
    history: int = 0
    count: int = 0
    duration_s: float = 0.0
    wait: bool = False
    warmup_s: float = 0.0
    router: str = ""
    trust: SSLContext | Fingerprint | bool = True

    @property
    def live(self) -> bool:
        """Whether newest objects matter more than all of them."""
        past = bool(self.reading.subscription or self.history)
        return self.kind in LIVE_KINDS and self.reading.start == "latest" and not past

    @property
    def joining(self) -> Reading:
        """How the topic is read: pictures begin at key frames."""
        return replace(self.reading, key_frames=self.kind in PICTURE_KINDS)

    def wants(self, message: Message) -> bool:
        """Whether a message is of the kind, publisher and track that are asked for."""
        kind = message.properties.get("kind")
        if self.kind and kind and kind != self.kind:
            return False
        if not self.publisher and not self.track:
            return True
        publisher, name = split_track(message.key)
        return self.publisher in ("", publisher) and self.track in ("", name)
