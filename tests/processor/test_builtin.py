"""The built-in processors do what they say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.processor.parcels import parcel
from wtp.media.picture import Picture
from wtp.media.testsrc import Pattern
from wtp.model import Kind
from wtp.processor.builtin import chat_filter, loudness, motion, passthrough, thumbnail
from wtp.processor.info import Info


def info(kind: Kind, seq: int = 1) -> Info:
    one = parcel(b"", kind, seq)
    return Info(one.track, one.object(), 48_000, 1)


def test_passthrough() -> None:
    obj = parcel().object()
    assert passthrough.process(obj) is obj


def test_motion_tells_start_and_end() -> None:
    watch = motion.Motion()
    empty = np.zeros((480, 640, 3), np.uint8)
    there = empty.copy()
    there[100:200, 300:400] = 255
    quiet = [watch(empty, info(Kind.VIDEO, n)) for n in range(3)]
    start = watch(there, info(Kind.VIDEO, 3))
    more = watch(empty, info(Kind.VIDEO, 300_000))
    still = watch(empty, info(Kind.VIDEO, 700_000))
    end = watch(empty, info(Kind.VIDEO, 800_001))
    assert quiet == [None] * 3
    assert start == {
        "event": "start",
        "share": pytest.approx(100 * 100 / (640 * 480), rel=0.05),
        "box": [300, 100, 400, 200],
        "capture_us": 1_000_003,
    }
    assert (more, still) == (None, None)
    assert end == {"event": "end", "seconds": 0.3, "capture_us": 1_800_001}
    assert watch(np.zeros((48, 64, 3), np.uint8), info(Kind.VIDEO)) is None


def test_motion_sees_the_test_pattern_move() -> None:
    pattern, watch = Pattern(640, 480), motion.Motion()
    events: list[Any] = []
    for n in range(10):
        picture = Picture(pattern.draw(n * 100_000), 640, 480)
        events.append(watch(picture.bgr(), info(Kind.VIDEO, n)))
    assert [event["event"] for event in events if event] == ["start"]


@pytest.mark.parametrize(
    ("size", "small"),
    [
        ((480, 640), (120, 160)),
        ((100, 161), (50, 80)),
        ((48, 64), (48, 64)),
        ((720, 1280), (90, 160)),
    ],
)
def test_thumbnails_are_small_and_true(size: tuple[int, int], small: tuple[int, int]) -> None:
    picture = np.zeros((*size, 3), np.uint8)
    picture[:, size[1] // 2 :] = (10, 100, 250)
    made = thumbnail.process(picture)
    assert made.shape == (*small, 3)
    assert made[0, 0].tolist() == [0, 0, 0]
    assert made[-1, -1].tolist() == [10, 100, 250]


def test_loudness_of_a_tone_and_of_silence() -> None:
    listen = loudness.Loudness()
    tone = np.sin(np.arange(4800) * 2 * np.pi / 48).reshape(-1, 1)
    full = listen(tone.astype(np.float32), info(Kind.AUDIO))
    assert full is not None
    assert (full["rms_dbfs"], full["peak_dbfs"], full["open"]) == (-3.0, 0.0, True)
    soft = listen((tone * 32767 * 10 ** (-40 / 20)).astype(np.int16), info(Kind.AUDIO))
    assert soft is not None
    assert soft["rms_dbfs"] == pytest.approx(-43, abs=0.2)
    assert soft["open"] is True
    silence = listen(np.zeros((480, 2), np.int16), info(Kind.AUDIO))
    assert silence is not None
    assert (silence["rms_dbfs"], silence["open"]) == (-120.0, False)
    again = listen((tone * 32767 * 10 ** (-40 / 20)).astype(np.int16), info(Kind.AUDIO))
    assert again is not None
    assert again["open"] is False
    assert listen(np.zeros((0, 1), np.int16), info(Kind.AUDIO)) is None


def test_chat_words_are_masked(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert chat_filter.process("Damn, daaamn it; hello!") == "****, ****** it; hello!"
    file = tmp_path / "words"
    file.write_text("a.b\n\n c++ \n")
    monkeypatch.setenv("WTP_CHAT_WORDS", str(file))
    assert chat_filter.listed() == ("a.b", "c++")
    assert chat_filter.pattern(("a.b",)).sub("*", "a.b axb") == "* axb"
