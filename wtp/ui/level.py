"""A level meter in text."""

from __future__ import annotations

CELLS = 12
LOWEST_DB = -60.0
"""Where the meter begins: below, sound is lost in the noise of a room."""

LOUD_DB = -3.0
"""From here on the last cell is marked: little is left to the end of the scale."""


def meter(level_db: float) -> str:
    """A meter with its figure: `[######----] -24 dB`; `!` at its end when it is too loud.

    Args:
        level_db: dB below full scale, 0 at most.
    """
    share = (min(level_db, 0.0) - LOWEST_DB) / -LOWEST_DB
    filled = min(CELLS, max(0, round(share * CELLS)))
    bar = "#" * filled + "-" * (CELLS - filled)
    if level_db >= LOUD_DB:
        bar = bar[:-1] + "!"
    return f"[{bar}] {level_db:.0f} dB"
