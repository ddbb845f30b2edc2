"""Encoding sound to objects and decoding them: one class each way, whatever the codec.

Opus goes through libopus of PyAV with `application=lowdelay`: objects of 10 ms, with 2.5 ms
of look-ahead. PCM is the samples themselves, signed 16 bits, little endian, channels interleaved,
at any rate. AAC (ADTS) is only decoded: `--copy` brings it from files.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from wtp.errors import MediaError, UsageError
from wtp.media.audiocodecs import (
    DECODERS,
    OPUS_HZ,
    OPUS_LOOKAHEAD,
    SENDER,
    Encoder,
    OpusEncoder,
    Pcm,
)
from wtp.media.concealment import Concealment
from wtp.media.cutting import Cutter, Piece
from wtp.media.sound import MAX_CHANNELS, MAX_RATE_HZ, Block, Samples, SoundFormat
from wtp.media.video import Encoded

CODECS = ("opus", "pcm")
"""Codecs that can be encoded."""
OPUS_FRAMES_MS = (5, 10, 20, 40, 60)
DEFAULT_BITRATE_BPS = 64_000
FRAME_MS = 10

_log = logging.getLogger(__name__)


class AudioEncoder:
    """Encodes the sound of one track; for one thread.

    Args:
        codec: `opus` or `pcm`.
        rate_hz: Of the blocks that come in. Opus objects are 48 kHz whatever comes in: other rates
            are resampled, which the log says once.
        channels: Of the blocks: 1 or 2 for Opus, up to 8 for PCM.
        bitrate_bps: Target of Opus, bits per second.
        frame_ms: Length of an object in ms.
        now_us: Clock for the encode stamp.

    Attributes:
        content_type: What the objects are to be declared as.
        rate_hz: Of the objects.
        channels: Of the objects.
        conversion_us: What resampling holds back: nothing, or one object.
        delay_us: Look-ahead of the codec. It is taken off the stamps already: the first sample that
            a decoder makes of an object was captured at the object's `capture_us`.

    Raises:
        UsageError: An argument makes no sense.
        MissingLibrary: The codec is not there.
    """

    def __init__(
        self,
        codec: str,
        rate_hz: int,
        channels: int,
        *,
        bitrate_bps: int = DEFAULT_BITRATE_BPS,
        frame_ms: int = FRAME_MS,
        now_us: Callable[[], int] | None = None,
    ) -> None:
        _check(codec, rate_hz, channels, bitrate_bps, frame_ms)
        self.rate_hz = OPUS_HZ if codec == "opus" else rate_hz
        self.channels = channels
        self.content_type = str(SoundFormat(codec, self.rate_hz, channels))
        self._size = round(self.rate_hz * frame_ms / 1000)
        self._duration_us = round(self._size * 1e6 / self.rate_hz)
        self._now_us = now_us
        self.delay_us = 0
        self._codec: Encoder = Pcm(self.rate_hz, channels)
        if codec == "opus":
            self._codec = OpusEncoder(channels, bitrate_bps, frame_ms)
            self.delay_us = OPUS_LOOKAHEAD * 1_000_000 // OPUS_HZ
        self.conversion_us = self._duration_us if rate_hz != self.rate_hz else 0
        if self.conversion_us:
            _log.info("Opus carries %d Hz: sound of %d Hz is resampled.", self.rate_hz, rate_hz)
        self._cutter = Cutter(rate_hz, self.rate_hz, channels, self._size, hold_us=self.delay_us)

    def encode(self, block: Block) -> list[Encoded]:
        """Encode a block of any length.

        Returns:
            The objects that are ready, in order; may be none. Each stands alone (`key`).

        Raises:
            MediaError: The block has another rate or number of channels, or the codec failed.
        """
        return self._encode(self._cutter.push(block))

    def flush(self) -> list[Encoded]:
        """Return what is still inside, the last object filled up with silence."""
        return self._encode(self._cutter.flush())

    def _encode(self, pieces: Iterable[Piece]) -> list[Encoded]:
        done = []
        for piece in pieces:
            payload = self._codec.encode(piece.samples)
            encode_us = self._now_us() if self._now_us else None
            done.append(
                Encoded(payload, True, piece.pts_us, piece.capture_us, encode_us, self._duration_us)
            )
        return done


class AudioDecoder:
    """Decodes the objects of one track; for one thread.

    Args:
        content_type: As declared by the track: Opus, PCM, or AAC (ADTS).

    Attributes:
        rate_hz: Of what it returns.
        channels: Of what it returns.

    Raises:
        MediaError: That content type cannot be decoded.
        MissingLibrary: The library that decodes it is not there.
    """

    def __init__(self, content_type: str) -> None:
        form = SoundFormat.parse(content_type)
        if form.codec not in DECODERS or (form.codec == "opus" and form.channels > 2):
            raise MediaError(
                f"Objects of type {content_type[:80]!r} cannot be decoded here.",
                hint="Known are audio/opus (1 or 2 channels), audio/pcm;format=s16le and audio/aac;"
                " save the bytes with --raw or --save.",
            )
        self.rate_hz = OPUS_HZ if form.codec == "opus" else form.rate_hz
        self.channels = form.channels
        self._codec = DECODERS[form.codec](self.rate_hz, self.channels)
        self._concealment = Concealment(self.rate_hz, self.channels)

    def decode(self, payload: bytes) -> Samples:
        """Decode one object.

        Returns:
            Its samples, `n` x channels; `n` may be 0 for the first objects of AAC.

        Raises:
            MediaError: The payload is damaged. Call `conceal` for what it would have lasted.
        """
        if not payload:
            raise MediaError("An object of no bytes is no sound.", hint=SENDER)
        try:
            samples = self._codec.decode(payload)
        except MediaError:
            self._codec.reset()
            raise
        return self._concealment.heard(samples)

    def conceal(self, count: int) -> Samples:
        """Make up `count` samples of each channel in place of an object that is missing."""
        return self._concealment.make(count)

    def reset(self) -> None:
        """Forget what came before; call it when the sound goes on elsewhere."""
        self._codec.reset()
        self._concealment.reset()


def _check(codec: str, rate_hz: int, channels: int, bitrate_bps: int, frame_ms: int) -> None:
    if codec not in CODECS:
        raise UsageError(
            f"Audio codec {codec!r} is not known.", hint=f"Choose one of {', '.join(CODECS)}."
        )
    most = 2 if codec == "opus" else MAX_CHANNELS
    if not 1 <= channels <= most:
        raise UsageError(
            f"{channels} channels of {codec} are not possible.", hint=f"Use 1 to {most} channels."
        )
    if not 4000 <= rate_hz <= MAX_RATE_HZ:
        raise UsageError(
            f"{rate_hz} samples a second are not possible.", hint=f"Use 4000 to {MAX_RATE_HZ}."
        )
    if codec == "opus" and not 6000 <= bitrate_bps <= 510_000:
        raise UsageError(
            f"{bitrate_bps} bits per second are not possible with Opus.",
            hint="Use --audio-bitrate 6k to 510k.",
        )
    if frame_ms not in OPUS_FRAMES_MS:
        raise UsageError(
            f"Objects of {frame_ms} ms are not possible.",
            hint=f"Use one of {', '.join(map(str, OPUS_FRAMES_MS))}.",
        )
