"""Dispatchers without a network: who gets what, in which order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.broker_protocol.wire import blob
from wtp.broker.embedded.alive import Known
from wtp.broker.embedded.consumer import Consumer
from wtp.broker.embedded.cursor import Cursor
from wtp.broker.embedded.dispatch import Dispatcher, SingleActive
from wtp.broker.embedded.keyshared import KeyShared
from wtp.broker.embedded.memorylog import MemoryLog
from wtp.broker.embedded.metadata import HASH_RANGE, read_metadata
from wtp.broker.embedded.numbers import SubType
from wtp.broker.embedded.protobuf import Message
from wtp.broker.embedded.shared import Shared
from wtp.broker.embedded.values import EARLIEST, CursorState, Entry, Position
from wtp.errors import BrokerError


class Timer(asyncio.TimerHandle):
    """A timer that the test fires."""

    def __init__(self, action: Callable[[], None]) -> None:
        self.action = action
        self.off = False

    def cancel(self) -> None:
        self.off = True


class FakeSource:
    """A subscription over a log in memory."""

    def __init__(self) -> None:
        self.log = MemoryLog("t", 1)
        self.cursor = Cursor(self.log, CursorState())
        self.partition = -1
        self.topic_name = "persistent://public/default/t"
        self.clock_ms = 1000
        self.timers: list[Timer] = []
        self.woken = 0

    def read(self, position: Position, max_entries: int, max_bytes: int) -> list[Entry]:
        return self.log.read(position, max_entries, max_bytes)

    def wake(self) -> None:
        self.woken += 1

    def call_later(self, delay_s: float, action: Callable[[], None]) -> asyncio.TimerHandle:
        self.timers.append(Timer(action))
        return self.timers[-1]

    def now_ms(self) -> int:
        return self.clock_ms

    def fire(self) -> None:
        timers, self.timers = self.timers, []
        for timer in timers:
            if not timer.off:
                timer.action()

    def add(self, count: int, **more: object) -> None:
        for _ in range(count):
            number = self.log.end.entry
            self.log.append(blob(number, b"%d" % number, **more), 1, 1)


class FakeLink:
    """Keeps what is written."""

    address = "/test:1"
    client_version = "test"

    def __init__(self) -> None:
        self.has_room = True
        self.blobs: list[bytes] = []
        self.answers: list[Message] = []
        self._head = True

    def write(self, data: bytes) -> None:
        if not self._head:
            self.blobs.append(data)
        self._head = not self._head

    def answer(self, kind: int, message: Message) -> None:
        self.answers.append(message)

    def check_alive(self, known: Known) -> None:
        known(True)

    def forget_consumer(self, consumer: Consumer) -> None:
        return

    def forget_producer(self, producer_id: int) -> None:
        return

    def close(self, reason: str) -> None:
        return

    def numbers(self) -> list[int]:
        """Sequence ids delivered since the last call."""
        taken, self.blobs = self.blobs, []
        return [read_metadata(data).sequence_id for data in taken]


class Peer:
    """A consumer with its link."""

    def __init__(self, name: str, permits: int = 1000, **more: object) -> None:
        self.link = FakeLink()
        self.consumer = Consumer(self.link, 1, name, **more)  # type: ignore[arg-type]
        self.consumer.permits = permits

    def take(self) -> list[int]:
        return self.link.numbers()


def join(dispatcher: Dispatcher, *peers: Peer) -> None:
    for peer in peers:
        dispatcher.add(peer.consumer)
        dispatcher.started(peer.consumer)


def ack(source: FakeSource, dispatcher: Dispatcher, peer: Peer, *numbers: int) -> None:
    for number in numbers:
        source.cursor.ack(Position(1, number))
        dispatcher.acked(peer.consumer, Position(1, number))


def test_shared_round_robin_and_priority() -> None:
    source = FakeSource()
    shared = Shared(source, EARLIEST)
    a, b, spare = Peer("a", 3), Peer("b", 2), Peer("c", 10, priority=1)
    join(shared, a, spare, b)
    source.add(7)
    shared.dispatch()
    assert (a.take(), b.take(), spare.take()) == ([0, 2, 4], [1, 3], [5, 6])


def test_shared_respects_write_buffers() -> None:
    source = FakeSource()
    shared = Shared(source, EARLIEST)
    a, b = Peer("a"), Peer("b")
    join(shared, a, b)
    a.link.has_room = False
    source.add(3)
    shared.dispatch()
    assert (a.take(), b.take()) == ([], [0, 1, 2])


def test_shared_gives_back_in_order() -> None:
    source = FakeSource()
    shared = Shared(source, EARLIEST)
    a, b = Peer("a"), Peer("b", 0)
    join(shared, a, b)
    source.add(5)
    shared.dispatch()
    ack(source, shared, a, 1, 3)
    shared.remove(a.consumer)
    b.consumer.permits = 10
    shared.dispatch()
    assert b.take() == [0, 2, 4]


def test_redelivery_is_counted_until_acknowledged() -> None:
    source = FakeSource()
    shared = Shared(source, EARLIEST)
    a = Peer("a")
    join(shared, a)
    source.add(2)
    for count in range(1, 3):
        shared.dispatch()
        shared.redeliver(a.consumer, [Position(1, 0)])
        assert shared.redeliveries == {Position(1, 0): count}
    shared.redeliver(a.consumer, [Position(1, 7)])  # not its own: ignored
    shared.dispatch()
    ack(source, shared, a, 0, 1)
    assert shared.redeliveries == {}
    assert a.consumer.unacked == {}
    assert a.consumer.unacked_messages == 0


def test_chunks_stay_together() -> None:
    source = FakeSource()
    shared = Shared(source, EARLIEST)
    a, b = Peer("a"), Peer("b")
    join(shared, a, b)
    for chunk in range(4):
        source.add(1, uuid="u", num_chunks=4, chunk_id=chunk)
        source.add(1)
    shared.dispatch()
    got = a.take(), b.take()
    holder = next(part for part in got if 0 in part)
    assert [n for n in holder if n % 2 == 0] == [0, 2, 4, 6]


def test_delayed_messages_wait_for_their_time() -> None:
    source = FakeSource()
    shared = Shared(source, EARLIEST)
    a = Peer("a")
    join(shared, a)
    source.add(1, deliver_at_ms=5000)
    source.add(1)
    shared.dispatch()
    assert a.take() == [1]
    assert shared.delayed == 1
    source.clock_ms = 5001
    source.fire()
    shared.dispatch()
    assert a.take() == [0]


def test_failover_by_partition_and_priority() -> None:
    source = FakeSource()
    source.partition = 1
    failover = SingleActive(source, EARLIEST, SubType.FAILOVER)
    a, b, low = Peer("a"), Peer("b"), Peer("0", priority=5)
    join(failover, a)
    assert failover.active is a.consumer
    join(failover, b, low)
    assert failover.active is b.consumer  # partition 1 of the two with the best priority
    source.add(2)
    failover.dispatch()
    assert b.take() == []  # it waits for late acknowledgements
    source.fire()
    failover.dispatch()
    assert (a.take(), b.take()) == ([], [0, 1])
    failover.remove(b.consumer)
    failover.remove(a.consumer)
    source.fire()
    failover.dispatch()
    assert low.take() == [0, 1]


def test_sticky_ranges() -> None:
    source = FakeSource()
    keyed = KeyShared(source, EARLIEST, sticky=True)
    half = HASH_RANGE // 2
    a = Peer("a", ranges=((0, half - 1),))
    b = Peer("b", ranges=((half, HASH_RANGE - 1),))
    join(keyed, a, b)
    for wrong in ((), ((0, 5),), ((5, 2),), ((0, HASH_RANGE),)):
        with pytest.raises(BrokerError) as refused:
            keyed.add(Peer("c", ranges=wrong).consumer)
        assert refused.value.code == "assign"
    for n in range(20):
        source.add(1, partition_key=f"k{n}")
    keyed.dispatch()
    got = a.take(), b.take()
    assert sorted(got[0] + got[1]) == list(range(20))
    assert got[0]
    assert got[1]


def test_keys_wait_while_their_slot_moves() -> None:
    source = FakeSource()
    keyed = KeyShared(source, EARLIEST)
    a = Peer("a")
    join(keyed, a)
    keys = [f"k{n}" for n in range(40)]
    for key in keys:
        source.add(1, partition_key=key)
    keyed.dispatch()
    assert a.take() == list(range(40))
    b = Peer("b")
    join(keyed, b)
    for key in keys:
        source.add(1, partition_key=key)
    keyed.dispatch()
    assert b.take() == []  # every key still has an entry at a
    stayed = a.take()
    moved = sorted(set(range(40, 80)) - set(stayed))
    assert moved
    assert stayed
    ack(source, keyed, a, *range(40))
    keyed.dispatch()
    assert b.take() == moved


steps = st.lists(
    st.tuples(st.sampled_from("pppjlaand"), st.integers(0, 7)), min_size=5, max_size=120
)


class KeyModel:
    """Consumers that come, go, acknowledge and give back; checks the order of every key."""

    def __init__(self, *, out_of_order: bool = False) -> None:
        self.source = FakeSource()
        self.keyed = KeyShared(self.source, EARLIEST, out_of_order=out_of_order)
        self.peers: list[Peer] = []
        self.held: dict[Peer, list[int]] = {}
        self.done: set[int] = set()
        self.joined = 0

    def act(self, step: str, number: int) -> None:
        if step == "p":
            self.source.add(1, partition_key=f"k{number}")
        elif step == "j" and len(self.peers) < 4:
            peer = Peer(f"c{self.joined}", permits=3)
            self.joined += 1
            self.peers.append(peer)
            self.held[peer] = []
            join(self.keyed, peer)
        elif self.peers:
            self.act_on(step, self.peers[number % len(self.peers)], number)
        self.keyed.dispatch()
        self.collect()

    def act_on(self, step: str, peer: Peer, number: int) -> None:
        mine = self.held[peer]
        peer.consumer.permits += number
        if step == "l":
            self.peers.remove(peer)
            self.keyed.remove(peer.consumer)
            del self.held[peer]
        elif step == "n" and mine:
            self.keyed.redeliver(peer.consumer, None)
            mine.clear()
        elif step == "a" and mine:
            self.done.add(mine[0])
            ack(self.source, self.keyed, peer, mine.pop(0))

    def key(self, number: int) -> str | None:
        entry = self.source.log.read(Position(1, number), 1, 1)[0]
        return read_metadata(entry.blob).partition_key

    def collect(self) -> None:
        """A message comes only when all earlier ones of its key are done or at the same peer."""
        for peer in self.peers:
            for got in peer.take():
                earlier = {n for n in range(got) if self.key(n) == self.key(got)}
                assert got not in self.done
                assert earlier - self.done <= set(self.held[peer])
                self.held[peer].append(got)

    def drain(self) -> None:
        """Nothing is ever stuck."""
        for _ in range(200):
            for peer in self.peers:
                peer.consumer.permits = 100
                while self.held[peer]:
                    self.act_on("a", peer, 0)
            self.keyed.dispatch()
            self.collect()
            if not any(self.held.values()):
                break
        assert self.done == set(range(self.source.log.end.entry))


@given(steps)
def test_key_shared_order_whatever_happens(script: list[tuple[str, int]]) -> None:
    model = KeyModel()
    for step, number in script:
        model.act(step, number)
    if model.peers:
        model.drain()


def test_the_model_notices_disorder() -> None:
    script = [("j", 0), *[("p", n) for n in range(8)], ("j", 0), *[("p", n) for n in range(8)]]
    model = KeyModel(out_of_order=True)

    def play() -> None:
        for step, number in [*script, ("d", 6), ("d", 7)]:
            model.act(step, number)

    with pytest.raises(AssertionError):
        play()
