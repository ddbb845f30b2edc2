"""Containers: what goes in comes out, in order, at its time; what cannot go in is refused."""

from __future__ import annotations

import io
import struct
from dataclasses import replace
from itertools import pairwise
from pathlib import Path, PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.recorder.rooms import FPS, T0_US, TYPES, decoded, pictures, read, sound
from wtp.errors import MediaError, StorageError, UsageError
from wtp.media.libraries import load_av
from wtp.media.mux_formats import MP4, PIPES, container_of
from wtp.media.mux_parts import Parts
from wtp.media.mux_shape import aac_config, payload_for, probe, signature
from wtp.media.mux_texts import FIRST_US, LONGEST_US, TimedTexts
from wtp.media.mux_timing import TrackTimes
from wtp.media.mux_track import Piece
from wtp.media.video import Encoded
from wtp.recorder.files import PartFile

BOTH = frozenset({"pictures", "sound"})


def pieces(
    objects: tuple[Encoded, ...], content_type: str, title: str, first: int = 1, shift_us: int = 0
) -> list[Piece]:
    return [
        Piece(title, content_type, one.payload, one.key, (one.capture_us or 0) + shift_us,
              one.duration_us, first + number, "run")
        for number, one in enumerate(objects)
    ]  # fmt: skip


def text(words: str, at_us: int) -> Piece:
    return Piece("ann/chat", "text/plain", words.encode(), True, T0_US + at_us, 0, 1, "run")


class Writer:
    """Parts in a folder."""

    def __init__(self, path: Path, *, texts: str = "", segment_us: int = 0) -> None:
        self.files: list[PartFile] = []
        self.notes: list[str] = []
        self._path = path
        self.parts = Parts(
            container_of(path), self._open, kinds=BOTH, texts=texts, title="a room",
            segment_us=segment_us, note=self.notes.append,
        )  # fmt: skip

    def _open(self, number: int) -> PartFile:
        self.files.append(PartFile(self._path.with_stem(f"part-{number}"), force=False))
        return self.files[-1]

    def write(self, *tracks: list[Piece]) -> list[str]:
        """Hand all over in the order of capture; why each was left out."""
        whole = sorted((one for track in tracks for one in track), key=lambda one: one.at_us)
        return [
            self.parts.take_text(one) if one.content_type == "text/plain" else self.parts.take(one)
            for one in whole
        ]

    def close(self) -> list[Path]:
        self.parts.close()
        for file in self.files:
            file.close()
        return [file.path for file in self.files]


@pytest.mark.parametrize(
    ("ending", "video", "audio"),
    [
        ("mp4", "h264", "opus"), ("mp4", "vp9", "opus"), ("mp4", "av1", "opus"),
        ("mkv", "h264", "pcm"), ("mkv", "jpeg", "opus"), ("mkv", "vp8", "pcm"),
        ("webm", "vp8", "opus"), ("webm", "vp9", "opus"), ("webm", "av1", "opus"),
    ],
)  # fmt: skip
def test_every_object_is_in_the_file(tmp_path: Path, ending: str, video: str, audio: str) -> None:
    writer = Writer(tmp_path / f"room.{ending}")
    shown = pictures(video, 1.0)
    reasons = writer.write(
        pieces(shown, TYPES[video], "cam/video"),
        pieces(sound(audio, 1.0), TYPES[audio], "cam/audio"),
    )
    (path,) = writer.close()
    assert set(reasons) == {""}
    seen, listened = read(path)
    assert (seen.title, listened.title) == ("cam/video", "cam/audio")
    assert len(seen.times) == len(shown) == FPS
    assert seen.times == pytest.approx([number / FPS for number in range(FPS)], abs=0.0011)
    assert seen.keys == [one.key for one in shown]
    assert sum(1 for _ in decoded(path)) == FPS
    left_out = sum(writer.parts.dropped.values())
    assert len(listened.times) == len(sound(audio, 1.0)) - left_out
    assert left_out <= 1
    assert listened.times == sorted(listened.times)


