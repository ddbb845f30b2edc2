"""One route's way through an HTTP processor: order, retries, drops. No I/O, no clock of its own.

An object waits, is out with the processor, is paused between two tries, or is done; results leave
in the order in which objects came. A live track never waits for long: its bound and its patience
are those of the router's queues, and after a lost object everything is dropped up to the next one
that can be decoded; what was never sent is dropped at once, whatever is still out before it. A
reliable track waits for ever. It has one object out at a time until the processor is seen to return
objects: with one that publishes by itself the retry of an overtaken object would be de-duplicated
away.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from math import inf

from wtp.errors import WireError
from wtp.model import Kind, Object
from wtp.router.route import Drop, StageDone
from wtp.router.service_circuit import pause_s
from wtp.router.service_client import DOWN, GARBAGE, Answer, Fault
from wtp.router.service_endpoint import Endpoint
from wtp.router.service_ports import Surroundings, Timer
from wtp.wire.process import Parcel

PIPELINE = 8
"""Objects of a track that are out at once."""

GRACE_S = 0.010
"""How long an object is out before the next one follows it: requests travel on connections of their
own, and a small one must not overtake a large one on its way to a decoder."""

AVOID_S = 10.0
"""How long a track stays away from a processor that failed it, if there is another."""

QUEUE, BROKEN, FILTERED = "processor-queue", "broken-group", "filtered"
MISPLACED, SEVERAL = "processor-track", "processor-several"

Properties = Callable[[Object], dict[str, str]]


class Entry:
    """An object in the stage."""

    __slots__ = ("after_loss", "at_s", "done", "obj", "result", "retry_s", "tries")

    def __init__(self, obj: Object, done: StageDone, at_s: float) -> None:
        self.obj = obj
        self.done = done
        self.at_s = at_s
        self.after_loss = False
        self.tries = 0
        self.retry_s: float | None = None
        self.result: list[Object] | Drop | None = None


class ServiceStage:
    """Implements `Stage` for one route.

    Args:
        track: Its name.
        kind: Its kind.
        properties: Describes an object of the route, as for the broker.
        service: The processors of its kind.
        bound: Objects of a live track that wait at most.
        stall_s: How long the oldest of them may wait.
    """

    def __init__(
        self,
        track: str,
        kind: Kind,
        properties: Properties,
        service: Surroundings,
        *,
        bound: int,
        stall_s: float,
    ) -> None:
        self.track = track
        self._live = not kind.reliable
        self._properties = properties
        self._service = service
        self._bound, self._stall_s = bound, stall_s
        self._under_way: deque[Entry] = deque()
        self._waiting: deque[Entry] = deque()
        self._out = 0
        self._last_start_s = 0.0
        self._current: Endpoint | None = None
        self._avoid: Endpoint | None = None
        self._avoid_until_s = 0.0
        self._timer: Timer | None = None
        self._lost_input = self._lost_output = self._gap = False
        self._returns = False
        """The processor gives objects back, by its last answer that told."""
        self._closed = self._pumping = False

    @property
    def held(self) -> int:
        """Objects in the stage."""
        return len(self._under_way) + len(self._waiting)

    def put(self, obj: Object, done: StageDone) -> None:
        """Take an object."""
        self._service.ledger.offer(len(obj.payload))
        entry = Entry(obj, done, self._service.now_s())
        if self._live:
            self._lost_input = self._lost_input and not obj.key and not self._service.removed
            if self._lost_input:
                self._gap = True
                self._finish(entry, Drop(BROKEN))
                return
            entry.after_loss, self._gap = self._gap, False
        elif self._waiting and obj.seq <= self._waiting[-1].obj.seq:
            self._replace_from(obj.seq)
        self._waiting.append(entry)
        if self._live and len(self._waiting) > self._bound:
            self._shorten()
        self.pump()

    def close(self) -> None:
        """The route has ended: nothing is told any more."""
        self._closed = True
        self._service.ledger.drop("session-ended", self.held)
        self._under_way.clear()
        self._waiting.clear()
        self._cancel_timer()
        self._service.forget(self)

    def pump(self) -> None:
        """Send what may go now, hand on what is done."""
        if self._closed or self._pumping:
            return
        self._pumping = True
        try:
            while not self._closed and (self._release() or self._start()):
                pass
        finally:
            self._pumping = False

    # Towards the processor

    def _start(self) -> bool:
        """Start the next try if one may start; tells whether something has changed."""
        self._cancel_timer()
        now_s = self._service.now_s()
        if self._live and self._waiting and now_s - self._waiting[0].at_s > self._stall_s:
            self._shorten()
        entry = self._next(now_s)
        if entry is None:
            return False
        if self._service.removed:
            entry.result, entry.retry_s = [entry.obj], None
            self._take_up(entry)
            return True
        if now_s > self._avoid_until_s:
            self._avoid = None
        current = self._current if self._out or not entry.obj.key else None
        chosen = self._service.choose(self.track, current, self._avoid, self.pump)
        if isinstance(chosen, Endpoint):
            self._try(entry, chosen, now_s)
            return True
        return self._nowhere(entry, chosen)

    def _next(self, now_s: float) -> Entry | None:
        """The object whose try may start now; None sets a timer where time will change that."""
        paused = next((e for e in self._under_way if e.retry_s is not None), None)
        if paused is not None and paused.retry_s is not None:
            if not self._out and now_s < paused.retry_s:
                self._wake_at(paused.retry_s)
                return None
            return None if self._out else paused
        if not self._waiting:
            return None
        if self._out and not self._service.removed:
            ordered = self._live or self._returns
            if not ordered or len(self._under_way) >= PIPELINE:
                return None
            if now_s < self._last_start_s + GRACE_S:
                self._wake_at(self._last_start_s + GRACE_S)
                return None
        return self._waiting[0]

    def _nowhere(self, entry: Entry, again_s: float) -> bool:
        """No processor takes anything until then."""
        if again_s == inf:
            return False
        if not self._live:
            self._wake_at(again_s)
            return False
        if entry.tries:
            self._lose(entry, Drop(DOWN))
        else:
            self._lost_input = True
            self._drop_waiting(0, len(self._waiting), DOWN)
        return True

    def _try(self, entry: Entry, endpoint: Endpoint, now_s: float) -> None:
        self._take_up(entry)
        entry.tries += 1
        entry.retry_s = None
        self._out += 1
        self._current, self._last_start_s = endpoint, now_s
        parcel = Parcel(self.track, self._properties(entry.obj), entry.obj.payload)

        def done(result: Answer | Fault) -> None:
            if self._closed:
                return
            self._out -= 1
            if isinstance(result, Fault):
                self._failed(entry, result, endpoint)
            else:
                entry.result = self._made(entry, result)
                if isinstance(entry.result, Drop) and entry.result.reason != FILTERED:
                    self._lose(entry, entry.result)
            self.pump()

        self._service.send(endpoint, parcel, done)

    def _take_up(self, entry: Entry) -> None:
        if self._waiting and self._waiting[0] is entry:
            self._under_way.append(self._waiting.popleft())

    def _failed(self, entry: Entry, fault: Fault, endpoint: Endpoint) -> None:
        now_s = self._service.now_s()
        if fault.passing:
            self._current, self._avoid = None, endpoint
            self._avoid_until_s = now_s + AVOID_S
            if self._worth_a_retry(entry, now_s):
                entry.retry_s = now_s + pause_s(entry.tries, random.random())  # noqa: S311 - spreads retries
                return
        refused = f"The processor refused object {entry.obj.seq} of {self.track}: {fault.message}"
        self._lose(entry, Drop(fault.reason, "" if fault.passing else refused))

    def _worth_a_retry(self, entry: Entry, now_s: float) -> bool:
        """Reliable objects always; live ones while they are young and nothing overtook them."""
        if not self._live:
            return True
        young = now_s - entry.at_s < self._stall_s
        return young and entry.tries <= self._service.max_retries and self._under_way[-1] is entry

    # Towards the broker

    def _made(self, entry: Entry, answer: Answer) -> list[Object] | Drop:
        """What goes to the broker in an object's place."""
        obj = entry.obj
        if answer.parcels or answer.published:
            self._returns = not answer.published
        if not answer.parcels:
            return [] if answer.published else Drop(FILTERED)
        made = []
        for parcel in answer.parcels:
            try:
                one = parcel.object()
            except WireError as error:
                return self._wrong(GARBAGE, obj, error.message)
            if one.kind is obj.kind and parcel.track == self.track:
                made.append(one)
            elif not (self._live and self._service.aside(self, parcel, self._back(one, entry))):
                where = f"{one.kind} of {parcel.track}"
                return self._wrong(MISPLACED, obj, f"it returned {where}, which it must publish")
        if self._live:
            return made
        if len(made) > 1:
            return self._wrong(SEVERAL, obj, f"it returned {len(made)} objects for one")
        return [replace(one, seq=obj.seq) for one in made]

    def _back(self, made: Object, entry: Entry) -> Object:
        """What was made of an object, with the stamps of its way through here, in its clock."""
        route_us = entry.obj.route_us
        if route_us is None:
            return made
        since_us = round((self._service.now_s() - entry.at_s) * 1e6)
        return replace(made, route_us=route_us, process_us=route_us + since_us)

    def _wrong(self, reason: str, obj: Object, why: str) -> Drop:
        return Drop(reason, f"The processor's answer to object {obj.seq} of {self.track}: {why}.")

    def _release(self) -> bool:
        """Hand on what is done and has nothing before it; tells whether there was any."""
        before = len(self._under_way)
        while self._under_way and self._under_way[0].result is not None:
            entry = self._under_way.popleft()
            result = entry.result or []
            self._lost_output |= entry.after_loss
            if self._live and isinstance(result, list) and result:
                self._lost_output = self._lost_output and not result[0].key
                if self._lost_output:
                    result = Drop(BROKEN)
            if isinstance(result, Drop):
                self._lost_output = True
            elif entry.tries:
                result = [self._back(one, entry) for one in result]
            self._finish(entry, result)
        return len(self._under_way) != before

    def _finish(self, entry: Entry, result: list[Object] | Drop) -> None:
        if isinstance(result, Drop):
            self._service.ledger.drop(result.reason)
        else:
            self._service.ledger.deliver()
            self._service.latency.add(round((self._service.now_s() - entry.at_s) * 1e6))
        entry.done(result)

    def _replace_from(self, seq: int) -> None:
        """A sender begins anew: what it had sent from there on waits for nobody any more."""
        first = next(i for i, entry in enumerate(self._waiting) if entry.obj.seq >= seq)
        self._drop_waiting(first, len(self._waiting), "withdrawn")

    # Losses

    def _lose(self, entry: Entry, drop: Drop) -> None:
        """An object is lost; of a live track all that needs it is not sent either."""
        entry.result, entry.retry_s = drop, None
        if not self._live:
            return
        behind = False
        for other in self._under_way:
            if behind and other.obj.key:
                return
            behind = behind or other is entry
        key = next((i for i, other in enumerate(self._waiting) if other.obj.key), None)
        self._lost_input = key is None
        self._drop_waiting(0, len(self._waiting) if key is None else key, BROKEN)

    def _shorten(self) -> None:
        """Drop what waits up to the newest key object, or up to the next one to come."""
        waiting = self._waiting
        newest = next((i for i in range(len(waiting) - 1, -1, -1) if waiting[i].obj.key), None)
        if newest:
            self._drop_waiting(0, newest, QUEUE)
        elif newest is None or len(waiting) > 1:
            self._lost_input = True
            self._drop_waiting(0 if newest is None else 1, len(waiting), QUEUE)

    def _drop_waiting(self, first: int, end: int, reason: str) -> None:
        """Drop waiting objects from one place to before another."""
        if first == end:
            return
        waiting = list(self._waiting)
        dropped, after = waiting[first:end], waiting[end:]
        self._waiting = deque((*waiting[:first], *after))
        if after:
            after[0].after_loss = True
        else:
            self._gap = True
        for entry in dropped:
            self._finish(entry, Drop(reason))

    def _wake_at(self, when_s: float) -> None:
        self._timer = self._service.call_at(when_s, self.pump)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
