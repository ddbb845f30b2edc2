"""Keeps a session with the router for as long as the publisher runs.

The first session must come within `START_S`, or the command fails with what is wrong. From then on
a lost session is opened again for ever, with a back-off that stays below a second, so that the
publisher is back about a second after the router.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from wtp.clock import Clock, read_boot_id
from wtp.errors import BrokerError, BrokerUnavailable, ConnectionFailed, WtpError
from wtp.publisher.active import Active
from wtp.publisher.outgoing import Outgoing
from wtp.publisher.session import Conversation
from wtp.publisher.steering import Helm
from wtp.transport.client import connect
from wtp.transport.session import Session, SessionEvents
from wtp.transport.trust import Trust

START_S = 5.0
"""How long the first session may take."""
TAKEN_S = 15.0
"""How long a router that answers may take for the tracks: it may have to create the room and to
wait for its broker."""
ATTEMPT_S = 1.0
"""How long a later attempt may take; a fresh one finds a router that came back sooner than the
growing retransmission timer of an old one."""
FIRST_WAIT_S, LAST_WAIT_S = 0.1, 1.0
SETTLED_S = 5.0
"""A session that lasted as long resets the back-off."""
DRAIN_S = 2.0
CLOSE_S = 1.5

PASSING = frozenset({"no-answer", "nothing-listens", "session-closed"})
"""Failures that a router about to start can mend."""

_log = logging.getLogger(__name__)


class Connect(Protocol):
    """The transport's `connect`."""

    def __call__(
        self,
        url: str,
        events: Callable[[Session], SessionEvents],
        trust: Trust,
        *,
        timeout: float,
        mtu: int,
    ) -> Awaitable[Session]:
        """Open a session."""
        ...


@dataclass(frozen=True, slots=True)
class Target:
    """Where to go and who to be there.

    Attributes:
        url: The router's, with the room in its query.
        shown_url: The same without what must not be shown.
        name: The publisher's name.
        instance: Of this run.
        trust: How to judge the router's certificate; asked before every attempt.
        mtu: UDP payload size in bytes; 0 probes it.
        wait: Wait for the first session as long as it takes.
    """

    url: str
    shown_url: str
    name: str
    instance: str
    trust: Callable[[], Trust]
    mtu: int = 0
    wait: bool = False


