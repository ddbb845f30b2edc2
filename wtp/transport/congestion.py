"""Congestion control that keeps the queue of the network short.

Reno fills whatever buffer a link has: on a line of 1 Mbit/s with 64 KB of buffer that is half a
second for everything behind it, sound included. Where live media are sent the window is also cut
when a standing queue shows in the round trip, to what the path has just delivered (as BBR and
LEDBAT do; RFC 6817), and does not grow while the application leaves it unused (RFC 9002, section
7.8). What does not fit then waits at the sender, where it is ordered by urgency and can still be
dropped. A transfer by itself does not yield: on a busy machine delay is no queue, and it would lose
half its rate.
"""

from __future__ import annotations

from collections import deque

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
BASE_S = 10.0
"""The round trip without a queue is the least of this long to twice as long: routes change."""


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
        self._most_in_flight = 0
        """Bytes before the present acknowledgement, which frees them packet by packet."""

    def on_packet_acked(self, *, now: float, packet: QuicSentPacket) -> None:
        """Count a packet; the window grows only when at least half of it was in flight."""
        self.delivered_bytes += packet.sent_bytes
        if self.bytes_in_flight > self._most_in_flight:
            self._most_in_flight = self.bytes_in_flight
        used = 2 * self._most_in_flight >= self.congestion_window
        before, stash = self.congestion_window, self._congestion_stash
        super().on_packet_acked(now=now, packet=packet)
        if not used:
            self.congestion_window, self._congestion_stash = before, stash

    def on_rtt_measurement(self, *, now: float, rtt: float) -> None:
        """Look for a standing queue."""
        super().on_rtt_measurement(now=now, rtt=rtt)
        self._most_in_flight = self.bytes_in_flight
        self.base_rtt_s = base = self._base.add(now, rtt)
        self.peak_rtt_s = self._peak.add(now, rtt)
        if not self.yields:
            return
        standing = self._standing.add(now, rtt)
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
