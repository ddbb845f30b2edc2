"""What comes out of the encoders in bits, when the rate or the time between pictures changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

import numpy as np
import pytest

from wtp.errors import UsageError
from wtp.media.jpeg import WORST_QUALITY, JpegRate, factor_of, quality_of
from wtp.media.picture import Picture
from wtp.media.times import MAX_GAP_US, MAX_INSIDE, Inside, PictureTimes
from wtp.media.video import VideoEncoder

from .footage import drawn

SIZE = (320, 240)
INTER = ("h264", "vp8", "vp9", "av1")
FRAME_US = 33_333


@cache
def noisy() -> list[Picture]:
    """A second of moving pictures with the noise of a sensor, which needs bits."""
    rng = np.random.default_rng(5)
    pictures = []
    for picture in drawn(*SIZE, 30):
        noise = rng.integers(-12, 13, picture.planes.shape)
        pictures.append(Picture(np.clip(picture.planes + noise, 16, 235).astype(np.uint8), *SIZE))
    return pictures


def bits(
    encoder: VideoEncoder,
    count: int,
    *,
    rates: Mapping[int, int] | None = None,
    gap_us: Callable[[int], int] = lambda number: FRAME_US,
) -> tuple[list[int], list[int]]:
    """Bits of each picture, and the numbers of the key pictures.

    Args:
        encoder: To use.
        count: Of pictures.
        rates: Bit rates to set before the pictures of these numbers.
        gap_us: Time after a picture.
    """
    sizes, keys, at_us = [], [], 0
    for number in range(count):
        if rates and number in rates:
            encoder.rebitrate(rates[number])
        source = noisy()[number % 30]
        (one,) = encoder.encode(Picture(source.planes, *SIZE, None, at_us))
        sizes.append(len(one.payload) * 8)
        if one.key:
            keys.append(number)
        at_us += gap_us(number)
    return sizes, keys


@pytest.mark.parametrize("codec", INTER)
def test_a_lower_rate_holds_at_once_and_a_higher_one_after_a_second(codec: str) -> None:
    encoder = VideoEncoder(codec, *SIZE, 30, bitrate_bps=1_200_000, gop=30)
    sizes, keys = bits(encoder, 180, rates={65: 400_000, 120: 1_000_000})
    before, low, high = (sum(sizes[a : a + 30]) for a in (30, 80, 150))
    assert 900_000 < before < 1_600_000
    assert 250_000 < low < 540_000
    assert 700_000 < high < 1_400_000
    # SVT-AV1 takes half a second of the rate for the two pictures after a new start.
    assert sum(sizes[66:96]) < (900_000 if codec == "av1" else 500_000), "in the first second"
    restarted = [65] if codec == "av1" else []
    assert keys[:3] + keys[3 : 3 + len(restarted)] == [0, 30, 60, *restarted]


@pytest.mark.parametrize("codec", INTER)
def test_at_half_the_pictures_each_takes_twice_the_bits(codec: str) -> None:
    encoder = VideoEncoder(codec, *SIZE, 30, bitrate_bps=600_000, gop=30)
    sizes, _ = bits(encoder, 120, gap_us=lambda number: FRAME_US * (1 if number < 45 else 2))
    full, half = sum(sizes[15:45]), sum(sizes[90:120]) / 2
    assert 420_000 < full < 800_000
    assert 390_000 < half < 800_000


@pytest.mark.parametrize("codec", ["h264", "vp9"])
def test_key_pictures_shrink_with_the_rate(codec: str) -> None:
    encoder = VideoEncoder(codec, *SIZE, 30, bitrate_bps=1_500_000, gop=20)
    sizes, keys = bits(encoder, 100, rates={25: 300_000})
    assert keys == [0, 20, 40, 60, 80]
    assert sizes[60] < 300_000 * 0.2, "no key picture holds the line for 200 ms"


def test_an_encoder_that_has_to_restart_does_so_once_a_second_at_most() -> None:
    encoder = VideoEncoder("av1", *SIZE, 30, bitrate_bps=1_000_000, gop=300)
    rates = {40: 800_000, 45: 700_000, 50: 600_000, 55: 500_000, 90: 2_000_000}
    _, keys = bits(encoder, 130, rates=rates)
    assert keys == [0, 40, 71]


def test_changes_of_a_few_percent_restart_nothing() -> None:
    encoder = VideoEncoder("av1", *SIZE, 30, bitrate_bps=1_000_000, gop=300)
    _, keys = bits(encoder, 80, rates={40: 950_000, 50: 920_000})
    assert keys == [0]


@pytest.mark.parametrize("encoder", ["opencv", "mjpeg"])
def test_jpegs_have_a_rate_only_when_one_is_set(encoder: str) -> None:
    plain, _ = bits(VideoEncoder("jpeg", *SIZE, 30, encoder=encoder), 30)
    wanted = sum(plain) // 2
    limited = VideoEncoder("jpeg", *SIZE, 30, encoder=encoder)
    sizes, _ = bits(limited, 60, rates={0: wanted, 30: 100_000_000})
    assert 0.8 * wanted < sum(sizes[10:30]) * 1.5 < 1.2 * wanted
    assert sizes[40:] == plain[10:30], "never better than the quality asked for"


@pytest.mark.parametrize("codec", INTER)
def test_a_source_whose_clock_jumps_or_stands(codec: str) -> None:
    encoder = VideoEncoder(codec, *SIZE, 30, bitrate_bps=500_000, gop=30)
    source = noisy()[0].planes
    for number, pts_us in enumerate([0, 33_333, 33_333, 10**15, 5, 5, 70_000, -(10**12), 0]):
        (one,) = encoder.encode(Picture(source, *SIZE, None, pts_us))
        assert one.pts_us == pts_us
        assert one.key == (number == 0)


@pytest.mark.parametrize("rate", [0, -1, 9_999, 1_000_000_001])
def test_an_impossible_rate(rate: int) -> None:
    encoder = VideoEncoder("jpeg", 64, 48, 30)
    with pytest.raises(UsageError) as caught:
        encoder.rebitrate(rate)
    assert caught.value.hint


def test_steps_go_forward_whatever_the_clock_says() -> None:
    times = PictureTimes(40_000)
    given = [7, 40_007, 40_007, 5, 30_005, 9_000_000]
    assert [times.step(at) for at in given] == [0, 40_000, 40_000, 40_000, 30_000, MAX_GAP_US]
    assert times.total_us == 150_000 + MAX_GAP_US


def test_the_rate_of_pictures_follows_slowly_and_forgets_a_gap() -> None:
    times = PictureTimes(1e6 / 30)
    assert times.fps == pytest.approx(30)
    at_us = 0
    for _ in range(100):
        at_us += 66_667
        times.step(at_us)
    assert 14.9 < times.fps < 15.2
    times.step(at_us + 10_000_000)
    assert times.fps > 12


def test_a_quality_is_found_for_a_rate() -> None:
    rate = JpegRate(80, 10)
    rate.rebitrate(800_000)
    for number in range(30):
        rate.took(round(20_000 / factor_of(rate.quality) ** 0.7), number * 100_000)
    assert 9_000 < 20_000 / factor_of(rate.quality) ** 0.7 < 11_000
    rate.rebitrate(10_000)
    for number in range(30, 90):
        rate.took(round(20_000 / factor_of(rate.quality) ** 0.7), number * 100_000)
    assert rate.quality == WORST_QUALITY
    assert all(quality_of(factor_of(quality)) == quality for quality in range(1, 101))


def test_what_is_known_of_pictures_inside_a_codec_is_bounded() -> None:
    inside: Inside[str] = Inside()
    for number in range(4):
        inside.put(number, f"picture {number}")
    assert inside.take(3) == "picture 3"
    assert inside.take(1) == "picture 1", "with B-frames it comes out after the third"
    assert inside.take(1) is None, "it came out before"
    assert inside.take(9) is None
    for number in range(10, 10 + MAX_INSIDE + 1):
        inside.put(number, "")
    assert [inside.take(number) for number in (0, 2, 10)] == [None] * 3, "the oldest went first"
    assert inside.take(11) == ""
    inside.clear()
    assert inside.take(12) is None
