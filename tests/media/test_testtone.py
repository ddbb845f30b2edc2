"""The test sound: its beeps tell the clock's whole seconds."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from wtp.media.testtone import LOUD, ToneSource, draw, onsets

START_US = 1_790_000_000_300_000


@pytest.mark.parametrize("rate_hz", [44_100, 48_000])
def test_beeps_begin_at_whole_seconds(rate_hz: int) -> None:
    found = onsets(draw(START_US, 0, 3 * rate_hz, rate_hz, 2), rate_hz)
    assert found == pytest.approx([0.7, 1.7, 2.7], abs=0.0001)


def test_blocks_follow_each_other_without_a_seam() -> None:
    source = ToneSource(48_000, 1, now_us=lambda: START_US, pace=False)
    blocks = list(islice(source.blocks(), 100))
    source.close()
    assert [block.pts_us for block in blocks] == [n * 10_000 for n in range(100)]
    assert all(block.capture_us == START_US + block.pts_us for block in blocks)
    whole = np.concatenate([block.samples for block in blocks])
    assert np.array_equal(whole, draw(START_US, 0, 48_000, 48_000, 1))
    assert np.abs(whole).max() <= LOUD


def test_it_comes_at_its_time_and_ends_when_closed() -> None:
    source = ToneSource(48_000, 1, now_us=lambda: START_US)
    blocks = source.blocks()
    assert next(blocks).samples.shape == (480, 1)
    source.close()
    assert list(blocks) == []
