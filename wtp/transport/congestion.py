"""Congestion control that keeps the queue of the network short.

Reno fills whatever buffer a link has: on a line of 1 Mbit/s with 64 KB of buffer that is half a
second for everything behind it, sound included. Where live media are sent the window is also cut
when a standing queue shows in the round trip, to what the path has just delivered (as BBR and
LEDBAT do; RFC 6817), and does not grow while the application leaves it unused (RFC 9002, section
7.8). What does not fit then waits at the sender, where it is ordered by urgency and can still be
dropped. Loss as of radio links cuts nothing while it stays below a tenth (for transfers a fiftieth,
and without a queue): the window of Reno falls below one picture at 5 %, and every picture then
waits for the one before. A transfer by itself does not yield: on a busy machine delay is no queue,
and it would lose half its rate.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from aioquic.buffer import Buffer  # type: ignore[attr-defined]  # re-exported from C
from aioquic.quic.congestion.reno import RenoCongestionControl
from aioquic.quic.packet_builder import QuicSentPacket

QUEUE_LIMIT_S = 0.04
"""Standing queue of the network above which the window is cut."""
QUEUE_TARGET_S = 0.02
"""Queue that is left after a cut: enough to keep the line busy between acknowledgements."""
LEAST_PACKETS = 4
"""Least window after such a cut: two acknowledgements' worth."""
STANDING_S = 0.03
"""How long a queue must stand to count: one picture of a burst does not."""
CUT_AGAIN_S = 0.1
RATE_S = 0.2
"""What the rate of delivery is taken over."""
LIVE_LOSS_LIMIT = 0.1
"""Share of loss up to which live media go on as before, as WebRTC's congestion control does
(draft-ietf-rmcat-gcc-02, section 6); more is congestion."""
LOSS_LIMIT = 0.02
"""The same for transfers, as in BBR version 3 (draft-ietf-ccwg-bbr, BBR.LossThresh), while nothing
queues."""
LOSS_S = 1.0
LOSS_LEAST_PACKETS = 20
"""What the share of loss is taken over; of less nothing can be said, and Reno's rule holds."""
BASE_S = 10.0
"""The round trip without a queue is the least of this long to twice as long: routes change."""


ACK_DELAY_MS = 5
"""What is announced as the longest delay of our acknowledgements. They leave after 1 ms, later when
the event loop is busy; the peer adds it to the time after which it repeats the last packet of an
object. aioquic announces the default of 25 (RFC 9000, section 18.2): measured at 1 % loss, that
makes the p99 of 20 KB objects at 30/s 70 ms instead of 39 (20 ms round trip)."""
_MAX_ACK_DELAY = 0x0B  # transport parameter, RFC 9000 section 18.2


def announce_ack_delay(parameters: bytes) -> bytes:
    """Return serialised transport parameters with `ACK_DELAY_MS` in them."""
    read, out = Buffer(data=parameters), Buffer(capacity=len(parameters) + 8)
    while not read.eof():
        kind = read.pull_uint_var()
        value = read.pull_bytes(read.pull_uint_var())
        if kind == _MAX_ACK_DELAY:
            value = bytes([ACK_DELAY_MS])
        out.push_uint_var(kind)
        out.push_uint_var(len(value))
        out.push_bytes(value)
    return bytes(out.data)


class Lowest:
    """The lowest value of the last one to two periods.

    Args:
        period_s: Length of a period in seconds.
    """

    def __init__(self, period_s: float) -> None:
        self._period_s = period_s
        self._turned_s = 0.0
        self._before = self._now = float("inf")

    def add(self, now: float, value: float) -> float:
        """Take a value; returns the lowest."""
        if now - self._turned_s > self._period_s:
            stale = now - self._turned_s > 2 * self._period_s
            self._before = float("inf") if stale else self._now
            self._now, self._turned_s = value, now
        elif value < self._now:
            self._now = value
        return min(self._before, self._now)


class Highest:
    """The highest value of the last one to two periods.

    Args:
        period_s: Length of a period in seconds.
    """

    def __init__(self, period_s: float) -> None:
        self._lowest = Lowest(period_s)

    def add(self, now: float, value: float) -> float:
        """Take a value; returns the highest."""
        return -self._lowest.add(now, -value)


