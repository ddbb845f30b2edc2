"""When an object is decoded and shown in a recording, out of capture times in decoding order."""

from __future__ import annotations

import heapq


class TrackTimes:
    """Decoding times of one track's objects.

    With B-frames objects come in another order than they are shown in. An object is decoded at the
    time at which the one that is `reorder` earlier in showing order is shown: the smallest of the
    times seen and not yet used. Times never run back.

    Args:
        reorder: Pictures by which decoding runs ahead of showing.
    """

    def __init__(self, reorder: int) -> None:
        self._reorder = reorder
        self._seen: list[int] = []
        self._count = 0
        self._first_us = 0

    def dts_us(self, pts_us: int, duration_us: int) -> int:
        """When the next object is decoded.

        Args:
            pts_us: When it is shown.
            duration_us: How long.
        """
        if not self._reorder:
            return pts_us
        if not self._count:
            self._first_us = pts_us
        number, self._count = self._count, self._count + 1
        heapq.heappush(self._seen, pts_us)
        if number < self._reorder:
            return self._first_us - (self._reorder - number) * max(1, duration_us)
        return heapq.heappop(self._seen)
