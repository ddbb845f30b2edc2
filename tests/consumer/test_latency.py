from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable

import pytest
from aiohttp import web

from tests.consumer.fakes import DOMAIN
from wtp.clock import RESYNC_EXCHANGES, ClockDomain, Sleeps, monotonic_us
from wtp.consumer import latency as module
from wtp.consumer.latency import ArrivalClock, clock_url, measure, total_error_us
from wtp.errors import UsageError


def test_same_machine_start_adopts_the_anchor_without_error() -> None:
    clock = ArrivalClock("boot-1")
    assert clock.arrival(str(DOMAIN), 123) == (DOMAIN.anchor_us + 123, 0)
    assert not clock.needed


def test_another_machine_start_is_unknown_until_measured() -> None:
    clock = ArrivalClock("boot-2")
    assert clock.arrival(str(DOMAIN), 123) == (None, None)
    assert clock.needed
    for _ in range(RESYNC_EXCHANGES):
        assert clock.arrival(str(DOMAIN), 2000) == (None, None)
        clock.answer(DOMAIN, 1000, DOMAIN.anchor_us + 51_000, 1200)
    at_us, error_us = clock.arrival(str(DOMAIN), 2000)
    # It was 51,000 there when it was 1,100 here, give or take half the round trip.
    assert at_us == DOMAIN.anchor_us + 51_000 + 900
    assert error_us is not None
    assert 101 <= error_us <= 103  # and a drift of 500 ppm at most
    assert clock.snapshot()["state"] == "measured"


def test_stamps_of_an_older_run_of_the_router_are_shifted() -> None:
    clock = ArrivalClock("boot-2")
    for _ in range(RESYNC_EXCHANGES):
        clock.answer(DOMAIN, 1000, DOMAIN.anchor_us + 51_000, 1000)
    older = ClockDomain(DOMAIN.boot_id, DOMAIN.anchor_us - 77)
    at_us, _ = clock.arrival(str(older), 1000)
    assert at_us == older.anchor_us + 51_000


class Remote:
    """A clock to be told of a router on another machine start."""

    def __init__(self) -> None:
        self.us = self.slept_us = 0
        self.ahead_us = 51_000
        self.sleeps = Sleeps(lambda: self.us, lambda: self.us + self.slept_us)
        self.clock = ArrivalClock("boot-2", self.sleeps, lambda: self.us)

    def known(self) -> None:
        """Let it be told often enough."""
        for _ in range(RESYNC_EXCHANGES):
            self.answer()

    def answer(self, domain: ClockDomain = DOMAIN, pause_us: int = 50_000) -> None:
        self.us += pause_us
        asked_us = self.us
        self.us += 100
        now_us = domain.anchor_us + self.us + self.ahead_us
        self.us += 100
        self.clock.answer(domain, asked_us, now_us, self.us)

    def error_us(self, domain: ClockDomain = DOMAIN, publish_us: int | None = None) -> int | None:
        """The stated error of an arrival now, which is checked; None when it is unknown."""
        at_us, error_us = self.clock.arrival(str(domain), self.us, publish_us)
        assert (at_us is None) == (error_us is None)
        if at_us is not None and error_us is not None:
            assert abs(at_us - domain.anchor_us - self.us - self.ahead_us) <= error_us
        return error_us


def test_another_router_machine_is_unknown_until_its_answers_agree() -> None:
    remote, other = Remote(), ClockDomain("boot-3", 5)
    remote.known()
    assert remote.error_us() is not None
    for _ in range(RESYNC_EXCHANGES):
        assert remote.error_us(other) is None
        remote.answer(other)
    assert remote.error_us(other) is not None
    assert remote.error_us() is None, "stamps of the first machine"
    assert remote.clock.snapshot()["state"] == "unknown"


def test_two_routers_behind_one_address_never_yield_a_figure() -> None:
    remote, other = Remote(), ClockDomain("boot-3", 5)
    restarted = ClockDomain(DOMAIN.boot_id, DOMAIN.anchor_us + 60_000_000)
    for wrong in (other, restarted):
        for _ in range(10):
            remote.answer(wrong)
            assert remote.error_us() is None
            assert remote.error_us(wrong) is None
            remote.answer()
            assert remote.error_us() is None
            assert remote.clock.snapshot()["state"] == "unknown"


