"""A tone through a real sound server: microphone, encoder, decoder; and a server that dies."""

from __future__ import annotations

import itertools
import logging
import os
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.pulse import MICROPHONE, Pulse, tone, tone_hz
from tests.pulse import pulse as pulse
from tests.pulse import pulse_here as pulse_here
from wtp.clock import Clock, monotonic_us
from wtp.media.audio import AudioDecoder, AudioEncoder
from wtp.media.microphone import Microphone, open_microphone
from wtp.media.sounddevices import list_microphones, list_speakers
from wtp.media.soundtime import GAP_US

HANGING = """
import sys
import sounddevice
from wtp.clock import monotonic_us
from wtp.errors import MediaError
from wtp.media import sounddevices
from wtp.media.microphone import open_microphone

def say(*words):
    print(*words, flush=True)

sounddevices.PATIENCE_S = 0.7
stream = sounddevices.opening(
    lambda: sounddevice.RawInputStream(
        samplerate=48000, channels=1, dtype="int16", callback=lambda *_: None
    )
)
say("opened")
sys.stdin.readline()
try:
    sounddevices.start(stream)
except (MediaError, sounddevice.PortAudioError) as error:
    say(type(error).__name__)
sounddevices.closed(stream)
sys.stdin.readline()
source = open_microphone(now_us=monotonic_us)
next(source.blocks())
source.close()
say("heard")
"""

pytestmark = pytest.mark.pulseaudio

TONE_HZ = 440.0


def hear(
    source: Microphone, codec: str, clock: Clock, seconds: float
) -> tuple[NDArray[np.int16], int, list[int]]:
    """What a decoder makes of so much loud sound, its rate, and the stamps of the objects."""
    encoder = AudioEncoder(codec, source.rate_hz, source.channels, now_us=clock.now_us)
    decoder = AudioDecoder(encoder.content_type)
    parts: list[NDArray[np.int16]] = []
    stamps: list[int] = []
    loud_s = 0.0
    for block in source.blocks():
        # A busy machine plays pauses.
        loud_s += block.duration_us / 1e6 * bool(np.abs(block.samples).max() > 4000)
        for one in encoder.encode(block):
            parts.append(decoder.decode(one.payload))
            assert one.capture_us is not None
            assert one.encode_us is not None
            # A first block that came late is found out by the next ones.
            assert one.capture_us < one.encode_us + GAP_US
            stamps.append(one.capture_us)
        if loud_s >= seconds:
            break
    source.close()
    return np.concatenate(parts), decoder.rate_hz, stamps


@pytest.mark.parametrize(
    ("codec", "rate_hz", "carried_hz"),
    [("pcm", 44_100, 44_100), ("pcm", 48_000, 48_000), ("opus", 48_000, 48_000),
     ("opus", 44_100, 48_000)],
)  # fmt: skip
def test_the_tone_is_found_at_its_frequency(
    pulse_here: Pulse, codec: str, rate_hz: int, carried_hz: int
) -> None:
    clock = Clock()
    with pulse_here.playing(tone(TONE_HZ, 1.0)):
        source = open_microphone(rate_hz=rate_hz, now_us=clock.now_us)
        assert source.rate_hz == rate_hz
        heard, decoded_hz, stamps = hear(source, codec, clock, 1.0)
    assert decoded_hz == carried_hz
    assert tone_hz(heard, carried_hz) == pytest.approx(TONE_HZ, abs=0.5)
    steps = np.diff(np.array(stamps))
    assert abs(np.median(steps) - 10_000) <= 20


