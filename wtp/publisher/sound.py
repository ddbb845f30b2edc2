"""Sound of a source to a live track: one thread that listens and encodes, never in the loop's way.

Objects wait for the loop in a bounded queue. When the loop is so slow that it fills, the oldest go
and are counted: each object of sound stands alone, and the newest matters.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from wtp.clock import Clock
from wtp.config.schema import PublishSettings
from wtp.errors import MediaError, WtpError
from wtp.model import Kind
from wtp.publisher.live import LiveTrack, Unit
from wtp.publisher.pictures import parse_bitrate
from wtp.publisher.session import TrackSpec

if TYPE_CHECKING:
    from wtp.media.sound import SoundSource
    from wtp.media.video import Encoded

HANDOVER = 50
"""Objects that wait for the loop at most: half a second, as a live track lets wait for the peer."""
STOP_S = 1.0
"""How long the end of the thread is waited for; a device that hangs is left behind."""


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
        self._lock = threading.Lock()
        self._ready: deque[Unit] = deque()
        self._lost = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended: asyncio.Future[None] | None = None

    async def run(self) -> None:
        """Listen until the source ends or `stop`.

        Raises:
            MediaError: The source or the encoder failed.
        """
        self._loop = asyncio.get_running_loop()
        self._ended = self._loop.create_future()
        threading.Thread(target=self._work, name="sound", daemon=True).start()
        try:
            await asyncio.shield(self._ended)
        finally:
            self.stop()
            await asyncio.wait({self._ended}, timeout=STOP_S)
            self._take()

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

    def _work(self) -> None:
        error: WtpError | None = None
        try:
            self._listen()
        except WtpError as failure:
            error = failure
        except BaseException as failure:  # noqa: BLE001 - the border of the thread, panics too
            error = MediaError(f"{self._source.name} failed: {failure}.", hint="See WTP_DEBUG=1.")
        finally:
            self._source.close()
        self._call(lambda: self._end(error))

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
        if not units:
            return left
        with self._lock:
            idle = not self._ready
            self._ready.extend(units)
            while len(self._ready) > HANDOVER:
                self._ready.popleft()
                self._lost += 1
        if idle:
            self._call(self._take)
        return left - len(units) if left >= 0 else left

    def _unit(self, one: Encoded) -> Unit:
        now_us = self._clock.now_us() if one.encode_us is None else one.encode_us
        capture_us = now_us if one.capture_us is None else one.capture_us
        return Unit(one.payload, one.key, capture_us, now_us, one.duration_us)

    def _call(self, call: Any) -> None:
        assert self._loop is not None  # noqa: S101 - `run` sets it
        try:
            self._loop.call_soon_threadsafe(call)
        except RuntimeError:
            self._stop.set()

    def _take(self) -> None:
        """On the loop: hand over what is ready."""
        with self._lock:
            units, lost = list(self._ready), self._lost
            self._ready.clear()
            self._lost = 0
        self.track.lose(lost)
        for unit in units:
            self.track.offer(unit)

    def _end(self, error: WtpError | None) -> None:
        self._take()
        if self._ended is not None and not self._ended.done():
            if error is None:
                self._ended.set_result(None)
            else:
                self._ended.set_exception(error)
