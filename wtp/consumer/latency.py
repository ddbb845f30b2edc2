"""When an object arrived, in the clock of its own stamps; and what that is worth.

On the machine start that the stamps come from, the anchor in the object's `clock` property is
adopted: no error. Elsewhere the router's `GET /clock` is measured, when its URL is given. Otherwise
the arrival, and with it every latency, is unknown; so it is after a clock was stepped or halted,
until the router has been measured anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from wtp.clock import (
    RESYNC_EXCHANGES,
    ClockDomain,
    OffsetEstimator,
    Sleeps,
    monotonic_us,
    read_boot_id,
    wall_us,
)
from wtp.errors import UsageError

if TYPE_CHECKING:
    from ssl import SSLContext

    from aiohttp import ClientSession, Fingerprint

QUICK_EXCHANGES = 8
QUICK_PAUSE_S = 0.05
STEADY_PAUSE_S = 0.5
"""Between exchanges while they are needed: so long may a step of the router's clock go unseen."""
IDLE_PAUSE_S = 10.0
"""Between exchanges while all stamps are of this machine start."""

TIMEOUT_S = 3.0
MAX_DOMAINS = 64
"""Parsed `clock` properties that are kept."""


class ArrivalClock:
    """Tells arrivals in the clock domain of an object's stamps.

    Args:
        boot_id: Of this machine start, for tests.
        sleeps: Tells a suspend of this machine, for tests.
        now_us: Own CLOCK_MONOTONIC, for tests.
    """

    def __init__(
        self,
        boot_id: str | None = None,
        sleeps: Sleeps | None = None,
        now_us: Callable[[], int] = monotonic_us,
    ) -> None:
        self.boot_id = read_boot_id() if boot_id is None else boot_id
        # The first exchange opens a connection: alone it bounds the offset badly.
        self.estimator = OffsetEstimator(RESYNC_EXCHANGES)
        self.router: ClockDomain | None = None
        """Domain of the router that is measured, from its last answer."""
        self.needed = False
        """Whether stamps of another machine start were met."""
        self.hurry = asyncio.Event()
        """Set when the router must be asked at once."""
        self.stranger = False
        """Whether the last stamps come from another machine start than the measured router's."""
        self._sleeps = sleeps or Sleeps()
        self._now_us = now_us
        self._base_us = wall_us() - now_us()
        self._state = "unknown"
        self._domains: dict[str, ClockDomain | None] = {}

    def answer(self, domain: ClockDomain, t0_us: int, now_us: int, t3_us: int) -> None:
        """Take an answer of the router.

        Args:
            domain: Its clock domain; after another one than before nothing is known until several
                answers agree, so that two routers behind one address never yield a figure.
            t0_us: Own CLOCK_MONOTONIC when it was asked.
            now_us: Its time, Unix µs.
            t3_us: Own CLOCK_MONOTONIC when the answer came.
        """
        self._look()
        if domain != self.router:
            if self.router is not None:
                self.estimator.forget(t0_us)
            self.router = domain
        self.estimator.add(t0_us, now_us, now_us, t3_us)

    def arrival(
        self, clock: str, at_us: int, publish_us: int | None = None
    ) -> tuple[int | None, int | None]:
        """When something arrived, in the domain of its stamps.

        Args:
            clock: Its `clock` property, `<boot_id>:<anchor_us>`; empty when it has none.
            at_us: Own CLOCK_MONOTONIC when it arrived.
            publish_us: The router's stamp of when it was on its way, if any: what arrives before
                that, by more than the error, shows that a clock was stepped.

        Returns:
            Unix µs and the bound on its error in µs; (None, None) when it cannot be known.
        """
        domain = self._domain(clock)
        if domain is None:
            return None, None
        if domain.same_start(self.boot_id):
            self._state = "shared"
            return domain.anchor_us + at_us, 0
        self._state = "measured"
        if not self.needed:
            self.needed = True
            self.hurry.set()
        self.stranger = self.router is not None and not domain.same_start(self.router.boot_id)
        if self.router is None or self.stranger:
            self._state = "unknown"
            return None, None
        self._look()
        offset = self.estimator.at(at_us)
        if offset is None:
            return None, None
        # An older run of the router on the same start counts from another anchor.
        arrival_us = at_us + offset.offset_us + domain.anchor_us - self.router.anchor_us
        if publish_us is not None and arrival_us + offset.error_us < publish_us:
            self._forget()
            return None, None
        return arrival_us, offset.error_us

    def snapshot(self) -> dict[str, Any]:
        """The router's clock against this machine's, for the stamps that were met last.

        Returns:
            `state` shared, measured or unknown; the rest as `OffsetEstimator.snapshot`: the offset
            is that to the wall clock as it was at the start here, and 0 when the clock is shared.
        """
        figures = self.estimator.snapshot(self._now_us(), base_us=self._base_us)
        names = ("offset_us", "error_us", "drift_ppm", "drift_error_ppm")
        if self._state == "shared":
            return {**figures, **dict.fromkeys(names, 0), "state": "shared"}
        if self._state == "unknown":
            return {**figures, **dict.fromkeys(names), "state": "unknown"}
        return figures

    def _look(self) -> None:
        if self._sleeps.again():
            self._forget()

    def _forget(self) -> None:
        self.estimator.forget(self._now_us())
        self.hurry.set()

    def _domain(self, clock: str) -> ClockDomain | None:
        if clock not in self._domains:
            if len(self._domains) >= MAX_DOMAINS:
                self._domains.clear()
            self._domains[clock] = ClockDomain.parse(clock)
        return self._domains[clock]


