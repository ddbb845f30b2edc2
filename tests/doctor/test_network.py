"""Router, clock and broker: real ones on loopback, and what cannot be had there from its parts."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.broker_protocol.running import broker as running_broker
from tests.doctor.subjects import free_port, only, states, subject
from wtp import __version__
from wtp.broker.accessprobe import Entry
from wtp.broker.adminvalues import Policies
from wtp.config.schema import BrokerSettings, RoomSettings, RouterSettings, Settings
from wtp.doctor import broker, clock, router, session
from wtp.doctor.broker import Desk
from wtp.doctor.clock import Exchange, KernelClock
from wtp.doctor.finding import State
from wtp.doctor.router import Web
from wtp.doctor.session import Met
from wtp.errors import BrokerError, BrokerUnavailable, ConnectionFailed, NotFound, Refused
from wtp.router import https
from wtp.router.run import Router
from wtp.transport.certs import create_certificate
from wtp.transport.trust import Trust, no_answer
from wtp.wire.control import Welcome

PATIENCE_S = 60.0
HEALTH: dict[str, Any] = {"status": "ok", "connected": True, "notes": {}}


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for real answers as long as a busy machine takes for them."""
    for module, names in (
        (session, ("CONNECT_S", "WELCOME_S")), (router, ("HTTPS_S", "HASH_S")),
        (clock, ("ANSWER_S",)), (broker, ("KNOCK_S", "ADMIN_S")),
    ):  # fmt: skip
        for name in names:
            monkeypatch.setattr(module, name, PATIENCE_S)


@asynccontextmanager
async def router_role(folder: Path, broker_url: str) -> AsyncIterator[dict[str, Any]]:
    """A whole router in this process; gives what it says when it is ready."""
    nobody = free_port()
    settings = Settings(
        router=RouterSettings(listen="127.0.0.1:0", certs=str(folder / "certs")),
        broker=BrokerSettings(url=broker_url, admin=f"http://127.0.0.1:{nobody}"),
    )
    role = Router(settings)
    ready: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(role.run(ready.set_result))
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not (ready.done() or running.done()):
                await asyncio.sleep(0.01)
        yield ready.result()
    finally:
        role.stop()
        async with asyncio.timeout(PATIENCE_S):
            await running


def port_of(url: str) -> int:
    return int(url.partition("://")[2].partition("/")[0].rpartition(":")[2])


async def test_a_router_and_its_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WTP_HOME", str(tmp_path / "home"))
    nobody = f"pulsar://127.0.0.1:{free_port()}"
    async with router_role(tmp_path, nobody) as info:
        port = port_of(info["url"])
        there = subject(tmp_path, router=port, router_named=True)
        found = only(await router.look(there), "router")
        assert found.state is State.WARNING
        assert "session over UDP" in found.found
        assert f"wtp {__version__}" in found.found
        assert found.found.endswith("it has no broker")
        times = await clock.look(there)
        assert only(times, "clock").found.endswith("one clock, error 0")
        monkeypatch.setattr(clock, "read_boot_id", lambda: "another machine")
        far = only(await clock.look(there), "clock")
        assert "offset to the router" in far.found
        assert "ppm" in far.found
        by_hash = subject(tmp_path, router=port, trust=Trust(cert_hash="0" * 64))
        wrong = only(await router.look(by_hash), "router")
        assert (wrong.state, info["cert_hash"] in wrong.mend) == (State.FAULT, True)
        elsewhere = subject(tmp_path, router=port, certs=tmp_path / "none")
        untrusted = only(await router.look(elsewhere), "router")
        assert untrusted.state is State.FAULT
        assert untrusted.mend == f"--cert-hash {info['cert_hash']}"


@asynccontextmanager
async def https_alone(folder: Path, *, udp: bool) -> AsyncIterator[int]:
    """The HTTPS side of a router; UDP of that port is bound and silent, or nobody's."""
    certificate = create_certificate(folder / "certs")

    async def health(_: web.Request) -> web.Response:
        return web.json_response(HEALTH)

    app = web.Application()
    app.add_routes([web.get("/health", health)])
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    with socket.socket(type=socket.SOCK_DGRAM) as silent:
        if udp:
            silent.bind(("127.0.0.1", port))
        try:
            await web.TCPSite(runner, "127.0.0.1", port, ssl_context=https.tls(certificate)).start()
            yield port
        finally:
            await runner.cleanup()


@pytest.mark.parametrize("swallowed", [True, False])
async def test_blocked_udp_is_told_from_an_absent_router(
    swallowed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "CONNECT_S", 1.0)
    async with https_alone(tmp_path, udp=swallowed) as port:
        found = only(await router.look(subject(tmp_path, router=port)), "router")
    assert found.state is State.FAULT
    assert found.found.startswith("UDP is blocked")
    assert f"ufw allow {port}/udp" in found.mend


