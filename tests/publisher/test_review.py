"""Interleavings in which a publisher could wait for ever, or be thrown out at its end."""

from __future__ import annotations

import asyncio

import pytest

from tests.publisher.test_active import Rig
from wtp.publisher import active as module
from wtp.wire import control


async def test_what_waited_for_the_transport_goes_on_without_a_word_from_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A receipt may overtake the acknowledgement of the bytes, and no event follows then."""
    monkeypatch.setattr(module, "QUICK_PING_S", 0.001)
    monkeypatch.setattr(module, "PING_S", 0.001)
    monkeypatch.setattr(module, "UNANSWERED", 10_000)
    rig = Rig()
    rig.ready()
    rig.session.stuck = True
    for _ in range(40):
        await rig.chat.offer(bytes(16_000), {})
    sent = rig.chat.sent
    assert sent < 40
    rig.tell(control.Receipt(2, sent))
    assert rig.chat.sent == sent
    rig.session.acknowledge()
    watching = asyncio.create_task(rig.active.watch())
    async with asyncio.timeout(60):
        while rig.chat.sent < 40:
            await asyncio.sleep(0.001)
    watching.cancel()


async def test_two_flushes_at_once_are_both_answered() -> None:
    """The router drains while the publisher ends: a Ctrl-C for both."""
    rig = Rig()
    rig.ready()
    flushes = [asyncio.create_task(rig.active.flush(1.0)) for _ in range(2)]
    for _ in range(5):
        await asyncio.sleep(0)
    rig.tell(control.Flushed({}))
    assert await asyncio.gather(*flushes) == [True, True]
