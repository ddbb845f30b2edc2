"""Cases in which a message that was acknowledged could be missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.broker_protocol.wire import bench
from wtp.broker.embedded.answers import ProducerSuccess, SendError, SendReceipt
from wtp.broker.embedded.values import Position
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
