"""Pictures from a source through an encoder to the loop: one thread, never in the loop's way.

Units wait for the loop in a bounded queue. When the loop is so slow that it fills, everything in it
is dropped and counted, and the encoder is asked for a key picture: the newest matters.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence

from wtp.errors import MediaError, WtpError
from wtp.media.picture import Picture
from wtp.media.source import Source
from wtp.media.video import Encoded, VideoEncoder
from wtp.publisher.live import Unit

HANDOVER = 30
"""Units that wait for the loop at most: about a second of video."""
STOP_S = 1.0
"""How long the end of the thread is waited for; a device that hangs is left behind."""

Deliver = Callable[[Sequence[Unit], int], None]
"""Takes units on the loop, and how many were dropped before the first of them."""


class Capture:
    """Captures and encodes in a thread of its own.

    Args:
        source: Pictures; closed at the end.
        encoder: For the source's size.
        now_us: Clock for pictures that carry no stamp.
        deliver: Takes the units on the loop.
        count: Pictures after which it ends; 0 for all.

    Attributes:
        encode_us: What encoding the last picture took, in µs.
    """

    def __init__(
        self,
        source: Source,
        encoder: VideoEncoder,
        now_us: Callable[[], int],
        deliver: Deliver,
        *,
        count: int = 0,
    ) -> None:
        self.source = source
        self.encode_us = 0
        self._encoder = encoder
        self._now_us = now_us
        self._deliver = deliver
        self._count = count
        self._bitrate_bps = self._applied_bps = 0
        self._every_nth = 1
        self._key = threading.Event()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._ready: deque[Unit] = deque()
        self._lost = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended: asyncio.Future[None] | None = None

    def force_key(self) -> None:
        """Make the next picture a key picture; safe from any thread."""
        self._key.set()

    def follow(self, bitrate_bps: int, every_nth: int) -> None:
        """Encode at another bit rate, and every n-th picture only; safe from any thread.

        Args:
            bitrate_bps: From the next picture on, 10 kbit/s at least.
            every_nth: Pictures between are captured and left out.
        """
        self._every_nth = every_nth
        self._bitrate_bps = bitrate_bps

    async def run(self) -> None:
        """Capture until the source ends or `stop`.

        Raises:
            MediaError: The source or the encoder failed.
        """
        self._loop = asyncio.get_running_loop()
        self._ended = self._loop.create_future()
        thread = threading.Thread(target=self._work, name="capture", daemon=True)
        thread.start()
        try:
            await asyncio.shield(self._ended)
        finally:
            self.stop()
            await asyncio.wait({self._ended}, timeout=STOP_S)
            self._take()

    def stop(self) -> None:
        """End the capture after the picture under way."""
        self._stop.set()
        self.source.close()

    def _work(self) -> None:
        error: WtpError | None = None
        try:
            self._capture()
        except WtpError as failure:
            error = failure
        except Exception as failure:  # noqa: BLE001 - the border of the thread: told to the loop
            error = MediaError(f"{self.source.name} failed: {failure}.", hint="See WTP_DEBUG=1.")
        finally:
            self.source.close()
        self._call(lambda: self._end(error))

    def _capture(self) -> None:
        left_out = 0
        for taken, picture in enumerate(self.source.pictures(), 1):
            if self._stop.is_set():
                break
            left_out += 1
            if left_out >= self._every_nth or self._key.is_set():
                left_out = 0
                self._encode(picture)
            if taken == self._count:
                break
        self._push(self._encoder.flush())

    def _encode(self, picture: Picture) -> None:
        force = self._key.is_set()
        if force:
            self._key.clear()
        began_us = self._now_us()
        if self._bitrate_bps != self._applied_bps:
            self._applied_bps = self._bitrate_bps
            self._encoder.rebitrate(self._applied_bps)
        self._push(self._encoder.encode(picture, force_key=force))
        self.encode_us = self._now_us() - began_us

    def _push(self, encoded: Sequence[Encoded]) -> None:
        now_us = self._now_us()
        units = [
            Unit(
                one.payload,
                one.key,
                now_us if one.capture_us is None else one.capture_us,
                now_us if one.encode_us is None else one.encode_us,
                one.duration_us,
            )
            for one in encoded
        ]
        if not units:
            return
        with self._lock:
            idle = not self._ready
            if len(self._ready) >= HANDOVER:
                self._lost += len(self._ready)
                self._ready.clear()
                self._key.set()
            self._ready.extend(units)
        if idle:
            self._call(self._take)

    def _call(self, call: Callable[[], None]) -> None:
        assert self._loop is not None  # noqa: S101 - `run` sets it
        try:
            self._loop.call_soon_threadsafe(call)
        except RuntimeError:
            self._stop.set()

    def _take(self) -> None:
        """On the loop: hand over what is ready."""
        with self._lock:
            units, lost = list(self._ready), self._lost
            self._ready.clear()
            self._lost = 0
        if units or lost:
            self._deliver(units, lost)

    def _end(self, error: WtpError | None) -> None:
        self._take()
        if self._ended is not None and not self._ended.done():
            if error is None:
                self._ended.set_result(None)
            else:
                self._ended.set_exception(error)
