"""One track on its way into a recording: which of its objects can be used, and its shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from wtp.errors import MediaError
from wtp.media.mux_formats import Container, check_holds
from wtp.media.mux_shape import Shape, probe, signature
from wtp.model import inter_coded

if TYPE_CHECKING:
    from wtp.media.mux_part import Part

NO_KEY = "no-key"
"""Left out: nothing can be decoded before the next key picture."""

BEFORE_START = "before-start"
"""Left out: captured before the recording begins."""

CONTAINER = "container"
"""Left out: the container cannot hold it."""

DAMAGED = "damaged"
"""Left out: it says to be a key object and is none."""


class Piece(NamedTuple):
    """An object as a recording needs it.

    Attributes:
        title: Its track, `publisher/name`.
        content_type: As declared.
        payload: The encoded object; of a text itself, UTF-8.
        key: Whether decoding can start here.
        at_us: When it was captured, which is when it is shown; Unix µs.
        duration_us: How long it lasts; 0 when unknown.
        seq: Its number in its track; one that is missing before it is a gap.
        instance: The publisher run it comes from.
    """

    title: str
    content_type: str
    payload: bytes
    key: bool
    at_us: int
    duration_us: int
    seq: int
    instance: str


@dataclass(slots=True, eq=False)
class Track:
    """What is known of a track.

    Attributes:
        title: `publisher/name`.
        shape: How it is declared; None before its first usable object.
        part: The part of the recording that it is written to; None before it is.
        last_us: Capture time of its newest object.
        changed: Whether the object just accepted has another shape than those before.
    """

    title: str
    shape: Shape | None = None
    part: Part | None = None
    last_us: int = 0
    changed: bool = False
    _content_type: str = ""
    _signature: bytes = b""
    _seq: int = -1
    _instance: str = ""
    _waiting: bool = True
    _refused: str = ""

    @property
    def sound(self) -> bool:
        """Whether it is sound."""
        return self.shape is not None and self.shape.sound

    def wait_for_key(self) -> None:
        """Leave out what comes before the next object at which decoding can start."""
        self._waiting = True

    def accept(self, piece: Piece, container: Container) -> str:
        """Look at the track's next object.

        Returns:
            "" when it can be used, else why it is left out.

        Raises:
            MediaError: The container cannot hold the track (`code` is `container`).
        """
        self.changed = False
        self.last_us = max(self.last_us, piece.at_us)
        new_type = piece.content_type != self._content_type
        broken = piece.seq != self._seq + 1 or piece.instance != self._instance
        self._seq, self._instance = piece.seq, piece.instance
        startable = piece.key or not inter_coded(piece.content_type)
        if new_type or (broken and not startable):
            self._waiting = True
        if self._waiting and not startable:
            return self._refused or NO_KEY
        if startable and (self._waiting or piece.key):
            problem = self._look(piece, new_type, container)
            if problem:
                return problem
        self._waiting = False
        return ""

    def _look(self, piece: Piece, new_type: bool, container: Container) -> str:
        """See whether the shape is another one from here on."""
        found = signature(piece.content_type, piece.payload)
        if not new_type and found == self._signature:
            return self._refused
        try:
            shape = probe(piece.content_type, piece.payload)
        except MediaError as error:
            if error.code == CONTAINER:
                raise
            self._waiting = True
            return DAMAGED
        self._content_type, self._signature, self._refused = piece.content_type, found, CONTAINER
        check_holds(container, shape.codec, piece.content_type, self.title)
        self._refused = ""
        if self.shape is None or shape.form != self.shape.form:
            self.changed = self.shape is not None
            self.shape = shape
        return ""
