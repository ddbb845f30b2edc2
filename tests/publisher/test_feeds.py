"""Names of tracks, bit rates, trust and URLs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.media.footage import write_tone, write_video
from tests.rtsp import write_clip
from wtp.clock import Clock
from wtp.config.schema import PublishSettings
from wtp.errors import MediaError, UsageError
from wtp.media.source import Returning
from wtp.model import Kind
from wtp.publisher.choice import (
    ChatInput,
    DataInput,
    FileInput,
    Input,
    MicrophoneInput,
    ScreenInput,
    VideoInput,
    name_tracks,
    track_names,
)
from wtp.publisher.feeds import Feed, open_feeds
from wtp.publisher.pictures import VideoFeed, parse_bitrate
from wtp.publisher.rate import Rate
from wtp.publisher.trust import room_url, trust_for
from wtp.transport.trust import Trust

TEST = VideoInput("testsrc")


def test_tracks_are_named_by_kind_and_number() -> None:
    assert track_names([TEST, TEST, ChatInput(), DataInput("x"), TEST]) == [
        "video", "video-2", "chat", "data", "video-3",
    ]  # fmt: skip


def test_given_names_are_left_out_of_the_numbering() -> None:
    given = VideoInput("testsrc", track="video")
    assert track_names([TEST, given, TEST]) == ["video-2", "video", "video-3"]


@pytest.mark.parametrize(
    "inputs",
    [
        [ChatInput(), DataInput("-")],
        [ChatInput(), VideoInput("-")],
        [VideoInput("testsrc", track="a b")],
        [VideoInput("testsrc", track="a"), ChatInput(track="a")],
    ],
)
def test_names_that_cannot_be(inputs: list[VideoInput | ChatInput | DataInput]) -> None:
    with pytest.raises(UsageError):
        track_names(inputs)


@pytest.mark.parametrize(
    ("text", "bps"), [("2.5M", 2_500_000), ("800k", 800_000), ("64000", 64_000)]
)
def test_bitrates(text: str, bps: int) -> None:
    assert parse_bitrate(text) == bps


def test_a_failing_input_closes_those_before_it(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"x")
    with pytest.raises(Exception, match="/no/such"):
        open_feeds(
            [DataInput(str(path)), DataInput("/no/such")], "p", PublishSettings(), Clock(), 0
        )


def test_trust_on_loopback_is_the_certificate_of_the_folder(tmp_path: Path) -> None:
    now = trust_for("https://127.0.0.1:4433/wt", Trust(), tmp_path)
    assert now() == Trust()
    (tmp_path / "wtp.crt").write_text("x")
    assert now() == Trust(ca=tmp_path / "wtp.crt")
    for url in ("https://localhost:1/wt", "https://[::1]:1/wt"):
        assert trust_for(url, Trust(), tmp_path)() == Trust(ca=tmp_path / "wtp.crt")


def test_elsewhere_or_when_told_the_folder_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "wtp.crt").write_text("x")
    assert trust_for("https://example.org/wt", Trust(), tmp_path)() == Trust()
    given = Trust(cert_hash="ab" * 32)
    assert trust_for("https://127.0.0.1/wt", given, tmp_path)() == given


def test_the_room_goes_into_the_query_and_tokens_are_not_shown() -> None:
    full, shown = room_url("https://h:1/wt?token=s&room=old", "new")
    assert full == "https://h:1/wt?token=s&room=new"
    assert shown == "https://h:1/wt"
    assert room_url("https://h:1", "r")[0] == "https://h:1/wt?room=r"
    with pytest.raises(UsageError):
        room_url("https://[", "r")


def test_rates_forget() -> None:
    rate = Rate()
    assert rate.per_second(0) == (0.0, 0.0)
    for step in range(11):
        rate.add(step * 100_000, 1000)
    events, bits = rate.per_second(1_000_000)
    assert events == pytest.approx(10)
    assert bits == pytest.approx(80_000)
    assert rate.per_second(9_000_000) == (0.0, 0.0)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_clip(tmp_path_factory.mktemp("feeds") / "film.mp4", 2))


@contextmanager
def opened(*inputs: Input) -> Iterator[list[Feed]]:
    feeds = open_feeds(inputs, "p", PublishSettings(), Clock(), 0)
    try:
        yield feeds
    finally:
        for feed in feeds:
            feed.close()


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "demux"]


def told(feeds: list[Feed]) -> list[tuple[int, str, str, str]]:
    specs = [feed.track.spec for feed in feeds]
    return [(spec.alias, spec.name, spec.kind.value, spec.content_type) for spec in specs]


def test_a_source_with_sound_gives_two_tracks_and_several_sources_are_numbered(film: str) -> None:
    with opened(VideoInput(film), TEST, MicrophoneInput("testsrc"), VideoInput(film)) as feeds:
        opus = "audio/opus;rate=48000;channels="
        assert told(feeds) == [
            (1, "video", "video", "video/h264"),
            (2, "audio", "audio", opus + "2"),
            (3, "video-2", "video", "video/h264"),
            (4, "audio-2", "audio", opus + "1"),
            (5, "video-3", "video", "video/h264"),
            (6, "audio-3", "audio", opus + "2"),
        ]
        assert feeds[0].figures()["source"] == film


def test_sound_beside_named_pictures_is_named_after_them(film: str) -> None:
    with opened(VideoInput(film, track="film"), VideoInput(film, sound=False)) as feeds:
        assert [feed.track.spec.name for feed in feeds] == ["film", "film-audio", "video"]


def test_copies_are_declared_as_what_they_are(film: str) -> None:
    with opened(VideoInput(film, copy=True), VideoInput(film, copy=True, sound=False)) as feeds:
        assert told(feeds) == [
            (1, "video", "video", "video/h264"),
            (2, "audio", "audio", "audio/aac;rate=48000;channels=2"),
            (3, "video-2", "video", "video/h264"),
        ]
        assert feeds[0].figures()["copied"]
        assert feeds[0].figures()["size"] == "320x240"


def test_a_file_of_sound_alone_gives_a_track_of_sound(tmp_path: Path) -> None:
    tone = str(write_tone(tmp_path / "tone.wav"))
    with opened(VideoInput(tone), VideoInput(tone, copy=True, track="raw")) as feeds:
        assert told(feeds) == [
            (1, "audio", "audio", "audio/opus;rate=48000;channels=1"),
            (2, "raw", "audio", "audio/pcm;format=s16le;rate=48000;channels=1"),
        ]
    with pytest.raises(MediaError, match=r"no video in .*only audio"):
        open_feeds([VideoInput(tone, sound=False)], "p", PublishSettings(), Clock(), 0)


def test_what_is_refused_leaves_no_thread(film: str, tmp_path: Path) -> None:
    other = str(write_video(tmp_path / "other.mp4", 5, codec="mpeg4"))
    for inputs in (
        [VideoInput(film), VideoInput("/no/such")],
        [VideoInput(film), VideoInput(film, track="a"), VideoInput(film, track="a-audio")],
        [VideoInput(film), VideoInput(other, copy=True)],
    ):
        with pytest.raises((MediaError, UsageError)):
            open_feeds(inputs, "p", PublishSettings(), Clock(), 0)
    for thread in readers():
        thread.join(10)
    assert readers() == []


def test_every_kind_of_input_has_a_name() -> None:
    inputs: list[Input] = [
        ScreenInput("1"),
        MicrophoneInput(),
        FileInput((Path("a"),)),
        ScreenInput("2"),
    ]
    assert track_names(inputs) == ["screen", "audio", "file", "screen-2"]
    with pytest.raises(UsageError, match="same name"):
        name_tracks([(Kind.VIDEO, "a"), (Kind.AUDIO, "a")])


def test_a_source_that_is_back_asks_its_encoder_for_a_key(film: str) -> None:
    (feed,) = open_feeds([VideoInput(film, sound=False)], "p", PublishSettings(), Clock(), 0)
    assert isinstance(feed, VideoFeed)
    source = feed._capture.source
    assert isinstance(source, Returning)
    assert source.returned is not None
    source.returned()
    assert feed._capture._key.is_set()
    feed.close()
