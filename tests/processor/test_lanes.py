"""Lanes let the objects of a track in by their sequence."""

from __future__ import annotations

import asyncio

import pytest

from wtp.processor import lanes
from wtp.processor.lanes import Lane, Lanes, OutOfTurn


@pytest.fixture(autouse=True)
def _short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "RELIABLE_PATIENCE_S", 0.05)


async def entered(lane: Lane, *seqs: int) -> list[int]:
    """Let objects in that all come at once; return the order in which they got in."""
    order: list[int] = []

    async def one(seq: int) -> None:
        await lane.enter(seq)
        order.append(seq)
        await asyncio.sleep(0)
        lane.leave(seq)

    await asyncio.gather(*(one(seq) for seq in seqs))
    return order


async def test_objects_enter_by_sequence() -> None:
    lane = Lane(reliable=False)
    assert await entered(lane, 5) == [5]
    assert await entered(lane, 9, 8, 6, 7) == [6, 7, 8, 9]
    assert lane.idle


async def test_a_gap_is_waited_for_and_passed() -> None:
    lane = Lane(reliable=False)
    assert await entered(lane, 1) == [1]
    assert await entered(lane, 7, 4) == [4, 7]
    assert await entered(lane, 2) == [2]


async def test_what_failed_holds_up_a_reliable_track() -> None:
    lane = Lane(reliable=True)
    await lane.enter(1)
    lane.leave(1, failed=True)
    with pytest.raises(OutOfTurn) as caught:
        await lane.enter(2)
    assert caught.value.code == "wait"
    assert await entered(lane, 3, 2, 1) == [1, 2, 3]
    lane.fail(2)
    with pytest.raises(OutOfTurn):
        await lane.enter(4)
    assert await entered(lane, 4, 2, 3) == [2, 3, 4]
    assert await entered(lane, 6) == [6]


async def test_a_reliable_track_waits_for_its_beginning() -> None:
    assert await entered(Lane(reliable=True), 2, 3, 1) == [1, 2, 3]
    assert await entered(Lane(reliable=True), 5, 4) == [4, 5]


async def test_a_live_track_is_never_held_up() -> None:
    lane = Lane(reliable=False)
    await lane.enter(1)
    lane.leave(1, failed=True)
    assert await entered(lane, 3, 2, 1) == [2, 1, 3]


async def test_whoever_gives_up_waiting_holds_up_nobody() -> None:
    lane = Lane(reliable=False)
    await lane.enter(1)
    waiting = [asyncio.create_task(lane.enter(seq)) for seq in (2, 3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    lane.leave(1)
    await waiting[1]
    lane.leave(3)
    assert lane.idle
    entering = asyncio.create_task(lane.enter(4))
    await asyncio.sleep(0)
    entering.cancel()
    await asyncio.gather(entering, return_exceptions=True)
    lane._busy = False
    assert await entered(lane, 5) == [5]


async def test_lanes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "MOST_LANES", 2)
    table = Lanes()
    first = table.of("a", "", False)
    table.of("b", "", False)
    assert table.of("a", "", False) is first
    table.of("c", "", False)
    assert table.of("a", "", False) is first
    assert len(table._lanes) == 2
