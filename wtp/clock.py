"""Time: stamps that never step, and offsets that state their error.

A stamp is int64 Unix µs = anchor + CLOCK_MONOTONIC. The anchor is taken once, when a router starts;
whoever runs on the same machine start (`boot_id`) adopts it and has no clock error, anyone else
estimates its offset by ping and pong.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

DRIFT_PPM = 50
"""Assumed bound on the relative drift of two quartz clocks (crystals are rated 20 to 50 ppm)."""

_DOMAIN = re.compile(r"([^:]{0,64}):(-?[0-9]{1,19})")

SAMPLES = 64
"""Exchanges an estimate looks back on."""


def monotonic_us() -> int:
    """CLOCK_MONOTONIC in µs: one for all processes of a machine start."""
    return time.monotonic_ns() // 1000


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


@dataclass(frozen=True, slots=True)
class Offset:
    """What to add to own stamps to get the peer's, ± error, both in µs."""

    offset_us: int
    error_us: int


class OffsetEstimator:
    """Offset to a peer by four-stamp exchanges (RFC 5905, section 8), least round trip wins.

    An exchange bounds the offset by half its round trip, whatever the asymmetry; the bound grows
    with the exchange's age by the drift two clocks may have.
    """

    def __init__(self) -> None:
        self._samples: deque[tuple[int, int, int]] = deque(maxlen=SAMPLES)

    def add(self, t0_us: int, t1_us: int, t2_us: int, t3_us: int) -> bool:
        """Take one exchange: sent, arrived at the peer, left the peer, came back.

        Returns:
            Whether it was plausible; one with a negative round trip is ignored.
        """
        round_trip = (t3_us - t0_us) - (t2_us - t1_us)
        if round_trip < 0 or t2_us < t1_us:
            return False
        offset = ((t1_us - t0_us) + (t2_us - t3_us)) // 2
        self._samples.append((offset, round_trip // 2 + 1, t3_us))
        return True

    def at(self, now_us: int) -> Offset | None:
        """The best estimate now; None before the first exchange.

        Args:
            now_us: Own time, as the exchanges' `t0_us` and `t3_us`.
        """
        best: Offset | None = None
        for offset, error, taken in self._samples:
            grown = error + abs(now_us - taken) * DRIFT_PPM // 1_000_000
            if best is None or grown < best.error_us:
                best = Offset(offset, grown)
        return best
