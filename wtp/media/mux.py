"""Writing encoded objects of several tracks into one container, without encoding anything."""

from __future__ import annotations

import contextlib
import errno
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol

from wtp.errors import MediaError, StorageError, WtpError
from wtp.media.libraries import load_av
from wtp.media.mux_formats import Container
from wtp.media.mux_shape import Shape, payload_for
from wtp.media.mux_texts import TEXT_BASE, Sample, TimedTexts

US = Fraction(1, 1_000_000)
_VIDEO_BASE = Fraction(1, 90_000)
"""Time base of pictures: of MPEG-TS, and divisible by all usual rates."""
TEXT_STEP_US = 1000
"""Texts lie at least so far apart: the precision of Matroska."""

_BUFFER_BYTES = 256 * 1024


class Target(Protocol):
    """Where a container's bytes go: a pipe, or a file when there is `seek` and `tell` as well."""

    def write(self, data: bytes) -> int:
        """Write all of it; raises StorageError or BrokenPipeError."""
        ...

    def mark(self) -> None:
        """What was written up to here can be played."""
        ...

    def close(self) -> None:
        """Nothing more comes; may be called more than once."""
        ...


class _Watched:
    """A target whose failure is remembered: libavformat may come back to it calls later.

    Args:
        target: What is written to.

    Attributes:
        failure: What it raised; None while it works.
    """

    def __init__(self, target: Target) -> None:
        self.failure: BaseException | None = None
        self._target = target

    def write(self, data: bytes) -> int:
        """Write all of it."""
        try:
            return self._target.write(data)
        except BaseException as error:
            self.failure = self.failure or error
            raise

    def __getattr__(self, name: str) -> Any:
        # A file can seek and tell, a pipe cannot: PyAV looks.
        return getattr(self._target, name)


@dataclass(frozen=True, slots=True)
class MuxTrack:
    """One stream of a container.

    Attributes:
        shape: How its objects are declared.
        title: Its name, which players show.
    """

    shape: Shape
    title: str


