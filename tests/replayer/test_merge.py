from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.replayer.fakes import T0_US, message
from wtp.replayer import merge as module
from wtp.replayer.merge import Entry, Merge
from wtp.replayer.placed import Placed
from wtp.replayer.when import NEVER_US

SLACK_US = 100


class FakeFeed:
    """A topic that is read in pieces."""

    def __init__(self, times_us: list[int], piece: int = 3, *, endless: bool = False) -> None:
        self.queue: deque[Entry] = deque()
        self.seen_us = -NEVER_US
        self.live = False
        self.taken = 0
        self._rest = deque(times_us)
        self._piece, self._endless = piece, endless
        self.reads = 0

    @property
    def ended(self) -> bool:
        return not self._rest and not self._endless

    @property
    def free(self) -> bool:
        return self.ended or self.live

    def read(self) -> None:
        if not self.queue and self._rest:
            self.reads += 1
        while self._rest and len(self.queue) < self._piece:
            at_us = self._rest.popleft()
            self.seen_us = max(self.seen_us, at_us)
            one = message(T0_US, payload=b"x" * 10)
            self.queue.append((at_us, Placed(one, at_us, "capture", False)))

    def took(self) -> None:
        self.taken += 1


def played(merge: Merge, feeds: list[FakeFeed], limit: int = 10_000) -> list[int]:
    """Everything in the order it comes out."""
    out: list[int] = []
    for _ in range(limit):
        for feed in feeds:
            feed.read()
        merge.take_in()
        while merge.next_us() is not None:
            out.append(merge.pop().at_us)
        if merge.finished:
            break
    return out


@given(
    st.lists(st.lists(st.integers(0, 5_000), max_size=40), min_size=1, max_size=5),
    st.integers(1, 7),
)
def test_what_is_disordered_less_than_the_slack_comes_out_in_order(
    topics: list[list[int]], piece: int
) -> None:
    feeds = []
    for times_us in topics:
        jittered = sorted(times_us, key=lambda at_us: at_us + hash((at_us, piece)) % SLACK_US)
        feeds.append(FakeFeed(jittered, piece))
    merge = Merge(feeds, SLACK_US)
    out = played(merge, feeds)
    assert out == sorted(at_us for times_us in topics for at_us in times_us)
    assert merge.late == 0
    assert merge.held_bytes == 0


def test_a_slow_topic_stalls_nobody_and_a_fast_one_is_not_read_ahead() -> None:
    fast = FakeFeed([n * 10 for n in range(1000)], 5)
    slow = FakeFeed([0, 5_000, 9_990], 5)
    merge = Merge([fast, slow], SLACK_US)
    most = 0
    out: list[int] = []
    while not merge.finished:
        fast.read()
        slow.read()
        merge.take_in()
        most = max(most, len(merge))
        while merge.next_us() is not None:
            out.append(merge.pop().at_us)
    assert len(out) == 1003
    assert out == sorted(out)
    assert most <= 5 + 5 + SLACK_US // 10 + 1


def test_nothing_goes_out_before_a_topic_that_has_something_to_come() -> None:
    ready, waiting = FakeFeed([1, 2, 3]), FakeFeed([0, 4])
    ready.read()
    merge = Merge([ready, waiting], SLACK_US)
    merge.take_in()
    assert merge.next_us() is None
    assert not merge.finished
    waiting.read()
    merge.take_in()
    assert [merge.pop().at_us for _ in range(5)] == [0, 1, 2, 3, 4]


def test_a_live_topic_is_not_waited_for() -> None:
    ready, live = FakeFeed([1, 2]), FakeFeed([], endless=True)
    live.live = True
    assert played(Merge([ready, live]), [ready, live], 3) == [1, 2]


def test_an_object_behind_its_turn_goes_out_at_once_and_is_counted() -> None:
    feed = FakeFeed([1_000, 2_000, 5, 3_000], 1)
    merge = Merge([feed], SLACK_US)
    assert played(merge, [feed]) == [1_000, 5, 2_000, 3_000]
    assert merge.late == 1


@pytest.mark.parametrize(("name", "most"), [("MAX_HELD", 10), ("MAX_HELD_BYTES", 100)])
def test_memory_is_bounded_even_when_a_topic_hangs(
    monkeypatch: pytest.MonkeyPatch, name: str, most: int
) -> None:
    monkeypatch.setattr(module, name, most)
    feed, hanging = FakeFeed(list(range(0, 100_000, 10)), 5), FakeFeed([], endless=True)
    hanging.seen_us = 0
    merge = Merge([feed, hanging], SLACK_US)
    for _ in range(100):
        feed.read()
        feed.seen_us = -1  # it stays the lowest one
        merge.take_in()
    assert merge.full
    assert len(merge) <= 10 + 2 * 5
    assert merge.next_us() == 0, "the earliest goes out although somebody has not answered"
