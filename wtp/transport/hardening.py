"""Fixes of aioquic's defects in QUIC itself, and looks inside.

Private names of aioquic are used here; ``verify`` checks every one at start-up. Each fix is
attacked in ``tests/transport/test_hardening.py``.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import Any

from aioquic.buffer import Buffer  # type: ignore[attr-defined]  # re-exported from C
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import (
    END_STATES,
    Limit,
    QuicConnectionState,
    QuicReceiveContext,
)
from aioquic.quic.events import ConnectionTerminated
from aioquic.quic.packet import QuicFrameType, QuicPacketType
from aioquic.quic.packet_builder import (
    QuicDeliveryState,
    QuicPacketBuilder,
    QuicPacketBuilderStop,
)
from aioquic.quic.recovery import QuicPacketPacer, QuicPacketSpace
from aioquic.quic.stream import QuicStream
from aioquic.tls import CipherSuite, Epoch

from wtp.transport.congestion import ShortQueue, announce_ack_delay
from wtp.transport.fastpath import FastConnection
from wtp.transport.limits import MTU_START_BYTES, Limits

AES_ONLY = [CipherSuite.AES_128_GCM_SHA256, CipherSuite.AES_256_GCM_SHA384]
"""ChaCha20 is 3 to 7 times slower in this stack."""
RESET_TOKEN_BYTES = 16
CID_BYTES = 8
_RESET_STREAM_AT = 0x24
# Transport parameters reset_stream_at, final number and draft number, both empty.
_RESET_STREAM_AT_PARAMETERS = bytes.fromhex("1d00c017f7586d2cb57100")
_FRAME_CAPACITY = 1 + 2 * 8  # a type and two variable-length integers


def reset_token(key: bytes, cid: bytes) -> bytes:
    """Return the stateless reset token of a connection id (RFC 9000 section 10.3.2)."""
    return hmac.new(key, cid, hashlib.sha256).digest()[:RESET_TOKEN_BYTES]


class Unpaced(QuicPacketPacer):
    """Lets the congestion window alone decide; pacing costs a quarter of the throughput."""

    def next_send_time(self, now: float) -> float:
        """Return no time: send at once."""
        return None  # type: ignore[return-value]  # the base class returns None as well

    def update_after_send(self, now: float) -> None:
        """Keep no bucket."""

    def update_rate(self, congestion_window: int, smoothed_rtt: float) -> None:
        """Keep no rate."""


class HardenedConnection(FastConnection):
    """A QUIC connection with bounded memory, known reset tokens and a packet size that can grow.

    Args:
        configuration: As for aioquic; windows and cipher suites are set by the caller.
        limits: Stream credit and windows.
        reset_key: Key of the stateless reset tokens of a server.
        original_destination_connection_id: Of a server's client, see aioquic.
        retry_source_connection_id: Of a server after a Retry, see aioquic.
    """

    def __init__(
        self,
        *,
        configuration: QuicConfiguration,
        limits: Limits,
        reset_key: bytes = b"",
        original_destination_connection_id: bytes | None = None,
        retry_source_connection_id: bytes | None = None,
    ) -> None:
        super().__init__(
            configuration=configuration,
            original_destination_connection_id=original_destination_connection_id,
            retry_source_connection_id=retry_source_connection_id,
        )
        self._reset_key = reset_key
        self._window_bytes = limits.session_window_bytes
        self._stream_window_bytes = limits.stream_window_bytes
        self._released_bytes = 0
        self._stream_released: dict[int, int] = {}
        self._limits_changed = {}
        self._ranks = {}
        self._after = {}
        self._local_max_streams_uni.value = limits.streams
        self._local_max_streams_uni.sent = limits.streams
        self._local_max_streams_uni.used = 0
        self._loss._pacer = Unpaced(max_datagram_size=self._max_datagram_size)
        self._window = ShortQueue(max_datagram_size=self._max_datagram_size)
        self._loss._cc = self._window
        self.probe_lost: Callable[[int], None] = lambda size_bytes: None
        self.bytes_received = 0
        self.bytes_sent = 0
        self.packets_lost = 0
        self._count_losses()
        frames: dict[int, Any] = self._QuicConnection__frame_handlers  # type: ignore[attr-defined]
        frames[_RESET_STREAM_AT] = (self._read_reset_stream_at, frames[0x04][1])
        self._set_reset_tokens()

    # What the peer may do: windows, resets, connection ids

    def release(self, stream_id: int, count: int) -> bool:
        """Give back receive credit for consumed bytes; True when a frame should go out now."""
        self._released_bytes += count
        urgent = False
        grant = self._released_bytes + self._window_bytes
        if grant - self._local_max_data.value >= self._window_bytes // 4:
            self._local_max_data.value = grant
            urgent = True
        stream = self._streams.get(stream_id)
        if stream is None or stream.receiver.is_finished:
            self._stream_released.pop(stream_id, None)
            return urgent
        credit = self._stream_released.get(stream_id, 0) + count
        if credit >= self._stream_window_bytes // 4:
            stream.max_stream_data_local += credit
            self._limits_changed[stream_id] = stream
            self._stream_released.pop(stream_id, None)
            return True
        self._stream_released[stream_id] = credit
        return urgent

    def release_undelivered(self, stream_id: int) -> None:
        """Give back the connection credit of bytes that a reset stream will never deliver."""
        stream = self._streams.get(stream_id)
        if stream is not None:
            receiver = stream.receiver
            self.release(stream_id, receiver.highest_offset - receiver.starting_offset())
            receiver._buffer = bytearray()

    def _write_stream_limits(
        self, builder: QuicPacketBuilder, space: QuicPacketSpace, stream: QuicStream
    ) -> None:
        if stream.max_stream_data_local_sent == stream.max_stream_data_local:
            return
        if stream.receiver.is_finished:
            stream.max_stream_data_local_sent = stream.max_stream_data_local
            return
        frame = builder.start_frame(
            QuicFrameType.MAX_STREAM_DATA,
            capacity=_FRAME_CAPACITY,
            handler=self._on_max_stream_data_delivery,
            handler_args=(stream,),
        )
        frame.push_uint_var(stream.stream_id or 0)
        frame.push_uint_var(stream.max_stream_data_local)
        stream.max_stream_data_local_sent = stream.max_stream_data_local

    def _write_connection_limits(self, builder: QuicPacketBuilder, space: QuicPacketSpace) -> None:
        data = self._local_max_data
        if data.sent != data.value:
            self._write_limit(builder, data)
        for limit in (self._local_max_streams_bidi, self._local_max_streams_uni):
            # Announce in batches: once the peer has less left than it would be granted.
            if limit.sent - limit.used < limit.value - limit.sent:
                self._write_limit(builder, limit)

    def _write_limit(self, builder: QuicPacketBuilder, limit: Limit) -> None:
        frame = builder.start_frame(
            limit.frame_type,
            capacity=_FRAME_CAPACITY,
            handler=self._on_connection_limit_delivery,
            handler_args=(limit,),
        )
        frame.push_uint_var(limit.value)
        limit.sent = limit.value

    def _read_reset_stream_at(
        self, context: QuicReceiveContext, frame_type: int, buf: Buffer
    ) -> None:
        plain = Buffer(capacity=3 * 8)
        for _ in range(3):  # stream id, error code, final size
            plain.push_uint_var(buf.pull_uint_var())
        buf.pull_uint_var()  # reliable size: everything undelivered is dropped
        plain = Buffer(data=plain.data)
        self._handle_reset_stream_frame(context, QuicFrameType.RESET_STREAM, plain)

    def _serialize_transport_parameters(self) -> bytes:
        plain = super()._serialize_transport_parameters()
        return announce_ack_delay(plain) + _RESET_STREAM_AT_PARAMETERS

    def _replenish_connection_ids(self) -> None:
        super()._replenish_connection_ids()
        self._set_reset_tokens()

    def _set_reset_tokens(self) -> None:
        if self._reset_key:
            for cid in self._host_cids:
                cid.stateless_reset_token = reset_token(self._reset_key, cid.cid)

    def is_stateless_reset(self, data: bytes) -> bool:
        """Whether an unreadable datagram ends in one of the peer's reset tokens."""
        tail = data[-RESET_TOKEN_BYTES:]
        known = [self._peer_cid, *self._peer_cid_available]
        return any(
            cid.stateless_reset_token and hmac.compare_digest(cid.stateless_reset_token, tail)
            for cid in known
        )

    def owns_cid(self, cid: bytes) -> bool:
        """Whether ``cid`` is one of the connection ids this side gave out."""
        return any(own.cid == cid for own in self._host_cids)

    # Packet size

    @property
    def mtu_bytes(self) -> int:
        """Largest UDP payload in use."""
        return self._max_datagram_size

    def set_mtu(self, size_bytes: int) -> None:
        """Use UDP payloads up to ``size_bytes`` from now on; drops datagrams that outgrow it."""
        self._max_datagram_size = size_bytes
        self._loss._pacer._max_datagram_size = size_bytes
        self._loss._cc._max_datagram_size = size_bytes  # type: ignore[attr-defined]
        room = self.datagram_room()
        if any(len(data) > room for data in self._datagrams_pending):
            fitting = [data for data in self._datagrams_pending if len(data) <= room]
            self._datagrams_pending.clear()
            self._datagrams_pending.extend(fitting)

    def build_probe(self, size_bytes: int, now: float) -> list[tuple[bytes, Any]]:
        """Return one padded PING of ``size_bytes``; its acknowledgement raises the packet size.

        It is not counted as in flight: a lost probe says nothing about congestion
        (RFC 9000 section 14.4).
        """
        crypto = self._cryptos[Epoch.ONE_RTT]
        if not crypto.send.is_valid() or self._state is not QuicConnectionState.CONNECTED:
            return []
        builder = QuicPacketBuilder(
            host_cid=self.host_cid,
            peer_cid=self._peer_cid.cid,
            version=self._version or 1,
            is_client=self._is_client,
            max_datagram_size=size_bytes,
            packet_number=self._packet_number,
            spin_bit=self._spin_bit,
        )
        try:
            builder.start_packet(QuicPacketType.ONE_RTT, crypto)
            frame = builder.start_frame(
                QuicFrameType.PING,
                handler=self._on_probe_delivery,
                handler_args=(size_bytes,),
            )
        except QuicPacketBuilderStop:
            return []
        frame.push_bytes(bytes(builder.remaining_buffer_space))
        if builder._packet is not None:
            builder._packet.in_flight = False
        return self._flush_builder(
            builder=builder,
            network_path=self._network_paths[0],
            peer_cid=self._peer_cid.cid,
            now=now,
        )

    def _on_probe_delivery(self, delivery: QuicDeliveryState, size_bytes: int) -> None:
        if delivery == QuicDeliveryState.ACKED:
            if size_bytes > self._max_datagram_size:
                self.set_mtu(size_bytes)
        else:
            self.probe_lost(size_bytes)

    def black_hole(self) -> bool:
        """Whether large packets seem to vanish: four probe time-outs in a row (RFC 8899)."""
        return self._loss._pto_count >= 4 and self._max_datagram_size > MTU_START_BYTES

    # Sending

    def uni_credit(self) -> int:
        """Number of further unidirectional streams the peer allows."""
        return self._remote_max_streams_uni - self._local_next_stream_id_uni // 4

    def stream_count(self) -> int:
        """Number of streams alive, of both sides."""
        return len(self._streams)

    def has_stream(self, stream_id: int) -> bool:
        """Whether QUIC still keeps state of the stream."""
        return stream_id in self._streams

    def unacknowledged(self, stream_id: int) -> int:
        """Bytes of the stream that were accepted for sending and not yet acknowledged."""
        stream = self._streams.get(stream_id)
        if stream is None or stream.sender._reset_error_code is not None:
            return 0
        return stream.sender._buffer_stop - stream.sender._buffer_start

    def drop_stream(self, stream_id: int, error_code: int) -> None:
        """Reset the stream and free what is unsent of it at once."""
        self.reset_stream(stream_id, error_code)
        stream = self._streams.get(stream_id)
        if stream is not None:
            stream.sender._buffer = bytearray()

    def datagram_room(self) -> int:
        """Largest DATAGRAM frame payload that fits a packet now.

        Header: 1 byte, connection id, 2 bytes packet number; 16 bytes tag; frame type and a
        two-byte length. A larger one would block every later datagram for ever.
        """
        return self._max_datagram_size - 22 - len(self._peer_cid.cid)

    def datagram_limit(self) -> int:
        """Largest DATAGRAM frame the peer takes, 0 when it takes none."""
        return self._remote_max_datagram_frame_size or 0

    def datagrams_waiting(self) -> int:
        """Datagrams not yet in a packet."""
        return len(self._datagrams_pending)

    # Looks inside

    def termination(self) -> ConnectionTerminated | None:
        """How the connection ended, once it is closing, draining or over."""
        return self._close_event if self._state in END_STATES else None

    @property
    def started(self) -> bool:
        """Whether at least one packet of the peer could be decrypted."""
        return self._state is not QuicConnectionState.FIRSTFLIGHT

    @property
    def rtt_s(self) -> tuple[float, float]:
        """Smoothed and smallest round-trip time; (0, 0) before the first sample."""
        smallest = self._loss._rtt_min
        return self._loss._rtt_smoothed, smallest if smallest < 1e6 else 0.0

    @property
    def window(self) -> ShortQueue:
        """The congestion control and what it knows of the path."""
        return self._window

    def peer_certificate(self) -> Any:
        """Return the peer's ``cryptography`` certificate, or None."""
        return self.tls._peer_certificate

    def _count_losses(self) -> None:
        inner: Callable[..., None] = self._loss._on_packets_lost

        def count(*, packets: Any, **rest: Any) -> None:
            lost = list(packets)
            self.packets_lost += len(lost)
            inner(packets=lost, **rest)

        self._loss._on_packets_lost = count  # type: ignore[method-assign]

    def slim(self) -> None:
        """After the handshake: free its 48 KiB of buffers and keys, take the quick paths."""
        self.use_quick_protection()
        for epoch in self._crypto_buffers:
            self._crypto_buffers[epoch] = Buffer(capacity=512)
        self._cryptos_initial = {}
