"""What tracks and the session below them need of each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from wtp.clock import Clock
from wtp.metrics import Ledger
from wtp.publisher.session import TrackSpec
from wtp.transport.session import BULK

TOO_LARGE = "too-large"
NOT_TEXT = "not-text"
QUEUE = "queue"
STALE_GROUP = "stale-group"
NO_SESSION = "no-session"
SESSION_LOST = "session-lost"
"""Reasons for a drop: over the size limit; a chat line that is not UTF-8 text; the send
backlog is too long; its stream was reset; there is no session; sent, and the session ended before
anything confirmed it."""


class Streams(Protocol):
    """The part of a transport session that carries objects."""

    def open_stream(self, rank: int = BULK, after: int | None = None) -> int:
        """Open a unidirectional stream; the rank says which go first when not all fit.

        It does not overtake `after`, a stream of the same rank.
        """
        ...

    def send(self, stream: int, data: bytes, end: bool = False) -> None:
        """Queue bytes."""
        ...

    def reset(self, stream: int, code: int) -> None:
        """Abort a stream."""
        ...

    def backlog(self, stream: int | None = None) -> int:
        """Bytes that the peer has not acknowledged."""
        ...


@dataclass(frozen=True, slots=True)
class Line:
    """A session that is ready for objects.

    Attributes:
        streams: Where to send.
        clock: Own clock.
        shift_us: What to add to own stamps on the wire.
        round_trip_ms: Smoothed round trip at the start.
    """

    streams: Streams
    clock: Clock
    shift_us: int
    round_trip_ms: float = 0.0


class Outgoing(Protocol):
    """A track being published, across sessions.

    Attributes:
        spec: What `publish` announces.
        ledger: What became of its objects.
        sent: Objects written to whole streams in this session.
        refused: Objects that the broker will never take.
        pending: Objects that a later session could still deliver.
    """

    spec: TrackSpec
    ledger: Ledger
    sent: int
    refused: int

    @property
    def pending(self) -> int:
        """Objects that wait for a receipt."""
        ...

    def attach(self, line: Line, last_seq: int) -> None:
        """The router took the track; objects may be sent."""
        ...

    def detach(self) -> None:
        """The session is over."""
        ...

    def receipt(self, up_to_seq: int) -> None:
        """The broker has everything up to this sequence."""
        ...

    def rejected(self, seq: int, code: str, message: str) -> None:
        """The broker will never take this object."""
        ...

    def counted(self, counts: Mapping[str, int], *, final: bool) -> None:
        """The router's counts of this track in this session; `final` after a flush."""
        ...

    def writable(self) -> None:
        """The send backlog has fallen."""
        ...

    def stopped(self, stream: int) -> bool:
        """The router wants no more of a stream, and what is written to it is ignored.

        Returns:
            Whether the track needs a new session to go on.
        """
        ...

    def finish(self) -> None:
        """No object follows in this session: end open streams."""
        ...

    def close(self) -> None:
        """No session follows: settle what is still in flight."""
        ...

    def snapshot(self) -> dict[str, Any]:
        """Live figures as plain values."""
        ...
