"""Encoded units of a source to a live track, as they are."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from wtp.clock import Clock
from wtp.errors import MediaError, WtpError
from wtp.model import Kind
from wtp.publisher.live import LiveTrack, Unit
from wtp.publisher.session import TrackSpec

if TYPE_CHECKING:
    from wtp.media.copy import CopySource
    from wtp.media.video import Encoded

HANDOVER = 256
"""Units that wait for the loop at most; when it is that slow, all of them are dropped, counted as
`queue`, and the track goes on at the next key unit."""
STOP_S = 1.0
"""How long the end of the thread is waited for; a source that hangs is left behind."""


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
        self._lock = threading.Lock()
        self._ready: deque[Unit] = deque()
        self._lost = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended: asyncio.Future[None] | None = None

    async def run(self) -> None:
        """Send until the source ends or `stop`.

        Raises:
            MediaError: The source failed.
        """
        self._loop = asyncio.get_running_loop()
        self._ended = self._loop.create_future()
        threading.Thread(target=self._work, name="copy", daemon=True).start()
        try:
            await asyncio.shield(self._ended)
        finally:
            self.stop()
            await asyncio.wait({self._ended}, timeout=STOP_S)
            self._take()

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
        error: WtpError | None = None
        try:
            for taken, unit in enumerate(self._source.units(), 1):
                self._push(unit)
                if taken == self._count:
                    break
        except WtpError as failure:
            error = failure
        except Exception as failure:  # noqa: BLE001 - the border of the thread: told to the loop
            error = MediaError(f"{self._source.name} failed: {failure}.", hint="See WTP_DEBUG=1.")
        finally:
            self._source.close()
        self._call(lambda: self._end(error))

    def _push(self, one: Encoded) -> None:
        unit = Unit(one.payload, one.key, one.capture_us, self._clock.now_us(), one.duration_us)
        with self._lock:
            idle = not self._ready
            if len(self._ready) >= HANDOVER:
                self._lost += len(self._ready)
                self._ready.clear()
            self._ready.append(unit)
        if idle:
            self._call(self._take)

    def _call(self, call: Callable[[], None]) -> None:
        assert self._loop is not None  # noqa: S101 - `run` sets it
        try:
            self._loop.call_soon_threadsafe(call)
        except RuntimeError:
            self._source.close()

    def _take(self) -> None:
        """On the loop: hand over what is ready."""
        with self._lock:
            units, lost = list(self._ready), self._lost
            self._ready.clear()
            self._lost = 0
        self.track.lose(lost)
        for unit in units:
            self.track.offer(unit)

    def _end(self, error: WtpError | None) -> None:
        self._take()
        if self._ended is not None and not self._ended.done():
            if error is None:
                self._ended.set_result(None)
            else:
                self._ended.set_exception(error)
