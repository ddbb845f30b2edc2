"""A line of the buffer metrics: a session's second, in the original's columns.

The original counted messages out of buffers of bytes. Here a "packet" is an object, and the buffer
of a session is what it makes the router hold: bytes of objects that have not arrived whole, and
objects that wait for the broker. `COLUMNS` says of each column what it counts and in which unit.
Counts run from the session's start, unless they are said to be those of the interval (since the
session's line before); a value that is not known, such as a mean of nothing, is empty and never 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from wtp.metrics import Buckets
from wtp.router.route import Route

COLUMNS = (
    ("timestamp", "UTC", "when the line was made, RFC 3339"),
    ("client_id", "", "id of the session, as in the log"),
    ("buffer_size_bytes", "bytes", "held of it: half objects, and objects waiting for the broker"),
    ("max_buffer_size_bytes", "bytes", "largest buffer_size_bytes of its lines, or half objects"),
    ("buffer_overflows", "objects", "dropped because the queue of their track was full"),
    ("packets_total", "objects", "of which at least one byte has arrived"),
    ("packets_complete", "objects", "that have arrived whole"),
    ("packets_fragmented", "objects", "of those, the ones that came in more than one read"),
    ("fragmentation_rate", "0 to 1", "packets_fragmented / packets_complete"),
    ("streams_active", "streams", "incoming streams, control included"),
    ("streams_max_concurrent", "streams", "most of them at once"),
    ("throughput_mbps", "Mbit/s", "10^6 bits of its streams a second (the original: MiB/s)"),
    ("avg_processing_time_ms", "ms", "whole to handed to the broker's client, mean of interval"),
    ("avg_buffer_wait_ms", "ms", "first byte to whole, mean of the interval's objects"),
    ("room", "", "its room"),
    ("publisher", "", "its publisher"),
    ("tracks", "tracks", "it publishes now"),
    ("received_bytes", "bytes", "of its streams, headers included"),
    ("offered", "objects", "= delivered + dropped + in_flight, since its tracks began"),
    ("delivered", "objects", "with the broker's receipt"),
    ("in_flight", "objects", "queued or without receipt"),
    ("dropped", "objects", "by the router, for whatever reason"),
    ("dropped_by", "objects", "the same by reason: queue=3 stall=1"),
    ("queue_objects", "objects", "not yet with the broker's client"),
    ("held_back_bytes", "bytes", "its sender may not send more of: a reliable track is behind"),
    ("receipt_p99_ms", "ms", "handed over to the broker's receipt, 99 % of the interval's"),
    ("interval_s", "s", "length of the interval"),
)
"""Name, unit and meaning of each column; the first fourteen are the original's, in its order."""

HEADER = ",".join(name for name, _, _ in COLUMNS)


@dataclass(slots=True)
class Session:
    """What is counted of one session as it goes; times in µs of CLOCK_MONOTONIC.

    Attributes:
        id: As in the log.
        room: Its room.
        publisher: Its name, once it is known.
        at_us: When its last line was made.
        bytes: Read of its streams.
        whole: Objects that have arrived whole.
        fragmented: Those of them that came in more than one read.
        left: Objects that began to arrive and never will be whole.
        wait_us: From first byte to whole, summed over all objects.
        streams: Incoming streams now.
        most_streams: Most of them at once.
        partial_bytes: Held of half objects now.
        most_bytes: Largest buffer.
        half: Objects that have arrived in part.
        held_back_bytes: Read and not given back as credit.
    """

    id: str
    room: str
    publisher: str
    at_us: int
    bytes: int = 0
    whole: int = 0
    fragmented: int = 0
    left: int = 0
    wait_us: int = 0
    streams: int = 0
    most_streams: int = 0
    partial_bytes: int = 0
    most_bytes: int = 0
    half: int = 0
    held_back_bytes: int = 0
    before: Before = field(default_factory=lambda: Before())


@dataclass(slots=True)
class Before:
    """Sums of a session at its last line."""

    bytes: int = 0
    whole: int = 0
    wait_us: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    waits: Sum = field(default_factory=lambda: Sum())
    receipts: Sum = field(default_factory=lambda: Sum())


class Sum:
    """Latencies of several routes together."""

    def __init__(self, parts: Sequence[Buckets] = ()) -> None:
        self.counts = [sum(column) for column in zip(*(part.counts for part in parts), strict=True)]
        self.sum_us = sum(part.sum_us for part in parts)
        self.max_us = max((part.max_us for part in parts), default=0)

    def since(self, before: Sum) -> Buckets:
        """What came after; all there is when a route with its counts has gone meanwhile."""
        out = Buckets()
        earlier = before.counts or [0] * len(out.counts)
        counts = self.counts or [0] * len(out.counts)
        rest = [now - then for now, then in zip(counts, earlier, strict=True)]
        if min(rest) < 0:
            out.counts, out.sum_us = counts, self.sum_us
        else:
            out.counts, out.sum_us = rest, self.sum_us - before.sum_us
        out.max_us = self.max_us
        return out


def line(session: Session, routes: Sequence[Route], now_us: int, wall_s: float) -> str:
    """A session's line, with its end; begins its next interval.

    Args:
        session: Its counts.
        routes: Those it owns.
        now_us: CLOCK_MONOTONIC.
        wall_s: Unix time.
    """
    before = session.before
    seconds = max(now_us - session.at_us, 1) / 1e6
    dropped = sum((route.ledger.dropped for route in routes), Counter[str]())
    held_bytes = session.partial_bytes + sum(route.queued_bytes for route in routes)
    session.most_bytes = max(session.most_bytes, held_bytes)
    waits = Sum([route.wait for route in routes])
    receipts = Sum([route.receipt for route in routes])
    whole = session.whole - before.whole
    values = (
        stamp(wall_s),
        session.id,
        held_bytes,
        session.most_bytes,
        dropped["queue"],
        session.whole + session.half + session.left,
        session.whole,
        session.fragmented,
        round(session.fragmented / session.whole, 4) if session.whole else None,
        session.streams,
        session.most_streams,
        round((session.bytes - before.bytes) * 8 / 1e6 / seconds, 4),
        waits.since(before.waits).snapshot()["mean_ms"],
        round((session.wait_us - before.wait_us) / whole / 1000, 3) if whole else None,
        session.room,
        session.publisher,
        len(routes),
        session.bytes,
        sum(route.ledger.offered for route in routes),
        sum(route.ledger.delivered for route in routes),
        sum(route.ledger.in_flight for route in routes),
        dropped.total(),
        " ".join(f"{reason}={count}" for reason, count in sorted(dropped.items()) if count),
        sum(route.queued for route in routes),
        session.held_back_bytes,
        receipts.since(before.receipts).snapshot()["p99_ms"],
        round(seconds, 3),
    )
    session.at_us = now_us
    session.before = Before(session.bytes, session.whole, session.wait_us, dropped, waits, receipts)
    # No value can hold a comma: names are checked, reasons are ours.
    return ",".join(["" if value is None else str(value) for value in values]) + "\n"


def new_drops(session: Session, routes: Sequence[Route]) -> dict[str, int]:
    """What was dropped since the session's last line, by reason."""
    dropped = sum((route.ledger.dropped for route in routes), Counter[str]())
    return dict(dropped - session.before.dropped)


def stamp(wall_s: float) -> str:
    """A moment as both files write it: `2026-11-21T21:00:00.123Z`."""
    text = datetime.fromtimestamp(wall_s, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
