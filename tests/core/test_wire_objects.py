"""wtp.wire.objects: the object framing survives any split and refuses any damage with one error."""

from __future__ import annotations

import json
import struct
import time
import tracemalloc
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.core.strategies import damaged, objects, read_all, read_damaged, splits, vectors
from wtp.errors import WireError
from wtp.model import MAX_BYTES, STAMPS, Kind, Object
from wtp.wire.objects import (
    HEADER,
    KIND_CODES,
    ObjectParser,
    WireObject,
    decode_extension,
    encode_extension,
    encode_head,
)

SMALL = Object(Kind.CHAT, 1, 0, False, b"hi")


def encode(alias: int, obj: Object) -> bytes:
    return encode_head(alias, obj) + obj.payload


def vector_object(fields: dict[str, Any]) -> tuple[int, Object]:
    numbers = {"alias", "seq", "group", "duration_us", *STAMPS}
    values: dict[str, Any] = {
        k: int(v) if k in numbers and v is not None else v for k, v in fields.items()
    }
    alias = values.pop("alias")
    values |= {"kind": Kind(values["kind"]), "payload": bytes.fromhex(values["payload"])}
    return alias, Object(**values)


def test_header_is_48_bytes() -> None:
    assert HEADER.size == 48
    assert set(KIND_CODES) == set(Kind)


@pytest.mark.parametrize("row", vectors("objects"), ids=lambda row: row["name"])
def test_vectors_are_read(row: dict[str, Any]) -> None:
    data = bytes.fromhex(row["bytes"])
    alias, obj = vector_object(row["fields"])
    parser = ObjectParser()
    assert read_all(parser.feed, [data]) == [WireObject(alias, obj, len(data))]
    assert not parser.partial


@pytest.mark.parametrize(
    "row",
    [row for row in vectors("objects") if row["name"] != "empty extension"],
    ids=lambda row: row["name"],
)
def test_vectors_are_written(row: dict[str, Any]) -> None:
    """All but one: an empty extension is never written, no extension means the same."""
    alias, obj = vector_object(row["fields"])
    assert encode(alias, obj).hex() == row["bytes"]


@pytest.mark.parametrize(
    "row", [r for r in vectors("damaged") if r["parser"] == "objects"], ids=lambda row: row["name"]
)
def test_damaged_vectors_are_refused(row: dict[str, Any]) -> None:
    data = bytes.fromhex(row["bytes"])
    assert read_damaged(ObjectParser().feed, [data]) == ([], row["code"])
    one_by_one = [data[n : n + 1] for n in range(len(data))]
    assert read_damaged(ObjectParser().feed, one_by_one) == ([], row["code"])


@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), objects()), max_size=5), st.data())
def test_any_split_gives_the_same_objects(
    sent: list[tuple[int, Object]], data: st.DataObject
) -> None:
    whole = [encode(alias, obj) for alias, obj in sent]
    parser = ObjectParser()
    pieces = data.draw(splits(b"".join(whole)))
    got = read_all(parser.feed, pieces)
    assert got == [WireObject(a, o, len(w)) for (a, o), w in zip(sent, whole, strict=True)]
    assert all(type(g.obj.payload) is bytes for g in got)
    assert not parser.partial


@given(st.lists(objects(), min_size=1, max_size=3), st.data())
def test_damage_gives_objects_and_at_most_one_error(
    sent: list[Object], data: st.DataObject
) -> None:
    stream = data.draw(damaged(b"".join(encode(1, obj) for obj in sent)))
    whole = read_damaged(ObjectParser().feed, [stream])
    pieces = data.draw(splits(stream))
    assert read_damaged(ObjectParser().feed, pieces) == whole


@given(st.binary(max_size=400))
@example(b"\x01\x01" + bytes(46))
def test_random_bytes(stream: bytes) -> None:
    read_damaged(ObjectParser().feed, [stream])


@given(objects(), st.integers(0, 10_000))
def test_a_cut_stream_is_partial_and_yields_nothing(obj: Object, cut: int) -> None:
    stream = encode(7, obj)
    parser = ObjectParser()
    kept = stream[: cut % len(stream)]
    assert read_all(parser.feed, [kept]) == []
    assert parser.partial == bool(kept)


def test_partial_inside_a_payload() -> None:
    parser = ObjectParser()
    stream = encode(1, SMALL)
    assert not parser.partial
    assert read_all(parser.feed, [stream[:-1]]) == []
    assert parser.partial
    assert len(read_all(parser.feed, [stream[-1:]])) == 1