class ShortQueue(RenoCongestionControl):
    """Reno that also yields to delay; see the module.

    Args:
        max_datagram_size: In bytes; follows the connection's.

    Attributes:
        yields: Whether delay counts.
        delivered_bytes: UDP payload that was acknowledged.
        base_rtt_s: Round trip without a queue; 0 before the first sample.
        peak_rtt_s: Longest round trip of the last 0.2 to 0.4 s.
        cuts: Windows cut because of delay.
    """

    def __init__(self, *, max_datagram_size: int) -> None:
        super().__init__(max_datagram_size=max_datagram_size)
        self.yields = False
        self.delivered_bytes = 0
        self.base_rtt_s = 0.0
        self.peak_rtt_s = 0.0
        self.cuts = 0
        self._peak = Highest(RATE_S)
        self._base = Lowest(BASE_S)
        self._standing = Lowest(STANDING_S)
        self._marks: deque[tuple[float, int]] = deque()
        self._cut_s = 0.0
        self._queue_s = 0.0
        """Standing queue at the last measurement."""
        self._recent: deque[tuple[float, int, int]] = deque([(0.0, 0, 0)])
        self._acked_packets = self._lost_packets = 0
        self._most_in_flight = 0
        """Bytes before the present acknowledgement, which frees them packet by packet."""

    def on_packet_acked(self, *, now: float, packet: QuicSentPacket) -> None:
        """Count a packet; the window grows only when at least half of it was in flight."""
        self.delivered_bytes += packet.sent_bytes
        self._acked_packets += 1
        if self.bytes_in_flight > self._most_in_flight:
            self._most_in_flight = self.bytes_in_flight
        used = 2 * self._most_in_flight >= self.congestion_window
        before, stash = self.congestion_window, self._congestion_stash
        super().on_packet_acked(now=now, packet=packet)
        if not used:
            self.congestion_window, self._congestion_stash = before, stash

    def on_packets_lost(self, *, now: float, packets: Iterable[QuicSentPacket]) -> None:
        """Halve the window, unless only a few of many packets are lost."""
        lost = list(packets)
        self._lost_packets += len(lost)
        if self._bearable(now):
            self.on_packets_expired(packets=lost)
        else:
            super().on_packets_lost(now=now, packets=lost)

    def _bearable(self, now: float) -> bool:
        """Whether loss is of a kind that a smaller window would not mend.

        A queue of live media has a rule of its own, `_cut`; on a busy machine round trips of 20 ms
        more are no queue at all.
        """
        recent, acked, lost = self._recent, self._acked_packets, self._lost_packets
        recent.append((now, acked, lost))
        while len(recent) > 2 and recent[1][0] < now - LOSS_S:
            recent.popleft()
        acked, lost = acked - recent[0][1], lost - recent[0][2]
        limit = LIVE_LOSS_LIMIT if self.yields else LOSS_LIMIT
        few = limit * max(acked + lost, LOSS_LEAST_PACKETS)
        return lost <= few and (self.yields or self._queue_s < QUEUE_TARGET_S)

    def on_rtt_measurement(self, *, now: float, rtt: float) -> None:
        """Look for a standing queue."""
        super().on_rtt_measurement(now=now, rtt=rtt)
        self._most_in_flight = self.bytes_in_flight
        self.base_rtt_s = base = self._base.add(now, rtt)
        self.peak_rtt_s = self._peak.add(now, rtt)
        standing = self._standing.add(now, rtt)
        self._queue_s = standing - base
        if not self.yields:
            return
        marks = self._marks
        marks.append((now, self.delivered_bytes))
        while len(marks) > 2 and marks[1][0] < now - RATE_S:
            marks.popleft()
        if standing - base > QUEUE_LIMIT_S and now - self._cut_s > max(CUT_AGAIN_S, base):
            self._cut(now, base)

    def _cut(self, now: float, base: float) -> None:
        began, delivered = self._marks[0]
        if now - began < STANDING_S:
            return
        rate = (self.delivered_bytes - delivered) / (now - began)
        least = LEAST_PACKETS * self._max_datagram_size
        window = max(least, int(rate * (base + QUEUE_TARGET_S)))
        if window < self.congestion_window:
            self.congestion_window = self.ssthresh = window
            self.cuts += 1
        self._cut_s = now