@pytest.mark.parametrize(
    ("name", "codec", "use"),
    [
        ("a.mp4", "vp8", ".mkv or .webm"), ("a.webm", "h264", ".mp4 or .mkv"),
        ("a.mp4", "pcm", ".mkv"), ("a.webm", "jpeg", ".mkv"), ("a.mp4", "jpeg", ".mkv"),
    ],
)  # fmt: skip
def test_what_a_container_cannot_hold(tmp_path: Path, name: str, codec: str, use: str) -> None:
    writer = Writer(tmp_path / name)
    objects = sound(codec, 0.1) if codec == "pcm" else pictures(codec, 0.2)
    with pytest.raises(MediaError) as caught:
        writer.write(pieces(objects, TYPES[codec], "cam/track"))
    assert "cam/track" in caught.value.message
    assert f"ends in {use}," in caught.value.hint
    writer.close()
    assert not list(tmp_path.iterdir())


def test_a_name_says_the_container() -> None:
    assert container_of(PurePath("ROOM.MP4")) is MP4
    for name in ("room", "room.avi"):
        with pytest.raises(UsageError, match=r"container|ending") as caught:
            container_of(PurePath(name))
        assert "room.mp4" in caught.value.hint


def test_a_track_that_does_not_fit_does_not_end_a_recording(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "room.mp4")
    writer.write(pieces(pictures("h264", 2.0), TYPES["h264"], "cam/video"))
    late = pieces(pictures("vp8", 0.2), TYPES["vp8"], "dog/video", shift_us=2_000_000)
    assert set(writer.write(late)) == {"container"}
    assert len(writer.notes) == 1
    assert ".mkv" in writer.notes[0]
    assert len(writer.close()) == 1


def test_another_size_begins_another_file(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "room.mp4")
    small = pieces(pictures("h264", 1.0), TYPES["h264"], "cam/video")
    large = pieces(pictures("h264", 1.0, (640, 480)), TYPES["h264"], "cam/video", FPS + 1, 10**6)
    heard = pieces(sound("opus", 2.0), TYPES["opus"], "cam/audio")
    assert set(writer.write(small, large, heard)) == {""}
    first, second = (read(path) for path in writer.close())
    assert [len(one[0].times) for one in (first, second)] == [FPS, FPS]
    assert first[1].times[-1] == pytest.approx(0.99, abs=0.02)
    assert second[1].times[0] == pytest.approx(0.0, abs=0.0105)
    all_sound = first[1].payloads + second[1].payloads
    assert all_sound == [one.payload for one in sound("opus", 2.0)][-len(all_sound) :]


def test_a_track_that_comes_late_begins_another_file(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "room.mkv")
    cam = pieces(pictures("h264", 4.0), TYPES["h264"], "cam/video")
    dog = pieces(pictures("vp8", 1.0), TYPES["vp8"], "dog/video", shift_us=2_100_000)
    assert set(writer.write(cam, dog)) == {""}
    first, second = (read(path) for path in writer.close())
    assert [one.title for one in first] == ["cam/video"]
    assert [one.title for one in second] == ["cam/video", "dog/video"]
    assert len(first[0].times) + len(second[0].times) == 4 * FPS
    assert second[0].keys[0]
    assert second[0].times[0] == pytest.approx(2.5 - 2.1, abs=0.002)


def test_segments_begin_at_key_pictures_and_lose_nothing(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "room.mp4", segment_us=1_200_000)
    shown, listened = pictures("h264", 4.0), sound("opus", 4.0)
    writer.write(
        pieces(shown, TYPES["h264"], "cam/video"), pieces(listened, TYPES["opus"], "cam/audio")
    )
    files = [read(path) for path in writer.close()]
    assert len(files) == 3
    assert all(one[0].keys[0] for one in files)
    assert [len(one[0].times) for one in files] == [45, 45, 30]
    assert sum(len(one[1].times) for one in files) >= len(listened) - 1


def test_the_index_of_an_mp4_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = replace(MP4, max_objects=100)
    monkeypatch.setattr("wtp.media.mux_formats.FILES", {".mp4": few})
    writer = Writer(tmp_path / "room.mp4")
    writer.write(
        pieces(pictures("h264", 2.0), TYPES["h264"], "cam/video"),
        pieces(sound("opus", 2.0), TYPES["opus"], "cam/audio"),
    )
    files = [read(path) for path in writer.close()]
    assert [len(one[0].times) for one in files] == [45, 15]


def test_lost_objects_leave_a_gap_up_to_the_next_key_picture(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "room.mp4")
    cam = pieces(pictures("h264", 2.0), TYPES["h264"], "cam/video")
    reasons = writer.write(cam[:20] + cam[22:])
    (path,) = writer.close()
    assert reasons.count("no-key") == 8  # of 22 to 29; 30 is a key picture
    times = read(path)[0].times
    assert times[19:21] == pytest.approx([19 / FPS, 30 / FPS], abs=0.001)
    assert sum(1 for _ in decoded(path)) == len(times) == 50


