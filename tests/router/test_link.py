from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import cast

import pytest

from tests.router.fakes import FakeOwner, FakeProducer, Time, clock, line, picture
from wtp.broker.client import Producer
from wtp.config.schema import BrokerSettings, QueueSettings
from wtp.errors import BrokerError, BrokerUnavailable, NotFound
from wtp.model import Kind, Track
from wtp.router import link as module
from wtp.router.link import BrokerLink, reachable
from wtp.router.routes import LiveRoute, ReliableRoute, Route


class FakeClient:
    """A broker client whose broker can be away."""

    made: list[FakeClient]

    def __init__(self, url: str) -> None:
        self.opened: list[FakeProducer] = []
        self.errors: list[BrokerError] = []
        self.closed = False
        FakeClient.made.append(self)

    async def producer(self, topic: str, *, name: str = "", max_pending: int = 0) -> Producer:
        if self.errors:
            raise self.errors.pop(0)
        self.opened.append(FakeProducer(topic=topic))
        return cast(Producer, self.opened[-1])

    async def close(self) -> None:
        self.closed = True


Make = Callable[[], Awaitable[BrokerLink]]


@pytest.fixture(autouse=True)
def _client(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeClient.made = []
    monkeypatch.setattr(module, "connect", FakeClient)
    monkeypatch.setattr(module, "WATCH_S", 0.01)
    monkeypatch.setattr(module, "PATIENCE_S", 0.05)
    monkeypatch.setattr(module, "FIRST_WAIT_S", 0.01)

    async def there(broker: object) -> bool:
        return True

    monkeypatch.setattr(module, "reachable", there)
    monkeypatch.setattr(module, "serves", there)


def live(name: str, topic: str = "t") -> LiveRoute:
    track = Track("r", "p", name)
    route = LiveRoute(track, Kind.VIDEO, "video/h264", topic, clock(), QueueSettings())
    route.owner = FakeOwner()
    return route


def chat() -> ReliableRoute:
    route = ReliableRoute(Track("r", "p", "chat"), Kind.CHAT, "text/plain", "c", clock())
    route.owner = FakeOwner()
    return route


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.005)


async def test_live_tracks_share_a_producer_until_the_last_goes() -> None:
    link = BrokerLink(BrokerSettings(url="pulsar://x"))
    first, second = live("a"), live("b")
    await link.open(first)
    await link.open(second)
    client = FakeClient.made[0]
    assert len(client.opened) == 1
    link.remove(first)
    await asyncio.sleep(0.02)
    assert not client.opened[0].closed
    link.remove(second)
    await until(lambda: client.opened[0].closed)
    await link.close()


async def test_reliable_track_waits_for_the_broker_and_for_a_busy_name() -> None:
    link = BrokerLink(BrokerSettings(url="pulsar://x"))
    FakeClient.made[0].errors = [BrokerUnavailable("down"), BrokerError("busy", code="busy")]
    route = chat()
    await link.open(route)
    assert route.producer is not None
    await link.close()


async def test_refusal_for_good_is_raised() -> None:
    link = BrokerLink(BrokerSettings(url="pulsar://x"))
    FakeClient.made[0].errors = [NotFound("no namespace")]
    with pytest.raises(NotFound):
        await link.open(chat())
    await link.close()


async def test_live_track_goes_on_without_a_broker_and_is_served_later() -> None:
    link = BrokerLink(BrokerSettings(url="pulsar://x"))
    FakeClient.made[0].errors = [BrokerUnavailable("down")]
    route = live("a")
    await link.open(route)
    assert route.producer is None
    route.offer(picture(1, key=True))
    watching = asyncio.create_task(link.watch())
    await until(lambda: route.producer is not None)
    assert FakeClient.made[0].opened[0].seqs == [1]
    watching.cancel()
    await link.close()


async def test_producers_that_stay_away_are_opened_anew() -> None:
    link = BrokerLink(BrokerSettings(url="pulsar://x"))
    routes: list[Route] = [live("a"), chat()]
    for route in routes:
        await link.open(route)
    routes[1].offer(line(1))
    old = FakeClient.made[0]
    watching = asyncio.create_task(link.watch())
    await until(lambda: link.connected)
    for producer in old.opened:
        producer.connected = False
    await until(lambda: len(FakeClient.made) == 2 and len(FakeClient.made[1].opened) == 2)
    await until(lambda: old.closed)
    assert link.reopened == 1
    resent = next(p for p in FakeClient.made[1].opened if p.topic == "c")
    await until(lambda: resent.seqs == [1])
    old.opened[1].receipt()
    assert routes[1].last_seq == 0, "a receipt of the old client is no receipt"
    resent.receipt()
    assert routes[1].last_seq == 1
    await until(lambda: link.connected)
    watching.cancel()
    await link.close()


async def test_any_host_of_a_cluster_will_do() -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        assert await reachable(f"pulsar://127.0.0.1:1,127.0.0.1:{port}")
        assert await reachable(f"pulsar+ssl://127.0.0.1:{port}")
        assert not await reachable("pulsar://127.0.0.1:1,127.0.0.1:2")
        assert not await reachable("pulsar://")


async def test_an_opening_that_hangs_is_given_up_for_a_new_client(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "HANG_S", 0.05)
    link = BrokerLink(BrokerSettings(url="pulsar://x"))
    old = FakeClient.made[0]
    hanging, route = asyncio.Event(), chat()

    async def hang(topic: str, *, name: str = "", max_pending: int = 0) -> Producer:
        await hanging.wait()
        return cast(Producer, FakeProducer(topic=topic))

    monkeypatch.setattr(old, "producer", hang)
    opening = asyncio.create_task(link.open(route))
    watching = asyncio.create_task(link.watch())
    await until(lambda: len(FakeClient.made) > 1)
    await opening
    assert not old.closed, "it would forget what it was asked, and a thread would wait for ever"
    hanging.set()
    assert route.producer in [cast(Producer, one) for one in FakeClient.made[-1].opened]
    await until(lambda: old.closed)
    watching.cancel()
    await link.close()


async def test_a_producer_that_gets_no_receipts_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "SILENCE_S", 5.0)
    link = BrokerLink(BrokerSettings(url="pulsar://x"))
    time = Time()
    route = ReliableRoute(Track("r", "p", "chat"), Kind.CHAT, "text/plain", "c", clock(time))
    await link.open(route)
    watching = asyncio.create_task(link.watch())
    time.now += 60_000_000
    route.offer(line(1))
    await asyncio.sleep(0.05)
    assert link.reopened == 0, "it has only just been given an object"
    time.now += 5_000_001
    await until(lambda: link.reopened == 1 and bool(FakeClient.made[-1].opened))
    assert FakeClient.made[-1].opened[0].seqs == [1]
    watching.cancel()
    await link.close()
