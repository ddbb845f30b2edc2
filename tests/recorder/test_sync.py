"""Sound and pictures of a recording are in step, as measured in the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.recorder.rooms import T0_US, Room, decoded, heard, read, record, room
from wtp.media.frames import planes_of
from wtp.media.testsrc import read_code
from wtp.media.testtone import onsets

AIM_S = 0.005

WHOLE_S = 0.06
"""A beep that begins earlier may have been cut by the beginning of the recording."""


def lips_s(path: Path) -> list[float]:
    """By how much each beep is heard late against the pictures, s."""
    shifts = []
    for at_s, frame in decoded(path):
        code_us = read_code(planes_of(frame, frame.width, frame.height))
        assert code_us is not None
        shifts.append(at_s - (code_us - T0_US) / 1e6)
    pictures_s = sum(shifts) / len(shifts)
    assert max(shifts) - min(shifts) < 0.002, "the pictures are not evenly in time"
    begin_s, samples, rate_hz = heard(path)
    beeps = [begin_s + one for one in onsets(samples, rate_hz) if one > WHOLE_S]
    assert beeps
    late = [beep - pictures_s for beep in beeps]
    return [one - round(one) for one in late]


@pytest.mark.parametrize(
    ("name", "video", "audio"),
    [
        ("room.mp4", "h264", "opus"),
        ("room.mkv", "h264", "opus"),
        ("room.mkv", "h264", "pcm"),
        ("room.webm", "vp8", "opus"),
    ],
)
async def test_lips_within_five_ms(tmp_path: Path, name: str, video: str, audio: str) -> None:
    path = tmp_path / name
    await record(path, room(video, audio, 3.0).broker())
    errors = lips_s(path)
    assert len(errors) >= 2
    assert max(abs(one) for one in errors) < AIM_S


@pytest.mark.parametrize("audio_us", [-437_000, 615_000])
async def test_sound_that_begins_earlier_or_later_stays_in_step(
    tmp_path: Path, audio_us: int
) -> None:
    source = room(seconds=3.0)
    moved = Room()
    for at_us, message in source.messages:
        audio = message.key.endswith("audio")
        begins_us = T0_US + max(0, audio_us)
        if (audio and at_us >= begins_us) or (not audio and at_us >= T0_US - min(0, audio_us)):
            moved.messages.append((at_us, message))
    path = tmp_path / "room.mp4"
    await record(path, moved.broker())
    assert max(abs(one) for one in lips_s(path)) < AIM_S
    first = {stream.codec: stream.times[0] for stream in read(path)}
    assert first["h264"] == pytest.approx(0.0, abs=0.001)
    assert first["opus"] == pytest.approx(max(0, audio_us) / 1e6, abs=0.0125)


async def test_a_gap_stays_a_gap(tmp_path: Path) -> None:
    source = room(seconds=2.0)
    later = [
        (at_us + (7_000_000 if at_us >= T0_US + 1_000_000 else 0), message)
        for at_us, message in source.messages
    ]
    moved = Room()
    for at_us, message in later:
        properties = {**message.properties, "capture_us": str(at_us)}
        values = {name: getattr(message, name) for name in message.__dataclass_fields__}
        values |= {"properties": properties, "event_ms": at_us // 1000}
        moved.messages.append((at_us, type(message)(**values)))
    path = tmp_path / "room.mkv"
    await record(path, moved.broker())
    for stream in read(path):
        if stream.codec in ("h264", "opus"):
            steps = [b - a for a, b in zip(stream.times, stream.times[1:], strict=False)]
            assert max(steps) == pytest.approx(7.0, abs=0.05)
            assert sorted(steps)[-2] < 0.05