class Connection:
    """The session of a publisher, opened again whenever it is lost.

    Args:
        target: Where and who.
        tracks: What is published.
        clock: Own clock; takes over the router's domain at the first session, if it may.
        connect_with: The transport's `connect`, for tests.

    Attributes:
        state: `connecting`, `live`, `reconnecting` or `closed`.
        reconnects: Sessions after the first.
        usable: Set once every track was taken by the first session.
    """

    def __init__(
        self,
        target: Target,
        tracks: Mapping[int, Outgoing],
        clock: Clock,
        *,
        connect_with: Connect = connect,
    ) -> None:
        self.state = "connecting"
        self.reconnects = 0
        self.usable = asyncio.Event()
        self._target = target
        self._tracks = tracks
        self._helm = Helm(tracks.values(), clock)
        self._clock = clock
        self._connect = connect_with
        self._boot_id = read_boot_id()
        self._active: Active | None = None
        self._closing = asyncio.Event()
        self._round_trip_ms = 0.0
        self._jitter = secrets.SystemRandom()
        self._said = ""

    async def run(self) -> None:
        """Connect, and connect again, until `close`.

        Raises:
            ConnectionFailed: No first session within five seconds, or none is possible.
            Refused: The router refuses the publisher or a track.
            BrokerUnavailable: The router has no broker to take a reliable track.
        """
        loop = asyncio.get_running_loop()
        wait_s = FIRST_WAIT_S
        deadline = loop.time() + START_S
        try:
            while not self._closing.is_set():
                began = loop.time()
                await self._session(deadline)
                if self._closing.is_set():
                    return
                if loop.time() - began > SETTLED_S:
                    wait_s = FIRST_WAIT_S
                await self._pause(wait_s * self._jitter.uniform(0.8, 1.2))
                wait_s = min(2 * wait_s, LAST_WAIT_S)
        finally:
            self.state = "closed"
            if self._active is not None:
                self._active.lose("the publisher ended")

    async def finish(self, timeout_s: float) -> bool:
        """Flush and close the session; no other follows.

        Returns:
            Whether the router has handed on all that was sent.

        Raises:
            BrokerError: All is done, and some objects were refused for good.
        """
        done = await self._finish(timeout_s)
        refused = [track for track in self._tracks.values() if track.refused]
        if refused:
            count, names = sum(t.refused for t in refused), ", ".join(t.spec.name for t in refused)
            raise BrokerError(
                f"{count} object{'s' * (count > 1)} of {names} "
                f"{'were' if count > 1 else 'was'} refused; all others are delivered.",
                hint="The warning above says why.",
                code="objects-refused",
            )
        return done

    async def _finish(self, timeout_s: float) -> bool:
        self._closing.set()
        active = self._active
        if active is None or active.over.is_set() or active.session is None:
            return False
        done = await active.flush(timeout_s)
        session = active.session
        active.lose("done" if done else "done, not everything was flushed")
        try:
            async with asyncio.timeout(CLOSE_S):
                await session.wait_closed()
        except TimeoutError:
            pass
        return done

    def snapshot(self) -> dict[str, Any]:
        """State, round trip, clock and packet figures as plain values."""
        active = self._active
        out: dict[str, Any] = {"state": self.state, "reconnects": self.reconnects}
        if active is None or active.session is None:
            return out
        conversation, stats = active.conversation, active.session.stats
        offset = conversation.offset
        return {
            **out,
            "session": conversation.welcome.session if conversation.welcome else "",
            "rtt_ms": round(stats.rtt_ms, 3),
            "min_rtt_ms": round(stats.min_rtt_ms, 3),
            "packets_lost": stats.packets_lost,
            "packet_bytes": stats.datagram_bytes,
            "sent_bytes": stats.bytes_sent,
            **self._helm.snapshot(),
            "clock": conversation.clock(),
            "clock_error_us": None if offset is None else offset.error_us,
        }

    async def _session(self, deadline: float) -> None:
        """One session from its opening to its end; returns also when it could not be opened."""
        first = not self.usable.is_set()
        try:
            active = await self._open(deadline if first else None)
        except WtpError as error:
            if first and not self._may_wait(error, deadline):
                raise
            if first and not self._target.wait:  # the error at the end says why
                self._say(
                    f"No session with {self._target.shown_url} yet; trying for {START_S:g} s."
                )
            else:
                self._say(error.message)
            return
        if active is None:
            return
        caring = asyncio.create_task(self._care(active))
        try:
            if first:
                await self._all_taken(active, deadline)
            else:
                self.reconnects += 1
            await self._until_over(active)
        finally:
            caring.cancel()
            (fault,) = await asyncio.gather(caring, return_exceptions=True)
            if isinstance(fault, Exception):
                _log.error("A fault while watching the session.", exc_info=fault)
            if not self._closing.is_set():
                active.lose("given up")
        self.state = "connecting" if not self.usable.is_set() else "reconnecting"
        if active.failure is not None and (first or active.conversation.welcome is not None):
            raise active.failure
        if (
            first
            and not self.usable.is_set()
            and not self._may_wait(lost := _lost(active), deadline)
        ):
            raise lost
        if not self._closing.is_set():
            self._say(f"The session was lost: {active.reason}; connecting again.")

    async def _care(self, active: Active) -> None:
        """Watch the session, and make the tracks follow what it carries."""
        assert active.session is not None  # noqa: S101 - it was started
        steering = asyncio.create_task(self._helm.steer(active.session))
        try:
            await active.watch()
        finally:
            steering.cancel()
            (fault,) = await asyncio.gather(steering, return_exceptions=True)
            if isinstance(fault, Exception):
                _log.error("A fault while following the network.", exc_info=fault)

    async def _open(self, deadline: float | None) -> Active | None:
        """Open a session; None when the publisher is to end meanwhile."""
        loop = asyncio.get_running_loop()
        active = Active(
            Conversation(
                self._target.name,
                self._target.instance,
                [track.spec for track in self._tracks.values()],
                self._clock,
                boot_id=self._boot_id,
                adopt=not self.usable.is_set(),
            ),
            self._tracks,
            self._clock,
        )
        timeout = ATTEMPT_S + 4 * self._round_trip_ms / 1000
        if deadline is not None:
            timeout = START_S if self._target.wait else max(0.2, deadline - loop.time())
        opening = asyncio.create_task(self._attempt(active, timeout))
        closing = asyncio.create_task(self._closing.wait())
        try:
            await asyncio.wait({opening, closing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            closing.cancel()
            if not opening.done():
                opening.cancel()
                await asyncio.gather(opening, return_exceptions=True)
        if opening.cancelled():
            return None
        active.start(opening.result())
        self._active = active
        return active

    async def _attempt(self, active: Active, timeout: float) -> Session:
        target = self._target
        return await self._connect(
            target.url, lambda _: active, target.trust(), timeout=timeout, mtu=target.mtu
        )

    async def _all_taken(self, active: Active, deadline: float) -> None:
        """Wait until the router has taken every track.

        Raises:
            BrokerUnavailable: It has not, in time, although it answers.
        """
        began = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout_at(None if self._target.wait else deadline) as limit:
                while len(active.attached) < len(self._tracks):
                    if active.over.is_set() or active.failure or self._closing.is_set():
                        return
                    if active.conversation.welcome and not self._target.wait:
                        limit.reschedule(max(deadline, began + TAKEN_S))
                    active.changed.clear()
                    await either(active.changed, self._closing)
        except TimeoutError:
            raise self._not_taken(active) from None
        self.usable.set()

    def _not_taken(self, active: Active) -> WtpError:
        if active.conversation.welcome is None:
            return ConnectionFailed(
                "The router took the connection and does not answer.",
                hint="Look at the router's log; is it a wtp router?",
            )
        missing = sorted(
            track.spec.name for alias, track in self._tracks.items() if alias not in active.attached
        )
        return BrokerUnavailable(
            f"The router has not taken {', '.join(missing)}: it may have no broker.",
            hint="Look at the router's log, or give --wait.",
        )

    async def _until_over(self, active: Active) -> None:
        """Stay until the session is over, the router drains or a track is refused for good."""
        if active.attached or self.usable.is_set():
            self.state = "live"
            if self.reconnects and self._said:
                _log.info("Connected to the router again.")
                self._said = ""
        while not active.over.is_set() and active.failure is None:
            active.changed.clear()
            await either(active.changed, active.draining)
            self._round_trip_ms = active.round_trip_ms
            if active.draining.is_set() and not self._closing.is_set():
                await active.flush(DRAIN_S)
                active.lose("the router is leaving")

    def _may_wait(self, error: WtpError, deadline: float) -> bool:
        """Whether a failure before the first session is worth another attempt."""
        if not isinstance(error, (ConnectionFailed, BrokerUnavailable)):
            return False
        if isinstance(error, ConnectionFailed) and error.code not in PASSING:
            return False
        return self._target.wait or asyncio.get_running_loop().time() < deadline

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._closing.wait()
        except TimeoutError:
            pass

    def _say(self, sentence: str) -> None:
        """Log a failure once, not at every attempt."""
        if sentence != self._said:
            self._said = sentence
            _log.warning("%s", sentence)


def _lost(active: Active) -> ConnectionFailed:
    return ConnectionFailed(
        f"The router ended the session: {active.reason}.",
        hint="Look at the router's log.",
        code="session-closed",
    )


async def either(first: asyncio.Event, second: asyncio.Event) -> None:
    """Wait until one of two events is set."""
    tasks = [asyncio.create_task(event.wait()) for event in (first, second)]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
