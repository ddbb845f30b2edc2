"""What a real Pulsar answers on the wire, case by case: consumers and acknowledgement."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.broker_protocol.wire import Wire, bench, blob
from wtp.broker.embedded.answers import (
    AckResponse,
    ActiveConsumerChange,
    ConsumerStatsResponse,
    Deliver,
    Error,
    GetLastMessageIdResponse,
    SendReceipt,
    Success,
)
from wtp.broker.embedded.commands import (
    CloseConsumer,
    ConsumerStats,
    GetLastMessageId,
    MessageIdData,
    Redeliver,
    Seek,
    Send,
    Unsubscribe,
)
from wtp.broker.embedded.core import Settings
from wtp.broker.embedded.numbers import LATEST_ID, NO_ID, Cmd
from wtp.broker.embedded.protobuf import Message


async def _drain(wire: Wire, count: int) -> list[int]:
    entries = []
    for _ in range(count):
        message = await wire.expect(Deliver)
        assert message.message_id is not None
        entries.append(message.message_id.entry)
    return entries


@pytest.mark.parametrize("target", ["id", "time", "earliest", "latest"])
async def test_seek(tmp_path: Path, target: str) -> None:
    async with bench(tmp_path) as b, await b.wire() as wire:
        await wire.produce()
        for number in range(1, 6):
            await wire.published(number)
        await wire.subscribe(initial_position=1)
        wire.flow(100)
        for _ in range(5):
            await wire.expect(Deliver)
        seek = {
            "id": Seek(1, 7, MessageIdData(7, 3)),
            "time": Seek(1, 7, publish_ms=1),
            "earliest": Seek(1, 7, MessageIdData(NO_ID, NO_ID)),
            "latest": Seek(1, 7, MessageIdData(LATEST_ID, LATEST_ID)),
        }[target]
        wire.send(Cmd.SEEK, seek)
        closing = await wire.expect(CloseConsumer)
        assert (closing.consumer_id, closing.request_id) == (1, NO_ID)
        assert (await wire.expect(Success)).request_id == 7
        await wire.subscribe()
        wire.flow(100)
        first = {"id": 3, "time": 0, "earliest": 0, "latest": 5}[target]
        for entry in range(first, 5):
            assert (await wire.expect(Deliver)).message_id == MessageIdData(7, entry)
        await wire.quiet()


async def test_failover_says_who_is_active(tmp_path: Path) -> None:
    async with bench(tmp_path, Settings(failover_delay_s=0.05)) as b, await b.wire() as wire:
        assert isinstance(await wire.subscribe(sub_type=2, consumer_name="b"), Success)
        assert (await wire.expect(ActiveConsumerChange)).is_active
        async with await b.wire() as other:
            passive = await other.subscribe(sub_type=2, consumer_name="a")
            assert isinstance(passive, ActiveConsumerChange)
            assert not passive.is_active
            await other.expect(Success)
            await wire.produce()
            other.flow(10)
            wire.flow(10)
            await wire.published(1)
            wire.publish(2)
            kinds = {type((await wire.next())[1]) for _ in range(2)}
            assert kinds == {Deliver, SendReceipt}
            await other.quiet()
            wire.send(Cmd.CLOSE_CONSUMER, CloseConsumer(1, 3))
            assert (await other.expect(ActiveConsumerChange)).is_active
            assert (await other.expect(Deliver)).message_id == MessageIdData(7, 0)


async def test_last_message_id(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, await b.wire() as wire:
        await wire.subscribe(initial_position=1)
        wire.send(Cmd.GET_LAST_MESSAGE_ID, GetLastMessageId(1, 4))
        answer = await wire.expect(GetLastMessageIdResponse)
        assert answer.last_message_id == MessageIdData(NO_ID, NO_ID, -1, -1)
        assert answer.mark_delete is not None
        await wire.produce()
        wire.send(Cmd.SEND, Send(1, 1, 4), blob(1, num_messages=4))
        await wire.expect(SendReceipt)
        wire.send(Cmd.GET_LAST_MESSAGE_ID, GetLastMessageId(1, 5))
        answer = await wire.expect(GetLastMessageIdResponse)
        assert answer.last_message_id == MessageIdData(7, 0, -1, 3)


async def test_acknowledgement_answers(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, await b.wire() as wire:
        await wire.produce()
        await wire.published(1)
        await wire.subscribe(initial_position=1)
        wire.flow(1)
        message = await wire.expect(Deliver)
        wire.ack(message.message_id)
        await wire.quiet()
        wire.ack(message.message_id, request=77)
        answer = await wire.expect(AckResponse)
        assert (answer.request_id, answer.error) == (77, None)


async def test_permits_bound_delivery_and_batches_count_whole(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, await b.wire() as wire:
        await wire.produce()
        for number in range(4):
            wire.send(Cmd.SEND, Send(1, number * 10, 5), blob(number * 10, num_messages=5))
            await wire.expect(SendReceipt)
        await wire.subscribe(initial_position=1)
        await wire.quiet()
        wire.flow(6)  # a batch of 5, then one more goes with 1 permit left
        await wire.expect(Deliver)
        await wire.expect(Deliver)
        await wire.quiet()
        wire.flow(4)  # only now even
        await wire.quiet()
        wire.flow(1)
        await wire.expect(Deliver)
        wire.send(Cmd.CONSUMER_STATS, ConsumerStats(3, 1))
        stats = await wire.expect(ConsumerStatsResponse)
        assert (stats.backlog, stats.type) == (4, "Exclusive")


@pytest.mark.parametrize("sub_type", [0, 1, 2, 3])
async def test_unacknowledged_comes_again(tmp_path: Path, sub_type: int) -> None:
    async with bench(tmp_path) as b:
        async with await b.wire() as wire:
            await wire.produce()
            for number in range(1, 4):
                await wire.published(number)
            found = await wire.subscribe(sub_type=sub_type, initial_position=1)
            assert isinstance(found, Success)
            wire.flow(10)
            got: list[Message] = []
            while len(got) < 3:
                _, message = await wire.next()
                if isinstance(message, Deliver):
                    got.append(message)
            second = got[1]
            assert isinstance(second, Deliver)
            wire.ack(second.message_id, request=1)
            await wire.expect(AckResponse)
        async with await b.wire() as wire:
            await wire.subscribe(sub_type=sub_type)
            wire.flow(10)
            entries: list[int] = []
            while len(entries) < 2:
                _, message = await wire.next()
                if isinstance(message, Deliver) and message.message_id is not None:
                    entries.append(message.message_id.entry)
            assert entries == [0, 2]


async def test_negative_acknowledgement_counts(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, await b.wire() as wire:
        await wire.produce()
        await wire.published(1)
        await wire.subscribe(sub_type=1, initial_position=1)
        wire.flow(10)
        for count in range(3):
            message = await wire.expect(Deliver)
            assert (message.redelivery_count or 0) == count
            assert message.message_id is not None
            wire.send(Cmd.REDELIVER, Redeliver(1, [message.message_id]))


async def test_unsubscribe(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, await b.wire() as wire:
        await wire.subscribe(sub_type=1)
        await wire.subscribe(sub_type=1, consumer_id=2)
        wire.send(Cmd.UNSUBSCRIBE, Unsubscribe(1, 3))
        assert (await wire.expect(Error)).error == 1
        wire.send(Cmd.CLOSE_CONSUMER, CloseConsumer(2, 4))
        await wire.expect(Success)
        wire.send(Cmd.UNSUBSCRIBE, Unsubscribe(1, 5))
        await wire.expect(Success)
        topic = b.core.topics["persistent://public/default/t"]
        assert topic.subscriptions == {}


async def test_non_persistent(tmp_path: Path) -> None:
    topic = "non-persistent://public/default/live"
    async with bench(tmp_path) as b, await b.wire() as wire:
        await wire.produce(topic)
        await wire.published(1, b"nobody listens")
        await wire.subscribe(topic, initial_position=1)
        wire.flow(1)
        wire.publish(2, b"seen")
        kinds = [await wire.next() for _ in range(2)]
        assert {type(message) for _, message in kinds} == {Deliver, SendReceipt}
        await wire.published(3, b"no permit: dropped")
        wire.flow(1)
        await wire.quiet()
        stats = b.core.topics[topic].subscriptions["s"]
        assert stats.dropped == 1
        assert b.core.topics[topic].log.entries == 0


async def test_cumulative_acknowledgement(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, await b.wire() as wire:
        await wire.produce()
        for number in range(1, 11):
            await wire.published(number)
        await wire.subscribe(initial_position=1)
        wire.flow(10)
        assert await _drain(wire, 10) == list(range(10))
        wire.ack(MessageIdData(7, 6), kind=1, request=1)
        await wire.expect(AckResponse)
        wire.send(Cmd.REDELIVER, Redeliver(1))
        wire.flow(10)
        assert await _drain(wire, 3) == [7, 8, 9]


async def test_start_positions_of_readers(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, await b.wire() as wire:
        await wire.produce()
        for number in range(1, 6):
            await wire.published(number)
        start = MessageIdData(7, 2)
        await wire.subscribe(durable=False, start_message_id=start)
        wire.flow(10)
        assert await _drain(wire, 3) == [2, 3, 4]
        topic = b.core.topics["persistent://public/default/t"]
        assert not topic.subscriptions["s"].durable
        wire.send(Cmd.CLOSE_CONSUMER, CloseConsumer(1, 4))
        await wire.expect(Success)
        assert topic.subscriptions == {}
        await wire.subscribe(durable=False, rollback_s=60)
        wire.flow(10)
        assert await _drain(wire, 5) == [0, 1, 2, 3, 4]
