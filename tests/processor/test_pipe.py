"""Frames between a processor and its code come out as they went in, however they are cut."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wtp.processor.pipe import Frames, Reader, What, pack

FRAME = st.tuples(
    st.sampled_from(What), st.dictionaries(st.text(max_size=5), st.integers()), st.binary()
)


@given(frames=st.lists(FRAME, max_size=5), size=st.integers(1, 20))
def test_frames_survive_any_cut(
    frames: list[tuple[What, dict[str, Any], bytes]], size: int
) -> None:
    data = b"".join(b"".join(pack(*frame)) for frame in frames)
    reader = Frames()
    got = []
    for at in range(0, len(data), size):
        got += reader.feed(data[at : at + size])
    assert got == frames


@pytest.mark.parametrize("data", [b"x" * 99, b"\x63\0\0\0\2\0\0\0\0{}", b"\1\0\0\0\1\0\0\0\0{"])
def test_what_is_no_frame_is_told(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of several sorts
        Frames().feed(data)


def test_a_socket_gives_frames_up_to_its_end() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for number in range(3):
            for piece in pack(What.OBJECT, {"n": number}, bytes(number)):
                ours.sendall(piece)
        ours.sendall(b"\1\0")
        ours.close()
        reader = Reader(theirs)
        got = [reader.next() for _ in range(4)]
    assert got[:3] == [(What.OBJECT, {"n": n}, bytes(n)) for n in range(3)]
    assert got[3] is None
