"""Frames between a processor and its code's process, over a pair of sockets of one machine.

    u8 what, u32 length of a JSON object, u32 length of the payload (network byte order), both

Only bytes and JSON: nothing that comes from user code is unpickled.
"""

from __future__ import annotations

import json
import socket
import struct
from collections import deque
from enum import IntEnum
from typing import Any

HEAD = struct.Struct("!BII")
MAX_FRAME_BYTES = 64 * 1024 * 1024
"""A longer frame comes from code that writes into the wrong file descriptor."""

READ_BYTES = 1 << 18
"""Read at once at most: most objects come in one piece."""


class What(IntEnum):
    """What a frame holds."""

    LOAD = 1
    """To the code: {"code", "kind", "source"}."""
    READY = 2
    """From the code: {"file"}, where it was loaded from."""
    FAILED = 3
    """From the code: {"code", "message", "hint"}, for one object or for loading."""
    OBJECT = 4
    """To the code: {"track", "properties"} and the payload."""
    RESULT = 5
    """From the code: {"us", "reason"} and the objects as `wtp.wire.process` encodes several."""


def pack(what: What, meta: dict[str, Any], payload: bytes = b"") -> list[bytes]:
    """A frame as the pieces to be written one after the other."""
    text = json.dumps(meta, separators=(",", ":")).encode()
    return [HEAD.pack(what, len(text), len(payload)) + text, payload]


class Frames:
    """Takes frames out of a stream of bytes."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes | memoryview) -> list[tuple[What, dict[str, Any], bytes]]:
        """Take bytes as they come; return the frames that are whole.

        Raises:
            ValueError: These are no frames.
        """
        buffer = self._buffer
        buffer += data
        found = []
        while len(buffer) >= HEAD.size:
            what, meta_bytes, payload_bytes = HEAD.unpack_from(buffer)
            if meta_bytes + payload_bytes > MAX_FRAME_BYTES:
                raise ValueError("a frame is too long")
            middle = HEAD.size + meta_bytes
            end = middle + payload_bytes
            if len(buffer) < end:
                break
            meta = json.loads(buffer[HEAD.size : middle])
            found.append((What(what), meta, bytes(memoryview(buffer)[middle:end])))
            del buffer[:end]
        return found


class Reader:
    """Waits for frames on a blocking socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._frames = Frames()
        self._ready: deque[tuple[What, dict[str, Any], bytes]] = deque()
        self._space = memoryview(bytearray(READ_BYTES))

    def next(self) -> tuple[What, dict[str, Any], bytes] | None:
        """The next frame; None at the end."""
        while not self._ready:
            got = self._sock.recv_into(self._space)
            if not got:
                return None
            self._ready.extend(self._frames.feed(self._space[:got]))
        return self._ready.popleft()
