"""Readers, chunks and lines."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wtp.errors import MediaError
from wtp.publisher.inputs import Reader, chat_text, open_reader, read_chunks, read_lines


class Pieces(Reader):
    """Gives prepared pieces."""

    def __init__(self, *pieces: bytes) -> None:
        super().__init__(-1, "pieces")
        self._pieces = list(pieces)

    async def read(self, count: int) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""


async def gather(items: AsyncIterator[bytes | None]) -> list[bytes | None]:
    return [item async for item in items]


async def test_a_pipe_is_waited_for_without_a_thread() -> None:
    reading, writing = os.pipe()
    reader = Reader(reading, "pipe")
    waiting = asyncio.create_task(reader.read(100))
    await asyncio.sleep(0)
    assert not waiting.done()
    os.write(writing, b"now")
    assert await asyncio.wait_for(waiting, 1) == b"now"
    os.close(writing)
    assert await reader.read(100) == b""
    os.close(reading)


async def test_a_cancelled_read_leaves_the_pipe_alone() -> None:
    reading, writing = os.pipe()
    reader = Reader(reading, "pipe")
    waiting = asyncio.create_task(reader.read(100))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert not asyncio.get_running_loop().remove_reader(reading)
    os.close(writing)
    os.close(reading)


async def test_a_file_is_cut_into_chunks(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"abcdefg")
    reader = open_reader(str(path))
    assert await gather(read_chunks(reader, 3)) == [b"abc", b"def", b"g"]
    reader.close()


async def test_an_empty_file_gives_nothing() -> None:
    reader = open_reader(os.devnull)
    assert await gather(read_chunks(reader, 3)) == []
    reader.close()


@pytest.mark.parametrize("path", ["/no/such", "/"])
def test_what_cannot_be_opened(path: str) -> None:
    with pytest.raises(MediaError, match=path):
        open_reader(path)


async def test_a_closed_descriptor_is_an_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    os.close(writing)
    with pytest.raises(MediaError, match="gone cannot be read"):
        await Reader(reading, "gone").read(1)


async def test_lines_with_every_kind_of_end() -> None:
    assert await gather(read_lines(Pieces(b"a\nb\r\n", b"c", b"d\n\ne"))) == [
        b"a", b"b", b"cd", b"", b"e",
    ]  # fmt: skip


async def test_a_line_that_is_too_long_is_reported_and_skipped() -> None:
    pieces = [b"x" * 8] * 3 + [b"x\nok\n", b"y" * 11 + b"\n", b"z" * 10, b"\n", b"w" * 11]
    assert await gather(read_lines(Pieces(*pieces), 10)) == [None, b"ok", None, b"z" * 10, None]


@given(
    st.lists(st.binary(max_size=12).filter(lambda b: b"\n" not in b and not b.endswith(b"\r"))),
    st.lists(st.integers(1, 20), min_size=1),
)
async def test_any_split_gives_the_same_lines(lines: list[bytes], cuts: list[int]) -> None:
    text = b"".join(line + b"\n" for line in lines)
    pieces, index = [], 0
    while text:
        pieces.append(text[: cuts[index % len(cuts)]])
        text = text[len(pieces[-1]) :]
        index += 1
    wanted = [line if len(line) <= 10 else None for line in lines]
    assert await gather(read_lines(Pieces(*pieces), 10)) == wanted


def test_chat_is_text() -> None:
    assert chat_text("grüße".encode()) == "grüße".encode()
    assert chat_text(b"\xff\xfe") is None
    assert chat_text(b"a\0b") is None
