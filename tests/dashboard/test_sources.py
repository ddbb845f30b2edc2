"""What is asked over HTTP: answers, refusals, nonsense, silence, and what comes back."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.dashboard import samples
from tests.e2e.stage import free_ports
from wtp.children.exposed import Exposed, lay
from wtp.clock import monotonic_us, wall_us
from wtp.config.schema import BrokerSettings, Settings
from wtp.dashboard.asking import Caller
from wtp.dashboard.run import Dashboard, Watch
from wtp.dashboard.sources import BrokerSource, ProcessSource, RouterSource, base_url
from wtp.errors import ConnectionFailed, UsageError

Answer = Callable[[web.Request], Any]


@contextlib.asynccontextmanager
async def served(answer: Answer, port: int = 0) -> AsyncIterator[str]:
    """A server that answers every GET with what `answer` returns: JSON, or a response."""

    async def get(request: web.Request) -> web.StreamResponse:
        found = answer(request)
        return found if isinstance(found, web.StreamResponse) else web.json_response(found)

    app = web.Application()
    app.add_routes([web.get("/{path:.*}", get)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.fixture
async def caller() -> AsyncIterator[Caller]:
    one = Caller()
    yield one
    await one.close()


def trusting(_: str) -> bool:
    return True


def growing() -> Answer:
    """A router that gets 30 objects more for every answer."""
    count = [70]

    def answer(_: web.Request) -> samples.Values:
        count[0] += 30
        return samples.router(count[0], uptime_s=count[0] / 30)

    return answer


async def test_a_router_goes_and_comes_back_by_itself(caller: Caller) -> None:
    [port] = free_ports(1)
    async with served(growing(), port) as url:
        source = RouterSource(url, caller, trusting)
        assert source.state == "waiting"
        await source.ask()
        await source.ask()
        assert source.fresh(monotonic_us())
        assert (source.whole["objects_s"] or 0) > 0
        assert source.tracks[samples.TRACK]["kind"] == "video"
    await source.ask()
    await source.ask()
    assert source.state == "gone"
    assert source.problem == "connection refused"
    assert (source.whole, source.tracks) == ({}, {})
    assert not source.fresh(monotonic_us())
    gone = source.presence(monotonic_us())
    assert gone["since"].endswith("Z")
    assert gone["answer_ms"] is None
    async with served(growing(), port):
        await source.ask()
        assert source.state == "up"
        assert source.whole["objects_s"] is None
        await source.ask()
        assert (source.whole["objects_s"] or 0) > 0


async def test_an_old_answer_is_none_of_now(caller: Caller) -> None:
    async with served(growing()) as url:
        source = RouterSource(url, caller, trusting)
        await source.ask()
    assert source.fresh(monotonic_us())
    assert not source.fresh(monotonic_us() + 10_000_000)


@pytest.mark.parametrize(
    "answer",
    [
        lambda _: web.Response(text="<html>"),
        lambda _: web.Response(status=500),
        lambda _: web.Response(status=302, headers={"Location": "http://127.0.0.1:1/"}),
        lambda _: [1, 2],
        lambda _: {},
        lambda _: {"uptime_s": 1, "tracks": {"a": 5}},
        lambda _: {**samples.router(), "uptime_s": "soon"},
        lambda _: web.Response(body=b"\xff\xfe{"),
    ],
    ids=["html", "500", "redirect", "list", "empty", "odd track", "odd number", "bytes"],
)
async def test_nonsense_is_no_answer(caller: Caller, answer: Answer) -> None:
    async with served(answer) as url:
        source = RouterSource(url, caller, trusting)
        await source.ask()
        assert source.state == "gone"
        assert source.problem


async def test_a_router_elsewhere_tells_only_its_health(caller: Caller) -> None:
    def answer(request: web.Request) -> Any:
        if request.path == "/stats":
            return web.Response(status=403)
        return samples.router()

    async with served(answer) as url:
        source = RouterSource(url, caller, trusting)
        await source.ask()
        assert source.state == "up"
        assert source.whole["sessions"] == 1
        assert source.whole["objects_s"] is None
        assert source.tracks == {}


@pytest.mark.parametrize("url", ["", "4433", "ftp://x", "https://", "https://h:notaport", "h:1"])
def test_a_wrong_url_is_told_at_once(url: str) -> None:
    with pytest.raises(UsageError, match="router URL"):
        base_url(url)


def test_a_routers_url_loses_its_path_and_its_secrets() -> None:
    assert base_url("https://me:word@127.0.0.1:4433/wt?token=x") == "https://127.0.0.1:4433"
    assert base_url("https://[::1]:4433/wt") == "https://[::1]:4433"


async def test_a_process_that_gets_nothing_is_there_without_latency(caller: Caller) -> None:
    async with served(lambda _: samples.consumer(0)) as url:
        source = ProcessSource(Exposed("consume", 7, url, "default", 0), caller)
        await source.ask()
        assert source.state == "up"
        assert source.figures["latency"] is None


async def test_a_broker_is_asked_for_health_topics_and_lag() -> None:
    topic = "persistent://public/default/video"
    asked: list[str] = []

    def answer(request: web.Request) -> Any:
        asked.append(request.path)
        path = request.path.removeprefix("/admin/v2")
        if path == "/brokers/health":
            return web.Response(text="ok")
        if path == "/brokers/version":
            return web.Response(text="4.0.7")
        if path.endswith("/partitions"):
            return {"partitions": 0}
        if path.endswith("/gone/stats"):
            return web.Response(status=404)
        if path.endswith("/stats"):
            return samples.topic_stats()
        if path == "/persistent/public/default":
            return [topic, "persistent://public/default/gone"]
        return []

    async with served(answer) as url:
        source = BrokerSource(BrokerSettings(admin=url), set, "public/default")
        await source.ask()
        assert source.problem == ""
        assert source.health["healthy"] is True
        assert source.health["version"] == "4.0.7"
        assert source.health["embedded"] is False
        assert source.health["backlog"] == 7
        assert list(source.topics) == [topic]
        asked.clear()
        await source.ask()
        paths = [path.removeprefix("/admin/v2") for path in asked]
        assert paths == ["/brokers/health", "/persistent/public/default/video/stats"]
    await source.ask()
    assert (source.state, source.health, source.topics) == ("gone", {}, {})
    await source.close()


async def test_topics_without_traffic_are_left_alone_for_a_while() -> None:
    asked: list[str] = []

    def answer(request: web.Request) -> Any:
        asked.append(request.path)
        if request.path.endswith("/partitions"):
            return {"partitions": 3}
        if request.path.endswith("/partitioned-stats"):
            idle = dict.fromkeys(("msgRateIn", "msgRateOut", "msgThroughputIn"), 0.0)
            return {**samples.topic_stats(), **idle, "subscriptions": {}}
        return web.Response(text="ok") if "brokers" in request.path else []

    async with served(answer) as url:
        used = {"persistent://public/ops/a b"}
        source = BrokerSource(BrokerSettings(admin=url), lambda: used, "public/default")
        for _ in range(7):
            await source.ask()
        assert source.problem == ""
        assert list(source.topics) == list(used)
        await source.close()
    assert sum(path.endswith("/a b/partitioned-stats") for path in asked) == 2


async def test_many_topics_take_turns() -> None:
    topics = {f"persistent://public/default/t{n:03}" for n in range(40)}
    asked: set[str] = set()

    def answer(request: web.Request) -> Any:
        if request.path.endswith("/partitions"):
            return {"partitions": 0}
        if request.path.endswith("/stats"):
            asked.add(request.path)
            return samples.topic_stats()
        return web.Response(text="ok") if "brokers" in request.path else []

    async with served(answer) as url:
        source = BrokerSource(BrokerSettings(admin=url), lambda: topics, "public/default")
        await source.ask()
        assert len(asked) == 16
        await source.ask()
        await source.ask()
        assert len(asked) == 40
        await source.close()


async def test_the_dashboard_follows_what_comes_and_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WTP_HOME", str(tmp_path))
    [port] = free_ports(1)
    async with contextlib.AsyncExitStack() as stack:
        router = await stack.enter_async_context(contextlib.AsyncExitStack())
        url = await router.enter_async_context(served(growing(), port))
        consumer = await stack.enter_async_context(served(lambda _: samples.consumer()))
        role = Dashboard(Settings(), Watch((url,), trusting, broker=False))
        running = asyncio.create_task(role.run(lambda _: None))
        stack.push_async_callback(asyncio.wait_for, running, 30)
        stack.callback(role.stop)

        now = await until(role, lambda s: s["whole"]["objects_s"])
        assert now["rooms"]["default"]["publishers"] == 1
        exposed = Exposed("consume", os.getpid(), consumer, "default", wall_us())
        with lay(tmp_path, exposed):
            now = await until(role, lambda s: s["tracks"][samples.TRACK]["latency"])
            assert now["tracks"][samples.TRACK]["hops"]
            assert now["drops"] == {"consume": {"slow-output": 4}}
        await until(role, lambda s: not s["processes"])

        await router.aclose()
        now = await until(role, lambda s: s["routers"][0]["state"] == "gone")
        row = now["tracks"][samples.TRACK]
        assert row["state"] == "lost"
        assert {row[name] for name in ("objects_s", "bits_s", "queued")} == {None}
        assert set(now["whole"].values()) == {None}
        await until(role, lambda s: s["history"]["objects_s"][-1] is None)

        await router.enter_async_context(served(growing(), port))
        now = await until(role, lambda s: s["whole"]["objects_s"])
        assert "state" not in now["tracks"][samples.TRACK]


async def until(role: Dashboard, wanted: Callable[[Any], Any]) -> Any:
    """The first snapshot that is wanted."""
    async with asyncio.timeout(60):
        while not wanted(snapshot := role.snapshot()):
            await asyncio.sleep(0.05)
    return snapshot


async def test_once_without_a_router_is_a_failed_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WTP_HOME", str(tmp_path))
    [port] = free_ports(1)
    watch = Watch((f"https://127.0.0.1:{port}",), lambda _: False, broker=False, once=True)
    role = Dashboard(Settings(), watch)
    with pytest.raises(ConnectionFailed, match="No router answers") as caught:
        await asyncio.wait_for(role.run(lambda _: None), 60)
    assert caught.value.exit_code == 3
    assert "wtp demo" in caught.value.hint


async def test_routers_of_this_machine_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WTP_HOME", str(tmp_path))
    async with served(growing()) as url:
        with lay(tmp_path, Exposed("router", os.getpid(), url, "", wall_us())):
            watch = Watch((), trusting, broker=False, once=True)
            role = Dashboard(Settings(), watch)
            await asyncio.wait_for(role.run(lambda _: None), 60)
            snapshot = role.snapshot()
    assert [one["url"] for one in snapshot["routers"]] == [f"{url}/wt"]
    assert snapshot["whole"]["objects_s"] > 0
