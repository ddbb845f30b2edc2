"""Streams that are sent as they are: each object decodes, and the stamps say when it is shown."""

from __future__ import annotations

import itertools
import struct
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from wtp.clock import monotonic_us
from wtp.errors import MediaError
from wtp.media.audio import AudioDecoder
from wtp.media.copy import CopySource, open_copies
from wtp.media.copyframing import AdtsFraming
from wtp.media.demux import Demuxer
from wtp.media.video import Encoded, VideoDecoder

from .footage import clip, frozen_clock, write_video

TONE_HZ, RATE_HZ = 1000, 48_000
REFUSED = "cannot be sent as it is"


def copies(path: Path | str, *wanted: str, pace: bool = False) -> list[CopySource]:
    clock = monotonic_us if pace else frozen_clock
    return open_copies(Demuxer(str(path), now_us=clock, pace=pace, wanted=wanted or ("video",)))


def shown(content_type: str, units: list[Encoded]) -> list[int]:
    """Times of the decoded pictures, in the order in which the decoder gives them out."""
    decoder = VideoDecoder(content_type)
    return [
        picture.pts_us
        for unit in units
        for picture in decoder.decode(unit.payload, pts_us=unit.pts_us)
    ]


def write_sound(path: Path, codec: str, layout: str = "stereo", rate_hz: int = RATE_HZ) -> Path:
    """A tone of 1 kHz, one second."""
    with av.open(str(path), "w") as out:
        stream: Any = out.add_stream(codec, rate=rate_hz, layout=layout)
        channels = stream.layout.nb_channels
        at = np.arange(rate_hz)
        wave = (8000 * np.sin(2 * np.pi * TONE_HZ * at / rate_hz)).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(wave.repeat(channels)[None, :], "s16", layout)
        frame.sample_rate, frame.pts = rate_hz, 0
        resampler = av.AudioResampler(stream.codec_context.format, layout, rate_hz, 960)
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            out.mux(stream.encode(piece))
        out.mux(stream.encode(None))
    return path


