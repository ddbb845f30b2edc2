"""A file, a URL or standard input as a picture source, through PyAV."""

from __future__ import annotations

import logging
import os
import select
import sys
import threading
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from wtp.errors import MediaError, UsageError
from wtp.media.frames import av_errors, planes_of
from wtp.media.libraries import load_av
from wtp.media.pace import Pacer
from wtp.media.picture import Picture, Planes, check_size, empty_planes, even_size, plane_views

OPEN_S, READ_S = 10.0, 10.0
"""How long a URL may take to open, and to deliver the next bytes."""

_POLL_S = 0.1
_FULL_HD = 1920 * 1088
_log = logging.getLogger(__name__)


class FileSource:
    """Pictures of a file: every one, once, in presentation order, paced by their own times.

    `capture_us` of a picture is the clock's time at which it was due: start + `pts_us`. A live URL
    (one without a duration) is not paced, and neither is a source with `pace=False`: their pictures
    are stamped as they arrive.

    Args:
        spec: Path, URL, or `-` for standard input.
        size: Scale to this; None keeps the size, less an odd last row or column.
        fps: Leave out pictures above this rate; None keeps all.
        loop: Start again at the end; `pts_us` goes on.
        now_us: The clock for capture stamps.
        pace: False delivers as fast as they are decoded.

    Attributes:
        damaged: Coded pictures that could not be decoded and were left out.

    Raises:
        MediaError: It cannot be opened or read, or there is no video in it.
        UsageError: The size makes no sense, or `-` is to be looped.
    """

    def __init__(
        self,
        spec: str,
        *,
        size: tuple[int, int] | None = None,
        fps: float | None = None,
        loop: bool = False,
        now_us: Callable[[], int],
        pace: bool = True,
    ) -> None:
        if loop and spec == "-":
            raise UsageError("Standard input cannot be looped.", hint="Give a file, or no --loop.")
        self.name = "standard input" if spec == "-" else spec
        self.damaged = 0
        self._spec = spec
        self._limit_fps = fps
        self._loop = loop
        self._now_us = now_us
        self._pacer = Pacer()
        self._lock = threading.Lock()
        self._running = False
        self._interval = Fraction(1, 25)
        self._container: Any = None
        try:
            self._frames = self._open()
            first = self._peek()
            shown = even_size(*_shown_size(first))
            self.width, self.height = check_size(size) if size else shown
        except BaseException:
            self._release()
            raise
        rate = float(1 / self._interval)
        self.fps = min(fps, rate) if fps else rate
        self._pace = pace and not self._is_live()

    def pictures(self) -> Iterator[Picture]:
        """Deliver the pictures until the end of the file, or until closed."""
        with self._lock:
            if self._pacer.closed or self._running:
                return
            self._running = True
        try:
            yield from self._paced()
        finally:
            self._release()

    def close(self) -> None:
        """End `pictures`; a read from a URL under way is ended by its time limit."""
        self._pacer.close()
        with self._lock:
            if not self._running:
                self._release()

    def _paced(self) -> Iterator[Picture]:
        last_slot = -1
        start_us: int | None = None
        for frame, pts_us in self._timed():
            if self._limit_fps:
                slot = int((pts_us + 1) * self._limit_fps / 1e6)
                if slot <= last_slot:
                    continue
                last_slot = slot
            planes = self._planes(frame)
            if self._pacer.wait(pts_us if self._pace else 0) is None:
                return
            if start_us is None or not self._pace:
                start_us = self._now_us() - pts_us
            yield Picture(planes, self.width, self.height, start_us + pts_us, pts_us)

    def _timed(self) -> Iterator[tuple[Any, int]]:
        """Frames with their time since the first, going on across loops."""
        start_us = 0
        while True:
            origin: Fraction | None = None
            last, length = Fraction(-1), Fraction(0)
            for frame in self._frames:
                time = None if frame.pts is None else frame.pts * frame.time_base
                if origin is None:
                    origin = time or Fraction(0)
                since = length if time is None else time - origin
                if since <= last:
                    since = length
                last = since
                length = since + (_frame_length(frame) or self._interval)
                yield frame, start_us + round(since * 1_000_000)
            if not self._loop or self._pacer.closed or origin is None:
                return
            start_us += round(length * 1_000_000)
            self._container.close()
            self._frames = self._open()

    def _open(self) -> Iterator[Any]:
        """Open the container; returns the frames of its first video stream."""
        av = load_av()
        target = _StandardInput(self._pacer) if self._spec == "-" else self._spec
        what = "URL, and that its server runs" if "://" in self._spec else "path"
        hint = f"Check the {what}; `wtp publish --source testsrc` needs no file."
        with av_errors(f"{self.name} cannot be opened", hint):
            try:
                self._container = av.open(target, timeout=(OPEN_S, READ_S))
            except av.error.InvalidDataError as error:
                raise MediaError(
                    f"{self.name} cannot be opened: it is no video, or damaged.",
                    hint="Try it with ffprobe; `wtp publish --source testsrc` needs no file.",
                ) from error
        streams = [s for s in self._container.streams.video if not _is_cover(s)]
        if not streams:
            kinds = ", ".join(sorted({s.type for s in self._container.streams})) or "nothing"
            raise MediaError(
                f"There is no video in {self.name}, only {kinds}.", hint="Choose another file."
            )
        if streams[0].codec_context is None:
            raise MediaError(
                f"The video of {self.name} has a codec that this PyAV cannot decode.",
                hint="Convert it first, for example with ffmpeg -c:v libx264.",
            )
        self._interval = _interval(streams[0])
        return self._decode(streams[0])

    def _is_live(self) -> bool:
        return "://" in self._spec and self._container.duration is None

    def _decode(self, stream: Any) -> Iterator[Any]:
        context = stream.codec_context
        context.thread_count = 1 if context.width * context.height <= _FULL_HD else 4
        invalid = load_av().error.InvalidDataError
        hint = "Check the file with ffprobe, or the network for a URL."
        with av_errors(f"{self.name} cannot be read on", hint):
            for unit in self._container.demux(stream):
                if self._pacer.closed:
                    return
                try:
                    frames = unit.decode()
                except invalid:
                    self.damaged += 1
                    if self.damaged == 1:
                        _log.warning("Damaged pictures of %s are left out.", self.name)
                    continue
                yield from frames

    def _peek(self) -> Any:
        """The first frame, which stays in front of the others."""
        first = next(self._frames, None)
        if first is None:
            raise MediaError(
                f"No picture of {self.name} can be decoded.", hint="Check the file with ffprobe."
            )
        rest = self._frames

        def again() -> Iterator[Any]:
            yield first
            yield from rest

        self._frames = again()
        return first

    def _planes(self, frame: Any) -> Planes:
        turns = frame.rotation // 90 % 4
        if turns % 2:
            return turned(planes_of(frame, self.height, self.width), turns)
        planes = planes_of(frame, self.width, self.height)
        return turned(planes, turns) if turns else planes

    def _release(self) -> None:
        if self._container is not None:
            self._container.close()


class _StandardInput:
    """Standard input for PyAV: a read that `close` ends, unlike FFmpeg's own of a pipe."""

    def __init__(self, pacer: Pacer) -> None:
        if sys.stdin is None:
            raise MediaError(
                "Standard input is closed.", hint="Give the video with `<FILE` or a pipe."
            )
        self._pacer = pacer
        self._descriptor = sys.stdin.fileno()

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; none at the end or when closed."""
        while not self._pacer.closed:
            ready, _, _ = select.select([self._descriptor], [], [], _POLL_S)
            if ready:
                return os.read(self._descriptor, size)
        return b""


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


def _is_cover(stream: Any) -> bool:
    """Whether it is the cover picture of a sound file, which FFmpeg also calls a video stream."""
    return bool(stream.disposition & load_av().stream.Disposition.attached_pic)


def _interval(stream: Any) -> Fraction:
    """Nominal time between two pictures in seconds."""
    rate = stream.average_rate or stream.guessed_rate or Fraction(25)
    return 1 / Fraction(min(max(rate, Fraction(1, 10)), Fraction(1000)))


def _frame_length(frame: Any) -> Fraction | None:
    if not frame.duration or frame.time_base is None:
        return None
    length: Fraction = frame.duration * frame.time_base
    return length
