"""Capture: a thread that never blocks the loop, a bounded hand-over, every unit counted."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from wtp.errors import MediaError
from wtp.media.picture import Picture
from wtp.media.video import Encoded
from wtp.publisher.capture import HANDOVER, Capture
from wtp.publisher.live import Unit


class Source:
    """Pictures on command."""

    name, width, height, fps = "fake", 16, 16, 30.0

    def __init__(self, count: int, *, fail: Exception | None = None, hold: bool = False) -> None:
        self.count = count
        self.fail = fail
        self.go = threading.Event()
        self.closed = threading.Event()
        if not hold:
            self.go.set()

    def pictures(self) -> Iterator[Picture]:
        planes = np.zeros((24, 16), np.uint8)
        for number in range(self.count):
            while not self.go.wait(0.01):
                if self.closed.is_set():
                    return
            yield Picture(planes, 16, 16, 1000 + number if number else None, number)
        if self.fail is not None:
            raise self.fail

    def close(self) -> None:
        self.closed.set()


class Encoder:
    """One unit per picture; remembers when a key was forced."""

    content_type = "video/h264"

    def __init__(self) -> None:
        self.forced: list[int] = []
        self.count = 0
        self.rates: list[tuple[int, int]] = []

    def rebitrate(self, bitrate_bps: int) -> None:
        self.rates.append((self.count, bitrate_bps))

    def encode(self, picture: Picture, *, force_key: bool = False) -> list[Encoded]:
        if force_key:
            self.forced.append(self.count)
        self.count += 1
        return [Encoded(b"x", force_key, picture.pts_us, picture.capture_us, 2000, 33_000)]

    def flush(self) -> list[Encoded]:
        return [Encoded(b"last", False, 0, 1, 2, 3)]


class Sink:
    """Takes what is handed over on the loop."""

    def __init__(self) -> None:
        self.units: list[Unit] = []
        self.lost = 0
        self.thread = threading.get_ident()

    def __call__(self, units: Sequence[Unit], lost: int) -> None:
        assert threading.get_ident() == self.thread
        self.units += units
        self.lost += lost


def capture(source: Source, sink: Sink, encoder: Encoder | None = None, count: int = 0) -> Capture:
    made: Any = encoder or Encoder()
    return Capture(source, made, lambda: 5000, sink, count=count)


async def test_every_picture_and_the_flush_are_handed_over_on_the_loop() -> None:
    source, sink = Source(10), Sink()
    await capture(source, sink).run()
    assert len(sink.units) == 11
    assert sink.units[-1].payload == b"last"
    assert sink.units[0].capture_us == 5000, "a picture without a stamp gets one"
    assert sink.units[1].capture_us == 1001
    assert sink.units[0].encode_us == 2000
    assert source.closed.is_set()


async def test_count_ends_it() -> None:
    sink = Sink()
    await capture(Source(1000), sink, count=3).run()
    assert len(sink.units) == 4


async def test_a_failing_source_is_told_after_what_it_gave() -> None:
    sink = Sink()
    with pytest.raises(MediaError, match="gone"):
        await capture(Source(2, fail=MediaError("gone")), sink).run()
    assert len(sink.units) == 2


async def test_a_foreign_fault_becomes_ours() -> None:
    with pytest.raises(MediaError, match="fake failed: oops"):
        await capture(Source(0, fail=ValueError("oops")), Sink()).run()


async def test_stop_ends_a_waiting_source() -> None:
    source = Source(5, hold=True)
    running = capture(source, Sink())
    task = asyncio.create_task(running.run())
    await asyncio.sleep(0)
    running.stop()
    await asyncio.wait_for(task, 60)


async def test_a_forced_key_is_used_once() -> None:
    encoder = Encoder()
    running = capture(Source(5), Sink(), encoder)
    running.force_key()
    await running.run()
    assert encoder.forced == [0]


async def test_a_slow_loop_loses_the_oldest_and_asks_for_a_key() -> None:
    """The loop is blocked on purpose while the thread encodes."""
    encoder, sink = Encoder(), Sink()
    total = 3 * HANDOVER
    running = capture(Source(total), sink, encoder)
    done = threading.Event()
    flush = encoder.flush

    def flushed() -> list[Encoded]:
        done.set()
        return flush()

    encoder.flush = flushed  # type: ignore[method-assign]
    task = asyncio.create_task(running.run())
    await asyncio.sleep(0)
    assert done.wait(60)
    await task
    assert sink.lost > 0
    assert sink.lost + len(sink.units) == total + 1
    assert len(sink.units) <= HANDOVER + 1
    assert encoder.forced


async def test_the_rate_is_told_before_a_picture_and_pictures_are_left_out() -> None:
    encoder, sink = Encoder(), Sink()
    running = capture(Source(12), sink, encoder)
    running.follow(300_000, 3)
    await running.run()
    assert encoder.rates == [(0, 300_000)], "once, however many pictures follow"
    assert encoder.count == 4
    assert [unit.capture_us for unit in sink.units[:4]] == [1002, 1005, 1008, 1011]


async def test_a_key_that_is_wanted_is_not_left_out() -> None:
    encoder = Encoder()
    running = capture(Source(4), Sink(), encoder)
    running.follow(300_000, 15)
    running.force_key()
    await running.run()
    assert encoder.forced == [0]