def test_damaged_key_pictures_are_left_out(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "room.mkv")
    cam = pieces(pictures("h264", 1.0), TYPES["h264"], "cam/video")
    cam[0] = cam[0]._replace(payload=b"\0\0\0\1\x67nonsense")
    reasons = writer.write(cam)
    (path,) = writer.close()
    assert reasons[0] == "damaged"
    assert set(reasons[1:15]) == {"no-key"}
    assert sum(1 for _ in decoded(path)) == 15


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_pictures_coded_out_of_order(tmp_path: Path, ending: str) -> None:
    writer = Writer(tmp_path / f"room.{ending}")
    writer.write([*pieces(b_frames(), "video/h264", "cam/video")])
    # In the order of decoding, as they are published, not of capture.
    writer = Writer(tmp_path / f"again.{ending}")
    for piece in pieces(b_frames(), "video/h264", "cam/video"):
        assert writer.parts.take(piece) == ""
    path = writer.close()[0]
    shown = [at_s for at_s, _ in decoded(path)]
    assert shown == sorted(shown)
    assert [b - a for a, b in pairwise(shown)] == pytest.approx(
        [1 / FPS] * (len(shown) - 1), abs=0.0011
    )
    assert len(shown) == FPS


def b_frames() -> tuple[Encoded, ...]:
    """Pictures with two B-frames between others, in decoding order."""
    from wtp.media.frames import frame_of
    from wtp.media.testsrc import Pattern

    codec = load_av().CodecContext.create("libx264", "w")
    codec.width, codec.height, codec.pix_fmt = 320, 240, "yuv420p"
    codec.framerate, codec.max_b_frames, codec.gop_size = FPS, 2, FPS
    codec.time_base, codec.thread_count = 1 / codec.framerate, 1
    codec.options = {"preset": "veryfast", "forced-idr": "1"}
    packets, pattern = [], Pattern(320, 240)
    for number in range(FPS):
        frame = frame_of(pattern.draw(number * 33_333))
        frame.pts = number
        packets += codec.encode(frame)
    packets += codec.encode(None)
    assert [one.pts for one in packets] != sorted(one.pts for one in packets)
    step_us = 33_333
    return tuple(
        Encoded(bytes(one), one.is_keyframe, at_us, T0_US + at_us, None, step_us)
        for one, at_us in ((one, one.pts * step_us) for one in packets)
    )


@pytest.mark.parametrize("ending", ["mp4", "mkv", "webm"])
def test_chat_is_a_track_of_texts(tmp_path: Path, ending: str) -> None:
    writer = Writer(tmp_path / f"room.{ending}", texts="chat")
    video = "vp8" if ending == "webm" else "h264"
    writer.write(
        pieces(pictures(video, 4.0), TYPES[video], "cam/video"),
        [text("ann: hi", 1_000_000), text("bob: è\nzwei", 2_500_000)],
    )
    (path,) = writer.close()
    seen, chat = read(path)
    assert chat.title == "chat"
    assert len(seen.times) == 4 * FPS
    if ending == "mp4":
        both = zip(chat.times, chat.payloads, strict=True)
        shown = [(at, one[2:].decode()) for at, one in both if len(one) > 2]
        assert [at for at, _ in shown] == pytest.approx([1.0, 2.5], abs=0.001)
        assert [words for _, words in shown] == ["ann: hi", "ann: hi\nbob: è\nzwei"]
    else:
        assert chat.times == pytest.approx([1.0, 2.5], abs=0.002)
        assert [one.decode() for one in chat.payloads] == ["ann: hi", "bob: è\nzwei"]


def test_a_full_disk_leaves_what_can_be_played(tmp_path: Path) -> None:
    class Full(PartFile):
        def write(self, data: bytes) -> int:
            if self.size_bytes + len(data) > 120_000:
                self._cut()
                raise StorageError("no space", hint="Free some space.")
            return super().write(data)

    for ending in ("mp4", "mkv"):
        files: list[PartFile] = []

        def opened(number: int, ending: str = ending, files: list[PartFile] = files) -> PartFile:
            files.append(Full(tmp_path / f"{number}.{ending}", force=False))
            return files[-1]

        parts = Parts(container_of(PurePath(f"a.{ending}")), opened, kinds=frozenset({"pictures"}))
        cam = pieces(pictures("h264", 4.0), TYPES["h264"], "cam/video")
        with pytest.raises(StorageError, match="no space"):
            list(map(parts.take, cam))
        parts.close()
        for file in files:
            file.close()
        count = sum(1 for _ in decoded(files[0].path))
        assert 15 < count < 120


