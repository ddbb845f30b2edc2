"""Which bit rate the network carries: a controller without I/O, fed by what the sender sees.

The sign of congestion is delay: how long the oldest unacknowledged object has waited, and how far
the round trip is above its base. Above `HIGH_MS` the target falls below what was delivered, by as
much as it takes to drain the queue in half a second; once it is drained the target returns to just
under the rate that the path has shown. Then it grows: slowly near that rate, fast while there is no
delay at all, and after an attempt that failed only later. Below the floor of the bit rate pictures
are left out, and a queue that would take too long is dropped for a fresh key picture.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

HIGH_MS = 70.0
"""Delay above the base round trip that counts as congestion: above the 40 ms that the transport
lets stand in the network, well under the 150 ms that are promised."""
LOW_MS = 35.0
"""Delay below which the queue counts as drained."""
CALM_MS = 12.0
"""Longest delay on a path that is far from full: on a line that just carries 30 pictures a second
the last packet of each takes about 30 ms."""
CALM_S = 0.3
STANDS = 2
"""Looks in a row that must find it: one key picture is no congestion."""
CLEAR_MS = 120.0
"""Delay that needs no second look."""
BLIND_S = 0.12
"""A look that comes so late says more about this process than about the network."""
EXCUSED, MOST_EXCUSED_MS = 3.0, 250.0
"""Delay is excused for so many times the lateness of the looks: where nobody gets the processor in
time acknowledgements are late too, by the turns of both ends and of what lies between."""
CUT_AGAIN_S = 0.2
"""An encoder takes a picture or two to follow."""
DRAIN_S = 0.5
HEADROOM = 0.85
"""Part of the delivered rate that is used after congestion (as in Google's controller for WebRTC,
draft-ietf-rmcat-gcc-02, section 5.5)."""
LEAST_CUT = 0.3
RATE_S = 0.2
"""What the rate of delivery is taken over."""
HOLD_S, LONGEST_HOLD_S = 1.0, 3.0
"""Time without growth after congestion; doubled when growth was what brought it about."""
ATTEMPT_S = 3.0
"""Congestion so soon after growth is put down to it."""
NEAR = (0.75, 1.6)
"""Parts of the known limit between which growth is slow: some lines let a burst through first."""
LIMIT_S = 20.0
"""How long the known limit is believed."""
FAST, MEDIUM, SLOW = 1.5, 0.35, 0.06
"""Growth per second, as a part of the target: far from the known limit and without delay; with
either; with neither."""
DIVISORS = (1, 2, 3, 5, 8, 15)
DIVIDE_S = 0.6
"""Time at the floor, and still congested, before more pictures are left out."""
DIVIDE_QUEUE_S = 0.2
"""Queue at the floor's rate that shows that the line cannot carry even that: a busy machine delays
as well, but then little waits."""
SHED_MS = 500.0
"""A queue that is as late, and would take as long again, is dropped."""
SHED_S = 1.0


@dataclass(frozen=True, slots=True)
class Sight:
    """What the sender sees of one session.

    Attributes:
        now_us: Time.
        delivered_bytes: UDP payload acknowledged so far.
        backlog_bytes: Bytes of live tracks that are not acknowledged.
        oldest_ms: Age of the oldest unacknowledged live object, 0 without one.
        rtt_ms: Smoothed round trip.
        base_rtt_ms: Round trip without a queue.
        peak_rtt_ms: Longest round trip of the last 0.3 s or so.
        lag_ms: By how much looks came late lately.
    """

    now_us: int
    delivered_bytes: int
    backlog_bytes: int = 0
    oldest_ms: float = 0.0
    rtt_ms: float = 0.0
    base_rtt_ms: float = 0.0
    peak_rtt_ms: float = 0.0
    lag_ms: float = 0.0

    @property
    def delay_ms(self) -> float:
        """Delay above the base round trip."""
        return max(0.0, self.rtt_ms - self.base_rtt_ms, self.oldest_ms - self.base_rtt_ms)

    @property
    def excused_ms(self) -> float:
        """How much of it may be this machine's."""
        return min(EXCUSED * self.lag_ms, MOST_EXCUSED_MS)

    @property
    def calm(self) -> bool:
        """Whether even the slowest packets have come through at once."""
        slowest_ms = max(self.peak_rtt_ms, self.oldest_ms) - self.base_rtt_ms
        return slowest_ms < CALM_MS + self.excused_ms


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the sender should do.

    Attributes:
        target_bps: Bit rate of everything live together.
        every_nth: Send every n-th picture.
        shed: Drop what waits and go on with a key picture.
        reason: Why the target is below the ceiling: empty, `delay` (congested now), `draining`
            or `probing` (on the way up).
    """

    target_bps: int
    every_nth: int
    shed: bool
    reason: str


class Controller:
    """Finds the bit rate of one session; the module tells how.

    Args:
        ceiling_bps: What is sent when nothing stands in the way.
        floor_bps: What the bit rate does not go below; pictures are left out instead.

    Attributes:
        ceiling_bps: As given, or by `bound`.
        floor_bps: As well.
        target_bps: Present target.
        every_nth: Send every n-th picture.
        delay_ms: At the last look.
    """

    def __init__(self, ceiling_bps: int, floor_bps: int) -> None:
        self.ceiling_bps = ceiling_bps
        self.floor_bps = min(floor_bps, ceiling_bps)
        self.target_bps = float(ceiling_bps)
        self.delay_ms = 0.0
        self._divisor = 0
        self._marks: deque[tuple[int, int]] = deque()
        self._limit_bps = 0.0
        self._cut_us = self._attempt_us = self._shed_us = self._divided_us = -(10**12)
        self._looked_us: int | None = None
        self._calm_us: int | None = None
        self._delay_at_cut_ms = 0.0
        self._high = 0
        self._hold_s = HOLD_S
        self._draining = False

    @property
    def every_nth(self) -> int:
        """Send every n-th picture."""
        return DIVISORS[self._divisor]

    def bound(self, ceiling_bps: int, floor_bps: int) -> None:
        """Change the ceiling and the floor; a target that is at the ceiling stays there."""
        if self.target_bps >= self.ceiling_bps:
            self.target_bps = float(ceiling_bps)
        self.ceiling_bps, self.floor_bps = ceiling_bps, min(floor_bps, ceiling_bps)

    def restart(self) -> None:
        """A new session: forget the old path, keep the target as a guess at the new one."""
        self._marks.clear()
        self._looked_us = self._calm_us = None
        self._draining = False

    def look(self, sight: Sight) -> Verdict:
        """Take what is seen, some ten times a second.

        Returns:
            What to do about it.
        """
        passed_s = 0.0 if self._looked_us is None else (sight.now_us - self._looked_us) / 1e6
        self._looked_us = sight.now_us
        self.delay_ms = sight.delay_ms
        rate_bps = self._rate(sight)
        shed = False
        late_ms = self.delay_ms - sight.excused_ms
        if passed_s > BLIND_S or late_ms <= HIGH_MS:
            self._high = 0
        else:
            self._high += 1 if late_ms < CLEAR_MS else STANDS
        if not sight.calm:
            self._calm_us = None
        elif self._calm_us is None:
            self._calm_us = sight.now_us
        if self._high >= STANDS:
            self._congested(sight, rate_bps)
            shed = self._sheds(sight, rate_bps)
        elif late_ms < LOW_MS:
            self._drained(sight.now_us)
            self._grow(sight.now_us, min(passed_s, 0.5))
        self.target_bps = min(max(self.target_bps, self.floor_bps), self.ceiling_bps)
        return Verdict(round(self.target_bps), self.every_nth, shed, self._reason())

    def _reason(self) -> str:
        if self.target_bps >= self.ceiling_bps and not self._divisor:
            return ""
        if self.delay_ms > HIGH_MS:
            return "delay"
        return "draining" if self._draining else "probing"

    def _rate(self, sight: Sight) -> float:
        """Bits a second that were delivered lately."""
        marks = self._marks
        marks.append((sight.now_us, sight.delivered_bytes))
        while len(marks) > 2 and marks[1][0] <= sight.now_us - RATE_S * 1e6:
            marks.popleft()
        began_us, delivered = marks[0]
        return 8e6 * (sight.delivered_bytes - delivered) / max(sight.now_us - began_us, 1)

    def _congested(self, sight: Sight, rate_bps: float) -> None:
        now_us = sight.now_us
        since_s = (now_us - self._cut_us) / 1e6
        if since_s < max(CUT_AGAIN_S, sight.base_rtt_ms / 1000):
            return
        if self._draining and self.delay_ms < 0.95 * self._delay_at_cut_ms:
            self._delay_at_cut_ms = self.delay_ms
            self._cut_us = now_us  # it works: look again later
            return
        if not self._draining and now_us - self._attempt_us < ATTEMPT_S * 1e6:
            self._hold_s = min(2 * self._hold_s, LONGEST_HOLD_S)
        excess_bits = max(0.0, 8 * sight.backlog_bytes - rate_bps * sight.base_rtt_ms / 1000)
        wanted = max(HEADROOM * rate_bps - excess_bits / DRAIN_S, LEAST_CUT * rate_bps)
        waits = 8 * sight.backlog_bytes > DIVIDE_QUEUE_S * self.floor_bps
        if self.target_bps <= self.floor_bps and waits:
            self._divide(now_us)
        self.target_bps = max(min(self.target_bps, wanted), self.floor_bps)
        self._limit_bps = rate_bps
        self._cut_us, self._delay_at_cut_ms = now_us, self.delay_ms
        self._draining = True

    def _divide(self, now_us: int) -> None:
        if now_us - self._divided_us > DIVIDE_S * 1e6 and self._divisor < len(DIVISORS) - 1:
            self._divisor += 1
            self._divided_us = now_us

    def _sheds(self, sight: Sight, rate_bps: float) -> bool:
        late = self.delay_ms > SHED_MS + sight.base_rtt_ms
        slow = 8 * sight.backlog_bytes > rate_bps * SHED_MS / 1000
        if late and slow and sight.now_us - self._shed_us > SHED_S * 1e6:
            self._shed_us = sight.now_us
            if self.target_bps <= self.floor_bps:
                self._divide(sight.now_us)
            return True
        return False

    def _drained(self, now_us: int) -> None:
        if self._draining:
            self._draining = False
            self._cut_us = now_us
            self.target_bps = max(self.target_bps, HEADROOM * self._limit_bps)

    def _grow(self, now_us: int, passed_s: float) -> None:
        if self.target_bps >= self.ceiling_bps and not self._divisor:
            self._hold_s = HOLD_S
            return
        calm = self._calm_us is not None and now_us - self._calm_us > CALM_S * 1e6
        since_s = (now_us - self._cut_us) / 1e6
        if since_s < self._hold_s:
            return
        if self._divisor:
            if now_us - self._divided_us > 2 * max(DIVIDE_S, self._hold_s) * 1e6:
                self._divisor -= 1
                self._divided_us = self._attempt_us = now_us
            return
        self._attempt_us = now_us
        low, high = NEAR
        known = since_s < LIMIT_S
        near = known and low * self._limit_bps < self.target_bps < high * self._limit_bps
        pace = (SLOW, MEDIUM, FAST)[calm + (not near)]
        self.target_bps *= (1 + pace) ** passed_s
        if self.target_bps > high * self._limit_bps:
            self._hold_s = HOLD_S


def share(total_bps: int, fixed_bps: int, wishes: Sequence[tuple[int, int]]) -> list[int]:
    """Divide a session's bit rate: what cannot follow (sound) first, the rest by its ceilings.

    Args:
        total_bps: Of everything live.
        fixed_bps: Of the tracks that do not follow.
        wishes: Ceiling and floor of each track that does.

    Returns:
        Bit rate of each of them.
    """
    rest = max(0, total_bps - fixed_bps)
    most = sum(ceiling for ceiling, _ in wishes) or 1
    return [min(ceiling, max(floor, round(rest * ceiling / most))) for ceiling, floor in wishes]
