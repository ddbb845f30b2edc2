"""Objects on a WTP/1 stream: a fixed header, an optional extension, the payload.

Header, 48 bytes, network byte order:

    offset size field
    0      1    version, 1
    1      1    kind: 1 video, 2 audio, 3 chat, 4 screen, 5 file, 6 data
    2      1    flags: 1 KEY, 2 EXT, 4 REPLAYED, 8 CAPTURE, 16 ENCODE, 32 SEND
    3      1    zero
    4      4    track alias, chosen by the sender in `publish`
    8      8    sequence
    16     8    group
    24     8    capture time, signed Unix µs (with CAPTURE, else zero)
    32     4    duration, µs
    36     4    encode stamp - capture time, µs (with CAPTURE and ENCODE, else zero)
    40     4    send stamp - capture time, µs (with CAPTURE and SEND, else zero)
    44     4    payload length, bytes

With EXT follow a u16 length (at most 1024) and that many bytes of a flat JSON object of strings.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from wtp.errors import WireError
from wtp.model import EMPTY, MAX_BYTES, RESERVED, Kind, Object
from wtp.wire.chunks import Chunks

VERSION = 1
HEADER = struct.Struct("!BBBBIQQqIIII")
MAX_EXTENSION_BYTES = 1024
MAX_DELTA_US = 0xFFFF_FFFF

KEY, EXT, REPLAYED, CAPTURE, ENCODE, SEND = 1, 2, 4, 8, 16, 32
_ALL_FLAGS = KEY | EXT | REPLAYED | CAPTURE | ENCODE | SEND

KIND_CODES: Mapping[Kind, int] = {
    Kind.VIDEO: 1,
    Kind.AUDIO: 2,
    Kind.CHAT: 3,
    Kind.SCREEN: 4,
    Kind.FILE: 5,
    Kind.DATA: 6,
}
_KINDS = {code: kind for kind, code in KIND_CODES.items()}


@dataclass(frozen=True, slots=True)
class WireObject:
    """An object as it stands on the wire.

    Attributes:
        alias: The track, by the number the sender gave it.
        obj: The object; its `content_type` is empty, since `publish` declared it once.
        wire_bytes: What it took on the wire, header and all.
    """

    alias: int
    obj: Object
    wire_bytes: int


def _delta(stamp_us: int | None, capture_us: int) -> int | None:
    """A stamp as distance from the capture time; None when it is missing or does not fit."""
    if stamp_us is None or not 0 <= stamp_us - capture_us <= MAX_DELTA_US:
        return None
    return stamp_us - capture_us


def encode_extension(attributes: Mapping[str, str]) -> bytes:
    """Attributes as the extension's bytes, length included.

    Raises:
        WireError: They take more than 1024 bytes, are not Unicode text (a file name may not be), or
            use a name of the wire itself.
    """
    if not RESERVED.isdisjoint(attributes):
        raise WireError("An object's attributes use a reserved name.", code="extension")
    try:
        text = json.dumps(dict(attributes), ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError as error:
        raise WireError("An object's attributes are not Unicode text.", code="extension") from error
    if len(text) > MAX_EXTENSION_BYTES:
        raise WireError(
            f"The object's attributes take {len(text)} bytes; {MAX_EXTENSION_BYTES} fit.",
            code="extension",
        )
    return struct.pack("!H", len(text)) + text


def encode_head(alias: int, obj: Object) -> bytes:
    """Header and extension of an object; its payload follows on the stream.

    Args:
        alias: The track's number in this session.
        obj: The object. `route_us`, `publish_us` and `content_type` do not travel. Encode and send
            stamps that lie before the capture time, or over 71 minutes after it, are left out.

    Raises:
        WireError: The payload, the attributes or a number do not fit the wire.
    """
    if len(obj.payload) > obj.kind.max_bytes:
        raise WireError(
            f"A {obj.kind} object of {len(obj.payload)} bytes is over {obj.kind.max_bytes}.",
            code="too-large",
        )
    flags = (KEY if obj.key else 0) | (REPLAYED if obj.replayed else 0)
    encode = send = None
    if obj.capture_us is not None:
        flags |= CAPTURE
        encode = _delta(obj.encode_us, obj.capture_us)
        send = _delta(obj.send_us, obj.capture_us)
        flags |= (ENCODE if encode is not None else 0) | (SEND if send is not None else 0)
    extension = b""
    if obj.attributes:
        flags |= EXT
        extension = encode_extension(obj.attributes)
    try:
        head = HEADER.pack(
            VERSION,
            KIND_CODES[obj.kind],
            flags,
            0,
            alias,
            obj.seq,
            obj.group,
            obj.capture_us or 0,
            min(obj.duration_us, MAX_DELTA_US),
            encode or 0,
            send or 0,
            len(obj.payload),
        )
    except struct.error as error:
        raise WireError(f"A number of a {obj.kind} object does not fit.", code="header") from error
    return head + extension


def decode_extension(text: bytes) -> dict[str, str]:
    """Read the extension's JSON.

    Raises:
        WireError: Not a flat JSON object of strings, or it names a property of the wire itself.
    """
    try:
        value = json.loads(text.decode())  # json would guess UTF-16 and UTF-32 from bytes
    except (ValueError, RecursionError) as error:
        raise WireError("An object's extension is not JSON.", code="extension") from error
    if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
        raise WireError("An object's extension is not a flat object of strings.", code="extension")
    if not RESERVED.isdisjoint(value):
        raise WireError("An object's extension uses a reserved name.", code="extension")
    try:
        "".join((*value, *value.values())).encode()
    except UnicodeEncodeError as error:
        raise WireError("An object's extension is not Unicode text.", code="extension") from error
    return value


class ObjectParser:
    """Objects out of the bytes of one stream (after its type byte)."""

    __slots__ = ("_chunks", "_extension", "_fields", "_need", "_phase")

    def __init__(self) -> None:
        self._chunks = Chunks()
        self._phase = 0
        self._need = HEADER.size
        self._fields: tuple[int, ...] = ()
        self._extension: bytes | None = None

    @property
    def partial(self) -> bool:
        """Whether the stream stands inside an object."""
        return self._phase != 0 or self._chunks.size != 0

    def feed(self, data: bytes) -> Iterator[WireObject]:
        """Take bytes and yield each object that is now whole.

        Raises:
            WireError: The bytes break the format; the parser is of no use afterwards.
        """
        chunks = self._chunks
        chunks.add(data)
        while chunks.size >= self._need:
            piece = chunks.take(self._need)
            if self._phase == 0:
                self._start(HEADER.unpack(piece))
            elif self._phase == 1:
                (self._need,) = struct.unpack("!H", piece)
                if self._need > MAX_EXTENSION_BYTES:
                    raise WireError("An object's extension is over 1024 bytes.", code="extension")
                self._phase = 2
            elif self._phase == 2:
                self._extension = piece
                self._need = self._fields[11]
                self._phase = 3
            else:
                yield self._finish(piece)

    def _start(self, fields: tuple[int, ...]) -> None:
        _check(fields)
        self._fields = fields
        self._extension = None
        if fields[2] & EXT:
            self._phase, self._need = 1, 2
        else:
            self._phase, self._need = 3, fields[11]

    def _finish(self, payload: bytes) -> WireObject:
        self._phase, self._need = 0, HEADER.size
        return _object(self._fields, self._extension, payload)


def decode_whole(data: bytes, start: int) -> WireObject | None:
    """The object that a stream is made of, when it is one, came whole and has no extension.

    Args:
        data: All bytes of the stream.
        start: Where the object begins.

    Returns:
        The object; None when the stream is anything else, for an `ObjectParser` to say what.

    Raises:
        WireError: The header breaks the format.
    """
    if len(data) - start < HEADER.size:
        return None
    fields = HEADER.unpack_from(data, start)
    if fields[2] & EXT or len(data) - start - HEADER.size != fields[11]:
        return None
    _check(fields)
    return _object(fields, None, data[start + HEADER.size :])


def _check(fields: tuple[int, ...]) -> None:
    """Check a header's fields.

    Raises:
        WireError: They break the format.
    """
    version, code, flags, zero = fields[:4]
    if version != VERSION or zero or flags & ~_ALL_FLAGS:
        raise WireError(f"An object header of version {version} cannot be read.", code="header")
    kind = _KINDS.get(code)
    if kind is None:
        raise WireError(f"An object has the unknown kind {code}.", code="kind")
    if fields[11] > MAX_BYTES[kind]:
        raise WireError(
            f"A {kind} object of {fields[11]} bytes is over {kind.max_bytes}.", code="too-large"
        )
    if flags & (ENCODE | SEND) and not flags & CAPTURE:
        raise WireError("An object has a stamp without a capture time.", code="header")


def _object(fields: tuple[int, ...], extension: bytes | None, payload: bytes) -> WireObject:
    _, code, flags, _, alias, seq, group, capture, duration, encode, send, length = fields
    wire_bytes = HEADER.size + length + (0 if extension is None else 2 + len(extension))
    obj = Object(
        kind=_KINDS[code],
        seq=seq,
        group=group,
        key=bool(flags & KEY),
        payload=payload,
        capture_us=capture if flags & CAPTURE else None,
        encode_us=capture + encode if flags & ENCODE else None,
        send_us=capture + send if flags & SEND else None,
        duration_us=duration,
        attributes=EMPTY if extension is None else decode_extension(extension),
        replayed=bool(flags & REPLAYED),
    )
    return WireObject(alias, obj, wire_bytes)
