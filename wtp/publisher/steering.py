"""Makes the live tracks of a publisher follow the network: looks, asks the controller, tells them.

Sound does not follow: it is small and goes first. What is left of the session's bit rate is divided
among the pictures by their ceilings.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from wtp.clock import Clock
from wtp.publisher.congestion import SHED_MS, Controller, Sight, Verdict, share
from wtp.publisher.live import LiveTrack, Steering
from wtp.publisher.outgoing import Outgoing
from wtp.transport.session import Session, SessionStats

LOOK_S = 0.05
"""A picture and a half at 30 a second; the controller wants two looks before it acts."""
LAG_FADES = 0.95
"""What is left of the worst lateness of a look at the next one: half of it is gone in 0.7 s."""


class Helm:
    """Steers the live tracks of one publisher, across its sessions.

    Args:
        tracks: All of them; those with `steering` follow.
        clock: Own clock.

    Attributes:
        controller: Finds the bit rate; None when no track follows.
    """

    def __init__(self, tracks: Iterable[Outgoing], clock: Clock) -> None:
        self._live = [track for track in tracks if isinstance(track, LiveTrack)]
        self._clock = clock
        self._last: Verdict | None = None
        self._lag_ms = 0.0
        steered = self._steered()
        self.controller = Controller(*self._bounds(steered)) if steered else None

    async def steer(self, session: Session) -> None:
        """Look and tell for as long as a session lasts."""
        if self.controller is None:
            return
        self.controller.restart()
        loop = asyncio.get_running_loop()
        while True:
            due_s = loop.time() + LOOK_S
            await asyncio.sleep(LOOK_S)
            self._lag_ms = max(LAG_FADES * self._lag_ms, 1000 * (loop.time() - due_s))
            self.look(session.stats)

    def look(self, stats: SessionStats) -> None:
        """Take one look at the session, and tell the tracks when something changes."""
        controller = self.controller
        if controller is None:
            return
        steered = self._steered()
        controller.bound(*self._bounds(steered))
        verdict = controller.look(self._sight(stats))
        if verdict.shed:
            self._shed()
        if verdict != self._last:
            self._last = verdict
            self._tell(verdict, steered)

    def _shed(self) -> None:
        """Drop what waits in the tracks that are late; sound, which goes first, hardly ever is."""
        late_us = self._clock.now_us() - SHED_MS * 1000
        for track in self._live:
            oldest_us = track.oldest_us()
            if oldest_us is not None and oldest_us < late_us:
                track.shed()

    def snapshot(self) -> dict[str, Any]:
        """How late the session's objects are, in ms above its shortest round trip."""
        if self.controller is None:
            return {}
        return {"send_delay_ms": round(self.controller.delay_ms, 1)}

    def _sight(self, stats: SessionStats) -> Sight:
        now_us = self._clock.now_us()
        waiting = [at for track in self._live if (at := track.oldest_us()) is not None]
        return Sight(
            now_us=now_us,
            delivered_bytes=stats.delivered_bytes,
            backlog_bytes=sum(track.backlog_bytes for track in self._live),
            oldest_ms=(now_us - min(waiting)) / 1000 if waiting else 0.0,
            rtt_ms=stats.rtt_ms,
            base_rtt_ms=stats.base_rtt_ms,
            peak_rtt_ms=stats.peak_rtt_ms,
            lag_ms=self._lag_ms,
        )

    def _tell(self, verdict: Verdict, steered: Sequence[Steering]) -> None:
        wishes = [(steering.ceiling_bps, steering.floor_bps) for steering in steered]
        rates = share(verdict.target_bps, self._fixed_bps(), wishes)
        for steering, rate_bps in zip(steered, rates, strict=True):
            wanted = rate_bps if verdict.reason else steering.ceiling_bps
            steering.reason = verdict.reason
            if (wanted, verdict.every_nth) != (steering.target_bps, steering.every_nth):
                steering.target_bps, steering.every_nth = wanted, verdict.every_nth
                steering.follow(wanted, verdict.every_nth)

    def _steered(self) -> list[Steering]:
        return [track.steering for track in self._live if track.steering is not None]

    def _fixed_bps(self) -> int:
        """Of what does not follow."""
        return round(sum(track.bitrate_bps for track in self._live if track.steering is None))

    def _bounds(self, steered: Sequence[Steering]) -> tuple[int, int]:
        fixed = self._fixed_bps()
        return (
            fixed + sum(steering.ceiling_bps for steering in steered),
            fixed + sum(steering.floor_bps for steering in steered),
        )
