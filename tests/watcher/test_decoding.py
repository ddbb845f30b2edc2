from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from wtp.clock import monotonic_us
from wtp.errors import MediaError
from wtp.media.frames import frame_of
from wtp.media.libraries import load_av
from wtp.media.testsrc import Pattern, read_code
from wtp.watcher.decoding import MAX_HELD, Projector
from wtp.watcher.playout import ALL_US, Reel, Shot

WIDTH, HEIGHT, STEP_US = 320, 240, 40_000


def with_b_frames(count: int, first_us: int = 1_000_000) -> list[Shot]:
    """Objects of a stream with two B-frames, in the order of decoding; codes are capture times."""
    av: Any = load_av()
    context = av.CodecContext.create("libx264", "w")
    context.width, context.height, context.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    context.time_base, context.framerate = Fraction(1, 25), Fraction(25)
    context.thread_count = 1
    context.options = {"preset": "veryfast", "x264-params": "bframes=2:b-adapt=0:keyint=100"}
    source, units = Pattern(WIDTH, HEIGHT), []
    for n in range(count):
        frame = frame_of(source.draw(first_us + n * STEP_US))
        frame.pts = n
        units += context.encode(frame)
    units += context.encode(None)
    return [
        Shot(first_us + unit.pts * STEP_US, bytes(unit), "video/h264", n, unit.is_keyframe)
        for n, unit in enumerate(units)
    ]


def test_a_stream_with_b_frames_comes_out_in_the_order_and_with_the_times_of_showing() -> None:
    shots = with_b_frames(20)
    captured = [shot.capture_us for shot in shots]
    assert captured != sorted(captured)
    projector, shown = Projector(), []
    for shot in shots:
        assert projector.feed(shot) == ""
        while (first_us := projector.first_us()) is not None:
            picture = projector.take(first_us)
            assert picture is not None
            shown.append((picture.capture_us, read_code(picture.planes)))
    assert len(shown) >= 17
    assert all(at_us == code for at_us, code in shown)
    assert [at_us for at_us, _ in shown] == sorted(captured)[: len(shown)]
    projector.clear()
    assert projector.lost == 20 - len(shown)


def test_such_a_stream_is_known_by_its_times() -> None:
    reel = Reel()
    for shot in with_b_frames(8):
        reel.put(shot)
    assert reel.reordered
    assert len(reel.due(ALL_US)) == 8
    reel.put(Shot(1, b"", "video/h264", 1, True, "another run"))
    assert not reel.reordered


def test_pictures_that_are_overtaken_are_lost_and_few_are_held() -> None:
    projector = Projector()
    for shot in with_b_frames(MAX_HELD + 6):
        if not projector.room:
            break
        projector.feed(shot)
    assert projector.room == 0
    newest = projector.take(1_000_000 + 4 * STEP_US)
    assert newest is not None
    assert newest.capture_us == 1_000_000 + 4 * STEP_US
    assert projector.lost == 4
    assert projector.take(0) is None


def test_damage_and_a_missing_key_frame_are_told_apart() -> None:
    shots = with_b_frames(6)
    projector = Projector()
    assert projector.feed(shots[1]) == "no-key"
    assert projector.feed(shots[0]) == ""
    damaged = Shot(monotonic_us(), b"\0\0\0\1", "video/h264", 9, False)
    assert projector.feed(damaged) == "damaged"
    with pytest.raises(MediaError, match="odd"):
        projector.feed(Shot(1, b"x", "video/odd", 1, True))
