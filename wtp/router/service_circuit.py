"""When a processor is asked again: a circuit breaker and pauses between tries. Pure values."""

from __future__ import annotations

from enum import StrEnum

FIRST_PAUSE_S, LAST_PAUSE_S = 0.05, 2.0
"""Upper bound of the pause before the first retry; it doubles up to the last."""

LONGEST_WISH_S = 10.0
"""A processor that asks (Retry-After) for a longer rest is asked again after this."""


class State(StrEnum):
    """Of a circuit (Nygard, Release It!, chapter 5)."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Circuit:
    """Keeps requests away from a processor that fails.

    Closed until `failures` in a row; then open for `open_s`, after which one request may try. Its
    success closes the circuit, its failure opens it again.

    Args:
        failures: In a row, that open it.
        open_s: How long it stays open.
    """

    def __init__(self, failures: int, open_s: float) -> None:
        self.opened = 0
        """How often it went from closed to open."""
        self._most = failures
        self._open_s = open_s
        self._failures = 0
        self._until_s: float | None = None
        self._rest_until_s = 0.0
        self._trying = False

    def configure(self, failures: int, open_s: float) -> None:
        """Take other limits; they hold from the next failure on."""
        self._most, self._open_s = failures, open_s

    def state(self, now_s: float) -> State:
        """What it is at that time (any monotonic clock, in seconds)."""
        if self._until_s is None:
            return State.CLOSED
        return State.OPEN if now_s < self._until_s else State.HALF_OPEN

    def allows(self, now_s: float) -> bool:
        """Whether a request may go now."""
        if now_s < self._rest_until_s:
            return False
        state = self.state(now_s)
        return state is State.CLOSED or (state is State.HALF_OPEN and not self._trying)

    def again_s(self, now_s: float) -> float:
        """When it is worth asking again; now for a closed one."""
        wait_s = max(now_s, self._rest_until_s)
        return wait_s if self._until_s is None else max(wait_s, self._until_s)

    def begin(self, now_s: float) -> None:
        """A request goes out."""
        self._trying = self.state(now_s) is State.HALF_OPEN

    def succeed(self) -> None:
        """The processor answered as it should."""
        self._failures = 0
        self._until_s = None
        self._trying = False

    def fail(self, now_s: float) -> None:
        """The processor did not."""
        self._failures += 1
        self._trying = False
        if self._failures >= self._most:
            self.opened += self._until_s is None
            self._until_s = now_s + self._open_s

    def rest(self, until_s: float) -> None:
        """The processor asked for a rest."""
        self._rest_until_s = max(self._rest_until_s, until_s)

    def withdraw(self) -> None:
        """A request was given up without an answer of either sort."""
        self._trying = False


def pause_s(attempt: int, chance: float) -> float:
    """Exponential back-off with full jitter (Brooker, "Exponential Backoff And Jitter", 2015).

    Args:
        attempt: Tries so far, from 1.
        chance: A random number from 0 to 1.

    Returns:
        Seconds to wait before the next try.
    """
    return chance * float(min(LAST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(attempt - 1, 20)))
