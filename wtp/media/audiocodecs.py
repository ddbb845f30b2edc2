"""The sound codecs behind `wtp.media.audio`: one object in or out, no times."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any, Protocol

import numpy as np

from wtp.errors import MediaError, MissingLibrary
from wtp.media.cutting import LAYOUTS, samples_of, sound_frame
from wtp.media.frames import av_errors
from wtp.media.libraries import load_av
from wtp.media.sound import Samples

OPUS_HZ = 48_000
"""Rate that Opus objects are made and decoded at (RFC 6716, section 2.1.3: fullband)."""
OPUS_LOOKAHEAD = 120
"""Samples at 48 kHz that libopus holds with `application=lowdelay`: 2.5 ms (RFC 6716, 2.1.7)."""

SENDER = "Check the publisher of this track: its objects are damaged."


class Encoder(Protocol):
    """What a codec does one way."""

    def encode(self, samples: Samples) -> bytes:
        """The samples of one object in, its bytes out."""
        ...


class Decoder(Protocol):
    """What a codec does the other way."""

    def decode(self, payload: bytes) -> Samples:
        """One object in, its samples out."""
        ...

    def reset(self) -> None:
        """Forget what came before."""
        ...


class Pcm:
    """PCM both ways: the bytes are the samples."""

    def __init__(self, rate_hz: int, channels: int) -> None:
        del rate_hz
        self._channels = channels

    def encode(self, samples: Samples) -> bytes:
        """The samples as bytes."""
        return samples.astype("<i2", copy=False).tobytes()

    def decode(self, payload: bytes) -> Samples:
        """The bytes as samples."""
        whole = 2 * self._channels
        if len(payload) % whole:
            raise MediaError(
                f"{len(payload)} bytes are no whole samples of {self._channels} channels.",
                hint=SENDER,
            )
        samples = np.frombuffer(payload, "<i2").astype(np.int16, copy=False)
        return samples.reshape(-1, self._channels)

    def reset(self) -> None:
        """It remembers nothing."""


class OpusEncoder:
    """libopus for one object after the other."""

    def __init__(self, channels: int, bitrate_bps: int, frame_ms: int) -> None:
        av = load_av()
        try:
            context = av.CodecContext.create("libopus", "w")
        except (av.error.FFmpegError, ValueError) as error:
            raise MissingLibrary(
                "This build of PyAV has no libopus.",
                hint="Use --audio-codec pcm, or pip install av (its wheels have it).",
            ) from error
        context.sample_rate = OPUS_HZ
        context.format = "s16"
        context.layout = LAYOUTS[channels]
        context.bit_rate = bitrate_bps
        context.time_base = Fraction(1, OPUS_HZ)
        context.options = {"application": "lowdelay", "frame_duration": str(frame_ms)}
        with av_errors("Opus cannot be encoded", "Use another --audio-bitrate, or pcm."):
            context.open()
        self._context = context
        self._time_base = Fraction(1, OPUS_HZ)
        self._count = 0

    def encode(self, samples: Samples) -> bytes:
        """One object of as many samples as were agreed."""
        frame = sound_frame(samples, OPUS_HZ)
        frame.pts = self._count
        frame.time_base = self._time_base
        self._count += len(samples)
        with av_errors("The sound could not be encoded", "Use --audio-codec pcm."):
            payload = b"".join(bytes(packet) for packet in self._context.encode(frame))
        if not payload:
            raise MediaError("libopus made no object of its sound.", hint="Use --audio-codec pcm.")
        return payload


class _AvDecoder:
    """A decoder of FFmpeg, with what comes out brought to the announced rate and channels."""

    names: tuple[str, ...] = ()

    def __init__(self, rate_hz: int, channels: int) -> None:
        self._av = load_av()
        self._rate_hz, self._channels = rate_hz, channels
        self._conform: tuple[Any, Any] = (None, None)
        self._context = self._open()

    def decode(self, payload: bytes) -> Samples:
        with av_errors("The sound cannot be decoded", SENDER):
            frames = self._context.decode(self._av.Packet(payload))
        parts = [self._samples(frame) for frame in frames if frame.samples]
        return np.concatenate(parts) if parts else np.zeros((0, self._channels), np.int16)

    def reset(self) -> None:
        self._context = self._open()
        self._conform = (None, None)

    def _open(self) -> Any:
        for name in self.names:
            try:
                context = self._av.CodecContext.create(name, "r")
                context.sample_rate = self._rate_hz
                context.layout = LAYOUTS[self._channels]
                context.open()
            except (self._av.error.FFmpegError, ValueError):
                continue
            return context
        raise MissingLibrary(
            f"This build of PyAV has no decoder {self.names[0]}.",
            hint="pip install av (its wheels have it).",
        )

    def _samples(self, frame: Any) -> Samples:
        form = (frame.format.name, frame.layout.name, frame.sample_rate)
        layout = LAYOUTS[self._channels]
        if form == ("s16", layout, self._rate_hz):
            return samples_of(frame, self._channels)
        if self._conform[0] != form:
            resampler = self._av.AudioResampler(format="s16", layout=layout, rate=self._rate_hz)
            self._conform = (form, resampler)
        frame.pts = None
        with av_errors("The sound cannot be converted", SENDER):
            parts = [samples_of(out, self._channels) for out in self._conform[1].resample(frame)]
        return np.concatenate(parts) if parts else np.zeros((0, self._channels), np.int16)


class _OpusDecoder(_AvDecoder):
    names = ("libopus", "opus")


class _AacDecoder(_AvDecoder):
    names = ("aac",)


DECODERS: dict[str, Callable[[int, int], Decoder]] = {
    "opus": _OpusDecoder,
    "pcm": Pcm,
    "aac": _AacDecoder,
}
