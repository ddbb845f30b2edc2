"""Producers that are gone for long are forgotten; those that are here never."""

from __future__ import annotations

from pathlib import Path

from tests.broker_protocol.wire import Wire, bench
from wtp.broker.embedded.answers import ProducerSuccess, Success
from wtp.broker.embedded.commands import CloseProducer
from wtp.broker.embedded.memory import INACTIVE_S, ProducerMemory
from wtp.broker.embedded.numbers import Cmd
from wtp.broker.embedded.sequences import MAX_PRODUCERS


def test_a_name_is_forgotten_after_six_hours() -> None:
    memory = ProducerMemory({"stored": 4}, 0.0)
    memory.came("here")
    memory.last["here"] = 7
    memory.came("left")
    memory.last["left"] = 9
    memory.left("left", 100.0)
    assert memory.forget(INACTIVE_S - 1) == 0
    assert memory.forget(INACTIVE_S + 99) == 1
    assert memory.last == {"here": 7, "left": 9}
    assert memory.forget(INACTIVE_S + 100) == 1
    assert memory.forget(10 * INACTIVE_S) == 0
    assert memory.last == {"here": 7}


def test_one_that_comes_back_starts_anew() -> None:
    memory = ProducerMemory({"a": 1}, 0.0)
    memory.came("a")
    assert memory.forget(2 * INACTIVE_S) == 0
    memory.left("a", 2 * INACTIVE_S)
    assert memory.forget(2 * INACTIVE_S + 1) == 0
    assert memory.last == {"a": 1}


def test_ten_thousand_at_most() -> None:
    memory = ProducerMemory({f"old-{n}": n for n in range(MAX_PRODUCERS + 5)}, 0.0)
    assert len(memory.last) == MAX_PRODUCERS
    assert "old-4" not in memory.last
    memory.came("new")
    memory.last["new"] = 1
    memory.left("new", 1.0)
    assert len(memory.last) == MAX_PRODUCERS
    assert "old-5" not in memory.last
    assert "new" in memory.last


def test_those_that_never_sent_leave_nothing() -> None:
    memory = ProducerMemory({}, 0.0)
    memory.came("silent")
    memory.left("silent", 1.0)
    assert memory.last == {}
    assert memory.forget(INACTIVE_S * 2) == 0


async def last_sequence(wire: Wire) -> int | None:
    made = await wire.produce(name="mine")
    assert isinstance(made, ProducerSuccess)
    return made.last_sequence_id


async def close(wire: Wire) -> None:
    wire.send(Cmd.CLOSE_PRODUCER, CloseProducer(1, 9))
    await wire.expect(Success)


async def test_on_a_topic(tmp_path: Path) -> None:
    now = 1000.0
    async with bench(tmp_path, clock=lambda: now) as b, await b.wire() as wire:
        assert await last_sequence(wire) == -1
        await wire.published(5)
        now += 2 * INACTIVE_S
        b.core.tick(1.0)
        await close(wire)
        now += INACTIVE_S - 1
        b.core.tick(1.0)
        assert await last_sequence(wire) == 5
        await close(wire)
        now += INACTIVE_S
        b.core.tick(1.0)
        assert await last_sequence(wire) == -1
