"""Sending small whole streams at a fraction of the cost, for load generators only.

A stream that fits into one packet is encrypted and sent by itself: it is not kept, never sent
again, and does not count as in flight, so there is no congestion control. The other end sees an
ordinary client. Acknowledgements of such packets tell nothing new and are thrown away unread, as if
they were lost, while nothing else waits for one. Uses private names of aioquic like ``hardening``.
"""

from __future__ import annotations

from typing import Any

from aioquic.buffer import Buffer  # type: ignore[attr-defined]  # from C
from aioquic.quic.packet import QuicFrameType
from aioquic.tls import Epoch

from wtp.transport.endpoint import Address
from wtp.transport.link import Link
from wtp.transport.session import Session

_FIXED_BIT = 0x40  # of a short header, RFC 9000 section 17.3
_NUMBER_BYTES = 2
_ROOM_BYTES = 64
"""Header, frame type, stream id, length and tag of a packet, generously."""
_ACK_DATAGRAM_BYTES = 44
"""A datagram up to here holds an ACK frame of one range, and little beside it."""
_SPARE_STREAMS = 256
_SPARE_BYTES = 256 * 1024
"""With less credit than this everything is read, so that more of it arrives."""


class LeanSender:
    """Sends small objects of one session.

    Args:
        session: A client's session; it goes on as before beside this.
    """

    def __init__(self, session: Session) -> None:
        link = session._carrier
        if not isinstance(link, Link):
            raise TypeError("a session without a connection")
        self._link = link
        self._quic = link.quic
        self._send = link._send
        self._prefix = link._stream_prefix
        self._receive, self._flush = link.receive, link.flush
        self._heard = False
        link.receive = self._take  # type: ignore[method-assign]  # this connection's alone
        link.flush = self._flush_if_heard  # type: ignore[method-assign]  # likewise

    def send(self, data: bytes) -> bool:
        """Send a whole stream now; False when it does not fit, or credit is short."""
        quic = self._quic
        payload = self._prefix + data
        number, stream = quic._packet_number, quic._local_next_stream_id_uni
        used = quic._remote_max_data_used + len(payload)
        if (
            len(payload) + _ROOM_BYTES > quic.mtu_bytes
            or stream // 4 >= quic._remote_max_streams_uni
            or used > quic._remote_max_data
            or quic.termination() is not None
        ):
            return False
        crypto = quic._cryptos[Epoch.ONE_RTT]
        frame = Buffer(capacity=_ROOM_BYTES + len(payload))
        frame.push_uint_var(QuicFrameType.STREAM_BASE | 1)  # FIN; offset 0, up to the end
        frame.push_uint_var(stream)
        frame.push_bytes(payload)
        first = _FIXED_BIT | quic._spin_bit << 5 | crypto.key_phase << 2 | _NUMBER_BYTES - 1
        header = bytes([first]) + quic._peer_cid.cid + (number & 0xFFFF).to_bytes(_NUMBER_BYTES)
        datagram = crypto.encrypt_packet(header, frame.data, number)
        quic._packet_number = number + 1
        quic._local_next_stream_id_uni = stream + 4
        quic._remote_max_data_used = used
        quic.bytes_sent += len(datagram)
        self._send([(datagram, quic._network_paths[0].addr)])
        return True

    def _take(self, data: bytes, address: Address, now: float) -> None:
        """Take a datagram, or throw it away when it can only be an acknowledgement."""
        quic: Any = self._quic
        if (
            len(data) <= _ACK_DATAGRAM_BYTES
            and not quic._spaces[Epoch.ONE_RTT].ack_eliciting_in_flight
            and quic.uni_credit() > _SPARE_STREAMS
            and quic._remote_max_data - quic._remote_max_data_used > _SPARE_BYTES
        ):
            return
        self._heard = True
        self._receive(data, address, now)

    def _flush_if_heard(self) -> None:
        """A batch of nothing but acknowledgements needs no pass; timers and our own sends do."""
        link = self._link
        if self._heard or link._scheduled is not None or link._timer is None:
            self._heard = False
            self._flush()
