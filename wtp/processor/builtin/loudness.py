"""How loud it is: a `data` object per audio object.

    {"rms_dbfs": -23.1, "peak_dbfs": -9.8, "open": true, "capture_us": ...}

`open` is a gate with hysteresis: it opens above one level and closes below a lower one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from wtp.processor import Info

OPEN_DBFS, CLOSE_DBFS = -40.0, -46.0
SILENCE_DBFS = -120.0
"""What silence is called, since its logarithm is none."""


class Loudness:
    """Listens to one track; an instance is made for each."""

    def __init__(self) -> None:
        self._open = False

    def __call__(self, sound: np.ndarray, info: Info) -> dict[str, Any] | None:
        """Measure one object (samples x channels, int16 or float32)."""
        if not sound.size:
            return None
        full = 32768.0 if sound.dtype == np.int16 else 1.0
        level = sound.astype(np.float64) / full
        rms = decibels(float(np.sqrt(np.mean(level**2))))
        self._open = rms > (CLOSE_DBFS if self._open else OPEN_DBFS)
        return {
            "rms_dbfs": rms,
            "peak_dbfs": decibels(float(np.abs(level).max())),
            "open": self._open,
            "capture_us": info.capture_us,
        }


def decibels(level: float) -> float:
    """A level of 0..1 in decibels below full scale, to a tenth."""
    return round(max(SILENCE_DBFS, 20 * float(np.log10(max(level, 1e-9)))), 1)


process = Loudness
