"""Encoded units of a source to a live track, as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from wtp.clock import Clock
from wtp.model import Kind
from wtp.publisher.handover import Handover
from wtp.publisher.live import LiveTrack, Unit
from wtp.publisher.session import TrackSpec

if TYPE_CHECKING:
    from wtp.media.copy import CopySource

HANDOVER = 256
"""Units that wait for the loop at most; when it is that slow, all of them are dropped, counted as
`queue`, and the track goes on at the next key unit."""


class CopyFeed:
    """Encoded units of one stream to a live track.

    Key units come when the source makes them: requests for one cannot be met.

    Args:
        source: Where they come from; closed with the feed.
        alias: Number of the track.
        name: Name of the track.
        kind: `video` or `audio`.
        clock: Own clock.
        count: Units after which it ends; 0 for all.
    """

    def __init__(
        self, source: CopySource, alias: int, name: str, kind: Kind, clock: Clock, count: int
    ) -> None:
        spec = TrackSpec(alias, name, kind, source.content_type)
        self.track = LiveTrack(spec, clock, self._refuse_key)
        self._source = source
        self._clock = clock
        self._count = count
        self._asked_keys = 0
        self._handover = Handover(
            source.name, self._work, source.close, self._deliver, most=HANDOVER
        )

    async def run(self) -> None:
        """Send until the source ends or `stop`.

        Raises:
            MediaError: The source failed.
        """
        await self._handover.run()

    def stop(self) -> None:
        """End after the unit under way."""
        self._source.close()

    def close(self) -> None:
        """Close the source."""
        self._source.close()

    def figures(self) -> dict[str, Any]:
        """Source, size or rate, and that nothing is encoded here."""
        return {
            "source": self._source.name,
            "size" if self._source.type == "video" else "rate": self._source.about,
            "copied": True,
            "skipped": self._source.skipped,
            "key_requests": self._asked_keys,
        }

    def _refuse_key(self) -> None:
        self._asked_keys += 1

    def _work(self) -> None:
        for taken, one in enumerate(self._source.units(), 1):
            now_us = self._clock.now_us()
            unit = Unit(one.payload, one.key, one.capture_us, now_us, one.duration_us)
            self._handover.push([unit])
            if taken == self._count:
                break

    def _deliver(self, units: Sequence[Unit], lost: int) -> None:
        self.track.lose(lost)
        for unit in units:
            self.track.offer(unit)
