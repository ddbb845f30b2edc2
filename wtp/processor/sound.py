"""Audio objects to samples and back, for user code."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wtp.errors import MediaError
from wtp.media.libraries import load_av

Samples = NDArray[Any]
"""`samples x channels`, int16 or float32 in -1..1."""

OPUS_RATE_HZ = 48_000
_FORMATS = {"s16le": "<i2", "f32le": "<f4"}


class SoundDecoder:
    """Decodes the objects of one audio track.

    Args:
        content_type: `audio/pcm;format=s16le;rate=44100;channels=1` or `audio/opus;...`.

    Attributes:
        rate_hz: Samples a second.

    Raises:
        MediaError: It cannot be decoded, or says too little about itself.
        MissingLibrary: PyAV, which decodes Opus, is not there.
    """

    def __init__(self, content_type: str) -> None:
        self.content_type = content_type
        name, *pairs = [part.strip() for part in content_type.split(";")]
        said = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
        self._channels = _number(content_type, said.get("channels", "1"), 64)
        self.rate_hz = _number(content_type, said.get("rate", str(OPUS_RATE_HZ)), 768_000)
        self._type = _FORMATS.get(said.get("format", "s16le"))
        self._codec: Any = None
        if name == "audio/opus":
            self.rate_hz = OPUS_RATE_HZ
            self._codec = load_av().CodecContext.create("opus", "r")
            self._codec.sample_rate = OPUS_RATE_HZ
            self._codec.layout = "stereo" if self._channels == 2 else "mono"
        elif name != "audio/pcm" or self._type is None:
            raise MediaError(
                f"Sound of type {content_type!r} cannot be decoded here.",
                hint="Known are audio/opus and audio/pcm with format s16le or f32le.",
            )

    def decode(self, payload: bytes) -> Samples:
        """Samples of one object.

        Raises:
            MediaError: It is damaged.
        """
        if self._codec is not None:
            return self._opus(payload)
        size_bytes = self._channels * np.dtype(self._type).itemsize
        if len(payload) % size_bytes:
            raise MediaError(
                f"An audio object of {len(payload)} bytes is no whole number of samples.",
                hint="Check that the track's content type is what its publisher sends.",
            )
        samples: Samples = np.frombuffer(payload, self._type)
        return samples.reshape(-1, self._channels)

    def _opus(self, payload: bytes) -> Samples:
        av = load_av()
        try:
            frames = self._codec.decode(av.Packet(payload))
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise MediaError(
                f"An Opus object is damaged: {error}.", hint="It is left out."
            ) from error
        parts = [frame.to_ndarray().T for frame in frames]
        if not parts:
            return np.zeros((0, self._channels), np.float32)
        return np.ascontiguousarray(np.concatenate(parts), dtype=np.float32)


def encode_pcm(samples: Samples, rate_hz: int) -> tuple[bytes, str]:
    """Samples as 16-bit PCM: the payload and its content type.

    Args:
        samples: int16, or floats in -1..1, which are clipped; one row per instant.
        rate_hz: Samples a second.
    """
    rows = samples.reshape(len(samples), -1)
    if rows.dtype != np.int16:
        rows = np.rint(np.clip(rows, -1.0, 1.0) * 32767).astype("<i2")
    content_type = f"audio/pcm;format=s16le;rate={rate_hz};channels={rows.shape[1]}"
    return np.ascontiguousarray(rows, "<i2").tobytes(), content_type


def _number(content_type: str, text: str, most: int) -> int:
    if text.isascii() and text.isdigit() and 1 <= int(text[:12]) <= most:
        return int(text)
    raise MediaError(
        f"{content_type[:100]!r} says {text[:20]!r} where a number is due.",
        hint="Write audio/pcm;format=s16le;rate=48000;channels=1.",
    )
