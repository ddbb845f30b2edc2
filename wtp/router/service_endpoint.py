"""One HTTP processor of a kind: its circuit, its requests, what it answered so far."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from wtp.config.schema import ServiceDefaults, ServiceSettings
from wtp.router.service_circuit import LONGEST_WISH_S, Circuit, State
from wtp.router.service_client import Answer, Fault, shown
from wtp.wire.process import Format

log = logging.getLogger("wtp.router")


RECENT = 1000
"""Latencies that percentiles are taken of."""


class Recent:
    """The last latencies: percentiles of now, without a histogram's library in the router."""

    def __init__(self) -> None:
        self.n = 0
        self._last_us: deque[int] = deque(maxlen=RECENT)

    def add(self, value_us: int) -> None:
        """Count one latency."""
        self.n += 1
        self._last_us.append(value_us)

    def snapshot(self) -> dict[str, Any]:
        """`n` of all, `p50_ms` and `p99_ms` of the last thousand (None while there are none)."""
        values = sorted(self._last_us)

        def at(part: float) -> float | None:
            return round(values[int(part * (len(values) - 1))] / 1000, 3) if values else None

        return {"n": self.n, "p50_ms": at(0.5), "p99_ms": at(0.99)}


@dataclass(frozen=True, slots=True)
class Rules:
    """The settings of a kind's processors with the defaults filled in.

    Attributes:
        urls: Of the processors.
        data_format: Form of request and answer.
        max_retries: Of one live object.
        timeout_s: Of one try.
        in_flight: Requests with one processor at once.
        breaker_failures: In a row, that open a circuit.
        breaker_s: How long it stays open.
    """

    urls: tuple[str, ...]
    data_format: Format
    max_retries: int
    timeout_s: float
    in_flight: int
    breaker_failures: int
    breaker_s: float

    @classmethod
    def of(cls, service: ServiceSettings, defaults: ServiceDefaults) -> Rules:
        """Fill what a service leaves open from the defaults."""
        retries, timeout = service.max_retries, service.timeout
        return cls(
            urls=tuple(dict.fromkeys(service.all_urls)),
            data_format=service.data_format,
            max_retries=defaults.max_retries if retries is None else retries,
            timeout_s=defaults.timeout if timeout is None else timeout,
            in_flight=defaults.in_flight,
            breaker_failures=defaults.breaker_failures,
            breaker_s=defaults.breaker_s,
        )


class Endpoint:
    """One URL.

    Args:
        url: Of the processor.
        rules: What holds for it.
        now: Monotonic seconds.
    """

    def __init__(self, url: str, rules: Rules, now: Callable[[], float]) -> None:
        self.url = url
        self.rules = rules
        self.circuit = Circuit(rules.breaker_failures, rules.breaker_s)
        self.in_flight = 0
        self.latency = Recent()
        """From request to answer, of tries that were answered."""
        self.counts: Counter[str] = Counter()
        """Tries by their end: `answered` or the reason of a fault."""
        self._now = now
        self._last_error = ""
        self._waiting: dict[Callable[[], None], None] = {}

    @property
    def full(self) -> bool:
        """Whether no more requests may go out now."""
        return self.in_flight >= self.rules.in_flight

    def configure(self, rules: Rules) -> None:
        """Take other rules; tries that are out keep theirs."""
        self.rules = rules
        self.circuit.configure(rules.breaker_failures, rules.breaker_s)

    def wait(self, wake: Callable[[], None]) -> None:
        """Call `wake` once when a request has ended."""
        self._waiting[wake] = None

    def begin(self) -> float:
        """A request goes out; returns when."""
        now_s = self._now()
        self.in_flight += 1
        self.circuit.begin(now_s)
        return now_s

    def end(self, result: Answer | Fault | None, began_s: float) -> None:
        """A request has ended; None when it was given up."""
        self.in_flight -= 1
        now_s = self._now()
        before = self.circuit.state(now_s)
        if result is None:
            self.circuit.withdraw()
        elif isinstance(result, Fault) and result.passing:
            self._failed(result, now_s)
        else:
            self.circuit.succeed()
            name = result.reason if isinstance(result, Fault) else "answered"
            self.counts[name] += 1
            self.latency.add(round((now_s - began_s) * 1e6))
        self._tell(before, self.circuit.state(now_s))
        waiting, self._waiting = self._waiting, {}
        for wake in waiting:
            wake()

    def _failed(self, fault: Fault, now_s: float) -> None:
        self.counts[fault.reason] += 1
        self._last_error = fault.message
        self.circuit.fail(now_s)
        if fault.rest_s:
            self.circuit.rest(now_s + min(fault.rest_s, LONGEST_WISH_S))

    def _tell(self, before: State, after: State) -> None:
        if before is State.CLOSED and after is State.OPEN:
            log.warning("processor %s gets nothing for now: %s", shown(self.url), self._last_error)
        elif before is not State.CLOSED and after is State.CLOSED:
            log.info("processor %s answers again", shown(self.url))

    def snapshot(self) -> dict[str, Any]:
        """Its state in plain values; latencies in ms."""
        return {
            "circuit": self.circuit.state(self._now()).value,
            "opened": self.circuit.opened,
            "in_flight": self.in_flight,
            "tries": dict(self.counts),
            "last_error": self._last_error,
            **self.latency.snapshot(),
        }
