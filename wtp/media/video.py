"""Encoding pictures to objects and decoding them: one class each way, whatever the codec."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from wtp.errors import MediaError, UsageError
from wtp.media.codecs import CODECS, CONTENT_TYPES, Coded, PictureDecoder, codec_of
from wtp.media.encoders import open_encoder
from wtp.media.picture import Picture, check_size
from wtp.media.source import check_fps
from wtp.media.times import Inside
from wtp.media.tuning import Target

DEFAULT_BITRATE_BPS = 2_500_000
DEFAULT_JPEG_QUALITY = 70
MAX_GOP = 60
GOP_S = 2.0
MIN_BITRATE_BPS, MAX_BITRATE_BPS = 10_000, 1_000_000_000


@dataclass(frozen=True, slots=True)
class Encoded:
    """One encoded picture.

    Attributes:
        payload: The bytes, in the form that `wtp.media.codecs` tells.
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


class VideoEncoder:
    """Encodes the pictures of one track; for one thread.

    Args:
        codec: `h264`, `vp8`, `vp9`, `av1` or `jpeg`.
        width: In pixels, even.
        height: In pixels, even.
        fps: Nominal pictures per second.
        encoder: Name of the encoder; `auto` takes hardware that works here, then software.
        bitrate_bps: Target of all but JPEG, bits per second.
        quality: Of JPEG, 1 to 100.
        gop: Pictures from key to key; None takes two seconds, 60 at most.
        now_us: Clock for the encode stamp.

    Attributes:
        content_type: What the objects are to be declared as.
        encoder: Name of the encoder that is used.

    Raises:
        UsageError: An argument makes no sense.
        MediaError: The encoder asked for does not work here.
        MissingLibrary: The codec is not there.
    """

    def __init__(
        self,
        codec: str,
        width: int,
        height: int,
        fps: float,
        *,
        encoder: str = "auto",
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
        self._stamps: Inside[tuple[int, int | None]] = Inside()
        self._count = 0
        pictures = gop or max(1, min(MAX_GOP, round(GOP_S * fps)))
        target = Target(width, height, fps, bitrate_bps, pictures)
        self._codec = open_encoder(CODECS[codec], encoder, target, quality)

    @property
    def encoder(self) -> str:
        """Name of the encoder that is used."""
        return self._codec.name

    def rebitrate(self, bitrate_bps: int) -> None:
        """Change the bit rate from the next picture on; from any thread.

        JPEGs have no bit rate before this is called; afterwards their quality goes down as far as
        the rate needs it, and up to the one asked for. An encoder that cannot change while it runs
        begins anew with a key picture: for a lower rate at once, though once a second at most, for
        a higher one at the next key picture.

        Args:
            bitrate_bps: Bits per second, 10 kbit/s to 1 Gbit/s.

        Raises:
            UsageError: The bit rate is not possible.
        """
        _check_bitrate(bitrate_bps)
        self._codec.rebitrate(bitrate_bps)

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
        self._stamps.put(self._count, (picture.pts_us, picture.capture_us))
        number, self._count = self._count, self._count + 1
        return self._finish(self._codec.encode(picture.planes, number, picture.pts_us, force_key))

    def flush(self) -> list[Encoded]:
        """Return the objects still inside; afterwards the encoder is used up."""
        return self._finish(self._codec.flush())

    def _finish(self, ready: list[Coded]) -> list[Encoded]:
        encode_us = self._now_us() if self._now_us and ready else None
        return [
            Encoded(payload, key, *stamps, encode_us, self._duration_us)
            for payload, key, number in ready
            if (stamps := self._stamps.take(number)) is not None
        ]


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
        self._stamps: Inside[tuple[int | None, int]] = Inside()
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
        self._stamps.put(number, (capture_us, pts_us))
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
            stamps = self._stamps.take(of) or (None, 0)
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
    _check_bitrate(bitrate_bps)
    if not 1 <= quality <= 100:
        raise UsageError(f"JPEG quality {quality} is not possible.", hint="Use 1 to 100.")
    if gop is not None and gop < 1:
        raise UsageError(f"A group of {gop} pictures is not possible.", hint="Use 1 or more.")


def _check_bitrate(bitrate_bps: int) -> None:
    if not MIN_BITRATE_BPS <= bitrate_bps <= MAX_BITRATE_BPS:
        raise UsageError(
            f"{bitrate_bps} bits per second is not possible.", hint="Use 10 kbit/s to 1 Gbit/s."
        )


def _make_decoder(name: str) -> PictureDecoder:
    codec = codec_of(name)
    if codec is None:
        raise MediaError(
            f"Objects of type {name[:80]!r} cannot be decoded here.",
            hint=f"Known are {', '.join(CONTENT_TYPES.values())}; save the bytes with --raw or"
            " --save.",
        )
    if codec.name == "jpeg":
        from wtp.media.jpeg import JpegDecoder

        return JpegDecoder()
    from wtp.media.avdecoder import AvDecoder

    return AvDecoder(codec)
