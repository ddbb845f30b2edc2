"""What the embedded broker's WebSocket API does beside what the contract tests see."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.broker_ws.running import TOPIC, admin_of, api_of, broker
from tests.contract.websockets import Api, payloads, text_of
from wtp.broker.embedded.server import BrokerServer
from wtp.broker.embedded.values import EARLIEST
from wtp.errors import StorageError


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[BrokerServer]:
    """A broker."""
    async with broker(tmp_path) as made:
        yield made


@pytest.fixture
async def api(server: BrokerServer) -> AsyncIterator[Api]:
    """Its WebSocket API."""
    async with Api(admin_of(server)).used() as made:
        yield made


async def until(condition: Any, timeout_s: float = 60.0) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_silent_socket_is_closed(server: BrokerServer) -> None:
    async with api_of(server, idle_s=0.3) as admin, Api(admin).used() as api:
        producer = await api.open("producer", TOPIC)
        loop = asyncio.get_running_loop()
        began = loop.time()
        for _ in range(4):
            await asyncio.sleep(0.15)
            await producer.publish(b"x")
        assert await producer.closing() == 1001
        assert loop.time() - began > 0.85
    assert len(server.core.links) == 0


async def test_pings_keep_a_socket_open(server: BrokerServer) -> None:
    async with api_of(server, idle_s=0.5) as admin, Api(admin).used() as api:
        consumer = await api.open("consumer", TOPIC, "sub")
        for _ in range(4):
            await asyncio.sleep(0.25)
            await consumer.ws.ping()
        assert await consumer.ask(type="isEndOfTopic") == {"endOfTopic": False}


async def test_who_does_not_read_holds_nothing_up(server: BrokerServer, api: Api) -> None:
    """The broker keeps about a megabyte for a socket, whatever lies in the topic."""
    producer = await api.open("producer", TOPIC)
    slow = await api.open("consumer", TOPIC, "slow", receiverQueueSize=100_000)
    payload = text_of(bytes(100_000))
    for _ in range(300):
        await producer.say(payload=payload)
    for _ in range(300):
        await producer.hear()
    await asyncio.sleep(0.2)
    (link,) = [
        link
        for link in server.core.links
        if any(s.name == "slow" for _, s in link.consumers.values())
    ]
    waiting = link._transport.get_write_buffer_size()  # type: ignore[union-attr]
    assert 0 < waiting < 4_000_000
    fast = await api.open("reader", TOPIC, messageId="earliest", receiverQueueSize=1000)
    assert len(await fast.messages(300)) == 300
    assert len(await slow.messages(300, ack=True)) == 300


async def test_answers_that_nobody_reads_stop_the_reading(server: BrokerServer, api: Api) -> None:
    producer = await api.open("producer", TOPIC)
    context = "c" * 20_000  # comes back in each answer

    async def flood() -> None:
        for _ in range(5000):
            await producer.say(payload="aGk=", context=context)

    flooding = asyncio.create_task(flood())
    _, slow = await asyncio.wait({flooding}, timeout=1.5)
    assert slow  # TCP is full: nothing is read from a client that does not read
    stored = server.core.topics[TOPIC].log.entries
    heard = 0
    while heard < 5000:
        await producer.hear()
        heard += 1
    await flooding
    assert stored < 5000
    assert server.core.topics[TOPIC].log.entries == 5000


async def test_the_end_of_the_broker_is_said(tmp_path: Path) -> None:
    async with broker(tmp_path) as server, Api(admin_of(server)).used() as api:
        sockets = [
            await api.open("producer", TOPIC),
            await api.open("consumer", TOPIC, "sub"),
            await api.open("reader", TOPIC),
        ]
        closing = asyncio.gather(*(socket.closing() for socket in sockets))
        loop = asyncio.get_running_loop()
        began = loop.time()
        await server.close()
        assert loop.time() - began < 20
        assert await closing == [1001, 1001, 1001]


async def test_topics_that_are_unloaded_come_back(server: BrokerServer, api: Api) -> None:
    consumer = await api.open("consumer", TOPIC, "sub")
    reader = await api.open("reader", TOPIC)
    producer = await api.open("producer", TOPIC, producerName="me")
    await producer.publish(b"0")
    await server.admin.unload_topic(TOPIC)
    await producer.publish(b"1")
    assert payloads(await reader.messages(2)) == [b"0", b"1"]
    found = payloads(await consumer.messages(2))
    assert found == [b"0", b"1"] or found == [b"0", b"0"]  # unacknowledged: it may come again
    await server.admin.unload_topic(TOPIC)
    await producer.publish(b"2")
    assert payloads(await reader.messages(1)) == [b"2"]


async def test_a_subscription_that_is_moved(server: BrokerServer, api: Api) -> None:
    consumer = await api.open("consumer", TOPIC, "sub")
    producer = await api.open("producer", TOPIC)
    await producer.publish(b"0", b"1")
    assert payloads(await consumer.messages(2, ack=True)) == [b"0", b"1"]
    assert await consumer.ask(type="isEndOfTopic") == {"endOfTopic": False}
    await server.admin.reset_cursor(TOPIC, "sub", EARLIEST)
    assert payloads(await consumer.messages(2, ack=True)) == [b"0", b"1"]


async def test_exclusive_redelivery_keeps_the_order(api: Api) -> None:
    consumer = await api.open("consumer", TOPIC, "sub", negativeAckRedeliveryDelay=50)
    producer = await api.open("producer", TOPIC)
    await producer.publish(b"0", b"1", b"2")
    first = await consumer.messages(3)
    await consumer.say(messageId=first[0]["messageId"])
    await consumer.say(type="negativeAcknowledge", messageId=first[1]["messageId"])
    assert payloads(await consumer.messages(2)) == [b"1", b"2"]


async def test_redeliveries_do_not_use_permits_up(api: Api) -> None:
    consumer = await api.open(
        "consumer", TOPIC, "sub", subscriptionType="Shared", receiverQueueSize=2,
        negativeAckRedeliveryDelay=0,
    )  # fmt: skip
    producer = await api.open("producer", TOPIC)
    await producer.publish(b"0", b"1", b"2")
    for _ in range(6):
        (got,) = await consumer.messages(1)
        await consumer.say(type="negativeAcknowledge", messageId=got["messageId"])
    seen: set[bytes] = set()
    while len(seen) < 3:
        (got,) = await consumer.messages(1)
        await consumer.say(messageId=got["messageId"])
        seen |= set(payloads([got]))


async def test_foreign_pages_are_refused(server: BrokerServer) -> None:
    url = f"{admin_of(server).replace('http', 'ws')}/ws/v2/reader/persistent/public/default/t"
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(url, headers={"Origin": "http://evil.example"})
        assert refused.value.status == 403
        ws = await session.ws_connect(url, headers={"Origin": "http://localhost:3000"})
        await ws.close()


async def test_nothing_is_left_of_a_socket(server: BrokerServer, api: Api) -> None:
    for _ in range(5):
        consumer = await api.open("consumer", TOPIC, "sub", subscriptionType="Shared")
        producer = await api.open("producer", TOPIC)
        await producer.publish(b"x")
        await consumer.messages(1)
        await consumer.ws.close()
        await producer.ws.close()
        assert await api.refusal("/consumer/persistent/public/nope/t/s") == 404
    await until(lambda: not server.core.links)
    topic = server.core.topics[TOPIC]
    assert not topic.busy


async def test_a_full_disk_is_told(
    server: BrokerServer, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    producer = await api.open("producer", TOPIC, producerName="me")
    await producer.publish(b"0")
    log = server.core.topics[TOPIC].log

    def full(*_: Any) -> Any:
        raise StorageError("The disk is full.")

    with monkeypatch.context() as patched:
        patched.setattr(log, "append", full)
        answer = await producer.ask(payload="aGk=", context="c")
    assert (answer["result"], answer["context"]) == ("send-error:8", "c")
    await producer.publish(b"1")
    assert log.entries == 2


async def test_nothing_overtakes_a_message_that_failed(
    server: BrokerServer, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise de-duplication would take it for a repetition when it is sent again."""
    producer = await api.open("producer", TOPIC, producerName="me", initialSequenceId=0)
    await producer.publish(b"1")
    log = server.core.topics[TOPIC].log

    def full(*_: Any) -> Any:
        raise StorageError("The disk is full.")

    with monkeypatch.context() as patched:
        patched.setattr(log, "append", full)
        assert (await producer.ask(payload="aGk="))["result"] == "send-error:8"
    assert (await producer.ask(payload="aGk="))["result"] == "send-error:8"
    await producer.ws.close()
    producer = await api.again("producer", TOPIC, "", producerName="me", initialSequenceId=1)
    await producer.publish(b"2", b"3")
    assert log.entries == 3


@pytest.mark.parametrize("frame", [b"\xff" * 20, b"\xc1\x05hello"])
async def test_broken_frames_end_one_socket_only(
    server: BrokerServer, api: Api, frame: bytes
) -> None:
    other = await api.open("producer", TOPIC)
    _, _, port = admin_of(server).rpartition(":")
    reader, writer = await asyncio.open_connection("127.0.0.1", int(port))
    writer.write(
        b"GET /ws/v2/producer/persistent/public/default/t HTTP/1.1\r\nHost: x\r\n"
        b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
    writer.write(frame)
    async with asyncio.timeout(60):
        await reader.read()
    writer.close()
    await writer.wait_closed()
    await other.publish(b"x")


async def test_odd_json_is_answered(api: Api) -> None:
    producer = await api.open("producer", TOPIC)
    for text in (
        '{"payload": "aGk=", "deliverAt": 1e400}',
        '{"payload": "aGk=", "deliverAt": 1e30}',
    ):
        await producer.ws.send_str(text)
        assert json.loads(await producer.hear_text())["result"] == "send-error:3"
