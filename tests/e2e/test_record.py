"""`wtp record` and `wtp consume` into pipes as people run them, judged by ffprobe and ffmpeg."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.stage import Run, Stage, stage_in, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.tool("ffmpeg", "ffprobe"), pytest.mark.timeout(120)]

FPS = 30
LOST_S = 2.0
"""What a kill may lose: one fragment of a second, and what is under way on a busy machine."""

SHARE = 0.1
"""What a publisher on a busy machine may bring of the nominal rate."""


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A room in which the test picture and the test sound are live."""
    with stage_in(tmp_path_factory.mktemp("record")) as stage:
        stage.broker()
        stage.router()
        publisher = stage.child(
            "publish", "--source", "testsrc", "--size", "160x120", "--mic", "testsrc",
            "--name", "cam", "--gop", "15",
        )  # fmt: skip
        publisher.event("ready")
        yield stage
        publisher.finish()


def probe(path: Path) -> dict[str, dict[str, Any]]:
    """What ffprobe says of a file's streams, by kind; everything is decoded without an error."""
    words = ["ffprobe", "-v", "error", "-count_frames", "-show_streams", "-of", "json", str(path)]
    done = subprocess.run(words, capture_output=True, check=True)
    assert done.stderr == b"", done.stderr[-2000:]
    return {stream["codec_type"]: stream for stream in json.loads(done.stdout)["streams"]}


def recording(run: Run, seconds: float) -> dict[str, Any]:
    """Wait until a recorder has recorded for so long; its figures."""
    return run.until(
        lambda one: one["event"] == "status" and one["recorded_us"] > seconds * 1e6,
        f"{seconds} s recorded",
    )


def test_live_killed_and_from_the_past(stage: Stage) -> None:
    folder = stage.folder / uuid.uuid4().hex  # one for each try
    folder.mkdir()
    path = folder / "killed.mp4"
    killed = stage.child("record", str(path))
    live = stage.command("record", str(folder / "live.mkv"), "--segment", "1s")
    status = recording(killed, 2.5)
    stage.kill_hard(killed)
    past = stage.command("record", str(folder / "past.mp4"), "--from", "-3s", "-o", "json", "-q")

    # The killed one left what can be played, but for its last fragment.
    streams = probe(path)
    recorded_s = status["recorded_us"] / 1e6
    assert streams["video"]["codec_name"] == "h264"
    assert int(streams["video"]["nb_read_frames"]) >= (recorded_s - LOST_S) * FPS * SHARE
    assert int(streams["audio"]["nb_read_frames"]) >= (recorded_s - LOST_S) * 100 * SHARE

    wait_for(lambda: (folder / "live-002.mkv").exists(), "a second file", 60.0)
    assert live.stop(signal.SIGINT) == 130
    assert "live-002.mkv" in live.stderr
    first = probe(folder / "live.mkv")
    assert first["video"]["tags"]["title"] == "cam/video"
    assert first["audio"]["tags"]["title"] == "cam/audio"

    assert past.wait() == 0
    shot = json.loads(past.stdout)
    assert shot["parts"][0]["file"] == str(folder / "past.mp4")
    streams = probe(folder / "past.mp4")
    assert streams["video"]["tags"]["handler_name"] == "cam/video"
    starts = [float(streams[kind]["start_time"]) for kind in ("audio", "video")]
    assert abs(starts[0] - starts[1]) < LOST_S


def piped(stage: Stage, words: Sequence[str], reader: Sequence[str]) -> tuple[bytes, int]:
    """Pipe a command into a reader: what that wrote, and how the command ended."""
    env = {**os.environ, **stage.env, **stage.mark}
    source = subprocess.Popen(
        [sys.executable, "-m", "wtp", *words], cwd=stage.folder, env=env,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert source.stdout is not None
    assert source.stderr is not None
    done = subprocess.run(reader, stdin=source.stdout, capture_output=True, timeout=60, check=False)
    source.stdout.close()
    said = source.stderr.read()
    source.stderr.close()
    code = source.wait(60)
    assert done.returncode == 0, (done.stderr[-2000:], said[-2000:])
    assert b"Traceback" not in said
    assert b"roken pipe" not in said
    return done.stdout, code


def test_pictures_and_sound_in_a_pipe(stage: Stage) -> None:
    # The reader takes two seconds and leaves: that is no error.
    target = stage.folder / "pipe.mkv"
    reader = ["ffmpeg", "-v", "error", "-i", "-", "-t", "2", "-c", "copy", "-y", str(target)]
    _, code = piped(stage, ["consume", "--mux", "mpegts"], reader)
    assert code == 0
    streams = probe(target)
    assert streams["video"]["codec_name"] == "h264"
    assert streams["audio"]["codec_name"] == "opus"


def test_sound_alone_in_a_pipe_is_opened_without_flags(stage: Stage) -> None:
    reader = ["ffprobe", "-v", "error", "-show_streams", "-of", "json", "-"]
    out, code = piped(stage, ["consume", "audio", "--raw", "-", "--duration", "1s", "-q"], reader)
    (stream,) = json.loads(out)["streams"]
    assert stream["codec_name"] == "opus"
    assert code == 0
