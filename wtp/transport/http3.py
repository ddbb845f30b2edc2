"""Fixes of aioquic's defects in HTTP/3, and the SETTINGS that clients accept.

Uses private names of aioquic; ``verify`` checks them at start-up.
"""

from __future__ import annotations

import pylsqpack
from aioquic.h3.connection import ErrorCode, FrameType, H3Connection, H3Stream, ProtocolError
from aioquic.quic.connection import QuicConnection

SETTINGS = {
    0x1: 0,  # no QPACK dynamic table
    0x7: 0,  # no blocked streams
    0x8: 1,  # extended CONNECT, RFC 9220
    0x33: 1,  # HTTP datagrams, RFC 9297
    0x21: 1,  # grease
    0x2B603742: 1,  # WebTransport draft 2
    0xC671706A: 1,  # WebTransport draft 7
    0x2C7CF000: 1,  # WebTransport draft 15
}
"""The set that nine independent clients accepted. 0x2b61, 0x2b64 and 0x2b65 must stay out: with
them a client's session limits bind the server."""

DRAFT_14 = {0x14E9CD29: 1}
"""Only one Java client needs it, and Safari is reported to stall with it."""


class ExcessiveLoad(ProtocolError):
    """The peer asks this side to buffer too much (RFC 9114 section 8.1)."""

    error_code = ErrorCode.H3_EXCESSIVE_LOAD


class HardenedHttp(H3Connection):
    """HTTP/3 for WebTransport: no QPACK table, small frames, SETTINGS that clients accept.

    Args:
        quic: The connection.
        header_bytes: Largest frame that has to be buffered whole.
        draft_14: Announce WebTransport draft 14 as well.
    """

    def __init__(self, quic: QuicConnection, header_bytes: int, *, draft_14: bool = False) -> None:
        self._header_bytes = header_bytes
        self._draft_14 = draft_14
        super().__init__(quic, enable_webtransport=True)
        self._max_table_capacity = 0
        self._blocked_streams = 0
        self._decoder = pylsqpack.Decoder(0, 0)

    def _get_local_settings(self) -> dict[int, int]:
        return SETTINGS | DRAFT_14 if self._draft_14 else SETTINGS

    def _validate_settings(self, settings: dict[int, int]) -> None:
        """Accept WebTransport clients that have no datagrams, and values of later drafts."""

    def _check_request_or_push_frame_type(self, frame_type: int, stream: H3Stream) -> None:
        if frame_type in (FrameType.HEADERS, FrameType.PUSH_PROMISE):
            self._check_size(stream)
        super()._check_request_or_push_frame_type(frame_type, stream)

    def _check_control_frame_type(self, frame_type: int) -> None:
        if frame_type in (FrameType.SETTINGS, FrameType.MAX_PUSH_ID):
            self._check_size(self._stream[self._peer_control_stream_id or 0])
        super()._check_control_frame_type(frame_type)

    def _check_size(self, stream: H3Stream) -> None:
        if (stream.frame_size or 0) > self._header_bytes:
            raise ExcessiveLoad("HTTP/3 frame is too large")
