"""The two kinds of routes; the live one is here.

It keeps the newest: its queue is bounded, only a few objects are with the client at once (the
client's own queue would keep the oldest), and a backlog goes as a whole.
"""

from __future__ import annotations

from collections import deque

from wtp.broker.client import Producer
from wtp.clock import Clock
from wtp.config.schema import QueueSettings
from wtp.errors import BrokerError, Refused
from wtp.model import Kind, Object, Track, inter_coded
from wtp.router.reliable import ReliableRoute
from wtp.router.route import Drop, Owner, Route, Stage, StageDone

__all__ = ["Drop", "LiveRoute", "Owner", "ReliableRoute", "Route", "Stage", "StageDone"]


class LiveRoute(Route):
    """A live track: the newest matters.

    Where packets are lost, the next group's stream may arrive before the rest of the one before it.
    Of pictures that need earlier ones this rest is dropped: behind the newer key picture in the
    topic it would break every decoder up to the next one.

    After a drop it asks the publisher for a key object, as soon as the broker takes objects again.

    Args:
        track: Its name.
        kind: Its kind.
        content_type: As declared by `publish`.
        topic: Full topic name.
        clock: The router's clock.
        limits: Of its queue.
        keyframe_s: Least time between two requests for a key object.
    """

    def __init__(
        self,
        track: Track,
        kind: Kind,
        content_type: str,
        topic: str,
        clock: Clock,
        limits: QueueSettings,
        keyframe_s: float = 0.5,
    ) -> None:
        super().__init__(track, kind, content_type, topic, clock)
        self._queue: deque[Object] = deque()
        self._since_us: deque[int] = deque()
        """When each object of the queue entered it: what a stage took does not count as a stall."""
        self._bound = limits.audio_objects if kind is Kind.AUDIO else limits.video_objects
        self._most_unreceipted = limits.unreceipted
        self._stall_us = limits.stall_ms * 1000
        self._newest_group = 0
        self._unreceipted = 0
        self._keyframe_us = round(keyframe_s * 1e6)
        self._asked_us: int | None = None
        self._wants_key = False
        self._broken = False
        self._staged = 0
        self._life = 0
        """Counts `abandon`: what the stage says about objects from before it comes too late."""

    @property
    def queued(self) -> int:
        """Objects that wait here."""
        return len(self._queue)

    @property
    def queued_bytes(self) -> int:
        """Payloads that wait here."""
        return sum(len(obj.payload) for obj in self._queue)

    def offer(self, obj: Object) -> None:
        """Take an object; a full queue drops the backlog, not this one."""
        self.ledger.offer(len(obj.payload))
        self.received += 1
        if inter_coded(self.content_type):
            if obj.group < self._newest_group:
                self.ledger.drop("late")
                self._settle()
                return
            self._newest_group = obj.group
        obj = self._stamped(obj)
        if self.stage is None:
            self._queue_up(obj)
            return
        life = self._life

        def done(result: list[Object] | Drop) -> None:
            if life == self._life:
                self._staged -= 1
                self._staged_out(result)

        self._staged += 1
        self.stage.put(obj, done)
        self._settle()

    def ask_key(self) -> int | None:
        """Ask the publisher for a key object.

        Returns:
            0 when it was asked; µs until it may be asked again; None when it cannot be asked.
        """
        now_us = self._clock.now_us()
        if self._asked_us is not None and now_us - self._asked_us < self._keyframe_us:
            return self._asked_us + self._keyframe_us - now_us
        if self.owner is None or not self.owner.want_key(self):
            return None
        self._asked_us = now_us
        self.key_requests += 1
        return 0

    def _recover(self) -> None:
        """Ask for a key object after a drop, once the broker takes objects again."""
        producer = self.producer
        free = self._unreceipted < self._most_unreceipted and not self._queue
        if self._wants_key and free and producer is not None and producer.connected:
            self.ask_key()

    def _staged_out(self, result: list[Object] | Drop) -> None:
        """Go on with what the stage made of one object; it may have made several."""
        if isinstance(result, Drop):
            self.ledger.drop(result.reason)
            self._broken = True
        elif not result:
            self.ledger.deliver()
        else:
            for more in result[1:]:
                self.ledger.offer(len(more.payload))
            for obj in result:
                self._queue_up(obj)
        self._settle()

    def _queue_up(self, obj: Object) -> None:
        if obj.key:
            self._broken = self._wants_key = False
        elif self._broken:
            self.ledger.drop("broken-group")
            self._settle()
            self._recover()
            return
        self._queue.append(obj)
        self._since_us.append(self._clock.now_us())
        if len(self._queue) > self._bound:
            self._shorten("queue")
        self._pump()

    def attach(self, producer: Producer | None) -> None:
        """Use this producer from now on."""
        self.producer = producer
        self._pump()

    def abandon(self, reason: str) -> None:
        """Drop what waits here; what is with the broker's client ends by itself."""
        self.ledger.drop(reason, len(self._queue) + self._staged)
        self._queue.clear()
        self._since_us.clear()
        self._staged = 0
        self._life += 1
        if self.stage is not None:
            self.stage.close()
        self._settle()

    def _shorten(self, reason: str) -> None:
        """Drop the backlog up to the newest key object, or up to the next one to come."""
        queue = self._queue
        newest = next((i for i in range(len(queue) - 1, -1, -1) if queue[i].key), None)
        if newest:
            self.ledger.drop(reason, newest)
            for _ in range(newest):
                self._take_first()
            return
        kept = int(newest == 0)
        self.ledger.drop(reason, len(queue) - kept)
        while len(queue) > kept:
            queue.pop()
            self._since_us.pop()
        self._broken = self._wants_key = True

    def _pump(self) -> None:
        queue = self._queue
        if queue:
            waited_us = self._clock.now_us() - self._since_us[0]
            if waited_us > self._stall_us and not (len(queue) == 1 and queue[0].key):
                self._shorten("stall")
        producer = self.producer
        while producer is not None and queue and self._unreceipted < self._most_unreceipted:
            self._unreceipted += 1
            self._hand_over(producer, self._take_first(), None, self._on_receipt)
        self._settle()
        self._recover()

    def _take_first(self) -> Object:
        self._since_us.popleft()
        return self._queue.popleft()

    def _on_receipt(self, error: BrokerError | Refused | None) -> None:
        self._unreceipted -= 1
        if error is None:
            self.ledger.deliver()
        else:
            self.ledger.drop("broker")
            self._broken = self._wants_key = True
            self._drop_deltas()
        self._pump()

    def _drop_deltas(self) -> None:
        """After a lost object nothing up to the next key object can be decoded."""
        while self._queue and not self._queue[0].key:
            self._take_first()
            self.ledger.drop("broken-group")
        if self._queue:
            self._broken = self._wants_key = False
