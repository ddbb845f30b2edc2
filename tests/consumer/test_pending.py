from __future__ import annotations

import asyncio

from tests.consumer.fakes import item, message
from wtp.consumer.item import Item
from wtp.consumer.pending import LOSSLESS_BYTES, Pending


def picture(seq: int, *, gop: int = 5, track: str = "default/cam/video", size: int = 10) -> Item:
    return item(message(seq, key=seq % gop == 1, track=track, payload=bytes(size)))


def seqs(items: list[Item]) -> list[int]:
    return [one.obj.seq for one in items if one.obj]


async def test_live_gives_up_the_oldest_group() -> None:
    pending = Pending(live=True, max_items=8)
    dropped = [seqs(await pending.put(picture(seq))) for seq in range(2, 11)]
    assert dropped[:8] == [[]] * 8
    assert dropped[8] == [2, 3, 4, 5]
    assert seqs(await pending.take(100)) == [6, 7, 8, 9, 10]


async def test_live_without_a_newer_key_frame_waits_for_one() -> None:
    pending = Pending(live=True, max_items=3)
    lost = [one for seq in range(1, 9) for one in await pending.put(picture(seq, gop=6))]
    assert seqs(lost) == [1, 2, 3, 4, 5, 6]
    assert seqs(await pending.take(100)) == [7, 8]


async def test_live_spares_other_tracks() -> None:
    pending = Pending(live=True, max_items=4)
    for seq in (1, 2):
        await pending.put(picture(seq))
        await pending.put(picture(seq, track="default/other/video"))
    assert seqs(await pending.put(picture(3))) == [1, 2, 3]
    left = await pending.take(10)
    assert {one.track for one in left} == {"default/other/video"}


async def test_bytes_are_bounded_too_but_one_large_object_passes() -> None:
    pending = Pending(live=True, max_bytes=25)
    assert await pending.put(picture(1, size=100)) == []
    assert seqs(await pending.put(picture(6, size=10))) == [1]
    assert seqs(await pending.take(10)) == [6]


async def test_lossless_waits_for_room() -> None:
    pending = Pending(live=False, max_items=2)
    for seq in (1, 2):
        await pending.put(picture(seq))
    third = asyncio.create_task(pending.put(picture(3)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not third.done()
    assert seqs(await pending.take(1)) == [1]
    assert await third == []
    assert seqs(await pending.take(10)) == [2, 3]


async def test_what_is_taken_at_once_is_bounded_by_bytes_too() -> None:
    pending = Pending(live=False)
    for seq, size in enumerate([100, 10, 10, 10], 1):
        await pending.put(picture(seq, size=size))
    assert [seqs(await pending.take(9, 25)) for _ in range(3)] == [[1], [2, 3], [4]]


async def test_without_loss_few_bytes_wait_and_the_broker_keeps_the_rest() -> None:
    pending = Pending(live=False)
    large = LOSSLESS_BYTES // 4
    for seq in range(1, 5):
        await pending.put(picture(seq, size=large))
    fifth = asyncio.create_task(pending.put(picture(5, size=large)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not fifth.done()
    assert seqs(await pending.take(1)) == [1]
    assert await fifth == []


async def test_closing_hands_out_the_rest_and_then_nothing() -> None:
    pending = Pending(live=False)
    await pending.put(picture(1))
    pending.close()
    assert seqs(await pending.take(10)) == [1]
    assert await pending.take(10) == []


async def test_taking_is_not_hurt_by_cancellation() -> None:
    pending = Pending(live=False)
    waiting = asyncio.create_task(pending.take(1))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await pending.put(picture(1))
    assert len(pending) == 1
    assert seqs(pending.clear()) == [1]
