"""The two hot paths of a QUIC connection, shortened: filling packets and reading packets.

Stock aioquic visits every open stream several times for every packet it builds, so its cost per
byte grows with the number of streams in flight. Here a transmit visits each stream once, and a
stream is served until the packet is full. Streams go by rank: what is urgent first, but every
eighth full packet begins with another rank, so that none starves. Everything rare is left to the
library.

Uses private names of aioquic like ``hardening``, which checks them at start-up.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from aioquic._crypto import CryptoError
from aioquic.buffer import Buffer, BufferReadError  # type: ignore[attr-defined]  # from C
from aioquic.quic.connection import (
    END_STATES,
    QuicConnection,
    QuicConnectionError,
    QuicConnectionState,
    QuicNetworkPath,
    QuicReceiveContext,
    stream_is_client_initiated,
)
from aioquic.quic.events import StreamDataReceived
from aioquic.quic.packet import QuicErrorCode, QuicFrameType, QuicPacketType
from aioquic.quic.packet_builder import (
    QuicDeliveryState,
    QuicPacketBuilder,
    QuicPacketBuilderStop,
)
from aioquic.quic.recovery import MAX_ACK_RANGES, QuicPacketSpace
from aioquic.quic.stream import QuicStream, StreamFinishedError
from aioquic.tls import Epoch

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
_CID_END = 9  # of a short header: one byte of flags, eight of connection id
_IDLE_STEP_S = 0.1
"""The idle deadline is moved in steps of this; it is 15 s away."""
_STREAM_FRAMES = range(0x08, 0x10)  # RFC 9000 section 19.8

FAST_NAMES = """
_cryptos _crypto_streams _datagrams_pending _handshake_complete _handshake_done_pending
_host_cids _is_client _ping_pending _probe_pending _remote_max_data _remote_max_data_used
_retire_connection_ids _spaces _stream_limit _streams _streams_blocked_pending _streams_queue
_write_ack_frame _write_application _write_connection_limits _write_datagram_frame
_write_ping_frame _write_reset_stream_frame _write_stop_sending_frame _write_stream_frame
_write_stream_limits _on_max_stream_data_delivery
_ack_delay _ack_eliciting_sent_since_receipt _close_at _close_pending _handle_stream_frame
_handshake_confirmed _idle_timeout _max_datagram_size _network_paths _payload_received _spin_bit
_spin_highest_pn
_state _events _local_max_data
"""


class FastConnection(QuicConnection):
    """A connection whose cost per packet does not depend on the number of its streams."""

    _turn_packets = 0
    _turn_of: int | None = None
    _limits_changed: dict[int, QuicStream]
    _ranks: dict[int, int]
    _full_packets = 0
    _idle_moved_s = 0.0
    _burst_packets = _BURST_START_PACKETS
    more_to_send = False
    """Whether the last transmit stopped at the size of a burst; another should follow soon."""

    def use_quick_protection(self) -> None:
        """Shorten header protection; for confirmed handshakes with an AES suite."""
        crypto = self._cryptos[Epoch.ONE_RTT]
        for context in (crypto.send, crypto.recv):
            if context.hp is not None and not context.hp._is_chacha20:
                context.hp = QuickProtection(context.hp)

    # Reading

    def receive_datagram(self, data: bytes, addr: Any, now: float) -> None:
        """Take one datagram; short headers on the usual path need none of the general checks."""
        if (
            len(data) <= _CID_END
            or data[0] & 0xC0 != 0x40
            or data[1:_CID_END] != self.host_cid
            or not self._handshake_confirmed
            or self._state is not QuicConnectionState.CONNECTED
            or self._network_paths[0].addr != addr
            or not self._network_paths[0].is_validated
        ):
            super().receive_datagram(data, addr, now)
            return
        space = self._spaces[Epoch.ONE_RTT]
        try:
            header, payload, number = self._cryptos[Epoch.ONE_RTT].decrypt_packet(
                data, _CID_END, space.expected_packet_number
            )
        except CryptoError:
            return
        if number in space.received_packets:
            return
        try:
            eliciting = self._read_payload(header, payload, now)
        except QuicConnectionError as error:
            self.close(error.error_code, error.frame_type, error.reason_phrase)
            return
        if self._state in END_STATES or self._close_pending:
            return
        self._record(space, header[0], number, eliciting, now)

    def _read_payload(self, header: bytes, payload: bytes, now: float) -> bool:
        """Read the frames; whether the packet asks for an acknowledgement."""
        if header[0] & 0x18:
            raise QuicConnectionError(
                QuicErrorCode.PROTOCOL_VIOLATION,
                QuicFrameType.PADDING,
                "Reserved bits must be zero",
            )
        context = QuicReceiveContext(
            epoch=Epoch.ONE_RTT,
            host_cid=self.host_cid,
            network_path=self._network_paths[0],
            quic_logger_frames=None,
            time=now,
            version=None,
        )
        buffer = Buffer(data=payload)
        eliciting = False
        while not buffer.eof():
            kind = payload[buffer.tell()]
            if kind not in _STREAM_FRAMES:
                rest = payload[buffer.tell() :] if eliciting else payload
                return self._payload_received(context, rest)[0] or eliciting
            buffer.pull_uint8()
            eliciting = True
            start = buffer.tell()
            try:
                if not self._read_next_bytes(kind, buffer):
                    buffer.seek(start)
                    self._handle_stream_frame(context, kind, buffer)
            except BufferReadError as error:
                raise QuicConnectionError(
                    QuicErrorCode.FRAME_ENCODING_ERROR, kind, "Failed to parse frame"
                ) from error
            except StreamFinishedError:
                pass  # its state is gone, so the frame is a late duplicate
        if not eliciting:
            raise QuicConnectionError(
                QuicErrorCode.PROTOCOL_VIOLATION,
                QuicFrameType.PADDING,
                "Packet contains no frames",
            )
        return True

    def _read_next_bytes(self, kind: int, buffer: Buffer) -> bool:
        """Read a STREAM frame that just continues a known stream; False for any other."""
        number = buffer.pull_uint_var()
        offset = buffer.pull_uint_var() if kind & 4 else 0
        size = buffer.pull_uint_var() if kind & 2 else buffer.capacity - buffer.tell()
        stream = self._streams.get(number)
        if stream is None:
            return False
        receiver, end, limit = stream.receiver, offset + size, self._local_max_data
        if (
            not size
            or receiver.is_finished
            or not offset == receiver._buffer_start == receiver.highest_offset
            or receiver._final_size is not None
            or end > stream.max_stream_data_local
            or limit.used + size > limit.value
        ):
            return False
        data = buffer.pull_bytes(size)
        receiver._buffer_start = receiver.highest_offset = end
        limit.used += size
        fin = bool(kind & 1)
        if fin:
            receiver._final_size = end
            receiver.is_finished = True
        self._events.append(StreamDataReceived(data=data, end_stream=fin, stream_id=number))
        return True

    def _record(
        self, space: QuicPacketSpace, first: int, number: int, eliciting: bool, now: float
    ) -> None:
        """Note the packet as received: idle deadline, spin bit, acknowledgement."""
        if now - self._idle_moved_s > _IDLE_STEP_S:
            self._idle_moved_s = now
            self._close_at = now + self._idle_timeout()
        self._ack_eliciting_sent_since_receipt = False
        if number >= space.expected_packet_number:
            space.expected_packet_number = number + 1
        if number > self._spin_highest_pn:
            self._spin_highest_pn = number
            self._spin_bit = bool(first & 0x20) != self._is_client
        if number > space.largest_received_packet:
            space.largest_received_packet = number
            space.largest_received_time = now
        space.ack_queue.add(number)
        space.received_packets.add(number)
        if len(space.ack_queue) > MAX_ACK_RANGES:
            space.ack_queue.shift()
        if eliciting and space.ack_at is None:
            space.ack_at = now + self._ack_delay

    # Writing

    def _write_application(
        self, builder: QuicPacketBuilder, network_path: QuicNetworkPath, now: float
    ) -> None:
        crypto = self._cryptos[Epoch.ONE_RTT]
        if not crypto.send.is_valid() or self._something_rare(network_path):
            super()._write_application(builder, network_path, now)
            return
        space = self._spaces[Epoch.ONE_RTT]
        lanes = self._sort_streams()
        self.more_to_send = False
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
            or not all(cid.was_sent for cid in self._host_cids)
        )

    def rank_stream(self, number: int, rank: int) -> None:
        """Say how urgent a stream of ours is; those that are not ranked, HTTP/3's own, go first."""
        self._ranks[number] = rank

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
        active.rotate(-1)
        self._streams_queue.remove(stream)
        self._streams_queue.append(stream)

    def _on_max_stream_data_delivery(self, delivery: QuicDeliveryState, stream: QuicStream) -> None:
        super()._on_max_stream_data_delivery(delivery, stream)
        if delivery != QuicDeliveryState.ACKED and stream.stream_id in self._streams:
            self._limits_changed[stream.stream_id] = stream
