"""The picture codecs: names, content types, encoders and decoders, and where decoding can start.

An object of a track is always one picture as its codec's live streams have it:

    h264   one access unit, Annex B; parameter sets before every key picture
    vp8    one frame (RFC 6386)
    vp9    one frame, or a superframe with one shown picture
    av1    one temporal unit of the low-overhead format: a temporal delimiter first, so that objects
           written one after another are a stream (`.obu`), and a sequence header in every key
           picture
    jpeg   one JPEG; each is a key picture
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeAlias

from wtp.media.av1 import is_key_unit, is_unit
from wtp.media.h264 import is_access_unit, is_key_access_unit
from wtp.media.picture import Planes
from wtp.media.vpx import is_vp8_key, is_vp9, is_vp9_key

Coded: TypeAlias = tuple[bytes, bool, int]
"""Payload, whether it is a key picture, and the number of its picture."""

JPEG_START = b"\xff\xd8"
"""Start of image (ITU-T T.81 table B.1)."""


@dataclass(frozen=True, slots=True)
class Codec:
    """A picture codec.

    Attributes:
        name: As in `--codec`.
        content_type: Of its objects.
        hardware: Encoders in hardware by FFmpeg's names, the best first.
        software: Encoders in software, the best first.
        decoders: Decoders in software, the best first.
    """

    name: str
    content_type: str
    hardware: tuple[str, ...]
    software: tuple[str, ...]
    decoders: tuple[str, ...]


CODECS = {
    codec.name: codec
    for codec in (
        Codec(
            "h264",
            "video/h264",
            tuple(
                f"h264_{family}"
                for family in ("nvenc", "qsv", "vaapi", "amf", "videotoolbox", "mf", "v4l2m2m")
            ),
            ("libx264", "libopenh264"),
            ("h264",),
        ),
        Codec("vp8", "video/vp8", ("vp8_vaapi", "vp8_v4l2m2m"), ("libvpx",), ("vp8", "libvpx")),
        Codec(
            "vp9",
            "video/vp9",
            ("vp9_qsv", "vp9_vaapi"),
            ("libvpx-vp9",),
            ("vp9", "libvpx-vp9"),
        ),
        Codec(
            "av1",
            "video/av1",
            ("av1_nvenc", "av1_qsv", "av1_vaapi", "av1_amf"),
            ("libsvtav1", "libaom-av1"),
            ("libdav1d", "libaom-av1"),
        ),
        Codec("jpeg", "image/jpeg", (), ("opencv", "mjpeg"), ("mjpeg",)),
    )
}
"""Every codec by name."""

CONTENT_TYPES = {codec.name: codec.content_type for codec in CODECS.values()}
"""Content type of each codec."""


def codec_of(content_type: str) -> Codec | None:
    """The codec of a content type, whatever parameters follow its `;`; None for any other."""
    name = content_type.partition(";")[0].strip().lower()
    return next((codec for codec in CODECS.values() if codec.content_type == name), None)


def is_start(content_type: str, payload: bytes) -> bool:
    """Whether decoding can start at an object, read from its bytes; False for unknown types."""
    codec = codec_of(content_type)
    if codec is None:
        return False
    tests = {
        "h264": is_key_access_unit,
        "vp8": is_vp8_key,
        "vp9": is_vp9_key,
        "av1": is_key_unit,
    }
    test = tests.get(codec.name)
    return test(payload) if test else payload.startswith(JPEG_START)


def is_picture(codec: Codec, payload: bytes) -> bool:
    """Whether an object looks like one of a codec; of VP8 and JPEG their decoders tell."""
    tests = {"h264": is_access_unit, "vp9": is_vp9, "av1": is_unit}
    test = tests.get(codec.name)
    return bool(payload) and (test is None or test(payload))


class PictureEncoder(Protocol):
    """What an encoder does: planes in, objects out; for one thread.

    Attributes:
        name: The encoder's name: `libx264`, `opencv`, ...
    """

    name: str

    def encode(self, planes: Planes, number: int, pts_us: int, force_key: bool) -> list[Coded]:
        """Encode one picture; may return none or several."""
        ...

    def rebitrate(self, bitrate_bps: int) -> None:
        """Change the bit rate from the next picture on."""
        ...

    def flush(self) -> list[Coded]:
        """Return what is still inside."""
        ...


class PictureDecoder(Protocol):
    """What a decoder does: payload in, (planes, the payload's number) out; for one thread.

    Attributes:
        waiting: Whether it waits for a key picture.
    """

    waiting: bool

    def decode(self, payload: bytes, number: int) -> list[tuple[Planes, int]]:
        """Decode one payload; none while waiting for a key picture."""
        ...

    def reset(self) -> None:
        """Forget everything and wait for a key picture."""
        ...
