"""Hypothesis strategies shared by the tests of the pure core."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import strategies as st

from wtp.errors import WireError
from wtp.model import RESERVED, Kind, Object
from wtp.wire import control

T = TypeVar("T")

VECTORS = Path(__file__).resolve().parent.parent / "vectors"

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
any_text = st.text(st.characters(), max_size=40)
attributes = st.dictionaries(
    text.filter(lambda name: name not in RESERVED), text, max_size=4
).filter(lambda d: len(json.dumps(d, ensure_ascii=False).encode()) <= 900)
u32, u64 = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
i64 = st.integers(-(2**63), 2**63 - 1)


@st.composite
def objects(draw: st.DrawFn) -> Object:
    """Objects that the wire carries without loss."""
    capture = draw(st.none() | i64)
    deltas = st.none() if capture is None else st.none() | u32
    encode, send = draw(deltas), draw(deltas)
    return Object(
        kind=draw(st.sampled_from(Kind)),
        seq=draw(u64),
        group=draw(u64),
        key=draw(st.booleans()),
        payload=draw(st.binary(max_size=200)),
        capture_us=capture,
        encode_us=None if capture is None or encode is None else capture + encode,
        send_us=None if capture is None or send is None else capture + send,
        duration_us=draw(u32),
        attributes=draw(attributes),
        replayed=draw(st.booleans()),
    )


_counts = st.dictionaries(text, i64, max_size=4)
_fields: dict[str, st.SearchStrategy[Any]] = {
    "str": text,
    "int": i64,
    "dict[str, int]": _counts,
    "dict[str, dict[str, int]]": st.dictionaries(text, _counts, max_size=4),
}
MESSAGES: tuple[type[control.Message], ...] = (
    control.Hello, control.Welcome, control.Publish, control.Published, control.Receipt,
    control.Rejected, control.Stats, control.Ping, control.Pong, control.Offset, control.Flush,
    control.Flushed, control.Keyframe, control.Drain, control.Error,
)  # fmt: skip


def _message(cls: type[control.Message]) -> st.SearchStrategy[Any]:
    return st.builds(
        cls, **{f.name: _fields[str(f.type)] for f in cls.__dataclass_fields__.values()}
    )


messages: st.SearchStrategy[control.Message] = st.one_of(*map(_message, MESSAGES))
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(any_text, inner, max_size=4),
    max_leaves=12,
)


@st.composite
def splits(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """`data` in any number of pieces, empty ones included."""
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=30)))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


@st.composite
def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """`data` with bits flipped, bytes cut out, put in or replaced; or bytes of another origin."""
    out = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(out)))
        match draw(st.sampled_from(["flip", "cut", "insert", "replace", "end"])):
            case "flip" if at < len(out):
                out[at] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del out[at : at + draw(st.integers(1, 50))]
            case "insert":
                out[at:at] = draw(st.binary(min_size=1, max_size=50))
            case "replace":
                piece = draw(st.binary(min_size=1, max_size=8) | st.just(b"\xff" * 4))
                out[at : at + len(piece)] = piece
            case _:
                del out[at:]
    return bytes(out)


def vectors(name: str) -> list[Any]:
    """The rows of one vector file."""
    rows: list[Any] = json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))
    return rows


def read_all(feed: Callable[[bytes], Iterator[T]], pieces: Iterable[bytes]) -> list[T]:
    """Everything a parser yields for the pieces."""
    return [value for piece in pieces for value in feed(piece)]


def read_damaged(
    feed: Callable[[bytes], Iterator[T]], pieces: Iterable[bytes]
) -> tuple[list[T], str | None]:
    """What a parser yields until it refuses, and the code of its refusal."""
    values: list[T] = []
    try:
        for piece in pieces:
            values.extend(feed(piece))
    except WireError as error:
        return values, error.code
    return values, None
