"""What each picture codec costs and gives: times both ways, sizes and closeness to the original.

Each codec encodes and decodes the same pictures: those of the test pattern with the noise of a
sensor over it, drawn before anything is timed, at the rate that live video would have. Codecs take
turns, some pictures each, so that a busy moment of the machine falls on all of them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wtp.media.picture import Picture, Planes
    from wtp.media.video import VideoDecoder, VideoEncoder

NOISE_SIGMA = 3.0
"""Standard deviation of the noise in luma steps, about that of a web camera in a room."""

NOISES = 16
"""Different fields of noise; more would only take time to draw."""

TURN = 15
"""Pictures of a codec before the next one has its turn."""

WARM = 5
"""First pictures of a codec that are not timed: tables and threads are made in them."""

MAX_PSNR_DB = 100.0
"""Given for pictures that are the same, whose ratio has no end."""


@dataclass(frozen=True, slots=True)
class CodecRow:
    """One codec's figures.

    Attributes:
        codec: `h264`, ...
        encoder: Name of the encoder.
        pictures: How many were encoded.
        encode_p50_ms: Median time to encode one.
        encode_p99_ms: 99th percentile of it.
        decode_p50_ms: Median time to decode one.
        decode_p99_ms: 99th percentile of it.
        median_bytes: Median size of an object.
        key_bytes: Median size of a key picture.
        bitrate_bps: All bits over the pictures' time.
        psnr_db: Of all samples of all pictures against what went in, in dB.
        problem: Why there are no figures; empty when there are.
    """

    codec: str
    encoder: str = ""
    pictures: int = 0
    encode_p50_ms: float | None = None
    encode_p99_ms: float | None = None
    decode_p50_ms: float | None = None
    decode_p99_ms: float | None = None
    median_bytes: int | None = None
    key_bytes: int | None = None
    bitrate_bps: int | None = None
    psnr_db: float | None = None
    problem: str = ""


def measure_codecs(
    codecs: Sequence[str],
    size: tuple[int, int] = (640, 480),
    fps: float = 30.0,
    pictures: int = 150,
    *,
    encoder: str = "auto",
    bitrate_bps: int = 2_500_000,
    quality: int = 70,
    gop: int = 60,
) -> list[CodecRow]:
    """Encode and decode the same pictures with each codec. Blocks: run it in a thread.

    Args:
        codecs: Names, in the order of the rows.
        size: Width and height in pixels.
        fps: Pictures per second; decides the bits of each.
        pictures: How many each codec gets.
        encoder: Name of one, or `auto`.
        bitrate_bps: Of all but JPEG.
        quality: Of JPEG, 1 to 100.
        gop: Pictures from key to key.

    Returns:
        A row per codec; one that does not work here has its `problem`.

    Raises:
        UsageError: Size or rates make no sense.
    """
    from wtp.errors import MediaError
    from wtp.media.video import VideoDecoder, VideoEncoder

    originals = list(_pictures(size, fps, pictures))
    runs: list[_Run] = []
    rows: dict[int, CodecRow] = {}
    for at, codec in enumerate(codecs):
        try:
            coder = VideoEncoder(
                codec,
                *size,
                fps,
                encoder=encoder,
                bitrate_bps=bitrate_bps,
                quality=quality,
                gop=gop,
            )
            runs.append(_Run(at, codec, coder, VideoDecoder(coder.content_type)))
        except MediaError as error:
            rows[at] = CodecRow(codec, problem=error.message)
    for start in range(0, len(originals), TURN):
        for run in runs:
            for picture in originals[start : start + TURN]:
                run.take(picture)
    rows |= {run.at: run.row(fps) for run in runs}
    return [rows[at] for at in sorted(rows)]


def _pictures(size: tuple[int, int], fps: float, count: int) -> Iterator[Picture]:
    import numpy as np

    from wtp.media.picture import Picture
    from wtp.media.testsrc import Pattern

    pattern, rng = Pattern(*size), np.random.default_rng(1)
    width, height = size
    shape = (height * 3 // 2, width)
    noises = [np.rint(rng.normal(0, NOISE_SIGMA, shape)).astype(np.int16) for _ in range(NOISES)]
    for number in range(count):
        at_us = round(number * 1e6 / fps)
        drawn = pattern.draw(at_us) + noises[number % NOISES]
        planes: Planes = np.clip(drawn, 16, 235).astype(np.uint8)
        yield Picture(planes, width, height, at_us, at_us)


@dataclass(slots=True)
class _Run:
    """One codec at work."""

    at: int
    codec: str
    encoder: VideoEncoder
    decoder: VideoDecoder
    encode_ms: list[float] = field(default_factory=list)
    decode_ms: list[float] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    keys: list[int] = field(default_factory=list)
    squares: float = 0.0
    samples: int = 0

    def take(self, picture: Picture) -> None:
        """Encode and decode a picture."""
        import numpy as np

        began = time.perf_counter()
        objects = self.encoder.encode(picture)
        self.encode_ms.append((time.perf_counter() - began) * 1e3)
        for one in objects:
            self.sizes.append(len(one.payload))
            if one.key:
                self.keys.append(len(one.payload))
            began = time.perf_counter()
            shown = self.decoder.decode(one.payload)
            self.decode_ms.append((time.perf_counter() - began) * 1e3)
            for other in shown:
                error = other.planes.astype(np.int16) - picture.planes
                self.squares += float(np.square(error, dtype=np.int32).sum())
                self.samples += error.size

    def row(self, fps: float) -> CodecRow:
        """The figures."""
        encode, decode = self.encode_ms[WARM:], self.decode_ms[WARM:]
        return CodecRow(
            self.codec,
            self.encoder.encoder,
            len(self.encode_ms),
            _percentile(encode, 50),
            _percentile(encode, 99),
            _percentile(decode, 50),
            _percentile(decode, 99),
            round(_percentile(self.sizes, 50) or 0) or None,
            round(_percentile(self.keys, 50) or 0) or None,
            round(sum(self.sizes) * 8 * fps / len(self.sizes)) if self.sizes else None,
            psnr_db(self.squares, self.samples),
        )


def psnr_db(squares: float, samples: int) -> float | None:
    """Peak signal-to-noise ratio of 8-bit samples in dB, from the sum of their squared errors."""
    if not samples:
        return None
    if not squares:
        return MAX_PSNR_DB
    return round(min(MAX_PSNR_DB, 10 * math.log10(255**2 * samples / squares)), 2)


def _percentile(values: Sequence[float], share: float) -> float | None:
    import numpy as np

    return round(float(np.percentile(values, share)), 3) if values else None
