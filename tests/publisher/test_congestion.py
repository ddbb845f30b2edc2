"""The controller on a simulated line: a queue that is served at a rate that changes."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from wtp.publisher.congestion import HIGH_MS, Controller, Sight, Verdict, share

TICK_US = 50_000
MTU = 1400
CEILING = 2_500_000
FLOOR = 150_000


@dataclass
class Line:
    """A first-in first-out queue at a rate, with a token bucket for bursts.

    Attributes:
        rate_bps: Of the line.
        bucket_bytes: What may pass at once after a rest.
    """

    rate_bps: float
    base_ms: float = 4.0
    bucket_bytes: int = 0
    queue: list[tuple[int, int]] = field(default_factory=list)
    delivered: int = 0
    tokens: float = 0.0
    rtt_ms: float = 4.0
    delays_ms: list[tuple[int, float]] = field(default_factory=list)

    def offer(self, now_us: int, size: int) -> None:
        while size > 0:
            self.queue.append((now_us, min(size, MTU)))
            size -= MTU

    def serve(self, now_us: int, passed_us: int) -> None:
        self.tokens = min(
            self.tokens + self.rate_bps * passed_us / 8e6, max(self.bucket_bytes, MTU)
        )
        while self.queue and self.queue[0][1] <= self.tokens:
            born_us, size = self.queue.pop(0)
            self.tokens -= size
            self.delivered += size
            waited_ms = (now_us - born_us) / 1000
            self.rtt_ms += (waited_ms + self.base_ms - self.rtt_ms) / 8
            self.delays_ms.append((now_us, waited_ms))

    def clear(self) -> None:
        self.queue.clear()

    def sight(self, now_us: int) -> Sight:
        oldest_ms = (now_us - self.queue[0][0]) / 1000 + self.base_ms if self.queue else 0.0
        return Sight(
            now_us=now_us,
            delivered_bytes=self.delivered,
            backlog_bytes=sum(size for _, size in self.queue),
            oldest_ms=oldest_ms,
            rtt_ms=self.rtt_ms,
            base_rtt_ms=self.base_ms,
            peak_rtt_ms=self.base_ms
            + max((ms for at, ms in self.delays_ms[-60:] if at > now_us - 300_000), default=0.0),
        )


class World:
    """A camera at 30 pictures a second, an encoder that follows, the controller, a line."""

    def __init__(self, line: Line, *, sound_bps: int = 64_000, seed: int = 1) -> None:
        self.line = line
        self.controller = Controller(CEILING + sound_bps, FLOOR + sound_bps)
        self.verdict = Verdict(CEILING, 1, False, "")
        self.log: list[tuple[float, int, int]] = []
        self.now_us = 0
        self.sheds = 0
        self._sound = sound_bps
        self._video_bps = CEILING
        self._chance = random.Random(seed)
        self._pictures = 0

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds * 1000)):
            self.now_us += 1000
            ms = self.now_us // 1000
            if ms % 10 == 0:
                self.line.offer(self.now_us, self._sound // 800)
            if ms % 33 == 0:
                self._picture()
            self.line.serve(self.now_us, 1000)
            if self.now_us % TICK_US == 0:
                self.verdict = self.controller.look(self.line.sight(self.now_us))
                (self._video_bps,) = share(self.verdict.target_bps, self._sound, [(CEILING, FLOOR)])
                if self.verdict.shed:
                    self.sheds += 1
                    self.line.clear()
                self.log.append((self.now_us / 1e6, self._video_bps, self.verdict.every_nth))

    def _picture(self) -> None:
        self._pictures += 1
        if self._pictures % self.verdict.every_nth:
            return
        size = self._video_bps * 0.033 / 8 * self._chance.uniform(0.7, 1.3)
        if self._pictures % 60 == 0:
            size = min(3 * size, self._video_bps * 0.1 / 8)
        self.line.offer(self.now_us, round(size))

    def settled_s(self, since_s: float, limit_ms: float = 150.0) -> float:
        """Seconds after which no packet was later than `limit_ms`."""
        late = [at for at, ms in self.line.delays_ms if at > since_s * 1e6 and ms > limit_ms]
        return max(late) / 1e6 - since_s if late else 0.0

    def late_share(self, since_s: float, limit_ms: float = 150.0) -> float:
        """Part of the packets that were later than `limit_ms`."""
        waits = [ms for at, ms in self.line.delays_ms if at > since_s * 1e6]
        return sum(ms > limit_ms for ms in waits) / len(waits)

    def back_up_s(self, since_s: float) -> float:
        return next(at for at, bps, _ in self.log if at > since_s and bps > 0.9 * CEILING) - since_s

    def targets(self, since_s: float) -> list[int]:
        return [bps for at, bps, _ in self.log if at > since_s]


@pytest.mark.parametrize("bucket", [0, 4_000, 16_000])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_line_of_one_megabit_is_followed_down_and_up(bucket: int, seed: int) -> None:
    world = World(Line(20e6, bucket_bytes=bucket), seed=seed)
    world.run(5)
    assert world.verdict.target_bps == CEILING + 64_000, "nothing in the way, nothing taken away"
    world.line.rate_bps = 1e6
    world.run(15)
    assert world.settled_s(5.0, 150.0 if not bucket else 250.0) < 2.0
    assert world.late_share(7.0) < 0.01, "a burst that passed at first is no promise"
    settled = [bps for at, bps, _ in world.log if 8 < at < 20]
    assert sum(settled) / len(settled) > 650_000, "the line is used"
    assert world.verdict.every_nth == 1
    world.line.rate_bps = 20e6
    world.run(10)
    assert world.back_up_s(20.0) < 5.0
    assert world.verdict == Verdict(CEILING + 64_000, 1, False, "")


def test_it_does_not_swing_on_a_narrow_line() -> None:
    world = World(Line(1e6))
    world.run(40)
    targets = world.targets(10.0)
    assert min(targets) > 0.3 * max(targets)
    falls = sum(b < 0.95 * a for a, b in pairwise(targets))
    assert falls <= 12, f"{falls} cuts in 30 s"
    late = [ms for at, ms in world.line.delays_ms if at > 10e6 and ms > HIGH_MS + 30]
    assert len(late) < 0.02 * len(world.line.delays_ms)


def test_below_the_floor_pictures_are_left_out_and_come_back() -> None:
    world = World(Line(20e6))
    world.run(3)
    world.line.rate_bps = 120_000
    world.run(12)
    assert world.verdict.every_nth > 1
    assert world.controller.target_bps == FLOOR + 64_000
    assert world.sheds >= 1, "a queue of seconds is dropped, not sent"
    assert world.settled_s(3.0, 550.0) < 2.0
    assert world.late_share(5.0, 400.0) < 0.1
    world.line.rate_bps = 20e6
    world.run(20)
    assert world.verdict.every_nth == 1
    assert world.back_up_s(15.0) < 12.0


def test_a_busy_machine_takes_no_pictures() -> None:
    """Everything comes a fifth of a second late, however little it is: that is no line."""
    world = World(Line(20e6))
    world.run(2)
    for _ in range(60):
        rate, world.line.rate_bps = world.line.rate_bps, 0.0
        world.run(0.2)
        world.line.rate_bps = rate
        world.run(0.02)
    assert world.verdict.every_nth == 1
    assert world.sheds == 0


def test_delay_is_excused_where_the_machine_is_late_itself() -> None:
    def looks(lag_ms: float) -> int:
        controller = Controller(CEILING, FLOOR)
        for number in range(40):
            sight = Sight(
                number * TICK_US, number * 15_000, 20_000, 120.0, 100.0, 2.0, 120.0, lag_ms
            )
            controller.look(sight)
        return round(controller.target_bps)

    assert looks(0.5) < 0.8 * CEILING
    assert looks(30.0) == CEILING
    assert Sight(0, 0, lag_ms=9_000.0).excused_ms == 250.0, "not for ever"


def test_a_slow_path_is_no_congestion() -> None:
    world = World(Line(20e6, base_ms=200.0))
    world.run(10)
    assert world.verdict.target_bps == CEILING + 64_000


def test_a_dead_line_is_held_at_the_floor_and_dropped_from() -> None:
    world = World(Line(20e6))
    world.run(2)
    world.line.rate_bps = 0.0
    world.run(3)
    assert world.controller.target_bps == FLOOR + 64_000
    assert world.sheds >= 2


def test_sound_comes_first_and_pictures_share_by_their_ceilings() -> None:
    assert share(1_000_000, 100_000, [(2_000_000, 150_000), (1_000_000, 150_000)]) == [
        600_000, 300_000,
    ]  # fmt: skip
    assert share(100_000, 100_000, [(2_000_000, 150_000)]) == [150_000], "the floor stays"
    assert share(9_000_000, 0, [(2_000_000, 150_000)]) == [2_000_000]


def test_a_new_session_begins_where_the_old_one_ended() -> None:
    world = World(Line(1e6))
    world.run(10)
    before = world.controller.target_bps
    world.controller.restart()
    world.line = Line(1e6)
    world.run(0.5)
    assert world.controller.target_bps == pytest.approx(before, rel=0.3)
