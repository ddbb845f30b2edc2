"""Where the time of objects goes: hops between stamps, from capture to show.

An object's way is cut at every stamp that it carries, so that its hops add up to the whole. A stamp
that is missing joins two hops to one, named after its ends: `capture->send`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wtp.consumer.item import Item
from wtp.metrics import COARSE_BITS, Latency

PLACES = (
    "capture", "encode", "send", "route", "broker", "processor", "process", "publish",
    "receive", "take", "decode", "show",
)  # fmt: skip
"""Where stamps are taken, in the order of the way. `broker` and `processor` are there with topic
processors alone, `process` with any; from `take` on it is the consumer's own way."""

ROUTE, RECEIVE = PLACES.index("route"), PLACES.index("receive")
TAKE, DECODE, SHOW = RECEIVE + 1, RECEIVE + 2, RECEIVE + 3

USUAL = ((0, 1), (1, 2), (2, 3), (3, 7), (7, RECEIVE))
"""Hops that every object has; where nothing was measured they are listed as unknown."""

Hop = tuple[int, int]
"""Two places."""


def hop_name(hop: Hop) -> str:
    """Its two ends: `send->route`."""
    return f"{PLACES[hop[0]]}->{PLACES[hop[1]]}"


class Way:
    """The hops of a track, or of several together.

    Attributes:
        clock_error_us: The largest bound on the error of a way from capture to receipt; None when
            one was unknown.
    """

    def __init__(self) -> None:
        self.clock_error_us: int | None = 0
        self._hops: dict[Hop, Latency] = {}

    def add(self, item: Item) -> None:
        """Count every hop of an object whose two ends are known, up to its receipt.

        Nothing is known about a hop between two clocks whose difference is unknown.
        """
        obj = item.obj
        if obj is None:
            return
        processor_us = broker_us = None
        properties = item.message.properties
        if "processor_us" in properties:
            broker_us, processor_us = (
                _number(properties, n) for n in ("broker_us", "processor_us")
            )
        start, start_us = -1, 0
        for place, at_us in enumerate(
            (
                obj.capture_us, obj.encode_us, obj.send_us, obj.route_us, broker_us, processor_us,
                obj.process_us, obj.publish_us, item.receive_us,
            )
        ):  # fmt: skip
            if at_us is None:
                continue
            if start >= 0 and (start >= ROUTE or place < ROUTE or item.synced):
                self.count((start, place), at_us - start_us)
            start, start_us = place, at_us
        if obj.capture_us is not None and start == RECEIVE:
            self.clock_error_us = larger(self.clock_error_us, item.clock_error_us)

    def count(self, hop: Hop, value_us: int) -> None:
        """Count one hop of one object."""
        found = self._hops.get(hop)
        if found is None:
            found = self._hops[hop] = Latency(COARSE_BITS)
        found.add(value_us)

    def merge(self, other: Way) -> None:
        """Count all that another one has counted."""
        self.clock_error_us = larger(self.clock_error_us, other.clock_error_us)
        for hop, theirs in other._hops.items():
            self._hops.setdefault(hop, Latency(COARSE_BITS)).merge(theirs)

    def by_name(self) -> dict[str, Latency]:
        """The hops that were measured, in the order of the way."""
        return {hop_name(hop): self._hops[hop] for hop in sorted(self._hops)}

    def snapshot(self, *, whole: bool) -> dict[str, dict[str, Any]]:
        """Every hop in the order of the way.

        Args:
            whole: Whether the way begins at capture: only then shares of it are known.

        Returns:
            By name: figures as of `Latency`, `mean_ms`, and `share`, the mean's part of the sum of
            means; None where nothing is known. A hop that some objects do not take (they were
            processed, or went by) counts as often as it was taken.
        """
        parts_us = self._parts_us()
        sum_us = sum(parts_us.values())
        out = {}
        for hop in sorted({*self._hops, *self._unknown()}):
            figures = self._hops.get(hop) or Latency(COARSE_BITS)
            mean_us = figures.mean_us
            out[hop_name(hop)] = {
                **figures.snapshot(),
                "mean_ms": None if mean_us is None else round(mean_us / 1000, 3),
                "share": round(parts_us[hop] / sum_us, 4)
                if whole and sum_us and figures.n
                else None,
            }
        return out

    def _parts_us(self) -> Mapping[Hop, float]:
        """What each hop adds to the mean of the whole."""
        travelled = max((one.n for hop, one in self._hops.items() if hop[1] <= RECEIVE), default=0)
        return {
            hop: one.sum_us / (travelled if hop[1] <= RECEIVE else one.n)
            for hop, one in self._hops.items()
        }

    def _unknown(self) -> list[Hop]:
        """The usual hops of which no part was measured."""
        return [
            (start, end)
            for start, end in USUAL
            if not any(first < end and last > start for first, last in self._hops)
        ]


def larger(one_us: int | None, other_us: int | None) -> int | None:
    """The larger of two errors; one that is unknown makes both so."""
    return None if one_us is None or other_us is None else max(one_us, other_us)


def error_ms(error_us: int | None, *, known: bool) -> float | None:
    """An error for a snapshot; None when it, or what it is an error of, is unknown."""
    return error_us / 1000 if known and error_us is not None else None


def _number(properties: Mapping[str, str], name: str) -> int | None:
    text = properties.get(name, "")
    return int(text) if text.isdecimal() and len(text) < 20 else None
