"""Bytes that arrive in pieces and are taken out in wholes, copied once."""

from __future__ import annotations

from collections import deque


class Chunks:
    """A queue of byte pieces.

    `bytes +=` would copy the whole buffer for every piece; here a piece is kept as it came until
    `take` joins what it needs.
    """

    __slots__ = ("_pieces", "size")

    def __init__(self) -> None:
        self._pieces: deque[bytes] = deque()
        self.size = 0
        """Bytes held."""

    def add(self, piece: bytes) -> None:
        """Append a piece; the caller must not change it afterwards."""
        if piece:
            self._pieces.append(piece)
            self.size += len(piece)

    def take(self, count: int) -> bytes:
        """Remove and return the first `count` bytes; there must be as many."""
        pieces = self._pieces
        if not count:
            return b""
        self.size -= count
        first = pieces[0]
        if len(first) == count:
            return pieces.popleft()
        if len(first) > count:
            pieces[0] = first[count:]
            return first[:count]
        parts = []
        while count:
            piece = pieces.popleft()
            if len(piece) > count:
                pieces.appendleft(piece[count:])
                piece = piece[:count]
            parts.append(piece)
            count -= len(piece)
        return b"".join(parts)
