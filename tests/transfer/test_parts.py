"""Parts of files on the wire: what is written is read back, anything else is refused."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wtp.errors import WireError
from wtp.model import RESERVED
from wtp.transfer import parts
from wtp.transfer.parts import Announcement, Chunk, End, Void, read_part
from wtp.wire.objects import encode_extension

FILE, TRANSFER = "ab" * 16, "cd" * 16
ONE = Announcement(FILE, TRANSFER, "a/b.txt", 1000, 5, 300, number=2, files=3, total_bytes=5000)


def back(written: parts.Written) -> parts.Part:
    payload, attributes = written
    return read_part(attributes, payload)


def test_parts_are_read_back() -> None:
    assert back(parts.write_announcement(ONE)) == ONE
    end = End(FILE, "0f" * 32, 1000)
    assert back(parts.write_end(end)) == end
    void = Void(FILE, "gone")
    assert back(parts.write_void(void)) == void
    payload = b"123456789"
    attributes = parts.chunk_attributes(FILE, 7, payload)
    # The check value of CRC-32C (RFC 3720, appendix B.4).
    assert read_part(attributes, payload) == Chunk(FILE, 7, 0xE3069283)


def test_attributes_fit_the_object_header() -> None:
    attributes = parts.chunk_attributes(FILE, parts.MAX_CHUNKS - 1, b"x")
    assert len(encode_extension(attributes)) < 200
    assert RESERVED.isdisjoint(attributes)


def test_chunks_cover_the_file() -> None:
    assert ONE.chunks == 4
    assert [ONE.size_of(index) for index in range(4)] == [300, 300, 300, 100]
    assert Announcement(FILE, TRANSFER, "x", 0, 0, 300).chunks == 0
    assert Announcement(FILE, TRANSFER, "x", 600, 0, 300).chunks == 2


def changed(**values: Any) -> bytes:
    payload, _ = parts.write_announcement(ONE)
    return json.dumps({**json.loads(payload), **values}).encode()


@pytest.mark.parametrize(
    "values",
    [
        {"name": 3},
        {"name": None},
        {"transfer": "x"},
        {"folder": 1},
        {"size_bytes": -1},
        {"size_bytes": True},
        {"size_bytes": 1.5},
        {"size_bytes": 1 << 60},
        {"size_bytes": 1 << 40, "chunk_bytes": 1},
        {"chunk_bytes": 2 << 20},
        {"folder": True},
    ],
)
def test_an_announcement_that_makes_no_sense_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(WireError):
        read_part({"part": "file", "file": FILE}, changed(**values))


@pytest.mark.parametrize(
    ("attributes", "payload"),
    [
        ({}, b""),
        ({"file": "../x", "part": "chunk"}, b""),
        ({"file": FILE}, b""),
        ({"file": FILE, "part": "dance"}, b""),
        ({"file": FILE, "part": "chunk"}, b""),
        ({"file": FILE, "part": "chunk", "index": "-1", "crc32c": "0" * 8}, b""),
        ({"file": FILE, "part": "chunk", "index": "1" * 30, "crc32c": "0" * 8}, b""),
        ({"file": FILE, "part": "chunk", "index": "1", "crc32c": "zz"}, b""),
        ({"file": FILE, "part": "end"}, b"{}"),
        ({"file": FILE, "part": "end"}, b"[]"),
        ({"file": FILE, "part": "file"}, b"\xff"),
        ({"file": FILE, "part": "file"}, b"[" * 100_000),
    ],
)
def test_what_is_no_part_is_refused(attributes: dict[str, str], payload: bytes) -> None:
    with pytest.raises(WireError):
        read_part(attributes, payload)


@given(
    st.dictionaries(st.sampled_from(["file", "part", "index", "crc32c"]), st.text(max_size=40)),
    st.binary(max_size=200),
)
def test_nothing_else_than_a_wire_error_comes_of_noise(
    attributes: dict[str, str], payload: bytes
) -> None:
    with contextlib.suppress(WireError):
        read_part({"file": FILE, **attributes}, payload)
