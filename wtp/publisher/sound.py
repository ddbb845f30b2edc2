"""Sound of a source to a live track: one thread that listens and encodes, never in the loop's way.

Objects wait for the loop in a bounded queue. When the loop is so slow that it fills, the oldest go
and are counted: each object of sound stands alone, and the newest matters.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from wtp.clock import Clock
from wtp.config.schema import PublishSettings
from wtp.model import Kind
from wtp.publisher.handover import Handover
from wtp.publisher.live import LiveTrack, Unit
from wtp.publisher.pictures import parse_bitrate
from wtp.publisher.session import TrackSpec

if TYPE_CHECKING:
    from wtp.media.sound import SoundSource
    from wtp.media.video import Encoded

HANDOVER = 50
"""Objects that wait for the loop at most: half a second, as a live track lets wait for the peer."""


class SoundFeed:
    """Sound of a source to a live track.

    Args:
        source: Where it comes from; closed with the feed, also when this raises.
        alias: Number of the track.
        name: Name of the track.
        settings: Codec and its parameters.
        clock: Own clock.
        count: Objects after which it ends; 0 for all.

    Raises:
        MediaError: The codec cannot be used.
        UsageError: It cannot be used with this rate, bit rate or number of channels.
    """

    def __init__(
        self,
        source: SoundSource,
        alias: int,
        name: str,
        settings: PublishSettings,
        clock: Clock,
        count: int,
    ) -> None:
        from wtp.media.audio import AudioEncoder
        from wtp.media.level import Level

        try:
            self._encoder = AudioEncoder(
                settings.audio_codec,
                source.rate_hz,
                source.channels,
                bitrate_bps=parse_bitrate(settings.audio_bitrate),
                now_us=clock.now_us,
            )
        except BaseException:
            source.close()
            raise
        spec = TrackSpec(alias, name, Kind.AUDIO, self._encoder.content_type)
        self.track = LiveTrack(spec, clock, lambda: None)
        self._source = source
        self._codec = settings.audio_codec
        self._clock = clock
        self._count = count
        self._level = Level()
        self._stop = threading.Event()
        self._handover = Handover(
            source.name, self._listen, self.stop, self._deliver, most=HANDOVER, alone=True
        )

    async def run(self) -> None:
        """Listen until the source ends or `stop`.

        Raises:
            MediaError: The source or the encoder failed.
        """
        await self._handover.run()

    def stop(self) -> None:
        """End after the block under way."""
        self._stop.set()
        self._source.close()

    def close(self) -> None:
        """Close the source."""
        self.stop()

    def figures(self) -> dict[str, Any]:
        """Source, form, level, and what a microphone says of itself.

        `delay_ms` is what the sound is held back by before it is sent: noise suppression, changes
        of rate, the codec's look-ahead; `denoise_ms` is the first part of it.
        """
        source, encoder = self._source, self._encoder
        held_us = getattr(source, "delay_us", 0) + encoder.delay_us + encoder.conversion_us
        figures: dict[str, Any] = {
            "source": source.name,
            "codec": self._codec,
            "rate": encoder.rate_hz,
            "channels": encoder.channels,
            "level_db": self._level.db,
            "clipped": self._level.clipped,
            "delay_ms": round(held_us / 1000, 1),
        }
        for name in ("state", "denoise", "denoise_ms", "overruns", "overflows", "losses"):
            value = getattr(source, name, None)
            if value is not None:
                figures[name] = value
        return figures

    def _listen(self) -> None:
        left = self._count or -1
        for block in self._source.blocks():
            if self._stop.is_set():
                break
            self._level.add(block.samples, block.duration_us)
            left = self._push(self._encoder.encode(block), left)
            if not left:
                return
        self._push(self._encoder.flush(), left)

    def _push(self, encoded: list[Encoded], left: int) -> int:
        """Hand over, no more than `left` objects (-1: all); returns how many are left."""
        units = [self._unit(one) for one in encoded[: left if left >= 0 else None]]
        self._handover.push(units)
        return left - len(units) if left >= 0 else left

    def _unit(self, one: Encoded) -> Unit:
        now_us = self._clock.now_us() if one.encode_us is None else one.encode_us
        capture_us = now_us if one.capture_us is None else one.capture_us
        return Unit(one.payload, one.key, capture_us, now_us, one.duration_us)

    def _deliver(self, units: Sequence[Unit], lost: int) -> None:
        self.track.lose(lost)
        for unit in units:
            self.track.offer(unit)
