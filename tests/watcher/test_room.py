from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.consumer.fakes import FakeBroker, FakeMessage
from tests.watcher.fakes import FakeSpeaker, FakeWindow, pictures, sounds
from wtp.clock import monotonic_us
from wtp.config.schema import Settings
from wtp.consumer.item import Item
from wtp.consumer.request import Request
from wtp.errors import MediaError, NotFound
from wtp.watcher import reading
from wtp.watcher.reading import Said
from wtp.watcher.room import Watch, Watcher

pytestmark = pytest.mark.device("opencv")

TOPICS = "persistent://public/default/"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No real broker is asked for, and topics are looked for often."""

    async def there(*_: Any, **__: Any) -> None:
        return None

    monkeypatch.setattr("wtp.watcher.room.reach", there)
    monkeypatch.setattr("wtp.consumer.run.reach", there)
    monkeypatch.setattr(reading, "POLL_S", 0.02)


class House:
    """A watcher with a broker, a window and a speaker in memory."""

    def __init__(self, *, sound_problem: MediaError | None = None, **watch: Any) -> None:
        self.broker = FakeBroker()
        self.window = FakeWindow()
        self.speakers: list[FakeSpeaker] = []
        self.ready: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

        def speaker(pull: Callable[[int, int], Any], device: str) -> FakeSpeaker:
            self.speakers.append(FakeSpeaker(pull, device, problem=sound_problem))
            return self.speakers[-1]

        settings = Settings.model_validate({"watch": {"delay": 100}})
        self.watcher = Watcher(
            settings,
            Watch(**watch),
            broker=lambda: self.broker,
            administer=lambda: contextlib.nullcontext(self.broker),
            window=lambda _: self.window,
            speaker=speaker,
        )

    def reads(self, count: int) -> bool:
        """Whether so many topics are read."""
        there = self.watcher.reading.consumers.values() if self.watcher.reading else []
        return len(there) == count and all(one.state == "reading" for one in there)

    def publish(self, items: list[Item]) -> None:
        for item in items:
            kind = "audio" if item.content_type.startswith("audio/") else "video"
            assert isinstance(item.message, FakeMessage)
            self.broker.publish(replace(item.message, topic=TOPICS + kind))


@contextlib.asynccontextmanager
async def watching(house: House) -> AsyncIterator[dict[str, Any]]:
    task = asyncio.create_task(house.watcher.run(house.ready.put_nowait))
    getting = asyncio.create_task(house.ready.get())
    await asyncio.wait({task, getting}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        getting.cancel()
        task.result()
    yield getting.result()
    house.watcher.stop()
    await asyncio.wait_for(task, 60)
    assert house.window.closed or not house.watcher.watch.window
    assert house.broker.closed


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.01)


async def test_a_room_is_seen_and_heard_and_topics_that_come_later_are_taken_up() -> None:
    house = House()
    now_us = monotonic_us() - 2_000_000
    house.publish(pictures(3, first_us=now_us))
    async with watching(house) as info:
        assert (info["kinds"], info["window"], info["sound"]) == (["video"], True, True)
        await until(lambda: house.watcher.snapshot()["shown"])
        house.publish(sounds(1))
        await until(lambda: house.reads(2))
        first_us = monotonic_us()
        house.publish(sounds(20, first_us=first_us)[1:])
        await until(lambda: house.watcher.roster.publishers["cam"].tracks.get("default/cam/audio"))
        voice = house.watcher.roster.publishers["cam"].tracks["default/cam/audio"].voice
        assert voice is not None
        await until(lambda: voice.ledger.offered >= 19)
        heard = house.speakers[0].pull(480, first_us + 110_000)
        assert heard is not None
        assert heard.shape == (480, 2)
        figures = house.watcher.snapshot()
        assert figures["state"] == "watching"
        assert figures["speaker"]["latency_ms"] == 20.0
    figures = house.watcher.snapshot()
    assert figures["state"] == "stopped"
    ledger = figures["ledger"]
    assert ledger["in_flight"] == 0
    assert ledger["offered"] == ledger["delivered"] + sum(ledger["dropped"].values())
    assert figures["publishers"][0]["name"] == "cam"


async def test_closing_the_window_ends_it() -> None:
    house = House()
    async with watching(house):
        house.window.going = False
        await until(lambda: house.watcher.state == "stopped")


async def test_without_a_speaker_pictures_go_on_with_one_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    house = House(sound_problem=MediaError("No PortAudio.", hint="Install it."))
    house.publish(pictures(1))
    async with watching(house) as info:
        assert not info["sound"]
        await until(lambda: house.watcher.snapshot()["shown"])
        assert house.watcher.snapshot()["speaker"] is None
    warnings = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert warnings == ["No sound, pictures go on: No PortAudio. Install it."]


async def test_without_a_window_the_sound_plays_alone_and_a_missing_speaker_is_the_end() -> None:
    house = House(window=False)
    house.publish([*pictures(1), *sounds(1)])
    async with watching(house) as info:
        assert info["kinds"] == ["audio"]
    silent = House(window=False, sound_problem=MediaError("No PortAudio."))
    with pytest.raises(MediaError, match="PortAudio"):
        await silent.watcher.run(lambda _: None)


async def test_a_missing_room_is_named_with_those_there_are_unless_it_is_waited_for() -> None:
    class Elsewhere(FakeBroker):
        async def list_topics(self, namespace: str, *, each_partition: bool = False) -> list[str]:
            raise NotFound("No namespace.")

    house = House(sound=False)
    house.broker = Elsewhere()
    with pytest.raises(NotFound, match="no room 'default'") as caught:
        await house.watcher.run(lambda _: None)
    assert "default, lab" in caught.value.hint
    assert house.window.closed
    patient = House(sound=False, request=Request(wait=True))
    patient.broker = Elsewhere()
    async with watching(patient) as info:
        assert info["kinds"] == []


async def test_the_time_can_be_limited() -> None:
    house = House(duration_s=0.05)
    await asyncio.wait_for(house.watcher.run(lambda _: None), 60)
    assert house.watcher.state == "stopped"


def test_what_three_consumers_say_at_once_is_said_once() -> None:
    said = Said()
    record = logging.LogRecord("wtp.consumer", logging.WARNING, "", 0, "Lost.", None, None)
    other = logging.LogRecord("wtp.consumer", logging.WARNING, "", 0, "Back.", None, None)
    assert [said.filter(one) for one in (record, record, other, record)] == [
        True,
        False,
        True,
        False,
    ]
