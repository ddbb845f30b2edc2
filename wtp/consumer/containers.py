"""A track as a stream that players open from a pipe: framed where its codec has no framing.

    video/h264, image/jpeg, audio/aac   as they are (Annex B, mjpeg, ADTS): `--raw -` is bare
    video/vp8, video/vp9, video/av1     IVF
    audio/opus                          Ogg
    audio/pcm                           WAV

For `--raw`: `raw_output(sink, lossless=...)` in the place of `Raw(sink, lossless=...)`. What is
written is decided by the content type of the first object; `ffplay -` and `ffmpeg -i -` find out by
themselves what it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from wtp.consumer.item import Item
from wtp.consumer.output import Output, Raw, Sink
from wtp.media.mux_ogg import opus_head, opus_tags, page
from wtp.media.mux_shape import PRE_SKIP, ivf_frame, ivf_head, wav_head
from wtp.media.sound import SoundFormat

OTHER_FORMAT = "other-format"
"""Left out: the stream has begun in another format."""

_FOURCC = {"video/vp8": b"VP80", "video/vp9": b"VP90", "video/av1": b"AV01"}
_OPUS_KHZ = 48
"""Ogg counts Opus in samples of 48 kHz whatever its rate (RFC 7845, section 4)."""


class Framing(Protocol):
    """Puts a codec's objects into its file format."""

    def head(self) -> bytes:
        """What comes first."""
        ...

    def frame(self, payload: bytes, at_us: int, duration_us: int) -> bytes:
        """An object, at its time from the first one on."""
        ...


class Bare:
    """No framing."""

    def head(self) -> bytes:
        """Nothing."""
        return b""

    def frame(self, payload: bytes, at_us: int, duration_us: int) -> bytes:
        """The object itself."""
        return payload


class Ivf(Bare):
    """IVF: a length and a time in ms before each picture.

    Args:
        fourcc: Of the codec.
    """

    def __init__(self, fourcc: bytes) -> None:
        self._fourcc = fourcc
        self._last_ms = -1

    def head(self) -> bytes:
        """The file's head."""
        return ivf_head(self._fourcc)

    def frame(self, payload: bytes, at_us: int, duration_us: int) -> bytes:
        """A picture; times always rise."""
        self._last_ms = max(self._last_ms + 1, round(at_us / 1000))
        return ivf_frame(payload, self._last_ms)


class Ogg(Bare):
    """Ogg: a page for each Opus packet, so that nothing waits.

    Args:
        sound: What the content type says.
    """

    def __init__(self, sound: SoundFormat) -> None:
        self._sound = sound
        self._pages = 0
        self._samples = 0

    def head(self) -> bytes:
        """The two heads of Opus."""
        head = opus_head(self._sound.channels, self._sound.rate_hz, PRE_SKIP)
        self._pages = 2
        return page(head, 0, first=True) + page(opus_tags(), 1)

    def frame(self, payload: bytes, at_us: int, duration_us: int) -> bytes:
        """A packet; a gap in time is one in the count of samples."""
        samples = max(1, round(duration_us * _OPUS_KHZ / 1000))
        begin = round(at_us * _OPUS_KHZ / 1000)
        if begin > self._samples + samples:
            self._samples = begin
        self._samples += samples
        number, self._pages = self._pages, self._pages + 1
        return page(payload, number, granule=self._samples)


class Wav(Bare):
    """WAV of a length that is not known.

    Args:
        sound: What the content type says.
    """

    def __init__(self, sound: SoundFormat) -> None:
        self._sound = sound

    def head(self) -> bytes:
        """The file's head."""
        return wav_head(self._sound.rate_hz, self._sound.channels)


def framing_of(content_type: str) -> Framing:
    """How objects of a content type become a stream that players open.

    Raises:
        MediaError: The content type says nothing sensible of its sound.
    """
    name = content_type.partition(";")[0].strip().lower()
    if name in _FOURCC:
        return Ivf(_FOURCC[name])
    if name == "audio/opus":
        return Ogg(SoundFormat.parse(content_type))
    if name == "audio/pcm":
        return Wav(SoundFormat.parse(content_type))
    return Bare()


class Framed(Raw):
    """Objects of one track in the file format of their codec (see the module).

    Args:
        sink: Where they go.
        lossless: Whether a slow reader holds reading up.
    """

    def __init__(self, sink: Sink, *, lossless: bool) -> None:
        super().__init__(sink, lossless=lossless)
        self._framing: Framing | None = None
        self._content_type = ""
        self._first_us = 0

    def take(self, items: Sequence[Item]) -> list[str]:
        """Write objects."""
        reasons, data = list[str](), list[bytes]()
        for item in items:
            reason = self._refuse(item) or self._frame(item, data)
            reasons.append(reason)
        self._sink.write(b"".join(data))
        return reasons

    def _frame(self, item: Item, data: list[bytes]) -> str:
        content_type = item.obj.content_type if item.obj else item.content_type
        at_us = item.stamp("capture_us")
        at_us = item.message.publish_ms * 1000 if at_us is None else at_us
        if self._framing is None:
            self._framing, self._content_type = framing_of(content_type), content_type
            self._first_us = at_us
            data.append(self._framing.head())
        elif content_type != self._content_type and not _alike(content_type, self._content_type):
            return OTHER_FORMAT
        duration_us = item.obj.duration_us if item.obj else 0
        data.append(self._framing.frame(item.message.payload, at_us - self._first_us, duration_us))
        return ""


def _alike(one: str, other: str) -> bool:
    """Whether two content types can follow each other in one stream: neither is framed."""
    return type(framing_of(one)) is Bare and type(framing_of(other)) is Bare


def raw_output(sink: Sink, *, lossless: bool) -> Output:
    """The output behind `--raw`.

    Args:
        sink: Where bytes go.
        lossless: Whether a slow reader holds reading up.
    """
    return Framed(sink, lossless=lossless)