class Muxer:
    """One container on its way to a file or a pipe; for one thread.

    Times are µs from the start of the file. Objects of a track come in decoding order.

    Args:
        target: Where it goes.
        container: Which one; it must hold every track.
        tracks: Its streams; they cannot change any more.
        texts: Title of a track of texts (subtitles); empty for none.
        title: Of the whole.

    Raises:
        MediaError: The container cannot be begun.
    """

    def __init__(
        self,
        target: Target,
        container: Container,
        tracks: Sequence[MuxTrack],
        *,
        texts: str = "",
        title: str = "",
    ) -> None:
        av = load_av()
        self._packet = av.Packet
        self._target = target
        self._watched = _Watched(target)
        self._failed = False
        self.container = container
        with _errors(container, self._watched):
            self._file = av.open(
                self._watched,
                "w",
                format=container.format,
                container_options=dict(container.options),
                buffer_size=_BUFFER_BYTES,
            )
            self._lines = [self._add(track) for track in tracks]
            self._texts = self._add_texts(texts) if texts else None
            if title:
                self._file.metadata["title"] = title
        self._last_dts: list[int | None] = [None] * len(tracks)
        self._text_us = -TEXT_STEP_US
        self._end_us = 0
        self._timed = TimedTexts() if texts and container.subtitle == "mov_text" else None
        if self._timed is not None:
            self._put_texts(self._timed.start())

    def _add(self, track: MuxTrack) -> tuple[Shape, Any, Fraction, float, int]:
        """A stream: its shape, itself, its time base, ticks of that in a µs and at least."""
        shape = track.shape
        stream = self._file.add_stream_from_template(shape.template, opaque=True)
        if shape.extradata:
            stream.codec_context.extradata = shape.extradata
        base = Fraction(1, shape.rate_hz) if shape.sound else _VIDEO_BASE
        stream.time_base = base
        _name(stream, track.title)
        ticks = base.denominator / 1e6
        return shape, stream, base, ticks, max(1, math.ceil(self.container.step_us * ticks))

    def _add_texts(self, title: str) -> Any:
        stream = self._file.add_mux_stream(self.container.subtitle)
        stream.time_base = TEXT_BASE
        _name(stream, title)
        return stream

    def write(
        self, track: int, payload: bytes, *, pts_us: int, dts_us: int, duration_us: int, key: bool
    ) -> None:
        """Write one object.

        Args:
            track: Number of its stream.
            payload: The encoded object.
            pts_us: When it is shown.
            dts_us: When it is decoded; what does not lie behind the object before is put there.
            duration_us: How long it lasts; 0 when unknown.
            key: Whether decoding can start here.

        Raises:
            StorageError: The disk is full, ...
            BrokenPipeError: The reader has gone.
            MediaError: libavformat refuses the object.
        """
        shape, stream, base, ticks, step = self._lines[track]
        packet = self._packet(payload_for(shape, payload) if shape.extradata else payload)
        dts = round(dts_us * ticks)
        last = self._last_dts[track]
        if last is not None and dts < last + step:
            dts = last + step
        self._last_dts[track] = dts
        pts = round(pts_us * ticks)
        packet.stream = stream
        packet.time_base = base
        packet.dts = dts
        packet.pts = pts if pts > dts else dts
        packet.duration = round(duration_us * ticks)
        packet.is_keyframe = key or shape.sound
        end_us = pts_us + duration_us
        if end_us > self._end_us:
            self._end_us = end_us
        self._mux(packet)

    def write_text(self, text: str, at_us: int, duration_us: int) -> None:
        """Write a text to be shown for a while."""
        if self._timed is not None:
            self._put_texts(self._timed.add(text, at_us, duration_us))
        elif self._texts is not None:
            at_us = max(at_us, self._text_us + TEXT_STEP_US)
            self._text_us = at_us
            self._put_texts([(text.encode(), at_us, duration_us)])

    def pass_time(self, now_us: int) -> None:
        """Tell how far the recording is; call it before objects of that time."""
        if self._timed is not None:
            self._put_texts(self._timed.pass_time(now_us))

    def _put_texts(self, samples: Iterable[Sample]) -> None:
        for payload, at_us, duration_us in samples:
            packet = self._packet(payload)
            packet.stream = self._texts
            packet.time_base = US
            packet.pts = packet.dts = at_us
            packet.duration = duration_us
            packet.is_keyframe = True
            self._mux(packet)

    def _mux(self, packet: Any) -> None:
        try:
            self._file.mux_one(packet)
        except Exception as error:
            self._failed = True
            with _errors(self.container, self._watched):
                raise error
        self._target.mark()

    def close(self) -> None:
        """Complete the file; one that could not be written is left as it is.

        Raises:
            StorageError: The disk is full; what was written before is playable.
            BrokenPipeError: The reader has gone.
        """
        try:
            if self._failed:
                with contextlib.suppress(Exception):
                    self._file.close()
                return
            if self._timed is not None:
                self._put_texts(self._timed.end(self._end_us))
            with _errors(self.container, self._watched):
                self._file.close()
        finally:
            self._target.close()


def _name(stream: Any, title: str) -> None:
    # mp4 keeps a stream's name as that of its handler only.
    stream.metadata["title"] = title
    stream.metadata["handler_name"] = title


@contextmanager
def _errors(container: Container, watched: _Watched) -> Iterator[None]:
    """Translate libavformat's errors; those of the target come through as they are."""
    av = load_av()
    try:
        try:
            yield
        except Exception:
            if watched.failure is not None:
                raise watched.failure from None
            raise
    except (WtpError, BrokenPipeError):
        raise
    except (av.error.FFmpegError, OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageError(
                "The disk is full.", hint="Free some space; what is there already is playable."
            ) from error
        reason = getattr(error, "strerror", None) or str(error)
        raise MediaError(
            f"The {container.name} cannot be written: {reason}.",
            hint="Try another container, .mkv holds every codec.",
        ) from error