def test_a_restarted_router_is_the_same_clock_with_another_anchor() -> None:
    remote = Remote()
    remote.known()
    restarted = ClockDomain(DOMAIN.boot_id, DOMAIN.anchor_us + 60_000_000)
    for _ in range(RESYNC_EXCHANGES):
        remote.answer(restarted)
    assert remote.error_us(restarted) is not None
    assert remote.error_us() is not None, "objects of its run before are still in the topic"


def test_a_suspend_makes_arrivals_unknown_at_once() -> None:
    remote = Remote()
    remote.known()
    assert remote.error_us() is not None
    remote.clock.hurry.clear()
    remote.slept_us = 5_000_000
    assert remote.error_us() is None
    assert remote.clock.hurry.is_set(), "the router is asked at once"
    remote.ahead_us += remote.slept_us
    for _ in range(RESYNC_EXCHANGES):
        assert remote.error_us() is None
        remote.answer()
    assert remote.error_us() is not None
    assert remote.clock.snapshot()["resyncs"] == 1


def test_what_arrives_before_it_left_shows_a_step() -> None:
    remote = Remote()
    remote.known()
    sent_us = DOMAIN.anchor_us + remote.us + remote.ahead_us
    assert remote.error_us(publish_us=sent_us) is not None
    remote.ahead_us += 30_000
    assert remote.error_us(publish_us=sent_us + 30_000) is None
    assert remote.error_us(publish_us=sent_us) is None, "until it was measured anew"
    for _ in range(RESYNC_EXCHANGES):
        remote.answer()
    assert remote.error_us(publish_us=sent_us + 30_000) is not None


def test_a_step_of_the_router_is_unknown_until_its_answers_agree() -> None:
    remote = Remote()
    for _ in range(5):
        remote.answer()
    remote.ahead_us -= 3_000_000
    remote.answer()
    for _ in range(RESYNC_EXCHANGES):
        assert remote.error_us() is None
        remote.answer()
    assert remote.error_us() is not None


def test_what_is_told_of_the_clock() -> None:
    remote = Remote()
    assert remote.clock.snapshot()["state"] == "unknown"
    remote.clock.arrival("boot-2:17", 0)
    shared = remote.clock.snapshot()
    assert (shared["state"], shared["offset_us"], shared["error_us"]) == ("shared", 0, 0)
    assert remote.error_us() is None
    assert remote.clock.snapshot()["state"] == "unknown"
    remote.known()
    assert remote.error_us() is not None
    told = remote.clock.snapshot()
    assert (told["state"], told["exchanges"], told["resyncs"]) == ("measured", 3, 0)
    assert 100 <= told["error_us"] <= 110
    assert told["drift_ppm"] is None


def test_a_wall_clock_that_steps_touches_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    remote = Remote()
    remote.known()
    before = remote.clock.snapshot()
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    assert remote.clock.snapshot() == before | {"state": "unknown", "offset_us": None} | {
        "error_us": None
    }
    assert remote.error_us() is not None
    assert remote.clock.snapshot()["resyncs"] == 0


@pytest.mark.parametrize("text", ["", "nonsense", "boot-1:", "boot-1:x", ":5"])
def test_no_clock_is_unknown(text: str) -> None:
    assert ArrivalClock("boot-1").arrival(text, 1) == (None, None)


def test_an_empty_boot_id_is_adopted_by_nobody() -> None:
    assert ArrivalClock("").arrival(":5", 1) == (None, None)


def test_errors_add_up_and_absent_means_unknown() -> None:
    assert total_error_us(5, "7") == 12
    assert total_error_us(0, None) is None
    assert total_error_us(None, "7") is None
    assert total_error_us(0, "-3") is None


def test_the_clock_lies_beside_the_session_endpoint() -> None:
    assert clock_url("https://host:4433/wt?room=x") == "https://host:4433/clock"
    with pytest.raises(UsageError):
        clock_url("host:4433")


