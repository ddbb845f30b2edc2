"""Cases in which a message that was acknowledged could be missing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pulsar
import pytest

from tests.broker_protocol.running import broker, client
from tests.broker_protocol.wire import bench, blob
from wtp.broker.embedded import memory as memory_module
from wtp.broker.embedded.answers import ProducerSuccess, SendError, SendReceipt, Success
from wtp.broker.embedded.commands import CloseProducer, Send
from wtp.broker.embedded.numbers import Cmd
from wtp.broker.embedded.values import FsyncPolicy, Position
from wtp.errors import StorageError


async def test_nothing_is_stored_behind_a_message_that_was_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the refused one, sent again, would be taken for a duplicate and acknowledged."""
    async with bench(tmp_path) as b:
        async with await b.wire() as wire:
            await wire.produce(name="mine")
            await wire.published(1)
            log = b.core.topics["persistent://public/default/t"].log
            append = log.append
            full = True

            def disk(blob: bytes, publish_ms: int, messages: int) -> Position:
                nonlocal full
                if full:
                    full = False
                    raise StorageError("The disk is full.")
                return append(blob, publish_ms, messages)

            monkeypatch.setattr(log, "append", disk)
            wire.publish(2)
            wire.publish(3)
            refused = await wire.expect(SendError)
            assert refused.sequence_id == 2
            assert await wire.closed()
        async with await b.wire() as wire:
            made = await wire.produce(name="mine")
            assert isinstance(made, ProducerSuccess)
            assert made.last_sequence_id == 1
            for sequence in (2, 3):
                wire.publish(sequence)
                receipt = await wire.expect(SendReceipt)
                assert receipt.message_id is not None
                assert receipt.message_id.entry == sequence - 1


def test_a_full_disk_delays_and_loses_nothing(tmp_path: Path) -> None:
    """With the unmodified client: what was refused comes again, in order, by itself."""
    with broker(tmp_path) as running, client(running.url) as pulsar_client:
        producer = pulsar_client.create_producer(
            "t", producer_name="mine", send_timeout_millis=0, batching_enabled=False
        )
        producer.send(b"0")
        core = running.server.core
        log = core.topics["persistent://public/default/t"].log
        append = log.append
        refused: list[int] = []

        def disk(blob: bytes, publish_ms: int, messages: int) -> Position:
            if len(refused) < 2 and len(blob) > 1000:
                refused.append(len(blob))
                raise StorageError("The disk is full.")
            return append(blob, publish_ms, messages)

        log.append = disk  # type: ignore[method-assign]
        for number in range(1, 21):
            producer.send_async(b"%d" % number + bytes(2000 * (number % 2)), lambda *_: None)
        producer.flush()
        assert len(refused) == 2
        reader = pulsar_client.create_reader("t", pulsar.MessageId.earliest)
        found = [int(reader.read_next(5000).data().rstrip(b"\0")) for _ in range(21)]
        assert found == list(range(21))
        assert not reader.has_message_available()


async def test_the_longest_silent_producer_is_forgotten_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_module, "MAX_PRODUCERS", 2)
    async with bench(tmp_path) as b, await b.wire() as wire:
        await wire.produce(name="old", producer_id=1)
        await wire.published(7)
        for number, name in enumerate(("a", "b"), 2):
            await wire.produce(name=name, producer_id=number)
            wire.send(Cmd.SEND, Send(number, 1), blob(1))
            await wire.expect(SendReceipt)
            wire.send(Cmd.CLOSE_PRODUCER, CloseProducer(number, number))
            await wire.expect(Success)
        await wire.published(8)
        wire.send(Cmd.CLOSE_PRODUCER, CloseProducer(1, 9))
        await wire.expect(Success)
        again = await wire.produce(name="old", producer_id=5)
        assert isinstance(again, ProducerSuccess)
        assert again.last_sequence_id == 8


async def test_a_producer_is_told_only_what_the_disk_has(tmp_path: Path) -> None:
    """Its last sequence id is a receipt: under fsync `always` it waits for the disk like one."""
    async with bench(tmp_path) as b:
        b.core.store.fsync = FsyncPolicy.ALWAYS
        async with await b.wire() as wire:
            await wire.produce(name="mine")
            topic = b.core.topics["persistent://public/default/t"]
            safe = asyncio.Event()

            async def durable(position: Position) -> None:
                await safe.wait()

            topic.log.durable = durable  # type: ignore[method-assign]
            wire.publish(1)
            await wire.quiet()
        async with await b.wire() as wire:
            opening = asyncio.create_task(wire.produce(name="mine"))
            await asyncio.sleep(0.1)
            assert not opening.done()
            safe.set()
            made = await opening
            assert isinstance(made, ProducerSuccess)
            assert made.last_sequence_id == 1
