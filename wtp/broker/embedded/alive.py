"""Whether a client still lives, asked when somebody else wants its name or its subscription.

Pulsar answers the newcomer only when it knows: a live holder keeps its place, a silent one loses
its connection and the newcomer is let in (connectionLivenessCheckTimeoutMillis, 5 s).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from wtp.errors import BrokerError

if TYPE_CHECKING:
    from wtp.broker.embedded.consumer import Link

MAX_WAITING = 100
"""Newcomers that wait for one holder's sign of life; more are refused at once."""

Known = Callable[[bool], None]
"""Called with whether the holder lives."""


class Held(BrokerError):
    """Somebody on another connection has what was asked for.

    Attributes:
        holder: That connection; None after it was asked.
    """

    def __init__(self, message: str, *, hint: str, code: str, holder: Link | None) -> None:
        super().__init__(message, hint=hint, code=code)
        self.holder = holder


class AliveCheck:
    """Pings one client for those who want its place.

    Args:
        ping: Asks the client for a sign of life.
        cut: Cuts its connection off; `lost` has to be called once it is gone.
    """

    def __init__(self, ping: Callable[[], None], cut: Callable[[], None]) -> None:
        self._ping = ping
        self._cut = cut
        self._waiting: list[Known] = []
        self._timer: asyncio.TimerHandle | None = None

    def ask(self, timeout_s: float, known: Known) -> None:
        """Find out, within a time; `known` is called exactly once."""
        if len(self._waiting) >= MAX_WAITING:
            known(True)
            return
        self._waiting.append(known)
        if self._timer is None:
            self._ping()
            self._timer = asyncio.get_running_loop().call_later(timeout_s, self._cut)

    def heard(self) -> None:
        """The client sent something."""
        if self._waiting:
            self._tell(alive=True)

    def lost(self) -> None:
        """The connection is gone, and all that it held is free."""
        self._tell(alive=False)

    def _tell(self, *, alive: bool) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, []
        for known in waiting:
            known(alive)