@contextlib.asynccontextmanager
async def measured(
    clock: ArrivalClock, ahead_us: int, note: Callable[[str], None] = lambda _: None
) -> AsyncIterator[list[int]]:
    """Measure a router whose clock is ahead; yields when it was asked."""
    asked: list[int] = []

    async def tell(_: web.Request) -> web.Response:
        asked.append(monotonic_us())
        now_us = monotonic_us() + ahead_us
        return web.json_response({"boot_id": "boot-1", "anchor_us": 17, "now_us": now_us})

    app = web.Application()
    app.router.add_get("/clock", tell)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/wt"
    task = asyncio.create_task(measure(clock, url, note=note))
    try:
        async with asyncio.timeout(60):
            yield asked
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await runner.cleanup()


async def test_measuring_a_router_over_http() -> None:
    offset_us = 94_608_000 * 10**6
    clock = ArrivalClock("boot-2")
    async with measured(clock, offset_us):
        while clock.arrival("boot-1:17", monotonic_us())[0] is None:
            await asyncio.sleep(0.005)
        here = monotonic_us()
        at_us, error_us = clock.arrival("boot-1:17", here)
        assert at_us is not None
        assert error_us is not None
        assert abs(at_us - here - offset_us) <= error_us


async def test_a_router_is_asked_in_earnest_only_when_its_clock_is_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "IDLE_PAUSE_S", 600.0)
    monkeypatch.setattr(module, "QUICK_PAUSE_S", 0.001)
    monkeypatch.setattr(module, "STEADY_PAUSE_S", 0.001)
    clock = ArrivalClock("boot-1")
    async with measured(clock, 0) as asked:
        while len(asked) < module.QUICK_EXCHANGES + 1:
            await asyncio.sleep(0.005)
        for _ in range(20):
            clock.arrival("boot-1:17", monotonic_us())
            await asyncio.sleep(0.005)
        assert len(asked) == module.QUICK_EXCHANGES + 1, "its clock is ours"
        clock.arrival("boot-9:17", monotonic_us())
        while len(asked) < 3 * module.QUICK_EXCHANGES:
            await asyncio.sleep(0.005)


async def test_a_router_that_does_not_answer_is_said_when_it_is_needed() -> None:
    said: list[str] = []
    clock = ArrivalClock("boot-2")
    clock.arrival("boot-1:17", 0)
    told = asyncio.Event()

    def note(text: str) -> None:
        said.append(text)
        told.set()

    task = asyncio.create_task(measure(clock, "http://127.0.0.1:9/wt", note=note))
    async with asyncio.timeout(60):
        await told.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert "latency is unknown" in said[0]
    assert "no connection to 127.0.0.1:9" in said[0]
    assert "object at" not in said[0]


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (503, "{}", "status 503"),
        (200, "[]", "no clock"),
        (200, '{"boot_id": "b", "anchor_us": "x", "now_us": 1}', "no clock"),
        (200, "<html>", "no clock"),
    ],
)
async def test_an_answer_that_is_no_clock_is_said(status: int, body: str, why: str) -> None:
    async def tell(_: web.Request) -> web.Response:
        return web.Response(status=status, text=body, content_type="application/json")

    app = web.Application()
    app.router.add_get("/clock", tell)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    said: asyncio.Queue[str] = asyncio.Queue()
    clock = ArrivalClock("boot-2")
    clock.arrival("boot-1:17", 0)
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/wt"
    task = asyncio.create_task(measure(clock, url, note=said.put_nowait))
    try:
        async with asyncio.timeout(60):
            assert why in await said.get()
        assert clock.router is None
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await runner.cleanup()


async def test_a_router_that_the_objects_do_not_come_from_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "STEADY_PAUSE_S", 0.001)
    said: list[str] = []
    clock = ArrivalClock("boot-2")
    async with measured(clock, 0, said.append) as asked:
        while not said:
            assert clock.arrival("boot-9:17", monotonic_us()) == (None, None)
            await asyncio.sleep(0.005)
        mark = len(asked)
        while len(asked) < mark + 2:
            await asyncio.sleep(0.005)
    assert len(said) == 1
    assert "--router" in said[0]
