"""Time: stamps that never step, and offsets that state their error.

A stamp is int64 Unix µs = anchor + CLOCK_MONOTONIC. The anchor is taken once, when a router starts;
whoever runs on the same machine start (`boot_id`) adopts it and has no clock error, anyone else
estimates its offset by ping and pong.
"""

from __future__ import annotations

import math
import re
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAX_DRIFT_PPM = 500
"""Bound on the rate between two clocks that run: the kernel and NTP correct no more (adjtimex(2)).
Crystals are rated 20 to 50 ppm, virtual machines may be worse."""

WANDER_PPM = 50
"""How far a rate may stray from its mean over the exchanges that an estimate looks back on. Of the
15 ppm that RFC 5905 (section 7.2, PHI) grants a clock, three times as much and more: a time daemon
that corrects one of them changes its rate without a word."""

DRIFT_KNOWN_PPM = MAX_DRIFT_PPM / 2
"""A drift with a larger error says nothing."""

SAMPLES = 64
"""Exchanges an estimate looks back on."""

RESYNC_EXCHANGES = 3
"""Exchanges that must agree before an estimate that was thrown away is given again."""

MAX_OFFSET_US = 2**62
"""Beyond, no sum of offset and stamp is an int64."""

SLEEP_SLACK_US = 1000
"""Difference of two clocks that is no suspend; two reads of one moment differ by far less."""

_DOMAIN = re.compile(r"([^:]{0,64}):(-?[0-9]{1,19})")


def monotonic_us() -> int:
    """CLOCK_MONOTONIC in µs: one for all processes of a machine start."""
    return time.monotonic_ns() // 1000


def boottime_us() -> int:
    """CLOCK_BOOTTIME in µs: it runs on while the machine sleeps; elsewhere as `monotonic_us`."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return monotonic_us() if clock is None else time.clock_gettime_ns(clock) // 1000


def wall_us() -> int:
    """The wall clock in Unix µs; it may step, so only an anchor is taken from it."""
    return time.time_ns() // 1000


def read_boot_id(path: Path = Path("/proc/sys/kernel/random/boot_id")) -> str:
    """The id of this machine start; empty where the system has none (then nobody adopts)."""
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


@dataclass(frozen=True, slots=True)
class ClockDomain:
    """Whose clock stamps are in: `<boot_id>:<anchor_us>`."""

    boot_id: str
    anchor_us: int

    def __str__(self) -> str:
        return f"{self.boot_id}:{self.anchor_us}"

    @classmethod
    def parse(cls, text: str) -> ClockDomain | None:
        """Read `<boot_id>:<anchor_us>`; None when it is not one."""
        match = _DOMAIN.fullmatch(text)
        return cls(match[1], int(match[2])) if match else None

    def same_start(self, boot_id: str) -> bool:
        """Whether a process with this boot id may adopt the anchor, with error 0."""
        return bool(boot_id) and boot_id == self.boot_id


class Clock:
    """Stamps of one domain.

    Args:
        domain: The domain; default: a new one of this machine start, anchored now.
        monotonic: µs source, for tests.
    """

    def __init__(
        self, domain: ClockDomain | None = None, monotonic: Callable[[], int] = monotonic_us
    ) -> None:
        self.monotonic = monotonic
        self.domain = domain or ClockDomain(read_boot_id(), wall_us() - monotonic())

    def now_us(self) -> int:
        """Now, in Unix µs of the domain."""
        return self.domain.anchor_us + self.monotonic()


class Sleeps:
    """Tells that this machine was suspended: CLOCK_MONOTONIC halted, CLOCK_BOOTTIME ran on.

    Args:
        monotonic: µs source that halts, for tests.
        boottime: µs source that does not, for tests.
    """

    def __init__(
        self,
        monotonic: Callable[[], int] = monotonic_us,
        boottime: Callable[[], int] = boottime_us,
    ) -> None:
        self._monotonic, self._boottime = monotonic, boottime
        self._low_us, self._high_us = self._slept()

    def again(self) -> bool:
        """Whether the machine was suspended since the last call."""
        low_us, high_us = self._slept()
        if low_us > self._high_us + SLEEP_SLACK_US or high_us < self._low_us - SLEEP_SLACK_US:
            self._low_us, self._high_us = low_us, high_us
            return True
        self._low_us, self._high_us = max(low_us, self._low_us), min(high_us, self._high_us)
        return False

    def _slept(self) -> tuple[int, int]:
        """Bounds on the time slept; apart by what passed between two reads."""
        before_us, boot_us, after_us = self._monotonic(), self._boottime(), self._monotonic()
        return boot_us - after_us, boot_us - before_us


@dataclass(frozen=True, slots=True)
class Offset:
    """What to add to own stamps to get the peer's, ± error, both in µs."""

    offset_us: int
    error_us: int


