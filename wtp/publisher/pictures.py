"""Pictures of a source to a live track."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from wtp.clock import Clock
from wtp.config.schema import PublishSettings
from wtp.model import Kind
from wtp.publisher.capture import Capture
from wtp.publisher.choice import VideoInput
from wtp.publisher.live import LiveTrack, Unit
from wtp.publisher.session import TrackSpec

if TYPE_CHECKING:
    from wtp.media.source import Source

_UNITS = {"k": 1e3, "M": 1e6}


class VideoFeed:
    """Pictures of a source to a live track.

    Args:
        item: What to open.
        alias: Number of the track.
        name: Name of the track.
        settings: Codec and its parameters.
        clock: Own clock.
        count: Pictures after which it ends; 0 for all.

    Raises:
        MediaError: The source or the codec cannot be used.
    """

    def __init__(
        self,
        item: VideoInput,
        alias: int,
        name: str,
        settings: PublishSettings,
        clock: Clock,
        count: int,
    ) -> None:
        from wtp.media.video import VideoEncoder

        source = _open_source(item, clock)
        try:
            encoder = VideoEncoder(
                settings.codec,
                source.width,
                source.height,
                source.fps,
                bitrate_bps=parse_bitrate(settings.bitrate),
                quality=settings.quality,
                gop=settings.gop,
                now_us=clock.now_us,
            )
        except BaseException:
            source.close()
            raise
        self._capture = Capture(source, encoder, clock.now_us, self._deliver, count=count)
        spec = TrackSpec(alias, name, Kind.VIDEO, encoder.content_type)
        self.track = LiveTrack(spec, clock, self._capture.force_key)

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
            "encode_ms": round(self._capture.encode_us / 1000, 3),
        }

    def _deliver(self, units: Sequence[Unit], lost: int) -> None:
        self.track.lose(lost)
        for unit in units:
            self.track.offer(unit)


def parse_bitrate(text: str) -> int:
    """`2.5M`, `800k` or a number of bit/s as bit/s (the settings check the form)."""
    return round(float(text.rstrip("kM")) * _UNITS.get(text[-1], 1))


def _open_source(item: VideoInput, clock: Clock) -> Source:
    if item.camera:
        from wtp.media.camera import open_camera

        return open_camera(item.source, size=item.size, fps=item.fps, now_us=clock.now_us)
    from wtp.media.source import open_source

    return open_source(
        item.source, size=item.size, fps=item.fps, loop=item.loop, now_us=clock.now_us
    )
