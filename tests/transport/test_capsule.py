"""Varints, capsules and error codes, against the drafts' values and generated input."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wtp.errors import WireError
from wtp.transport.capsule import (
    CapsuleReader,
    decode_varint,
    encode_close,
    encode_varint,
    from_http_code,
    to_http_code,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("25", 37),
        ("7bbd", 15293),
        ("9d7f3e7d", 494878333),
        ("c2197c5eff14e88c", 151288809941952652),
    ],
)
def test_varint_examples_of_rfc_9000(text: str, value: int) -> None:
    assert encode_varint(value).hex() == text
    assert decode_varint(bytes.fromhex(text)) == (value, len(text) // 2)
    assert decode_varint(bytes.fromhex(text)[:-1]) is None


@given(st.integers(0, (1 << 62) - 1), st.binary(max_size=4))
def test_varint_round_trip(value: int, tail: bytes) -> None:
    data = encode_varint(value)
    assert decode_varint(b"x" + data + tail, 1) == (value, 1 + len(data))


@given(st.integers(0, 0xFFFFFFFF))
def test_error_codes_round_trip(code: int) -> None:
    mapped = to_http_code(code)
    assert (mapped - 0x21) % 0x1F  # never one of HTTP/3's reserved codes
    assert from_http_code(mapped) == code


def test_foreign_error_codes_stay() -> None:
    assert to_http_code(0) == 0x52E4A40FA8DB
    assert to_http_code(0xFFFFFFFF) == 0x52E5AC983162
    assert from_http_code(0x10C) == 0x10C
    assert from_http_code(0x52E4A40FA8DB + 0x1E) == 0x52E4A40FA8F9


@given(
    st.lists(st.tuples(st.integers(0, 1 << 61).filter(lambda n: n != 0x2843), st.binary())),
    st.integers(0, 0xFFFFFFFF),
    st.text(max_size=200),
    st.integers(1, 40),
)
def test_close_is_found_behind_unknown_capsules(
    unknown: list[tuple[int, bytes]], code: int, reason: str, step: int
) -> None:
    data = b"".join(encode_varint(kind) + encode_varint(len(body)) + body for kind, body in unknown)
    data += encode_close(code, reason)
    reader = CapsuleReader()
    found = [reader.feed(data[at : at + step]) for at in range(0, len(data), step)]
    assert found[-1] == (code, reason)
    assert not any(found[:-1])


def test_unknown_capsules_are_not_kept() -> None:
    reader = CapsuleReader()
    reader.feed(encode_varint(0x17) + encode_varint(1 << 40))
    for _ in range(100):
        assert reader.feed(bytes(10_000)) is None
    assert len(reader._buffer) == 0


@pytest.mark.parametrize("length", [0, 3, 1029, 1 << 30])
def test_impossible_close_capsules(length: int) -> None:
    with pytest.raises(WireError):
        CapsuleReader().feed(encode_varint(0x2843) + encode_varint(length))


def test_long_reason_is_cut_at_a_character() -> None:
    found = CapsuleReader().feed(encode_close(1, "ü" * 1000))
    assert found == (1, "ü" * 512)
