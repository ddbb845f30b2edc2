"""How loud sound is, for a level meter."""

from __future__ import annotations

import numpy as np

from wtp.media.sound import Samples

SILENCE_DB = -96.0
"""What 16 bits can tell from nothing: 6 dB a bit; also shown for exact silence."""
FALL_DB_PER_S = 11.8
"""How fast the meter falls: 20 dB in 1.7 s (IEC 60268-10, type I)."""
CLIPPED = 32_767


class Level:
    """A peak meter of one track: rises at once, falls slowly; written and read in any thread.

    Attributes:
        clipped: Samples so far that stood at the end of the scale.
    """

    def __init__(self) -> None:
        self.clipped = 0
        self._db = SILENCE_DB

    @property
    def db(self) -> float:
        """What it shows, dB below full scale, to a tenth: 0 at most, -96 for silence."""
        return round(self._db, 1)

    def add(self, samples: Samples, duration_us: int) -> None:
        """Take sound that lasted so long."""
        if not samples.size:
            return
        peak = max(int(samples.max()), -int(samples.min()))
        if peak >= CLIPPED:
            self.clipped += int(np.count_nonzero(np.abs(samples.astype(np.int32)) >= CLIPPED))
        now_db = 20 * float(np.log10(peak / 32_768)) if peak else SILENCE_DB
        fallen_db = self._db - FALL_DB_PER_S * duration_us / 1e6
        self._db = max(now_db, fallen_db, SILENCE_DB)
