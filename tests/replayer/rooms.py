"""Rooms on a broker that runs: filled as the router fills them, live or with a past."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tests.replayer.fakes import Collect
from wtp.broker.client import BrokerClient
from wtp.broker.connect import administer, connect
from wtp.clock import Clock
from wtp.config.load import override
from wtp.config.schema import Settings
from wtp.model import Kind, Object, to_properties
from wtp.replayer.request import Request
from wtp.replayer.run import Replayer
from wtp.replayer.sink import OutputSink

RATES = {Kind.VIDEO: 30, Kind.AUDIO: 50, Kind.CHAT: 2}
"""Objects a second by kind."""


def rhythm(seconds: float) -> list[tuple[int, Kind, int]]:
    """Capture times (µs from 0), kinds and sequence numbers of a room, in order."""
    objects = [
        (number * 1_000_000 // rate, kind, number + 1)
        for kind, rate in RATES.items()
        for number in range(int(seconds * rate))
    ]
    return sorted(objects)


@dataclass
class RunningRoom:
    """A room of its own on a broker.

    Attributes:
        settings: Lead to the broker and the room.
        client: Its client.
        clock: Of the stamps.
    """

    settings: Settings
    client: BrokerClient
    clock: Clock

    @property
    def name(self) -> str:
        return self.settings.rooms.room

    def topic(self, kind: Kind) -> str:
        return self.settings.topics.topic(self.name, kind)

    async def publish(
        self, objects: Iterable[tuple[int, Kind, int]], start_us: int, *, live: bool = False
    ) -> None:
        """Publish objects; live: each when its time has come."""
        producers = {kind: await self.client.producer(self.topic(kind)) for kind in RATES}
        failed: list[object] = []
        slots = asyncio.Semaphore(500)

        def done(error: object) -> None:
            slots.release()
            if error is not None:
                failed.append(error)

        for at_us, kind, seq in objects:
            wait_us = start_us + at_us - self.clock.now_us()
            if live and wait_us > 0:
                await asyncio.sleep(wait_us / 1e6)
            obj = Object(
                kind=kind, seq=seq, group=seq, key=True, payload=b"%s %d" % (kind.encode(), seq),
                content_type="text/plain" if kind is Kind.CHAT else "image/jpeg",
                capture_us=start_us + at_us,
            )  # fmt: skip
            await slots.acquire()
            producers[kind].send(
                obj.payload,
                properties=to_properties(obj, "run-1", str(self.clock.domain), 0),
                key=f"{self.name}/cam/{kind}",
                event_ms=(start_us + at_us) // 1000,
                seq=None,
                done=done,
            )
        for producer in producers.values():
            await producer.flush()
            await producer.close()
        assert failed == []

    def replayer(self, output: Collect, **request: Any) -> Replayer:
        """A replay of the room, as fast as it goes unless the request says otherwise."""
        return Replayer(self.settings, Request(**{"speed": 0.0, **request}), OutputSink(output))


async def running_room(url: str, admin: str) -> RunningRoom:
    """A new, empty room."""
    name = f"replay-{secrets.token_hex(4)}"
    settings = override(
        Settings(),
        {"broker.url": url, "broker.admin": admin, "rooms.room": name, "rooms.create": True},
    )
    async with administer(settings.broker) as directory:
        await directory.ensure_namespace(
            f"public/{name}", retention_minutes=60, retention_mb=64, deduplication=True
        )
    return RunningRoom(settings, connect(settings.broker), Clock())
