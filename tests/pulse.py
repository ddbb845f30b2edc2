"""A private PulseAudio: a null sink each as microphone and as loudspeaker, in a folder of its own.

Use it as a fixture, in tests with the mark `pulseaudio`:

    from tests.pulse import Pulse
    from tests.pulse import pulse as pulse

    @pytest.mark.pulseaudio
    def test_something(pulse: Pulse, wtp_process: Processes) -> None:
        with pulse.playing(tone(440.0, 3.0)):
            wtp_process("publish", "--mic", "--denoise", "off", env=pulse.env)

A steady tone is noise to a noise suppression: switch it off. `pulse_here` gives the same one to
PortAudio in the test's own process.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
import pytest
from numpy.typing import NDArray

MICROPHONE, SPEAKER = "microphone", "speaker"
"""Names of the sinks; what is played into the first is what a microphone hears."""

Sound = NDArray[np.int16]

# With rewinds a null sink takes steps of up to 2 s, and its first user waits for one.
_SCRIPT = """\
load-module module-null-sink sink_name=microphone rate=48000 norewinds=1
load-module module-null-sink sink_name=speaker rate=48000 norewinds=1
load-module module-native-protocol-unix socket={socket} auth-anonymous=1
set-default-sink speaker
set-default-source microphone.monitor
"""

_ALSA = """\
pcm.pulse { type pulse }
ctl.pulse { type pulse }
pcm.!default { type pulse }
ctl.!default { type pulse }
"""

_PLAYER = ("pacat", "--playback", "--format=s16le", "--latency-msec=20")


class Pulse:
    """A running PulseAudio; `close` ends it by its own process id.

    Args:
        folder: An empty one, for its socket, cookie and log.

    Attributes:
        env: What a child process needs so that its PortAudio finds this one and nothing else.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._socket = folder / "native"
        alsa = folder / "asound.conf"
        alsa.write_text(_ALSA)
        self.env = {
            "PULSE_SERVER": f"unix:{self._socket}",
            "PULSE_COOKIE": str(folder / "cookie"),
            "PULSE_RUNTIME_PATH": str(folder),
            "ALSA_CONFIG_PATH": str(alsa),
        }
        self._files = 0
        self._daemon: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it (again), with both sinks."""
        script = self._folder / "script.pa"
        script.write_text(_SCRIPT.format(socket=self._socket))
        argv = ["pulseaudio", "-n", "-F", str(script), "--daemonize=no", "--exit-idle-time=-1"]
        argv += ["--use-pid-file=no", "--disallow-exit=yes", "--log-target=stderr", "--realtime=no"]
        own = {"HOME": str(self._folder), "XDG_RUNTIME_DIR": str(self._folder)}
        with (self._folder / "log").open("ab") as log:
            self._daemon = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._variables(own)
            )
        self._wait_until_it_answers(self._daemon)

    def close(self) -> None:
        """End it."""
        if self._daemon is not None:
            _end(self._daemon)
            self._daemon = None
            self._socket.unlink(missing_ok=True)

    def control(self, *words: str) -> str:
        """Run `pactl WORDS`; returns what it printed."""
        done = subprocess.run(
            ["pactl", *words], env=self._variables(), capture_output=True, text=True, timeout=10
        )
        assert done.returncode == 0, f"pactl {words}: {done.stderr}"
        return done.stdout.strip()

    def recording(self) -> bool:
        """Whether some program listens to the microphone or records the loudspeaker."""
        return bool(self._lines("source-outputs"))

    def sounding(self) -> bool:
        """Whether some program plays to one of the two."""
        return bool(self._lines("sink-inputs"))

    @contextmanager
    def playing(
        self, sound: Sound, rate_hz: int = 48_000, sink: str = MICROPHONE
    ) -> Iterator[None]:
        """Play into the microphone while the block runs, again and again."""
        self._files += 1
        path = self._folder / f"sound-{self._files}.raw"
        path.write_bytes(sound.astype("<i2").tobytes() * -(-rate_hz * 10 // len(sound)))
        channels = 1 if sound.ndim == 1 else sound.shape[1]
        form = [f"--device={sink}", f"--rate={rate_hz}", f"--channels={channels}"]
        loop = ["sh", "-c", 'while cat "$0"; do :; done', str(path)]
        with subprocess.Popen(loop, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as again:
            player = self._run([*_PLAYER, *form], stdin=again.stdout)
            assert again.stdout is not None
            again.stdout.close()
            try:
                self._wait_until(self.sounding)
                yield
            finally:
                _end(player)
                _end(again)

    @contextmanager
    def listening(self, path: Path, rate_hz: int = 48_000) -> Iterator[None]:
        """Record the loudspeaker to a wav file (one channel) while the block runs."""
        argv = ["parec", f"--device={SPEAKER}.monitor", "--format=s16le", "--channels=1"]
        argv += [f"--rate={rate_hz}", "--latency-msec=20", "--file-format=wav", str(path)]
        recorder = self._run(argv)
        try:
            yield
        finally:
            _end(recorder)

    def _run(
        self, argv: list[str], stdin: int | IO[bytes] | None = subprocess.DEVNULL
    ) -> subprocess.Popen[bytes]:
        with (self._folder / "clients.log").open("ab") as log:
            return subprocess.Popen(
                argv, stdin=stdin, stdout=log, stderr=log, env=self._variables()
            )

    def _lines(self, what: str) -> list[str]:
        return self.control("list", "short", what).splitlines()

    def _wait_until(self, holds: Callable[[], bool]) -> None:
        end = time.monotonic() + 10
        while not holds():
            assert time.monotonic() < end, (self._folder / "clients.log").read_text()
            time.sleep(0.02)

    def _variables(self, more: dict[str, str] | None = None) -> dict[str, str]:
        return {**os.environ, **self.env, **(more or {})}

    def _wait_until_it_answers(self, daemon: subprocess.Popen[bytes]) -> None:
        end = time.monotonic() + 15
        while time.monotonic() < end and daemon.poll() is None:
            with socket.socket(socket.AF_UNIX) as probe:
                if probe.connect_ex(str(self._socket)) == 0:
                    return
            time.sleep(0.02)
        log = (self._folder / "log").read_text(errors="replace")
        self.close()
        raise AssertionError(f"PulseAudio does not start.\n{log}")


def tone(hz: float, seconds: float, rate_hz: int = 48_000, level: float = 0.25) -> Sound:
    """A sine that fits whole periods as well as it can; `n` samples."""
    times = np.arange(round(seconds * rate_hz)) / rate_hz
    return np.rint(np.sin(2 * np.pi * hz * times) * level * 32767).astype(np.int16)


def peak_hz(sound: Sound, rate_hz: int) -> float:
    """The loudest frequency of a sound of one channel, to a fraction of 1 Hz."""
    sound = sound.reshape(-1)
    size = 1 << max(18, (len(sound) - 1).bit_length())
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), size))
    return float(np.argmax(spectrum) * rate_hz / size)


def pieces_hz(sound: Sound, rate_hz: int) -> NDArray[np.float64]:
    """The loudest frequency of each 50 ms of a sound of one channel, but for those of silence."""
    size = rate_hz // 20
    pieces = sound[: len(sound) // size * size].reshape(-1, size).astype(np.float64)
    levels = np.sqrt(np.mean(pieces**2, axis=1))
    loud = pieces[levels > levels.max() / 2]
    spectra = np.abs(np.fft.rfft(loud * np.hanning(size), 1 << 15))
    peaks = np.clip(np.argmax(spectra, axis=1), 1, spectra.shape[1] - 2)
    before, at, after = (
        np.log(spectra[np.arange(len(loud)), peaks + step] + 1) for step in (-1, 0, 1)
    )
    between = (before - after) / (2 * (before - 2 * at + after) - 1e-9)
    return np.asarray((peaks + between) * rate_hz / (1 << 15))


def tone_hz(sound: Sound, rate_hz: int) -> float:
    """The frequency of a tone of one channel, also when a busy machine broke it many times.

    A skip moves the peak of a spectrum by some Hz, but only that of the 50 ms it is in, and each
    by another amount: the frequency is what most of these pieces agree on.
    """
    found = pieces_hz(sound, rate_hz)
    agreeing = max((found[np.abs(found - one) < 0.3] for one in found), key=len)
    assert len(agreeing) >= 6, f"no steady tone: {np.round(found, 1)} Hz"
    return float(np.median(agreeing))


def write_wav(path: Path, sound: Sound, rate_hz: int) -> None:
    """Write 16-bit samples, `n` or `n` x channels."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1 if sound.ndim == 1 else sound.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(sound.astype("<i2").tobytes())


def read_wav(path: Path) -> tuple[Sound, int]:
    """Samples (`n` x channels) and rate of a wav file, also of one that was cut off."""
    with wave.open(str(path), "rb") as file:
        data = file.readframes(file.getnframes())
        channels, rate_hz = file.getnchannels(), file.getframerate()
    whole = len(data) // (2 * channels) * 2 * channels
    return np.frombuffer(data[:whole], "<i2").reshape(-1, channels).astype(np.int16), rate_hz


@pytest.fixture
def pulse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pulse]:
    """A PulseAudio of the test's own."""
    running = Pulse(tmp_path_factory.mktemp("pulse"))
    try:
        yield running
    finally:
        running.close()


@pytest.fixture
def pulse_here(pulse: Pulse, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pulse]:
    """The same, for PortAudio in this process."""
    import sounddevice

    for name, value in pulse.env.items():
        monkeypatch.setenv(name, value)
    sounddevice._terminate()
    sounddevice._initialize()
    yield pulse
    sounddevice._terminate()
    monkeypatch.undo()
    sounddevice._initialize()


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()
