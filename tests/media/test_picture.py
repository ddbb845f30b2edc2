from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest

from wtp.errors import MediaError, UsageError
from wtp.media import picture as subject
from wtp.media.picture import Picture, check_size, even_size, plane_views

from .footage import drawn


def test_planes_have_views_that_share_memory() -> None:
    (picture,) = drawn(64, 50, 1)
    y, u, v = plane_views(picture.planes)
    assert (y.shape, u.shape, v.shape) == ((50, 64), (25, 32), (25, 32))
    v[-1, -1] = 77
    assert picture.planes.reshape(-1)[-1] == 77
    u[0, 0] = 78
    assert picture.planes.reshape(-1)[50 * 64] == 78


def test_a_picture_is_frozen() -> None:
    (picture,) = drawn(64, 48, 1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        picture.width = 3  # type: ignore[misc]


def test_pixels_are_the_colours_that_went_in() -> None:
    colours = np.zeros((32, 32, 3), np.uint8)
    colours[:16] = (200, 30, 60)
    colours[16:] = (10, 220, 120)
    planes = np.asarray(cv2.cvtColor(colours, cv2.COLOR_BGR2YUV_I420), np.uint8)
    picture = Picture(planes, 32, 32)
    assert np.abs(picture.bgr().astype(int) - colours).max() <= 6
    assert (picture.rgb() == picture.bgr()[..., ::-1]).all()


def test_pixels_without_opencv_are_nearly_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    (picture,) = drawn(320, 240, 1)
    wanted = picture.bgr().astype(int)
    monkeypatch.setattr(subject, "has_cv2", lambda: False)
    assert np.abs(picture.bgr().astype(int) - wanted).mean() < 2
    assert (picture.rgb() == picture.bgr()[..., ::-1]).all()


def test_odd_sizes_lose_a_row_and_a_column() -> None:
    assert even_size(321, 241) == (320, 240)


@pytest.mark.parametrize("size", [(0, 100), (100, 8), (9000, 100), (8192, 8192)])
def test_impossible_sizes(size: tuple[int, int]) -> None:
    with pytest.raises(MediaError, match="not handled"):
        even_size(*size)
    with pytest.raises(UsageError, match="not handled"):
        check_size(size)


def test_an_odd_size_names_the_even_one() -> None:
    with pytest.raises(UsageError, match="640x480"):
        check_size((641, 481))
