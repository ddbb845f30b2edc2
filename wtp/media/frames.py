"""The border with PyAV: frames to planes and back, its errors to ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from wtp.errors import MediaError
from wtp.media.libraries import load_av
from wtp.media.picture import Planes, empty_planes, plane_views

FULL_RANGE = 2
"""AVCOL_RANGE_JPEG of FFmpeg's pixfmt.h."""
BT709, BT601 = 1, 6
"""AVCOL_SPC_BT709 and AVCOL_SPC_SMPTE170M of FFmpeg's pixfmt.h (H.273 table 4)."""
_SWS_BT601 = 5


def planes_of(frame: Any, width: int, height: int) -> Planes:
    """Copy an `av.VideoFrame` into planes of exactly the given size.

    A frame that is one pixel wider or higher is cropped, any other size is scaled. Full range,
    BT.709 and other pixel formats become limited-range BT.601 I420; untagged counts as that.
    """
    crop = frame.width - width in (0, 1) and frame.height - height in (0, 1)
    full = frame.color_range == FULL_RANGE or frame.format.name.startswith("yuvj")
    if not crop or full or frame.format.name != "yuv420p" or frame.colorspace == BT709:
        frame = frame.reformat(
            width=frame.width if crop else width,
            height=frame.height if crop else height,
            format="yuv420p",
            src_colorspace=BT709 if frame.colorspace == BT709 else None,
            dst_colorspace=_SWS_BT601 if frame.colorspace == BT709 else None,
            src_color_range="JPEG" if full else None,
            dst_color_range="MPEG" if full else None,
            threads=1,
        )
    planes = empty_planes(width, height)
    for view, rows in zip(plane_views(planes), frame_views(frame), strict=True):
        view[:] = rows[: view.shape[0], : view.shape[1]]
    return planes


def frame_views(frame: Any) -> list[Planes]:
    """Views of a YUV 4:2:0 frame's planes, padding at the ends of rows and columns included."""
    return [np.frombuffer(p, np.uint8).reshape(-1, p.line_size) for p in frame.planes]


def empty_frame(width: int, height: int) -> Any:
    """A limited-range BT.601 YUV 4:2:0 `av.VideoFrame` to be filled with `fill`."""
    frame = load_av().VideoFrame(width, height, "yuv420p")
    frame.color_range = 1
    frame.colorspace = BT601
    return frame


def fill(frame: Any, planes: Planes) -> None:
    """Copy planes into a frame of their size."""
    for rows, view in zip(frame_views(frame), plane_views(planes), strict=True):
        rows[: view.shape[0], : view.shape[1]] = view


def frame_of(planes: Planes) -> Any:
    """Copy planes into a new `av.VideoFrame`."""
    frame = empty_frame(planes.shape[1], planes.shape[0] * 2 // 3)
    fill(frame, planes)
    return frame


@contextmanager
def av_errors(doing: str, hint: str) -> Iterator[None]:
    """Translate FFmpeg's errors, and its OSErrors, into one MediaError.

    Args:
        doing: What failed: the beginning of the sentence.
        hint: What to do next.
    """
    av = load_av()
    try:
        yield
    except (av.error.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise MediaError(f"{doing}: {reason}.", hint=hint) from error
