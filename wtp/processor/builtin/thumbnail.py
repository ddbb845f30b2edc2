"""Pictures made small: JPEGs of at most 160 pixels' width, each the mean of its pixels."""

from __future__ import annotations

from typing import Any

import numpy as np

WIDTH = 160
"""Widest thumbnail, in pixels."""


def process(picture: np.ndarray) -> Any:
    """Shrink a picture (height x width x 3 bytes, BGR) by a whole number."""
    step = -(-picture.shape[1] // WIDTH)
    height, width = picture.shape[0] // step, picture.shape[1] // step
    whole = picture[: height * step, : width * step]
    total = np.zeros((height, width, 3), np.uint32)
    for row in range(step):
        for column in range(step):
            total += whole[row::step, column::step]
    return (total // step**2).astype(np.uint8)
