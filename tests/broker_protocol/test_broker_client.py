"""The asyncio face of `pulsar-client`, without a broker."""

from __future__ import annotations

import asyncio
import threading

import pytest

from wtp.broker.client import BrokerClient
from wtp.errors import BrokerUnavailable


async def inside() -> None:
    """The broker has let us in."""


async def test_closing_ends_a_look_that_the_client_never_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ctrl-C while joining left a thread behind that kept the process from ending."""
    asked, never = threading.Event(), threading.Event()

    class Reader:
        def has_message_available(self) -> bool:
            asked.set()
            never.wait(60)
            return False

        def close(self) -> None:
            pass

    broker = BrokerClient("pulsar://127.0.0.1:1")
    monkeypatch.setattr(broker, "enter", inside)
    broker._raw.create_reader = lambda *_args, **_more: Reader()
    looking = asyncio.create_task(broker.last_position("persistent://public/default/video"))
    try:
        assert await asyncio.to_thread(asked.wait, 5)
        await broker.close()
        async with asyncio.timeout(60):
            with pytest.raises(BrokerUnavailable):
                await looking
        for thread in broker._pool._threads:
            await asyncio.to_thread(thread.join, 5)
            assert not thread.is_alive()
    finally:
        never.set()
