"""Tracks of a session that speaks the original platform's framing: opened by their first object."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from wtp.config.schema import Settings
from wtp.errors import Refused, WtpError
from wtp.model import Kind, Object, Track, clean_name
from wtp.router.rooms import Rooms, Spawn
from wtp.router.routes import Owner, ReliableRoute, Route
from wtp.wire.legacy import LegacyObject

log = logging.getLogger("wtp.router")

MAX_EARLY = 256
"""Objects that wait while their track is being opened."""
MAX_EARLY_BYTES = 16 * 1024 * 1024
"""The same in payload bytes, of all tracks of a session: four of the largest objects."""


class Sender(Owner, Protocol):
    """The session: an owner with a name."""

    @property
    def room(self) -> str:
        """Its room."""

    @property
    def name(self) -> str:
        """The publisher's name."""

    @property
    def over(self) -> bool:
        """Whether it has ended."""


@dataclass(slots=True)
class _Opened:
    name: str
    route: Route | None = None
    early: list[LegacyObject] = field(default_factory=list)


class LegacyTracks:
    """The tracks of one session.

    Args:
        sender: The session.
        rooms: Where tracks live.
        settings: Profile.
        spawn: Starts an owned task.
        refused: Counter of what was refused, by reason.
        close: Ends the session with an error.
    """

    def __init__(
        self,
        sender: Sender,
        rooms: Rooms,
        settings: Settings,
        spawn: Spawn,
        refused: Counter[str],
        close: Callable[[WtpError], None],
    ) -> None:
        self._sender = sender
        self._rooms = rooms
        self._settings = settings
        self._spawn = spawn
        self._refused = refused
        self._close = close
        self._tracks: dict[str, _Opened] = {}
        self._early_bytes = 0

    def take(self, message: LegacyObject) -> Route | None:
        """Route an object; returns its route once there is one.

        Raises:
            Refused: Too many tracks, or too much came before its track was open.
        """
        if message.kind is None:
            self._refused["legacy-kind"] += 1
            return None
        key = f"{message.kind}/{message.track_id}"
        track = self._tracks.get(key)
        if track is None:
            if len(self._tracks) >= self._settings.router.limits.tracks_per_session:
                raise Refused("Too many tracks in one session.", code="too-many-tracks")
            track = self._tracks[key] = _Opened(self._name(message.track_id, message.kind))
            self._spawn(self._claim(track, message.kind))
        if track.route is None:
            track.early.append(message)
            self._early_bytes += len(message.payload)
            if len(track.early) > MAX_EARLY or self._early_bytes > MAX_EARLY_BYTES:
                raise Refused("Too many objects before their track is open.", code="early")
            return None
        _offer(track.route, message)
        return track.route

    def _name(self, track_id: str, kind: Kind) -> str:
        """The track's name; one id may stand for tracks of several kinds."""
        name = clean_name(track_id)
        if any(other.name == name for other in self._tracks.values()):
            name = clean_name(f"{track_id}-{kind}")
        return name

    async def _claim(self, opened: _Opened, kind: Kind) -> None:
        default = "application/octet-stream"
        content_type = self._settings.legacy.content_types.get(kind.value, default)
        track = Track(self._sender.room, self._sender.name, opened.name)
        try:
            route = await self._rooms.claim(track, kind, content_type, self._sender)
        except WtpError as error:
            log.warning("track %s refused: %s", track, error)
            self._refused[error.code] += 1
            self._close(error)
            return
        early, opened.early = opened.early, []
        self._early_bytes -= sum(len(message.payload) for message in early)
        opened.route = route
        if self._rooms.routes.get(track) is not route:  # the session went, and the route with it
            self._refused["session-ended"] += len(early)
            return
        for message in early:
            _offer(route, message)
        if self._sender.over:
            self._rooms.leave(self._sender)


def _offer(route: Route, message: LegacyObject) -> None:
    seq = route.next_seq if isinstance(route, ReliableRoute) else route.received + 1
    route.offer(Object(route.kind, seq, group=seq, key=True, payload=message.payload))
