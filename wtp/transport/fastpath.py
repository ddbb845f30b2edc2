"""The two hot paths of a QUIC connection, shortened: filling packets and reading packets.

Stock aioquic visits every open stream several times for every packet it builds, so its cost per
byte grows with the number of streams in flight. Here a transmit visits each stream once, and a
stream is served until the packet is full. Everything rare is left to the library.

Uses private names of aioquic like ``hardening``, which checks them at start-up.
"""

from __future__ import annotations

from collections import deque

from aioquic.quic.connection import QuicConnection, QuicNetworkPath, stream_is_client_initiated
from aioquic.quic.packet import QuicFrameType, QuicPacketType
from aioquic.quic.packet_builder import (
    QuicDeliveryState,
    QuicPacketBuilder,
    QuicPacketBuilderStop,
)
from aioquic.quic.recovery import QuicPacketSpace
from aioquic.quic.stream import QuicStream
from aioquic.tls import Epoch

_TURN_PACKETS = 16
"""Packets one stream fills before the next has its turn: about one object of 20 KB, so objects
finish one after the other and a small one never waits for a large one."""
_STREAM_FRAME_MIN_BYTES = 32
"""Less room than this is not worth a STREAM frame (header of up to 19 bytes)."""

FAST_NAMES = """
_cryptos _crypto_streams _datagrams_pending _handshake_complete _handshake_done_pending
_host_cids _is_client _ping_pending _probe_pending _remote_max_data _remote_max_data_used
_retire_connection_ids _spaces _stream_limit _streams _streams_blocked_pending _streams_queue
_write_ack_frame _write_application _write_connection_limits _write_datagram_frame
_write_ping_frame _write_reset_stream_frame _write_stop_sending_frame _write_stream_frame
_write_stream_limits _on_max_stream_data_delivery
"""


class FastConnection(QuicConnection):
    """A connection whose cost per packet does not depend on the number of its streams."""

    _turn_packets = 0
    _limits_changed: dict[int, QuicStream]

    def _write_application(
        self, builder: QuicPacketBuilder, network_path: QuicNetworkPath, now: float
    ) -> None:
        crypto = self._cryptos[Epoch.ONE_RTT]
        if not crypto.send.is_valid() or self._something_rare(network_path):
            super()._write_application(builder, network_path, now)
            return
        space = self._spaces[Epoch.ONE_RTT]
        active = self._sort_streams()
        while True:
            builder.start_packet(QuicPacketType.ONE_RTT, crypto)
            try:
                self._write_small_frames(builder, space, now)
                self._write_streams(builder, space, active)
            except QuicPacketBuilderStop:
                pass  # it goes into the next packet, if the congestion window has one
            if builder.packet_is_empty:
                break

    def _something_rare(self, path: QuicNetworkPath) -> bool:
        return bool(
            not self._handshake_complete
            or not path.is_validated
            or self._handshake_done_pending
            or path.remote_challenges
            or self._retire_connection_ids
            or self._streams_blocked_pending
            or not self._crypto_streams[Epoch.ONE_RTT].sender.buffer_is_empty
            or not all(cid.was_sent for cid in self._host_cids)
        )

    def _sort_streams(self) -> deque[QuicStream]:
        """Forget the finished streams and return those with something to send."""
        active: deque[QuicStream] = deque()
        finished = 0
        for stream in self._streams_queue:
            sender, receiver = stream.sender, stream.receiver
            if sender.is_finished and receiver.is_finished:
                finished += 1
                self._forget(stream)
            elif (
                receiver.stop_pending
                or sender.reset_pending
                or not (sender.buffer_is_empty or stream.is_blocked)
            ):
                active.append(stream)
        if finished:
            self._streams_queue = [
                stream for stream in self._streams_queue if stream.stream_id in self._streams
            ]
        return active

    def _forget(self, stream: QuicStream) -> None:
        number = stream.stream_id or 0
        del self._streams[number]
        self._limits_changed.pop(number, None)
        if stream_is_client_initiated(number) != self._is_client:
            self._stream_limit(number).value += 1  # RFC 9000 section 4.6

    def _write_small_frames(
        self, builder: QuicPacketBuilder, space: QuicPacketSpace, now: float
    ) -> None:
        if space.ack_at is not None and space.ack_at <= now:
            self._write_ack_frame(builder=builder, space=space, now=now)
        self._write_connection_limits(builder=builder, space=space)
        while self._limits_changed:
            number, stream = next(iter(self._limits_changed.items()))
            self._write_stream_limits(builder=builder, space=space, stream=stream)
            del self._limits_changed[number]
        if self._ping_pending:
            self._write_ping_frame(builder, self._ping_pending)
            self._ping_pending.clear()
        if self._probe_pending:
            self._write_ping_frame(builder, comment="probe")
            self._probe_pending = False
        while self._datagrams_pending:
            try:
                self._write_datagram_frame(
                    builder=builder,
                    data=self._datagrams_pending[0],
                    frame_type=QuicFrameType.DATAGRAM_WITH_LENGTH,
                )
            except QuicPacketBuilderStop:
                break
            self._datagrams_pending.popleft()

    def _write_streams(
        self, builder: QuicPacketBuilder, space: QuicPacketSpace, active: deque[QuicStream]
    ) -> None:
        """Fill the packet from the first streams; the one that filled it stays first."""
        room = builder.remaining_flight_space
        while active:
            stream = active[0]
            sender = stream.sender
            if stream.receiver.stop_pending:
                self._write_stop_sending_frame(builder=builder, stream=stream)
            if sender.reset_pending:
                self._write_reset_stream_frame(builder=builder, stream=stream)
            elif not (sender.buffer_is_empty or stream.is_blocked):
                credit = self._remote_max_data - self._remote_max_data_used
                self._remote_max_data_used += self._write_stream_frame(
                    builder=builder,
                    space=space,
                    stream=stream,
                    max_offset=min(sender.highest_offset + credit, stream.max_stream_data_remote),
                )
                left = builder.remaining_flight_space
                if left < _STREAM_FRAME_MIN_BYTES:
                    self._end_turn(active)
                    return
                if left < room:
                    room = left
                    continue  # to see whether anything is left of it
            active.popleft()

    def _end_turn(self, active: deque[QuicStream]) -> None:
        self._turn_packets += 1
        if self._turn_packets < _TURN_PACKETS:
            return
        self._turn_packets = 0
        stream = active.popleft()
        active.append(stream)
        self._streams_queue.remove(stream)
        self._streams_queue.append(stream)

    def _on_max_stream_data_delivery(self, delivery: QuicDeliveryState, stream: QuicStream) -> None:
        super()._on_max_stream_data_delivery(delivery, stream)
        if delivery != QuicDeliveryState.ACKED and stream.stream_id in self._streams:
            self._limits_changed[stream.stream_id] = stream
