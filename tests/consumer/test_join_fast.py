"""The first picture soon, whatever the length of a group."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.consumer.fakes import SETTINGS, TOPIC, FakeBroker, FakeMessage, item, message
from tests.consumer.test_join import pictures
from tests.consumer.test_pictures import CAPTURE_US, FakeScreen, encoded
from wtp.consumer import join
from wtp.consumer import run as run_module
from wtp.consumer.feed import Reading
from wtp.consumer.item import Item
from wtp.consumer.join import Entry, join_live
from wtp.consumer.keyframe import MANY, ask_key_frame, keyframe_url, shorten
from wtp.consumer.pending import FEW, MAX_ITEMS, Pending
from wtp.consumer.pictures import Decoded
from wtp.consumer.request import Request
from wtp.consumer.run import Consumer
from wtp.errors import BrokerUnavailable
from wtp.model import Kind


def catching_up(items: list[Item]) -> list[Item]:
    for one in items:
        object.__setattr__(one, "catching_up", True)
        object.__setattr__(one, "live", False)
    return items


async def test_the_admin_api_tells_the_newest_place_and_the_client_is_not_asked() -> None:
    broker = FakeBroker(video=pictures(57))
    asked: list[str] = []

    async def quick(topic: str) -> Entry:
        asked.append(topic)
        return 1, 56

    async def never(topic: str) -> str | None:
        raise AssertionError(topic)

    broker.last_position = never  # type: ignore[method-assign]  # it must not be used
    joined = await join_live(broker, TOPIC, queue=10, quick=quick)
    assert [one.position for one in joined.first] == [f"1:{n}" for n in range(50, 57)]
    assert asked == [TOPIC]
    assert joined.last == (1, 56)


@pytest.mark.parametrize("told", [(7, 3), (1, 4000), (-1, -1), None])
async def test_an_admin_api_that_speaks_of_another_broker_or_fails_does_no_harm(
    told: Entry | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(join, "QUICK_SILENCE_S", 0.05)
    broker = FakeBroker(video=pictures(57))

    async def quick(topic: str) -> Entry:
        if told is None:
            raise BrokerUnavailable("gone")
        return told

    joined = await join_live(broker, TOPIC, queue=10, quick=quick)
    assert [one.position for one in joined.first] == [f"1:{n}" for n in range(50, 57)]
    assert joined.last == (1, 56)


async def test_an_admin_api_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(join, "QUICK_S", 0.01)

    async def quick(topic: str) -> Entry:
        await asyncio.Event().wait()
        return 0, 0

    joined = await join_live(FakeBroker(video=pictures(57)), TOPIC, queue=10, quick=quick)
    assert len(joined.first) == 7


def plain(count: int, *, key_at: int = 1, first: int = 1) -> list[Item]:
    return [item(message(n, key=n == key_at)) for n in range(first, first + count)]


async def test_a_long_way_to_the_present_is_held_whole() -> None:
    pending = Pending(live=True)
    for one in catching_up(plain(600)):
        assert await pending.put(one) == []
    for one in plain(MAX_ITEMS, key_at=0, first=601):
        assert await pending.put(one) == []
    assert len(pending) == 600 + MAX_ITEMS
    dropped = await pending.put(plain(1, key_at=0, first=900)[0])
    assert dropped, "what is live is bounded as ever"


async def test_a_newer_key_frame_ends_a_long_way() -> None:
    pending = Pending(live=True)
    other = item(message(1, track="default/b/video"))
    await pending.put(other)
    for one in catching_up(plain(FEW + 2)):
        await pending.put(one)
    (key,) = plain(1, key_at=900, first=900)
    dropped = await pending.put(key)
    assert [one.obj.seq for one in dropped if one.obj] == list(range(1, FEW + 3))
    assert await pending.take(9) == [other, key]


async def test_a_short_way_is_not_cut_off() -> None:
    pending = Pending(live=True)
    for one in catching_up(plain(FEW)):
        await pending.put(one)
    assert await pending.put(plain(1, key_at=900, first=900)[0]) == []
    assert len(pending) == FEW + 1


async def test_bytes_of_the_way_are_bounded_by_waiting() -> None:
    pending = Pending(live=True, max_bytes=10)
    first, second = catching_up(plain(2))
    await pending.put(first)
    putting = asyncio.create_task(pending.put(second))
    await asyncio.sleep(0)
    assert not putting.done()
    assert await pending.take(5) == [first]
    assert await asyncio.wait_for(putting, 1) == []


def test_pictures_of_the_way_are_decoded_and_not_shown() -> None:
    screen = FakeScreen()
    decoded = Decoded(screen)
    items = encoded("h264", 12, gop=600)
    assert decoded.take(catching_up(items[:4])) == [""] * 4
    assert decoded.take(catching_up(items[4:8])) == [""] * 4
    assert screen.codes == []
    decoded.take(items[8:10])
    decoded.idle()
    assert screen.codes == [CAPTURE_US + 10], "the first one shown is live and newest"


def test_the_last_picture_of_the_way_is_shown_when_nothing_follows() -> None:
    screen = FakeScreen()
    decoded = Decoded(screen)
    decoded.take(catching_up(encoded("h264", 6, gop=600)))
    decoded.idle()
    decoded.idle()
    assert screen.codes == [CAPTURE_US + 6]


class Desk:
    """A router's HTTPS side that counts who asks."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.status = 202
        self.asked = asyncio.Event()
        self.url = ""

    async def ask(self, request: web.Request) -> web.Response:
        self.paths.append(request.raw_path)
        self.asked.set()
        return web.json_response({}, status=self.status)


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    desk = Desk()
    app = web.Application()
    app.add_routes([web.post("/{tail:.*}", desk.ask)])
    async with TestServer(app) as server:
        desk.url = f"http://127.0.0.1:{server.port}/wt?token=x"
        yield desk


