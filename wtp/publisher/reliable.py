"""A reliable track: nothing is dropped, nothing is sent twice, order is kept.

An object is kept until the broker's receipt. The window of kept objects is bounded; whoever offers
more waits, which pushes back to standard input. Sequences count from 1 in every run and never
change; a new session goes on above the last one that the broker has of this run.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from wtp.clock import Clock
from wtp.errors import ConnectionFailed, Refused, WireError
from wtp.metrics import Ledger
from wtp.model import Object
from wtp.publisher.outgoing import NO_SESSION, SESSION_LOST, TOO_LARGE, Line
from wtp.publisher.rate import Rate
from wtp.publisher.session import TrackSpec
from wtp.wire import StreamType
from wtp.wire.objects import encode_head

WINDOW_OBJECTS = 1024
WINDOW_BYTES = 4 * 1024 * 1024
"""What may wait for receipts; half of what the router buffers of one track by default."""
SEND_AHEAD_BYTES = 512 * 1024
"""Unacknowledged bytes in the transport above which sending waits for receipts, so that a bulk
transfer does not stand in front of live objects."""
LARGE_BYTES = 64 * 1024
"""A larger payload is worth a second call: joined to its header it would be copied once more."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Sent:
    obj: Object
    ever: bool
    """Whether some session has sent it."""


