from __future__ import annotations

import av
import numpy as np
import pytest

from wtp.errors import MediaError
from wtp.media.frames import av_errors, frame_of, planes_of
from wtp.media.picture import Picture, plane_views

from .footage import drawn

RED = (0, 0, 255)


def flat_frame(yuv: tuple[int, int, int], *, colorspace: int, color_range: int) -> av.VideoFrame:
    planes = np.empty((48, 32), np.uint8)
    for view, value in zip(plane_views(planes), yuv, strict=True):
        view[:] = value
    frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
    frame.colorspace, frame.color_range = colorspace, color_range
    return frame


@pytest.mark.parametrize(
    ("yuv", "colorspace", "color_range"),
    [
        pytest.param((81, 90, 240), 6, 1, id="bt601"),
        pytest.param((81, 90, 240), 2, 0, id="untagged"),
        pytest.param((63, 102, 240), 1, 1, id="bt709"),
        pytest.param((76, 85, 255), 6, 2, id="full-range"),
        pytest.param((54, 99, 255), 1, 2, id="bt709-full-range"),
    ],
)
def test_red_stays_red(yuv: tuple[int, int, int], colorspace: int, color_range: int) -> None:
    frame = flat_frame(yuv, colorspace=colorspace, color_range=color_range)
    picture = Picture(planes_of(frame, 32, 32), 32, 32)
    assert np.abs(picture.bgr().astype(int) - RED).max() <= 4


def test_planes_go_through_a_frame_unchanged() -> None:
    (picture,) = drawn(198, 102, 1)
    assert (planes_of(frame_of(picture.planes), 198, 102) == picture.planes).all()


def test_foreign_errors_become_ours() -> None:
    with (
        pytest.raises(MediaError, match=r"Doing so: No such file.* Look\."),
        av_errors("Doing so", "Look."),
    ):
        av.open("/nowhere")
