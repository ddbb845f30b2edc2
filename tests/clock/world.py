"""Two simulated clocks whose true offset is known, and the way between them."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from wtp.clock import OffsetEstimator


@dataclass(frozen=True, slots=True)
class Case:
    """What clocks and way are like.

    Attributes:
        name: For the table.
        shift_us: Peer's clock less ours at the start.
        drift_ppm: By how much the peer's clock runs faster.
        slew_ppm: By how much that rate changes every 20 s, alternating.
        there_us: Least time of the way there; `back_us` back.
        jitter_us: Mean of what queues add each way (exponential).
        spikes: Share of exchanges with 50 times that on one way.
        pause_s: Between exchanges.
    """

    name: str
    shift_us: int = 0
    drift_ppm: float = 0.0
    slew_ppm: float = 0.0
    there_us: float = 100.0
    back_us: float = 100.0
    jitter_us: float = 50.0
    spikes: float = 0.05
    pause_s: float = 0.5


YEARS_US = 3 * 365 * 86_400 * 1_000_000

CASES = (
    Case("shifted, no drift", shift_us=1_234_567),
    Case("years ahead", shift_us=YEARS_US, drift_ppm=20),
    Case("years behind, 50 ppm", shift_us=-YEARS_US, drift_ppm=-50),
    Case("100 ppm", drift_ppm=100, jitter_us=300),
    Case("200 ppm", drift_ppm=200),
    Case("200 ppm, slow and asymmetric", drift_ppm=-200, there_us=2_000, back_us=22_000),
    Case("asymmetric without jitter", drift_ppm=30, there_us=50, back_us=9_000, jitter_us=1),
    Case("wide jitter", drift_ppm=40, there_us=5_000, back_us=5_000, jitter_us=15_000),
    Case("rare exchanges", drift_ppm=80, pause_s=10.0),
    Case("a rate that is corrected", drift_ppm=30, slew_ppm=60, jitter_us=200),
    Case("a rate that is corrected, far", drift_ppm=10, slew_ppm=90, there_us=9_000, back_us=4_000),
)


class World:
    """Runs exchanges of a case in simulated true time.

    Attributes:
        real_us: True time; our own clock shows it, less what it stood still.
    """

    def __init__(self, case: Case, seed: int) -> None:
        self.case = case
        self.random = random.Random(seed)
        self.real_us = 1_000_000.0
        self.halted_us = 0.0
        self._ahead_us = float(case.shift_us)
        self._begun_us = self.real_us

    def rate_ppm(self) -> float:
        """The peer's rate against ours now."""
        odd = int((self.real_us - self._begun_us) / 20e6) % 2
        return self.case.drift_ppm + odd * self.case.slew_ppm

    def advance(self, us: float) -> None:
        """Let time pass."""
        self._ahead_us += us * self.rate_ppm() / 1e6
        self.real_us += us

    def step_peer(self, us: float) -> None:
        """Step the peer's clock."""
        self._ahead_us += us

    def halt(self, us: float) -> None:
        """Let our clock stand still while time passes."""
        self.advance(us)
        self.halted_us += us
        self._ahead_us += us

    @property
    def own_us(self) -> int:
        """What our clock shows."""
        return int(self.real_us - self.halted_us)

    @property
    def true_us(self) -> float:
        """The true offset now."""
        return self._ahead_us

    def peer_us(self) -> int:
        """What the peer's clock shows."""
        return int(self.real_us - self.halted_us + self._ahead_us)

    def way(self, least_us: float) -> float:
        """How long one way takes this time."""
        case = self.case
        us = least_us + self.random.expovariate(1 / case.jitter_us)
        if self.random.random() < case.spikes:
            us += self.random.expovariate(1 / (50 * case.jitter_us))
        return us

    def exchange(self, estimator: OffsetEstimator) -> bool:
        """Exchange once; returns whether it was taken."""
        sent_us = self.own_us
        self.advance(self.way(self.case.there_us))
        arrived_us = self.peer_us()
        self.advance(30)
        left_us = self.peer_us()
        self.advance(self.way(self.case.back_us))
        return estimator.add(sent_us, arrived_us, left_us, self.own_us)


@dataclass(slots=True)
class Tally:
    """What a run showed."""

    errors_us: list[int]
    within: int = 0
    unknown: int = 0

    @property
    def share(self) -> float:
        """Of the moments with an estimate, those at which it was true."""
        return self.within / max(1, len(self.errors_us))

    def percentile_us(self, share: float) -> int:
        """Of the stated errors."""
        return sorted(self.errors_us)[int(share * (len(self.errors_us) - 1))]


def look(world: World, estimator: OffsetEstimator, tally: Tally) -> None:
    """Compare the estimate with the truth."""
    offset = estimator.at(world.own_us)
    if offset is None:
        tally.unknown += 1
        return
    tally.errors_us.append(offset.error_us)
    tally.within += abs(offset.offset_us - world.true_us) <= offset.error_us + 1


def run(case: Case, seed: int, exchanges: int = 200) -> Tally:
    """Exchange so often, and look at random moments between."""
    world, estimator, tally = World(case, seed), OffsetEstimator(), Tally([])
    for _ in range(exchanges):
        world.exchange(estimator)
        pause_us = 1e6 * case.pause_s
        for _ in range(3):
            world.advance(pause_us * world.random.random() / 2)
            look(world, estimator, tally)
    return tally


def variant(case: Case, seed: int) -> Case:
    """The case with another drift, between none and its own."""
    return replace(case, drift_ppm=case.drift_ppm * random.Random(seed).uniform(-1, 1))
