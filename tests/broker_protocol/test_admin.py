"""The broker as the admin REST sees it, with live clients at the same time."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest

from tests.broker_protocol.wire import Bench, Wire, bench, blob
from wtp.broker.embedded.admin import Admin
from wtp.broker.embedded.answers import Deliver, Error, SendReceipt, Success
from wtp.broker.embedded.commands import CloseConsumer, CloseProducer, MessageIdData, Send
from wtp.broker.embedded.numbers import Cmd
from wtp.broker.embedded.server import BrokerSettings, serve_broker
from wtp.broker.embedded.store import Store
from wtp.broker.embedded.values import EARLIEST, LATEST, Position
from wtp.errors import BrokerError, NotFound, StorageError, WtpError

T = "persistent://public/default/t"


async def fill(wire: Wire, count: int) -> None:
    await wire.produce()
    for number in range(1, count + 1):
        await wire.published(number)


async def refused(work: object, code: str) -> None:
    with pytest.raises(BrokerError) as error:
        await work  # type: ignore[misc]
    assert error.value.code == code
    assert error.value.message


async def test_topics(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, await b.wire() as wire:
        admin = Admin(b.core)
        await admin.create_topic(T)
        await refused(admin.create_topic(T), "exists")
        with pytest.raises(NotFound):
            await admin.create_topic("persistent://public/missing/t")
        assert admin.topics("public/default", "persistent") == [T]
        await wire.produce()
        await refused(admin.delete_topic(T, force=False), "in-use")
        await admin.delete_topic(T, force=True)
        closing = await wire.expect(CloseProducer)
        assert closing.producer_id == 1
        with pytest.raises(NotFound):
            admin.stats(T)
        assert admin.topics("public/default", "persistent") == []


async def test_partitioned_topics(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, await b.wire() as wire:
        admin = Admin(b.core)
        await admin.create_partitioned(T, 2)
        await refused(admin.create_partitioned(T, 2), "exists")
        assert len(admin.topics("public/default", "persistent")) == 2
        await admin.update_partitions(T, 3)
        assert len(admin.topics("public/default", "persistent")) == 3
        await refused(admin.update_partitions(T, 1), "refused")
        await refused(admin.create_partitioned("u-partition-1", 2), "refused")
        await refused(admin.delete_topic(T, force=False), "refused")
        whole = await wire.produce(T)
        assert isinstance(whole, Error)
        assert whole.error == 22
        beyond = await wire.produce(f"{T}-partition-3")
        assert isinstance(beyond, Error)
        assert beyond.error == 11
        await admin.delete_partitioned(T, force=False)
        assert admin.topics("public/default", "persistent") == []
        with pytest.raises(NotFound):
            await admin.delete_partitioned(T, force=False)
        with pytest.raises(NotFound):
            await admin.update_partitions(T, 4)


async def test_statistics(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, await b.wire() as wire:
        admin = Admin(b.core)
        await fill(wire, 5)
        await wire.subscribe(initial_position=1, consumer_name="me")
        wire.flow(3)
        for _ in range(3):
            message = await wire.expect(Deliver)
        wire.ack(message.message_id)
        await wire.quiet()
        b.core.tick(1.0)
        stats = admin.stats("t")
        assert (stats["msgInCounter"], stats["msgRateIn"]) == (5, 5.0)
        assert stats["bytesInCounter"] > 0
        assert stats["publishers"][0]["producerId"] == 1
        subscription = stats["subscriptions"]["s"]
        assert (subscription["type"], subscription["msgBacklog"]) == ("Exclusive", 4)
        assert subscription["msgOutCounter"] == 3
        assert subscription["consumers"][0]["consumerName"] == "me"
        assert stats["deduplicationStatus"] == "Enabled"
        internal = admin.internal_stats("t")
        assert (internal["numberOfEntries"], internal["lastConfirmedEntry"]) == (5, "7:4")
        assert internal["cursors"]["s"]["readPosition"] == "7:3"
        counters = admin.counters()
        assert counters["messages_in_total"] == 5
        assert counters["messages_out_total"] == 3
        wire.send(Cmd.CLOSE_CONSUMER, CloseConsumer(1, 1))
        await wire.expect(Success)
        await admin.delete_topic(T, force=True)
        await wire.expect(CloseProducer)
        after = admin.counters()
        assert after["messages_in_total"] == 5
        assert after["messages_out_total"] == 3
        assert admin.uptime_s() >= 0


async def test_subscriptions(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, await b.wire() as wire:
        admin = Admin(b.core)
        await fill(wire, 10)
        await admin.create_subscription(T, "early", EARLIEST, {"a": "b"})
        await admin.create_subscription(T, "late", LATEST, {})
        await admin.create_subscription(T, "mid", Position(7, 4), {})
        await refused(admin.create_subscription(T, "mid", EARLIEST, {}), "exists")
        assert admin.subscriptions(T) == ["early", "late", "mid"]

        def backlog(name: str) -> int:
            return int(admin.stats(T)["subscriptions"][name]["msgBacklog"])

        assert [backlog(n) for n in ("early", "late", "mid")] == [10, 0, 6]
        assert admin.stats(T)["subscriptions"]["early"]["subscriptionProperties"] == {"a": "b"}
        assert (await admin.peek(T, "mid", 1)).position == (7, 4)
        assert (await admin.peek(T, "mid", 6)).position == (7, 9)
        with pytest.raises(NotFound):
            await admin.peek(T, "mid", 7)
        await admin.skip(T, "mid", 2)
        assert backlog("mid") == 4
        await admin.skip(T, "mid", None)
        assert backlog("mid") == 0
        assert await admin.reset_cursor(T, "mid", Position(7, 2)) == (7, 2)
        assert backlog("mid") == 8
        assert await admin.reset_cursor(T, "mid", 0) == (7, 0)
        assert await admin.reset_cursor(T, "mid", LATEST) == (7, 10)
        with pytest.raises(NotFound):
            await admin.reset_cursor(T, "nobody", 0)
        await admin.delete_subscription(T, "late", force=False)
        assert admin.subscriptions(T) == ["early", "mid"]


async def test_live_consumers_are_told(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, await b.wire() as wire:
        admin = Admin(b.core)
        await fill(wire, 3)
        await wire.subscribe(initial_position=1)
        await refused(admin.delete_subscription(T, "s", force=False), "in-use")
        await admin.reset_cursor(T, "s", Position(7, 1))
        await wire.expect(CloseConsumer)
        await wire.subscribe()
        wire.flow(9)
        assert (await wire.expect(Deliver)).message_id == MessageIdData(7, 1)
        await wire.expect(Deliver)
        await admin.unload_topic(T)
        assert {type((await wire.next())[1]) for _ in range(2)} == {CloseProducer, CloseConsumer}
        await wire.subscribe()
        await admin.delete_subscription(T, "s", force=True)
        await wire.expect(CloseConsumer)


async def test_namespaces(tmp_path: Path) -> None:
    store = Store(tmp_path)
    server = await serve_broker(BrokerSettings(tmp_path, port=0, http_port=None), store)
    try:
        admin = server.admin
        store.create_namespace("public/room")
        await admin.create_topic("persistent://public/room/video")
        await admin.create_partitioned("persistent://public/room/chat", 2)
        await refused(admin.delete_namespace("public/room", force=False), "exists")
        await admin.delete_namespace("public/room", force=True)
        assert not store.has_namespace("public/room")
        with pytest.raises(NotFound):
            await admin.delete_namespace("public/room", force=False)
    finally:
        await server.close()


async def test_deduplication_can_be_switched(tmp_path: Path) -> None:
    server = await serve_broker(BrokerSettings(tmp_path, port=0, http_port=None))
    try:
        async with await Bench(server.core, server.address[1]).wire() as wire:
            await fill(wire, 3)
            server.store.set_policy("public/default", "deduplicationEnabled", False)
            await server.admin.policies_changed("public/default")
            again = await wire.published(3)
            assert again.message_id is not None
            assert again.message_id.entry == 3
            server.store.set_policy("public/default", "deduplicationEnabled", True)
            await server.admin.policies_changed("public/default")
            wire.send(Cmd.SEND, Send(1, 3), blob(3))
            receipt = await wire.expect(SendReceipt)
            assert receipt.message_id is not None
    finally:
        await server.close()


async def test_both_ports_and_their_refusals(tmp_path: Path) -> None:
    server = await serve_broker(BrokerSettings(tmp_path / "a", port=0, http_port=0))
    try:
        assert server.http_address is not None
        host, port = server.http_address
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://{host}:{port}/admin/v2/brokers/health") as answer:
                assert await answer.text() == "ok"
            async with session.get(f"http://{host}:{port}/metrics") as answer:
                assert "messages_in_total" in await answer.text()
        assert server.damage == []
        taken = BrokerSettings(tmp_path / "b", port=server.address[1], http_port=None)
        with pytest.raises(WtpError):
            await serve_broker(taken)
        locked = BrokerSettings(tmp_path / "a", port=0, http_port=None)
        with pytest.raises(StorageError):
            await serve_broker(locked)
    finally:
        await server.close()
    await server.close()  # a second time: nothing happens
