"""Pictures from a source through an encoder to the loop: one thread, never in the loop's way.

Units wait for the loop in a bounded queue. When the loop is so slow that it fills, everything in it
is dropped and counted, and the encoder is asked for a key picture: the newest matters.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from wtp.media.picture import Picture
from wtp.media.source import Source
from wtp.media.video import Encoded, VideoEncoder
from wtp.publisher.handover import Deliver, Handover
from wtp.publisher.live import Unit

HANDOVER = 30
"""Units that wait for the loop at most: about a second of video."""


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
        self._count = count
        self._bitrate_bps = self._applied_bps = 0
        self._every_nth = 1
        self._key = threading.Event()
        self._stop = threading.Event()
        self._handover = Handover(
            source.name,
            self._capture,
            self.stop,
            deliver,
            most=HANDOVER,
            on_drop=self._key.set,
        )

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
        await self._handover.run()

    def stop(self) -> None:
        """End the capture after the picture under way."""
        self._stop.set()
        self.source.close()

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
        self._handover.push(units)
