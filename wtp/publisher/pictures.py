"""Pictures of a source to a live track."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from wtp.clock import Clock
from wtp.config.schema import PublishSettings
from wtp.model import Kind
from wtp.publisher.capture import Capture
from wtp.publisher.live import LiveTrack, Steering, Unit
from wtp.publisher.session import TrackSpec

if TYPE_CHECKING:
    from wtp.media.source import Source

_UNITS = {"k": 1e3, "M": 1e6}

LEAST_BPS = 10_000
"""What an encoder may be asked for."""
ROOM = 1.2
"""Pictures whose size nobody sets may become larger by so much before it counts as congestion."""


class VideoFeed:
    """Pictures of a source to a live track.

    Args:
        source: Where they come from; closed with the feed, also when this raises.
        alias: Number of the track.
        name: Name of the track.
        kind: `video` or `screen`.
        settings: Codec and its parameters.
        clock: Own clock.
        count: Pictures after which it ends; 0 for all.

    Raises:
        MediaError: The codec cannot be used.
    """

    def __init__(
        self,
        source: Source,
        alias: int,
        name: str,
        kind: Kind,
        settings: PublishSettings,
        clock: Clock,
        count: int,
    ) -> None:
        from wtp.media.video import VideoEncoder

        try:
            encoder = VideoEncoder(
                settings.codec,
                source.width,
                source.height,
                source.fps,
                bitrate_bps=parse_bitrate(settings.bitrate),
                quality=settings.quality,
                gop=settings.gop,
                encoder=settings.encoder,
                now_us=clock.now_us,
            )
        except BaseException:
            source.close()
            raise
        self._capture = Capture(source, encoder, clock.now_us, self._deliver, count=count)
        spec = TrackSpec(alias, name, kind, encoder.content_type)
        self.track = LiveTrack(spec, clock, self._capture.force_key)
        self._encoder = encoder
        self._sized = settings.codec != "jpeg"
        if settings.adapt:
            ceiling_bps = parse_bitrate(settings.bitrate)
            floor_bps = min(parse_bitrate(settings.min_bitrate), ceiling_bps)
            self.track.steering = Steering(ceiling_bps, floor_bps, self._follow)

    async def run(self) -> None:
        """Capture until the source ends."""
        await self._capture.run()

    def stop(self) -> None:
        """End after the picture under way."""
        self._capture.stop()

    def close(self) -> None:
        """Close the source."""
        self._capture.stop()

    def figures(self) -> dict[str, Any]:
        """Source, size, and what encoding the last picture took."""
        source = self._capture.source
        return {
            "source": source.name,
            "size": f"{source.width}x{source.height}",
            "source_fps": round(source.fps, 3),
            "encoder": self._encoder.encoder,
            "encode_ms": round(self._capture.encode_us / 1000, 3),
        }

    def _deliver(self, units: Sequence[Unit], lost: int) -> None:
        self.track.lose(lost)
        for unit in units:
            self.track.offer(unit)
        steering = self.track.steering
        if steering is not None and not self._sized and not steering.reason:
            steering.ceiling_bps = max(steering.ceiling_bps, round(ROOM * self.track.bitrate_bps))

    def _follow(self, bitrate_bps: int, every_nth: int) -> None:
        """The encoder divides its rate by the pictures it gets; here fewer are to need less."""
        self._capture.follow(max(LEAST_BPS, bitrate_bps // every_nth), every_nth)


def parse_bitrate(text: str) -> int:
    """`2.5M`, `800k` or a number of bit/s as bit/s (the settings check the form)."""
    return round(float(text.rstrip("kM")) * _UNITS.get(text[-1], 1))