def total_error_us(own_us: int | None, properties_error: str | None) -> int | None:
    """Bound on the error of a latency: the arrival's plus that of the publisher's stamps.

    Args:
        own_us: The arrival's, None when unknown.
        properties_error: The `clock_error_us` property; None (absent) means unknown.
    """
    if own_us is None or properties_error is None or not properties_error.isdecimal():
        return None
    return own_us + int(properties_error)


def clock_url(router: str) -> str:
    """URL of the clock of a router, from any URL of it.

    Raises:
        UsageError: It is no http or https URL.
    """
    parts = urlsplit(router)
    if parts.scheme not in ("https", "http") or not parts.netloc:
        raise UsageError(f"{router!r} is no router URL.", hint="Write https://HOST:4433/wt.")
    return urlunsplit((parts.scheme, parts.netloc, "/clock", "", ""))


async def measure(
    clock: ArrivalClock,
    router: str,
    *,
    trust: SSLContext | Fingerprint | bool = True,
    now_us: Callable[[], int] = monotonic_us,
    note: Callable[[str], None] = lambda _: None,
) -> None:
    """Keep asking a router for its time until cancelled; a router that is away is asked again.

    Args:
        clock: Takes the answers.
        router: URL of the router.
        trust: How its certificate is checked, as aiohttp's `ssl`.
        now_us: Own CLOCK_MONOTONIC.
        note: Is told once when the router is needed and does not answer, and when it does again;
            and once that it is not the router that the stamps come from.
    """
    from aiohttp import ClientSession, ClientTimeout

    url = clock_url(router)
    quick, resyncs, away, strange = QUICK_EXCHANGES, 0, False, False
    async with ClientSession(timeout=ClientTimeout(total=TIMEOUT_S)) as session:
        while True:
            clock.hurry.clear()
            problem = await _exchange(clock, session, url, trust, now_us)
            if problem and clock.needed and not away:
                what = "the clock error grows" if clock.estimator.known else "latency is unknown"
                note(f"The router's clock does not answer ({problem}): {what}.")
                away = True
            if away and not problem:
                note("The router's clock answers.")
                away = False
            if clock.stranger and not strange:
                note(
                    "The router whose clock is measured runs on another machine than the one that"
                    " the objects come from: latency is unknown. Give that one's URL to --router."
                )
                strange = True
            if resyncs != clock.estimator.resyncs:
                resyncs, quick = clock.estimator.resyncs, QUICK_EXCHANGES
            await _pause(clock, quick=bool(quick) and not problem)
            quick = max(0, quick - 1)


async def _pause(clock: ArrivalClock, *, quick: bool) -> None:
    """Wait until the next exchange is due, or somebody is in a hurry."""
    await asyncio.sleep(QUICK_PAUSE_S)
    if quick:
        return
    try:
        async with asyncio.timeout(STEADY_PAUSE_S if clock.needed else IDLE_PAUSE_S):
            await clock.hurry.wait()
    except TimeoutError:
        pass


async def _exchange(
    clock: ArrivalClock,
    session: ClientSession,
    url: str,
    trust: SSLContext | Fingerprint | bool,
    now_us: Callable[[], int],
) -> str:
    """Ask once; returns what went wrong, or ""."""
    from aiohttp import ClientConnectorError, ClientError, ServerFingerprintMismatch

    try:
        t0_us = now_us()
        async with session.get(url, ssl=trust) as response:
            body: Any = await response.json()
        t3_us = now_us()
        if response.status != 200:
            return f"status {response.status}"
        domain = ClockDomain(str(body["boot_id"]), int(body["anchor_us"]))
        clock.answer(domain, t0_us, int(body["now_us"]), t3_us)
    except ServerFingerprintMismatch as error:
        return f"its certificate has the hash {error.got.hex()}, not the one that is trusted"
    except TimeoutError:
        return f"nothing within {TIMEOUT_S:g} s"
    except ClientConnectorError as error:
        return f"no connection to {error.host}:{error.port}, {error.strerror or 'refused'}"
    except (ClientError, OSError) as error:
        return str(error) or type(error).__name__
    except (KeyError, TypeError, ValueError):
        return "its answer is no clock"
    return ""
