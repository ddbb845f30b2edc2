"""What a real Pulsar answers on the wire, case by case: producers and schemas."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.broker_protocol.wire import bench, blob
from wtp.broker.embedded.answers import (
    Deliver,
    Error,
    GetOrCreateSchemaResponse,
    GetSchemaResponse,
    ProducerSuccess,
    SendError,
    SendReceipt,
    Success,
)
from wtp.broker.embedded.commands import (
    CloseProducer,
    GetOrCreateSchema,
    GetSchema,
    MessageIdData,
    Producer,
    Schema,
    Send,
)
from wtp.broker.embedded.core import Settings
from wtp.broker.embedded.frames import frame
from wtp.broker.embedded.numbers import NO_ID, Cmd


async def test_send_receipt(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, await b.wire() as wire:
        made = await wire.produce(name="mine")
        assert isinstance(made, ProducerSuccess)
        assert (made.name, made.last_sequence_id, made.ready) == ("mine", -1, True)
        receipt = await wire.published(3)
        assert receipt.message_id == MessageIdData(7, 0)
        assert (receipt.sequence_id, receipt.highest_sequence_id) == (3, NO_ID)
        again = await wire.published(3)
        assert again.message_id == MessageIdData(NO_ID, NO_ID)
        wire.send(Cmd.SEND, Send(1, 4, 3, highest_sequence_id=6), blob(4, num_messages=3))
        batch = await wire.expect(SendReceipt)
        assert batch.highest_sequence_id == 6
        wire.send(Cmd.CLOSE_PRODUCER, CloseProducer(1, 5))
        assert (await wire.expect(Success)).request_id == 5
        reopened = await wire.produce(name="mine")
        assert isinstance(reopened, ProducerSuccess)
        assert reopened.last_sequence_id == 6


async def test_without_deduplication(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, await b.wire() as wire:
        await wire.produce("public/off/t", name="mine")
        for number in (0, 1):
            receipt = await wire.published(3)
            assert receipt.message_id == MessageIdData(7, number)
        wire.send(Cmd.CLOSE_PRODUCER, CloseProducer(1, 5))
        await wire.expect(Success)
        reopened = await wire.produce("public/off/t", name="mine")
        assert isinstance(reopened, ProducerSuccess)
        assert reopened.last_sequence_id == -1


async def test_checksums(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, await b.wire() as wire:
        await wire.produce()
        wire.send(Cmd.SEND, Send(1, 1), blob(1)[:-1] + b"X")
        refused = await wire.expect(SendError)
        assert (refused.sequence_id, refused.error) == (1, 9)
        bare = blob(2)[6:]
        wire.send(Cmd.SEND, Send(1, 2), bare)
        await wire.expect(SendReceipt)
        await wire.subscribe(initial_position=1)
        wire.flow(10)
        await wire.expect(Deliver)
        assert wire.blob == bare


async def test_the_blob_comes_as_it_was_sent(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, await b.wire() as wire:
        await wire.produce()
        sent = blob(1, b"odd \x00 payload", partition_key="k", event_ms=5)
        wire.send(Cmd.SEND, Send(1, 1), sent)
        await wire.expect(SendReceipt)
        await wire.subscribe(initial_position=1)
        wire.flow(1)
        message = await wire.expect(Deliver)
        assert (message.message_id, message.redelivery_count) == (MessageIdData(7, 0), None)
        assert wire.blob == sent


async def test_names_taken(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, await b.wire() as wire, await b.wire() as other:
        await wire.produce(name="n")
        async with wire.alive():  # the holder is asked whether it lives
            refused = await other.produce(name="n")
        assert isinstance(refused, Error)
        assert refused.error == 16
        await wire.subscribe()
        async with wire.alive():
            busy = await other.subscribe()
        assert isinstance(busy, Error)
        assert busy.error == 5
        type_mismatch = await other.subscribe(sub_type=1)
        assert isinstance(type_mismatch, Error)
        assert type_mismatch.error == 5


async def test_a_dead_holder_loses_its_name(tmp_path: Path) -> None:
    async with bench(tmp_path, Settings(liveness_s=0.05)) as b:
        dead, other = await b.wire(), await b.wire()
        async with dead, other:
            await dead.produce(name="n")
            await dead.subscribe()
            assert isinstance(await other.produce(name="n"), ProducerSuccess)
            assert isinstance(await other.subscribe(), Success)
            assert await dead.closed()


async def test_a_newcomer_that_gives_up(tmp_path: Path) -> None:
    async with bench(tmp_path, Settings(liveness_s=0.2)) as b:
        dead, other = await b.wire(), await b.wire()
        async with dead:
            await dead.produce(name="n")
            async with other:
                other.send(Cmd.PRODUCER, Producer("t", 1, 7, name="n"))
                await other.quiet()
            third = await b.wire()
            async with third:
                assert isinstance(await third.produce(name="n"), ProducerSuccess)


async def test_a_holder_that_closes_while_it_is_asked(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, await b.wire() as other:
        async with await b.wire() as holder:
            await holder.produce(name="n")
            other.send(Cmd.PRODUCER, Producer("t", 1, 7, name="n"))
            await other.quiet()
        assert isinstance((await other.next())[1], ProducerSuccess)


async def test_exclusive_producers(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, await b.wire() as one, await b.wire() as two:
        made = await one.produce(access=1)
        assert isinstance(made, ProducerSuccess)
        assert made.topic_epoch == 0
        for access, code in ((1, 25), (0, 16)):
            refused = await two.produce(access=access)
            assert isinstance(refused, Error)
            assert refused.error == code
        one.send(Cmd.CLOSE_PRODUCER, CloseProducer(1, 5))
        await one.expect(Success)
        shared = await two.produce(access=0)
        assert isinstance(shared, ProducerSuccess)
        refused = await one.produce(access=1)
        assert isinstance(refused, Error)
        assert refused.error == 25


async def test_wait_for_exclusive(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, await b.wire() as one, await b.wire() as two:
        await one.produce(access=2)
        waiting = await two.produce(access=2)
        assert isinstance(waiting, ProducerSuccess)
        assert not waiting.ready
        one.send(Cmd.CLOSE_PRODUCER, CloseProducer(1, 5))
        later = await two.expect(ProducerSuccess)
        assert later.ready
        assert (later.request_id, later.topic_epoch) == (waiting.request_id, 1)
        two.publish(1)
        await two.expect(SendReceipt)


async def test_fencing(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, await b.wire() as one, await b.wire() as two:
        await one.produce()
        await one.published(1)
        taken = await two.produce(access=3)
        assert isinstance(taken, ProducerSuccess)
        await one.quiet()
        one.publish(2)
        assert await one.closed()
        two.publish(1)
        await two.expect(SendReceipt)
        async with await b.wire() as three:
            old = await three.produce(access=1, topic_epoch=0)
            assert isinstance(old, Error)
            assert old.error == 25


async def test_schemas(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, await b.wire() as wire:
        wire.send(Cmd.GET_SCHEMA, GetSchema(1, "t"))
        assert (await wire.expect(GetSchemaResponse)).error == 11
        schema = Schema("s", b'"int"', 2)
        wire.send(Cmd.GET_OR_CREATE_SCHEMA, GetOrCreateSchema(2, "t", schema))
        made = await wire.expect(GetOrCreateSchemaResponse)
        assert made.version == bytes(8)
        wire.send(Cmd.GET_SCHEMA, GetSchema(3, "t", made.version))
        assert (await wire.expect(GetSchemaResponse)).schema == schema
        produced = await wire.produce(schema=schema)
        assert isinstance(produced, ProducerSuccess)
        assert produced.schema_version == bytes(8)
        wire.send(Cmd.GET_OR_CREATE_SCHEMA, GetOrCreateSchema(4, "t", Schema("s", b'"int" ', 2)))
        newer = await wire.expect(GetOrCreateSchemaResponse)
        assert newer.version == (1).to_bytes(8)
        wire.send(Cmd.GET_OR_CREATE_SCHEMA, GetOrCreateSchema(5, "t", Schema("s", b"", 9)))
        assert (await wire.expect(GetOrCreateSchemaResponse)).error == 18
    async with bench(tmp_path) as b, await b.wire() as wire:
        wire.send(Cmd.GET_SCHEMA, GetSchema(1, "t"))
        assert (await wire.expect(GetSchemaResponse)).version == (1).to_bytes(8)


async def test_nothing_counts_after_the_connection_is_condemned(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, await b.wire() as wire:
        await wire.produce()
        unknown = frame(Cmd.SEND, Send(9, 1).encode(), blob(1))
        good = frame(Cmd.SEND, Send(1, 1).encode(), blob(1))
        wire.writer.write(good + unknown + good.replace(b"hello", b"never"))
        await wire.expect(SendReceipt)
        assert await wire.closed()
        assert b.core.topics["persistent://public/default/t"].log.entries == 1


@pytest.mark.parametrize("send", [Send(1, 1, 0), Send(1, 1, -5), Send(1, 2**64 - 1)])
async def test_impossible_numbers(tmp_path: Path, send: Send) -> None:
    async with bench(tmp_path) as b, await b.wire() as wire:
        await wire.produce()
        wire.send(Cmd.SEND, send, blob(1))
        assert await wire.closed()


async def test_names_are_bounded(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, await b.wire() as wire:
        for answer in (
            await wire.produce(name="n" * 1025),
            await wire.subscribe(subscription="s" * 1025),
        ):
            assert isinstance(answer, Error)
            assert answer.error == 22
