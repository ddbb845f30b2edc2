"""Encoding pictures to objects and decoding them: one class each way, whatever the codec."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from wtp.errors import MediaError, UsageError
from wtp.media.picture import Picture, Planes, check_size
from wtp.media.source import check_fps

CONTENT_TYPES = {"h264": "video/h264", "jpeg": "image/jpeg"}
"""Content type of each codec that can be encoded and decoded."""

DEFAULT_BITRATE_BPS = 2_500_000
DEFAULT_JPEG_QUALITY = 70
MAX_GOP = 60
GOP_S = 2.0


@dataclass(frozen=True, slots=True)
class Encoded:
    """One encoded picture.

    Attributes:
        payload: The bytes: an Annex B access unit or a JPEG.
        key: Whether decoding can start here.
        pts_us: The picture's presentation time within its source in µs.
        capture_us: The picture's capture stamp.
        encode_us: When it was ready, or None without a clock.
        duration_us: How long it is shown, from the nominal rate.
    """

    payload: bytes
    key: bool
    pts_us: int
    capture_us: int | None
    encode_us: int | None
    duration_us: int


class PictureEncoder(Protocol):
    """What a codec does: planes in, (payload, key, the picture's number) out."""

    def encode(self, planes: Planes, number: int, force_key: bool) -> list[tuple[bytes, bool, int]]:
        """Encode one picture; may return none or several."""
        ...

    def flush(self) -> list[tuple[bytes, bool, int]]:
        """Return what is still inside."""
        ...


class VideoEncoder:
    """Encodes the pictures of one track; for one thread.

    Args:
        codec: `h264` or `jpeg`.
        width: In pixels, even.
        height: In pixels, even.
        fps: Nominal pictures per second.
        bitrate_bps: Target of H.264, bits per second.
        quality: Of JPEG, 1 to 100.
        gop: Pictures from key to key; None takes two seconds, 60 at most.
        now_us: Clock for the encode stamp.

    Attributes:
        content_type: What the objects are to be declared as.

    Raises:
        UsageError: An argument makes no sense.
        MissingLibrary: The codec is not there.
    """

    def __init__(
        self,
        codec: str,
        width: int,
        height: int,
        fps: float,
        *,
        bitrate_bps: int = DEFAULT_BITRATE_BPS,
        quality: int = DEFAULT_JPEG_QUALITY,
        gop: int | None = None,
        now_us: Callable[[], int] | None = None,
    ) -> None:
        _check(codec, fps, bitrate_bps, quality, gop)
        self.width, self.height = check_size((width, height))
        self.content_type = CONTENT_TYPES[codec]
        self._duration_us = round(1e6 / fps)
        self._now_us = now_us
        self._stamps: dict[int, tuple[int, int | None]] = {}
        self._count = 0
        self._codec = _make_encoder(codec, width, height, fps, bitrate_bps, quality, gop)

    def encode(self, picture: Picture, *, force_key: bool = False) -> list[Encoded]:
        """Encode one picture.

        Args:
            picture: Of the announced size.
            force_key: Make it a key picture.

        Returns:
            The objects that are ready: exactly one with the codecs and settings used here.

        Raises:
            MediaError: The picture has another size, or the codec failed.
        """
        shape = (self.height * 3 // 2, self.width)
        if (picture.width, picture.height) != (self.width, self.height) or (
            picture.planes.shape != shape
        ):
            raise MediaError(
                f"A picture of {picture.width}x{picture.height} came into an encoder for"
                f" {self.width}x{self.height}.",
                hint="Fix the size with --size, or start a new track.",
            )
        self._stamps[self._count] = (picture.pts_us, picture.capture_us)
        number, self._count = self._count, self._count + 1
        return self._finish(self._codec.encode(picture.planes, number, force_key))

    def flush(self) -> list[Encoded]:
        """Return the objects still inside; afterwards the encoder is used up."""
        return self._finish(self._codec.flush())

    def _finish(self, ready: list[tuple[bytes, bool, int]]) -> list[Encoded]:
        encode_us = self._now_us() if self._now_us and ready else None
        return [
            Encoded(payload, key, *self._stamps.pop(number), encode_us, self._duration_us)
            for payload, key, number in ready
        ]


class PictureDecoder(Protocol):
    """What a codec does the other way: payload in, (planes, the payload's number) out."""

    waiting: bool

    def decode(self, payload: bytes, number: int) -> list[tuple[Planes, int]]:
        """Decode one payload; none while waiting for a key picture."""
        ...

    def reset(self) -> None:
        """Forget everything and wait for a key picture."""
        ...


class VideoDecoder:
    """Decodes the objects of one track; for one thread.

    Args:
        content_type: As declared by the track; parameters after `;` are ignored.

    Attributes:
        waiting: Whether it waits for a key picture.
        skipped: Objects that were left out because it waited.

    Raises:
        MediaError: That content type cannot be decoded.
        MissingLibrary: The library that decodes it is not there.
    """

    def __init__(self, content_type: str) -> None:
        name = content_type.partition(";")[0].strip().lower()
        self._codec = _make_decoder(name)
        self._stamps: dict[int, tuple[int | None, int]] = {}
        self._count = 0
        self.skipped = 0

    @property
    def waiting(self) -> bool:
        """Whether it waits for a key picture ("waiting for a key frame")."""
        return self._codec.waiting

    def decode(
        self, payload: bytes, *, capture_us: int | None = None, pts_us: int = 0
    ) -> list[Picture]:
        """Decode one object.

        Args:
            payload: Exactly the encoded object.
            capture_us: The object's capture stamp, handed on to its picture.
            pts_us: Presentation time, handed on to its picture.

        Returns:
            Its picture; nothing while waiting for a key picture.

        Raises:
            MediaError: The payload is damaged. The decoder then waits for a key picture.
        """
        number, self._count = self._count, self._count + 1
        self._stamps[number] = (capture_us, pts_us)
        try:
            ready = self._codec.decode(payload, number)
        except MediaError:
            self.reset()
            raise
        if self._codec.waiting:
            self.skipped += 1
            self._stamps.clear()
            return []
        pictures = []
        for planes, of in ready:
            stamps = self._stamps.pop(of, (None, 0))
            height = planes.shape[0] * 2 // 3
            pictures.append(Picture(planes, planes.shape[1], height, *stamps))
        return pictures

    def reset(self) -> None:
        """Wait for the next key picture; call it when objects of the track were lost."""
        self._stamps.clear()
        self._codec.reset()


def _check(codec: str, fps: float, bitrate_bps: int, quality: int, gop: int | None) -> None:
    check_fps(fps)
    if codec not in CONTENT_TYPES:
        raise UsageError(
            f"Codec {codec!r} is not known.", hint=f"Choose one of {', '.join(CONTENT_TYPES)}."
        )
    if not 10_000 <= bitrate_bps <= 1_000_000_000:
        raise UsageError(
            f"{bitrate_bps} bits per second is not possible.", hint="Use 10 kbit/s to 1 Gbit/s."
        )
    if not 1 <= quality <= 100:
        raise UsageError(f"JPEG quality {quality} is not possible.", hint="Use 1 to 100.")
    if gop is not None and gop < 1:
        raise UsageError(f"A group of {gop} pictures is not possible.", hint="Use 1 or more.")


def _make_encoder(
    codec: str, width: int, height: int, fps: float, bitrate_bps: int, quality: int, gop: int | None
) -> PictureEncoder:
    if codec == "jpeg":
        from wtp.media.jpeg import make_jpeg_encoder

        return make_jpeg_encoder(width, height, quality)
    from wtp.media.h264 import H264Encoder

    pictures = gop or max(1, min(MAX_GOP, round(GOP_S * fps)))
    return H264Encoder(width, height, fps, bitrate_bps, pictures)


def _make_decoder(name: str) -> PictureDecoder:
    if name == "video/h264":
        from wtp.media.h264 import H264Decoder

        return H264Decoder()
    if name == "image/jpeg":
        from wtp.media.jpeg import JpegDecoder

        return JpegDecoder()
    raise MediaError(
        f"Objects of type {name!r} cannot be decoded here.",
        hint=f"Known are {', '.join(CONTENT_TYPES.values())}; save the bytes with --raw or --save.",
    )
