"""Streams whose objects come in another order than their pictures are shown."""

from __future__ import annotations

import pytest

from tests.consumer.fakes import item, message
from wtp.clock import monotonic_us
from wtp.consumer.item import Item
from wtp.consumer.pictures import Decoded
from wtp.media.copy import open_copies
from wtp.media.demux import Demuxer
from wtp.media.picture import Picture
from wtp.media.video import Encoded, VideoDecoder, VideoEncoder

from .footage import BASE_US, clip, drawn, frozen_clock

STEP_US = 40_000
"""From picture to picture of `bikes.mp4`, a clip with up to two B-frames in a row."""


@pytest.fixture(scope="module")
def bikes() -> list[Encoded]:
    (source,) = open_copies(
        Demuxer(clip("bikes"), now_us=frozen_clock, pace=False, wanted=("video",))
    )
    return list(source.units())[:60]


def test_every_picture_has_its_own_stamps_and_its_turn(bikes: list[Encoded]) -> None:
    decoder = VideoDecoder("video/h264")
    sent = [unit.pts_us for unit in bikes]
    assert sent != sorted(sent)
    shown: list[Picture] = []
    for number, unit in enumerate(bikes):
        ready = decoder.decode(unit.payload, capture_us=BASE_US + unit.pts_us, pts_us=unit.pts_us)
        assert len(ready) == 1 or number < 2, "no more delay than the order needs"
        shown += ready
    assert [picture.pts_us for picture in shown] == [STEP_US * i for i in range(58)]
    assert all(picture.capture_us == BASE_US + picture.pts_us for picture in shown)


def test_nothing_of_before_a_reset_comes_after_it(bikes: list[Encoded]) -> None:
    decoder = VideoDecoder("video/h264")
    key = next(n for n, unit in enumerate(bikes) if n and unit.key)
    for unit in bikes[: key - 1]:
        decoder.decode(unit.payload, capture_us=unit.pts_us)
    decoder.reset()
    assert decoder.decode(bikes[key - 1].payload) == []
    after = [p for u in bikes[key:] for p in decoder.decode(u.payload, capture_us=u.pts_us)]
    times = [picture.capture_us for picture in after]
    assert times == sorted(unit.pts_us for unit in bikes[key:])[: len(times)]


def test_a_stream_without_b_frames_is_not_delayed() -> None:
    encoder = VideoEncoder("h264", 320, 240, 30, gop=4)
    decoder = VideoDecoder("video/h264")
    for picture in drawn(320, 240, 9):
        (unit,) = encoder.encode(picture)
        (shown,) = decoder.decode(unit.payload, capture_us=unit.capture_us, pts_us=unit.pts_us)
        assert (shown.capture_us, shown.pts_us) == (picture.capture_us, picture.pts_us)


class Times:
    """A screen that remembers when what it shows was captured."""

    def __init__(self) -> None:
        self.shown: list[int | None] = []

    def open(self) -> None:
        pass

    def show(self, picture: Picture, item: Item) -> bool:
        self.shown.append(picture.capture_us)
        return True

    def say(self, sentence: str) -> None:
        pytest.fail(sentence)

    def idle(self) -> None:
        pass

    def close(self) -> None:
        pass


def test_the_outputs_that_show_pictures_have_them_in_order(bikes: list[Encoded]) -> None:
    screen, start_us = Times(), monotonic_us()
    decoded = Decoded(screen)
    items = [
        item(message(n, payload=unit.payload, key=unit.key,
                     stamps={"capture_us": start_us + unit.pts_us}))
        for n, unit in enumerate(bikes, 1)
    ]  # fmt: skip
    for one in items:
        assert decoded.take([one]) == [""]
    captured = sorted(one.stamp("capture_us") or 0 for one in items)
    assert screen.shown == captured[:58]
