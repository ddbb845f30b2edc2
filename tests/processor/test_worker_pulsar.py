"""Topic workers on a real Pulsar: shared by key, in order, once, whatever copy dies."""

from __future__ import annotations

import asyncio
import secrets

import pytest

from tests.processor.test_worker import PASS, feeding, read, seqs, until, working
from tests.pulsar import RealPulsar
from wtp.broker.topics import Admin
from wtp.config.schema import BrokerSettings, RoomSettings, Settings
from wtp.model import Kind
from wtp.processor.worker import Worker

pytestmark = pytest.mark.pulsar


async def test_copies_come_and_go(real_pulsar: RealPulsar) -> None:
    room = f"wk-{secrets.token_hex(4)}"
    admin = Admin(real_pulsar.admin)
    await admin.ensure_namespace(
        f"public/{room}", retention_minutes=60, retention_mb=100, deduplication=True
    )
    await admin.close()
    chosen = Settings(
        broker=BrokerSettings(url=real_pulsar.url, admin=real_pulsar.admin),
        rooms=RoomSettings(room=room),
    )
    tracks = [f"{room}/me/track-{i}" for i in range(6)]
    copies = [Worker(chosen, Kind.CHAT, PASS) for _ in range(3)]
    output = f"persistent://public/{room}/chat-passthrough"

    def done() -> int:
        return sum(copy.figures.ledger.delivered for copy in copies)

    async with feeding(real_pulsar.url) as feed, working(copies[0]):
        for track in tracks:
            await feed.send(Kind.CHAT, range(1, 51), track=track)
        await until(lambda: done() == 300, 30)
        doomed = asyncio.create_task(copies[1].run(lambda _: None))
        await until(lambda: copies[1].snapshot()["connected"], 30)
        for start in (51, 101):
            for track in tracks:
                await feed.send(Kind.CHAT, range(start, start + 50), track=track)
            await until(lambda: copies[1].figures.ledger.offered > 0, 30)
        doomed.cancel()
        await asyncio.gather(doomed, return_exceptions=True)
        async with working(copies[2]):
            for track in tracks:
                await feed.send(Kind.CHAT, range(151, 201), track=track)
            got = await read(real_pulsar.url, output, 1200, 60)
            await until(lambda: not any(copy.figures.ledger.in_flight for copy in copies), 30)
    for track in tracks:
        assert seqs([message for message in got if message.key == track]) == list(range(1, 201))
    assert copies[1].figures.ledger.offered
    assert all(copy.figures.ledger.balanced for copy in copies)