class ReliableTrack:
    """A track of a reliable kind.

    Args:
        spec: What `publish` announces.
        clock: Own clock.
        window_objects: Objects that may wait for receipts.
        window_bytes: Payload bytes that may; one object always may.
        ahead_bytes: Unacknowledged bytes in the transport above which sending waits.

    Attributes:
        ledger: Offered = delivered (receipted by the broker) + dropped + in flight.
        sent: Objects written in this session.
        refused: Objects that the broker will never take.
        receipts: Control messages that settled objects.
        router: The router's last counts.
    """

    def __init__(
        self,
        spec: TrackSpec,
        clock: Clock,
        *,
        window_objects: int = WINDOW_OBJECTS,
        window_bytes: int = WINDOW_BYTES,
        ahead_bytes: int = SEND_AHEAD_BYTES,
    ) -> None:
        self.spec = spec
        self.ledger = Ledger()
        self.sent = 0
        self.refused = 0
        self.receipts = 0
        self.router: Mapping[str, int] = {}
        self._clock = clock
        self._window_objects = window_objects
        self._window_bytes = window_bytes
        self._ahead_bytes = ahead_bytes
        self._line: Line | None = None
        self._stream: int | None = None
        self._kept: deque[_Sent] = deque()
        self._kept_bytes = 0
        self._next_out = 0
        """Index in `_kept` of the first object this session has not sent."""
        self._last_seq = 0
        self._last_receipt = 0
        self._room = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._rate = Rate()

    @property
    def pending(self) -> int:
        """Objects without a receipt."""
        return len(self._kept)

    async def offer(self, payload: bytes, attributes: Mapping[str, str]) -> bool:
        """Take an object; waits while the window is full.

        Args:
            payload: Its bytes.
            attributes: Its own strings.

        Returns:
            Whether it was taken: False when it is over the size limit (dropped and counted).
        """
        if len(payload) > self.spec.kind.max_bytes:
            self.refuse(TOO_LARGE)
            return False
        capture_us = self._clock.now_us()
        while not self._fits(len(payload)):
            self._room.clear()
            await self._room.wait()
        self._last_seq += 1
        obj = Object(
            kind=self.spec.kind,
            seq=self._last_seq,
            group=self._last_seq,
            key=True,
            payload=payload,
            capture_us=capture_us,
            attributes=attributes,
        )
        self.ledger.offer(len(payload))
        self._rate.add(capture_us, len(payload))
        self._kept.append(_Sent(obj, ever=False))
        self._kept_bytes += len(payload)
        self._empty.clear()
        self.writable()
        return True

    def refuse(self, reason: str) -> None:
        """Count an object that cannot be sent as offered and dropped."""
        self.ledger.offer()
        self.ledger.drop(reason)

    async def receipted(self) -> None:
        """Wait until every object has its receipt."""
        await self._empty.wait()

    def attach(self, line: Line, last_seq: int) -> None:
        """The router took the track; `last_seq` is what the broker has of this run.

        Raises:
            WireError: It is more than was ever sent.
        """
        self._line = line
        self._stream = None
        self.sent = 0
        self._next_out = 0
        self.receipt(last_seq)

    def detach(self) -> None:
        """The session is over; everything without a receipt is sent again in the next."""
        self._line = None
        self._stream = None
        self._next_out = 0

    def receipt(self, up_to_seq: int) -> None:
        """The broker has everything up to this sequence.

        Raises:
            WireError: Nothing of that sequence was ever sent.
        """
        if up_to_seq > self._last_seq:
            raise WireError(f"A receipt for {up_to_seq}, {self._last_seq} was the last sent.")
        self._release(up_to_seq)
        self.writable()

    def rejected(self, seq: int, code: str, message: str) -> None:
        """The broker will never take this object; those behind it go on.

        Raises:
            WireError: It is none that waits for its receipt.
        """
        found = next((i for i, item in enumerate(self._kept) if item.obj.seq == seq), None)
        if found is None:
            raise WireError(f"Object {seq} is refused and does not wait for a receipt.")
        self._kept_bytes -= len(self._kept[found].obj.payload)
        del self._kept[found]
        self._next_out -= found < self._next_out
        self.ledger.drop(code)
        self.refused += 1
        if self.refused == 1:
            _log.warning("Object %d of %s was refused: %s", seq, self.spec.name, message)
        self._made_room()

    def counted(self, counts: Mapping[str, int], *, final: bool) -> None:
        """Take the router's counts; receipts alone settle reliable objects."""
        self.router = counts

    def writable(self) -> None:
        """Send what this session has not sent, as far as the transport's backlog allows."""
        line = self._line
        if line is None:
            return
        try:
            while self._next_out < len(self._kept):
                if self._stream is None:
                    self._stream = line.streams.open_stream()
                    line.streams.send(self._stream, bytes([StreamType.OBJECTS]))
                if self.sent and line.streams.backlog(self._stream) > self._ahead_bytes:
                    return
                self._send(line, self._stream)
        except (Refused, ConnectionFailed):
            return

    def stopped(self, stream: int) -> bool:
        """The router wants no more of a stream: if it is the track's, a new session must come."""
        return stream == self._stream

    def finish(self) -> None:
        """End the stream, when everything was sent."""
        if self._line and self._stream is not None and self._next_out == len(self._kept):
            self._line.streams.send(self._stream, b"", True)
            self._stream = None

    def close(self) -> None:
        """No session follows: what has no receipt is lost."""
        lost = sum(item.ever for item in self._kept)
        self.ledger.drop(SESSION_LOST, lost)
        self.ledger.drop(NO_SESSION, len(self._kept) - lost)
        self._kept.clear()
        self._kept_bytes = 0
        self._empty.set()

    def snapshot(self) -> dict[str, Any]:
        """Counts, rates over the last two seconds, and what waits for receipts."""
        per_second, bits = self._rate.per_second(self._clock.now_us())
        return {
            "kind": self.spec.kind.value,
            "content_type": self.spec.content_type,
            **self.ledger.snapshot(),
            "fps": round(per_second, 2),
            "bitrate_bps": round(bits),
            "queue_bytes": self._kept_bytes,
            "queue_objects": len(self._kept),
            "last_seq": self._last_seq,
            "last_receipt": self._last_receipt,
            "receipts": self.receipts,
            "refused": self.refused,
            "router": dict(self.router),
        }

    def _fits(self, size: int) -> bool:
        if not self._kept:
            return True
        return (
            len(self._kept) < self._window_objects and self._kept_bytes + size <= self._window_bytes
        )

    def _send(self, line: Line, stream: int) -> None:
        item = self._kept[self._next_out]
        obj = item.obj
        stamped = replace(
            obj,
            capture_us=None if obj.capture_us is None else obj.capture_us + line.shift_us,
            send_us=self._clock.now_us() + line.shift_us,
        )
        head = encode_head(self.spec.alias, stamped)
        if len(obj.payload) > LARGE_BYTES:
            line.streams.send(stream, head)
            line.streams.send(stream, obj.payload)
        else:
            line.streams.send(stream, head + obj.payload)
        self._kept[self._next_out] = _Sent(obj, ever=True)
        self._next_out += 1
        self.sent += 1

    def _release(self, up_to_seq: int) -> None:
        """Forget the objects that the broker has."""
        before = len(self._kept)
        while self._kept and self._kept[0].obj.seq <= up_to_seq:
            self._kept_bytes -= len(self._kept.popleft().obj.payload)
            self._next_out = max(0, self._next_out - 1)
            self.ledger.deliver()
        if len(self._kept) < before:
            self.receipts += 1
            self._last_receipt = up_to_seq
            self._made_room()

    def _made_room(self) -> None:
        self._room.set()
        if not self._kept:
            self._empty.set()
