"""Bytes of WebTransport over HTTP/3: variable-length integers, capsules, error codes. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from wtp.errors import WireError

WEBTRANSPORT_UNI_STREAM = b"\x40\x54"
"""Stream type 0x54 as a variable-length integer (draft-ietf-webtrans-http3 section 4.2)."""
CLOSE_SESSION = 0x2843
"""Capsule WT_CLOSE_SESSION (draft-ietf-webtrans-http3 section 6)."""
SESSION_GONE = 0x170D7B68
"""QUIC error code of streams whose session ended (draft-ietf-webtrans-http3 section 9.5)."""
BUFFERED_STREAM_REJECTED = 0x3994BD84
"""QUIC error code of streams of no session (draft-ietf-webtrans-http3 section 9.5)."""
REASON_MAX_BYTES = 1024
"""Longest close reason (draft-ietf-webtrans-http3 section 6)."""

_APPLICATION_FIRST = 0x52E4A40FA8DB
_APPLICATION_LAST = 0x52E5AC983162


def encode_varint(value: int) -> bytes:
    """Return ``value`` as a QUIC variable-length integer (RFC 9000 section 16)."""
    if value < 1 << 6:
        return value.to_bytes(1, "big")
    if value < 1 << 14:
        return (value | 1 << 14).to_bytes(2, "big")
    if value < 1 << 30:
        return (value | 2 << 30).to_bytes(4, "big")
    return (value | 3 << 62).to_bytes(8, "big")


def decode_varint(data: bytes | bytearray, offset: int = 0) -> tuple[int, int] | None:
    """Return (value, offset behind it), or None when ``data`` ends too early."""
    if offset >= len(data):
        return None
    size = 1 << (data[offset] >> 6)
    end = offset + size
    if end > len(data):
        return None
    return int.from_bytes(data[offset:end], "big") & ((1 << (8 * size - 2)) - 1), end


def to_http_code(code: int) -> int:
    """Map an application error code (32 bits) into HTTP/3's space.

    Source: draft-ietf-webtrans-http3 section 4.4.
    """
    return _APPLICATION_FIRST + code + code // 0x1E


def from_http_code(code: int) -> int:
    """Map an HTTP/3 error code back to the application's; others come back as they are."""
    if not _APPLICATION_FIRST <= code <= _APPLICATION_LAST or (code - 0x21) % 0x1F == 0:
        return code
    shifted = code - _APPLICATION_FIRST
    return shifted - shifted // 0x1F


def encode_close(code: int, reason: str) -> bytes:
    """Return a close capsule; the reason is cut to 1024 bytes at a character boundary."""
    text = reason.encode()[:REASON_MAX_BYTES].decode(errors="ignore").encode()
    body = (code & 0xFFFFFFFF).to_bytes(4, "big") + text
    return encode_varint(CLOSE_SESSION) + encode_varint(len(body)) + body


@dataclass(slots=True)
class CapsuleReader:
    """Finds the close capsule in the bytes of a CONNECT stream and skips every other one.

    Unknown capsules (GREASE among them) are never buffered, whatever length they announce.
    """

    _buffer: bytearray = field(default_factory=bytearray)
    _skip_bytes: int = 0

    def feed(self, data: bytes) -> tuple[int, str] | None:
        """Take bytes of the stream; return (code, reason) once a close capsule is complete.

        Raises:
            WireError: A close capsule is shorter than its code or longer than allowed.
        """
        self._buffer += data
        while True:
            dropped = min(self._skip_bytes, len(self._buffer))
            del self._buffer[:dropped]
            self._skip_bytes -= dropped
            kind = decode_varint(self._buffer)
            size = decode_varint(self._buffer, kind[1]) if kind else None
            if kind is None or size is None:
                return None
            length, start = size
            if kind[0] != CLOSE_SESSION:
                self._skip_bytes = start + length
                continue
            if not 4 <= length <= 4 + REASON_MAX_BYTES:
                raise WireError(f"A close capsule has an impossible length of {length} bytes.")
            if len(self._buffer) < start + length:
                return None
            body = bytes(self._buffer[start : start + length])
            return int.from_bytes(body[:4], "big"), body[4:].decode(errors="replace")
