"""The hot path of writing: filling packets, and finding out early that there is little to send.

Stock aioquic visits every open stream several times for every packet it builds, so its cost per
byte grows with the number of streams in flight. Here a transmit visits each stream once, and a
stream is served until the packet is full. Streams go by rank: what is urgent first, but every
eighth full packet begins with another rank, so that none starves. A transmit with nothing to send,
or with nothing but an acknowledgement, builds no packets at all. Everything rare is left to the
library.

Uses private names of aioquic; ``verify`` checks them at start-up.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from aioquic.buffer import Buffer  # type: ignore[attr-defined]  # from C
from aioquic.quic.connection import (
    QuicConnectionState,
    QuicNetworkPath,
    stream_is_client_initiated,
)
from aioquic.quic.packet import QuicFrameType, QuicPacketType
from aioquic.quic.packet_builder import (
    QuicDeliveryState,
    QuicPacketBuilder,
    QuicPacketBuilderStop,
    QuicSentPacket,
)
from aioquic.quic.recovery import QuicPacketSpace
from aioquic.quic.stream import QuicStream
from aioquic.tls import Epoch

from wtp.transport.fastread import READ_NAMES, FastReading
from wtp.transport.protection import QuickProtection

_TURN_PACKETS = 16
"""Packets one stream fills before the next has its turn: about one object of 20 KB, so objects
finish one after the other and a small one never waits for a large one."""
_STREAM_FRAME_MIN_BYTES = 32
"""Less room than this is not worth a STREAM frame (header of up to 19 bytes)."""

_SHARED_PACKETS = 8
"""One in so many full packets begins with a rank that would have to wait."""
_RANKS = 4  # of ``session``: CONTROL, URGENT, LIVE, BULK

_BURST_START_PACKETS = 4
_BURST_BYTES = 64_000
"""One transmit builds at most this much, one GSO send call, and starts with four packets: the
receiver works on the first while the rest is built, and acknowledgements are read in between."""
_FIXED_BIT = 0x40  # of a short header, RFC 9000 section 17.3
_NUMBER_BYTES = 2
_ACK_BYTES = 40
"""An ACK frame of one range: a type and four variable-length integers."""

FAST_NAMES = (
    READ_NAMES
    + """
