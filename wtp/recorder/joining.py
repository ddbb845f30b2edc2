"""What a live recording begins with: every track of pictures from its last key picture on; pure.

A little of the past is read first. Until something of the present comes it is held: the group of
pictures that each track is in, and the sound beside them. So all tracks are in the first file from
its beginning, however long they are from key picture to key picture.
"""

from __future__ import annotations

from wtp.media.mux_track import Piece

LOOK_BACK_US = 10_000_000
"""The past that is read first; a longer group of pictures is waited for."""

ALIVE_US = 2_000_000
"""A track that was silent for so long before the beginning is over."""

MAX_BYTES = 64 * 1024 * 1024
"""Held at most; what comes above begins at once."""


class Joining:
    """Holds what was captured before a recording begins.

    Args:
        start_us: When it begins, Unix µs.

    Attributes:
        left_out: Objects that turned out not to be needed.
    """

    def __init__(self, start_us: int) -> None:
        self.left_out = 0
        self._start_us = start_us
        self._held: list[Piece] = []
        self._first: dict[str, int] = {}
        self._last_us: dict[str, int] = {}
        self._bytes = 0

    def take(self, piece: Piece, *, live: bool = False) -> list[Piece] | None:
        """Take an object of pictures or sound.

        Args:
            piece: In the order in which its track is decoded.
            live: Whether it came after all that was there; a publisher's clock may be behind.

        Returns:
            None while it is held; else all that the recording begins with, this one included. Then
            no more is to be given.
        """
        if live or piece.at_us >= self._start_us or self._bytes > MAX_BYTES:
            return [*self._release(), piece]
        if not _is_sound(piece):
            if piece.key:
                self._first[piece.title] = len(self._held)
            elif piece.title not in self._first:
                self.left_out += 1
                return None
        self._last_us[piece.title] = piece.at_us
        self._held.append(piece)
        self._bytes += len(piece.payload)
        return None

    def close(self) -> None:
        """Nothing of the present came: nothing is recorded."""
        self.left_out += len(self._held)
        self._held.clear()

    def _release(self) -> list[Piece]:
        """What is held and needed, in its order."""
        alive = {
            title for title, at_us in self._last_us.items() if at_us >= self._start_us - ALIVE_US
        }
        firsts = {title: at for title, at in self._first.items() if title in alive}
        begin_us = min((self._held[at].at_us for at in firsts.values()), default=self._start_us)
        kept = [
            piece
            for at, piece in enumerate(self._held)
            if piece.title in alive
            and (at >= firsts[piece.title] if piece.title in firsts else piece.at_us >= begin_us)
        ]
        self.left_out += len(self._held) - len(kept)
        self._held.clear()
        return kept


def _is_sound(piece: Piece) -> bool:
    return piece.content_type.startswith("audio/")
