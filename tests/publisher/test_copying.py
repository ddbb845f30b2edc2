"""Encoded units go to the track as they are; nothing is lost without being counted."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.stage import stage_in
from tests.media.footage import clip
from tests.rtsp import write_clip
from wtp.clock import Clock
from wtp.errors import MediaError
from wtp.media.copy import CopySource, open_copies
from wtp.media.demux import Demuxer
from wtp.media.testsrc import read_code
from wtp.media.video import Encoded, VideoDecoder
from wtp.model import Kind
from wtp.publisher.copying import HANDOVER, CopyFeed
from wtp.publisher.outgoing import Line

from .fakes import FakeStreams


class Source:
    """Units on command."""

    name, type, content_type, about, skipped = "fake", "video", "video/h264", "16x16", 0

    def __init__(self, count: int, fail: Exception | None = None) -> None:
        self.count = count
        self.fail = fail
        self.made = threading.Event()
        self.go = threading.Event()
        self.closed = threading.Event()

    def units(self) -> Iterator[Encoded]:
        for number in range(self.count):
            yield Encoded(b"%d" % number, number % 100 == 0, number, 1000 + number, None, 40_000)
        self.made.set()
        while not self.go.is_set() and not self.closed.wait(0.01):
            pass
        if self.fail is not None:
            raise self.fail

    def close(self) -> None:
        self.closed.set()


def feed_of(source: Source | CopySource, count: int = 0) -> tuple[CopyFeed, FakeStreams]:
    feed = CopyFeed(source, 1, "video", Kind.VIDEO, Clock(), count)  # type: ignore[arg-type]
    streams = FakeStreams()
    feed.track.attach(Line(streams, Clock(), 0), 0)
    return feed, streams


async def test_units_of_a_real_film_arrive_whole_and_in_order() -> None:
    demuxer = Demuxer(clip("bikes"), now_us=Clock().now_us, pace=False)
    (source,) = open_copies(demuxer)
    feed, streams = feed_of(source)
    await feed.run()
    objects = streams.objects()
    assert [obj.seq for obj in objects] == list(range(1, 251))
    keys = [at for at, obj in enumerate(objects) if obj.key]
    assert keys[0] == 0
    assert len(keys) > 3
    assert feed.track.ledger.offered == 250
    assert feed.figures() == {
        "source": clip("bikes"), "size": "640x272", "copied": True, "skipped": 0,
        "key_requests": 0,
    }  # fmt: skip


async def test_it_ends_after_a_count_and_closes_the_source() -> None:
    source = Source(50)
    feed, streams = feed_of(source, count=7)
    await feed.run()
    assert len(streams.objects()) == 7
    assert source.closed.is_set()


async def test_stop_ends_it() -> None:
    source = Source(3)
    feed, streams = feed_of(source)
    running = asyncio.create_task(feed.run())
    await asyncio.to_thread(source.made.wait, 10)
    feed.stop()
    await asyncio.wait_for(running, 60)
    assert len(streams.objects()) == 3


async def test_a_failure_is_raised_after_what_came_before() -> None:
    source = Source(3, MediaError("It is gone."))
    source.go.set()
    feed, streams = feed_of(source)
    with pytest.raises(MediaError, match="gone"):
        await feed.run()
    assert len(streams.objects()) == 3
    strange = Source(0, RuntimeError("odd"))
    strange.go.set()
    with pytest.raises(MediaError, match="fake failed: odd"):
        await feed_of(strange)[0].run()


async def test_a_loop_that_is_too_slow_drops_up_to_the_next_key_and_counts() -> None:
    source = Source(HANDOVER + 150)
    feed, streams = feed_of(source)
    running = asyncio.create_task(feed.run())
    await asyncio.sleep(0)
    source.made.wait(60)  # holds the loop up on purpose
    source.go.set()
    await running
    objects = streams.objects()
    assert objects[0].key
    assert objects[0].payload == b"300"
    assert len(objects) == 106
    assert feed.track.ledger.offered == HANDOVER + 150
    assert feed.track.ledger.dropped["queue"] == HANDOVER
    assert sum(feed.track.ledger.dropped.values()) == HANDOVER + 44


async def test_a_request_for_a_key_is_counted_since_nothing_can_be_forced() -> None:
    feed, _ = feed_of(Source(0))
    feed.track.ask_key()
    assert feed.figures()["key_requests"] == 1


def test_a_path_that_is_not_there() -> None:
    with pytest.raises(MediaError, match="No such file"):
        Demuxer(str(Path("/no/such.mp4")), now_us=Clock().now_us)


@pytest.mark.e2e
def test_copied_and_drawn_sources_of_one_command_reach_the_room(tmp_path: Path) -> None:
    film = write_clip(tmp_path / "film.mp4", 2, bframes=2)
    with stage_in(tmp_path) as stage:
        stage.broker()
        stage.router()
        published = stage.child(
            "publish", "--room", "r", "--name", "p", "--copy", "--source", str(film),
            "--source", "testsrc", "--size", "320x240", "--fps", "15", "-n", "30",
        ).ended()  # fmt: skip
        assert published["tracks"]["audio"]["content_type"] == "audio/aac;rate=48000;channels=2"
        assert published["tracks"]["video"]["copied"]
        assert "copied" not in published["tracks"]["video-2"]
        messages = [one for one in stage.read("video", "r") if one.key == "r/p/video"]
    decoder = VideoDecoder("video/h264")
    shown = [
        picture
        for one in messages
        for picture in decoder.decode(one.payload, capture_us=one.capture_us)
    ]
    codes = [read_code(picture.planes) or 0 for picture in shown]
    assert len(messages) == 30
    assert len(shown) >= 27
    assert codes == sorted(codes)
    starts = {(picture.capture_us or 0) - code for picture, code in zip(shown, codes, strict=True)}
    assert max(starts) - min(starts) <= 2, "a stamp is not that of its picture"
