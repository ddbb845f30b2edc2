"""The reliable route: keeps everything until the broker's receipt.

Its bound is felt by the sender.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass
from functools import partial

from wtp.broker.client import Producer
from wtp.broker.messages import permanent
from wtp.clock import Clock
from wtp.errors import BrokerError, Refused
from wtp.model import Kind, Object, Track
from wtp.router.route import Drop, Route

log = logging.getLogger("wtp.router")

OBJECT_BYTES, ATTRIBUTE_BYTES = 1024, 128
"""What an object and each of its attributes cost beside the payload, generously."""

MOST_UNRECEIPTED = 1000
"""Objects that are with the broker's client at once."""

LARGE_BYTES = 64 * 1024
"""Above it an object might be more than the broker takes; the client says so one turn later."""


@dataclass(slots=True, eq=False)
class _Kept:
    """An object of a reliable track until it is settled.

    Attributes:
        seq: Its sequence.
        cost_bytes: What keeping it costs.
        out: What goes to the broker; None while the stage has it, or when nothing does.
        drop: Why nothing goes to the broker.
        ready: Whether the stage is done with it.
        refused: Whether `drop` is for good, which the sender must confirm.
        settled: Whether the broker has it, or it was filtered.
    """

    seq: int
    cost_bytes: int
    out: Object | None = None
    drop: Drop | None = None
    ready: bool = False
    refused: bool = False
    settled: bool = False


