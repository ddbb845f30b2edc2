"""A loudspeaker through PortAudio: it pulls samples, and says when they will be heard.

PortAudio's thread calls back for every 10 ms. With its "low" latency the way through PulseAudio
takes 20 ms. `outputBufferDacTime` proved right to 5 ms there (unlike its counterpart for input),
but callbacks come in pairs, so the time of hearing is a line through all of them.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import threading
from collections.abc import Callable
from typing import Any

from wtp.clock import monotonic_us
from wtp.errors import MediaError
from wtp.media.libraries import load_sounddevice
from wtp.media.sound import Samples
from wtp.media.sounddevices import closed, find_speaker, opening, refresh, sound_errors, start

BLOCK_S = 0.01
"""A callback every 10 ms: half of what the low latency of PulseAudio holds."""

LATENCIES: tuple[str | float, ...] = ("low", 0.04, 0.08)
"""What is asked for: the next one when under-runs are frequent."""

UNDERRUNS, UNDERRUN_WINDOW_US = 4, 10_000_000
"""So many under-runs in ten seconds ask for the next latency."""

MAX_LATENCY_US = 500_000
"""A claimed latency above is not believed."""

SMOOTHING = 0.05
STEP_US = 30_000
"""When a callback is off the line by more, the line begins anew."""

SILENT_US = 2_000_000
"""A speaker that does not call back for so long is lost."""

LOOK_S = 0.25
RETRY_S = 1.5

LOGGER = logging.getLogger("wtp.media")

Pull = Callable[[int, int], "Samples | None"]
"""Gets a number of samples and the CLOCK_MONOTONIC µs at which the first is heard; returns them,
`n` x channels, or None for silence. It is called in PortAudio's thread and must not wait."""


class HearingTime:
    """When the first sample of a callback will be heard; pure.

    Args:
        rate_hz: Samples a second.
    """

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._next_us: float | None = None
        self.latency_us = 0

    def tell(self, now_us: int, claimed_us: int, count: int) -> int:
        """CLOCK_MONOTONIC at which the samples of a callback are heard.

        Args:
            now_us: When it was called.
            claimed_us: From then to hearing, as the device claims.
            count: Samples it asks for.
        """
        measured = now_us + max(0, min(claimed_us, MAX_LATENCY_US))
        line = self._next_us
        if line is None or abs(measured - line) > STEP_US:
            line = float(measured)
        line += (measured - line) * SMOOTHING
        self._next_us = line + count * 1e6 / self._rate_hz
        latency_us = line - now_us
        before_us = self.latency_us or latency_us
        self.latency_us = round(before_us + (latency_us - before_us) * SMOOTHING)
        return round(line)


class Speaker:
    """Plays what is pulled, until closed; a speaker that is lost is opened again.

    Args:
        pull: Gives the samples.
        rate_hz: Samples a second.
        channels: Of what is pulled.
        device: Its name or number as `wtp devices` lists it; empty for the default one.

    Attributes:
        state: `closed`, `playing` or `lost`.
        underruns: Times that the device had nothing to play.
        muted: Whether silence is played while everything else goes on.
    """

    def __init__(self, pull: Pull, *, rate_hz: int, channels: int, device: str = "") -> None:
        self.rate_hz, self.channels = rate_hz, channels
        self.state = "closed"
        self.underruns = 0
        self.muted = False
        self._pull, self._device = pull, device
        self._stop = threading.Event()
        self._opened = threading.Event()
        self._problem: Exception | None = None
        self._stream: Any = None
        self._step = 0
        self._recent: list[int] = []
        self._called_us = 0
        self._hearing = HearingTime(rate_hz)
        self._thread: threading.Thread | None = None

    @property
    def latency_us(self) -> int:
        """From handing samples over to their being heard, smoothed."""
        return self._hearing.latency_us

    def open(self) -> None:
        """Open the device and begin to pull; blocks until it plays.

        Raises:
            MissingLibrary: sounddevice or PortAudio is not there.
            MediaError: There is no such speaker, or it cannot be opened.
        """
        self._thread = threading.Thread(target=self._work, name="speaker", daemon=True)
        self._thread.start()
        self._opened.wait()
        if self._problem is not None:
            raise self._problem

    def close(self) -> None:
        """Stop playing; may be called more than once."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(3.0)

    def _work(self) -> None:
        """Own the stream: everything about it but the callback happens in this thread."""
        try:
            hush_alsa()
            self._start()
        except MediaError as error:
            self._problem = error
            self._close_stream()
            return
        finally:
            self._opened.set()
        while not self._stop.wait(LOOK_S):
            if monotonic_us() - self._called_us > SILENT_US:
                self._reopen()
            elif len(self._recent) >= UNDERRUNS and self._step + 1 < len(LATENCIES):
                self._step += 1
                LOGGER.info("The loudspeaker runs dry: its latency is raised.")
                self._close_stream()
                with contextlib.suppress(MediaError):
                    self._start()
        self._close_stream()
        self.state = "closed"

    def _start(self) -> None:
        sounddevice = load_sounddevice()
        device = find_speaker(self._device)
        with sound_errors(f"The loudspeaker {device.name} cannot be opened"):
            self._stream = opening(
                lambda: sounddevice.OutputStream(
                    samplerate=self.rate_hz,
                    blocksize=round(self.rate_hz * BLOCK_S),
                    device=device.number,
                    channels=self.channels,
                    dtype="int16",
                    latency=LATENCIES[self._step],
                    callback=self._play,
                )
            )
            self._called_us = monotonic_us()
            self._recent = []
            start(self._stream)
        self.state = "playing"

    def _reopen(self) -> None:
        """Say once that the speaker is lost, and try to get it back."""
        if self.state == "playing":
            self.state = "lost"
            LOGGER.warning("The loudspeaker is lost. Waiting for it.")
        self._close_stream()
        if self._stop.wait(RETRY_S):
            return
        try:
            refresh()
            self._start()
        except MediaError:
            self._close_stream()
        else:
            LOGGER.warning("The loudspeaker is back.")

    def _close_stream(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            closed(stream)

    def _play(self, out: Samples, count: int, time: Any, status: Any) -> None:
        """PortAudio's callback."""
        now_us = monotonic_us()
        self._called_us = now_us
        if status.output_underflow:
            self.underruns += 1
            old_us = now_us - UNDERRUN_WINDOW_US
            self._recent = [at_us for at_us in self._recent if at_us > old_us] + [now_us]
        claimed_us = round((time.outputBufferDacTime - time.currentTime) * 1e6)
        play_at_us = self._hearing.tell(now_us, claimed_us, count)
        samples = self._pull(count, play_at_us)
        if samples is None or self.muted:
            out.fill(0)
        else:
            out[:] = samples


def hush_alsa() -> None:
    """Keep ALSA's library from writing to stderr; what matters comes as an error too.

    See `snd_lib_error_set_handler` of alsa-lib. The function that it calls instead must do nothing,
    must not need Python, and may ignore its arguments: getpid.
    """
    with contextlib.suppress(OSError, AttributeError):
        nothing = ctypes.cast(ctypes.CDLL(None).getpid, ctypes.c_void_p)
        ctypes.CDLL("libasound.so.2").snd_lib_error_set_handler(nothing)
