"""Caps and time-outs of one endpoint, in one place. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from wtp.errors import UsageError

MTU_START_BYTES = 1200
"""Every QUIC path carries 1200-byte UDP payloads (RFC 9000 section 14)."""
MTU_ETHERNET_BYTES = 1452
"""1500 - 40 (IPv6) - 8 (UDP): the largest payload an Ethernet path carries for both families."""
MTU_LOOPBACK_BYTES = 8900
"""Measured: 4x less CPU per byte than 1452; from 32000 on aioquic's 2-byte STREAM length breaks."""
MTU_MAX_BYTES = 16000
"""A STREAM frame's length is written in two bytes, so below 16384 (RFC 9000 section 16)."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one endpoint grants to its peers. All sizes are per session unless said otherwise.

    Attributes:
        sessions: Open sessions of the whole server.
        sessions_per_address: Open sessions per remote address; loopback is exempt.
        half_open: Unfinished handshakes of the whole server; from half of it on, new
            addresses are validated with a Retry first.
        handshake_s: Time for a handshake, and again for the CONNECT request after it.
        idle_s: Silence after which a connection is dead (QUIC max_idle_timeout).
        ping_s: Silence after which a PING asks for a sign of life.
        linger_s: Time between the close capsule and the QUIC close when the peer stays.
        streams: Unidirectional stream credit announced to the peer; browsers hang or throw
            when a small credit runs out.
        open_streams: Streams alive at once, either direction. More from the peer ends the
            connection; more of ours is refused.
        stream_window_bytes: Received bytes of one stream the application may leave unreleased.
        session_window_bytes: The same for all streams together; bounds memory per session.
        header_bytes: Largest HTTP/3 frame that must be buffered whole (HEADERS, SETTINGS).
        datagram_queue: Datagrams waiting for the congestion window.
        send_high_bytes: Send backlog above which the next fall below low water is reported.
        send_low_bytes: See ``send_high_bytes``.
        draft_14: Announce WebTransport draft 14 too; see ``http3.DRAFT_14``.
    """

    sessions: int = 1000
    sessions_per_address: int = 200
    half_open: int = 256
    handshake_s: float = 5.0
    idle_s: float = 15.0
    ping_s: float = 5.0
    linger_s: float = 1.0
    streams: int = 4096
    open_streams: int = 1024
    stream_window_bytes: int = 1 << 20
    session_window_bytes: int = 4 << 20
    header_bytes: int = 16384
    datagram_queue: int = 64
    send_high_bytes: int = 1 << 20
    send_low_bytes: int = 256 << 10
    draft_14: bool = False


def check_mtu(mtu: int) -> int:
    """Return ``mtu`` when it is usable: 0 (probe) or 1200 to 16000 bytes.

    Raises:
        UsageError: It is outside of that range.
    """
    if mtu == 0 or MTU_START_BYTES <= mtu <= MTU_MAX_BYTES:
        return mtu
    raise UsageError(
        f"A packet size of {mtu} bytes cannot work with QUIC.",
        hint=f"Use 0 (probe) or {MTU_START_BYTES} to {MTU_MAX_BYTES}.",
    )