def heard_hz(content_type: str, units: list[Encoded]) -> float:
    decoder = AudioDecoder(content_type)
    heard = np.concatenate([decoder.decode(unit.payload) for unit in units])[:, 0]
    assert len(heard) > decoder.rate_hz * 0.8
    half = heard[len(heard) // 4 : len(heard) // 4 + decoder.rate_hz // 2].astype(float)
    spectrum = np.abs(np.fft.rfft(half * np.hanning(len(half))))
    return float(spectrum.argmax() * decoder.rate_hz / len(half))


@pytest.mark.parametrize(("name", "count"), [("bikes", 250), ("bigbuckbunny", 132)])
def test_a_real_clip_decodes_in_the_order_in_which_it_is_shown(name: str, count: int) -> None:
    (source,) = copies(clip(name))
    assert source.content_type == "video/h264"
    units = list(source.units())
    times = [unit.pts_us for unit in units]
    assert len(units) == count
    assert sorted(times) == [40_000 * i for i in range(count)]
    assert (times != sorted(times)) == (name == "bikes")
    seen = shown(source.content_type, units)
    assert seen == [40_000 * i for i in range(len(seen))]
    assert len(seen) >= count - 3


def test_every_key_can_be_joined_at() -> None:
    (source,) = copies(clip("bikes"))
    units = list(source.units())
    keys = [at for at, unit in enumerate(units) if unit.key]
    assert len(keys) > 3
    for at in keys:
        decoder = VideoDecoder(source.content_type)
        decoded = [p for unit in units[at : at + 12] for p in decoder.decode(unit.payload)]
        assert decoded, f"nothing decodes from {at} on"


def test_times_that_begin_anew_go_on(tmp_path: Path) -> None:
    """Two recordings in one file, as `cat` joins them."""
    one = write_video(tmp_path / "one.ts", 60, size=(128, 96), options={"bf": "2", "g": "30"})
    both = tmp_path / "both.ts"
    both.write_bytes(one.read_bytes() * 2)
    (source,) = copies(both)
    times = sorted(unit.pts_us for unit in source.units())
    assert len(times) == 120
    steps = np.diff(times)
    assert 30_000 <= steps.min() <= steps.max() <= 70_000, times


def test_no_stamp_lies_in_the_future_and_order_is_kept() -> None:
    (source,) = copies(clip("bikes"), pace=True)
    taken = [(u.pts_us, u.capture_us or 0, monotonic_us()) for u in itertools.islice(
        source.units(), 20)]  # fmt: skip
    source.close()
    start = taken[0][1]
    for pts_us, capture_us, now_us in taken:
        assert capture_us == start + pts_us
        assert now_us >= capture_us


@pytest.mark.parametrize(
    ("codec", "ending", "options", "content_type"),
    [
        ("libx264", "ts", {"bf": "2", "g": "10"}, "video/h264"),
        ("libx264", "mkv", {"bf": "0", "g": "10"}, "video/h264"),
        ("libvpx", "webm", {"g": "10", "deadline": "realtime"}, "video/vp8"),
        ("libvpx-vp9", "webm", {"g": "10", "deadline": "realtime", "cpu-used": "8"}, "video/vp9"),
        ("libsvtav1", "mp4", {"g": "10", "preset": "12"}, "video/av1"),
        ("libsvtav1", "mkv", {"g": "10", "preset": "12"}, "video/av1"),
        ("mjpeg", "avi", {}, "image/jpeg"),
    ],
)
def test_codecs(
    tmp_path: Path, codec: str, ending: str, options: dict[str, str], content_type: str
) -> None:
    path = write_video(
        tmp_path / f"film.{ending}", 30, size=(128, 96), codec=codec, options=options,
        pix_fmt="yuvj420p" if codec == "mjpeg" else "yuv420p",
    )  # fmt: skip
    (source,) = copies(path)
    assert (source.content_type, source.about) == (content_type, "128x96")
    units = list(source.units())
    assert len(units) == 30
    seen = shown(content_type, units)
    assert len(seen) >= 26
    assert seen == sorted(seen)
    second = [at for at, unit in enumerate(units) if unit.key][1]
    assert len(shown(content_type, units[second:])) >= 30 - second - 4


@pytest.mark.parametrize(
    ("codec", "ending", "layout", "rate_hz", "content_type"),
    [
        ("aac", "mp4", "stereo", 44_100, "audio/aac;rate=44100;channels=2"),
        ("aac", "ts", "mono", 48_000, "audio/aac;rate=48000;channels=1"),
        ("libopus", "webm", "stereo", 48_000, "audio/opus;rate=48000;channels=2"),
        ("libopus", "mp4", "mono", 48_000, "audio/opus;rate=48000;channels=1"),
        ("pcm_s16le", "wav", "stereo", 44_100, "audio/pcm;format=s16le;rate=44100;channels=2"),
    ],
)
def test_sound(
    tmp_path: Path, codec: str, ending: str, layout: str, rate_hz: int, content_type: str
) -> None:
    path = write_sound(tmp_path / f"tone.{ending}", codec, layout, rate_hz)
    (source,) = copies(path, "audio")
    assert source.content_type == content_type
    units = list(source.units())
    assert all(unit.key for unit in units)
    assert abs(heard_hz(content_type, units) - TONE_HZ) < 3


def test_picture_and_sound_share_one_start() -> None:
    video, audio = copies(clip("bigbuckbunny"), "video", "audio")
    assert audio.content_type.startswith("audio/aac;rate=48000;channels=6")
    first = next(iter(video.units()))
    sound = next(iter(audio.units()))
    assert abs(first.pts_us - sound.pts_us) < 60_000


@pytest.mark.parametrize(
    ("codec", "ending", "named"), [("mpeg4", "mp4", "mpeg4"), ("ffv1", "mkv", "ffv1")]
)
def test_other_codecs_are_refused_by_name(
    tmp_path: Path, codec: str, ending: str, named: str
) -> None:
    path = write_video(tmp_path / f"film.{ending}", 3, codec=codec)
    with pytest.raises(MediaError, match=rf"{named} of .*{REFUSED}") as caught:
        copies(path)
    assert "Leave out --copy" in caught.value.hint


@pytest.mark.parametrize(
    ("codec", "ending", "named"), [("mp3", "mp3", "mp3"), ("pcm_s24le", "wav", "pcm_s24le")]
)
def test_other_sound_is_refused_by_name(
    tmp_path: Path, codec: str, ending: str, named: str
) -> None:
    path = tmp_path / f"tone.{ending}"
    path = write_sound(path, "libmp3lame") if codec == "mp3" else write_sound(path, codec)
    with pytest.raises(MediaError, match=rf"{named}.* of .*{REFUSED}") as caught:
        copies(path, "audio")
    assert "--no-sound" in caught.value.hint


def test_raw_h264_with_b_frames_has_no_times(tmp_path: Path) -> None:
    path = write_video(tmp_path / "film.h264", 30, options={"bf": "2"})
    (source,) = copies(path)
    with pytest.raises(MediaError, match="B-frames and no times"):
        list(source.units())


def test_raw_h264_without_b_frames(tmp_path: Path) -> None:
    path = write_video(tmp_path / "film.h264", 30, fps=25, options={"bf": "0", "g": "10"})
    (source,) = copies(path)
    units = list(source.units())
    assert [unit.pts_us for unit in units] == [40_000 * i for i in range(30)]
    assert len(shown("video/h264", units)) == 30


def test_a_start_in_the_middle_waits_for_a_key(tmp_path: Path) -> None:
    path = write_video(tmp_path / "film.ts", 60, options={"bf": "0", "g": "20"})
    data = path.read_bytes()
    cut = tmp_path / "cut.ts"
    cut.write_bytes(data[len(data) // 188 // 5 * 188 :])
    (source,) = copies(cut)
    units = list(source.units())
    assert units[0].key
    assert len(shown("video/h264", units)) == len(units)


def test_adts_header_of_a_known_configuration() -> None:
    config = struct.pack(">H", 2 << 11 | 3 << 7 | 2 << 3)  # LC, 48 kHz, stereo
    framing = AdtsFraming(config)
    framed = framing.frame(bytes(100))
    assert framed[:4].hex() == "fff14c80"
    assert framed[7:] == bytes(100)
    assert framing.frame(framed) == framed
    with pytest.raises(MediaError, match="too long"):
        framing.frame(bytes(9000))
    with pytest.raises(MediaError, match="cannot be sent"):
        AdtsFraming(struct.pack(">H", 2 << 11 | 15 << 7))


def test_a_loop_goes_on_with_the_times() -> None:
    (source,) = open_copies(Demuxer(clip("bikes"), loop=True, now_us=frozen_clock, pace=False))
    units = list(itertools.islice(source.units(), 600))
    source.close()
    assert sorted(unit.pts_us for unit in units[:500]) == [40_000 * i for i in range(500)]
    assert units[250].key
