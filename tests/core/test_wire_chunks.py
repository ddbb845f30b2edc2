"""wtp.wire.chunks: bytes in pieces, out in wholes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wtp.wire.chunks import Chunks


@given(st.lists(st.binary(max_size=300), max_size=150), st.lists(st.integers(0, 900), max_size=40))
def test_it_behaves_like_one_byte_string(pieces: list[bytes], counts: list[int]) -> None:
    chunks, model = Chunks(), b""
    wanted = iter(counts)
    for piece in pieces:
        chunks.add(piece)
        model += piece
        count = next(wanted, 0)
        if count <= len(model):
            taken = chunks.take(count)
            assert type(taken) is bytes
            assert taken == model[:count]
            model = model[count:]
        assert chunks.size == len(model)
    assert chunks.take(chunks.size) == model
    assert chunks.size == 0


def test_a_whole_piece_is_not_copied() -> None:
    chunks = Chunks()
    piece = bytes(1000)
    chunks.add(piece)
    assert chunks.take(1000) is piece


def test_nothing_from_nothing() -> None:
    chunks = Chunks()
    chunks.add(b"")
    assert chunks.take(0) == b""


def test_small_pieces_are_joined_as_they_come() -> None:
    chunks = Chunks()
    data = bytes(range(256)) * 40
    for byte in data:
        chunks.add(bytes([byte]))
        assert chunks.pieces <= 65 + chunks.size // 200
    assert chunks.take(5) == data[:5]
    for byte in data:
        chunks.add(bytes([byte]))
    assert chunks.take(chunks.size) == data[5:] + data
