"""Large messages that were sent in chunks, put together again."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from wtp.broker.embedded.commands import MessageIdData
from wtp.broker.embedded.wsfast import Head

MAX_OPEN = 10
"""Messages put together at once; the oldest goes first (the Java client's default)."""

MAX_BYTES = 64 * 1024 * 1024
"""Largest message put together."""


@dataclass(slots=True)
class Whole:
    """A message, or what there is of it so far.

    Attributes:
        payload: Its payload, maybe packed.
        places: Where its chunks lie.
    """

    payload: bytes
    places: list[MessageIdData]


@dataclass(slots=True)
class _Open:
    parts: list[bytes] = field(default_factory=list)
    places: list[MessageIdData] = field(default_factory=list)
    size_bytes: int = 0


class Chunks:
    """Chunks of messages that are not complete."""

    def __init__(self) -> None:
        self._open: OrderedDict[str, _Open] = OrderedDict()

    def add(self, meta: Head, payload: bytes, place: MessageIdData) -> Whole | None:
        """Take an entry.

        Returns:
            The message, None while chunks are missing or when one was lost.
        """
        count, number = meta.num_chunks, meta.chunk_id
        where = MessageIdData(place.ledger, place.entry)
        if count < 2 or meta.uuid is None:
            return Whole(payload, [where])
        if number == 0:
            self._open[meta.uuid] = _Open()
            while len(self._open) > MAX_OPEN:
                self._open.popitem(last=False)
        found = self._open.get(meta.uuid)
        if found is None or number != len(found.parts):
            return None
        found.parts.append(payload)
        found.places.append(where)
        found.size_bytes += len(payload)
        if found.size_bytes > MAX_BYTES:
            del self._open[meta.uuid]
            return None
        if number + 1 < count:
            return None
        del self._open[meta.uuid]
        return Whole(b"".join(found.parts), found.places)
