"""Pictures of a file, a URL or standard input, through PyAV."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from wtp.errors import MediaError
from wtp.media.container import picture_interval
from wtp.media.demux import Demuxer
from wtp.media.frames import av_errors, planes_of
from wtp.media.lane import Part
from wtp.media.libraries import load_av
from wtp.media.picture import Picture, Planes, check_size, empty_planes, even_size, plane_views

FIRST_PICTURE_S = 15.0
"""How long the first picture of a live source is waited for: longer than its groups should be."""
STALE_US = 1_000_000
"""A live picture that was read longer ago than this is left out."""

_FULL_HD = 1920 * 1088
_log = logging.getLogger(__name__)


class FileSource:
    """Pictures of a file: every one, once, in presentation order, paced by their own times.

    `capture_us` of a picture is the clock's time at which it was due: start + `pts_us`. A live URL
    (one without a duration) is not paced: its pictures are stamped by their own times and their
    arrival, and it is opened again when it is lost. With `pace=False` pictures are stamped as they
    are read. A source that changes its size on the way is scaled to its first size.

    Args:
        spec: Path, URL, or `-` for standard input; or what reads it already, for its sound too.
        size: Scale to this; None keeps the size, less an odd last row or column.
        fps: Leave out pictures above this rate; None keeps all.
        loop: Start again at the end; `pts_us` goes on.
        now_us: The clock for capture stamps.
        pace: False delivers as fast as they are decoded.

    Attributes:
        damaged: Coded pictures that could not be decoded and were left out.
        returned: Called, in the thread that takes pictures, when a lost source is back.

    Raises:
        MediaError: It cannot be opened or read, or there is no video in it.
        UsageError: The size makes no sense, or `-` is to be looped.
    """

    def __init__(
        self,
        spec: str | Demuxer,
        *,
        size: tuple[int, int] | None = None,
        fps: float | None = None,
        loop: bool = False,
        now_us: Callable[[], int],
        pace: bool = True,
    ) -> None:
        if isinstance(spec, Demuxer):
            self._demuxer = spec
        else:
            self._demuxer = Demuxer(spec, loop=loop, now_us=now_us, pace=pace)
        self.name = self._demuxer.name
        self.damaged = 0
        self.returned: Callable[[], None] | None = None
        self._limit_fps = fps
        self._now_us = now_us
        self._lock = threading.Lock()
        self._running = False
        try:
            self._interval = self._check()
            if not isinstance(spec, Demuxer):
                self._demuxer.start()
            self._frames = self._timed()
            first = self._peek()
            self._first: tuple[Any, int, int] | None = first
            self._told = _shown_size(first[0])
            shown = even_size(*self._told)
            self.width, self.height = check_size(size) if size else shown
        except BaseException:
            self._demuxer.close()
            raise
        rate = float(1 / self._interval)
        self.fps = min(fps, rate) if fps else rate

    def pictures(self) -> Iterator[Picture]:
        """Deliver the pictures until the end of the file, or until closed."""
        with self._lock:
            if self._running:
                return
            self._running = True
        if self._demuxer.live:
            self._demuxer.lanes["video"].freshen()
        try:
            yield from self._paced()
        finally:
            self.close()

    def close(self) -> None:
        """End `pictures`; a read from a URL under way is ended by its time limit."""
        self._demuxer.leave("video")

    def _check(self) -> Fraction:
        """Check that there is a video that can be decoded; returns its nominal interval."""
        stream = self._demuxer.streams.get("video")
        if stream is None:
            kinds = ", ".join(self._demuxer.types) or "nothing"
            raise MediaError(
                f"There is no video in {self.name}, only {kinds}.", hint="Choose another file."
            )
        if stream.codec_context is None:
            raise MediaError(
                f"The video of {self.name} has a codec that this PyAV cannot decode.",
                hint="Convert it first, for example with ffmpeg -c:v libx264.",
            )
        return picture_interval(stream)

    def _peek(self) -> tuple[Any, int, int]:
        """The first frame; a live source that sends none is not waited for without an end.

        Raises:
            MediaError: There is none.
        """
        impatience = threading.Timer(FIRST_PICTURE_S, self._demuxer.close)
        impatience.daemon = True
        if self._demuxer.live:
            impatience.start()
        first = next(self._frames, None)
        impatience.cancel()
        if first is None:
            raise MediaError(
                f"{self.name} is there, but sends no picture."
                if self._demuxer.live
                else f"No picture of {self.name} can be decoded.",
                hint="Check it with ffprobe.",
            )
        return first

    def _paced(self) -> Iterator[Picture]:
        last_slot = last_us = -1
        timeline = self._demuxer.timeline
        for frame, pts_us, read_us in self._all_frames():
            if self._limit_fps:
                slot = int((pts_us + 1) * self._limit_fps / 1e6)
                if slot <= last_slot:
                    continue
                last_slot = slot
            if self._demuxer.live and self._now_us() - read_us > STALE_US:
                continue
            planes = self._planes(frame)
            if not timeline.wait(pts_us):
                return
            stamp = timeline.stamp(pts_us, read_us)
            if self._demuxer.live:
                last_us = stamp = max(stamp, last_us + 1)
            yield Picture(planes, self.width, self.height, stamp, pts_us)

    def _all_frames(self) -> Iterator[tuple[Any, int, int]]:
        if self._first is not None:
            first, self._first = self._first, None
            yield first
        yield from self._frames

    def _timed(self) -> Iterator[tuple[Any, int, int]]:
        """Frames with their time since the start, across parts, and when they were read."""
        origin, base_us, unit_s = Fraction(0), 0, Fraction(1)
        last, length = Fraction(-1), Fraction(0)
        for frame, part, read_us in self._decoded():
            if part is not None:
                origin, base_us = part.origin, part.base_us
                unit_s = part.unit_s
                last, length = Fraction(-1), Fraction(0)
            time = None if frame.pts is None else frame.pts * unit_s
            since = length if time is None else time - origin
            if since <= last:
                since = length
            last = since
            length = since + ((frame.duration or 0) * unit_s or self._interval)
            yield frame, base_us + round(since * 1_000_000), read_us

    def _decoded(self) -> Iterator[tuple[Any, Part | None, int]]:
        """Frames; with the part at its first one; and when their unit was read."""
        context: Any = None
        fresh: Part | None = None
        read_us = 0
        for item in self._demuxer.lanes["video"].items():
            if isinstance(item, Part):
                if context is not None:
                    for frame in self._decode(context, None):
                        yield frame, fresh, read_us
                        fresh = None
                if item.again and self.returned is not None:
                    self.returned()
                context, fresh = item.context, item
                size = context.width * context.height
                context.thread_count = 1 if size <= _FULL_HD else 4
                continue
            read_us = item.arrived_us
            for frame in self._decode(context, item.unit):
                yield frame, fresh, read_us
                fresh = None
        if context is not None:
            for frame in self._decode(context, None):
                yield frame, fresh, read_us
                fresh = None

    def _decode(self, context: Any, unit: Any) -> list[Any]:
        av = load_av()
        with av_errors(f"{self.name} cannot be read on", "Check the file with ffprobe."):
            try:
                return list(context.decode(unit))
            except av.error.EOFError:
                return []
            except av.error.InvalidDataError:
                self.damaged += 1
                if self.damaged == 1:
                    _log.warning("Damaged pictures of %s are left out.", self.name)
        return []

    def _planes(self, frame: Any) -> Planes:
        shown = _shown_size(frame)
        if shown != self._told:
            self._told = shown
            _log.warning(
                "%s is %dx%d now; it is scaled to %dx%d.",
                self.name, *shown, self.width, self.height,
            )  # fmt: skip
        turns = frame.rotation // 90 % 4
        if turns % 2:
            return turned(planes_of(frame, self.height, self.width), turns)
        planes = planes_of(frame, self.width, self.height)
        return turned(planes, turns) if turns else planes


def turned(planes: Planes, turns: int) -> Planes:
    """The picture turned counterclockwise by a number of quarter turns."""
    height, width = planes.shape[0] * 2 // 3, planes.shape[1]
    out = empty_planes(*((height, width) if turns % 2 else (width, height)))
    for view, plane in zip(plane_views(out), plane_views(planes), strict=True):
        view[:] = np.rot90(plane, turns)
    return out


def _shown_size(frame: Any) -> tuple[int, int]:
    size = (frame.width, frame.height)
    return size[::-1] if frame.rotation // 90 % 2 else size