class ReliableRoute(Route):
    """A reliable track of one publisher run: everything, in order, once.

    An object that the broker will never take is refused: its sender is told once everything before
    it is settled, and nothing behind it goes to the broker before the sender has confirmed. So
    whatever dies, no later sequence of the broker can pass for a receipt of it.
    """

    def __init__(
        self, track: Track, kind: Kind, content_type: str, topic: str, clock: Clock
    ) -> None:
        super().__init__(track, kind, content_type, topic, clock)
        self._kept: deque[_Kept] = deque()
        self._waiting: deque[_Kept] = deque()
        self._with_client = 0
        self._taken = 0
        self._receipted = 0
        self._again = 0
        self._refusals = 0
        """Objects refused that the sender has not confirmed: nothing is handed over meanwhile."""
        self._unconfirmed: int | None = None
        """The one of them that the sender was told of."""
        self._breathing = False
        self._fresh = True
        """The session has sent nothing yet."""
        self._heard_us = 0
        """When the client last had nothing of this route, or told what became of an object."""
        self.failed: Producer | None = None
        """A producer that refused an object; to be closed before the next one of its name."""
        self.kept_bytes = 0
        """What waits for receipts costs, payload and bookkeeping: empty objects count too."""

    @property
    def last_seq(self) -> int:
        """Highest sequence that is settled, with all before it; 0 for none."""
        return self._receipted

    @property
    def next_seq(self) -> int:
        """The sequence that must come next."""
        return self._taken + 1

    @property
    def queued(self) -> int:
        """Objects that are not yet with the broker's client."""
        return len(self._waiting)

    @property
    def queued_bytes(self) -> int:
        """What waits here or for receipts, with bookkeeping."""
        return self.kept_bytes

    @property
    def silent_us(self) -> int:
        """How long the client has had objects and said nothing; 0 when it has none."""
        waits = self.producer is not None and self._with_client
        return self._clock.now_us() - self._heard_us if waits else 0

    def begin(self, instance: str, content_type: str) -> None:
        """A new session of the same run goes on; its first object is any above `last_seq`."""
        self.instance, self.content_type, self.received = instance, content_type, 0
        self._taken = self._receipted
        self._refusals, self._unconfirmed = 0, None
        self._fresh = True

    def offer(self, obj: Object) -> None:
        """Take the next object.

        Raises:
            Refused: Its sequence leaves a gap to the one before.
        """
        self.ledger.offer(len(obj.payload))
        self.received += 1
        if obj.seq <= self._taken:
            self.ledger.drop("duplicate")
            if self.owner and obj.seq <= self._receipted:
                self.owner.receipted(self)
            return
        if obj.seq != self._taken + 1 and not self._fresh:
            self.ledger.drop("gap")
            raise Refused(
                f"Object {obj.seq} of {self.track} came where {self._taken + 1} was due.",
                code="sequence",
            )
        self._fresh = False
        self._taken = obj.seq
        kept = _Kept(obj.seq, _cost(obj))
        self._kept.append(kept)
        self._waiting.append(kept)
        self.kept_bytes += kept.cost_bytes
        obj = self._stamped(obj)
        if self.stage is None:
            kept.out, kept.ready = obj, True
            self._pump()
        else:
            self._settle()
            self.stage.put(obj, partial(self._staged_out, kept))

    def attach(self, producer: Producer | None) -> None:
        """Use a producer of this run's name; what the broker lacks is sent again."""
        self.producer = producer
        if producer is None:
            return
        self._with_client = 0
        if not self._kept and self._unconfirmed is None:
            self._receipted = max(self._receipted, producer.last_seq)
            self._taken = max(self._taken, self._receipted)
        for kept in self._kept:
            if kept.seq <= producer.last_seq and not kept.refused:
                kept.settled = True
        self._waiting = deque(one for one in self._kept if not (one.settled or one.refused))
        self.known.set()
        self._advance()
        self._pump()

    def withdraw(self, reason: str) -> None:
        """Forget what the broker's client does not have, and all behind a refused object.

        Its sender will send it again.
        """
        first = self._waiting[0] if self._waiting else None
        stays = 0
        if self.producer is not None and self._unconfirmed is None:
            gone = (n for n, one in enumerate(self._kept) if one is first or one.refused)
            stays = next(gone, len(self._kept))
        self.ledger.drop(reason, len(self._kept) - stays)
        while len(self._kept) > stays:
            self.kept_bytes -= self._kept.pop().cost_bytes
        self._waiting.clear()
        self._settle()

    def abandon(self, reason: str) -> None:
        """Forget what has no receipt: its sender still has it and will send it again."""
        self.ledger.drop(reason, len(self._kept))
        self._kept.clear()
        self._waiting.clear()
        self.kept_bytes = 0
        self._taken = self._receipted
        self.known.set()
        if self.stage is not None:
            self.stage.close()
        self._settle()

    def confirmed(self, seq: int) -> None:
        """The sender knows that this object was refused; those behind it go on."""
        if seq == self._unconfirmed:
            self._unconfirmed = None
            self._refusals -= 1
            self._receipted = seq
            self._advance()
            self._pump()

    def _staged_out(self, kept: _Kept, result: list[Object] | Drop) -> None:
        """The stage is done with an object."""
        kept.ready = True
        if isinstance(result, Drop):
            kept.drop = result
        elif len(result) > 1:
            kept.drop = Drop("outputs", f"A processor made {len(result)} objects out of one.")
        else:
            kept.out = result[0] if result else None
        self._pump()

    def _pump(self) -> None:
        """Hand to the broker's client, in order, what is ready."""
        waiting = self._waiting
        while (
            (producer := self.producer) is not None
            and not self._refusals
            and not self._breathing
            and waiting
            and waiting[0].ready
            and self._with_client < MOST_UNRECEIPTED
        ):
            kept = waiting.popleft()
            if kept.out is not None:
                self._send(producer, kept, kept.out)
                if kept.cost_bytes > LARGE_BYTES:
                    self._breathing = True
                    asyncio.get_running_loop().call_soon(self._breathe)
            elif kept.drop is not None and kept.drop.message:
                self._refuse(kept, kept.drop)
            else:
                kept.settled = True
                self._advance()
        self._settle()

    def _breathe(self) -> None:
        """The client has said by now whether an object is too large for the broker."""
        self._breathing = False
        self._pump()

    def _send(self, producer: Producer, kept: _Kept, obj: Object) -> None:
        def done(error: BrokerError | Refused | None) -> None:
            if self.producer is not producer:
                return
            self._heard_us = self._clock.now_us()
            self._with_client -= 1
            if error is None:
                kept.settled = True
                self._advance()
                self._pump()
            elif permanent(error):
                self._refuse(kept, Drop(error.code, error.message))
            else:
                if kept.seq != self._again:
                    self._again = kept.seq
                    log.warning("%s: object %d will be sent again: %s", self.track, kept.seq, error)
                self.producer, self.failed = None, producer

        if not self._with_client:
            self._heard_us = self._clock.now_us()
        self._with_client += 1
        self._hand_over(producer, obj, kept.seq, done)

    def _refuse(self, kept: _Kept, drop: Drop) -> None:
        """Nobody will ever take this object; its sender hears of it in its turn."""
        kept.out, kept.drop, kept.refused = None, drop, True
        self._refusals += 1
        self._advance()

    def _advance(self) -> None:
        """Let go of what is settled, in order, and tell the sender."""
        before = self._receipted
        while self._unconfirmed is None and self._kept and self._kept[0].settled:
            kept = self._kept.popleft()
            self.kept_bytes -= kept.cost_bytes
            self._receipted = kept.seq
            if kept.drop is None:
                self.ledger.deliver()
            else:
                self.ledger.drop(kept.drop.reason)
        if self._receipted != before and self.owner is not None:
            self.owner.receipted(self)
        if self._unconfirmed is None and self._kept and self._kept[0].refused:
            self._tell_refused(self._kept.popleft())
        self._settle()

    def _tell_refused(self, kept: _Kept) -> None:
        drop = kept.drop or Drop("refused")
        self._unconfirmed = kept.seq
        self.kept_bytes -= kept.cost_bytes
        self.ledger.drop(drop.reason)
        log.warning("%s: object %d is refused: %s", self.track, kept.seq, drop.message)
        if self.owner is not None:
            self.owner.rejected(self, kept.seq, drop.reason, drop.message)


def _cost(obj: Object) -> int:
    return len(obj.payload) + OBJECT_BYTES + ATTRIBUTE_BYTES * len(obj.attributes)
