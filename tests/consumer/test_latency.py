from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from tests.consumer.fakes import DOMAIN
from wtp.clock import ClockDomain, monotonic_us
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
    clock.answer(DOMAIN, 1000, DOMAIN.anchor_us + 51_000, 1200)
    at_us, error_us = clock.arrival(str(DOMAIN), 2000)
    # It was 51,000 there when it was 1,100 here, give or take half the round trip.
    assert at_us == DOMAIN.anchor_us + 51_000 + 900
    assert error_us == 101


def test_stamps_of_an_older_run_of_the_router_are_shifted() -> None:
    clock = ArrivalClock("boot-2")
    clock.answer(DOMAIN, 1000, DOMAIN.anchor_us + 51_000, 1000)
    older = ClockDomain(DOMAIN.boot_id, DOMAIN.anchor_us - 77)
    at_us, _ = clock.arrival(str(older), 1000)
    assert at_us == older.anchor_us + 51_000


def test_a_restarted_router_machine_starts_the_estimate_anew() -> None:
    clock = ArrivalClock("boot-2")
    clock.answer(DOMAIN, 0, DOMAIN.anchor_us, 0)
    other = ClockDomain("boot-3", 5)
    clock.answer(other, 0, 5, 0)
    assert clock.arrival(str(DOMAIN), 0) == (None, None)
    assert clock.arrival(str(other), 10)[0] == 15


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


async def test_measuring_a_router_over_http() -> None:
    offset_us = 3_600_000_000

    async def tell(_: web.Request) -> web.Response:
        now_us = monotonic_us() + offset_us
        return web.json_response({"boot_id": "boot-1", "anchor_us": 17, "now_us": now_us})

    app = web.Application()
    app.router.add_get("/clock", tell)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    clock = ArrivalClock("boot-2")
    task = asyncio.create_task(measure(clock, f"http://127.0.0.1:{port}/wt"))
    try:
        async with asyncio.timeout(60):
            while clock.arrival("boot-1:17", 0)[0] is None:
                await asyncio.sleep(0.005)
        here = monotonic_us()
        at_us, error_us = clock.arrival("boot-1:17", here)
        assert at_us is not None
        assert error_us is not None
        assert abs(at_us - here - offset_us) <= error_us
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await runner.cleanup()


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
