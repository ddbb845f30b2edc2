"""Key frames on request, and after the router's own drops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import cast

import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import BaseTestServer, TestServer

from tests.router.fakes import FakeOwner, FakeProducer, Time, clock, picture
from tests.router.test_https import Shown
from tests.router.test_peer import HELLO, VIDEO, Desk, of, orders, settle
from wtp.broker.client import Producer
from wtp.config.schema import QueueSettings
from wtp.model import Kind, Track
from wtp.router import https
from wtp.router.keyframes import request, web_routes
from wtp.router.routes import LiveRoute, ReliableRoute, Route
from wtp.transport.certs import create_certificate
from wtp.wire import control

HALF_S = 500_000


def live(
    time: Time,
    name: str = "video",
    *,
    publisher: str = "me",
    room: str = "room",
    kind: Kind = Kind.VIDEO,
    content_type: str = "video/h264",
) -> LiveRoute:
    track = Track(room, publisher, name)
    route = LiveRoute(track, kind, content_type, "t", clock(time), QueueSettings(), 0.5)
    route.owner = FakeOwner()
    return route


def owner(route: Route) -> FakeOwner:
    assert isinstance(route.owner, FakeOwner)
    return route.owner


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def routes(time: Time) -> dict[Track, Route]:
    chat = ReliableRoute(Track("room", "me", "chat"), Kind.CHAT, "text/plain", "t", clock())
    all_routes: list[Route] = [
        live(time),
        live(time, "video", publisher="you"),
        live(time, "screen", kind=Kind.SCREEN, content_type="video/av1"),
        live(time, "photos", content_type="image/jpeg"),
        live(time, "audio", kind=Kind.AUDIO, content_type="audio/opus;rate=48000;channels=1"),
        live(time, "elsewhere", room="lab"),
        chat,
    ]
    return {route.track: route for route in all_routes}


def status(routes: Mapping[Track, Route], name: str, room: str = "room") -> tuple[int, str]:
    answer = request(routes, room, name)
    return answer.status, answer.code


def test_a_publisher_is_asked_once_in_half_a_second(routes: dict[Track, Route], time: Time) -> None:
    route = routes[Track("room", "me", "video")]
    assert status(routes, "me/video") == (202, "asked")
    time.now += 200_000
    answer = request(routes, "room", "me/video")
    assert (answer.status, answer.retry_s) == (429, 0.3)
    assert status(routes, "you/video") == (202, "asked"), "each track for itself"
    time.now += 300_000
    assert status(routes, "me/video") == (202, "asked")
    assert owner(route).keys == route.key_requests == 2


def test_a_track_is_found_by_its_name_where_that_is_enough(routes: dict[Track, Route]) -> None:
    assert status(routes, "screen") == (202, "asked")
    assert status(routes, "video") == (409, "ambiguous")
    assert "me/video, you/video" in request(routes, "room", "video").message
    assert status(routes, "elsewhere", "lab") == (202, "asked")
    assert status(routes, "elsewhere") == (404, "not-found")
    assert "me/photos" in request(routes, "room", "nobody/video").message
    assert "me/photos" not in request(routes, "room", "nobody", tell=False).message
    assert "none" in request(routes, "nowhere", "video").message


def test_what_has_no_key_frames_says_so(routes: dict[Track, Route]) -> None:
    for name in ("photos", "audio", "chat"):
        assert status(routes, name) == (409, "no-key-frames")


def test_a_publisher_that_is_away_or_cannot_hear_is_no_success(
    routes: dict[Track, Route], time: Time
) -> None:
    route = routes[Track("room", "me", "video")]
    owner(route).deaf = True
    assert status(routes, "me/video") == (409, "publisher-away")
    owner(route).deaf = False
    assert status(routes, "me/video") == (202, "asked"), "a failure uses no turn up"
    route.owner = None
    time.now += HALF_S
    assert status(routes, "me/video") == (409, "publisher-away")


@pytest.fixture
async def server(tmp_path: Path, routes: dict[Track, Route]) -> AsyncIterator[BaseTestServer]:
    paths = web_routes(lambda: routes, lambda origin, headers: origin == "https://good")
    app = https.build(Shown(), lambda: {"now_us": 2}, create_certificate(tmp_path), paths)
    async with TestServer(app) as running:
        yield running


async def test_over_http(
    server: BaseTestServer, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ClientSession() as session:

        async def ask(path: str, origin: str = "") -> tuple[int, str, str]:
            headers = {"Origin": origin} if origin else {}
            url = f"http://127.0.0.1:{server.port}/rooms/room/tracks/{path}/keyframe"
            async with session.post(url, headers=headers) as answer:
                return answer.status, answer.headers.get("Retry-After", ""), await answer.text()

        assert (await ask("me/video"))[:2] == (202, "")
        code, retry, text = await ask("me%2Fvideo")
        assert (code, retry) == (429, "1")
        assert '"retry_after_s": 0.5' in text
        assert (await ask("screen"))[0] == 202
        code, _, text = await ask("no/where")
        assert code == 404
        assert "you/video" in text
        time.now += HALF_S
        assert (await ask("me/video", "https://evil"))[0] == 403
        assert (await ask("me/video", "https://good"))[0] == 202
        async with session.get(server.make_url("/rooms/room/tracks/me/video/keyframe")) as answer:
            assert answer.status == 405
        monkeypatch.setattr("aiohttp.web_request.BaseRequest.remote", "192.0.2.1")
        code, _, text = await ask("no/where")
        assert code == 404
        assert "you/video" not in text, "names of tracks are for this machine"
        assert (await ask("you/video"))[0] == 202


def attached(route: LiveRoute) -> FakeProducer:
    fake = FakeProducer()
    route.attach(cast(Producer, fake))
    return fake


def test_a_drop_by_a_full_queue_asks_once_the_broker_takes_objects_again(time: Time) -> None:
    route = live(time)
    broker = attached(route)
    bound = QueueSettings().video_objects + QueueSettings().unreceipted
    route.offer(picture(1, key=True))
    for seq in range(2, bound + 3):
        route.offer(picture(seq))
    assert route.ledger.dropped["queue"] > 0
    assert owner(route).keys == 0, "while the broker is stuck a key would only wait"
    broker.receipt(4)
    assert owner(route).keys == 1
    time.now += 100_000
    route.offer(picture(bound + 3))
    assert owner(route).keys == 1, "it is on its way"
    time.now += HALF_S
    route.offer(picture(bound + 4))
    assert owner(route).keys == 2, "it did not come: asked again"
    route.offer(picture(bound + 5, key=True))
    time.now += HALF_S
    route.offer(picture(bound + 6))
    assert owner(route).keys == 2
    assert route.ledger.balanced


def test_a_failed_object_and_a_stall_ask_too(time: Time) -> None:
    route = live(time)
    broker = attached(route)
    route.offer(picture(1, key=True))
    broker.fail()
    assert owner(route).keys == 1
    route.offer(picture(2, key=True))
    for seq in range(3, 12):
        route.offer(picture(seq))
    time.now += 2 * HALF_S
    route.offer(picture(12))
    assert route.ledger.dropped["stall"] > 0
    broker.receipt(4)
    assert owner(route).keys == 2


def test_a_lost_producer_is_waited_for(time: Time) -> None:
    route = live(time)
    broker = attached(route)
    broker.connected = False
    route.offer(picture(1, key=True))
    broker.fail()
    assert owner(route).keys == 0
    broker.connected = True
    route.offer(picture(2))
    assert owner(route).keys == 1


async def test_the_session_is_told_by_the_alias_of_the_track() -> None:
    desk = Desk()
    peer, session = desk.peer()
    peer.stream_data(2, orders(HELLO, VIDEO), False)
    await settle()
    route = desk.rooms.routes[Track("default", "me", "video")]
    assert isinstance(route, LiveRoute)
    assert route.ask_key() == 0
    assert of(session, control.Keyframe) == [control.Keyframe(2)]
    peer.closed(0, "")
    assert not peer.want_key(route)
    await asyncio.gather(*desk.tasks, return_exceptions=True)


async def test_the_original_framing_cannot_be_asked() -> None:
    desk = Desk()
    peer, session = desk.peer()
    stray = live(Time())
    assert not peer.want_key(stray)
    assert session.messages == []
