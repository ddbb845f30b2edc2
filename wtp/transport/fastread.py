"""The hot path of reading: packets with short headers, and streams that come whole in one frame.

Everything rare is left to the library. Uses private names of aioquic; ``verify`` checks them at
start-up.
"""

from __future__ import annotations

from typing import Any

from aioquic._crypto import CryptoError
from aioquic.buffer import Buffer, BufferReadError  # type: ignore[attr-defined]  # from C
from aioquic.quic.connection import (
    END_STATES,
    QuicConnection,
    QuicConnectionError,
    QuicConnectionState,
    QuicReceiveContext,
)
from aioquic.quic.events import StreamDataReceived
from aioquic.quic.packet import QuicErrorCode, QuicFrameType
from aioquic.quic.recovery import MAX_ACK_RANGES, QuicPacketSpace
from aioquic.quic.stream import StreamFinishedError
from aioquic.tls import Epoch

_CID_END = 9  # of a short header: one byte of flags, eight of connection id
_IDLE_STEP_S = 0.1
"""The idle deadline is moved in steps of this; it is 15 s away."""
_STREAM_FRAMES = range(0x08, 0x10)  # RFC 9000 section 19.8
_ACK_FRAMES = (0x02, 0x03)  # RFC 9000 section 19.3
_UNI_FROM_CLIENT, _UNI_FROM_SERVER = 2, 3  # last two bits of a stream's id, RFC 9000 section 2.1

READ_NAMES = """
_ack_delay _ack_eliciting_sent_since_receipt _close_at _close_pending _handle_ack_frame
_handle_stream_frame _handshake_confirmed _idle_timeout _local_max_stream_data_uni
_local_max_streams_uni _network_paths _payload_received _spin_bit _spin_highest_pn _state _events
_local_max_data
"""


class FastReading(QuicConnection):
    """A connection that reads what is common with fewer steps."""

    _idle_moved_s = 0.0
    _whole = False
    """Whether the packet being read ends a stream that came whole."""

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
            at = buffer.tell()
            kind = payload[at]
            if kind not in _STREAM_FRAMES and kind not in _ACK_FRAMES:
                return self._payload_received(context, payload[at:])[0] or eliciting
            buffer.seek(at + 1)
            try:
                if kind in _ACK_FRAMES:
                    self._handle_ack_frame(context, kind, buffer)
                    continue
                eliciting = True
                if not self._read_stream_frame(kind, buffer):
                    buffer.seek(at + 1)
                    self._handle_stream_frame(context, kind, buffer)
            except BufferReadError as error:
                raise QuicConnectionError(
                    QuicErrorCode.FRAME_ENCODING_ERROR, kind, "Failed to parse frame"
                ) from error
            except StreamFinishedError:
                pass  # its state is gone, so the frame is a late duplicate
        if not payload:
            raise QuicConnectionError(
                QuicErrorCode.PROTOCOL_VIOLATION,
                QuicFrameType.PADDING,
                "Packet contains no frames",
            )
        return eliciting

    def _read_stream_frame(self, kind: int, buffer: Buffer) -> bool:
        """Read a STREAM frame that continues a known stream or is a whole one; else False."""
        number = buffer.pull_uint_var()
        offset = buffer.pull_uint_var() if kind & 4 else 0
        size = buffer.pull_uint_var() if kind & 2 else buffer.capacity - buffer.tell()
        stream = self._streams.get(number)
        if stream is None:
            return not offset and bool(kind & 1) and self._read_whole(number, size, buffer)
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

    def _read_whole(self, number: int, size: int, buffer: Buffer) -> bool:
        """Read the next stream of the peer, which has no other frame: no state of it is made."""
        credit, limit = self._local_max_streams_uni, self._local_max_data
        if (
            not size
            or number & 3 != (_UNI_FROM_SERVER if self._is_client else _UNI_FROM_CLIENT)
            or number >> 2 != credit.used
            or credit.used >= credit.value
            or size > self._local_max_stream_data_uni
            or limit.used + size > limit.value
        ):
            return False
        data = buffer.pull_bytes(size)
        self._whole = True
        credit.used += 1
        credit.value += 1  # it is finished, RFC 9000 section 4.6
        limit.used += size
        self._events.append(StreamDataReceived(data=data, end_stream=True, stream_id=number))
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
        if self._whole:
            # With the flush of this batch: one pass less than by a timer.
            self._whole, space.ack_at = False, now
        elif eliciting and space.ack_at is None:
            space.ack_at = now + self._ack_delay
