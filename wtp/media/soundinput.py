"""One opened microphone: PortAudio's callback fills a ring, stamped by a clock of samples."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from wtp.errors import MediaError
from wtp.media.libraries import load_sounddevice
from wtp.media.sounddevices import (
    INVALID_CHANNELS,
    INVALID_RATE,
    SoundDevice,
    closed,
    opening,
    sound_errors,
    start,
)
from wtp.media.soundtime import SampleClock

BLOCK_S = 0.01
"""Length of a block: that of an object, so that none waits for the next."""
RING_BLOCKS = 100
"""One second: more is too old to be sent live."""


class Ring:
    """Blocks between the callback and the thread: bounded, the oldest go first.

    Args:
        size: Blocks at most.

    Attributes:
        dropped: Blocks that went because nobody took them.
    """

    def __init__(self, size: int) -> None:
        self.dropped = 0
        self._blocks: deque[tuple[bytes, int]] = deque()
        self._size = size
        self._changed = threading.Condition()
        self._ended = False

    def put(self, data: bytes, capture_us: int) -> None:
        """Add a block; never waits."""
        with self._changed:
            if len(self._blocks) >= self._size:
                self._blocks.popleft()
                self.dropped += 1
            self._blocks.append((data, capture_us))
            self._changed.notify()

    def take(self, timeout_s: float) -> tuple[bytes, int] | None:
        """The oldest block; None when none came in time, or none will come."""
        with self._changed:
            self._changed.wait_for(lambda: self._blocks or self._ended, timeout_s)
            return self._blocks.popleft() if self._blocks else None

    def end(self) -> None:
        """No block will come: end every wait."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()


class InputStream:
    """One running PortAudio stream with its ring and its clock.

    Args:
        device: Which.
        rate_hz: Samples a second.
        channels: Their number.
        now_us: The clock for capture stamps.

    Attributes:
        ring: What came, and when its first sample was captured; ends when the device is gone.
        overflows: Times that the device says it lost sound itself.
        listening: Whether what is heard is kept.

    Raises:
        sounddevice.PortAudioError: It cannot be opened so.
        MediaError: It hangs.
    """

    def __init__(
        self,
        device: SoundDevice,
        rate_hz: int,
        channels: int,
        now_us: Callable[[], int],
    ) -> None:
        self.device, self.rate_hz, self.channels = device, rate_hz, channels
        self.ring = Ring(RING_BLOCKS)
        self.overflows = 0
        self.listening = False
        self._now_us = now_us
        self._clock = SampleClock(rate_hz)
        sounddevice = load_sounddevice()
        self._stream = opening(
            lambda: sounddevice.RawInputStream(
                device=device.number,
                samplerate=rate_hz,
                channels=channels,
                dtype="int16",
                blocksize=round(rate_hz * BLOCK_S),
                latency="low",
                callback=self._heard,
                finished_callback=self.ring.end,
            )
        )
        # A device that goes away between opening and starting makes PortAudio hang.
        try:
            start(self._stream)
        except MediaError:
            raise
        except BaseException:
            self.close()
            raise

    def listen(self) -> None:
        """Keep what is heard from now on; before, only the clock learns from it."""
        self.listening = True

    def close(self) -> None:
        """End the ring and give the device back; more than once is fine."""
        self.ring.end()
        closed(self._stream)

    def _heard(self, data: Any, count: int, _time: Any, status: Any) -> None:
        """PortAudio's thread: keep the block and leave."""
        lost = bool(status.input_overflow)
        capture_us = self._clock.stamp(self._now_us(), count, lost=lost)
        if self.listening:
            self.overflows += lost
            self.ring.put(bytes(data), capture_us)


def open_stream(
    device: SoundDevice, rate_hz: int, channels: int, now_us: Callable[[], int]
) -> InputStream:
    """Open a microphone at the rate and channels given, or the nearest that it has.

    Raises:
        MediaError: It cannot be opened at all.
    """
    sounddevice = load_sounddevice()
    forms = [
        (rate, number)
        for rate in dict.fromkeys((rate_hz, device.rate_hz, 48_000, 44_100))
        for number in dict.fromkeys((min(channels, device.channels), 1, 2, device.channels))
    ]
    with sound_errors(f"Microphone {device.name} cannot be opened"):
        for form in forms[:-1]:
            try:
                return InputStream(device, *form, now_us)
            except sounddevice.PortAudioError as error:
                if error.args[1:2] not in ((INVALID_RATE,), (INVALID_CHANNELS,)):
                    raise
        return InputStream(device, *forms[-1], now_us)
