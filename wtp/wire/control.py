"""Control messages: a u32 length (network order) and that many bytes of JSON, at most 16 KiB.

One unidirectional stream each way. Every message is an object with a `type` and the fields of the
dataclass of that name below; unknown fields are ignored, so that a later version may add some.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any

from wtp.errors import WireError
from wtp.wire.chunks import Chunks

MAX_BYTES = 16 * 1024
UNKNOWN = -1
"""`error_us` of an `offset` that is not known any more."""
_LENGTH = struct.Struct("!I")


@dataclass(frozen=True, slots=True)
class Hello:
    """First message of a client: who it is. `instance` tells two runs of one name apart."""

    name: str
    instance: str
    version: str = ""


@dataclass(frozen=True, slots=True)
class Welcome:
    """Answer to `hello`: the router's clock domain (DESIGN, section 6) and limits."""

    session: str
    boot_id: str
    anchor_us: int
    version: str = ""
    room: str = ""


@dataclass(frozen=True, slots=True)
class Publish:
    """Announces a track under an alias of the sender's choice."""

    alias: int
    track: str
    kind: str
    content_type: str


@dataclass(frozen=True, slots=True)
class Published:
    """The track is taken. `last_seq`: highest sequence the broker has of this run; live kinds -1.

    The first object of a session may have any sequence above it, later ones follow without a gap.
    """

    alias: int
    last_seq: int = -1


@dataclass(frozen=True, slots=True)
class Receipt:
    """The broker has every object of the track up to `up_to_seq` (cumulative)."""

    alias: int
    up_to_seq: int


@dataclass(frozen=True, slots=True)
class Rejected:
    """The broker will never take this object: the sender drops it and goes on behind it.

    It comes once every object before it is settled. The sender says the same back; no later object
    of the track goes to the broker before that, so that none can pass for a receipt of this one.
    """

    alias: int
    seq: int
    code: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Stats:
    """What the router has counted of this session's tracks: alias (as text) -> name -> count."""

    tracks: dict[str, dict[str, int]]


@dataclass(frozen=True, slots=True)
class Ping:
    """Clock exchange, either way: the sender's time."""

    t0_us: int


@dataclass(frozen=True, slots=True)
class Pong:
    """Answer to `ping`: its time, when it arrived, when this left (the peer's clock), Unix µs."""

    t0_us: int
    t1_us: int
    t2_us: int


@dataclass(frozen=True, slots=True)
class Offset:
    """What to add to the sender's stamps to get the receiver's clock, ± error, both in µs.

    Sent before the first object by a publisher on another machine start, and when it changes. A
    negative error says that the offset is unknown again: a clock was stepped or halted.
    """

    offset_us: int
    error_us: int


@dataclass(frozen=True, slots=True)
class Flush:
    """Asks for `flushed` once all that was sent on the aliases has been handed on.

    `sent` counts the objects of each alias (as text) that this session wrote to whole streams.
    """

    sent: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Flushed:
    """Answer to `flush`: objects received whole, and the counts of each alias, as in `stats`."""

    tracks: dict[str, dict[str, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Keyframe:
    """From the router: somebody needs a key object of a live track; a sender may ignore it."""

    alias: int


@dataclass(frozen=True, slots=True)
class Drain:
    """The router is about to leave: finish, close and connect again later."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class Error:
    """Something was refused; with an alias only that track, else the session ends."""

    code: str
    message: str
    alias: int = -1


Message = (
    Hello
    | Welcome
    | Publish
    | Published
    | Receipt
    | Rejected
    | Stats
    | Ping
    | Pong
    | Offset
    | Flush
    | Flushed
    | Keyframe
    | Drain
    | Error
)
_TYPES: Mapping[str, type[Message]] = {
    cls.__name__.lower(): cls
    for cls in (
        Hello, Welcome, Publish, Published, Receipt, Rejected, Stats,
        Ping, Pong, Offset, Flush, Flushed, Keyframe, Drain, Error,
    )
}  # fmt: skip


def _is_text(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:  # half a surrogate, escaped in the JSON
        return False
    return True


def _is_int(value: object) -> bool:
    return type(value) is int and -(2**63) <= value < 2**64


def _is_counts(value: object) -> bool:
    return (
        isinstance(value, dict) and all(map(_is_text, value)) and all(map(_is_int, value.values()))
    )


def _is_tables(value: object) -> bool:
    return (
        isinstance(value, dict)
        and all(map(_is_text, value))
        and all(map(_is_counts, value.values()))
    )


_CHECKS: Mapping[str, Callable[[object], bool]] = {
    "str": _is_text,
    "int": _is_int,
    "dict[str, int]": _is_counts,
    "dict[str, dict[str, int]]": _is_tables,
}


def encode(message: Message) -> bytes:
    """A control message as bytes, length included.

    Raises:
        WireError: It takes more than 16 KiB, or a text of it is not Unicode.
    """
    body = {"type": type(message).__name__.lower(), **asdict(message)}
    try:
        text = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError as error:
        raise WireError("A control message is not Unicode text.", code="control") from error
    if len(text) > MAX_BYTES:
        raise WireError(f"A control message of {len(text)} bytes is over 16 KiB.", code="too-large")
    return _LENGTH.pack(len(text)) + text


def decode(text: bytes) -> Message | None:
    """Read one control message.

    Returns:
        The message, or None for a type this version does not know.

    Raises:
        WireError: Not a JSON object, no type, or a field that is missing or of a wrong type.
    """
    try:
        body = json.loads(text.decode())  # json would guess UTF-16 and UTF-32 from bytes
    except (ValueError, RecursionError) as error:
        raise WireError("A control message is not JSON.", code="control") from error
    if not isinstance(body, dict) or not isinstance(body.get("type"), str):
        raise WireError("A control message has no type.", code="control")
    cls = _TYPES.get(body["type"])
    if cls is None:
        return None
    values: dict[str, Any] = {}
    for item in fields(cls):
        if item.name not in body:
            if item.default is MISSING and item.default_factory is MISSING:
                raise WireError(f"A {body['type']} message lacks {item.name}.", code="control")
            continue
        value = body[item.name]
        if not _CHECKS[str(item.type)](value):
            raise WireError(
                f"{item.name} of a {body['type']} message is no {item.type}.", code="control"
            )
        values[item.name] = value
    return cls(**values)


class ControlParser:
    """Control messages out of the bytes of one stream (after its type byte)."""

    __slots__ = ("_chunks", "_length")

    def __init__(self) -> None:
        self._chunks = Chunks()
        self._length: int | None = None

    def feed(self, data: bytes) -> Iterator[Message]:
        """Take bytes and yield each message that is now whole; unknown types are skipped.

        Raises:
            WireError: The bytes break the format; the parser is of no use afterwards.
        """
        chunks = self._chunks
        chunks.add(data)
        while True:
            if self._length is None:
                if chunks.size < _LENGTH.size:
                    return
                (self._length,) = _LENGTH.unpack(chunks.take(_LENGTH.size))
                if self._length > MAX_BYTES:
                    raise WireError("A control message is over 16 KiB.", code="too-large")
            if chunks.size < self._length:
                return
            message = decode(chunks.take(self._length))
            self._length = None
            if message is not None:
                yield message
