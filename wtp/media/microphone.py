"""A microphone through PortAudio: a ring filled by its callback, emptied by one thread.

The callback copies its block into a bounded ring and leaves; when nobody empties the ring, the
oldest blocks go and are counted. A microphone that is lost is looked for until it is back: sound
goes on then with a gap in its times, and nothing else of a session notices.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator

import numpy as np

from wtp.errors import MediaError, UsageError
from wtp.media.denoise import Dispensable, make_denoiser
from wtp.media.libraries import load_sounddevice
from wtp.media.sound import MAX_RATE_HZ, Block, Samples
from wtp.media.sounddevices import find_microphone, refresh
from wtp.media.soundinput import open_stream
from wtp.media.soundpath import SoundPath, conform
from wtp.media.speaker import hush_alsa

STALL_S, START_S = 1.0, 4.0
"""No block for so long: lost. PulseAudio may take 2 s for the first one."""
RETRY_S = 1.5
SILENT_US = 5_000_000
"""No microphone that hears is so silent for so long."""

_log = logging.getLogger(__name__)


def open_microphone(
    device: str = "",
    *,
    rate_hz: int = 48_000,
    channels: int = 1,
    denoise: str = "off",
    now_us: Callable[[], int],
) -> Microphone:
    """Open a microphone.

    Args:
        device: Its id, number, name or part of its name; empty: the system's default one.
        rate_hz: Samples a second that are wanted; another rate of the device is resampled.
        channels: 1 or 2 that are wanted; others of the device are mixed or doubled.
        denoise: `off`, `webrtc`, `deepfilter`, or `auto`: webrtc where it is installed.
        now_us: The clock for capture stamps.

    Raises:
        MediaError: There is no such microphone (those that are there are named), or it cannot be
            used.
        MissingLibrary: PortAudio, or what the noise suppression needs, is not installed.
        UsageError: An argument makes no sense.
    """
    if not 4000 <= rate_hz <= MAX_RATE_HZ or channels not in (1, 2):
        raise UsageError(
            f"A microphone of {rate_hz} Hz and {channels} channels is not possible.",
            hint="Use --rate 8000 to 192000 and --channels 1 or 2.",
        )
    load_sounddevice()
    hush_alsa()
    denoiser = make_denoiser(denoise, rate_hz, channels)
    dispensable = Dispensable(denoiser) if denoiser else None
    return Microphone(device, rate_hz, channels, dispensable, now_us)


class Microphone:
    """Blocks of a microphone, also across times when it is away.

    Args:
        wanted: As of `open_microphone`.
        rate_hz: Of the blocks.
        channels: Of the blocks.
        denoiser: Noise suppression, or None.
        now_us: The clock for capture stamps.

    Attributes:
        name: What the system calls it.
        rate_hz: Of every block.
        channels: Of every block.
        state: `ready`, `live`, `lost` or `closed`.
        losses: How often it was lost.

    Raises:
        MediaError: It cannot be opened.
    """

    def __init__(
        self,
        wanted: str,
        rate_hz: int,
        channels: int,
        denoiser: Dispensable | None,
        now_us: Callable[[], int],
    ) -> None:
        self.rate_hz, self.channels = rate_hz, channels
        self.state = "ready"
        self.losses = 0
        self._wanted = wanted
        self._denoiser = denoiser
        self._now_us = now_us
        self._origin_us: int | None = None
        self._dropped = self._overflows = 0
        self._silent_us = 0
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._running = False
        self._open()

    @property
    def denoise(self) -> str:
        """Method of noise suppression, or `off`, also once it has failed."""
        return self._denoiser.method if self._denoiser else "off"

    @property
    def denoise_ms(self) -> float:
        """What noise suppression adds to the delay of sound."""
        return round(self._denoiser.delay_us / 1000, 1) if self._denoiser else 0.0

    @property
    def delay_us(self) -> int:
        """What it adds: noise suppression, and a block for each conversion of its rate.

        Capture stamps are right all the same.
        """
        return self._conversion_us + (self._denoiser.delay_us if self._denoiser else 0)

    @property
    def overruns(self) -> int:
        """Blocks that were dropped because this program was too slow to take them."""
        return self._dropped + self._stream.ring.dropped

    @property
    def overflows(self) -> int:
        """Times that the device says it lost sound itself."""
        return self._overflows + self._stream.overflows

    def blocks(self) -> Iterator[Block]:
        """Deliver blocks until closed; while the microphone is away there are none."""
        with self._lock:
            if self._closed.is_set() or self._running:
                return
            self._running = True
        try:
            if self._denoiser is not None:
                self._denoiser.prepare()
            while not self._closed.is_set():
                yield from self._listen()
                self._stream.close()
                if not self._closed.is_set():
                    self._come_back()
        finally:
            self._stream.close()
            self.state = "closed"
            if self._denoiser is not None:
                self._denoiser.release()

    def close(self) -> None:
        """End `blocks`."""
        self._closed.set()
        with self._lock:
            self._stream.ring.end()
            if not self._running:
                self._stream.close()
                self.state = "closed"

    def _open(self) -> None:
        device = find_microphone(self._wanted)
        self.name = device.name
        rate_hz = self._denoiser.rate_hz if self._denoiser else self.rate_hz
        stream = open_stream(device, rate_hz, self.channels, self._now_us)
        self._path = SoundPath(stream.rate_hz, self._denoiser, self.rate_hz, self.channels)
        held_us = self._denoiser.delay_us if self._denoiser else 0
        self._conversion_us = self._path.delay_us - held_us
        with self._lock:
            self._stream = stream
        self._say()

    def _listen(self) -> Iterator[Block]:
        """Blocks until the microphone is lost, or closed."""
        stream = self._stream
        stream.listen()
        patience_s = START_S
        while not self._closed.is_set():
            taken = stream.ring.take(patience_s)
            if taken is None:
                return
            patience_s = STALL_S
            data, capture_us = taken
            if self._origin_us is None:
                self._origin_us = capture_us
            self.state = "live"
            samples = np.frombuffer(data, np.int16).reshape(-1, stream.channels)
            self._watch_silence(samples, stream.rate_hz)
            pts_us = capture_us - self._origin_us
            block = Block(conform(samples, self.channels), stream.rate_hz, capture_us, pts_us)
            yield from self._path.push(block)

    def _watch_silence(self, samples: Samples, rate_hz: int) -> None:
        """Say once that nothing at all is heard."""
        if self._silent_us < 0:
            return
        if samples.any():
            self._silent_us = -1
            return
        self._silent_us += round(len(samples) * 1e6 / rate_hz)
        if self._silent_us >= SILENT_US:
            self._silent_us = -1
            _log.warning("Microphone %s hears nothing at all. Is it muted?", self.name)

    def _come_back(self) -> None:
        """Look for the microphone until it is there again, or closed."""
        self.state = "lost"
        self.losses += 1
        self._dropped += self._stream.ring.dropped
        self._overflows += self._stream.overflows
        self._stream.ring.dropped = self._stream.overflows = 0
        lost, lost_us = self.name, self._now_us()
        _log.warning(
            "Microphone %s is lost; everything else goes on, and its sound when it is back.",
            self.name,
        )
        while not self._closed.wait(RETRY_S):
            try:
                refresh()
                self._open()
            except MediaError as error:
                _log.debug("Microphone %s is not back: %s", self.name, error)
                continue
            away_s = (self._now_us() - lost_us) / 1e6
            if self.name == lost:
                _log.info("Microphone %s is back after %.1f s.", lost, away_s)
            else:
                _log.warning("Microphone %s is used in place of %s.", self.name, lost)
            return

    def _say(self) -> None:
        stream = self._stream
        for what, read, given in (
            ("Hz", stream.rate_hz, self.rate_hz),
            ("channels", stream.channels, self.channels),
        ):
            if read != given:
                _log.info(
                    "Microphone %s is read at %d %s and converted to %d.",
                    self.name, read, what, given,
                )  # fmt: skip
        if self.denoise != "off":
            _log.info(
                "Noise suppression of microphone %s: %s, which adds %.1f ms of delay.",
                self.name, self.denoise, self.denoise_ms,
            )  # fmt: skip
