"""How units of a container become objects that stand alone: start codes, parameters, headers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from wtp.errors import MediaError
from wtp.media.av1 import SEQUENCE_HEADER, is_key_unit, units, with_delimiter
from wtp.media.container import OTHER_CODEC
from wtp.media.frames import av_errors
from wtp.media.h264 import SLICE_IDR, SPS, nal_types
from wtp.media.libraries import load_av

AVCC_VERSION, AV1C_MARKER = 1, 0x81
"""First byte of the configuration record of H.264 (ISO/IEC 14496-15) and of AV1 in ISO media."""
AV1C_BYTES = 4
"""Length of the AV1 record's head; its OBUs follow."""

ADTS_SYNC = 0xFFF
ADTS_BYTES = 7
ADTS_MAX_BYTES = (1 << 13) - 1
"""Longest ADTS frame: its length has 13 bits (ISO/IEC 14496-3, 1.A.2.2)."""
AAC_RATES_HZ = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000,
                7350)  # fmt: skip
"""Sampling frequency indexes (ISO/IEC 14496-3 table 1.18)."""
AAC_LC, SBR, PS = 2, 5, 29
"""Audio object types (ISO/IEC 14496-3 table 1.17)."""


class Framing:
    """Hands units on as they are.

    Attributes:
        reordered: Whether pictures may come in another order than they are shown.
    """

    reordered = False

    def frame(self, unit: Any) -> bytes:
        """The object's payload.

        Raises:
            MediaError: The unit is damaged.
        """
        return bytes(unit)


class Filtered(Framing):
    """Sends units through one of FFmpeg's bitstream filters."""

    def __init__(self, name: str, stream: Any) -> None:
        self._filter = load_av().bitstream.BitStreamFilterContext(name, stream)

    def frame(self, unit: Any) -> bytes:
        """The filter's output."""
        with av_errors("An encoded unit is damaged", "Check the source, or leave out --copy."):
            return b"".join(bytes(out) for out in self._filter.filter(unit))


class H264Framing(Framing):
    """Annex B, with the parameter sets in every IDR access unit."""

    def __init__(self, stream: Any) -> None:
        extra = bytes(stream.codec_context.extradata or b"")
        packed = extra[:1] == bytes([AVCC_VERSION])
        self._convert = Filtered("h264_mp4toannexb", stream) if packed else Framing()
        self._parameters = b"" if packed else extra
        self.reordered = bool(stream.codec_context.has_b_frames)

    def frame(self, unit: Any) -> bytes:
        """The access unit."""
        payload = self._convert.frame(unit)
        types = list(nal_types(payload))
        if SLICE_IDR not in types:
            return payload
        if SPS in types:
            if not self._parameters:
                self._parameters = parameter_sets(payload)
            return payload
        return self._parameters + payload


class Av1Framing(Framing):
    """Temporal units with a delimiter, and a sequence header in every key picture."""

    def __init__(self, stream: Any) -> None:
        extra = bytes(stream.codec_context.extradata or b"")
        self._header = extra[AV1C_BYTES:] if extra[:1] == bytes([AV1C_MARKER]) else extra

    def frame(self, unit: Any) -> bytes:
        """The temporal unit."""
        payload = bytes(unit)
        if not any(kind == SEQUENCE_HEADER for kind, _ in units(payload)):
            whole = with_delimiter(self._header + payload)
            payload = whole if self._header and is_key_unit(whole) else payload
        return with_delimiter(payload)


@dataclass
class AdtsFraming(Framing):
    """AAC with an ADTS header before each unit, unless it has one.

    Args:
        config: AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2.1); empty for units with headers.
    """

    config: bytes
    _head: tuple[int, int, int] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        if self.config:
            self._head = _adts_fields(self.config)

    def frame(self, unit: Any) -> bytes:
        """The ADTS frame."""
        payload = bytes(unit)
        if self._head is None or (payload[:1] == b"\xff" and payload[1:2] >= b"\xf0"
                                  and _adts_length(payload) == len(payload)):  # fmt: skip
            return payload
        length = ADTS_BYTES + len(payload)
        if length > ADTS_MAX_BYTES:
            raise MediaError("An AAC unit is too long for ADTS.", hint="Leave out --copy.")
        profile, rate, channels = self._head
        bits = ADTS_SYNC << 44 | 1 << 40  # MPEG-4, layer 0, no checksum
        bits |= profile << 38 | rate << 34 | channels << 30
        bits |= length << 13 | 0x7FF << 2  # any buffer fullness, one block
        return bits.to_bytes(ADTS_BYTES, "big") + payload


def video_framing(codec: str, stream: Any) -> Framing:
    """How the pictures of a stream become objects; `codec` as in `--codec`."""
    if codec == "h264":
        return H264Framing(stream)
    if codec == "av1":
        return Av1Framing(stream)
    if codec == "jpeg":
        return Filtered("mjpeg2jpeg", stream)
    return Framing()


def audio_framing(codec: str, stream: Any) -> Framing:
    """How the sound of a stream becomes objects; `codec` as in content types."""
    if codec == "aac":
        return AdtsFraming(bytes(stream.codec_context.extradata or b""))
    return Framing()


def refuse_codec(codec: str, name: str, allowed: str, more: str) -> MediaError:
    """The error for a codec that cannot be sent as it is."""
    return MediaError(
        f"{codec} of {name} cannot be sent as it is.",
        hint=f"--copy takes {allowed}. Leave out --copy, then it is encoded here{more}.",
        code=OTHER_CODEC,
    )


def parameter_sets(payload: bytes) -> bytes:
    """What stands before the first slice of an Annex B access unit."""
    at = payload.find(b"\x00\x00\x01")
    while 0 <= at < len(payload) - 3:
        if payload[at + 3] & 0x1F in (1, SLICE_IDR):
            return payload[:at].rstrip(b"\x00")
        at = payload.find(b"\x00\x00\x01", at + 3)
    return b""


def _adts_length(payload: bytes) -> int:
    return int.from_bytes(payload[3:6], "big") >> 5 & ADTS_MAX_BYTES


def _adts_fields(config: bytes) -> tuple[int, int, int]:
    """Profile, sampling frequency index and channel configuration of an AudioSpecificConfig.

    Raises:
        MediaError: ADTS cannot say it.
    """
    bits = int.from_bytes(config[:8].ljust(8, b"\x00"), "big")
    kind, rate, channels = bits >> 59, bits >> 55 & 0xF, bits >> 51 & 0xF
    if kind in (SBR, PS) and rate < len(AAC_RATES_HZ):
        kind = AAC_LC  # what decoders without the extension play, at the lower rate
    if not 1 <= kind <= 4 or rate >= len(AAC_RATES_HZ) or not 1 <= channels <= 7:
        raise MediaError(
            f"AAC of object type {kind} and {channels} channels cannot be sent as it is.",
            hint="Leave out --copy, then it is encoded here, or --no-sound.",
        )
    return kind - 1, rate, channels