_cryptos _crypto_streams _datagrams_pending _handshake_complete _handshake_done_pending
_host_cids _is_client _local_ack_delay_exponent _local_max_streams_bidi _loss _ping_pending
_probe_pending _remote_max_data _remote_max_data_used _remote_preferred_address
_retire_connection_ids _spaces _stream_limit _streams _streams_blocked_pending _streams_queue
_on_ack_delivery _write_ack_frame _write_application _write_connection_limits
_write_datagram_frame _write_ping_frame _write_reset_stream_frame _write_stop_sending_frame
_write_stream_frame _write_stream_limits _on_max_stream_data_delivery
_max_datagram_size _packet_number _peer_cid _host_cid_seq _loss_at _pacing_at
_on_new_connection_id_delivery
"""
)


class FastConnection(FastReading):
    """A connection whose cost per packet does not depend on the number of its streams."""

    _turn_packets = 0
    _turn_of: int | None = None
    _limits_changed: dict[int, QuicStream]
    _ranks: dict[int, int]
    _after: dict[int, int]
    """By stream, the one that it must not overtake."""
    _full_packets = 0
    _sorted: list[deque[QuicStream]] | None = None
    """Streams with something to send, when this transmit has looked already."""
    _burst_packets = _BURST_START_PACKETS
    _cids_sent_up_to = -1
    """Newest connection id of ours up to which the peer was told all."""
    more_to_send = False
    """Whether the last transmit stopped at the size of a burst; another should follow soon."""

    def use_quick_protection(self) -> None:
        """Shorten header protection; for confirmed handshakes with an AES suite."""
        crypto = self._cryptos[Epoch.ONE_RTT]
        for context in (crypto.send, crypto.recv):
            if context.hp is not None and not context.hp._is_chacha20:
                context.hp = QuickProtection(context.hp)

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, Any]]:
        """What is to be sent now; most often that is nothing, or an acknowledgement."""
        self._sorted = None
        self.more_to_send = False
        if self._state is QuicConnectionState.CONNECTED and self._handshake_confirmed:
            # First, since streams that end give credit back, which is to be sent as well.
            self._sorted = self._sort_streams()
            if not any(self._sorted) and self._nothing_else():
                space = self._spaces[Epoch.ONE_RTT]
                if space.ack_at is None or space.ack_at > now:
                    return []
                if len(space.ack_queue) == 1:
                    return [self._acknowledge(space, now)]
        return super().datagrams_to_send(now)

    def _nothing_else(self) -> bool:
        """Whether there is nothing to send but data of streams and acknowledgements."""
        data, uni, bidi = (
            self._local_max_data,
            self._local_max_streams_uni,
            self._local_max_streams_bidi,
        )
        return not (
            self._close_pending
            or self._limits_changed
            or self._ping_pending
            or self._probe_pending
            or self._datagrams_pending
            or data.sent != data.value
            or uni.sent - uni.used < uni.value - uni.sent
            or bidi.sent - bidi.used < bidi.value - bidi.sent
            or len(self._network_paths) > 1
            or self._remote_preferred_address is not None
            or self._something_rare(self._network_paths[0])
        )

    def _acknowledge(self, space: QuicPacketSpace, now: float) -> tuple[bytes, Any]:
        """A packet with one ACK frame of one range (RFC 9000 section 19.3)."""
        crypto, path, number = (
            self._cryptos[Epoch.ONE_RTT],
            self._network_paths[0],
            self._packet_number,
        )
        received = space.ack_queue[0]
        delay_us = int((now - (space.largest_received_time or now)) * 1e6)
        frame = Buffer(capacity=_ACK_BYTES)
        frame.push_uint_var(QuicFrameType.ACK)
        frame.push_uint_var(received.stop - 1)
        frame.push_uint_var(delay_us >> self._local_ack_delay_exponent)
        frame.push_uint_var(0)
        frame.push_uint_var(received.stop - 1 - received.start)
        first = _FIXED_BIT | self._spin_bit << 5 | crypto.key_phase << 2 | _NUMBER_BYTES - 1
        header = bytes([first]) + self._peer_cid.cid + (number & 0xFFFF).to_bytes(_NUMBER_BYTES)
        data = crypto.encrypt_packet(header, frame.data, number)
        packet = QuicSentPacket(
            epoch=Epoch.ONE_RTT,
            in_flight=False,
            is_ack_eliciting=False,
            is_crypto_packet=False,
            packet_number=number,
            packet_type=QuicPacketType.ONE_RTT,
            sent_time=now,
            sent_bytes=len(data),
            delivery_handlers=[(self._on_ack_delivery, (space, space.largest_received_packet))],
        )
        self._packet_number = number + 1
        self._loss.on_packet_sent(packet=packet, space=space)
        space.ack_at = None
        path.bytes_sent += len(data)
        return data, path.addr

    def _write_application(
        self, builder: QuicPacketBuilder, network_path: QuicNetworkPath, now: float
    ) -> None:
        crypto = self._cryptos[Epoch.ONE_RTT]
        if not crypto.send.is_valid() or self._something_rare(network_path):
            super()._write_application(builder, network_path, now)
            return
        space = self._spaces[Epoch.ONE_RTT]
        lanes = self._sorted or self._sort_streams()
        for _ in range(self._burst_packets):
            builder.start_packet(QuicPacketType.ONE_RTT, crypto)
            try:
                self._write_small_frames(builder, space, now)
                self._write_lanes(builder, space, lanes)
            except QuicPacketBuilderStop:
                pass  # it goes into the next packet, if the congestion window has one
            if builder.packet_is_empty:
                self._burst_packets = _BURST_START_PACKETS
                return
        self.more_to_send = True
        limit = max(_BURST_START_PACKETS, _BURST_BYTES // self._max_datagram_size)
        self._burst_packets = min(2 * self._burst_packets, limit)

    def _something_rare(self, path: QuicNetworkPath) -> bool:
        return bool(
            not self._handshake_complete
            or not path.is_validated
            or self._handshake_done_pending
            or path.remote_challenges
            or self._retire_connection_ids
            or self._streams_blocked_pending
            or not self._crypto_streams[Epoch.ONE_RTT].sender.buffer_is_empty
            or not self._cids_sent()
        )

    def _cids_sent(self) -> bool:
        """Whether the peer was told every connection id; looks again when there is a new one."""
        if self._cids_sent_up_to != self._host_cid_seq:
            if not all(cid.was_sent for cid in self._host_cids):
                return False
            self._cids_sent_up_to = self._host_cid_seq
        return True

    def _on_new_connection_id_delivery(self, delivery: QuicDeliveryState, *args: Any) -> None:
        super()._on_new_connection_id_delivery(delivery, *args)
        if delivery != QuicDeliveryState.ACKED:
            self._cids_sent_up_to = -1

    def get_timer(self) -> float | None:
        """When to call `handle_timer`; only application data is left after the handshake."""
        loss, space = self._loss, self._spaces[Epoch.ONE_RTT]
        if (
            self._state is not QuicConnectionState.CONNECTED
            or not self._handshake_confirmed
            or not loss.peer_completed_address_validation
            or self._pacing_at is not None
            or self._close_at is None
            or not self._network_paths[0].is_validated
        ):
            return super().get_timer()
        loss_at = space.loss_time
        if loss_at is None and space.ack_eliciting_in_flight:
            timeout_s = loss.get_probe_timeout() * (1 << loss._pto_count)
            loss_at = loss._time_of_last_sent_ack_eliciting_packet + timeout_s
        self._loss_at = loss_at
        at = self._close_at
        if loss_at is not None and loss_at < at:
            at = loss_at
        return at if space.ack_at is None or space.ack_at > at else space.ack_at

    def rank_stream(self, number: int, rank: int) -> None:
        """Say how urgent a stream of ours is; those that are not ranked, HTTP/3's own, go first."""
        self._ranks[number] = rank

    def order_stream(self, number: int, after: int) -> None:
        """Say that a stream of ours must not overtake an earlier one."""
        self._after[number] = after

    def _sort_streams(self) -> list[deque[QuicStream]]:
        """Forget the finished streams and return those with something to send, by rank."""
        lanes: list[deque[QuicStream]] = [deque() for _ in range(_RANKS)]
        rank = self._ranks.get
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
                lanes[rank(stream.stream_id or 0, 0)].append(stream)
        if finished:
            self._streams_queue = [
                stream for stream in self._streams_queue if stream.stream_id in self._streams
            ]
        return lanes

    def _forget(self, stream: QuicStream) -> None:
        number = stream.stream_id or 0
        del self._streams[number]
        self._limits_changed.pop(number, None)
        self._ranks.pop(number, None)
        self._after.pop(number, None)
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

    def _write_lanes(
        self, builder: QuicPacketBuilder, space: QuicPacketSpace, lanes: list[deque[QuicStream]]
    ) -> None:
        """Fill the packet from the most urgent streams on, or from others when it is their turn."""
        turn, shared = divmod(self._full_packets, _SHARED_PACKETS)
        first = 0 if shared != _SHARED_PACKETS - 1 else 1 + turn % (_RANKS - 1)
        for lane in (*lanes[first:], *lanes[:first]):
            if lane and self._write_streams(builder, space, lane):
                self._full_packets += 1
                return

    def _write_streams(
        self, builder: QuicPacketBuilder, space: QuicPacketSpace, active: deque[QuicStream]
    ) -> bool:
        """Fill the packet from the first streams; the one that filled it stays first.

        Returns:
            Whether it is full.
        """
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
                    return True
                if left < room:
                    room = left
                    continue  # to see whether anything is left of it
            active.popleft()
        return False

    def _end_turn(self, active: deque[QuicStream]) -> None:
        stream = active[0]
        if stream.stream_id != self._turn_of:
            self._turn_of, self._turn_packets = stream.stream_id, 0
        self._turn_packets += 1
        if self._turn_packets < _TURN_PACKETS:
            return
        self._turn_packets = 0
        if stream.stream_id in self._after.values():
            return  # what comes after it would overtake it
        active.rotate(-1)
        self._streams_queue.remove(stream)
        self._streams_queue.append(stream)

    def _on_max_stream_data_delivery(self, delivery: QuicDeliveryState, stream: QuicStream) -> None:
        super()._on_max_stream_data_delivery(delivery, stream)
        if delivery != QuicDeliveryState.ACKED and stream.stream_id in self._streams:
            self._limits_changed[stream.stream_id] = stream
