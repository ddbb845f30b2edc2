"""What a player has to know of a track before its first object: read out of the objects.

A small stream in the codec's own file format (Annex B, IVF, Ogg, WAV, ADTS) is made around an
object and opened by libavformat, whose parsers find size, profile and parameter sets. Nothing is
encoded.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import Any

from wtp.errors import MediaError
from wtp.media.frames import av_errors
from wtp.media.libraries import load_av
from wtp.media.mux_ogg import opus_head, opus_tags, page
from wtp.media.sound import SoundFormat

PRE_SKIP = 120
"""Samples that an Opus decoder leaves out at the very start (RFC 7845, section 4.2): the look-ahead
of `application=lowdelay` at 48 kHz, 2.5 ms. Stamps are those of what a decoder makes of an object,
so nothing else is to be shifted."""

UNTOLD_REORDER = 2
"""Assumed of H.264 and H.265 beyond the baseline profile that do not say how far they reorder."""

_FOURCC = {"video/vp8": b"VP80", "video/vp9": b"VP90", "video/av1": b"AV01"}
_PLAIN = {"video/h264": "h264", "video/hevc": "hevc", "video/h265": "hevc", "image/jpeg": "mjpeg"}

_SPS = {"h264": (0x1F, 7), "hevc": (0x7E, 33 << 1)}
"""Mask and value of the first byte of a sequence parameter set (H.264 table 7-1, H.265 table 7-1;
there the type lies one bit higher)."""

_ADTS_BYTES = 7


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """How a track's objects are to be declared in a container.

    Attributes:
        content_type: As the track declares it.
        codec: libavcodec's name.
        sound: Whether it is sound.
        form: What must not change within a file: size and profile, or rate and channels.
        reorder: Pictures by which decoding runs ahead of showing (B-frames).
        extradata: What goes into the container's head when the stream cannot tell; empty if not.
        source: The opened little stream; holds `template`.
        template: Its `av` stream.
    """

    content_type: str
    codec: str
    sound: bool
    form: tuple[object, ...]
    reorder: int
    extradata: bytes
    source: Any
    template: Any

    @property
    def rate_hz(self) -> int:
        """Samples a second; 0 for pictures."""
        return int(self.template.rate) if self.sound else 0


def base_type(content_type: str) -> str:
    """A content type without its parameters, lower case."""
    return content_type.partition(";")[0].strip().lower()


def signature(content_type: str, payload: bytes) -> bytes:
    """Bytes of a key object that stay the same as long as the track's shape does.

    They may change without it; then `probe` tells.
    """
    name = base_type(content_type)
    if name in _FOURCC:
        # Frame header and size of VP8 (RFC 6386, 9.1) and VP9 (spec 6.2), sequence header of AV1.
        return payload[3:10] if name == "video/vp8" else payload[: 10 if name[-1] == "9" else 16]
    if name == "image/jpeg":
        return _jpeg_size(payload)
    if name in _PLAIN:
        return _sps(payload, *_SPS[_PLAIN[name]])
    if name == "audio/aac":
        return payload[:3] + bytes([payload[3] & 0xC0]) if len(payload) > 3 else payload
    return b""


def probe(content_type: str, payload: bytes) -> Shape:
    """Find out the shape of a track from an object at which decoding can start.

    Raises:
        MediaError: It is no media, or damaged.
    """
    av = load_av()
    name = base_type(content_type)
    extra = b""
    if name == "audio/opus":
        said = SoundFormat.parse(content_type)
        head = opus_head(said.channels, said.rate_hz, PRE_SKIP)
        data = page(head, 0, first=True) + page(opus_tags(), 1) + page(payload, 2, last=True)
        form = "ogg"
    elif name == "audio/pcm":
        said = SoundFormat.parse(content_type)
        form, data = "wav", wav_head(said.rate_hz, said.channels) + payload
    elif name == "audio/aac":
        form, data, extra = "aac", payload, aac_config(payload)
    elif name in _FOURCC:
        form, data = "ivf", ivf_head(_FOURCC[name]) + ivf_frame(payload, 0)
    elif name in _PLAIN:
        form, data = _PLAIN[name], payload
    else:
        raise MediaError(
            f"Objects of type {name or 'unknown'!r} cannot go into a recording.",
            hint="Choose other tracks with --track or --publisher.",
            code="container",
        )
    with av_errors(f"An object of {name} cannot be read", "It may be damaged."):
        source = av.open(io.BytesIO(data), format=form)
        template = source.streams[0]
    context = template.codec_context
    sound = template.type == "audio"
    size = (template.rate, template.channels) if sound else (template.width, template.height)
    if not all(size):
        raise MediaError(f"An object of {name} has no size.", hint="It may be damaged.")
    codec = context.codec.canonical_name
    return Shape(
        content_type=content_type,
        codec=codec,
        sound=sound,
        form=(codec, *size, context.profile),
        reorder=0 if sound else _reorder(context),
        extradata=extra,
        source=source,
        template=template,
    )


def _reorder(context: Any) -> int:
    """Pictures by which decoding may run ahead; a stream that can have B-frames may not tell."""
    found = int(context.has_b_frames or 0)
    able = context.name in _SPS and "Baseline" not in (context.profile or "")
    return max(found, UNTOLD_REORDER) if able else 0


def payload_for(shape: Shape, payload: bytes) -> bytes:
    """An object's bytes as a container wants them: AAC without the head of ADTS."""
    if shape.codec != "aac" or len(payload) < _ADTS_BYTES or payload[0] != 0xFF:
        return payload
    return payload[_ADTS_BYTES if payload[1] & 1 else _ADTS_BYTES + 2 :]


