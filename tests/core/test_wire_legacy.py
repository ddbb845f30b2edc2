"""wtp.wire.legacy: the original platform's framing."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.strategies import damaged, read_all, read_damaged, splits, vectors
from wtp.errors import WireError
from wtp.model import MAX_BYTES, Kind
from wtp.wire.legacy import HEADER, LegacyObject, LegacyParser, encode


def names(max_bytes: int) -> st.SearchStrategy[str]:
    """Text that a header field holds."""
    return st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=max_bytes).filter(
        lambda name: name.isprintable() and len(name.encode()) <= max_bytes
    )


sent_messages = st.lists(
    st.tuples(
        names(16),
        st.sampled_from([kind.value for kind in Kind]) | names(12),
        st.binary(max_size=99),
    ),
    max_size=4,
)


def read(track: str, type_name: str, payload: bytes) -> LegacyObject:
    kind = Kind(type_name) if type_name in Kind.__members__.values() else None
    return LegacyObject(track, kind, type_name, payload)


@pytest.mark.parametrize("row", vectors("legacy"), ids=lambda row: row["name"])
def test_vectors(row: dict[str, Any]) -> None:
    fields = row["fields"]
    args = fields["track_id"], fields["type"], bytes.fromhex(fields["payload"])
    assert encode(*args).hex() == row["bytes"]
    (got,) = read_all(LegacyParser().feed, [bytes.fromhex(row["bytes"])])
    assert got == read(*args)
    assert (got.kind is not None) == fields["known"]


@pytest.mark.parametrize(
    "row", [r for r in vectors("damaged") if r["parser"] == "legacy"], ids=lambda row: row["name"]
)
def test_damaged_vectors_are_refused(row: dict[str, Any]) -> None:
    assert read_damaged(LegacyParser().feed, [bytes.fromhex(row["bytes"])]) == ([], row["code"])


def test_header_is_32_bytes() -> None:
    assert HEADER.size == 32


@given(sent_messages, st.data())
def test_any_split_gives_the_same_messages(
    sent: list[tuple[str, str, bytes]], data: st.DataObject
) -> None:
    parser = LegacyParser()
    pieces = data.draw(splits(b"".join(encode(*message) for message in sent)))
    assert read_all(parser.feed, pieces) == [read(*message) for message in sent]
    assert not parser.partial


@given(sent_messages.filter(bool), st.data())
def test_damage_gives_messages_and_at_most_one_error(
    sent: list[tuple[str, str, bytes]], data: st.DataObject
) -> None:
    stream = data.draw(damaged(b"".join(encode(*message) for message in sent)))
    whole = read_damaged(LegacyParser().feed, [stream])
    assert read_damaged(LegacyParser().feed, data.draw(splits(stream))) == whole


@given(st.binary(max_size=200))
def test_random_bytes(data: bytes) -> None:
    values, code = read_damaged(LegacyParser().feed, [data])
    assert code in (None, "header", "too-large")
    for value in values:
        assert value == read(value.track_id, value.type_name, value.payload)


def test_partial() -> None:
    parser = LegacyParser()
    data = encode("t", "chat", b"hello")
    assert not parser.partial
    for n in range(len(data) - 1):
        assert read_all(parser.feed, [data[n : n + 1]]) == []
        assert parser.partial
    assert len(read_all(parser.feed, [data[-1:]])) == 1
    assert not parser.partial


@pytest.mark.parametrize("kind", Kind)
def test_the_size_limit_is_exact(kind: Kind) -> None:
    payload = bytes(MAX_BYTES[kind])
    assert len(read_all(LegacyParser().feed, [encode("t", kind, payload)])) == 1
    over = HEADER.pack(b"t", len(payload) + 1, kind.encode())
    assert read_damaged(LegacyParser().feed, [over]) == ([], "too-large")


@pytest.mark.parametrize(
    ("track", "type_name", "payload", "code"),
    [
        ("x" * 17, "video", b"", "header"),
        ("ä" * 9, "video", b"", "header"),
        ("t", "y" * 13, b"", "header"),
        ("\udcff", "video", b"", "header"),
        ("t", "video", bytes(4 * 1024 * 1024 + 1), "too-large"),
    ],
)
def test_what_does_not_fit_is_refused(
    track: str, type_name: str, payload: bytes, code: str
) -> None:
    with pytest.raises(WireError) as caught:
        encode(track, type_name, payload)
    assert caught.value.code == code


def test_many_messages_in_one_piece_take_linear_time() -> None:
    stream = encode("t", "video", b"") * (4 * 1024 * 1024 // 32)
    start = time.process_time()
    assert sum(1 for _ in LegacyParser().feed(stream)) == len(stream) // 32
    assert time.process_time() - start < 5.0
