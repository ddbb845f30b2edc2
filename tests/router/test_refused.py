"""Objects that a broker never takes, through the unmodified client and a real protocol."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pulsar
import pytest

from tests.broker_protocol.running import broker, client
from tests.router.fakes import FakeOwner, clock, line
from wtp.config.schema import BrokerSettings
from wtp.model import Kind, Track
from wtp.router.link import BrokerLink
from wtp.router.reliable import ReliableRoute
from wtp.router.route import Route

TOPIC = "persistent://public/default/data"
MOST_BYTES = 100_000


class Confirming(FakeOwner):
    """A sender that confirms each refusal, as publishers do."""

    def rejected(self, route: Route, seq: int, code: str, message: str) -> None:
        super().rejected(route, seq, code, message)
        assert isinstance(route, ReliableRoute)
        asyncio.get_running_loop().call_soon(route.confirmed, seq)


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("confirms", [True, False])
async def test_what_is_too_large_for_the_broker(tmp_path: Path, confirms: bool) -> None:
    with broker(tmp_path / "data", max_message_bytes=MOST_BYTES) as running:
        link = BrokerLink(BrokerSettings(url=running.url))
        route = ReliableRoute(
            Track("default", "me", "data"), Kind.DATA, "text/plain", TOPIC, clock()
        )
        owner = Confirming() if confirms else FakeOwner()
        route.owner, route.instance = owner, "run"
        await link.open(route)
        sizes = [10, 2 * MOST_BYTES, 10, 10, 2 * MOST_BYTES, 10]
        for seq, size in enumerate(sizes, 1):
            route.offer(line(seq, "x" * size))
        if confirms:
            await until(route.idle.is_set)
            assert owner.refusals == [(2, "too-large"), (5, "too-large")]
        else:
            await until(lambda: owner.refusals)
            await asyncio.sleep(0.1)
            assert route.last_seq == 1
        assert route.ledger.balanced
        await link.close()
        with client(running.url) as foreign:
            reader = foreign.create_reader(TOPIC, pulsar.MessageId.earliest)
            seqs = []
            while reader.has_message_available():
                seqs.append(int(reader.read_next(1000).properties()["seq"]))
        assert seqs == ([1, 3, 4, 6] if confirms else [1])