def aac_config(payload: bytes) -> bytes:
    """AudioSpecificConfig (ISO 14496-3, 1.6.2.1) out of an ADTS head (1.A.2.2).

    Raises:
        MediaError: The object has no such head.
    """
    if len(payload) < _ADTS_BYTES or payload[0] != 0xFF or payload[1] & 0xF6 != 0xF0:
        raise MediaError("An object of audio/aac has no ADTS head.", hint="It may be damaged.")
    profile, rate = payload[2] >> 6, payload[2] >> 2 & 0xF
    channels = (payload[2] & 1) << 2 | payload[3] >> 6
    return ((profile + 1) << 11 | rate << 7 | channels << 3).to_bytes(2, "big")


def ivf_head(fourcc: bytes, width: int = 0, height: int = 0) -> bytes:
    """Head of an IVF file with times in ms; the size stands in the pictures as well."""
    return b"DKIF" + struct.pack("<HH4sHHIIII", 0, 32, fourcc, width, height, 1000, 1, 0, 0)


def ivf_frame(payload: bytes, at_ms: int) -> bytes:
    """A picture in an IVF file."""
    return struct.pack("<IQ", len(payload), at_ms) + payload


def wav_head(rate_hz: int, channels: int) -> bytes:
    """Head of a WAV file of s16le whose length is not known (all ones, as ffmpeg has it)."""
    width = channels * 2
    form = struct.pack("<HHIIHH", 1, channels, rate_hz, rate_hz * width, width, 16)
    unknown = b"\xff\xff\xff\xff"
    return b"RIFF" + unknown + b"WAVEfmt \x10\0\0\0" + form + b"data" + unknown


def _sps(payload: bytes, mask: int, value: int) -> bytes:
    """The first sequence parameter set of an Annex B access unit; empty without one."""
    at = payload.find(b"\0\0\1")
    while 0 <= at < len(payload) - 3:
        end = payload.find(b"\0\0\1", at + 3)
        if payload[at + 3] & mask == value:
            return payload[at + 3 : end if end > 0 else len(payload)].rstrip(b"\0")
        at = end
    return b""


def _jpeg_size(payload: bytes) -> bytes:
    """Precision, height and width of a JPEG's frame header (ITU-T T.81, B.2.2)."""
    at = 2
    while at + 9 < len(payload) and payload[at] == 0xFF:
        marker, length = payload[at + 1], int.from_bytes(payload[at + 2 : at + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return payload[at + 4 : at + 9]
        at += 2 + length
    return b""