async def test_nobody_is_a_fault_only_when_named(tmp_path: Path) -> None:
    nobody = await router.look(subject(tmp_path))
    assert [(one.state, one.mend) for one in nobody] == [(State.UNKNOWN, "wtp router")]
    named = await router.look(subject(tmp_path, router_named=True))
    assert [(one.state, one.mend) for one in named] == [(State.FAULT, "wtp router")]
    nobody = await broker.look(subject(tmp_path))
    assert [(one.state, one.mend) for one in nobody] == [(State.UNKNOWN, "wtp broker")]
    named = await broker.look(subject(tmp_path, broker_named=True))
    assert [(one.state, one.mend) for one in named] == [(State.FAULT, "wtp broker")]
    assert only(await clock.look(subject(tmp_path)), "clock").state is State.UNKNOWN


async def test_another_program_on_the_tcp_port(tmp_path: Path) -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-x\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", free_port())
    async with server:
        port = server.sockets[0].getsockname()[1]
        found = only(await router.look(subject(tmp_path, router=port)), "router")
    assert (found.state, "another program or a proxy" in found.found) == (State.WARNING, True)


def met_with(**rest: Any) -> Met:
    welcome = Welcome("s", "boot", 1, __version__, "default")
    return Met(**{"connect_ms": 3.0, "round_trip_ms": 0.2, "welcome": welcome, **rest})


@pytest.mark.parametrize(
    ("met", "heard", "state", "words"),
    [
        (met_with(), Web(True, "", HEALTH), State.OK, "HTTPS over TCP"),
        (met_with(), Web(False, "no answer"), State.WARNING, "over TCP: no answer"),
        (met_with(), Web(True, "", {**HEALTH, "status": "draining"}), State.WARNING, "draining"),
        (met_with(), Web(True, "", {**HEALTH, "notes": {"public/x": "at least once"}}),
         State.WARNING, "public/x: at least once"),
        (met_with(welcome=Welcome("s", "b", 1, "0.0.1")), Web(True, "", HEALTH), State.WARNING,
         f"here {__version__}"),
        (met_with(welcome=None), Web(False), State.WARNING, "no wtp router"),
        (met_with(welcome=None, reason="a token is missing"), Web(False), State.FAULT, "a token"),
        (Met(ConnectionFailed("Expired.", hint="h", code="expired")), Web(True), State.FAULT,
         "Expired."),
        (Met(no_answer("h:4433", "x")), Web(False), State.FAULT, "neither over UDP nor"),
    ],
)  # fmt: skip
def test_what_both_sides_of_a_router_mean(met: Met, heard: Web, state: State, words: str) -> None:
    found = router.judge(met, heard, "h:4433", named=True)
    assert found.state is state
    assert words in found.found
    assert bool(found.mend) == (state is not State.OK)


def exchanges(offset_us: int, way_us: int, ppm: int = 0) -> list[Exchange]:
    made = []
    for i in range(20):
        asked_us = 1_000_000_000 + i * 50_000
        shift_us = offset_us + i * 50_000 * ppm // 1_000_000
        made.append(Exchange(asked_us, asked_us + way_us + shift_us, asked_us + 2 * way_us))
    return made


@pytest.mark.parametrize(
    ("offset_us", "way_us", "state"),
    [
        (1500, 100, State.OK),
        (1500, 20_000, State.WARNING),
        (3 * 365 * 86_400_000_000, 100, State.WARNING),
    ],
)
def test_offset_and_error_of_a_clock(offset_us: int, way_us: int, state: State) -> None:
    found = clock.judge(exchanges(offset_us, way_us), "there", "here")
    assert found.state is state
    said = re.search(r"router ([+-][0-9.]+) ms ± ([0-9.]+) ms", found.found)
    assert said
    assert float(said[2]) * 1000 >= way_us
    assert abs(float(said[1]) * 1000 - offset_us) <= float(said[2]) * 1000


def test_drift_is_said_with_its_error() -> None:
    assert clock.drift(exchanges(0, 10, 200)).startswith("drift +200 ± ")
    assert clock.drift(exchanges(0, 10)[:1]) == "drift unknown"


def test_the_wall_clock() -> None:
    assert clock.judge_wall(None).state is State.UNKNOWN
    assert clock.judge_wall(KernelClock(True, 4_000)).found.endswith("below 4 ms")
    assert clock.judge_wall(KernelClock(False, 16_000_000)).state is State.WARNING
    asked = clock.kernel_clock()
    assert asked is None or asked.error_us >= 0


