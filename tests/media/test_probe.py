from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from wtp.errors import MediaError
from wtp.media.probe import probe_source

from .footage import clip, write_tone


def test_a_film() -> None:
    found = probe_source(clip("bikes"))
    assert found["duration_s"] == 10
    video = {"type": "video", "codec": "h264", "width": 640, "height": 272, "fps": 25}
    assert found["streams"][0] == video


def test_sound(tmp_path: Path) -> None:
    found = probe_source(str(write_tone(tmp_path / "tone.wav")))
    assert found["format"] == "wav"
    sound = {"type": "audio", "codec": "pcm_s16le", "rate_hz": 48000, "channels": 1}
    assert found["streams"] == [sound]


def test_the_test_pattern() -> None:
    found = probe_source("testsrc")
    assert found["streams"][0]["width"] == 640
    assert found["duration_s"] is None


def test_what_is_not_there() -> None:
    with pytest.raises(MediaError, match="No such file"):
        probe_source("/nowhere/film.mp4")


def test_no_password_in_an_error(free_port: Callable[[], int]) -> None:
    with pytest.raises(MediaError) as caught:
        probe_source(f"rtsp://me:secret@127.0.0.1:{free_port()}/x")
    assert "secret" not in str(caught.value)
