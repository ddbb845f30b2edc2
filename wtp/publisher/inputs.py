"""Bytes from files and standard input without blocking the loop, cut into messages."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO

from wtp.errors import MediaError
from wtp.model import MAX_BYTES, Kind

CHUNK_BYTES = 64 * 1024
"""Default size of a data chunk; also what one read of a pipe returns at most on Linux."""
MAX_LINE_BYTES = MAX_BYTES[Kind.CHAT]
STDIN = 0


class Reader:
    """Reads a file descriptor; only when asked, so that whoever writes to it is pushed back.

    Pipes, terminals and sockets are waited for on the loop; regular files, which cannot be, are
    read in a thread, where they never block for long.

    Args:
        fd: The descriptor.
        name: What it is, for errors.
        file: The file object to close at the end, when it is ours.
    """

    def __init__(self, fd: int, name: str, file: BinaryIO | None = None) -> None:
        self.name = name
        self._fd = fd
        self._file = file
        self._waits = True

    async def read(self, count: int) -> bytes:
        """Return what is there, at most `count` bytes; empty at the end.

        Raises:
            MediaError: It cannot be read.
        """
        try:
            if self._waits and await self._readable():
                return os.read(self._fd, count)
            return await asyncio.to_thread(os.read, self._fd, count)
        except OSError as error:
            raise MediaError(
                f"{self.name} cannot be read: {error.strerror}.", hint="Check it and try again."
            ) from error

    def close(self) -> None:
        """Give the file back."""
        if self._file is not None:
            self._file.close()

    async def _readable(self) -> bool:
        """Wait until there is something; False when the descriptor cannot be waited for."""
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()

        def wake() -> None:
            if not ready.done():
                ready.set_result(None)

        try:
            loop.add_reader(self._fd, wake)
        except (PermissionError, NotImplementedError):
            self._waits = False
            return False
        try:
            await ready
        finally:
            loop.remove_reader(self._fd)
        return True


def open_reader(path: str) -> Reader:
    """Open a file, or standard input for `-`.

    Raises:
        MediaError: It does not exist, is a folder, or may not be read.
    """
    if path == "-":
        return Reader(STDIN, "Standard input")
    try:
        if Path(path).is_dir():
            raise MediaError(f"{path} is a folder.", hint="Give a file.")
        file = Path(path).open("rb", buffering=0)  # noqa: SIM115 - closed by the reader
    except OSError as error:
        raise MediaError(
            f"{path} cannot be opened: {error.strerror}.", hint="Check the path."
        ) from error
    return Reader(file.fileno(), path, file)


async def read_chunks(reader: Reader, size: int) -> AsyncIterator[bytes]:
    """Cut a file into chunks of `size`; standard input is passed on as it comes, up to `size`."""
    while data := await reader.read(size):
        yield data


async def read_lines(reader: Reader, most: int = MAX_LINE_BYTES) -> AsyncIterator[bytes | None]:
    """Lines without their end, the last one also when it has none.

    Args:
        reader: What to read.
        most: Longest line in bytes.

    Yields:
        A line; None for one that is too long (the rest of it is skipped, nothing is kept).
    """
    held = bytearray()
    skipping = False
    while data := await reader.read(CHUNK_BYTES):
        first, *more = data.split(b"\n")
        held += first
        for piece in more:
            line = bytes(held).removesuffix(b"\r")
            held = bytearray(piece)
            if skipping or len(line) > most:
                skipping = False
                yield None
            else:
                yield line
        if len(held) > most + 1:
            held.clear()
            skipping = True
    if skipping or len(held) > most:
        yield None
    elif held:
        yield bytes(held)


def chat_text(line: bytes) -> bytes | None:
    """A chat line as UTF-8 payload; None when it is not text."""
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text.encode()
