"""JPEG: encoded by OpenCV when it can be loaded, by PyAV otherwise; decoded by PyAV."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from wtp.errors import MediaError
from wtp.media.codecs import JPEG_START, Coded
from wtp.media.frames import av_errors, frame_of, planes_of
from wtp.media.libraries import load_av, load_cv2
from wtp.media.picture import Planes, check_pixels, even_size
from wtp.media.times import PictureTimes

END = b"\xff\xd9"
"""End of image (ITU-T T.81 table B.1)."""

WORST_QUALITY = 5
"""Below it a picture cannot be recognised, and hardly gets smaller."""
SIZE_EXPONENT = 0.6
"""Of the search for a quality: the size of a JPEG of live footage falls with about the power 0.7 of
the factor on its tables, that of noise with 1.7; the search swings when the product nears 2."""

_NO_SIZE_MARKERS = frozenset({0xC4, 0xC8, 0xCC})
_DAMAGED = "A JPEG object is damaged"
_DAMAGED_HINT = "It is left out; the next one can be decoded alone."


class JpegRate:
    """Finds the quality that keeps JPEGs at a bit rate; without one it is the quality asked for.

    Args:
        quality: The best one, 1 to 100.
        fps: Nominal pictures per second.

    Attributes:
        quality: Of the next picture.
    """

    def __init__(self, quality: int, fps: float) -> None:
        self.quality = quality
        self._best = quality
        self._bitrate_bps: int | None = None
        self._times = PictureTimes(1e6 / fps)

    def rebitrate(self, bitrate_bps: int) -> None:
        """Keep to a bit rate from now on."""
        self._bitrate_bps = bitrate_bps

    def took(self, size_bytes: int, pts_us: int) -> None:
        """Learn the size of a picture at the present quality."""
        self._times.step(pts_us)
        if self._bitrate_bps is None:
            return
        share = size_bytes * 8 * self._times.fps / self._bitrate_bps
        wanted = quality_of(factor_of(self.quality) * share**SIZE_EXPONENT)
        self.quality = max(min(WORST_QUALITY, self._best), min(self._best, wanted))


class CvJpegEncoder:
    """JPEG by OpenCV.

    Args:
        quality: 1 to 100.
        fps: Nominal pictures per second.

    Attributes:
        name: `opencv`.
    """

    name = "opencv"

    def __init__(self, quality: int, fps: float) -> None:
        self._cv2 = load_cv2()
        self._rate = JpegRate(quality, fps)

    def encode(self, planes: Planes, number: int, pts_us: int, force_key: bool) -> list[Coded]:
        """Encode one picture; each is a key picture."""
        settings = [self._cv2.IMWRITE_JPEG_QUALITY, self._rate.quality]
        try:
            bgr = self._cv2.cvtColor(planes, self._cv2.COLOR_YUV2BGR_I420)
            done, data = self._cv2.imencode(".jpg", bgr, settings)
        except self._cv2.error as error:
            done, data = False, str(error)
        if not done:
            raise MediaError("OpenCV cannot encode a JPEG.", hint="Use --codec h264.")
        payload = data.tobytes()
        self._rate.took(len(payload), pts_us)
        return [(payload, True, number)]

    def rebitrate(self, bitrate_bps: int) -> None:
        """Lower the quality as far as the bit rate needs it."""
        self._rate.rebitrate(bitrate_bps)

    def flush(self) -> list[Coded]:
        """Nothing is ever kept."""
        return []


class AvJpegEncoder:
    """JPEG by PyAV.

    Args:
        width: In pixels, even.
        height: In pixels, even.
        quality: 1 to 100, turned into FFmpeg's quantiser scale.
        fps: Nominal pictures per second.

    Attributes:
        name: `mjpeg`.
    """

    name = "mjpeg"

    def __init__(self, width: int, height: int, quality: int, fps: float) -> None:
        self._av = load_av()
        self._size = (width, height)
        self._rate = JpegRate(quality, fps)
        self._open(quantiser(quality))

    def _open(self, scale: int) -> None:
        context: Any = self._av.CodecContext.create("mjpeg", "w")
        context.width, context.height = self._size
        context.pix_fmt = "yuvj420p"
        context.time_base = Fraction(1, 30)
        context.thread_count = 1
        context.color_range = 2
        context.qmin = context.qmax = scale
        context.options = {"huffman": "default"}
        self._context, self._scale = context, scale

    def encode(self, planes: Planes, number: int, pts_us: int, force_key: bool) -> list[Coded]:
        """Encode one picture; each is a key picture."""
        with av_errors("FFmpeg cannot encode a JPEG", "Use --codec h264."):
            if (scale := quantiser(self._rate.quality)) != self._scale:
                self._open(scale)
            frame = frame_of(planes).reformat(
                format="yuvj420p", src_color_range="MPEG", dst_color_range="JPEG", threads=1
            )
            frame.pts = number
            ready = [(bytes(unit), True, unit.pts) for unit in self._context.encode(frame)]
        for payload, _, _ in ready:
            self._rate.took(len(payload), pts_us)
        return ready

    def rebitrate(self, bitrate_bps: int) -> None:
        """Lower the quality as far as the bit rate needs it."""
        self._rate.rebitrate(bitrate_bps)

    def flush(self) -> list[Coded]:
        """Nothing is ever kept."""
        return []


def factor_of(quality: int) -> float:
    """By what libjpeg multiplies its tables: 50/q below 50 and 2 - q/50 above."""
    return 50 / quality if quality < 50 else 2 - quality / 50


def quality_of(factor: float) -> int:
    """The quality (1 to 100) whose factor comes nearest."""
    quality = 50 / factor if factor > 1 else 50 * (2 - factor)
    return max(1, min(100, round(quality)))


def quantiser(quality: int) -> int:
    """FFmpeg's quantiser scale (2 to 31) that comes near a libjpeg quality (1 to 100).

    Both multiply a base table, FFmpeg by scale/8.
    """
    return max(2, min(31, round(8 * factor_of(quality))))


class JpegDecoder:
    """JPEG by PyAV; never waits, since every JPEG can be decoded alone.

    It takes a fifth longer than OpenCV's, which however calls a damaged picture decoded and writes
    to stderr about it.
    """

    def __init__(self) -> None:
        self._av = load_av()
        self._context: Any = None
        self.waiting = False
        self.reset()

    def decode(self, payload: bytes, number: int) -> list[tuple[Planes, int]]:
        """Decode one JPEG.

        Raises:
            MediaError: It is damaged, cut off or too large.
        """
        check_jpeg(payload)
        unit = self._av.Packet(payload)
        unit.pts = number
        with av_errors(_DAMAGED, _DAMAGED_HINT):
            frames = self._context.decode(unit)
            return [(planes_of(f, *even_size(f.width, f.height)), f.pts) for f in frames]

    def reset(self) -> None:
        """Start with a fresh decoder."""
        self._context = self._av.CodecContext.create("mjpeg", "r")
        self._context.thread_count = 1
        self._context.options = {"err_detect": "explode"}


def check_jpeg(payload: bytes) -> None:
    """Refuse what is no whole JPEG of a sensible size before a decoder allocates for it.

    Raises:
        MediaError: No start, no end, no frame header, or a size that is not handled.
    """
    if not payload.startswith(JPEG_START):
        raise MediaError(
            f"An object of {len(payload)} bytes is no JPEG.",
            hint="Check that the track's content type is what its publisher sends.",
        )
    # Decoders fill a cut-off picture with grey and call it decoded.
    if not payload.rstrip(b"\x00").endswith(END):
        raise MediaError("A JPEG object is cut off.", hint=_DAMAGED_HINT)
    size = jpeg_size(payload)
    if size is None:
        raise MediaError("A JPEG object has no frame header.", hint=_DAMAGED_HINT)
    check_pixels(*size)


def jpeg_size(payload: bytes) -> tuple[int, int] | None:
    """Width and height from the frame header (ITU-T T.81 B.2.2), or None when there is none."""
    at = 2
    while at + 9 <= len(payload) and payload[at] == 0xFF:
        marker = payload[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in _NO_SIZE_MARKERS:
            height = int.from_bytes(payload[at + 5 : at + 7], "big")
            return int.from_bytes(payload[at + 7 : at + 9], "big"), height
        if marker == 0xFF:
            at += 1
            continue
        at += 2 + int.from_bytes(payload[at + 2 : at + 4], "big")
    return None
