"""What a session sends: streams and datagrams of our own; knows nothing of what comes in."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from wtp.errors import Refused, UsageError
from wtp.transport import capsule
from wtp.transport.driver import Driver
from wtp.transport.endpoint import Address
from wtp.transport.hardening import HardenedConnection
from wtp.transport.limits import Limits
from wtp.transport.session import LIVE, URGENT, SessionStats


class Outgoing(Driver):
    """The sending half of a session on a QUIC connection.

    Args:
        quic: The connection, not yet started.
        send: Sends datagrams.
        limits: Caps and time-outs.
        peer: Address of the peer.
        fixed_mtu: Packet size that must not be probed, or 0.
    """

    def __init__(
        self,
        quic: HardenedConnection,
        send: Callable[[Sequence[tuple[bytes, Address]]], None],
        limits: Limits,
        peer: Address,
        fixed_mtu: int,
    ) -> None:
        super().__init__(quic, send, limits, peer, fixed_mtu)
        self._outgoing: dict[int, bool] = {}  # our streams: whether they were ended
        self._stream_prefix = b""
        self._datagram_prefix = b""

    def bind(self, connect_stream: int) -> None:
        """Send for the session of this CONNECT stream from now on."""
        self._stream_prefix = capsule.WEBTRANSPORT_UNI_STREAM + capsule.encode_varint(
            connect_stream
        )
        self._datagram_prefix = capsule.encode_varint(connect_stream // 4)

    def open_stream(self, rank: int, after: int | None) -> int:
        """See ``Session.open_stream``."""
        if self.quic.uni_credit() <= 0 or self.quic.stream_count() >= self.limits.open_streams:
            raise Refused(
                "No further stream can be opened now.",
                hint="Wait until earlier streams are finished.",
                code="stream-limit",
            )
        stream = self.quic.get_next_available_stream_id(is_unidirectional=True)
        self.quic.rank_stream(stream, rank)
        if after is not None:
            self.quic.order_stream(stream, after)
        self.quic.window.yields |= rank in (URGENT, LIVE)
        self.quic.send_stream_data(stream, self._stream_prefix)
        self._outgoing[stream] = False
        if len(self._outgoing) > 2 * self.quic.stream_count() + 32:
            self.backlog(None)  # forgets the finished ones
        return stream

    def send(self, stream: int, data: bytes, end: bool) -> None:
        """See ``Session.send``."""
        ended = self._outgoing.get(stream)
        if ended is None:
            return
        if ended:
            raise UsageError(
                f"Stream {stream} was ended before.", hint="Open another stream.", code="stream"
            )
        self._outgoing[stream] = end
        self.quic.send_stream_data(stream, data, end)
        self.touch()

    def reset(self, stream: int, code: int) -> None:
        """See ``Session.reset``."""
        if self._outgoing.pop(stream, None) is not None:
            self.quic.drop_stream(stream, capsule.to_http_code(code))
            self.touch()

    def backlog(self, stream: int | None) -> int:
        """See ``Session.backlog``."""
        if stream is not None:
            return self.quic.unacknowledged(stream)
        total = 0
        finished = []
        for number in self._outgoing:
            if self.quic.has_stream(number):
                total += self.quic.unacknowledged(number)
            else:
                finished.append(number)
        for number in finished:
            del self._outgoing[number]
        return total

    def send_datagram(self, data: bytes) -> bool:
        """See ``Session.send_datagram``."""
        size = len(self._datagram_prefix) + len(data)
        if (
            size > self.quic.datagram_room()
            or size + 3 > self.quic.datagram_limit()
            or self.quic.datagrams_waiting() >= self.limits.datagram_queue
        ):
            return False
        self.quic.send_datagram_frame(self._datagram_prefix + data)
        self.touch()
        return True

    def stats(self) -> SessionStats:
        """See ``Session.stats``."""
        smoothed, smallest = self.quic.rtt_s
        return SessionStats(
            rtt_ms=smoothed * 1e3,
            min_rtt_ms=smallest * 1e3,
            bytes_sent=self.quic.bytes_sent,
            bytes_received=self.quic.bytes_received,
            packets_lost=self.quic.packets_lost,
            datagram_bytes=self.quic.mtu_bytes,
            streams_open=self.quic.stream_count(),
            base_rtt_ms=self.quic.window.base_rtt_s * 1e3,
            peak_rtt_ms=self.quic.window.peak_rtt_s * 1e3,
            delivered_bytes=self.quic.window.delivered_bytes,
        )
