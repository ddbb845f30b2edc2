"""One thing that is asked again and again, and whether it answers."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any

from wtp.clock import monotonic_us, wall_us
from wtp.dashboard.budget import Budget, all_threads_us, main_thread_us
from wtp.errors import WtpError

STALE_S = 3.0
"""An answer as old as this says nothing about now."""


class Watched:
    """Something that is asked for its figures, and when it was there.

    Args:
        url: Where it is, as it is shown.
        period_s: From one question to the next, at least.

    Attributes:
        state: `waiting` before the first question is settled, then `up` or `gone`.
        problem: Why there is no answer; empty while there is one.
        error: The last one.
        asked: Questions that were settled, one way or the other.
        pid: Of the process on this machine that answers; 0 when it is not known.
    """

    def __init__(self, url: str, period_s: float = 1.0) -> None:
        self.url = url
        self.state = "waiting"
        self.problem = ""
        self.error: WtpError | None = None
        self.asked = 0
        self.pid = 0
        self.took_ms: float | None = None
        self._shortest_s = period_s
        self._budget = Budget(period_s)
        self._since_us = monotonic_us()
        self._answered_us = 0

    async def follow(self) -> None:
        """Ask until cancelled; no fault of the other side ends it."""
        loop = asyncio.get_running_loop()
        while True:
            began_s = loop.time()
            await self.ask()
            await asyncio.sleep(max(0.1, began_s + self._budget.period_s - loop.time()))

    async def ask(self) -> None:
        """Ask once; what comes of it is seen in `state`, and in `problem` when nothing does."""
        loop = asyncio.get_running_loop()
        began_s, before_us = loop.time(), main_thread_us(self.pid) if self.pid else None
        try:
            await self._ask()
        except WtpError as error:
            self._missed(error.message)
            self.error = error
        except (
            ArithmeticError,
            AttributeError,
            LookupError,
            RecursionError,
            TypeError,
            ValueError,
        ):
            self._missed("its answer makes no sense; it may be another version of wtp")
        else:
            self._answered(loop.time() - began_s)
            if before_us is not None:
                self._weigh(before_us)
        self.asked += 1

    def _weigh(self, before_us: int) -> None:
        """Let the process have more time when answers are a large part of its work."""
        after_us, total_us = main_thread_us(self.pid), all_threads_us(self.pid)
        if after_us is not None and total_us is not None:
            self._budget.take(monotonic_us(), after_us - before_us, total_us)

    async def _ask(self) -> None:
        """Ask once and keep the figures.

        Raises:
            WtpError: There was no answer.
        """
        raise NotImplementedError

    def _lost(self) -> None:
        """Forget the figures: from here on they are unknown."""

    def _answered(self, took_s: float) -> None:
        self.took_ms = round(took_s * 1000, 3)
        self.problem = ""
        self._answered_us = monotonic_us()
        if self.state != "up":
            self.state, self._since_us = "up", self._answered_us

    def _missed(self, problem: str) -> None:
        self.problem, self.took_ms = problem, None
        self._budget = Budget(self._shortest_s)
        if self.state != "gone":
            self.state, self._since_us = "gone", monotonic_us()
        self._lost()

    def fresh(self, now_us: int) -> bool:
        """Whether its figures are those of now."""
        age_s = (now_us - self._answered_us) / 1e6
        return self.state == "up" and age_s < STALE_S + self._budget.period_s

    def presence(self, now_us: int) -> dict[str, Any]:
        """`state`, `since_s` it is in it, `since` (UTC), `problem`, `answer_ms`, `every_s`."""
        since_s = (now_us - self._since_us) / 1e6
        since = dt.datetime.fromtimestamp(wall_us() / 1e6 - since_s, dt.UTC)
        return {
            "state": self.state,
            "since_s": round(since_s, 1),
            "since": since.isoformat(timespec="seconds").replace("+00:00", "Z"),
            "problem": self.problem,
            "answer_ms": self.took_ms,
            "every_s": self._budget.period_s,
        }