@given(st.lists(st.tuples(st.integers(0, 10**7), st.integers(1, 10**7)), max_size=20))
def test_texts_of_an_mp4_follow_each_other_without_a_gap(lines: list[tuple[int, int]]) -> None:
    texts = TimedTexts()
    samples = list(texts.start())
    at_us = 0
    for number, (step_us, duration_us) in enumerate(lines):
        at_us += step_us
        samples += texts.pass_time(at_us)
        samples += texts.add(f"line {number}", at_us, duration_us)
    samples += texts.end(at_us + 1)
    assert samples[0][1:] == (0, FIRST_US)
    for before, after in pairwise(samples):
        assert before[1] + before[2] == after[1]
    assert all(0 < one[2] <= LONGEST_US for one in samples)
    assert all(struct.unpack(">H", one[0][:2])[0] == len(one[0]) - 2 for one in samples)


@given(st.lists(st.permutations(range(3)), min_size=1, max_size=20))
def test_decoding_never_runs_back_nor_comes_late(groups: list[list[int]]) -> None:
    times, step_us = TrackTimes(2), 33_333
    order = [3 * number + place for number, group in enumerate(groups) for place in group]
    shown = [0, *((place + 1) * step_us for place in order)]
    decode = [times.dts_us(pts_us, step_us) for pts_us in shown]
    assert decode == sorted(decode)
    assert all(dts <= pts for dts, pts in zip(decode, shown, strict=True))


def test_shapes_of_damaged_objects() -> None:
    for content_type, payload in (
        ("video/h264", b""), ("video/vp8", b"\0" * 20), ("image/jpeg", b"\xff\xd8\xff"),
        ("audio/aac", b"\xff\xf1"), ("application/octet-stream", b"x"), ("", b""),
        ("audio/opus;rate=0;channels=1", b"x"),
    ):  # fmt: skip
        with pytest.raises(MediaError) as caught:
            probe(content_type, payload)
        assert caught.value.hint
        assert isinstance(signature(content_type, payload), bytes)


def aac(count: int) -> list[bytes]:
    """Objects of AAC as `--copy` sends them: ADTS frames."""
    av = load_av()
    data = io.BytesIO()
    with av.open(data, "w", format="adts") as out:
        stream = out.add_stream("aac", rate=44_100, layout="stereo")
        for number in range(count):
            frame = av.AudioFrame(format="fltp", layout="stereo", samples=1024)
            for plane in frame.planes:
                plane.update(bytes(plane.buffer_size))
            frame.sample_rate, frame.pts = 44_100, number * 1024
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    with av.open(io.BytesIO(data.getvalue()), format="aac") as source:
        return [bytes(packet) for packet in source.demux() if packet.size]


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_aac_loses_its_head(tmp_path: Path, ending: str) -> None:
    objects, content_type = aac(20), "audio/aac;rate=44100;channels=2"
    assert aac_config(objects[0]) == bytes([0x12, 0x10])  # LC, 44.1 kHz, two channels
    assert payload_for(probe(content_type, objects[0]), objects[0]) == objects[0][7:]
    writer = Writer(tmp_path / f"room.{ending}")
    step_us = 23_220
    writer.write(
        [
            Piece("cam/audio", content_type, one, True, T0_US + n * step_us, step_us, n + 1, "run")
            for n, one in enumerate(objects)
        ]
    )
    (path,) = writer.close()
    (heard,) = read(path)
    assert heard.codec == "aac"
    assert heard.payloads == [one[7:] for one in objects]


def test_files_are_closed_when_the_next_one_has_begun(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "room.mp4", segment_us=1_000_000)
    writer.write(pieces(pictures("h264", 4.0), TYPES["h264"], "cam/video"))
    assert len(writer.files) == 4
    assert [file.closed for file in writer.files] == [True, True, True, False]
    writer.close()


def test_pipes_name_each_other() -> None:
    assert set(PIPES) == {"mpegts", "matroska"}