@pytest.mark.parametrize("kind", Kind)
def test_size_limit_is_exact(kind: Kind) -> None:
    largest = replace(SMALL, kind=kind, payload=bytes(MAX_BYTES[kind]))
    (got,) = read_all(ObjectParser().feed, [encode(1, largest)])
    assert got.obj == largest
    with pytest.raises(WireError, match="over") as caught:
        encode_head(1, replace(largest, payload=bytes(MAX_BYTES[kind] + 1)))
    assert caught.value.code == "too-large"


@pytest.mark.parametrize(
    ("stamps", "read"),
    [
        ({"encode_us": 5}, {"encode_us": None}),
        ({"capture_us": 9, "encode_us": 8}, {"encode_us": None}),
        ({"capture_us": 0, "send_us": 2**32}, {"send_us": None}),
        ({"route_us": 1, "publish_us": 2}, {"route_us": None, "publish_us": None}),
    ],
)
def test_stamps_that_do_not_travel(stamps: dict[str, int], read: dict[str, None]) -> None:
    obj = replace(SMALL, **stamps)  # type: ignore[arg-type]  # stamps are int fields
    (got,) = read_all(ObjectParser().feed, [encode(1, obj)])
    assert got.obj == replace(obj, **read)  # type: ignore[arg-type]  # as above


def test_a_duration_over_the_field_is_cut() -> None:
    obj = replace(SMALL, duration_us=2**40)
    (got,) = read_all(ObjectParser().feed, [encode(1, obj)])
    assert got.obj.duration_us == 2**32 - 1


@pytest.mark.parametrize(
    "fields",
    [
        {"seq": -1},
        {"seq": 2**64},
        {"group": -1},
        {"group": 2**64},
        {"capture_us": 2**63},
        {"capture_us": -(2**63) - 1},
        {"duration_us": -1},
    ],
)
def test_numbers_that_do_not_fit_are_refused(fields: dict[str, int]) -> None:
    with pytest.raises(WireError) as caught:
        encode_head(1, replace(SMALL, **fields))  # type: ignore[arg-type]  # int fields
    assert caught.value.code == "header"


@pytest.mark.parametrize("alias", [-1, 2**32])
def test_an_alias_that_does_not_fit_is_refused(alias: int) -> None:
    with pytest.raises(WireError):
        encode_head(alias, SMALL)


@pytest.mark.parametrize(
    "attributes", [{"a": "x" * 1024}, {"seq": "1"}, {"a": "\udcff"}, {"\udcff": "a"}]
)
def test_attributes_that_cannot_travel_are_refused(attributes: dict[str, str]) -> None:
    with pytest.raises(WireError) as caught:
        encode_head(1, replace(SMALL, attributes=attributes))
    assert caught.value.code == "extension"


@given(st.binary(max_size=200) | st.from_type(type(None)).map(json.dumps).map(str.encode))
def test_any_extension_is_strings_or_one_error(text: bytes) -> None:
    try:
        value = decode_extension(text)
    except WireError as error:
        code = error.code
    else:
        encode_extension(value)
        code = "extension"
    assert code == "extension"


def _empty(kind: Kind = Kind.VIDEO) -> bytes:
    return encode(1, Object(kind, 1, 0, False, b""))


def test_many_objects_in_one_piece_take_linear_time() -> None:
    """A gap that closes hands megabytes over at once: 4 MiB of empty objects is 87,000 of them."""
    stream = _empty() * (4 * 1024 * 1024 // 48)
    start = time.process_time()
    count = sum(1 for _ in ObjectParser().feed(stream))
    assert count == len(stream) // 48
    assert time.process_time() - start < 5.0


def test_an_object_in_tiny_pieces_takes_bounded_memory() -> None:
    """A peer may send two bytes at a time; keeping each as an object takes 25 times as much."""
    size = 400_000
    head = encode_head(1, Object(Kind.VIDEO, 1, 0, False, bytes(size)))
    parser = ObjectParser()
    read_all(parser.feed, [head])
    tracemalloc.start()
    for n in range(size // 2 - 1):
        read_all(parser.feed, [struct.pack("!H", n & 0xFFFF)])
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 2 * size
    (got,) = read_all(parser.feed, [b"\0\0"])
    assert (
        got.obj.payload
        == b"".join(struct.pack("!H", n & 0xFFFF) for n in range(size // 2 - 1)) + b"\0\0"
    )