def test_where_to_ask() -> None:
    assert keyframe_url("https://h:4433/wt?room=r", "lab/cam 1/video-2") == (
        "https://h:4433/rooms/lab/tracks/cam%201/video-2/keyframe"
    )


async def test_asking_says_what_went_wrong(desk: Desk) -> None:
    assert await ask_key_frame(desk.url, "default/a/video") == ""
    desk.status = 429
    assert await ask_key_frame(desk.url, "default/a/video") == "", "somebody else has asked"
    desk.status = 404
    assert await ask_key_frame(desk.url, "default/a/video") == "status 404"
    assert "no track" in await ask_key_frame(desk.url, "legacy")
    assert await ask_key_frame("http://127.0.0.1:1", "default/a/video")
    assert desk.paths == ["/rooms/default/tracks/a/video/keyframe"] * 3


async def test_only_long_groups_are_asked_for(desk: Desk) -> None:
    await shorten(Counter({"default/a/video": MANY, "default/b/video": MANY + 1}), desk.url, True)
    assert desk.paths == ["/rooms/default/tracks/b/video/keyframe"]


class Late(FakeBroker):
    """A broker whose topic begins with a key frame and goes on for long."""

    @staticmethod
    def log(count: int) -> list[FakeMessage]:
        return [message(n, key=n == 1, position=f"1:{n}") for n in range(1, count)]


@pytest.mark.parametrize("ask", [True, False])
async def test_a_consumer_that_knows_the_router_asks_for_a_key_frame(
    desk: Desk, ask: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def there(*_: object, **__: object) -> bool:
        return True

    monkeypatch.setattr(run_module, "reach", there)
    broker = Late(video=Late.log(MANY + 50))
    request = Request(kind=Kind.VIDEO, reading=Reading(), router=desk.url)
    role = Consumer(
        SETTINGS, request, broker=lambda _: broker, directory=lambda _: _Here(broker), ask_key=ask
    )
    task = asyncio.create_task(role.run(lambda _: None))
    async with asyncio.timeout(60):
        while role.ledger.delivered < MANY + 49:
            await asyncio.sleep(0.01)
        if ask:
            await desk.asked.wait()
    role.stop()
    await asyncio.wait_for(task, 60)
    assert role.ledger.offered == role.ledger.delivered, "all of the way, without a loss"
    assert desk.paths == (["/rooms/default/tracks/cam/video/keyframe"] if ask else [])


class _Here:
    """The admin API of a fake broker."""

    def __init__(self, broker: FakeBroker) -> None:
        self._broker = broker

    async def __aenter__(self) -> FakeBroker:
        return self._broker

    async def __aexit__(self, *_: object) -> None:
        return
