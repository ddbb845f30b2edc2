"""Bytes that arrive in pieces and are taken out in wholes, copied once."""

from __future__ import annotations

from collections import deque

MANY_PIECES = 64
SMALL_BYTES = 256
"""More than 64 pieces of under 256 bytes on average are joined: a `bytes` object costs 33 bytes and
its place in the queue 8 more, so a peer that sends byte by byte would take many times what it sent.
Joining no sooner keeps the copying under 256 bytes for each piece that came."""


class Chunks:
    """A queue of byte pieces.

    `bytes +=` would copy the whole buffer for every piece, and cutting what is taken off the front
    of a large piece would copy its rest for every object in it. Here a piece is kept as it came,
    with the place where the next `take` begins.
    """

    __slots__ = ("_pieces", "_start", "size")

    def __init__(self) -> None:
        self._pieces: deque[bytes] = deque()
        self._start = 0
        self.size = 0
        """Bytes held."""

    @property
    def pieces(self) -> int:
        """Pieces held."""
        return len(self._pieces)

    def add(self, piece: bytes) -> None:
        """Append a piece; the caller must not change it afterwards."""
        if not piece:
            return
        pieces = self._pieces
        pieces.append(piece)
        self.size += len(piece)
        if len(pieces) > MANY_PIECES and self.size < len(pieces) * SMALL_BYTES:
            size = self.size
            joined = self.take(size)
            pieces.append(joined)
            self.size = size

    def take(self, count: int) -> bytes:
        """Remove and return the first `count` bytes; there must be as many."""
        if not count:
            return b""
        pieces, start = self._pieces, self._start
        self.size -= count
        first = pieces[0]
        end = start + count
        if end < len(first):
            self._start = end
            return first[start:end]
        self._start = 0
        pieces.popleft()
        if end == len(first):
            return first[start:] if start else first
        parts = [first[start:]]
        count -= len(first) - start
        while count:
            piece = pieces[0]
            if len(piece) > count:
                self._start = count
                parts.append(piece[:count])
                break
            parts.append(pieces.popleft())
            count -= len(piece)
        return b"".join(parts)
