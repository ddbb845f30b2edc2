"""Where something moves: `data` events at the start and the end of every movement.

    {"event": "start", "share": 0.031, "box": [120, 80, 260, 200], "capture_us": ...}
    {"event": "end", "seconds": 2.4, "capture_us": ...}

`share` is the part of the picture that changed, `box` where: left, top, right, bottom in pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from wtp.processor import Info

STEP = 4
"""Every how manieth pixel of a row and of a column is looked at."""

CHANGE = 20
"""Grey levels (of 256) by which a pixel must differ from the picture before."""

LEAST_SHARE = 0.002
"""Part of the pixels that must have changed for a movement."""

STILL_US = 500_000
"""How long nothing must have moved for the movement to be over."""


class Motion:
    """Watches one track; an instance is made for each."""

    def __init__(self) -> None:
        self._before: Any = None
        self._since_us = 0
        self._last_us: int | None = None

    def __call__(self, picture: np.ndarray, info: Info) -> dict[str, Any] | None:
        """Compare a picture with the one before."""
        now_us = info.capture_us or 0
        grey = picture[::STEP, ::STEP, 1].astype(np.int16)
        before, self._before = self._before, grey
        if before is None or before.shape != grey.shape:
            return None
        changed = np.abs(grey - before) > CHANGE
        share = float(changed.mean())
        if share < LEAST_SHARE:
            return self._still(now_us)
        started = self._last_us is None
        self._last_us = now_us
        if not started:
            return None
        self._since_us = now_us
        rows, columns = np.nonzero(changed)
        box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        return {
            "event": "start",
            "share": round(share, 4),
            "box": [int(edge) * STEP for edge in box],
            "capture_us": now_us,
        }

    def _still(self, now_us: int) -> dict[str, Any] | None:
        if self._last_us is None or now_us - self._last_us < STILL_US:
            return None
        seconds = (self._last_us - self._since_us) / 1e6
        self._last_us = None
        return {"event": "end", "seconds": round(seconds, 3), "capture_us": now_us}


process = Motion
