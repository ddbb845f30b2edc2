"""A small protobuf codec: messages are dataclasses whose fields carry their number and kind.

Only what Pulsar's protocol needs (proto2): varints, doubles, strings, bytes, nested and repeated
fields. Wire format: https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Self

from wtp.errors import WireError

_MASK_64 = (1 << 64) - 1
_ONE = [bytes((n,)) for n in range(128)]


def damaged(what: str) -> WireError:
    """The one error for bytes that are not the protocol."""
    return WireError(
        f"Broken Pulsar protocol: {what}.",
        hint="Check that the peer is a Pulsar client and speaks to the broker's binary port.",
        code="bad-frame",
    )


def varint(value: int) -> bytes:
    """Encode a non-negative integer of at most 64 bits."""
    if value < 0x80:
        return _ONE[value]
    if value < 0x4000:
        return bytes((value & 0x7F | 0x80, value >> 7))
    if value < 0x200000:
        return bytes((value & 0x7F | 0x80, value >> 7 & 0x7F | 0x80, value >> 14))
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(data: bytes, pos: int) -> tuple[int, int]:
    """Decode a varint at `pos`; returns the value and the position behind it.

    Raises:
        WireError: it is cut off or longer than 64 bits.
    """
    value = shift = 0
    try:
        while True:
            byte = data[pos]
            pos += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
            if shift > 63:
                raise damaged("a varint is longer than 64 bits")
    except IndexError:
        raise damaged("a varint is cut off") from None
    if value > _MASK_64:
        raise damaged("a varint is longer than 64 bits")
    return value, pos


def signed(value: int) -> int:
    """A 64-bit two's complement varint as the signed integer it stands for."""
    return value - (1 << 64) if value >> 63 else value


def skip(data: bytes, pos: int, wire_type: int) -> int:
    """The position behind an unknown field's value.

    Raises:
        WireError: the value is cut off, or of a wire type that proto2 messages here never use.
    """
    if wire_type == 0:
        return read_varint(data, pos)[1]
    if wire_type == 2:
        size, pos = read_varint(data, pos)
        pos += size
    elif wire_type == 1:
        pos += 8
    elif wire_type == 5:
        pos += 4
    else:
        raise damaged(f"wire type {wire_type}")
    if pos > len(data):
        raise damaged("a field is cut off")
    return pos


@dataclass(frozen=True, slots=True)
class _Field:
    """How one attribute travels."""

    name: str
    number: int
    kind: str
    many: bool
    required: bool
    message: type[Message] | None

    @property
    def wire_type(self) -> int:
        if self.kind == "double":
            return 1
        return 0 if self.kind in ("uint", "int", "bool") else 2


def pb(
    number: int,
    kind: str | type[Message],
    *,
    default: Any = None,
    many: bool = False,
    required: bool = False,
) -> Any:
    """Declare a protobuf field of a `Message`.

    Args:
        number: Field number.
        kind: `uint`, `int`, `bool`, `string`, `bytes`, `double`, or a `Message` class.
        default: Value when absent; None is never sent.
        many: Repeated: a list.
        required: Absence is an error when decoding.
    """
    name = kind if isinstance(kind, str) else "message"
    message = None if isinstance(kind, str) else kind
    metadata = {"pb": (number, name, many, required, message)}
    if many:
        return field(default_factory=list, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(slots=True)
class Message:
    """Base of all protobuf messages; subclasses are dataclasses of `pb` fields."""

    _tables: ClassVar[dict[type[Message], dict[int, _Field]]] = {}

    @classmethod
    def _table(cls) -> dict[int, _Field]:
        table = Message._tables.get(cls)
        if table is None:
            found = [_Field(f.name, *f.metadata["pb"]) for f in fields(cls)]
            table = {f.number: f for f in sorted(found, key=lambda f: f.number)}
            Message._tables[cls] = table
        return table

    def encode(self) -> bytes:
        """The message in wire format, fields in order of their numbers."""
        out: list[bytes] = []
        for f in self._table().values():
            value = getattr(self, f.name)
            if value is None:
                continue
            tag = varint(f.number << 3 | f.wire_type)
            for item in value if f.many else (value,):
                out.append(tag)
                out.append(_ENCODERS[f.kind](item))
        return b"".join(out)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read a message; unknown fields are skipped, the last of a single field wins.

        Declarations are not recursive, so nesting is bounded.

        Raises:
            WireError: the bytes are no such message.
        """
        table, values = cls._table(), dict[str, Any]()
        pos, end = 0, len(data)
        while pos < end:
            tag, pos = read_varint(data, pos)
            f = table.get(tag >> 3)
            if f is None or tag & 7 != f.wire_type:
                packed = f is not None and f.many and f.wire_type == 0 and tag & 7 == 2
                start, pos = pos, skip(data, pos, tag & 7)
                if packed and f is not None:
                    values.setdefault(f.name, []).extend(_packed(f, data, start))
                continue
            value, pos = _decode_value(f, data, pos)
            if f.many:
                values.setdefault(f.name, []).append(value)
            else:
                values[f.name] = value
        for f in table.values():
            if f.required and f.name not in values:
                raise damaged(f"{cls.__name__}.{f.name} is missing")
        return cls(**values)


def _packed(f: _Field, data: bytes, pos: int) -> list[Any]:
    size, pos = read_varint(data, pos)
    end, items = pos + size, []
    while pos < end:
        value, pos = _decode_value(f, data, pos)
        items.append(value)
    return items


def _decode_value(f: _Field, data: bytes, pos: int) -> tuple[Any, int]:
    if f.wire_type == 0:
        value, pos = read_varint(data, pos)
        if f.kind == "uint":
            return value, pos
        return (bool(value) if f.kind == "bool" else signed(value)), pos
    if f.wire_type == 1:
        stop = skip(data, pos, 1)
        return struct.unpack_from("<d", data, pos)[0], stop
    size, pos = read_varint(data, pos)
    stop = pos + size
    if stop > len(data):
        raise damaged("a field is cut off")
    raw = data[pos:stop]
    if f.message is not None:
        return f.message.decode(raw), stop
    if f.kind == "bytes":
        return raw, stop
    try:
        return raw.decode(), stop
    except UnicodeDecodeError:
        raise damaged("a string is not UTF-8") from None


def _prefixed(raw: bytes) -> bytes:
    return varint(len(raw)) + raw


_ENCODERS: dict[str, Callable[[Any], bytes]] = {
    "uint": lambda value: varint(int(value) & _MASK_64),
    "int": lambda value: varint(int(value) & _MASK_64),
    "bool": lambda value: _ONE[bool(value)],
    "string": lambda value: _prefixed(value.encode()),
    "bytes": lambda value: _prefixed(bytes(value)),
    "double": lambda value: struct.pack("<d", value),
    "message": lambda value: _prefixed(value.encode()),
}
