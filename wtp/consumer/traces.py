"""Hops of sampled objects as OpenTelemetry spans (`--otlp`, the extra `otel`).

Of every track one object in `tracing.every_s` seconds becomes a trace: a span from its capture to
the last that is known of it (receipt, hand-over to the output, decoding, the screen), and below it
a span for each hop between two stamps. Times are those of the stamps, in the router's clock; an
object whose latency, or the error of its latency, is not known is never sampled.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from wtp.clock import monotonic_us
from wtp.config.schema import TracingSettings
from wtp.consumer.hops import PLACES
from wtp.consumer.item import Item, Seen
from wtp.consumer.output import Output, figures_of, seen_by

MAX_TRACKS = 1024
"""Tracks whose last sample is remembered."""

MOST_US = 2**63 // 1000
"""Spans count ns in 64 bits; a publisher may stamp what it likes."""

Point = tuple[str, int]
"""A place of `PLACES` and when the object was there, Unix µs in the router's clock."""


@dataclass(frozen=True, slots=True)
class Journey:
    """The way of one object.

    Attributes:
        points: At least two, in the order of the way; times never fall.
        attributes: What it was.
    """

    points: tuple[Point, ...]
    attributes: dict[str, str | int | bool]


class Collector(Protocol):
    """Takes journeys; never blocks."""

    def send(self, journey: Journey) -> None:
        """Take one."""

    def close(self) -> None:
        """Send what is left, for a moment."""


def traced(output: Output, settings: TracingSettings) -> Output:
    """An output whose objects are sampled on their way.

    Raises:
        MissingLibrary: The extra is not installed.
        UsageError: The endpoint is no URL.
    """
    from wtp.consumer.otlp import OtlpCollector

    return Traced(output, settings.every_s, OtlpCollector(settings.endpoint))


class Traced:
    """An output in front of another one, which it leaves as it is.

    Args:
        output: Where objects go.
        every_s: Least time between two samples of a track.
        collector: Where journeys go.
    """

    def __init__(self, output: Output, every_s: float, collector: Collector) -> None:
        self.inline, self.lossless = output.inline, output.lossless
        self.idle_s = output.idle_s
        self._output, self._collector = output, collector
        self._every_us = round(every_s * 1e6)
        self._last_us: OrderedDict[str, int] = OrderedDict()
        self._sampled: list[tuple[Item, int]] = []

    def open(self) -> None:
        """Open the output."""
        self._output.open()

    def take(self, items: Sequence[Item]) -> list[str]:
        """Hand objects on; remember those that are sampled."""
        take_us = monotonic_us()
        reasons = self._output.take(items)
        self._sampled += [(item, take_us) for item in items if self._wanted(item)]
        return reasons

    def seen(self) -> list[Seen]:
        """What the output has seen of the last objects; now their journeys are complete."""
        seen = seen_by(self._output)
        sampled, self._sampled = self._sampled, []
        for item, take_us in sampled:
            own = next((one for one in seen if one.item is item), None)
            found = journey(item, take_us, own)
            if found is not None:
                self._collector.send(found)
        return seen

    def snapshot(self) -> dict[str, Any]:
        """What the output tells about itself."""
        return figures_of(self._output) or {}

    def idle(self) -> None:
        """Let the output do what is due."""
        self._output.idle()

    def close(self) -> None:
        """Close both."""
        try:
            self._output.close()
        finally:
            self._collector.close()

    def _wanted(self, item: Item) -> bool:
        """Whether an object's latency is known and its track's turn has come."""
        if not item.live or item.latency_us is None or item.clock_error_us is None:
            return False
        at_us = item.message.receive_monotonic_us
        last_us = self._last_us.get(item.track)
        if last_us is not None and at_us - last_us < self._every_us:
            return False
        self._last_us[item.track] = at_us
        self._last_us.move_to_end(item.track)
        if len(self._last_us) > MAX_TRACKS:
            self._last_us.popitem(last=False)
        return True


def journey(item: Item, take_us: int, seen: Seen | None) -> Journey | None:
    """The way of an object; None when its receipt is not known or its stamps contradict each other.

    Args:
        item: It.
        take_us: When the output got it, CLOCK_MONOTONIC.
        seen: When it was decoded and shown, where that is known.
    """
    error_us = item.clock_error_us
    if item.obj is None or item.receive_us is None or error_us is None:
        return None
    shift_us = item.receive_us - item.message.receive_monotonic_us
    own = {"take": take_us}
    if seen is not None:
        own["decode"] = seen.decode_us
        if seen.show_us is not None:
            own["show"] = seen.show_us
    points: list[Point] = []
    for place in PLACES:
        at_us = own[place] + shift_us if place in own else _stamp(item, place)
        if at_us is None:
            continue
        before_us = points[-1][1] if points else at_us
        if not 0 < at_us < MOST_US or at_us < before_us - error_us:
            return None
        points.append((place, max(at_us, before_us)))  # clocks differ by as much as the error
    seq = item.obj.seq
    return Journey(
        tuple(points),
        {
            "wtp.track": item.track,
            "wtp.kind": item.kind,
            "wtp.seq": seq if seq < 2**63 else str(seq),
            "wtp.key": item.obj.key,
            "wtp.size_bytes": item.size_bytes,
            "wtp.clock_error_us": error_us,
        },
    )


def _stamp(item: Item, place: str) -> int | None:
    """A stamp that travelled with an object, or the one of its receipt."""
    name = f"{place}_us"
    if place == "receive" or hasattr(item.obj, name):
        return item.stamp(name)
    text = item.message.properties.get(name, "")
    return int(text) if text.isdecimal() and len(text) < 20 else None