async def test_a_broker_without_its_admin_side(tmp_path: Path) -> None:
    with running_broker(tmp_path / "data") as there:
        found = await broker.look(subject(tmp_path, broker=there.url, broker_named=True))
    assert only(found, "broker").found.startswith(f"{there.url}: wtp-embedded-broker")
    assert only(found, "broker").state in (State.OK, State.WARNING)
    assert only(found, "broker-limits").state is State.OK
    assert only(found, "room").state is State.WARNING
    assert "admin side" in only(found, "room").found
    assert only(found, "broker-rights").state is State.OK


ENTRY = Entry("Pulsar Server4.0.7", 21, 5 * 1024 * 1024)
KEPT = Policies(1440, 1024, True)
SETTINGS = Settings()
MAKING = Settings(rooms=RoomSettings(create=True))
DENIED = Refused("No.", hint="Ask.", code="not-allowed")


@pytest.mark.parametrize(
    ("policies", "settings", "state", "mend"),
    [
        (KEPT, SETTINGS, State.OK, ""),
        (Policies(0, 0, True), SETTINGS, State.WARNING, "wtp topics retention"),
        (Policies(1440, 1024, False), SETTINGS, State.WARNING, "set-deduplication --enable"),
        (Policies(-1, -1, True), SETTINGS, State.OK, ""),
        (NotFound("gone"), SETTINGS, State.WARNING, "wtp topics create"),
        (NotFound("gone"), MAKING, State.OK, ""),
        (DENIED, SETTINGS, State.UNKNOWN, "Ask."),
        (BrokerUnavailable("away", hint="Start it."), SETTINGS, State.WARNING, "Start it."),
    ],
)
def test_what_a_room_promises(policies: Any, settings: Settings, state: State, mend: str) -> None:
    found = broker.judge_room(Desk(policies, ["a"], {}), "public/default", settings)
    assert found.state is state
    assert mend in found.mend


def test_limits_of_a_broker() -> None:
    assert broker.judge_limits(ENTRY, {}).state is State.OK
    assert broker.judge_limits(ENTRY, DENIED).state is State.OK
    small = broker.judge_limits(Entry("x", 21, 1 << 20), {})
    assert (small.state, "maxMessageSize" in small.mend) == (State.WARNING, True)
    slow = broker.judge_limits(ENTRY, {"managedLedgerNewEntriesCheckDelayInMillis": "10"})
    assert (slow.state, "up to 10 ms" in slow.found) == (State.WARNING, True)
    frame = broker.judge_limits(ENTRY, {"webSocketMaxTextFrameSize": "1048576"})
    assert frame.found == "messages up to 5.0 MiB, 0.8 MiB through its WebSocket API"


def test_a_broker_that_lets_nobody_in_is_a_fault_even_unnamed() -> None:
    error = Refused("The token expired.", hint="Get another.", code="token-expired")
    found = broker.judge_absence(error, "pulsar://h:6650", named=False)
    assert (found.state, found.mend) == (State.FAULT, "Get another.")
    away = BrokerUnavailable("The host of pulsar://h is unknown.", code="unknown-host")
    found = broker.judge_absence(away, "pulsar://h", named=True)
    assert (found.state, found.found) == (State.FAULT, away.message)
    far = BrokerUnavailable("x", code="no-answer")
    assert "TCP port" in broker.judge_absence(far, "pulsar://10.0.0.1:6650", named=True).mend


class Client:
    """Stands in for a client with some rights; counts what was left open."""

    def __init__(self, produce: Exception | None, consume: Exception | None) -> None:
        self._outcomes = {"producer": produce, "reader": consume}
        self.open = 0

    async def _open(self, what: str) -> Client:
        error = self._outcomes[what]
        if error is not None:
            raise error
        self.open += 2  # the producer or reader, closed as this client is
        return self

    async def producer(self, topic: str) -> Client:
        return await self._open("producer")

    async def reader(self, topic: str) -> Client:
        return await self._open("reader")

    async def close(self) -> None:
        self.open -= 1


@pytest.mark.parametrize(
    ("produce", "consume", "state", "words"),
    [
        (None, None, State.OK, "produce yes, consume yes"),
        (DENIED, None, State.WARNING, "produce no, consume yes"),
        (None, BrokerError("busy"), State.UNKNOWN, "consume unknown (busy)"),
    ],
)
async def test_rights_of_a_token(
    produce: Any, consume: Any, state: State, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Client(produce, consume)
    monkeypatch.setattr("wtp.broker.connect.connect", lambda _: client)
    settings = BrokerSettings(token="a.b.c")
    found = await broker._rights(settings, ["persistent://public/default/video"], PATIENCE_S)
    assert (found.state, words in found.found) == (state, True)
    assert ("--actions produce" in found.mend) == (produce is DENIED)
    untold: list[list[str] | Refused] = [[], DENIED]
    for topics in untold:
        nothing = await broker._rights(settings, topics, PATIENCE_S)
        assert nothing.state is State.UNKNOWN
    assert states([found]) == {"broker-rights": state}
