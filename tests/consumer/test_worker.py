from __future__ import annotations

import asyncio
import threading

import pytest

from wtp.consumer.worker import Worker


async def test_calls_run_in_one_thread_in_order_and_return() -> None:
    worker = Worker("test")
    order: list[tuple[int, int]] = []

    def note(number: int) -> int:
        order.append((number, threading.get_ident()))
        return number * 2

    results = await asyncio.gather(*(worker.call(note, n) for n in range(5)))
    worker.close()
    assert results == [0, 2, 4, 6, 8]
    assert [number for number, _ in order] == list(range(5))
    assert len({thread for _, thread in order}) == 1
    assert order[0][1] != threading.get_ident()


async def test_what_is_raised_comes_over() -> None:
    worker = Worker("test")

    def fail() -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        await worker.call(fail)
    worker.close()


async def test_a_call_that_hangs_can_be_left_behind() -> None:
    worker = Worker("test")
    gate = threading.Event()
    task = asyncio.create_task(worker.call(gate.wait, 10))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    gate.set()
    assert await worker.call(lambda: 1) == 1
    worker.close()
