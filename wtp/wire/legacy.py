"""The original platform's framing: 32 bytes of header before each payload.

    offset size field
    0      16   track id, NUL-padded
    16     4    payload length, big-endian
    20     12   track type, NUL-padded

A stream carries any number of them. There are no stamps, sequences or flags.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from wtp.errors import WireError
from wtp.model import MAX_BYTES, Kind
from wtp.wire.chunks import Chunks

HEADER = struct.Struct("!16sI12s")
_KINDS = {kind.value.encode(): kind for kind in Kind}
_LARGEST = max(MAX_BYTES.values())


@dataclass(frozen=True, slots=True)
class LegacyObject:
    """One message of the original framing.

    Attributes:
        track_id: The page's name for the track, as text.
        kind: What its track type means; None when no kind is called so.
        type_name: The track type as it was written.
        payload: The bytes.
    """

    track_id: str
    kind: Kind | None
    type_name: str
    payload: bytes


def encode(track_id: str, type_name: str, payload: bytes) -> bytes:
    """One message with its header.

    Raises:
        WireError: A name does not fit its field, or the payload is over every kind's limit.
    """
    if len(payload) > _LARGEST:
        raise WireError(f"A message of {len(payload)} bytes is too large.", code="too-large")
    try:
        track, kind = track_id.encode(), type_name.encode()
    except UnicodeEncodeError as error:
        raise WireError("A name is not Unicode text.", code="header") from error
    if len(track) > 16 or len(kind) > 12:
        raise WireError(
            f"{track_id!r} or {type_name!r} does not fit the original header.", code="header"
        )
    return HEADER.pack(track, len(payload), kind) + payload


def _text(field: bytes) -> str:
    head, _, rest = field.partition(b"\0")
    if rest.strip(b"\0"):
        raise WireError("A name in an original header has bytes behind its end.", code="header")
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        raise WireError("A name in an original header is not text.", code="header") from error
    if not text or not text.isprintable():
        raise WireError("A name in an original header is empty or unprintable.", code="header")
    return text


class LegacyParser:
    """Messages out of the bytes of one stream (its first byte included)."""

    __slots__ = ("_chunks", "_head", "_need")

    def __init__(self) -> None:
        self._chunks = Chunks()
        self._head: tuple[str, Kind | None, str] | None = None
        self._need = HEADER.size

    @property
    def partial(self) -> bool:
        """Whether the stream stands inside a message."""
        return self._head is not None or self._chunks.size != 0

    def feed(self, data: bytes) -> Iterator[LegacyObject]:
        """Take bytes and yield each message that is now whole.

        Raises:
            WireError: The bytes break the framing; the parser is of no use afterwards.
        """
        chunks = self._chunks
        chunks.add(data)
        while chunks.size >= self._need:
            piece = chunks.take(self._need)
            if self._head is None:
                track, length, type_field = HEADER.unpack(piece)
                kind = _KINDS.get(type_field.rstrip(b"\0"))
                if length > (_LARGEST if kind is None else kind.max_bytes):
                    raise WireError(f"A message of {length} bytes is too large.", code="too-large")
                self._head = (_text(track), kind, _text(type_field))
                self._need = length
            else:
                track_id, kind, type_name = self._head
                self._head, self._need = None, HEADER.size
                yield LegacyObject(track_id, kind, type_name, piece)
