"""Routes, stages and real HTTP processors together; the broker is a stand-in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import pytest
from aiohttp import web

from tests.router.fakes import FakeOwner, FakeProducer
from tests.services.fakes import chat, video
from tests.services.servers import echo, processor
from wtp.clock import Clock
from wtp.config.schema import QueueSettings, ServiceDefaults, ServiceSettings
from wtp.errors import Refused
from wtp.model import Kind, Track
from wtp.router.routes import LiveRoute, ReliableRoute, Route
from wtp.router.service_metrics import families
from wtp.router.services import Services
from wtp.wire.process import Parcel, decode_request, encode_one, encode_several

TRACK = Track("room", "me", "cam")
QUICK = ServiceDefaults(timeout=5.0, breaker_failures=3, breaker_s=0.1)


class Producer(FakeProducer):
    """Gives the receipt at once."""

    def send(self, payload: bytes, **rest: Any) -> None:
        super().send(payload, **rest)
        self.receipt()


class Broken(FakeOwner):
    """Confirms what is refused, as a publisher does."""

    def rejected(self, route: Route, seq: int, code: str, message: str) -> None:
        self.refused = [*getattr(self, "refused", []), (seq, code, message)]
        assert isinstance(route, ReliableRoute)
        route.confirmed(seq)


class Derived:
    """Keeps the routes of derived tracks."""

    def __init__(self) -> None:
        self.routes: dict[str, LiveRoute] = {}
        self.released: list[Route] = []
        self.producer: Any = Producer()

    def derived(self, track: Track, kind: Kind, content_type: str, instance: str) -> Route | None:
        route = self.routes.get(str(track))
        if route is None:
            route = LiveRoute(track, kind, content_type, "other", Clock(), QueueSettings())
            route.instance = instance
            route.attach(self.producer)
            self.routes[str(track)] = route
        return route

    def release(self, route: Route) -> None:
        self.released.append(route)


@pytest.fixture
async def services() -> AsyncIterator[Services]:
    made = Services(QueueSettings(), Derived())
    yield made
    await made.close()


def route(kind: Kind, services: Services, producer: Any) -> Any:
    clock = Clock()
    made: Route
    if kind.reliable:
        made = ReliableRoute(TRACK, kind, "text/plain", "topic", clock)
    else:
        made = LiveRoute(TRACK, kind, "video/h264", "topic", clock, QueueSettings())
    made.owner, made.instance = Broken(), "run"
    services.equip(made)
    made.attach(producer)
    return made


async def idle(route: Route, seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        await route.idle.wait()


async def upper(request: web.Request) -> web.Response:
    parcel = decode_request(request.headers, await request.read())
    changed = type(parcel)(parcel.track, parcel.properties, parcel.payload.upper())
    headers, body = encode_one(changed, "binary")
    return web.Response(body=body, headers=headers)


@pytest.mark.parametrize("data_format", ["binary", "json"])
async def test_objects_go_through_and_keep_what_they_were(
    services: Services, data_format: Any
) -> None:
    async with processor(echo) as url:
        given = ServiceSettings(url=url, data_format=data_format)
        services.configure({"chat": given, "video": given}, QUICK)
        for kind, make in ((Kind.CHAT, chat), (Kind.VIDEO, video)):
            producer = Producer()
            way = route(kind, services, producer)
            for seq in range(1, 51):
                obj = make(seq) if kind is Kind.CHAT else video(seq, key=seq == 1)
                way.offer(obj)
                await asyncio.sleep(0)
            await idle(way)
            assert producer.seqs == list(range(1, 51))
            assert producer.sent[0]["properties"]["content_type"] == way.content_type
            assert int(producer.sent[0]["properties"]["route_us"]) > 0
            assert way.ledger.delivered == 50
            assert way.ledger.balanced
            snapshot = services.snapshot()[kind.value]
            assert snapshot["delivered"] == 50
            (of_url,) = snapshot["urls"].values()
            assert of_url["circuit"] == "closed"
            assert of_url["tries"] == {"answered": 50}
            assert of_url["p99_ms"] > 0
            shown = {
                (sample.name, *sample.labels.values()): sample.value
                for family in families(services.snapshot())
                for sample in family.samples
            }
            assert shown["wtp_router_processor_up", kind.value, url] == 1
            assert shown["wtp_router_processor_requests_total", kind.value, url, "answered"] == 50
            assert shown["wtp_router_processor_held_objects", kind.value] == 0


async def test_a_processor_that_comes_late_gets_every_reliable_object(services: Services) -> None:
    healthy = False

    async def answer(request: web.Request) -> web.StreamResponse:
        return await upper(request) if healthy else web.Response(status=500)

    async with processor(answer) as url:
        services.configure({"chat": ServiceSettings(url=url)}, QUICK)
        producer = Producer()
        way = route(Kind.CHAT, services, producer)
        for seq in range(1, 21):
            way.offer(chat(seq))
        async with asyncio.timeout(60):
            while not services.snapshot()["chat"]["urls"][url]["opened"]:
                await asyncio.sleep(0.01)
        assert producer.sent == []
        healthy = True
        await idle(way)
    assert producer.seqs == list(range(1, 21))
    assert producer.sent[0]["payload"] == b"LINE 1"
    assert way.ledger.delivered == 20


async def test_live_objects_are_dropped_while_it_is_down_and_resume_at_a_key(
    services: Services,
) -> None:
    healthy = True

    async def answer(request: web.Request) -> web.StreamResponse:
        return await echo(request) if healthy else web.Response(status=500)

    async with processor(answer) as url:
        slow = ServiceDefaults(breaker_failures=3, breaker_s=0.25)
        services.configure({"video": ServiceSettings(url=url, max_retries=0)}, slow)
        producer = Producer()
        way = route(Kind.VIDEO, services, producer)
        seq = 0
        for phase in (True, False, True):
            healthy = phase
            for _ in range(40):
                seq += 1
                way.offer(video(seq, key=seq % 10 == 1))
                await asyncio.sleep(0.01)
        await idle(way)
    ledger = way.ledger
    assert ledger.balanced
    assert ledger.offered == 120
    assert ledger.delivered == len(producer.sent)
    assert set(ledger.dropped) <= {"processor-error", "processor-down", "broken-group"}
    assert ledger.dropped["processor-error"] >= 1
    assert ledger.dropped["processor-down"] >= 1
    got = producer.seqs
    assert got[:40] == list(range(1, 41))
    assert got[-20:] == list(range(101, 121))
    for before, after in pairwise(got):
        assert after == before + 1 or after % 10 == 1


async def test_a_refused_object_is_refused_to_its_sender(services: Services) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        parcel = decode_request(request.headers, await request.read())
        if parcel.properties["seq"] == "3":
            return web.json_response({"error": "not this one"}, status=422)
        return await echo(request)

    async with processor(answer) as url:
        services.configure({"chat": ServiceSettings(url=url)}, QUICK)
        producer = Producer()
        way = route(Kind.CHAT, services, producer)
        for seq in range(1, 6):
            way.offer(chat(seq))
        await idle(way)
    assert producer.seqs == [1, 2, 4, 5]
    ((seq, code, message),) = way.owner.refused
    assert (seq, code) == (3, "processor-refused")
    assert "not this one" in message
    assert way.ledger.snapshot()["dropped"] == {"processor-refused": 1}


async def test_filtered_and_published_objects_are_receipted(services: Services) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        parcel = decode_request(request.headers, await request.read())
        published = "1" if int(parcel.properties["seq"]) % 2 else "0"
        return web.Response(status=204, headers={"WTP-Published": published})

    async with processor(answer) as url:
        services.configure({"chat": ServiceSettings(url=url)}, QUICK)
        producer = Producer()
        way = route(Kind.CHAT, services, producer)
        for seq in range(1, 11):
            way.offer(chat(seq))
        await idle(way)
    assert producer.sent == []
    assert way.last_seq == 10
    assert way.ledger.delivered == 5
    assert way.ledger.snapshot()["dropped"] == {"filtered": 5}


async def test_what_is_made_for_another_track_goes_there() -> None:
    derived = Derived()
    services = Services(QueueSettings(), derived)

    async def events(request: web.Request) -> web.StreamResponse:
        parcel = decode_request(request.headers, await request.read())
        told = {"kind": "data", "content_type": "application/json", "key": "1"}
        event = Parcel(parcel.track + "-motion", {**parcel.properties, **told}, b"{}")
        headers, body = encode_several([parcel, event], "binary")
        return web.Response(body=body, headers=headers)

    async with processor(events) as url:
        services.configure({"video": ServiceSettings(url=url)}, QUICK)
        producer = Producer()
        way = route(Kind.VIDEO, services, producer)
        for seq in range(1, 4):
            way.offer(video(seq, key=True))
        await idle(way)
        way.abandon("session-ended")
    await services.close()
    assert producer.seqs == [1, 2, 3]
    (other,) = derived.routes.values()
    assert str(other.track) == "room/me/cam-motion"
    assert derived.released == [other]
    assert other.ledger.delivered == 3
    sent = derived.producer.sent
    assert [one["payload"] for one in sent] == [b"{}"] * 3
    assert sent[0]["properties"]["kind"] == "data"
    assert sent[0]["properties"]["content_type"] == "application/json"
    assert sent[0]["properties"]["instance"] == "run"
    assert sent[0]["key"] == "room/me/cam-motion"


async def test_another_url_takes_over(services: Services) -> None:
    asked: dict[str, int] = {"good": 0, "bad": 0}

    async def good(request: web.Request) -> web.StreamResponse:
        asked["good"] += 1
        return await echo(request)

    async def bad(_: web.Request) -> web.StreamResponse:
        asked["bad"] += 1
        return web.Response(status=500)

    async with processor(good) as one, processor(bad) as two:
        services.configure({"chat": ServiceSettings(urls=[one, two])}, QUICK)
        for name in "abcdefghijklmnop":
            producer: Any = Producer()
            way = ReliableRoute(Track("r", "p", name), Kind.CHAT, "text/plain", "topic", Clock())
            way.owner = FakeOwner()
            services.equip(way)
            way.attach(producer)
            for seq in range(1, 6):
                way.offer(chat(seq))
            await idle(way)
            assert producer.seqs == [1, 2, 3, 4, 5]
    assert asked["good"] == 16 * 5
    assert 1 <= asked["bad"] <= 16


async def test_a_change_in_flight_goes_to_the_new_url_and_loses_nothing(
    services: Services,
) -> None:
    released = asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        await released.wait()
        return await echo(request)

    defaults = ServiceDefaults(timeout=10.0)
    async with processor(slow) as before, processor(upper) as after:
        services.configure({"chat": ServiceSettings(url=before)}, defaults)
        producer = Producer()
        way = route(Kind.CHAT, services, producer)
        for seq in range(1, 4):
            way.offer(chat(seq))
        await asyncio.sleep(0.05)
        services.configure({"chat": ServiceSettings(url=after)}, defaults)
        released.set()
        await idle(way)
        assert [one["payload"] for one in producer.sent] == [b"line 1", b"LINE 2", b"LINE 3"]
        services.configure({}, defaults)
        way.offer(chat(4))
        await idle(way)
        services.configure({"chat": ServiceSettings(url=after)}, defaults)
        way.offer(chat(5))
        await idle(way)
    assert [one["payload"] for one in producer.sent[3:]] == [b"line 4", b"LINE 5"]


async def test_a_slow_processor_is_never_behind_by_much(services: Services) -> None:
    async def slow(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.1)
        return await echo(request)

    async with processor(slow) as url:
        services.configure(
            {"video": ServiceSettings(url=url, timeout=5.0)}, ServiceDefaults(in_flight=1)
        )
        producer = Producer()
        way = route(Kind.VIDEO, services, producer)
        for seq in range(1, 101):
            way.offer(video(seq, key=True))
            await asyncio.sleep(0.01)
        await idle(way)
    assert way.ledger.balanced
    assert way.ledger.dropped["processor-queue"] > 50
    assert producer.seqs == sorted(producer.seqs)
    assert producer.seqs[-1] == 100


async def test_the_gap_rule_of_reliable_tracks_holds_with_a_stage(services: Services) -> None:
    async with processor(echo) as url:
        services.configure({"chat": ServiceSettings(url=url)}, QUICK)
        way = route(Kind.CHAT, services, Producer())
        way.offer(chat(1))
        with pytest.raises(Refused):
            way.offer(chat(3))
        await idle(way)
        assert way.ledger.snapshot()["dropped"] == {"gap": 1}


async def test_closing_with_objects_out_ends_at_once(services: Services) -> None:
    hold = asyncio.Event()

    async def never(_: web.Request) -> web.StreamResponse:
        await hold.wait()
        return web.Response(status=500)

    async with processor(never) as url:
        services.configure({"video": ServiceSettings(url=url)}, ServiceDefaults())
        way = route(Kind.VIDEO, services, Producer())
        for seq in range(1, 4):
            way.offer(video(seq, key=True))
        await asyncio.sleep(0.05)
        way.abandon("session-ended")
        assert way.ledger.in_flight == 0
        assert way.ledger.snapshot()["dropped"] == {"session-ended": 3}
        async with asyncio.timeout(60):
            await services.close()
        hold.set()
