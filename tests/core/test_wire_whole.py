"""An object that is a whole stream is read like any other, only quicker."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wtp.errors import WireError
from wtp.model import Kind, Object
from wtp.wire.objects import HEADER, ObjectParser, decode_whole, encode_head

from .strategies import objects

PLAIN = Object(Kind.VIDEO, 1, 1, True, b"picture", capture_us=5)
WHOLE = b"\x02" + encode_head(7, PLAIN) + PLAIN.payload


@given(objects(), st.integers(0, 2**32 - 1))
def test_it_reads_what_the_parser_reads(obj: Object, alias: int) -> None:
    data = b"\x02" + encode_head(alias, obj) + obj.payload
    found = decode_whole(data, 1)
    if obj.attributes:
        assert found is None
    else:
        assert [found] == list(ObjectParser().feed(data[1:]))


@pytest.mark.parametrize(
    "data", [b"", b"\x02", WHOLE[:20], WHOLE[:-1], WHOLE + b"x", WHOLE + WHOLE[1:]]
)
def test_anything_but_one_whole_object_is_left_to_the_parser(data: bytes) -> None:
    assert decode_whole(data, 1) is None


@pytest.mark.parametrize(("place", "value"), [(0, 2), (1, 9), (2, 0x40), (3, 1), (2, 16)])
def test_a_damaged_header_is_refused_as_by_the_parser(place: int, value: int) -> None:
    head = bytearray(HEADER.pack(1, 1, 1, 0, 7, 1, 1, 0, 0, 0, 0, 3))
    head[place] = value
    data = b"\x02" + bytes(head) + b"abc"
    with pytest.raises(WireError) as ours:
        decode_whole(data, 1)
    with pytest.raises(WireError) as theirs:
        list(ObjectParser().feed(data[1:]))
    assert (ours.value.code, str(ours.value)) == (theirs.value.code, str(theirs.value))
