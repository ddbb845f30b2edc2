"""Clocks: how well the router's is known here, and whether this machine's is kept right."""

from __future__ import annotations

import asyncio
import ctypes
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from wtp.clock import Clock, OffsetEstimator, read_boot_id
from wtp.consumer.trust import clock_trust
from wtp.doctor.finding import Finding, State, Subject
from wtp.doctor.router import side_url, target
from wtp.transport.trust import Trust

WHY = "A latency between two machines is as exact as the offset of their clocks is known."
WHY_WALL = "Stamps are dated by the wall clock, and so are certificates, tokens and replays."

EXCHANGES, PAUSE_S = 24, 0.05
ANSWER_S = 2.0
"""Longest wait for one answer."""

GOOD_ERROR_US = 2_000
"""A latency of 10 ms is known to a fifth then."""

FAR_US = 1_000_000
"""Clocks that differ by more are not both right."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One question for the time: own time when asked, the router's, own when it answered (µs)."""

    asked_us: int
    router_us: int
    answered_us: int

    @property
    def offset_us(self) -> float:
        """Router's clock less own, when both ways took as long."""
        return self.router_us - (self.asked_us + self.answered_us) / 2

    @property
    def error_us(self) -> float:
        """Bound on the error of that."""
        return (self.answered_us - self.asked_us) / 2


async def look(subject: Subject) -> list[Finding]:
    """Measure against the router, and ask the kernel."""
    url, where, trust = target(subject)
    return [await _router_clock(url, where, trust, subject.certs), judge_wall(kernel_clock())]


async def _router_clock(url: str, where: str, trust: Trust, certs: Path) -> Finding:
    ssl = clock_trust(url, trust.cert_hash, trust.ca, trust.insecure, certs)
    clock, boot_id = Clock(), ""
    exchanges: list[Exchange] = []
    limit = aiohttp.ClientTimeout(total=ANSWER_S)
    try:
        async with aiohttp.ClientSession(timeout=limit) as session:
            for _ in range(EXCHANGES):
                asked_us = clock.now_us()
                async with session.get(side_url(url, "/clock"), ssl=ssl) as response:
                    body = await response.json(content_type=None)
                exchanges.append(Exchange(asked_us, int(body["now_us"]), clock.now_us()))
                boot_id = str(body["boot_id"])
                if boot_id and boot_id == read_boot_id():
                    break
                await asyncio.sleep(PAUSE_S)
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError, KeyError, TypeError):
        if len(exchanges) < 2:
            found = f"no router's clock answers at {where}"
            return Finding("clock", State.UNKNOWN, found, WHY, "wtp doctor router")
    return judge(exchanges, boot_id, read_boot_id())


def judge(exchanges: Sequence[Exchange], boot_id: str, own_boot_id: str) -> Finding:
    """Judge what was measured.

    Args:
        exchanges: At least one; the first may have opened the connection.
        boot_id: Of the router's machine start.
        own_boot_id: Of this one.
    """
    if boot_id and boot_id == own_boot_id:
        found = "the router runs on this machine start: one clock, error 0"
        return Finding("clock", State.OK, found, WHY)
    estimator = OffsetEstimator()
    for one in exchanges:
        estimator.add(one.asked_us, one.router_us, one.router_us, one.answered_us)
    best = estimator.at(exchanges[-1].answered_us)
    if best is None:
        found = "the router's answers contradict each other: one of the clocks was set meanwhile"
        return Finding("clock", State.WARNING, found, WHY, "wtp doctor clock   # once more")
    found = (
        f"offset to the router {best.offset_us / 1000:+.3f} ms \u00b1 "
        f"{best.error_us / 1000:.3f} ms; {drift(exchanges)}"
    )
    if abs(best.offset_us) > FAR_US:
        mend = "sudo timedatectl set-ntp true   # on both machines"
        return Finding("clock", State.WARNING, found, WHY, mend)
    if best.error_us > GOOD_ERROR_US:
        mend = "Use a cable, or a router nearer by: the error is half the round trip."
        return Finding("clock", State.WARNING, found, WHY, mend)
    return Finding("clock", State.OK, found, WHY)


def drift(exchanges: Sequence[Exchange]) -> str:
    """What can be said of the rate between the clocks, from the best exchange of each half."""
    middle = len(exchanges) // 2
    if not middle:
        return "drift unknown"
    first, last = (
        min(half, key=lambda one: one.error_us) for half in (exchanges[:middle], exchanges[middle:])
    )
    span_s = (last.asked_us - first.asked_us) / 1e6
    if span_s <= 0:
        return "drift unknown"
    ppm = (last.offset_us - first.offset_us) / span_s
    error_ppm = (first.error_us + last.error_us) / span_s
    return f"drift {ppm:+.0f} \u00b1 {error_ppm:.0f} ppm in {span_s:.1f} s"


@dataclass(frozen=True, slots=True)
class KernelClock:
    """What the kernel says of its clock (adjtimex(2)).

    Attributes:
        synchronised: Whether something keeps it right.
        error_us: Its bound on the error; grows while nothing does.
    """

    synchronised: bool
    error_us: int


TIME_ERROR, STA_UNSYNC = 5, 0x0040
"""linux/timex.h: the clock is not synchronised."""


class _Timex(ctypes.Structure):
    """The first fields of struct timex (adjtimex(2)), and room for the rest."""

    _fields_ = [
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_long * 40),
    ]


def kernel_clock() -> KernelClock | None:
    """Ask the kernel, which takes no rights; None where it cannot be asked."""
    if not sys.platform.startswith("linux"):
        return None
    timex = _Timex()
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.byref(timex))  # modes 0: read only
    except (OSError, AttributeError):
        return None
    if state < 0:
        return None
    off = state == TIME_ERROR or bool(timex.status & STA_UNSYNC)
    return KernelClock(not off, int(timex.maxerror))


def judge_wall(clock: KernelClock | None) -> Finding:
    """Judge the wall clock of this machine."""
    if clock is None:
        found = "this system does not say whether its clock is kept right"
        return Finding("wall-clock", State.UNKNOWN, found, WHY_WALL, "timedatectl")
    if not clock.synchronised:
        found = "not synchronised with a time server"
        mend = "sudo timedatectl set-ntp true   # containers: on the host"
        return Finding("wall-clock", State.WARNING, found, WHY_WALL, mend)
    found = f"synchronised, error below {clock.error_us / 1000:.0f} ms"
    return Finding("wall-clock", State.OK, found, WHY_WALL)
