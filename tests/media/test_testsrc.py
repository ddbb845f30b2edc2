from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wtp.errors import UsageError
from wtp.media.picture import Picture, empty_planes, plane_views
from wtp.media.testsrc import CODE_COLUMNS, CODE_ROWS, Pattern, block_px, read_code, write_code
from wtp.media.video import VideoDecoder, VideoEncoder

from .footage import BASE_US, clip, drawn

SIZES = [(320, 240), (640, 480), (1280, 720)]


@given(st.integers(-(2**63), 2**63 - 1))
def test_every_time_reads_back(capture_us: int) -> None:
    planes = empty_planes(320, 240)
    write_code(planes, capture_us)
    assert read_code(planes) == capture_us


@pytest.mark.parametrize("size", [(160, 120), (200, 150), (480, 640), (854, 480), (1920, 1080)])
def test_other_sizes_read_back(size: tuple[int, int]) -> None:
    assert read_code(Pattern(*size).draw(BASE_US)) == BASE_US


def test_a_picture_too_small_for_a_code_stays_without() -> None:
    planes = Pattern(96, 64).draw(BASE_US)
    assert block_px(96, 64) == 0
    assert read_code(planes) is None


@pytest.mark.parametrize("luma", [0, 16, 126, 235, 255])
def test_a_plain_picture_has_no_code(luma: int) -> None:
    assert read_code(np.full((360, 320), luma, np.uint8)) is None


@given(st.sets(st.integers(0, CODE_ROWS * CODE_COLUMNS - 1), min_size=1, max_size=4))
def test_turned_blocks_read_as_none(blocks: set[int]) -> None:
    planes = Pattern(320, 240).draw(BASE_US)
    side = block_px(320, 240)
    for block in blocks:
        row, column = divmod(block, CODE_COLUMNS)
        area = planes[row * side : (row + 1) * side, column * side : (column + 1) * side]
        area[:] = 252 - area
    assert read_code(planes) is None


def test_noise_reads_as_none() -> None:
    rng = np.random.default_rng(7)
    for _ in range(300):
        assert read_code(rng.integers(0, 256, (360, 320), dtype=np.uint8)) is None


@pytest.mark.parametrize("codec", ["h264", "jpeg"])
@pytest.mark.parametrize("size", SIZES)
def test_the_code_survives_coding(size: tuple[int, int], codec: str) -> None:
    encoder = VideoEncoder(codec, *size, 30, bitrate_bps=2_500_000, quality=70)
    decoder = VideoDecoder(encoder.content_type)
    unreadable = 0
    for picture in drawn(*size, 90):
        (encoded,) = encoder.encode(picture)
        (shown,) = decoder.decode(encoded.payload)
        unreadable += read_code(shown.planes) != picture.capture_us
    assert unreadable == 0


@pytest.mark.parametrize("codec", ["h264", "jpeg"])
def test_the_code_survives_coding_on_real_footage(codec: str) -> None:
    from wtp.media.source import open_source

    source = open_source(clip("bigbuckbunny"), now_us=lambda: BASE_US, pace=False)
    encoder = VideoEncoder(codec, source.width, source.height, 25)
    decoder = VideoDecoder(encoder.content_type)
    unreadable = count = 0
    for picture in source.pictures():
        planes = picture.planes.copy()
        capture_us = BASE_US + picture.pts_us
        write_code(planes, capture_us)
        marked = Picture(planes, picture.width, picture.height)
        (shown,) = decoder.decode(encoder.encode(marked)[0].payload)
        unreadable += read_code(shown.planes) != capture_us
        count += 1
    assert (count, unreadable) == (132, 0)


def test_the_pattern_moves_and_repeats_itself() -> None:
    pattern = Pattern(320, 240)
    first, later = pattern.draw(BASE_US), pattern.draw(BASE_US + 100_000)
    assert (pattern.draw(BASE_US) == first).all()
    for before, after in zip(plane_views(first), plane_views(later), strict=True):
        assert (before != after).mean() > 0.1


def test_the_pattern_stays_in_limited_range() -> None:
    planes = Pattern(640, 480).draw(BASE_US)
    assert planes.shape == (720, 640)
    assert planes.flags.c_contiguous
    assert planes.min() >= 16
    assert planes.max() <= 235


@pytest.mark.parametrize("size", [(641, 480), (640, 481), (0, 0), (8, 8), (100_000, 100_000)])
def test_an_impossible_size_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(UsageError, match=r"odd|not handled"):
        Pattern(*size)
