"""Microphones behind a PortAudio that does what a test says: forms, rings, losses, words."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from wtp.errors import MediaError, MissingLibrary, UsageError
from wtp.media import libraries, microphone, sounddevices
from wtp.media.denoise import Denoiser
from wtp.media.microphone import Microphone, open_microphone
from wtp.media.sound import Block, Samples
from wtp.media.sounddevices import find_microphone, find_speaker, list_microphones, list_speakers
from wtp.media.soundinput import Ring
from wtp.media.soundpath import conform

from .sounddevices import FakeSound, PortAudioError, Stream, device


class Time:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.us = 1_700_000_000_000_000

    def __call__(self) -> int:
        return self.us


@pytest.fixture
def now_us() -> Time:
    return Time()


@pytest.fixture
def sound(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeSound]:
    fake = FakeSound(
        device("Desk"), device("Head set", inputs=1), device("Box", inputs=0, outputs=2)
    )
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    monkeypatch.setattr(libraries, "_failures", {})
    monkeypatch.setattr(microphone, "RETRY_S", 0.01)
    yield fake
    assert not sounddevices._streams, "a stream was left open"


class Listener:
    """Takes the blocks of a microphone in a thread."""

    def __init__(self, source: Microphone) -> None:
        self.source = source
        self.blocks: list[Block] = []
        self.came = threading.Semaphore(0)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        for block in self.source.blocks():
            self.blocks.append(block)
            self.came.release()

    def wait(self, count: int = 1) -> None:
        for _ in range(count):
            assert self.came.acquire(timeout=60)

    def end(self) -> None:
        self.source.close()
        self.thread.join(5)
        assert not self.thread.is_alive()


def started(sound: FakeSound) -> Stream:
    """The next stream that is started, once what it hears is kept."""
    assert sound.started.acquire(timeout=60)
    stream = sound.streams[-1]
    end = time.monotonic() + 5
    while not stream.given["callback"].__self__.listening:
        assert time.monotonic() < end
        time.sleep(0.001)
    return stream


RAMP = np.arange(480)


def test_blocks_come_with_their_time(sound: FakeSound, now_us: Time) -> None:
    source = open_microphone(now_us=now_us)
    assert (source.name, source.rate_hz, source.channels, source.state) == (
        "Desk",
        48_000,
        1,
        "ready",
    )
    assert (source.denoise, source.delay_us) == ("off", 0)
    listener = Listener(source)
    stream = started(sound)
    assert (stream.given["samplerate"], stream.given["channels"]) == (48_000, 1)
    assert stream.given["blocksize"] == 480
    start_us = now_us.us
    for number in range(3):
        now_us.us = start_us + 10_000 * (number + 1)
        stream.hear(RAMP + number)
    listener.wait(3)
    assert source.state == "live"
    listener.end()
    assert [block.capture_us for block in listener.blocks] == [
        start_us, start_us + 10_000, start_us + 20_000
    ]  # fmt: skip
    assert [block.pts_us for block in listener.blocks] == [0, 10_000, 20_000]
    assert listener.blocks[2].samples[:, 0].tolist() == (RAMP + 2).tolist()
    assert (source.state, source.overruns, source.overflows) == ("closed", 0, 0)
    assert not list(source.blocks()), "only once"


def test_another_rate_of_the_device_is_resampled_and_said(
    sound: FakeSound, now_us: Time, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="wtp")
    sound.rates_hz, sound.channels = (48_000,), (2,)
    source = open_microphone("head", rate_hz=44_100, now_us=now_us)
    assert "Head set is read at 48000 Hz and converted to 44100." in caplog.text
    assert "Head set is read at 2 channels and converted to 1." in caplog.text
    assert source.delay_us == 10_000
    listener = Listener(source)
    stream = started(sound)
    times = np.arange(4800) / 48_000
    wave = np.rint(8000 * np.sin(2 * np.pi * 440 * times))
    start_us = now_us.us
    for number in range(10):
        now_us.us = start_us + 10_000 * (number + 1)
        stream.hear(wave[number * 480 : (number + 1) * 480])
    listener.wait(8)
    listener.end()
    heard = np.concatenate([block.samples for block in listener.blocks])[:, 0]
    assert {block.rate_hz for block in listener.blocks} == {44_100}
    expected = 8000 * np.sin(2 * np.pi * 440 * np.arange(len(heard)) / 44_100)
    assert np.abs(heard - expected)[441:-441].max() < 80
    stamps = [(block.capture_us or 0) - start_us for block in listener.blocks]
    assert np.abs(np.array(stamps) - 10_000 * np.arange(len(stamps))).max() <= 1


def test_a_slow_reader_loses_the_oldest_blocks_and_counts_them() -> None:
    ring = Ring(3)
    for number in range(5):
        ring.put(bytes([number]), number)
    assert ring.dropped == 2
    assert [ring.take(0) for _ in range(4)] == [(b"\2", 2), (b"\3", 3), (b"\4", 4), None]
    ring.end()
    assert ring.take(60) is None, "the end is not waited for"


def test_dropped_blocks_are_a_gap_and_counted(sound: FakeSound, now_us: Time) -> None:
    source = open_microphone(now_us=now_us)
    (stream,) = sound.streams
    stream.hear(RAMP, overflow=True)
    source._stream.listen()
    for _ in range(110):
        now_us.us += 10_000
        stream.hear(RAMP)
    stream.hear(RAMP, overflow=True)
    assert (source.overruns, source.overflows) == (11, 1)
    listener = Listener(source)
    listener.wait(100)
    listener.end()
    assert source.overruns == 11


def test_a_lost_microphone_comes_back_with_a_gap(
    sound: FakeSound, now_us: Time, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="wtp")
    source = open_microphone("Desk", now_us=now_us)
    listener = Listener(source)
    stream = started(sound)
    now_us.us += 10_000
    stream.hear(RAMP)
    listener.wait()
    desk, sound.devices = sound.devices[0], sound.devices[1:]
    stream.vanish()
    while source.state != "lost":
        listener.thread.join(0.005)
    assert stream.closed
    assert sound.opened.acquire(timeout=0)
    assert not sound.opened.acquire(timeout=0.05), "there was nothing to open"
    now_us.us += 2_500_000
    sound.devices.append(desk)
    again = started(sound)
    now_us.us += 10_000
    again.hear(RAMP)
    listener.wait()
    assert (source.state, source.losses) == ("live", 1)
    listener.end()
    assert [block.pts_us for block in listener.blocks] == [0, 2_510_000]
    assert "Microphone Desk is lost; everything else goes on" in caplog.text
    assert "Microphone Desk is back after 2.5 s." in caplog.text


def test_another_default_microphone_takes_the_place_of_a_lost_one(
    sound: FakeSound, now_us: Time, caplog: pytest.LogCaptureFixture
) -> None:
    source = open_microphone(now_us=now_us)
    listener = Listener(source)
    stream = started(sound)
    sound.devices = sound.devices[1:]
    stream.vanish()
    started(sound).hear(RAMP)
    listener.wait()
    listener.end()
    assert source.name == "Head set"
    assert "Microphone Head set is used in place of Desk." in caplog.text


class Failing:
    """A noise suppression that holds sound back by 20 ms, until it fails."""

    method = "deepfilter"
    rate_hz = 48_000
    delay_us = 20_000

    def __init__(self, good: int) -> None:
        self.good = good
        self.released = 0

    def prepare(self) -> None:
        if self.good < 0:
            raise MediaError("--denoise deepfilter failed: no model.", hint="")

    def release(self) -> None:
        self.released += 1

    def clean(self, samples: Samples) -> Samples:
        self.good -= 1
        if self.good < 0:
            raise MediaError("--denoise deepfilter failed: it fell over.", hint="")
        return np.full_like(samples, 7)


@pytest.mark.parametrize(
    ("good", "problem", "marks", "pts_us"),
    [
        (2, "it fell over", [7, 7, 0, 3, 4], [-20_000, -10_000, 0, 30_000, 40_000]),
        (-1, "no model", [0, 1, 2, 3, 4], [0, 10_000, 20_000, 30_000, 40_000]),
    ],
)
def test_sound_goes_on_without_a_noise_suppression_that_fails(
    good: int,
    problem: str,
    marks: list[int],
    pts_us: list[int],
    sound: FakeSound,
    now_us: Time,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    failing = Failing(good)

    def make(_method: str, _rate_hz: int, _channels: int) -> Denoiser:
        return failing

    monkeypatch.setattr(microphone, "make_denoiser", make)
    source = open_microphone(denoise="deepfilter", now_us=now_us)
    assert (source.denoise, source.denoise_ms, source.delay_us) == ("deepfilter", 20.0, 20_000)
    listener = Listener(source)
    stream = started(sound)
    for number in range(5):
        now_us.us += 10_000
        stream.hear(np.full(480, number))
    listener.wait(5)
    assert (source.state, source.denoise, source.denoise_ms, source.delay_us) == (
        "live",
        "off",
        0,
        0,
    )
    listener.end()
    assert [int(block.samples[0, 0]) for block in listener.blocks] == marks
    assert [block.pts_us for block in listener.blocks] == pts_us, "the sound it held is a gap"
    assert failing.released == 1
    said = [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]
    assert said == [f"Noise is not suppressed any more: --denoise deepfilter failed: {problem}."]


@pytest.fixture
def hanging(sound: FakeSound, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeSound]:
    """Streams of it can hang; what is left behind is cleared away."""
    monkeypatch.setattr(sounddevices, "PATIENCE_S", 0.05)
    yield sound
    sound.let_go.set()
    sounddevices._streams.clear()
    sounddevices._hanging.clear()


def test_a_device_that_hangs_while_starting_is_an_error(
    hanging: FakeSound, now_us: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    forgotten: list[object] = []
    monkeypatch.setattr("atexit.unregister", forgotten.append)
    hanging.hang = "start"
    with pytest.raises(MediaError, match="hangs instead of starting") as caught:
        open_microphone(now_us=now_us)
    assert caught.value.code == "device-hangs"
    (stream,) = hanging.streams
    sounddevices.closed(stream)
    assert not stream.closed, "that would end the process"
    assert not sounddevices.refresh(), "that would wait for it"
    assert forgotten == [hanging._exit_handler], "so would the end of the process"
    monkeypatch.setattr(sounddevices, "MOST_HANGING", 1)
    with pytest.raises(MediaError, match="1 sound devices hang; no other is opened"):
        open_microphone(now_us=now_us)


def test_a_device_that_hangs_while_ending_is_left_behind(hanging: FakeSound, now_us: Time) -> None:
    source = open_microphone(now_us=now_us)
    listener = Listener(source)
    stream = started(hanging)
    hanging.hang = "abort"
    stream.vanish()
    again = started(hanging)
    assert again is not stream
    hanging.hang = ""
    again.hear(RAMP)
    listener.wait()
    assert (source.state, source.losses) == ("live", 1)
    listener.end()
    assert again.closed
    assert not stream.closed
    assert not sounddevices.refresh()
    hanging.let_go.set()
    end = time.monotonic() + 5
    while not sounddevices.refresh():
        assert time.monotonic() < end, "it has closed after all"
        time.sleep(0.005)


def test_a_microphone_that_falls_silent_is_lost(
    sound: FakeSound, now_us: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(microphone, "STALL_S", 0.05)
    source = open_microphone(now_us=now_us)
    listener = Listener(source)
    stream = started(sound)
    stream.hear(RAMP)
    again = started(sound)
    assert stream.closed
    assert again is not stream
    listener.end()
    assert source.losses == 1


def test_closing_ends_a_search_and_an_idle_microphone(sound: FakeSound, now_us: Time) -> None:
    idle = open_microphone(now_us=now_us)
    idle.close()
    idle.close()
    assert idle.state == "closed"
    assert not list(idle.blocks())
    searching = open_microphone(now_us=now_us)
    listener = Listener(searching)
    stream = started(sound)
    sound.devices = []
    stream.vanish()
    while searching.state != "lost":
        listener.thread.join(0.005)
    listener.end()


def test_total_silence_is_said_once(
    sound: FakeSound,
    now_us: Time,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(microphone, "SILENT_US", 30_000)
    source = open_microphone(now_us=now_us)
    listener = Listener(source)
    stream = started(sound)
    for _ in range(8):
        now_us.us += 10_000
        stream.hear(RAMP * 0)
    listener.wait(8)
    listener.end()
    assert caplog.text.count("hears nothing at all. Is it muted?") == 1


def test_an_unknown_microphone_names_those_that_are_there(sound: FakeSound, now_us: Time) -> None:
    with pytest.raises(MediaError) as caught:
        open_microphone("Studio", now_us=now_us)
    assert caught.value.message == "There is no microphone 'Studio'."
    assert caught.value.hint == "Found: 'Desk' (default), 'Head set'."
    sound.devices = []
    sound._initialize()
    with pytest.raises(MediaError, match="No microphone was found here"):
        open_microphone(now_us=now_us)
    with pytest.raises(MediaError, match="No loudspeaker was found here"):
        find_speaker("")


def test_microphones_are_found_by_id_number_and_part_of_a_name(sound: FakeSound) -> None:
    assert find_microphone("").name == "Desk"
    assert find_microphone("1").name == "Head set"
    assert find_microphone("SET").name == "Head set"
    assert find_speaker("").name == "Box"
    sound.devices.append(device("Desk"))
    sound._initialize()
    assert [one.id for one in list_microphones()] == ["0", "Head set", "3"]
    with pytest.raises(MediaError, match="2 microphones are called 'Desk': 0, 3"):
        find_microphone("Desk")
    assert find_microphone("3").number == 3


def test_the_list_has_what_a_person_needs(sound: FakeSound) -> None:
    desk, head = list_microphones()
    assert (desk.id, desk.channels, desk.rate_hz, desk.default) == ("Desk", 2, 48_000, True)
    assert desk.rates_hz == (16_000, 44_100, 48_000)
    assert not head.default
    (box,) = list_speakers(rates=False)
    assert (box.name, box.rates_hz) == ("Box", ())


def test_a_busy_microphone_is_called_busy(sound: FakeSound, now_us: Time) -> None:
    sound.busy = True
    with pytest.raises(MediaError) as caught:
        open_microphone(now_us=now_us)
    assert "Microphone Desk cannot be opened" in caught.value.message
    assert "Another program may be using it." in caught.value.hint
    sound.busy, sound.rates_hz = False, ()
    with pytest.raises(MediaError, match="Invalid sample rate"):
        open_microphone(now_us=now_us)


@pytest.mark.parametrize(
    ("rate_hz", "channels"), [(100, 1), (500_000, 1), (48_000, 3), (48_000, 0)]
)
def test_impossible_forms_are_refused(
    sound: FakeSound, now_us: Time, rate_hz: int, channels: int
) -> None:
    with pytest.raises(UsageError, match="is not possible"):
        open_microphone(rate_hz=rate_hz, channels=channels, now_us=now_us)


def test_without_portaudio_the_package_is_named(
    now_us: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(libraries, "_failures", {})

    def absent(name: str) -> None:
        raise OSError("PortAudio library not found")

    monkeypatch.setattr("importlib.import_module", absent)
    with pytest.raises(MissingLibrary, match="apt install libportaudio2"):
        open_microphone(now_us=now_us)


def test_a_broken_configuration_of_alsa_is_named(
    now_us: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(libraries, "_failures", {})

    def broken(name: str) -> None:
        raise PortAudioError("Error initializing PortAudio: Unanticipated host error", -9999)

    monkeypatch.setattr("importlib.import_module", broken)
    with pytest.raises(MissingLibrary, match="Error initializing PortAudio") as caught:
        open_microphone(now_us=now_us)
    assert "ALSA_CONFIG_PATH" in caught.value.hint
    assert "Video and messages work without it." in caught.value.hint


def test_devices_are_not_looked_for_under_an_open_stream(sound: FakeSound, now_us: Time) -> None:
    source = open_microphone(now_us=now_us)
    assert not sounddevices.refresh()
    source.close()
    assert sounddevices.refresh()


def test_devices_are_looked_for_again_after_portaudio_failed_to_begin(
    sound: FakeSound, monkeypatch: pytest.MonkeyPatch
) -> None:
    problems = [PortAudioError("Error initializing PortAudio", -9999)]

    def terminate() -> None:
        if len(problems) == 2:
            raise PortAudioError("PortAudio not initialized", -10000)

    def begin() -> None:
        if len(problems) == 1:
            problems.append(problems[0])
            raise problems[0]
        FakeSound._initialize(sound)

    monkeypatch.setattr(sound, "_terminate", terminate)
    monkeypatch.setattr(sound, "_initialize", begin)
    with pytest.raises(MediaError, match="Error initializing PortAudio"):
        sounddevices.refresh()
    assert sounddevices.refresh()


def test_channels_are_mixed_doubled_or_left_out() -> None:
    stereo = np.array([[10, 20], [-3, -4]], np.int16)
    assert conform(stereo, 1).tolist() == [[15], [-4]]
    assert conform(stereo[:, :1], 2).tolist() == [[10, 10], [-3, -3]]
    assert conform(np.array([[1, 2, 3]], np.int16), 2).tolist() == [[1, 2]]
    assert conform(stereo, 2) is stereo