@pytest.mark.parametrize("hz", [438.0, 440.0, 441.0])
def test_the_ear_of_these_tests_hears_through_breaks_and_tells_1_hz_apart(hz: float) -> None:
    whole = tone(hz, 1.0)
    parts = [whole[at : at + 3000] for at in range(0, len(whole) - 3000, 3700)]
    pauses = [np.zeros(100 * n, np.int16) for n in range(len(parts))]
    broken = np.concatenate([one for pair in zip(parts, pauses, strict=True) for one in pair])
    assert tone_hz(broken, 48_000) == pytest.approx(hz, abs=0.2)
    with pytest.raises(AssertionError, match="no steady tone"):
        tone_hz(np.random.default_rng(5).normal(0, 5000, 48_000).astype(np.int16), 48_000)


def test_capture_stamps_are_those_of_the_sound(
    pulse_here: Pulse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clicks are played into the microphone, and the speaker side says when each was heard."""
    import sounddevice

    monkeypatch.setenv("PULSE_SINK", MICROPHONE)
    played_us: list[float] = []
    count = itertools.count(1)

    def play(out: NDArray[np.int16], _count: int, time: Any, _status: Any) -> None:
        out.fill(0)
        if next(count) % 20 == 0:
            out[0] = 30_000
            played_us.append(monotonic_us() + (time.outputBufferDacTime - time.currentTime) * 1e6)

    heard_us: list[float] = []
    source = open_microphone(now_us=monotonic_us)
    form = {"samplerate": 48_000, "channels": 1, "dtype": "int16", "blocksize": 480}
    with sounddevice.OutputStream(**form, latency="low", callback=play):
        for block in source.blocks():
            loud = np.abs(block.samples[:, 0].astype(np.int32))
            if loud.max() > 4000 and block.capture_us is not None:
                heard_us.append(block.capture_us + np.argmax(loud) * 1e6 / block.rate_hz)
            if len(heard_us) == 8:
                break
    source.close()
    nearest = [min((heard - at for at in played_us), key=abs) for heard in heard_us[2:]]
    errors_us = np.array(nearest)
    # PortAudio's word for the other side is itself good to 10 ms only.
    assert abs(np.median(errors_us)) < 40_000
    assert np.median(np.abs(errors_us - np.median(errors_us))) < 3000


def test_devices_are_listed(pulse_here: Pulse) -> None:
    microphones, speakers = list_microphones(), list_speakers()
    assert {"pulse", "default"} <= {one.id for one in microphones}
    assert {"pulse", "default"} <= {one.id for one in speakers}
    assert sum(one.default for one in microphones) == 1
    assert all({44_100, 48_000} <= set(one.rates_hz) for one in microphones)


def test_a_sound_server_that_dies_is_waited_for(
    pulse_here: Pulse, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="wtp")
    clock = Clock()
    source = open_microphone(now_us=clock.now_us)
    stamps: list[int] = []
    live, back = threading.Event(), threading.Event()

    def listen() -> None:
        for block in source.blocks():
            stamps.append(block.pts_us)
            live.set()
            if source.losses and source.state == "live":
                back.set()

    thread = threading.Thread(target=listen, daemon=True)
    with pulse_here.playing(tone(TONE_HZ, 1.0)):
        thread.start()
        assert live.wait(60)
    pulse_here.close()
    while source.state != "lost":
        thread.join(0.01)
        assert thread.is_alive()
    pulse_here.start()
    with pulse_here.playing(tone(TONE_HZ, 1.0)):
        assert back.wait(60)
    source.close()
    thread.join(5)
    assert not thread.is_alive()
    assert source.losses == 1
    assert max(np.diff(np.array(stamps))) > 200_000, "the time away is a gap"
    assert "is lost; everything else goes on" in caplog.text
    assert "is back after" in caplog.text


def test_a_server_that_dies_as_a_stream_starts_hangs_nothing(pulse: Pulse) -> None:
    """PortAudio waits for ever then, and ends the process when such a stream is closed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HANGING],
        env={**os.environ, **pulse.env},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "opened\n"
        pulse.close()
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() in ("MediaError\n", "PortAudioError\n")
        pulse.start()
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "heard\n"
        assert process.wait(60) == 0
