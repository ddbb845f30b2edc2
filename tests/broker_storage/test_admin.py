"""The admin client against the REST side, and against servers that misbehave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web

from tests.broker_storage.fakes import FakeBroker
from tests.broker_storage.logs import TOPIC, blob
from tests.broker_storage.test_rest import pair
from wtp import __version__
from wtp.broker.embedded.values import CursorState, Position
from wtp.broker.topics import Admin, Policies
from wtp.errors import BrokerError, BrokerUnavailable, NotFound, Refused, UsageError


@pytest.fixture
async def admin(url: str) -> AsyncIterator[Admin]:
    async with Admin(url) as admin:
        yield admin


async def test_topics(admin: Admin, broker: FakeBroker) -> None:
    await admin.create_topic("video")
    await admin.create_topic("persistent://public/default/parts", 3)
    broker.volatile.append("non-persistent://public/default/now")
    assert await admin.list_topics("public/default") == [
        "non-persistent://public/default/now",
        "persistent://public/default/parts",
        TOPIC,
    ]
    assert len(await admin.list_topics("public/default", each_partition=True)) == 5
    assert await admin.partitions("video") == 0
    assert await admin.partitions("parts") == 3
    assert (await admin.stats("video"))["msgInCounter"] == 0
    assert (await admin.stats("parts"))["metadata"]["partitions"] == 3
    assert (await admin.internal_stats("video"))["numberOfEntries"] == 0
    assert await admin.last_message_id("video") == (-1, -1)
    with pytest.raises(BrokerError) as caught:
        await admin.create_topic("video")
    assert caught.value.code == "exists"
    broker.busy.add(TOPIC)
    with pytest.raises(BrokerError) as caught:
        await admin.delete_topic("video")
    assert caught.value.code == "in-use"
    assert caught.value.hint
    await admin.delete_topic("video", force=True)
    await admin.delete_topic("parts")
    assert broker.store.topics("public/default") == []
    with pytest.raises(NotFound):
        await admin.delete_topic("video")
    with pytest.raises(NotFound):
        await admin.list_topics("public/none")


async def test_subscriptions(admin: Admin, broker: FakeBroker) -> None:
    log = broker.store.open_topic(TOPIC)
    last = log.append(blob("p", 1, b"hello", extra=pair("kind", "video")), 1000, 1)
    await admin.create_subscription("video", "a/b c")
    await admin.create_subscription("video", "all", earliest=True)
    assert await admin.subscriptions("video") == ["a/b c", "all"]
    assert broker.store.load_cursors(TOPIC)["a/b c"] == CursorState(last)
    message = await admin.peek("video", "all")
    assert message.payload == b"hello"
    assert message.properties == {"kind": "video"}
    assert message.message_id == f"{last.ledger}:{last.entry}"
    assert message.publish_time == "1970-01-01T00:00:01.000Z"
    assert message.batch == 1
    with pytest.raises(NotFound):
        await admin.peek("video", "all", 2)
    await admin.reset_cursor("video", "all", 555)
    await admin.reset_cursor("video", "all", (3, 4))
    assert [target for *_, target in broker.resets] == [555, Position(3, 4)]
    await admin.skip("video", "all", 2)
    await admin.skip("video", "all")
    assert [count for *_, count in broker.skips] == [2, None]
    await admin.delete_subscription("video", "a/b c")
    assert await admin.subscriptions("video") == ["all"]


async def test_namespaces(admin: Admin, broker: FakeBroker) -> None:
    assert await admin.ensure_namespace(
        "public/lab", retention_minutes=60, retention_mb=100, deduplication=True
    )
    assert not await admin.ensure_namespace("public/lab", deduplication=False)
    own = frozenset({"retention", "deduplication"})
    assert await admin.policies("public/lab") == Policies(60, 100, True, own)
    await admin.set_retention("public/lab", 0, 0)
    await admin.set_deduplication("public/lab", False)
    assert await admin.policies("public/lab") == Policies(0, 0, False, own)
    assert await admin.ensure_namespace("public/plain")
    assert await admin.policies("public/plain") == Policies(1440, 1024, True, frozenset())
    assert await admin.namespaces() == ["public/default", "public/lab", "public/plain"]
    await admin.create_topic(TOPIC)
    await admin.set_retention(TOPIC, 5)
    assert broker.store.retention(TOPIC).minutes == 5
    assert await admin.ensure_namespace("nobody/lab")  # with its tenant
    assert await admin.namespaces("nobody") == ["nobody/lab"]
    with pytest.raises(NotFound):
        await admin.policies("public/none")
    await admin.delete_namespace("public/lab")
    assert "public/lab" not in await admin.namespaces()


async def test_two_who_create_a_namespace_at_once(admin: Admin) -> None:
    made = await asyncio.gather(*(admin.ensure_namespace("public/race") for _ in range(8)))
    assert sum(made) == 1


async def test_health(admin: Admin) -> None:
    health = await admin.health()
    assert health.healthy
    assert health.embedded
    assert health.version == __version__
    assert health.details["fsync"] == "never"


async def test_nothing_answers(free_port: Callable[[], int]) -> None:
    async with Admin(f"http://127.0.0.1:{free_port()}") as admin:
        with pytest.raises(BrokerUnavailable) as caught:
            await admin.list_topics("public/default")
    assert "wtp broker" in caught.value.hint
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("url", ["pulsar://x:6650", "localhost:8080", "", "http://"])
def test_urls_that_are_none(url: str) -> None:
    with pytest.raises(UsageError):
        Admin(url)


_Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[_Answer], Awaitable[str]]]:
    """Serves one answer to everything; returns the URL."""
    runners: list[web.ServerRunner] = []

    async def start(answer: _Answer) -> str:
        runner = web.ServerRunner(web.Server(answer), shutdown_timeout=0.1)
        await runner.setup()
        runners.append(runner)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    yield start
    for runner in runners:
        await runner.cleanup()


Serve = Callable[[_Answer], Awaitable[str]]


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (401, Refused, "not-allowed"),
        (403, Refused, "not-allowed"),
        (404, NotFound, "not-found"),
        (409, BrokerError, "exists"),
        (412, BrokerError, "refused"),
        (500, BrokerError, "broker"),
        (503, BrokerUnavailable, "broker-unavailable"),
    ],
)
@pytest.mark.parametrize("body", [b'{"reason": "because"}', b"<html>", b"[1]", b""])
async def test_refusals(
    serve: Serve, status: int, kind: type[Exception], code: str, body: bytes
) -> None:
    async def answer(request: web.BaseRequest) -> web.Response:
        return web.Response(status=status, body=body)

    async with Admin(await serve(answer)) as admin:
        with pytest.raises(kind) as caught:
            await admin.create_topic("x")
    error = caught.value
    assert isinstance(error, BrokerError | Refused)
    known = status != 401 or b"because" in body
    assert error.code == (code if known else "token-missing")
    assert ("because" in error.message) == (b"because" in body)


async def test_a_server_that_hangs(serve: Serve) -> None:
    leave = asyncio.Event()

    async def answer(request: web.BaseRequest) -> web.Response:
        await leave.wait()
        return web.Response()

    async with Admin(await serve(answer), timeout=0.2) as admin:
        with pytest.raises(BrokerUnavailable, match="in time"):
            await admin.partitions("x")
    leave.set()


async def test_a_server_that_is_no_pulsar(serve: Serve) -> None:
    async def page(request: web.BaseRequest) -> web.Response:
        return web.Response(text="<html>hello</html>")

    async def nothing(request: web.BaseRequest) -> web.Response:
        return web.Response(status=404)

    async with Admin(await serve(page)) as admin:
        with pytest.raises(BrokerUnavailable, match="as a Pulsar"):
            await admin.partitions("x")
        assert not (await admin.health()).healthy
    async with Admin(await serve(nothing)) as admin:
        with pytest.raises(BrokerUnavailable, match="no Pulsar"):
            await admin.health()


async def test_a_pulsar_that_hides_its_configuration(serve: Serve) -> None:
    """Unset policies are an empty body; the defaults need super-user rights."""
    asked: list[str] = []

    async def answer(request: web.BaseRequest) -> web.Response:
        asked.append(request.path)
        assert request.headers["Authorization"] == "Bearer secret"
        return web.Response(status=401 if "configuration" in request.path else 200)

    async with Admin(await serve(answer), token="secret") as admin:
        assert await admin.policies("public/x") == Policies(0, 0, False, frozenset())
    assert len(asked) == 3
