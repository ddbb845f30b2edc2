"""A log does what a list does, whatever is asked in whatever order, over restarts and kills."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.broker_storage.logs import Logs, kill
from wtp.broker.embedded.log import TopicLog
from wtp.broker.embedded.segment import INDEX_BYTES
from wtp.broker.embedded.tail import TailBudget
from wtp.broker.embedded.values import EARLIEST, LATEST, Entry, Position


class LogModel(RuleBasedStateMachine):
    """The list holds all entries that were not trimmed."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.logs = Logs(self.folder, segment_bytes=3 * INDEX_BYTES)
        self.model: list[Entry] = []
        self.log: TopicLog = self.logs.open(budget=TailBudget(total_bytes=20_000))

    def teardown(self) -> None:
        self.log.close()
        shutil.rmtree(self.folder)

    @rule(
        count=st.integers(1, 60),
        size=st.sampled_from([0, 10, 900, 17_000, 40_000]),
        step_ms=st.integers(-3, 5),
    )
    def append(self, count: int, size: int, step_ms: int) -> None:
        at_ms = self.model[-1].publish_ms if self.model else 1000
        for number in range(count if size < 17_000 else 3):
            blob, at_ms = bytes([number]) * size, max(0, at_ms + step_ms)
            position = self.log.append(blob, at_ms, number + 1)
            self.model.append(Entry(position, at_ms, number + 1, blob))

    @rule()
    def restart(self) -> None:
        self.log.close()
        self.log = self.logs.open(budget=TailBudget(total_bytes=20_000))

    @rule()
    def kill(self) -> None:
        kill(self.log)
        self.log = self.logs.open(budget=TailBudget(total_bytes=20_000))

    @rule()
    def idle(self) -> None:
        self.log.idle(force=True)

    @rule(where=st.floats(0, 0.4))
    def trim(self, where: float) -> None:
        keep = self.model[int(where * (len(self.model) - 1))].position if self.model else None
        self.log.trim(10**15, 0, 0, keep)
        first = self.log.first
        assert keep is None or first <= keep
        self.model = [entry for entry in self.model if entry.position >= first]

    def somewhere(self, where: float, off: int) -> Position:
        if not self.model:
            return Position(0, off)
        places = [entry.position for entry in self.model]
        starts = [place for place in places if place.entry == 0]
        if int(where * 1000) % 2 and starts:
            places = starts
        position = places[int(where * (len(places) - 1))]
        return Position(position.ledger, position.entry + off)

    @rule(
        where=st.floats(0, 1),
        off=st.integers(-1, 1),
        count=st.integers(1, 50),
        size=st.sampled_from([1, 1000, 100_000, 10**7]),
    )
    def read(self, where: float, off: int, count: int, size: int) -> None:
        position = self.somewhere(where, off)
        expected = [entry for entry in self.model if entry.position >= position]
        found = self.log.read(position, count, size)
        assert found == expected[: len(found)]
        assert len(found) <= count
        assert bool(found) == bool(expected)
        assert len(found) == 1 or sum(len(entry.blob) for entry in found) <= size

    @rule(where=st.floats(0, 1), off=st.integers(-2, 2))
    def neighbours(self, where: float, off: int) -> None:
        self.neighbours_of(self.somewhere(where, off))

    @invariant()
    def end(self) -> None:
        self.neighbours_of(Position(self.log.end.ledger, -1))
        self.neighbours_of(self.log.end)

    def neighbours_of(self, position: Position) -> None:
        places = [entry.position for entry in self.model]
        after = [place for place in places if place > position]
        before = [place for place in places if place < position]
        assert self.log.next_position(position) == (after[0] if after else self.log.end)
        assert self.log.previous_position(position) == (before[-1] if before else EARLIEST)
        assert self.log.valid(position) == (position in places)
        count = sum(place >= position for place in places)
        assert self.log.count_between(position, LATEST) == count
        assert self.log.count_between(EARLIEST, position) == len(places) - count

    @rule(at_ms=st.integers(0, 2000))
    def seek(self, at_ms: int) -> None:
        found = [entry.position for entry in self.model if entry.publish_ms >= at_ms]
        assert self.log.seek_time(at_ms) == (found[0] if found else self.log.end)

    @invariant()
    def counts(self) -> None:
        assert self.log.entries == len(self.model)
        assert self.log.last == (self.model[-1].position if self.model else None)
        assert self.log.first == (self.model[0].position if self.model else self.log.end)
        assert sum(entries for _, entries, _ in self.log.ledgers()) == len(self.model)
        assert self.logs.damage == []


TestLogModel = LogModel.TestCase
TestLogModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
