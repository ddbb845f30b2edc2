from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pulse import SPEAKER, Pulse, pulse, pulse_here, read_wav, tone, tone_hz
from wtp.errors import MediaError, MissingLibrary
from wtp.media import libraries, sounddevices
from wtp.media.sound import Samples
from wtp.media.speaker import HearingTime, Speaker

from .sounddevices import FakeSound, Stream, device

__all__ = ["pulse", "pulse_here"]

HZ = 48_000


@settings(max_examples=25)
@given(
    pairs=st.lists(st.booleans(), min_size=50, max_size=80), noise=st.lists(st.integers(0, 3000))
)
def test_hearing_is_a_smooth_line_through_callbacks_in_pairs(
    pairs: list[bool], noise: list[int]
) -> None:
    hearing = HearingTime(HZ)
    before = None
    for n, pair in enumerate(pairs):
        due_us = n * 10_000 + 25_000
        called_us = due_us - (15_000 if pair else 25_000)  # a pair's second comes 10 ms early
        claimed_us = due_us - called_us + (noise[n % len(noise)] if noise else 0)
        at_us = hearing.tell(called_us, claimed_us, 480)
        assert abs(at_us - due_us) <= 3_000
        if before is not None:
            assert abs(at_us - before - 10_000) <= 200
        before = at_us


def test_hearing_begins_anew_after_an_underrun_and_believes_no_nonsense() -> None:
    hearing = HearingTime(HZ)
    assert hearing.tell(0, 20_000, 480) == 20_000
    assert hearing.tell(200_000, 20_000, 480) == 220_000
    assert hearing.tell(1_000_000, 99_000_000, 480) == 1_500_000
    assert hearing.tell(2_000_000, -5, 480) == 2_000_000


class Tone:
    """Gives a tone, and remembers when what is heard; `told` is set after some pulls."""

    def __init__(self, hz: float, rate_hz: int) -> None:
        self._samples = tone(hz, 1.0, rate_hz)
        self.pulls: list[int] = []
        self.told = threading.Event()
        self.enough = 20

    def __call__(self, count: int, play_at_us: int) -> Samples | None:
        at = len(self.pulls) * count % len(self._samples)
        self.pulls.append(play_at_us)
        if len(self.pulls) >= self.enough:
            self.told.set()
        samples = self._samples[at : at + count]
        return samples.reshape(-1, 1) if len(samples) == count else None


@pytest.mark.pulseaudio
@pytest.mark.parametrize("rate_hz", [44_100, 48_000])
def test_a_tone_is_heard_at_its_frequency(rate_hz: int, pulse_here: Pulse, tmp_path: Path) -> None:
    source = Tone(1000.0, rate_hz)
    source.enough = 120
    speaker = Speaker(source, rate_hz=rate_hz, channels=1)
    with pulse_here.listening(tmp_path / "heard.wav", rate_hz):
        speaker.open()
        assert source.told.wait(60)
        assert speaker.state == "playing"
        assert 5_000 < speaker.latency_us < 200_000
        speaker.close()
    sound, rate = read_wav(tmp_path / "heard.wav")
    loud = sound[np.abs(sound[:, 0]) > 100]
    assert len(loud) > rate // 2
    assert tone_hz(sound, rate) == pytest.approx(1000, abs=1)
    assert speaker.state == "closed"


@pytest.mark.pulseaudio
def test_a_speaker_that_is_lost_comes_back(
    pulse_here: Pulse, caplog: pytest.LogCaptureFixture
) -> None:
    source = Tone(440.0, HZ)
    speaker = Speaker(source, rate_hz=HZ, channels=1)
    speaker.open()
    assert source.told.wait(60)
    pulse_here.close()
    _until(lambda: speaker.state == "lost")
    source.told.clear()
    source.enough = len(source.pulls) + 20
    pulse_here.start()
    assert source.told.wait(60)
    assert speaker.state == "playing"
    speaker.close()
    said = [record.getMessage() for record in caplog.records]
    assert said == ["The loudspeaker is lost. Waiting for it.", "The loudspeaker is back."]


@pytest.mark.pulseaudio
def test_a_speaker_that_is_not_there_is_named(pulse_here: Pulse) -> None:
    assert SPEAKER in pulse_here.control("list", "short", "sinks")
    speaker = Speaker(lambda *_: None, rate_hz=HZ, channels=1, device="nonsense")
    with pytest.raises(MediaError, match="nonsense") as caught:
        speaker.open()
    assert caught.value.code == "no-device"
    assert "default" in caught.value.hint, "those that are there"
    speaker.close()


def test_without_portaudio_the_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    monkeypatch.setattr(libraries, "_failures", {})
    speaker = Speaker(lambda *_: None, rate_hz=HZ, channels=1)
    with pytest.raises(MissingLibrary, match="sounddevice"):
        speaker.open()
    speaker.close()


class FakeSpeakers(FakeSound):
    """The stand-in with a way to loudspeakers."""

    def OutputStream(self, **given: object) -> Stream:
        return Stream(self, **given)


def test_a_speaker_that_hangs_as_it_starts_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """PortAudio does so when a device goes away just then; closing it would end the process."""
    fake = FakeSpeakers(device("Box", inputs=0, outputs=2))
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    monkeypatch.setattr(libraries, "_failures", {})
    monkeypatch.setattr(sounddevices, "PATIENCE_S", 0.05)
    monkeypatch.setattr(sounddevices, "_streams", {})
    monkeypatch.setattr(sounddevices, "_hanging", set())
    monkeypatch.setattr("atexit.unregister", lambda _: None)
    fake.hang = "start"
    speaker = Speaker(lambda *_: None, rate_hz=HZ, channels=1)
    with pytest.raises(MediaError, match="hangs instead of starting"):
        speaker.open()
    speaker.close()
    assert not fake.streams[0].closed
    fake.let_go.set()


def _until(holds: object) -> None:
    assert callable(holds)
    end = time.monotonic() + 15
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)
