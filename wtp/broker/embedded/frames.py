"""Framing of the Pulsar binary protocol, without I/O.

A frame: total size (u32, of what follows), command size (u32), BaseCommand, and for SEND and
MESSAGE the blob: magic 0x0e01, CRC32C of the rest, metadata size (u32), metadata, payload. Magic
and checksum may be absent. The blob is kept and sent as it came.
https://pulsar.apache.org/docs/develop-binary-protocol/
"""

from __future__ import annotations

import struct

from google_crc32c import value as crc32c

from wtp.broker.embedded.protobuf import Message, damaged, read_varint, skip, varint
from wtp.errors import WireError

MAX_MESSAGE_BYTES = 5 * 1024 * 1024
"""Largest message (metadata and payload) that clients may send; Pulsar's default."""

FRAME_PADDING_BYTES = 10 * 1024
"""What a frame may have on top of that: Pulsar's MESSAGE_SIZE_FRAME_PADDING."""

MAGIC = b"\x0e\x01"
"""Marks a blob with a checksum."""

READ_BYTES = 256 * 1024
"""Room for one read from the socket; a burst of small frames is then decoded in one go."""

Frame = tuple[int, bytes, bytes]
"""Command number, the command's own bytes, and the blob (empty when there is none)."""

_SIZES = struct.Struct(">II")
_U32 = struct.Struct(">I")


def frame(kind: int, body: bytes, blob: bytes = b"") -> bytes:
    """Build a frame around an encoded command.

    Args:
        kind: Command number.
        body: The command's own message.
        blob: What follows the command.
    """
    command = b"\x08" + varint(kind) + varint(kind << 3 | 2) + varint(len(body)) + body
    return _SIZES.pack(4 + len(command) + len(blob), len(command)) + command + blob


def command(kind: int, message: Message) -> bytes:
    """Build a frame without blob from a message."""
    return frame(kind, message.encode())


def blob_of(metadata: bytes, payload: bytes) -> bytes:
    """Build a blob with checksum from encoded metadata and payload."""
    rest = _U32.pack(len(metadata)) + metadata + payload
    return MAGIC + _U32.pack(crc32c(rest)) + rest


def checksum_ok(blob: bytes) -> bool:
    """Whether the blob's CRC32C is right; a blob that carries none is accepted, as Pulsar does."""
    if blob[:2] != MAGIC:
        return True
    return len(blob) >= 10 and crc32c(blob[6:]) == int.from_bytes(blob[2:6])


def split_command(raw: bytes) -> tuple[int, bytes]:
    """Split a BaseCommand into its number and the bytes of its message.

    Raises:
        WireError: it is not a BaseCommand.
    """
    kind, bodies = 0, dict[int, bytes]()
    pos, end = 0, len(raw)
    while pos < end:
        tag, pos = read_varint(raw, pos)
        if tag == 8:
            kind, pos = read_varint(raw, pos)
            continue
        start, pos = pos, skip(raw, pos, tag & 7)
        if tag & 7 == 2:
            bodies[tag >> 3] = raw[read_varint(raw, start)[1] : pos]
    if not kind or kind not in bodies:
        raise damaged("a command without type or content")
    return kind, bodies[kind]


class FrameParser:
    """Incremental parser: bytes in, frames out, the same whatever way the bytes are split.

    It owns the buffer that the socket reads into (`get_buffer`, then `advance`). Damage is kept in
    `error` after the whole frames before it were returned; from then on nothing comes out.

    Args:
        max_frame_bytes: Largest total size; a larger one is damage, so memory stays bounded.

    Attributes:
        error: What is wrong with the bytes, None so far.
    """

    def __init__(self, max_frame_bytes: int = MAX_MESSAGE_BYTES + FRAME_PADDING_BYTES) -> None:
        self.max_frame_bytes = max_frame_bytes
        self.error: WireError | None = None
        self._buffer = bytearray(READ_BYTES)
        self._view = memoryview(self._buffer)
        self._start = self._end = 0
        self._wanted = 0

    @property
    def buffered_bytes(self) -> int:
        """Bytes of an unfinished frame."""
        return self._end - self._start

    def get_buffer(self) -> memoryview:
        """Return the free part of the buffer, never empty."""
        held = self._end - self._start
        if held == 0:
            self._start = self._end = 0
        elif len(self._buffer) - self._end < READ_BYTES // 4 or self._wanted > len(self._buffer):
            self._make_room(held)
        return self._view[self._end :]

    def _make_room(self, held: int) -> None:
        need = max(self._wanted, held + READ_BYTES // 4)
        if need > len(self._buffer):
            fresh = bytearray(need + READ_BYTES)
            fresh[:held] = self._view[self._start : self._end]
            self._buffer, self._view = fresh, memoryview(fresh)
        else:
            self._view[:held] = self._view[self._start : self._end]
        self._start, self._end = 0, held

    def shrink(self) -> None:
        """Give back the room that a large frame took; call it when the peer is quiet."""
        if self._start == self._end and len(self._buffer) > READ_BYTES:
            self._buffer = bytearray(READ_BYTES)
            self._view = memoryview(self._buffer)
            self._start = self._end = 0
            self._wanted = 0

    def feed(self, data: bytes) -> list[Frame]:
        """Take bytes and return the frames they complete."""
        frames: list[Frame] = []
        offset = 0
        while offset < len(data) and self.error is None:
            room = self.get_buffer()
            part = data[offset : offset + len(room)]
            room[: len(part)] = part
            offset += len(part)
            frames += self.advance(len(part))
        return frames

    def advance(self, count: int) -> list[Frame]:
        """Take `count` bytes written to the buffer and return the frames they complete."""
        frames: list[Frame] = []
        if self.error is not None:
            return frames
        buffer, view = self._buffer, self._view
        start, end = self._start, self._end + count
        limit = self.max_frame_bytes
        try:
            while end - start >= 4:
                (total,) = _U32.unpack_from(buffer, start)
                if not 6 <= total <= limit:
                    raise damaged(f"a frame of {total} bytes (at most {limit})")
                stop = start + 4 + total
                if stop > end:
                    self._wanted = 4 + total
                    break
                (size,) = _U32.unpack_from(buffer, start + 4)
                at = start + 8
                behind = at + size
                if behind > stop:
                    raise damaged("a command is larger than its frame")
                kind = buffer[at + 1]
                # The usual form: type first, then its field, nothing else.
                if (
                    kind < 16
                    and size > 4
                    and buffer[at] == 8
                    and buffer[at + 2] == (kind << 3 | 2)
                    and buffer[at + 3] == size - 4
                ):
                    body = bytes(view[at + 4 : behind])
                else:
                    kind, body = split_command(bytes(view[at:behind]))
                frames.append((kind, body, bytes(view[behind:stop])))
                start = stop
        except WireError as error:
            self.error = error
        self._start, self._end = start, end
        return frames
