"""Pictures and sound that are encoded already, taken out of their container as they are.

Objects come in the order of decoding, as every container holds them, and carry the time at which
they are shown: `capture_us` = start + presentation time. With B-frames these times go to and fro.
An object is handed over when the latest picture that came so far is due: no earlier than an encoder
that makes B-frames live could have made it, so that no stamp lies in the future.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from typing import Any

from wtp.errors import MediaError
from wtp.media.codecs import CONTENT_TYPES, is_start
from wtp.media.container import OTHER_CODEC, interval
from wtp.media.copyframing import Framing, audio_framing, refuse_codec, video_framing
from wtp.media.demux import Demuxer
from wtp.media.lane import Part, Piece
from wtp.media.sound import SoundFormat
from wtp.media.video import Encoded

VIDEO = {"h264": "h264", "vp8": "vp8", "vp9": "vp9", "av1": "av1", "mjpeg": "jpeg"}
"""FFmpeg's name of each picture codec that can be sent as it is, and ours."""
AUDIO = {"opus": "opus", "aac": "aac", "pcm_s16le": "pcm"}
"""Likewise of sound."""
DECODERS = {"libdav1d": "av1", "libaom-av1": "av1", "libvpx": "vp8", "libvpx-vp9": "vp9",
            "libopus": "opus"}  # fmt: skip
"""FFmpeg's decoders that are not called like their codec."""
OPUS_HZ = 48_000
BACK_US = 1_000_000
"""Times that go back by more than B-frames ever do have begun anew, as in joined recordings."""
NO_KEY_UNITS = 600
"""Pictures without a key frame after which that is said."""

_log = logging.getLogger(__name__)


def open_copies(demuxer: Demuxer) -> list[CopySource]:
    """A source for each stream that the demuxer reads; starts it.

    Raises:
        MediaError: There is none, or its codec cannot be sent as it is; it is named.
    """
    if not demuxer.streams:
        kinds = ", ".join(demuxer.types) or "nothing"
        raise MediaError(
            f"There is neither video nor sound in {demuxer.name}, only {kinds}.",
            hint="Choose another file.",
        )
    copies = {kind: CopySource(demuxer, kind) for kind in demuxer.streams}

    def framing(stream: Any) -> Framing:
        content_type, _ = describe(stream, demuxer.name)
        if content_type != copies[stream.type].content_type:
            raise MediaError(
                f"{demuxer.name} sends {content_type} now, not {copies[stream.type].content_type}.",
                hint="Start the publisher again, or leave out --copy.",
                code=OTHER_CODEC,
            )
        return _framing(stream)

    demuxer.start(framing)
    return list(copies.values())


