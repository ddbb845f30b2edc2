"""The whole path with real devices: microphone and test picture in, window and speaker out."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.e2e.stage import Run, stage_in, wait_for
from tests.media.test_window import display
from tests.pulse import Pulse, pieces_hz, pulse, read_wav, tone
from tests.watcher.fakes import code_of
from wtp.media.picture import Pixels

__all__ = ["display", "pulse"]

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.device("display", "opencv"),
    pytest.mark.pulseaudio,
    pytest.mark.tool("ffmpeg", "Xvfb"),
]

TONE_HZ = 440.0
WIDTH, HEIGHT = 640, 480


def screenshot(display: str) -> Pixels:
    """The top left corner of a display, where a window without a window manager lies."""
    argv = ["ffmpeg", "-loglevel", "error", "-f", "x11grab", "-video_size", f"{WIDTH}x{HEIGHT}"]
    argv += ["-i", display, "-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "bgr24", "-"]
    done = subprocess.run(argv, capture_output=True, timeout=30, check=True)
    return np.frombuffer(done.stdout, np.uint8).reshape(HEIGHT, WIDTH, 3)


def heard_hz(path: Path) -> tuple[float, float]:
    """The median frequency of the second half of a recording, and its level (RMS).

    A busy machine breaks the tone, and the play-out stretches it to keep in step.
    """
    sound, rate_hz = read_wav(path)
    half = sound[len(sound) // 2 :]
    level = float(np.sqrt(np.mean(half.astype(np.float64) ** 2)))
    return float(np.median(pieces_hz(half, rate_hz))), level


def synced(run: Run, pictures: int) -> bool:
    """Whether so many pictures were compared with their sound."""
    sync = run.last.get("lip_sync_ms")
    return bool(sync and sync["n"] >= pictures)


def test_a_room_is_seen_and_heard_in_step_also_after_the_broker_and_a_track_alone_at_44100_hz(
    tmp_path: Path, pulse: Pulse, display: str
) -> None:
    folder = tmp_path / "stage"
    folder.mkdir()
    env = {**pulse.env, "DISPLAY": display}
    with stage_in(folder) as stage, pulse.playing(tone(TONE_HZ, 3.0)):
        broker = stage.broker()
        stage.router()
        mic = ["--mic", "--denoise", "off"]
        pcm = ["--audio-codec", "pcm", "--rate", "44100", "--room", "lab"]
        # On a busy machine fewer bits would blur the code.
        video = ["--source", "testsrc", "--no-adapt"]
        cam = stage.child("publish", *video, *mic, "--name", "cam", env=env)
        lab = stage.child("publish", *mic, *pcm, "--name", "mic", env=env)
        lab.event("ready")
        play = stage.child("consume", "audio", "--room", "lab", "--play", "--wait", env=env)
        wait_for(lambda: play.last.get("delivered", 0) > 50, lambda: play.report()[-3000:], 60.0)
        with pulse.listening(tmp_path / "alone.wav", 44_100):
            before = play.last["delivered"]
            wait_for(lambda: play.last["delivered"] > before + 300, "more sound", 60.0)
        play.finish()
        assert "44100 Hz" in play.stderr
        lab.finish()
        cam.event("ready")
        watch = stage.child("watch", env=env)
        watch.event("ready")
        wait_for(lambda: synced(watch, 30), lambda: watch.report()[-3000:], 60.0)
        with pulse.listening(tmp_path / "heard.wav"):
            before = watch.last["shown"]
            wait_for(lambda: watch.last["shown"] >= before + 90, "90 more pictures", 60.0)
        wait_for(lambda: code_of(screenshot(display)), "a picture whose code can be read", 60.0)
        stage.kill_hard(broker)
        watch.until(lambda one: one.get("state") == "broker-lost", "the loss of the broker")
        stage.broker()
        mark = len(watch.events())
        watch.since(mark, lambda one: one.get("state") == "watching", "the way back", 30)
        shown = watch.last["shown"]
        wait_for(lambda: watch.last["shown"] > shown + 10, "pictures after the loss", 60.0)
        figures = watch.finish()
        lost = f"The broker at {stage.broker_url} is lost"
        assert watch.stderr.count(lost) == 1, watch.stderr
        assert "screen" not in watch.stderr, "a topic that never was is not spoken of"
    for name in ("heard.wav", "alone.wav"):
        hz, level = heard_hz(tmp_path / name)
        assert abs(hz - TONE_HZ) < 0.04 * TONE_HZ, hz
        assert level > 500
    ledger = figures["ledger"]
    assert ledger["in_flight"] == 0
    assert ledger["offered"] == ledger["delivered"] + sum(ledger["dropped"].values())
    (seen,) = figures["publishers"]
    assert seen["clock_known"]
    print("lip sync", figures["lip_sync_ms"], "delay", seen["delay_ms"])  # noqa: T201 - a figure
