"""Sound of a source to a live track: off the loop, bounded, counted, and shown."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from wtp.clock import Clock
from wtp.config.schema import PublishSettings
from wtp.errors import MediaError, UsageError
from wtp.media.audio import AudioDecoder
from wtp.media.level import SILENCE_DB, Level
from wtp.media.sound import Block
from wtp.model import Kind
from wtp.publisher.live import Unit
from wtp.publisher.sound import HANDOVER, SoundFeed

START_US = 1_700_000_000_000_000


class Source:
    """Sound on command."""

    name = "fake"

    def __init__(
        self,
        count: int,
        *,
        rate_hz: int = 48_000,
        channels: int = 1,
        fail: BaseException | None = None,
    ) -> None:
        self.rate_hz, self.channels = rate_hz, channels
        self.count = count
        self.fail = fail
        self.closed = threading.Event()
        self.done = threading.Event()
        self.stay = False

    def blocks(self) -> Iterator[Block]:
        size = self.rate_hz // 100
        samples = np.full((size, self.channels), 16_384, np.int16)
        for number in range(self.count):
            pts_us = number * 10_000
            yield Block(samples, self.rate_hz, START_US + pts_us, pts_us)
        self.done.set()
        if self.fail is not None:
            raise self.fail
        if self.stay:
            self.closed.wait(60)

    def close(self) -> None:
        self.closed.set()


class Panic(BaseException):
    """What Rust throws through Python."""


class Microphone(Source):
    """Says of itself what a microphone says."""

    denoise, denoise_ms, delay_us = "webrtc", 7.0, 6979
    state, overruns, overflows, losses = "live", 3, 1, 0


def feed_of(
    source: Source, settings: PublishSettings | None = None, count: int = 0
) -> tuple[SoundFeed, list[Unit], list[int]]:
    """A feed, what it offers to its track, and what it says was lost before."""
    feed = SoundFeed(source, 1, "audio", settings or PublishSettings(), Clock(), count)
    units: list[Unit] = []
    lost: list[int] = []
    loop_thread = threading.get_ident()

    def offer(unit: Unit) -> None:
        assert threading.get_ident() == loop_thread
        units.append(unit)

    feed.track.offer = offer  # type: ignore[method-assign]

    def lose(count: int) -> None:
        lost.append(count)

    feed.track.lose = lose  # type: ignore[method-assign]
    return feed, units, lost


async def test_blocks_become_objects_that_stand_alone() -> None:
    source = Source(20)
    feed, units, lost = feed_of(source)
    assert feed.track.spec.kind is Kind.AUDIO
    assert feed.track.spec.content_type == "audio/opus;rate=48000;channels=1"
    await feed.run()
    assert source.closed.is_set()
    assert len(units) == 20
    assert all(unit.key and unit.duration_us == 10_000 for unit in units)
    captured = [unit.capture_us for unit in units]
    assert captured == [START_US + 10_000 * number - 2500 for number in range(20)]
    assert all(unit.encode_us for unit in units)
    assert sum(lost) == 0
    decoder = AudioDecoder(feed.track.spec.content_type)
    assert [len(decoder.decode(unit.payload)) for unit in units] == [480] * 20


async def test_pcm_at_44100_stays_44100() -> None:
    settings = PublishSettings(audio_codec="pcm", rate=44_100, channels=2)
    feed, units, _ = feed_of(Source(5, rate_hz=44_100, channels=2), settings)
    assert feed.track.spec.content_type == "audio/pcm;format=s16le;rate=44100;channels=2"
    await feed.run()
    assert [len(unit.payload) for unit in units] == [441 * 4] * 5
    assert feed.figures()["delay_ms"] == 0


@pytest.mark.parametrize("count", [1, 7])
async def test_it_ends_after_as_many_objects_as_asked(count: int) -> None:
    source = Source(50)
    feed, units, _ = feed_of(source, count=count)
    await feed.run()
    assert len(units) == count
    assert source.closed.is_set()


async def test_a_loop_that_hangs_loses_the_oldest_objects_and_counts_them() -> None:
    source = Source(HANDOVER + 30)
    feed, units, lost = feed_of(source)
    running = asyncio.create_task(feed.run())
    await asyncio.sleep(0)
    # The loop is away here while the thread works on.
    assert source.done.wait(60)
    await running
    assert sum(lost) + len(units) == HANDOVER + 30
    assert sum(lost) == 30
    assert units[-1].capture_us == START_US + (HANDOVER + 29) * 10_000 - 2500


async def test_figures_show_form_level_and_the_microphone() -> None:
    feed, _, _ = feed_of(Microphone(30, rate_hz=44_100))
    before = feed.figures()
    assert before["level_db"] == SILENCE_DB
    await feed.run()
    figures = feed.figures()
    assert figures == {
        "source": "fake",
        "codec": "opus",
        "rate": 48_000,
        "channels": 1,
        "level_db": -6.0,
        "clipped": 0,
        "delay_ms": 19.5,
        "state": "live",
        "denoise": "webrtc",
        "denoise_ms": 7.0,
        "overruns": 3,
        "overflows": 1,
        "losses": 0,
    }


async def test_a_source_that_fails_ends_the_feed_with_its_error() -> None:
    lost = MediaError("gone", hint="look")
    feed, units, _ = feed_of(Source(3, fail=lost))
    with pytest.raises(MediaError, match="gone"):
        await feed.run()
    assert len(units) == 3
    for foreign in (ZeroDivisionError("oops"), Panic("oops")):
        feed, _, _ = feed_of(Source(0, fail=foreign))
        with pytest.raises(MediaError, match="fake failed: oops"):
            await asyncio.wait_for(feed.run(), 60)


async def test_stopping_ends_a_source_that_waits() -> None:
    source = Source(2)
    source.stay = True
    feed, units, _ = feed_of(source)
    running = asyncio.create_task(feed.run())
    await asyncio.to_thread(source.done.wait, 10)
    feed.stop()
    await asyncio.wait_for(running, 60)
    assert source.closed.is_set()
    assert len(units) == 2


def test_a_form_that_cannot_be_encoded_closes_the_source() -> None:
    source = Source(1, channels=6)
    with pytest.raises(UsageError, match="6 channels of opus"):
        feed_of(source)
    assert source.closed.is_set()
    source = Source(1)
    with pytest.raises(UsageError, match="with Opus"):
        feed_of(source, PublishSettings(audio_bitrate="1M"))
    assert source.closed.is_set()


def test_the_level_rises_at_once_and_falls_slowly() -> None:
    level = Level()
    loud = np.full((480, 1), -32_768, np.int16)
    level.add(loud, 10_000)
    assert level.db == 0
    assert level.clipped == 480
    for _ in range(170):
        level.add(np.zeros((480, 1), np.int16), 10_000)
    assert level.db == -20.1
    level.add(np.zeros((0, 1), np.int16), 10_000_000)
    assert level.db == -20.1
    level.add(np.zeros((1, 1), np.int16), 60_000_000)
    assert level.db == SILENCE_DB
    level.add(np.full((10, 1), 16_384, np.int16), 200)
    assert level.db == -6.0
