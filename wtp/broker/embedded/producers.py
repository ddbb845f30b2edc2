"""The producers of one topic: names, access modes, fencing."""

from __future__ import annotations

from dataclasses import dataclass, field

from wtp.broker.embedded.alive import Held
from wtp.broker.embedded.consumer import Link, Traffic
from wtp.broker.embedded.numbers import Access
from wtp.errors import BrokerError


@dataclass(slots=True, eq=False)
class TopicProducer:
    """A producer, on one connection.

    Attributes:
        link: Its connection.
        producer_id: Its id on that connection.
        name: Its name, unique on the topic.
        access: How it wants to share the topic.
        epoch: Counts its reconnections.
        topic_epoch: The epoch in which it held the topic for itself, None for never.
        request_id: Of the PRODUCER command, answered again when a wait ends.
        ready: It may send.
        fenced: It lost the topic, or the disk refused its last message; its next SEND closes its
            connection, and it sends again in order.
    """

    link: Link
    producer_id: int
    name: str
    access: Access = Access.SHARED
    epoch: int = 0
    topic_epoch: int | None = None
    request_id: int = 0
    user_named: bool = True
    metadata: dict[str, str] = field(default_factory=dict)
    connected_at: str = ""
    ready: bool = True
    fenced: bool = False
    traffic: Traffic = field(default_factory=Traffic)


class ProducerSet:
    """Who may publish to a topic.

    Attributes:
        live: Producers by name.
        exclusive: The one that holds the topic for itself.
        waiting: Those that want it next, in order.
        epoch: How often the topic was taken exclusively, None for never.
    """

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.live: dict[str, TopicProducer] = {}
        self.exclusive: TopicProducer | None = None
        self.waiting: list[TopicProducer] = []
        self.epoch: int | None = None

    def add(self, producer: TopicProducer) -> None:
        """Let a producer in, or put it in the queue (`ready` is False then).

        Raises:
            BrokerError: code "producer-busy" or "producer-fenced".
        """
        if producer.access is not Access.EXCLUSIVE_WITH_FENCING:
            self._check_name(producer)
        if producer.access is Access.SHARED:
            if self.exclusive is not None or self.waiting:
                raise self._busy("has an exclusive producer", "producer-busy")
        elif producer.access is Access.EXCLUSIVE:
            if self.exclusive is not None or self.waiting:
                raise self._busy("has an exclusive producer", "producer-fenced")
            if self.live:
                raise self._busy("has shared producers", "producer-fenced")
            self._take(producer)
        elif producer.access is Access.EXCLUSIVE_WITH_FENCING:
            self._check_epoch(producer)
            self._fence_all()
            self._take(producer)
        elif self.exclusive is not None or self.live:
            producer.ready = False
            self.waiting.append(producer)
            return
        else:
            self._take(producer)
        self.live[producer.name] = producer

    def _check_name(self, producer: TopicProducer) -> None:
        old = self.live.get(producer.name)
        if old is None:
            return
        same_place = old.link is producer.link and old.producer_id == producer.producer_id
        if same_place and old.epoch < producer.epoch:
            self.remove(old)
            return
        raise Held(
            f"Producer with name {producer.name!r} is already connected to topic {self.topic!r}.",
            hint="Close it, or use another producer name.",
            code="producer-busy",
            holder=old.link if old.link is not producer.link else None,
        )

    def _check_epoch(self, producer: TopicProducer) -> None:
        asked, now = producer.topic_epoch, self.epoch
        if asked is not None and now is not None and asked < now:
            raise self._busy("was taken by another producer since", "producer-fenced")

    def _take(self, producer: TopicProducer) -> None:
        self._check_epoch(producer)
        if producer.topic_epoch is None:
            self.epoch = 0 if self.epoch is None else self.epoch + 1
        else:
            self.epoch = max(producer.topic_epoch, self.epoch or 0)
        producer.topic_epoch = self.epoch
        self.exclusive = producer

    def _fence_all(self) -> None:
        for old in (*self.live.values(), *self.waiting):
            old.fenced = True
        self.live.clear()
        self.waiting.clear()
        self.exclusive = None

    def remove(self, producer: TopicProducer) -> TopicProducer | None:
        """Let a producer go; returns the waiting one that may go on now."""
        if producer in self.waiting:
            self.waiting.remove(producer)
        if self.live.get(producer.name) is producer:
            del self.live[producer.name]
        if self.exclusive is producer:
            self.exclusive = None
        if self.live or self.exclusive is not None or not self.waiting:
            return None
        heir = self.waiting.pop(0)
        heir.ready = True
        self._take(heir)
        self.live[heir.name] = heir
        return heir

    def _busy(self, why: str, code: str) -> BrokerError:
        return BrokerError(
            f"Topic {self.topic!r} {why}.", hint="Wait for it to close, and try again.", code=code
        )