@dataclass(frozen=True, slots=True)
class Drift:
    """By how much the peer's clock runs faster, ± error, both in ppm (µs per second)."""

    ppm: float
    error_ppm: float


@dataclass(frozen=True, slots=True)
class _Exchange:
    """What one exchange proves.

    The offset was at most `high_us` at `sent_us` and at least `low_us` at `back_us`; with the
    exchanges before it, the rate lay between `slow` and `fast` (ppm).
    """

    sent_us: int
    back_us: int
    low_us: int
    high_us: int
    slow: float = -MAX_DRIFT_PPM
    fast: float = MAX_DRIFT_PPM


class OffsetEstimator:
    """Offset to a peer by four-stamp exchanges (RFC 5905, section 8), with bounds that hold.

    An exchange bounds the offset whatever the asymmetry: what arrived cannot have arrived before
    it was sent, on the way there as on the way back. So the least round trips bound it best, and
    exchanges with a quick way there and others with a quick way back complete each other. Between
    exchanges and with their age the bounds part by the drift that is possible: at first
    `MAX_DRIFT_PPM`, then what the exchanges leave of that.

    Exchanges that contradict each other mean that a clock stepped or halted. Then nothing is known
    until `RESYNC_EXCHANGES` that began later agree.

    Args:
        first: Exchanges that must agree before the first estimate.

    Attributes:
        exchanges: Plausible ones so far.
        resyncs: How often a known offset was thrown away.
    """

    def __init__(self, first: int = 1) -> None:
        self.exchanges = self.resyncs = 0
        self._window: deque[_Exchange] = deque(maxlen=SAMPLES)
        self._since_us: int | None = None
        self._missing = first
        self._at_us = self._low_us = self._high_us = 0
        self._slow: float = -MAX_DRIFT_PPM
        self._fast: float = MAX_DRIFT_PPM

    @property
    def known(self) -> bool:
        """Whether there is an estimate."""
        return self._missing <= 0

    def add(self, t0_us: int, t1_us: int, t2_us: int, t3_us: int) -> bool:
        """Take one exchange: sent, arrived at the peer, left the peer, came back.

        Returns:
            Whether it was taken: not when it is impossible, contradicts what was known (then that
            is forgotten), or began before something was forgotten.
        """
        if self._since_us is not None and t0_us < self._since_us:
            if t3_us < self._since_us:  # our own clock was set back
                self.forget(t3_us)
            return False
        low_us, high_us = t2_us - t3_us - 1, t1_us - t0_us + 1  # µs are cut off
        order = t0_us <= t3_us and t1_us <= t2_us and low_us <= high_us
        if not order or not -MAX_OFFSET_US < low_us <= high_us < MAX_OFFSET_US:
            self.forget(t3_us)
            return False
        if not self._take(_Exchange(t0_us, t3_us, low_us, high_us)):
            self.forget(t3_us)
            return False
        self.exchanges += 1
        self._missing -= 1
        return True

    def forget(self, now_us: int) -> None:
        """Throw the estimate away; exchanges that began before now are not taken any more."""
        self.resyncs += self.known
        self._window.clear()
        self._since_us = now_us
        self._missing = RESYNC_EXCHANGES

    def at(self, now_us: int) -> Offset | None:
        """The estimate for a moment; None while unknown, and for moments before it was forgotten.

        Args:
            now_us: Own time, as the exchanges' `t0_us` and `t3_us`.
        """
        if not self.known or (self._since_us is not None and now_us < self._since_us):
            return None
        age_s = (now_us - self._at_us) / 1e6
        slow, fast = self._slow * age_s, self._fast * age_s
        high_us = self._high_us + math.ceil(max(slow, fast))
        offset_us = (self._low_us + math.floor(min(slow, fast)) + high_us) // 2
        return Offset(offset_us, high_us - offset_us)

    def between(self, first_us: int, last_us: int) -> tuple[int, int] | None:
        """The least and the largest offset in a stretch of own time; None while unknown."""
        if not self.known or (self._since_us is not None and last_us < self._since_us):
            return None
        moved = [
            rate * (moment_us - self._at_us) / 1e6
            for rate in (self._slow, self._fast)
            for moment_us in (first_us, last_us)
        ]
        return self._low_us + math.floor(min(moved)), self._high_us + math.ceil(max(moved))

    @property
    def drift(self) -> Drift | None:
        """The peer's rate against ours; None while the exchanges do not tell it."""
        slow, fast = self._rates()
        error_ppm = (fast - slow) / 2 + WANDER_PPM
        if not self.known or error_ppm > DRIFT_KNOWN_PPM:
            return None
        return Drift((slow + fast) / 2, error_ppm)

    def snapshot(self, now_us: int, *, base_us: int = 0) -> dict[str, Any]:
        """State and figures as plain values.

        Args:
            now_us: Own time.
            base_us: What is taken off the offset, when own times count from elsewhere.

        Returns:
            `state` measured or unknown; `offset_us` (the peer's clock less ours), `error_us`,
            `drift_ppm` and `drift_error_ppm`, None where unknown; `exchanges`, `resyncs`.
        """
        now, drift = self.at(now_us), self.drift
        return {
            "state": "measured" if now else "unknown",
            "offset_us": now.offset_us - base_us if now else None,
            "error_us": now.error_us if now else None,
            "drift_ppm": round(drift.ppm, 1) if drift else None,
            "drift_error_ppm": round(drift.error_ppm, 1) if drift else None,
            "exchanges": self.exchanges,
            "resyncs": self.resyncs,
        }

    def _take(self, new: _Exchange) -> bool:
        """Bound offset and rate anew; False when no drift explains what was measured."""
        now_us = new.back_us
        if self._window and now_us < self._window[-1].back_us:
            return False
        whole = _bounds([*self._window, new], now_us, -MAX_DRIFT_PPM, MAX_DRIFT_PPM)
        if whole is None:
            return False
        self._window.append(_with_rates(new, self._window))
        slow, fast = self._rates()
        self._slow = max(-MAX_DRIFT_PPM, slow - 2 * WANDER_PPM)
        self._fast = min(MAX_DRIFT_PPM, fast + 2 * WANDER_PPM)
        best = None
        if slow - fast <= 2 * WANDER_PPM:
            best = _bounds(self._window, now_us, self._slow, self._fast)
        if best is None:  # the rate has changed: what was learnt bounds the offset, not the rate
            best = whole
            self._window.clear()
            self._window.append(_Exchange(now_us, now_us, *whole))
            self._slow, self._fast = -MAX_DRIFT_PPM, MAX_DRIFT_PPM
        self._at_us, (self._low_us, self._high_us) = now_us, best
        return True

    def _rates(self) -> tuple[float, float]:
        """Bounds on the rate in ppm, if it did not change."""
        slow = max((one.slow for one in self._window), default=-MAX_DRIFT_PPM)
        fast = min((one.fast for one in self._window), default=MAX_DRIFT_PPM)
        return slow, fast


def _bounds(
    exchanges: Iterable[_Exchange], now_us: int, slow: float, fast: float
) -> tuple[int, int] | None:
    """What all exchanges leave of the offset now, for rates in ppm; None when that is nothing."""
    low_us, high_us = -(2**80), 2**80
    for one in exchanges:
        low_us = max(low_us, one.low_us + math.floor(slow * (now_us - one.back_us) / 1e6))
        high_us = min(high_us, one.high_us + math.ceil(fast * (now_us - one.sent_us) / 1e6))
    return (low_us, high_us) if low_us <= high_us else None


def _with_rates(new: _Exchange, before: Iterable[_Exchange]) -> _Exchange:
    """An exchange with what it and those before it tell of the rate."""
    slow, fast = float(-MAX_DRIFT_PPM), float(MAX_DRIFT_PPM)
    for old in before:
        slow = max(slow, 1e6 * (new.low_us - old.high_us) / max(1, new.back_us - old.sent_us))
        if new.sent_us > old.back_us:
            fast = min(fast, 1e6 * (new.high_us - old.low_us) / (new.sent_us - old.back_us))
    return _Exchange(new.sent_us, new.back_us, new.low_us, new.high_us, slow, fast)
