"""Cursors against plain sets."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from wtp.broker.embedded.cursor import Cursor, Ranges, after, before
from wtp.broker.embedded.memorylog import MemoryLog
from wtp.broker.embedded.values import EARLIEST, CursorState, Position

numbers = st.integers(0, 30)


@given(st.lists(st.tuples(st.sampled_from(["add", "drop"]), numbers), max_size=60))
def test_ranges_are_a_set(steps: list[tuple[str, int]]) -> None:
    ranges, model = Ranges(), set[int]()
    for step, number in steps:
        place = Position(1, number)
        if step == "add":
            assert ranges.add(place) == (number not in model)
            model.add(number)
        elif number < 10:
            ranges.drop_up_to(place)
            model = {n for n in model if n > number}
        assert all((Position(1, n) in ranges) == (n in model) for n in range(32))
        runs = list(ranges)
        assert sum(last.entry - first.entry + 1 for first, last in runs) == len(model)
        assert all(a[1].entry + 1 < b[0].entry for a, b in pairwise(runs))


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 19)), max_size=60))
def test_cursor_is_a_set(steps: list[tuple[bool, int]]) -> None:
    log = MemoryLog("t", 4)
    for _ in range(20):
        log.append(b"x", 1, 1)
    cursor, model = Cursor(log, CursorState()), set[int]()
    for cumulative, number in steps:
        place = Position(4, number)
        if cumulative:
            cursor.ack_up_to(place)
            model |= set(range(number + 1))
        else:
            assert cursor.ack(place) == (number not in model)
            model.add(number)
        assert all(cursor.is_acked(Position(4, n)) == (n in model) for n in range(20))
        lowest = next(n for n in range(21) if n not in model)
        assert cursor.mark == (Position(4, lowest - 1) if lowest else EARLIEST)
        again = Cursor(log, cursor.state())
        assert all(again.is_acked(Position(4, n)) == (n in model) for n in range(20))
    cursor.reset(Position(4, 5))
    assert cursor.is_acked(Position(4, 4))
    assert not cursor.is_acked(Position(4, 5))


class TwoLedgers:
    """Entries 3:0, 3:1 and then 8:0, 8:1."""

    def next_position(self, position: Position) -> Position:
        places = [Position(3, 0), Position(3, 1), Position(8, 0), Position(8, 1)]
        return next((p for p in places if p > position), Position(8, 2))


def test_marks_cross_ledgers() -> None:
    cursor = Cursor(TwoLedgers(), CursorState())
    for place in ((8, 0), (3, 1), (8, 1)):
        cursor.ack(Position(*place))
    assert cursor.mark == EARLIEST
    assert list(cursor.acked) == [((3, 1), (3, 1)), ((8, 0), (8, 1))]
    cursor.ack(Position(3, 0))
    assert cursor.mark == (8, 1)
    assert len(cursor.acked) == 0


def test_neighbours() -> None:
    assert before(EARLIEST) == EARLIEST
    assert before(Position(3, 0)) == (3, -1)
    assert before(Position(3, 7)) == (3, 6)
    assert after(Position(3, 7)) == (3, 8)
    assert "x" not in Ranges([(Position(1, 1), Position(1, 2))])
