"""The client of the WebSocket API: the same face as the native one, and it finds back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.broker_ws.running import TOPIC, Proxy, admin_of, broker, settings_of, start
from wtp.broker.embedded.server import BrokerServer
from wtp.broker.messages import Received
from wtp.broker.websocket import WebSocketClient, connect_websocket
from wtp.broker.websocketreading import SocketSubscription
from wtp.broker.websocketsending import SocketProducer
from wtp.config.schema import BrokerSettings
from wtp.errors import (
    BrokerError,
    BrokerUnavailable,
    NotFound,
    Refused,
    StorageError,
    WtpError,
)


@asynccontextmanager
async def client_of(settings: BrokerSettings) -> AsyncIterator[WebSocketClient]:
    """A client, closed at the end."""
    client = connect_websocket(settings)
    try:
        yield client
    finally:
        await client.close()


class Sent:
    """What became of messages."""

    def __init__(self, producer: SocketProducer) -> None:
        self.producer = producer
        self.results: dict[str, Any] = {}

    def send(self, text: str, seq: int | None = None) -> None:
        """Send a message named by its text."""
        self.producer.send(
            text.encode(), properties={"n": text}, key="k", event_ms=1_700_000_000_440, seq=seq,
            done=lambda error: self.results.__setitem__(text, error),
        )  # fmt: skip


async def take(subscription: SocketSubscription, count: int, *, ack: bool = True) -> list[Received]:
    """The next `count` messages."""
    found = []
    async with asyncio.timeout(60):
        for _ in range(count):
            found.append(await subscription.receive())
            if ack:
                subscription.ack(found[-1])
    return found


def texts(messages: list[Received]) -> list[str]:
    """What they carry."""
    return [message.payload.decode() for message in messages]


async def test_messages_come_as_from_the_native_client(tmp_path: Path) -> None:
    async with broker(tmp_path) as server, client_of(settings_of(server)) as client:
        assert await client.answers()
        reader = await client.reader(TOPIC)
        assert await client.last_position(TOPIC) is None
        sent = Sent(await client.producer(TOPIC))
        sent.send("a")
        (message,) = await take(reader, 1)
        assert (message.topic, message.key, message.properties) == (TOPIC, "k", {"n": "a"})
        assert message.event_ms == 1_700_000_000_440
        assert message.payload == b"a"
        assert message.redeliveries == 0
        assert await client.last_position(TOPIC) == message.position
        assert sent.results == {"a": None}
        figures = sent.producer.snapshot()
        assert figures["receipt"]["n"] == 1
        assert figures["receipt"]["p99_ms"] > 0


async def test_a_reader_begins_where_it_is_told(tmp_path: Path) -> None:
    async with broker(tmp_path) as server, client_of(settings_of(server)) as client:
        sent = Sent(await client.producer(TOPIC))
        for number in range(5):
            sent.send(str(number))
        await sent.producer.flush()
        all_of_it = await take(await client.reader(TOPIC, start="earliest"), 5)
        assert texts(all_of_it) == ["0", "1", "2", "3", "4"]
        at = all_of_it[2].position
        assert texts(await take(await client.reader(TOPIC, start=at), 3)) == ["2", "3", "4"]
        behind = await client.reader(TOPIC, start=at, inclusive=False)
        assert texts(await take(behind, 2)) == ["3", "4"]
        first = await client.reader(TOPIC, start=all_of_it[0].position)
        assert texts(await take(first, 1)) == ["0"]
        with pytest.raises(BrokerError, match="cannot seek"):
            await behind.seek_ms(0)


async def test_a_small_queue_passes_any_number(tmp_path: Path) -> None:
    async with broker(tmp_path) as server, client_of(settings_of(server)) as client:
        reader = await client.reader(TOPIC, queue=2)
        durable = await client.subscribe(TOPIC, "sub", queue=2)
        sent = Sent(await client.producer(TOPIC))
        for number in range(20):
            sent.send(str(number))
        expected = [str(number) for number in range(20)]
        assert texts(await take(reader, 20)) == expected
        assert texts(await take(durable, 20)) == expected
        assert reader.waiting <= 4


async def test_readers_and_subscriptions_go_on_after_a_restart(tmp_path: Path) -> None:
    server = await start(tmp_path)
    settings = settings_of(server)
    ports = server.address[1], int(settings.admin.rpartition(":")[2])
    async with client_of(settings) as client:
        reader = await client.reader(TOPIC)
        durable = await client.subscribe(TOPIC, "sub")
        sent = Sent(await client.producer(TOPIC, name="me/1"))
        for number in range(3):
            sent.send(str(number))
        assert texts(await take(reader, 3)) == ["0", "1", "2"]
        assert texts(await take(durable, 2)) == ["0", "1"]
        await sent.producer.flush()
        await asyncio.sleep(0.05)  # the acknowledgements are under way
        await server.close()
        sent.send("3")  # waits for the broker
        server = await start(tmp_path, *ports)
        try:
            sent.send("4")
            assert texts(await take(reader, 2)) == ["3", "4"]
            rest = texts(await take(durable, 3))
            assert rest == ["2", "3", "4"]
            await sent.producer.flush()
            assert set(sent.results.values()) == {None}
            assert sent.producer.reconnects == 1
        finally:
            await client.close()
            await server.close()


async def test_what_has_no_receipt_is_sent_again_and_stored_once(tmp_path: Path) -> None:
    async with broker(tmp_path) as server:
        proxy = Proxy(admin_of(server))
        async with proxy.listening() as admin:
            settings = settings_of(server).model_copy(update={"admin": admin})
            async with client_of(settings) as client:
                sent = Sent(await client.producer(TOPIC, name="me/1"))
                sent.send("0")
                await sent.producer.flush()
                proxy.mute = True
                for number in range(1, 50):
                    sent.send(str(number))
                log = server.core.topics[TOPIC].log
                async with asyncio.timeout(60):
                    while log.entries < 50:
                        await asyncio.sleep(0.01)
                assert len(sent.results) == 1
                proxy.mute = False
                proxy.cut()
                sent.send("50")
                async with asyncio.timeout(60):
                    await sent.producer.flush()
                assert list(sent.results.values()) == [None] * 51
                assert log.entries == 51
                reader = await client.reader(TOPIC, start="earliest")
                assert texts(await take(reader, 51)) == [str(number) for number in range(51)]


async def test_what_the_broker_could_not_store_goes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with broker(tmp_path) as server, client_of(settings_of(server)) as client:
        sent = Sent(await client.producer(TOPIC, name="me/1"))
        sent.send("0")
        await sent.producer.flush()
        log = server.core.topics[TOPIC].log
        append, refused = log.append, 0

        def now_and_then(*args: Any) -> Any:
            nonlocal refused
            if log.entries % 10 == 5 and refused < 3 * (log.entries // 10 + 1):
                refused += 1
                raise StorageError("The disk is full.")
            return append(*args)

        monkeypatch.setattr(log, "append", now_and_then)
        for number in range(1, 50):
            sent.send(str(number))
        async with asyncio.timeout(60):
            await sent.producer.flush()
        assert refused >= 5
        assert set(sent.results.values()) == {None}
        reader = await client.reader(TOPIC, start="earliest")
        assert texts(await take(reader, 50)) == [str(number) for number in range(50)]
        assert log.entries == 50


async def test_without_a_name_what_is_lost_is_told(tmp_path: Path) -> None:
    async with broker(tmp_path) as server:
        proxy = Proxy(admin_of(server))
        async with proxy.listening() as admin:
            settings = settings_of(server).model_copy(update={"admin": admin})
            async with client_of(settings) as client:
                sent = Sent(await client.producer(TOPIC, max_pending=2))
                proxy.mute = True
                for number in range(3):
                    sent.send(str(number))
                assert sent.results["2"].code == "queue"
                await asyncio.sleep(0.1)
                proxy.mute, proxy.refuse = False, True
                proxy.cut()
                async with asyncio.timeout(60):
                    await sent.producer.flush()
                assert isinstance(sent.results["0"], BrokerUnavailable)
                sent.send("3")
                assert isinstance(sent.results["3"], BrokerUnavailable)
                proxy.refuse = False
                async with asyncio.timeout(60):
                    while not sent.producer.connected:
                        await asyncio.sleep(0.01)
                sent.send("4")
                await sent.producer.flush()
                assert sent.results["4"] is None


async def test_a_silent_broker_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from wtp.broker import websocketline

    monkeypatch.setattr(websocketline, "HEARTBEAT_S", 0.4)
    async with broker(tmp_path) as server:
        proxy = Proxy(admin_of(server))
        async with proxy.listening() as admin:
            settings = settings_of(server).model_copy(update={"admin": admin})
            async with client_of(settings) as client:
                reader = await client.reader(TOPIC)
                await asyncio.sleep(1.0)
                assert reader.connected
                proxy.mute = True
                async with asyncio.timeout(60):
                    while reader.connected:
                        await asyncio.sleep(0.02)
                proxy.mute = False
                async with asyncio.timeout(60):
                    while not reader.connected:
                        await asyncio.sleep(0.02)


@asynccontextmanager
async def answering(status: int, seen: list[Any] | None = None) -> AsyncIterator[BrokerSettings]:
    """A server that answers every request with one status."""

    async def answer(request: web.Request) -> web.Response:
        if seen is not None:
            seen.append(request)
        return web.Response(status=status, text="no")

    app = web.Application()
    app.router.add_route("*", "/{any:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield BrokerSettings(admin=f"http://127.0.0.1:{runner.addresses[0][1]}")
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("status", "kind", "code", "exit_code"),
    [
        (200, BrokerUnavailable, "no-pulsar", 3),
        (401, Refused, "token-missing", 4),
        (403, Refused, "not-allowed", 4),
        (404, NotFound, "not-found", 1),
        (409, BrokerError, "busy", 1),
        (500, BrokerError, "broker", 1),
    ],
)
async def test_refusals_are_sentences(
    status: int, kind: type[WtpError], code: str, exit_code: int
) -> None:
    async with answering(status) as settings, client_of(settings) as client:
        for opening in (client.reader(TOPIC), client.subscribe(TOPIC, "s"), client.producer(TOPIC)):
            with pytest.raises(kind) as refused:
                await opening
            assert (refused.value.code, refused.value.exit_code) == (code, exit_code)
            assert refused.value.message.endswith(".")
            assert refused.value.hint


async def test_where_nothing_listens(free_port: Any) -> None:
    settings = BrokerSettings(admin=f"http://127.0.0.1:{free_port()}")
    async with client_of(settings) as client:
        assert not await client.answers()
        with pytest.raises(BrokerUnavailable, match="No broker"):
            await client.reader(TOPIC)


async def test_what_is_no_http_at_all(tmp_path: Path) -> None:
    async with broker(tmp_path) as server:
        host, port = server.address
        async with client_of(BrokerSettings(websocket=f"ws://{host}:{port}")) as client:
            with pytest.raises(BrokerUnavailable):
                await client.reader(TOPIC)


@pytest.mark.parametrize("url", ["http://a:1", "ws://", "ws://u:p@a:1", "ws://a:1/ws/v2?token=x"])
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(BrokerUnavailable) as refused:
        connect_websocket(BrokerSettings(websocket=url))
    assert "token=x" not in str(refused.value)
    assert "u:p" not in str(refused.value)


async def test_the_token_goes_into_a_header_and_nowhere_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    seen: list[web.Request] = []
    async with answering(401, seen) as plain:
        settings = plain.model_copy(update={"token": "secret.token.text"})
        async with client_of(settings) as client:
            with pytest.raises(Refused) as refused:
                await client.producer(TOPIC)
            assert "secret" not in f"{refused.value}{client.url}{client!r}"
    (request,) = seen
    assert request.headers["Authorization"] == "Bearer secret.token.text"
    assert "secret" not in str(request.rel_url)
    assert "secret" not in caplog.text


async def test_a_taken_subscription_is_busy(tmp_path: Path) -> None:
    async with broker(tmp_path) as server, client_of(settings_of(server)) as client:
        await client.subscribe(TOPIC, "sub")
        with pytest.raises(BrokerError) as refused:
            await client.subscribe(TOPIC, "sub")
        assert refused.value.code == "busy"


async def test_negative_acknowledgements(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from wtp.broker import websocket

    monkeypatch.setattr(websocket, "NACK_DELAY_MS", 50)
    async with broker(tmp_path) as server, client_of(settings_of(server)) as client:
        durable = await client.subscribe(TOPIC, "sub", kind="shared")
        sent = Sent(await client.producer(TOPIC))
        sent.send("a")
        (message,) = await take(durable, 1, ack=False)
        durable.nack(message)
        (again,) = await take(durable, 1)
        assert (again.position, again.redeliveries) == (message.position, 1)


async def test_closing_wakes_who_waits(tmp_path: Path) -> None:
    async with broker(tmp_path) as server, client_of(settings_of(server)) as client:
        reader = await client.reader(TOPIC)
        waiting = asyncio.create_task(reader.receive())
        await asyncio.sleep(0)
        await client.close()
        with pytest.raises(BrokerUnavailable):
            await waiting


async def test_both_clients_see_one_server(tmp_path: Path) -> None:
    """What the server counts: sockets are connections like any other."""
    async with broker(tmp_path) as server, client_of(settings_of(server)) as client:
        await client.reader(TOPIC)
        await client.producer(TOPIC)
        assert _connections(server) == 2


def _connections(server: BrokerServer) -> float:
    return server.admin.counters()["connections"]
