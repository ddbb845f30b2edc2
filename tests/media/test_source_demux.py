"""One container for pictures and sound: in step, bounded, closed from any side."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from itertools import islice, pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rtsp import write_clip
from wtp.clock import monotonic_us
from wtp.errors import MediaError
from wtp.media.address import masked
from wtp.media.copy import open_copies
from wtp.media.demux import Demuxer
from wtp.media.file import FileSource
from wtp.media.filesound import FileSound
from wtp.media.lane import MOST_AHEAD, READ_AHEAD, Lane, Piece
from wtp.media.pace import Timeline
from wtp.media.sound import Block
from wtp.media.testsrc import read_code

from .footage import clip, frozen_clock, write_video


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("film") / "film.mp4", 3, bframes=2)


def both(spec: Path | str, **options: Any) -> tuple[FileSource, FileSound]:
    options = {"now_us": frozen_clock, "pace": False, **options}
    demuxer = Demuxer(str(spec), wanted=("video", "audio"), **options)
    sound = FileSound(demuxer, rate_hz=48_000)
    demuxer.start()
    return FileSource(demuxer, now_us=options["now_us"]), sound


def onsets_us(blocks: list[Block]) -> list[float]:
    """Times at which it gets loud after silence."""
    found: list[float] = []
    loud_until = -1e9
    for block in blocks:
        for at in np.flatnonzero(np.abs(block.samples[:, 0].astype(int)) > 3000):
            time_us = block.pts_us + at * 1e6 / block.rate_hz
            if time_us > loud_until + 200_000:
                found.append(time_us)
            loud_until = time_us
    return found


def test_pictures_and_sound_are_in_step(film: Path) -> None:
    source, sound = both(film)
    heard: list[Block] = []
    listener = threading.Thread(target=lambda: heard.extend(sound.blocks()))
    listener.start()
    pictures = list(source.pictures())
    listener.join(10)
    assert len(pictures) == 45
    for picture in pictures:
        assert abs(picture.pts_us - (read_code(picture.planes) or 0)) <= 1
    assert sound.channels == 2
    assert all(len(block.samples) <= 480 for block in heard)
    ends = [b.pts_us + b.duration_us for b in heard]
    assert max(abs(b.pts_us - end) for b, end in zip(heard[1:], ends, strict=False)) <= 30
    assert heard[0].pts_us < 30_000
    for second, onset in enumerate(onsets_us(heard)):
        assert abs(onset - second * 1e6) < 5000, "picture and sound are apart"


def test_both_are_paced_and_stamped_by_one_start(film: Path) -> None:
    source, sound = both(film, now_us=monotonic_us, pace=True)
    starts: list[int] = []

    def listen() -> None:
        for block in islice(sound.blocks(), 30):
            assert block.capture_us is not None
            assert block.capture_us <= monotonic_us()
            starts.append(block.capture_us - block.pts_us)

    listener = threading.Thread(target=listen)
    listener.start()
    starts += [(p.capture_us or 0) - p.pts_us for p in islice(source.pictures(), 6)]
    listener.join(10)
    source.close()
    sound.close()
    assert len(starts) == 36
    assert len(set(starts)) == 1


def test_loops_stay_in_step(film: Path) -> None:
    source, sound = both(film, loop=True)
    heard: list[Block] = []

    def listen() -> None:
        for block in sound.blocks():
            heard.append(block)
            if block.pts_us > 8_000_000:
                return

    listener = threading.Thread(target=listen)
    listener.start()
    pictures = list(islice(source.pictures(), 120))
    listener.join(10)
    source.close()
    loop_us = pictures[45].pts_us
    assert 3_000_000 <= loop_us <= 3_050_000
    onsets = onsets_us(heard)
    for number, onset in enumerate(onsets[:6]):
        assert abs(onset - (number // 3 * loop_us + number % 3 * 1_000_000)) < 5000


def test_one_that_is_not_taken_does_not_hold_up_the_other(film: Path) -> None:
    source, sound = both(film)
    sound.close()
    assert len(list(source.pictures())) == 45
    source, sound = both(film)
    source.close()
    assert sum(len(block.samples) for block in sound.blocks()) > 130_000


def test_reading_ahead_is_bounded() -> None:
    demuxer = Demuxer(clip("bikes"), now_us=frozen_clock)
    demuxer.start()
    lane = demuxer.lanes["video"]
    with demuxer._changed:
        assert demuxer._changed.wait_for(lambda: len(lane) >= READ_AHEAD, 60.0)
    assert len(lane) <= READ_AHEAD + 1
    demuxer.close()
    demuxer._thread.join(10)
    assert not demuxer._thread.is_alive()


def test_longer_sound_does_not_make_pictures_look_cut(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    film = write_clip(tmp_path / "film.mp4", 3)
    short = tmp_path / "short.mkv"
    with av.open(str(film)) as source, av.open(str(short), "w") as out:
        streams = {s.index: out.add_stream_from_template(s) for s in source.streams}
        for unit in source.demux():
            if unit.pts is not None and (unit.stream.type == "audio" or unit.pts < 15_360):
                unit.stream = streams[unit.stream.index]
                out.mux(unit)
    pictures = FileSource(str(short), now_us=frozen_clock, pace=False)
    assert len(list(pictures.pictures())) == 15
    assert "ends in the middle" not in caplog.text


def test_a_live_source_without_pictures_is_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch, film: Path
) -> None:
    monkeypatch.setattr("wtp.media.file.FIRST_PICTURE_S", 0.2)
    demuxer = Demuxer(str(film), now_us=frozen_clock, pace=False)
    demuxer.live = True  # and nothing reads it
    with pytest.raises(MediaError, match="sends no picture"):
        FileSource(demuxer, now_us=frozen_clock)


class _Unit:
    size = 10

    def __init__(self, key: bool) -> None:
        self.is_keyframe = key


def test_a_live_queue_that_is_full_goes_on_at_a_key() -> None:
    lane = Lane(threading.Condition())
    units = [_Unit(number % 100 == 0) for number in range(450)]
    for unit in units:
        lane.put_live(Piece(unit, 0))
    lane.put(None)
    taken = [item.unit for item in lane.items() if isinstance(item, Piece)]
    assert taken == units[300:]
    assert lane.late == 300
    assert len(lane) < MOST_AHEAD


def test_a_live_queue_is_made_fresh_from_its_last_key() -> None:
    lane = Lane(threading.Condition())
    for number in range(70):
        lane.put_live(Piece(_Unit(number % 30 == 0), number))
    lane.freshen()
    lane.put(None)
    assert [item.arrived_us for item in lane.items() if isinstance(item, Piece)] == [*range(60, 70)]
    assert lane.late == 60


def test_live_stamps_take_the_least_delay_and_follow_drift() -> None:
    timeline = Timeline(monotonic_us, paced=False, live=True)
    base = 1_000_000_000
    jitter = [30_000, 5000, 20_000, 45_000, 8000, 5000] * 50
    stamps = []
    for i, late in enumerate(jitter):
        timeline.observe(i * 40_000, base + i * 40_000 + late)
        stamps.append(timeline.stamp(i * 40_000, base + i * 40_000 + late))
    settled = [stamp - i * 40_000 - base for i, stamp in enumerate(stamps)][2:]
    assert all(5000 <= error <= 5300 for error in settled)
    assert all(b > a for a, b in pairwise(stamps))
    # A crystal that is 100 parts in a million slow is followed; a jump starts anew.
    for i in range(30_000):
        arrived = base + round(i * 40_000 * 1.0001)
        timeline.observe(i * 40_000, arrived)
        assert arrived - timeline.stamp(i * 40_000, arrived) < 10_000
    timeline.observe(0, base + 10_000_000_000)
    assert timeline.stamp(0, base + 10_000_000_000) == base + 10_000_000_000


@pytest.mark.parametrize(
    ("spec", "shown"),
    [
        ("/films/a@b.mp4", "/films/a@b.mp4"),
        ("rtsp://me:secret@camera:554/live?x=1", "rtsp://***@camera:554/live?x=1"),
        ("rtsp://me:se@cret@camera/live", "rtsp://***@camera/live"),
        ("rtsp://me:sec/ret@camera/live", "rtsp://***@camera/live"),
        ("rtsp://camera:554/live@1", "rtsp://camera:554/live@1"),
        ("http://h/x.m3u8?Token=secret&n=1", "http://h/x.m3u8?Token=***&n=1"),
        ("http://h/x?a=1&user=u&password=secret", "http://h/x?a=1&user=u&password=***"),
        ("srt://h:9?passphrase=secret", "srt://h:9?passphrase=***"),
    ],
)
def test_secrets_are_masked(spec: str, shown: str) -> None:
    assert masked(spec) == shown


@given(
    password=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=5, max_size=20),
    path=st.sampled_from(["", "/", "/live/1", "/a@b?x=1", "?x=1"]),
)
def test_no_password_is_shown(password: str, path: str) -> None:
    shown = masked(f"rtsp://somebody:{quote(password, safe='')}@camera.lan:8554{path}")
    assert shown == f"rtsp://***@camera.lan:8554{path}"


def test_a_secret_of_a_url_is_in_no_error(free_port: Callable[[], int]) -> None:
    with pytest.raises(MediaError) as caught:
        Demuxer(f"rtsp://me:secret@127.0.0.1:{free_port()}/x", now_us=frozen_clock)
    assert "secret" not in str(caught.value)
    assert "***@127.0.0.1" in str(caught.value)


def test_a_source_that_changes_its_size_is_scaled(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = write_video(tmp_path / "a.ts", 10, size=(64, 48), options={"bf": "0"})
    second = write_video(tmp_path / "b.ts", 10, size=(128, 96), options={"bf": "0"})
    path = tmp_path / "both.ts"
    path.write_bytes(first.read_bytes() + second.read_bytes())
    source = FileSource(str(path), now_us=frozen_clock, pace=False)
    pictures = list(source.pictures())
    assert {(p.width, p.height) for p in pictures} == {(64, 48)}
    assert {p.planes.shape for p in pictures} == {(72, 64)}
    assert len(pictures) >= 18
    assert "is 128x96 now; it is scaled to 64x48" in caplog.text


@pytest.mark.parametrize("copy", [False, True])
def test_a_file_that_ends_in_the_middle_is_played_as_far_as_it_goes(
    film: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, copy: bool
) -> None:
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(film.read_bytes()[: film.stat().st_size * 6 // 10])
    demuxer = Demuxer(str(cut), now_us=frozen_clock, pace=False)
    if copy:
        (source,) = open_copies(demuxer)
        count = len(list(source.units()))
    else:
        demuxer.start()
        count = len(list(FileSource(demuxer, now_us=frozen_clock).pictures()))
    assert 10 < count < 40
    assert "ends in the middle" in caplog.text
    assert "of 3.0 s are there" in caplog.text


PIPE = """
import sys, threading
from wtp.clock import monotonic_us
from wtp.media.demux import Demuxer
from wtp.media.file import FileSource
from wtp.media.filesound import FileSound
demuxer = Demuxer("-", now_us=monotonic_us, pace=False, wanted=("video", "audio"))
sound = FileSound(demuxer) if "audio" in demuxer.streams else None
demuxer.start()
heard = []
listener = threading.Thread(target=lambda: heard.extend(sound.blocks() if sound else ()))
listener.start()
count = sum(1 for _ in FileSource(demuxer, now_us=monotonic_us).pictures())
listener.join()
print(count, sum(len(block.samples) for block in heard))
"""


@pytest.mark.tool("ffmpeg")
@pytest.mark.parametrize(
    ("output", "sound"),
    [
        (["-f", "mpegts"], True),
        (["-f", "mp4", "-movflags", "frag_keyframe+empty_moov"], True),
        (["-bsf:v", "h264_mp4toannexb", "-an", "-f", "h264"], False),
        (["-c:v", "mjpeg", "-an", "-f", "mjpeg"], False),
    ],
)
def test_standard_input_takes_what_programs_pipe(
    film: Path, output: list[str], sound: bool
) -> None:
    words = ["ffmpeg", "-v", "error", "-i", str(film), "-c", "copy", *output, "-"]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as ffmpeg:
        answer = subprocess.run(
            [sys.executable, "-c", PIPE], stdin=ffmpeg.stdout, capture_output=True, timeout=60
        )
    assert answer.returncode == 0, answer.stderr.decode()
    pictures, samples = map(int, answer.stdout.split())
    assert 43 <= pictures <= 45
    assert (140_000 < samples < 150_000) == sound
