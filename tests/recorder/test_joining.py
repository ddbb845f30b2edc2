"""What a live recording begins with."""

from __future__ import annotations

from wtp.media.mux_track import Piece
from wtp.recorder.joining import ALIVE_US, Joining

START_US = 1_790_000_000_000_000


def piece(title: str, after_ms: int, *, key: bool = False, sound: bool = False) -> Piece:
    content_type = "audio/opus;rate=48000;channels=1" if sound else "video/h264"
    at_us = START_US + after_ms * 1000
    return Piece(title, content_type, b"x", key or sound, at_us, 0, 1, "")


def brief(pieces: list[Piece]) -> list[tuple[str, int]]:
    return [(one.title, (one.at_us - START_US) // 1000) for one in pieces]


def test_each_track_begins_at_its_last_key_picture() -> None:
    joining = Joining(START_US)
    past = [
        piece("a/video", -900),  # of a group whose beginning was not read
        piece("a/audio", -850, sound=True),
        piece("a/screen", -800, key=True),
        piece("a/video", -700, key=True),
        piece("a/audio", -650, sound=True),
        piece("a/screen", -500),
        piece("a/video", -300, key=True),
        piece("a/video", -100),
    ]
    assert [joining.take(one) for one in past] == [None] * len(past)
    begun = joining.take(piece("a/audio", 5, sound=True))
    assert begun is not None
    assert brief(begun) == [
        ("a/screen", -800), ("a/audio", -650), ("a/screen", -500), ("a/video", -300),
        ("a/video", -100), ("a/audio", 5),
    ]  # fmt: skip
    assert joining.left_out == 3


def test_tracks_that_are_over_are_not_begun() -> None:
    joining = Joining(START_US)
    over_ms = -ALIVE_US // 1000 - 1
    assert joining.take(piece("gone/video", over_ms, key=True)) is None
    assert joining.take(piece("here/video", -40, key=True)) is None
    begun = joining.take(piece("here/video", 0))
    assert begun is not None
    assert brief(begun) == [("here/video", -40), ("here/video", 0)]


def test_without_pictures_sound_begins_at_once() -> None:
    joining = Joining(START_US)
    assert joining.take(piece("a/audio", -10, sound=True)) is None
    begun = joining.take(piece("a/audio", 10, sound=True))
    assert begun is not None
    assert brief(begun) == [("a/audio", 10)]
    assert joining.left_out == 1


def test_nothing_of_the_present() -> None:
    joining = Joining(START_US)
    assert joining.take(piece("a/video", -10, key=True)) is None
    joining.close()
    assert joining.left_out == 1


def test_a_clock_that_is_behind_begins_with_what_is_live() -> None:
    joining = Joining(START_US)
    assert joining.take(piece("a/video", -9000, key=True)) is None
    begun = joining.take(piece("a/video", -8960), live=True)
    assert begun is not None
    assert brief(begun) == [("a/video", -8960)]
