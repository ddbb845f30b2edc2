"""Decoding one track for the screen: what goes in as objects comes out in the order of showing.

Pictures that are sent as they are captured are decoded when they are due. A copied stream may have
B-frames: its objects come in another order, so they are decoded at once and wait as pictures.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wtp.clock import monotonic_us
from wtp.errors import MediaError
from wtp.watcher.playout import Shot

if TYPE_CHECKING:
    from wtp.media.picture import Picture
    from wtp.media.video import VideoDecoder

MAX_HELD = 16
"""Decoded pictures that wait, as many as the most that H.264 reorders (ITU-T H.264, A.3.1)."""

MOST_MOMENTS = 64
"""Objects whose moments are remembered: more than a decoder and the pictures held can have."""


@dataclass(slots=True)
class Moments:
    """When an object arrived, when its turn to be decoded came, and when it was decoded.

    All CLOCK_MONOTONIC; `decode_us` is 0 before.
    """

    receive_us: int
    take_us: int
    decode_us: int = 0


class Projector:
    """The decoder of one track and its pictures that are not yet due; for one thread.

    Attributes:
        lost: Objects of which no picture will be shown, since it was last set to 0.
        came: Capture times of the pictures that the last `feed` brought.
        moments: Of the picture that was taken last; None when nothing is known about it.
    """

    def __init__(self) -> None:
        self.lost = 0
        self.came: list[int] = []
        self.moments: Moments | None = None
        self._moments: dict[int, Moments] = {}
        self._run = ("", "")
        self._decoder: VideoDecoder | None = None
        self._inside: list[int] = []
        self._held: deque[Picture] = deque()

    @property
    def room(self) -> int:
        """Pictures that may be decoded ahead."""
        return max(0, MAX_HELD - len(self._held))

    def first_us(self) -> int | None:
        """Capture time of the oldest picture that waits; None when none does."""
        return self._held[0].capture_us if self._held else None

    def feed(self, shot: Shot) -> str:
        """Decode an object.

        Args:
            shot: The next one of the track.

        Returns:
            Why it was of no use: `damaged`, `no-key`; "" when it was.

        Raises:
            MediaError: Its content type cannot be decoded here.
        """
        self.came = []
        decoder = self._decoder_of(shot)
        heapq.heappush(self._inside, shot.capture_us)
        while len(self._moments) >= MOST_MOMENTS:
            del self._moments[next(iter(self._moments))]
        self._moments[shot.capture_us] = Moments(shot.receive_us, monotonic_us())
        try:
            pictures = decoder.decode(shot.payload, capture_us=shot.capture_us)
        except MediaError:
            return self._useless("damaged")
        if decoder.waiting:
            return self._useless("no-key")
        for picture in pictures:
            self._hold(picture)
        return ""

    def _decoder_of(self, shot: Shot) -> VideoDecoder:
        run = (shot.run, shot.content_type)
        if self._decoder is None or run != self._run:
            from wtp.media.video import VideoDecoder

            self.clear()
            self._decoder, self._run = VideoDecoder(shot.content_type), run
        return self._decoder

    def _useless(self, reason: str) -> str:
        self.lost += len(self._inside) - 1
        self._inside = []
        return reason

    def _hold(self, picture: Picture) -> None:
        """Keep a picture until it is due; objects from before it will bring none any more."""
        if picture.capture_us is None:
            return
        while self._inside and self._inside[0] < picture.capture_us:
            heapq.heappop(self._inside)
            self.lost += 1
        if self._inside and self._inside[0] == picture.capture_us:
            heapq.heappop(self._inside)
        if (moments := self._moments.get(picture.capture_us)) is not None:
            moments.decode_us = monotonic_us()
        self.came.append(picture.capture_us)
        self._held.append(picture)

    def take(self, captured_us: int) -> Picture | None:
        """The newest picture captured until then; those before it are lost."""
        newest: Picture | None = None
        while self._held and (self._held[0].capture_us or 0) <= captured_us:
            self.lost += newest is not None
            newest = self._held.popleft()
        captured = newest.capture_us if newest else None
        self.moments = None if captured is None else self._moments.pop(captured, None)
        return newest

    def clear(self) -> None:
        """Forget everything."""
        self.lost += len(self._inside) + len(self._held)
        self._inside = []
        self._held.clear()
