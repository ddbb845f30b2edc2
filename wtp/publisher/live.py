"""A live track: the newest matters. One stream per group; what waits too long is dropped whole.

Of sound every object can be decoded by itself, but a stream for each would cost the router more
than the sound itself: half a second of objects is a group and shares a stream.

While objects wait longer than `STALL_MS` for the peer, non-key objects are dropped, and everything
up to the next key object with them, since nothing else could be decoded. A key object that still
finds a backlog resets the streams of older groups. After a drop the encoder is asked for a key.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from wtp.clock import Clock
from wtp.errors import ConnectionFailed, Refused
from wtp.metrics import Ledger
from wtp.model import Kind, Object
from wtp.publisher.outgoing import (
    NO_SESSION,
    QUEUE,
    SESSION_LOST,
    STALE_GROUP,
    TOO_LARGE,
    Line,
    Streams,
)
from wtp.publisher.rate import Rate
from wtp.publisher.session import TrackSpec
from wtp.publisher.unit import Steering, Unit
from wtp.transport.session import LIVE, URGENT
from wtp.wire import StreamType
from wtp.wire.objects import encode_head

__all__ = ["LiveTrack", "Steering", "Unit"]

STALL_MS = 500
"""Waiting time after which the backlog of a live track is stale (DESIGN, section 3)."""
MAX_BACKLOG_BYTES = 8 * 1024 * 1024
"""Twice the largest object: bounds memory whatever the clock says."""
MAX_STREAMS = 48
"""Streams of one track under way; cost per UDP packet grows with them (notes on QUIC)."""
SOUND_GROUP_US = 500_000
"""How much sound shares a stream: no more than may be stale at once."""
DROPPED_GROUP = 1
"""Reset code of a stream whose group was dropped."""


@dataclass(slots=True)
class _Group:
    """A stream under way: what was written to it and when."""

    stream: int
    began_us: int = 0
    written: int = 0
    ended: bool = False
    objects: deque[tuple[int, int]] = field(default_factory=deque)
    """(bytes up to its end, time sent in µs) of each object not known to be acknowledged."""

    def settle(self, backlog: int) -> None:
        """Forget the objects that are acknowledged whole."""
        acknowledged = self.written - backlog
        while self.objects and self.objects[0][0] <= acknowledged:
            self.objects.popleft()


class LiveTrack:
    """A track of a live kind.

    Args:
        spec: What `publish` announces.
        clock: Own clock.
        want_key: Asks the encoder for a key object as soon as possible.

    Attributes:
        ledger: Offered = delivered (counted by the router) + dropped + in flight.
        sent: Objects written in this session to streams that were not reset.
        refused: None: the router drops and counts live objects without asking.
        router: The router's last counts.
        steering: How it follows the network, None when it does not.
    """

    def __init__(self, spec: TrackSpec, clock: Clock, want_key: Callable[[], None]) -> None:
        self.spec = spec
        self.ledger = Ledger()
        self.sent = 0
        self.refused = 0
        self.router: Mapping[str, int] = {}
        self.steering: Steering | None = None
        self._clock = clock
        self._want_key = want_key
        self._line: Line | None = None
        self._groups: deque[_Group] = deque()
        self._seq = 0
        self._group = 0
        self._skipping = NO_SESSION
        self._finished = False
        self._asked_key = False
        self._received = 0
        self._unconfirmed = 0
        self._stale = 0
        self._rate = Rate()
        self._sound = spec.kind is Kind.AUDIO

    @property
    def pending(self) -> int:
        """Nothing: what a session lost is lost."""
        return 0

    def offer(self, unit: Unit) -> None:
        """Send one object, or drop it and count why."""
        self._seq += 1
        self._group += unit.key and not self._sound
        self.ledger.offer(len(unit.payload))
        now_us = self._clock.now_us()
        self._rate.add(now_us, len(unit.payload))
        reason = self._refusal(unit, now_us)
        if reason:
            self._skip(reason)
            self.ledger.drop(reason)
            return
        self._skipping = ""
        self._asked_key = False
        self._send(unit, now_us)

    def lose(self, count: int) -> None:
        """Count objects that never came here, because the loop was too slow to take them."""
        for _ in range(count):
            self._seq += 1
            self.ledger.offer()
        self.ledger.drop(QUEUE, count)
        if count:
            self._skip(QUEUE)

    def attach(self, line: Line, last_seq: int) -> None:
        """The router took the track."""
        self._line = line
        self._finished = False
        self.sent = self._received = self._unconfirmed = self._stale = 0
        self._asked_key = False
        if self._seq:
            self._ask_key()

    def detach(self) -> None:
        """The session is over: what nobody confirmed counts as lost."""
        self._line = None
        self._groups.clear()
        self._skipping = NO_SESSION
        self.ledger.drop(SESSION_LOST, self._unconfirmed)
        self._unconfirmed = self._stale = 0

    def receipt(self, up_to_seq: int) -> None:
        """Live objects have no receipts."""

    def rejected(self, seq: int, code: str, message: str) -> None:
        """Live objects are never refused one by one."""

    def counted(self, counts: Mapping[str, int], *, final: bool) -> None:
        """Take the router's counts: `received` objects are delivered."""
        self.router = counts
        new = counts.get("received", 0) - self._received
        if new > 0:
            self._received += new
            known = min(new, self._unconfirmed)
            self._unconfirmed -= known
            self.ledger.deliver(known)
            self._recall(min(new - known, self._stale))
        if final:
            self.ledger.drop(STALE_GROUP if self._stale else SESSION_LOST, self._unconfirmed)
            self._unconfirmed = 0

    def writable(self) -> None:
        """Nothing waits here."""

    def stopped(self, stream: int) -> bool:
        """The router wants no more of a stream: its group ends here."""
        for group in self._groups:
            if group.stream == stream:
                self._lose_group(group)
                self._groups.remove(group)
                self._skip(STALE_GROUP)
                break
        return False

    def ask_key(self) -> None:
        """Somebody needs a key object: ask the encoder, whatever was asked before."""
        self._want_key()

    def shed(self) -> None:
        """Drop what waits and begin afresh: sent now, it would come too late."""
        if self._line is None or self._finished:
            return
        self._settle()
        if any(group.objects for group in self._groups):
            self._drop_groups()
            self._skip(STALE_GROUP)
            self._ask_key()

    def oldest_us(self) -> int | None:
        """When the oldest object that is not acknowledged was sent; None without one."""
        if self._line is None:
            return None
        self._settle()
        return min((g.objects[0][1] for g in self._groups if g.objects), default=None)

    @property
    def backlog_bytes(self) -> int:
        """Bytes that the peer has not acknowledged."""
        return self._backlog_bytes()

    @property
    def bitrate_bps(self) -> float:
        """What was offered over the last two seconds."""
        return self._rate.per_second(self._clock.now_us())[1]

    def finish(self) -> None:
        """End the open group."""
        self._end_group()
        self._finished = True
        self._skipping = NO_SESSION

    def close(self) -> None:
        """Everything was settled by `detach`."""

    def snapshot(self) -> dict[str, Any]:
        """Counts, rates over the last two seconds, and what waits for the peer."""
        per_second, bits = self._rate.per_second(self._clock.now_us())
        return {
            "kind": self.spec.kind.value,
            "content_type": self.spec.content_type,
            **self.ledger.snapshot(),
            "fps": round(per_second, 2),
            "bitrate_bps": round(bits),
            "queue_bytes": self._backlog_bytes(),
            "queue_objects": sum(len(group.objects) for group in self._groups),
            "router": dict(self.router),
            **self._steered(),
        }

    def _steered(self) -> dict[str, Any]:
        steering = self.steering
        if steering is None:
            return {}
        return {
            "target_bitrate_bps": steering.target_bps or steering.ceiling_bps,
            "every_nth": steering.every_nth,
            "limited_by": steering.reason,
        }

    def _recall(self, count: int) -> None:
        """Objects of a reset stream did arrive: they were dropped too early in the books."""
        if count:
            self._stale -= count
            self.ledger.dropped[STALE_GROUP] -= count
            self.ledger.delivered += count

    def _refusal(self, unit: Unit, now_us: int) -> str:
        """Why an object cannot be sent; empty when it can."""
        if self._line is None or self._finished:
            return NO_SESSION
        if len(unit.payload) > self.spec.kind.max_bytes:
            return TOO_LARGE
        self._settle()
        if unit.key:
            if self._stalled(now_us, STALL_MS):
                self._drop_groups()
            return ""
        if self._skipping:
            if not self._stalled(now_us, STALL_MS // 2):
                self._ask_key()
            return self._skipping
        return QUEUE if self._stalled(now_us, STALL_MS) else ""

    def _stalled(self, now_us: int, limit_ms: int) -> bool:
        """Whether the oldest unacknowledged object has waited too long, or too much waits."""
        if len(self._groups) > MAX_STREAMS or self._backlog_bytes() > MAX_BACKLOG_BYTES:
            return True
        oldest_us = min((g.objects[0][1] for g in self._groups if g.objects), default=now_us)
        round_trip_ms = self._line.round_trip_ms if self._line else 0.0
        return now_us - oldest_us > 1000 * max(limit_ms, 2 * round_trip_ms)

    def _settle(self) -> None:
        streams = self._streams()
        for group in self._groups:
            group.settle(streams.backlog(group.stream))
        while self._groups and self._groups[0].ended and not self._groups[0].objects:
            self._groups.popleft()

    def _drop_groups(self) -> None:
        """Reset every stream with unacknowledged objects, end the others."""
        streams = self._streams()
        for group in self._groups:
            if group.objects:
                streams.reset(group.stream, DROPPED_GROUP)
                self._lose_group(group)
            elif not group.ended:
                streams.send(group.stream, b"", True)
        self._groups.clear()

    def _lose_group(self, group: _Group) -> None:
        lost = min(len(group.objects), self._unconfirmed)
        self.sent -= len(group.objects)
        self._unconfirmed -= lost
        self._stale += lost
        self.ledger.drop(STALE_GROUP, lost)

    def _send(self, unit: Unit, now_us: int) -> None:
        assert self._line is not None  # noqa: S101 - `_refusal` looked
        shift = self._line.shift_us
        try:
            group = self._stream_for(unit.key, now_us)
        except (Refused, ConnectionFailed) as error:
            reason = QUEUE if isinstance(error, Refused) else NO_SESSION
            self._skip(reason)
            self.ledger.drop(reason)
            return
        obj = Object(
            kind=self.spec.kind,
            seq=self._seq,
            group=self._group,
            key=unit.key,
            payload=unit.payload,
            capture_us=None if unit.capture_us is None else unit.capture_us + shift,
            encode_us=None if unit.encode_us is None else unit.encode_us + shift,
            send_us=now_us + shift,
            duration_us=unit.duration_us,
        )
        data = encode_head(self.spec.alias, obj) + unit.payload
        if not group.written:
            data = bytes([StreamType.OBJECTS]) + data
        alone = self.spec.content_type == "image/jpeg"
        self._streams().send(group.stream, data, alone)
        group.ended = alone
        group.written += len(data)
        group.objects.append((group.written, now_us))
        self.sent += 1
        self._unconfirmed += 1

    def _stream_for(self, key: bool, now_us: int) -> _Group:
        """The group's stream: a new one for a key object, of sound after half a second.

        Raises:
            Refused: The peer gives no stream.
            ConnectionFailed: The session is just over.
        """
        if self._groups and not self._groups[-1].ended:
            fresh = now_us - self._groups[-1].began_us < SOUND_GROUP_US
            if fresh if self._sound else not key:
                return self._groups[-1]
        self._end_group()
        before = self._groups[-1].stream if self._groups else None
        rank = URGENT if self._sound else LIVE
        group = _Group(self._streams().open_stream(rank, before), now_us)
        self._group += self._sound
        self._groups.append(group)
        return group

    def _end_group(self) -> None:
        if self._groups and not self._groups[-1].ended:
            self._groups[-1].ended = True
            self._streams().send(self._groups[-1].stream, b"", True)

    def _streams(self) -> Streams:
        assert self._line is not None  # noqa: S101 - callers look first
        return self._line.streams

    def _backlog_bytes(self) -> int:
        if self._line is None:
            return 0
        return sum(self._line.streams.backlog(group.stream) for group in self._groups)

    def _skip(self, reason: str) -> None:
        """Drop up to the next key object."""
        self._skipping = self._skipping or reason
        if reason == TOO_LARGE:
            self._ask_key()

    def _ask_key(self) -> None:
        if not self._asked_key:
            self._asked_key = True
            self._want_key()
