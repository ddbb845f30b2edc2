"""Interleavings in which an acknowledged object could be lost, or memory could grow."""

from __future__ import annotations

import asyncio
from typing import cast

from tests.router.fakes import FakeOwner, FakeProducer, line
from tests.router.test_peer import Desk, settle
from wtp.broker.client import Producer
from wtp.errors import BrokerError
from wtp.model import Kind, Track
from wtp.router.link import BrokerLink
from wtp.router.routes import ReliableRoute, Route

CHAT = Track("default", "me", "chat")


class SlowLink:
    """Opens producers when told."""

    def __init__(self) -> None:
        self.opening: dict[Route, asyncio.Future[FakeProducer]] = {}

    async def open(self, route: Route) -> None:
        self.opening[route] = asyncio.get_running_loop().create_future()
        route.attach(cast(Producer, await self.opening[route]))

    def remove(self, route: Route) -> None:
        route.attach(None)


def slow_desk() -> tuple[Desk, SlowLink]:
    desk, link = Desk(), SlowLink()
    desk.rooms._link = cast(BrokerLink, link)
    return desk, link


async def test_a_track_taken_over_while_its_producer_opens_waits_for_the_last_sequence() -> None:
    desk, link = slow_desk()
    first, second = FakeOwner(), FakeOwner()
    claims = [
        asyncio.create_task(desk.rooms.claim(CHAT, Kind.CHAT, "text/plain", owner))
        for owner in (first, second)
    ]
    await settle()
    assert first.gone
    assert not claims[1].done()
    next(iter(link.opening.values())).set_result(FakeProducer(last_seq=5))
    routes = await asyncio.gather(*claims)
    assert routes[1].last_seq == 5
    assert routes[1].owner is second


async def test_a_takeover_survives_a_producer_that_could_not_be_opened() -> None:
    desk, link = slow_desk()
    claims = [
        asyncio.create_task(desk.rooms.claim(CHAT, Kind.CHAT, "text/plain", owner))
        for owner in (FakeOwner(), FakeOwner())
    ]
    await settle()
    next(iter(link.opening.values())).set_exception(BrokerError("no"))
    await settle()
    assert isinstance(claims[0].exception(), BrokerError)
    route = desk.rooms.routes[CHAT]
    link.opening[route].set_result(FakeProducer(last_seq=5))
    assert await claims[1] is route
    assert isinstance(route, ReliableRoute)
    route.offer(line(6))
    assert route.queued == 0
    for task in desk.tasks:
        task.cancel()