class CopySource:
    """One stream's encoded units.

    Args:
        demuxer: What reads it.
        type: `video` or `audio`.

    Attributes:
        name: What it is, for people.
        type: As given.
        content_type: What its objects are to be declared as.
        about: Size or rate, for people.
        skipped: Pictures left out because they came before the first key frame.
        damaged: Units left out because they make no sense.

    Raises:
        MediaError: Its codec cannot be sent as it is.
    """

    def __init__(self, demuxer: Demuxer, type: str) -> None:
        self.name = demuxer.name
        self.type = type
        self.skipped = self.damaged = 0
        stream = demuxer.streams[type]
        self.content_type, self.about = describe(stream, demuxer.name)
        self._demuxer = demuxer
        self._interval = interval(stream)
        self._lock = threading.Lock()
        self._running = False

    def units(self) -> Iterator[Encoded]:
        """Deliver the units until the end, each when it is due; blocks; call it once.

        Raises:
            MediaError: The source failed on the way, or has no times.
        """
        with self._lock:
            if self._running:
                return
            self._running = True
        if self._demuxer.live:
            self._demuxer.lanes[self.type].freshen()
        try:
            yield from self._units()
        finally:
            self.close()

    def close(self) -> None:
        """End `units`; a read from a URL under way is ended by its time limit."""
        self._demuxer.leave(self.type)

    def _units(self) -> Iterator[Encoded]:
        timeline = self._demuxer.timeline
        due_us, started = 0, self.type == "audio"
        for pts_us, piece, payload in self._framed():
            key = self.type == "audio" or is_start(self.content_type, payload)
            started = started or key
            if not started:
                self._skip()
                continue
            due_us = max(due_us, pts_us)
            if not timeline.wait(due_us):
                return
            stamp = timeline.stamp(pts_us, piece.arrived_us)
            length = piece.unit.duration * piece.unit.time_base if piece.unit.duration else None
            lasts_us = round((length or self._interval) * 1_000_000)
            yield Encoded(payload, key, pts_us, stamp, None, lasts_us)

    def _framed(self) -> Iterator[tuple[int, Piece, bytes]]:
        """Time of each unit since the start, what it came from, and its payload."""
        part: Part | None = None
        next_us = shift_us = latest_us = 0
        interval_us = round(self._interval * 1_000_000)
        for item in self._demuxer.lanes[self.type].items():
            if isinstance(item, Part):
                part, next_us, shift_us = item, item.base_us, 0
                latest_us = item.base_us
                continue
            assert part is not None  # noqa: S101 - a part comes first
            framing: Framing = part.context
            if item.unit.pts is not None:
                since = item.unit.pts * part.unit_s - part.origin
                next_us = part.base_us + round(since * 1_000_000) + shift_us
                if next_us < latest_us - BACK_US:
                    again_us = latest_us + interval_us
                    shift_us, next_us = shift_us + again_us - next_us, again_us
            elif framing.reordered and not self._demuxer.live:
                raise MediaError(
                    f"The pictures of {self.name} have B-frames and no times.",
                    hint="Put them into a container first (ffmpeg -i IN -c copy OUT.mkv), or leave "
                    "out --copy.",
                )
            payload = self._payload(framing, item.unit)
            latest_us = max(latest_us, next_us)
            if payload:
                yield next_us, item, payload
            next_us += interval_us

    def _payload(self, framing: Framing, unit: Any) -> bytes:
        """The object of a unit; empty when it is damaged."""
        try:
            return framing.frame(unit)
        except MediaError as error:
            self.damaged += 1
            if self.damaged == 1:
                _log.warning("%s It is left out of %s.", error.message, self.name)
        return b""

    def _skip(self) -> None:
        self.skipped += 1
        if self.skipped == NO_KEY_UNITS:
            _log.warning(
                "%s has sent no key frame yet: nobody can start to decode it. Set a key-frame "
                "interval at the source, or leave out --copy.",
                self.name,
            )


def describe(stream: Any, name: str) -> tuple[str, str]:
    """Content type of a stream sent as it is, and its size or rate for people.

    Raises:
        MediaError: Its codec cannot be sent as it is; it is named.
    """
    context = stream.codec_context
    raw = context.codec.name if context is not None else "unknown"
    codec = DECODERS.get(raw, raw)
    if stream.type == "video":
        if codec not in VIDEO:
            raise refuse_codec(codec, name, "H.264, VP8, VP9, AV1 and Motion JPEG", "")
        return CONTENT_TYPES[VIDEO[codec]], f"{context.width}x{context.height}"
    channels = context.layout.nb_channels if context is not None else 0
    if codec not in AUDIO or (codec == "opus" and channels > 2):
        many = f" of {channels} channels" if codec in AUDIO else ""
        raise refuse_codec(codec + many, name, "Opus of 1 or 2 channels, AAC and PCM (s16le)",
                           ", or leave out the sound with --no-sound")  # fmt: skip
    rate_hz = OPUS_HZ if codec == "opus" else context.sample_rate
    return str(SoundFormat(AUDIO[codec], rate_hz, channels)), f"{rate_hz} Hz"


def _framing(stream: Any) -> Framing:
    """How the units of a stream become objects; in the thread that reads, while it is open."""
    raw = stream.codec_context.codec.name
    codec = DECODERS.get(raw, raw)
    if stream.type == "video":
        return video_framing(VIDEO.get(codec, codec), stream)
    return audio_framing(AUDIO.get(codec, codec), stream)
