from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.consumer.fakes import FakeMessage, foreign, item, message
from wtp.consumer import pictures
from wtp.consumer.item import Item, Place
from wtp.consumer.output import STALE_US, Finished
from wtp.consumer.pictures import Decoded, Preview
from wtp.errors import UsageError
from wtp.media.picture import Picture
from wtp.media.testsrc import Pattern, read_code
from wtp.media.video import VideoEncoder

CAPTURE_US = 1_700_000_000_000_000


class FakeScreen:
    """Remembers what it shows."""

    def __init__(self) -> None:
        self.codes: list[int | None] = []
        self.said: list[str] = []
        self.finished = False

    def open(self) -> None:
        pass

    def show(self, picture: Picture, item: Item) -> bool:
        if self.finished:
            raise Finished
        self.codes.append(read_code(picture.planes))
        return True

    def say(self, sentence: str) -> None:
        self.said.append(sentence)

    def idle(self) -> None:
        pass

    def close(self) -> None:
        pass


def encoded(codec: str, count: int, *, gop: int = 5, **more: Any) -> list[Item]:
    """Objects whose pictures carry the code `CAPTURE_US + seq`."""
    source = Pattern(320, 240)
    encoder = VideoEncoder(codec, 320, 240, 30, gop=gop)
    out = []
    for seq in range(1, count + 1):
        picture = Picture(source.draw(CAPTURE_US + seq), 320, 240)
        (made,) = encoder.encode(picture)
        kind: dict[str, Any] = {"content_type": encoder.content_type, "key": made.key}
        out.append(item(message(seq, payload=made.payload, **kind, **more)))
    return out


@pytest.mark.parametrize("codec", ["h264", "jpeg"])
def test_every_batch_shows_its_newest_picture(codec: str) -> None:
    screen = FakeScreen()
    decoded = Decoded(screen)
    items = encoded(codec, 7)
    assert decoded.take(items[:3]) == [""] * 3
    assert decoded.take(items[3:]) == [""] * 4
    assert screen.codes == [CAPTURE_US + 3, CAPTURE_US + 7]


def test_it_waits_for_a_key_frame_at_the_start_and_after_a_gap() -> None:
    screen = FakeScreen()
    decoded = Decoded(screen)
    items = encoded("h264", 15)
    assert decoded.take(items[2:5]) == ["no-key"] * 3
    assert screen.said == ["Waiting for a key frame."]
    assert decoded.take(items[5:7]) == ["", ""]
    assert decoded.take(items[8:12]) == ["no-key", "no-key", "", ""]
    assert screen.codes == [CAPTURE_US + 7, CAPTURE_US + 12]


def test_one_track_is_shown_until_it_is_silent() -> None:
    screen = FakeScreen()
    decoded = Decoded(screen)
    (first,) = encoded("jpeg", 1)
    (early,) = encoded("jpeg", 1, track="default/other/video", at_us=1000)
    (late,) = encoded("jpeg", 1, track="default/other/video", at_us=STALE_US + 1)
    assert decoded.take([first, early, late]) == ["", "other-track", ""]


def test_what_is_no_picture_is_left_out_and_damage_costs_one_group() -> None:
    screen = FakeScreen()
    decoded = Decoded(screen)
    items = encoded("jpeg", 2)
    broken = item(message(9, content_type="image/jpeg", payload=b"\xff\xd8nonsense"))
    assert decoded.take([item(foreign()), broken, *items]) == ["not-a-picture", "damaged", "", ""]
    assert screen.codes == [CAPTURE_US + 2]


def bare(items: list[Item], topic: str = "video-topic") -> list[Item]:
    """The same payloads from somebody who knows nothing of wtp, one after the other."""
    return [
        item(
            FakeMessage(
                f"persistent://public/default/{topic}", "", {}, one.message.payload, 0, f"3:{n}", n
            )
        )
        for n, one in enumerate(items)
    ]


@pytest.mark.parametrize("codec", ["h264", "jpeg"])
def test_bare_pictures_are_shown(codec: str) -> None:
    screen = FakeScreen()
    decoded = Decoded(screen)
    items = bare(encoded(codec, 7))
    assert decoded.take(items[:3]) == [""] * 3
    assert decoded.take(items[3:]) == [""] * 4
    assert screen.codes == [CAPTURE_US + 3, CAPTURE_US + 7]


def test_bare_h264_waits_for_a_key_frame_at_the_start_and_after_a_gap() -> None:
    screen = FakeScreen()
    decoded = Decoded(screen)
    items = bare(encoded("h264", 15))
    assert decoded.take(items[2:5]) == ["no-key"] * 3
    assert screen.said == ["Waiting for a key frame."]
    assert decoded.take(items[5:7]) == ["", ""]
    assert decoded.take(items[8:12]) == ["no-key", "no-key", "", ""]
    assert screen.codes == [CAPTURE_US + 7, CAPTURE_US + 12]


def test_bare_payloads_that_are_no_pictures_are_left_out_and_damage_costs_one_group() -> None:
    screen = FakeScreen()
    decoded = Decoded(screen)
    made = encoded("h264", 7)
    made[1] = item(message(payload=b"\0\0\0\1"))
    items = bare(made)
    reasons = decoded.take([items[0], item(foreign(b"text")), *items[1:]])
    assert reasons == ["", "not-a-picture", "damaged", "no-key", "no-key", "no-key", "", ""]
    assert screen.codes == [CAPTURE_US + 7]


def test_jpegs_of_partitions_are_all_shown() -> None:
    screen = FakeScreen()
    decoded = Decoded(screen)
    items = encoded("jpeg", 6)
    mixed = [bare(items, f"video-topic-partition-{n % 2}")[n] for n in range(6)]
    assert [decoded.take([one]) for one in mixed] == [[""]] * 6
    assert screen.codes == [CAPTURE_US + n for n in range(1, 7)]


@pytest.mark.parametrize(
    ("before", "place", "next_to"),
    [
        ((3, 1, -1), (3, 2, -1), True),
        ((3, 1, -1), (3, 3, -1), False),
        ((3, 1, -1), (3, 1, -1), False),
        ((3, 1, 0), (3, 1, 1), True),
        ((3, 1, 0), (3, 1, 2), False),
        ((3, 1, 4), (3, 2, 0), True),
        ((3, 1, 4), (3, 2, 1), False),
        ((3, 9, -1), (8, 0, -1), True),
        ((3, 9, -1), (8, 1, -1), False),
        ((8, 0, -1), (3, 0, -1), False),
    ],
)
def test_neighbours(before: Place, place: Place, *, next_to: bool) -> None:
    assert pictures._next_to(before, place) is next_to


@contextmanager
def stdout_to(path: Path) -> Iterator[None]:
    """Point standard output's descriptor at a file."""
    kept, ours = os.dup(1), os.open(path, os.O_CREAT | os.O_RDWR)
    os.dup2(ours, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(ours)


def test_a_preview_is_drawn_and_the_cursor_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "monotonic_us", lambda: 10**9)
    decoded = Decoded(Preview(lambda: "30 fps\x1b[2J", size=(40, 12)))
    with stdout_to(tmp_path / "out"):
        decoded.open()
        for one in encoded("jpeg", 3):
            decoded.take([one])
        decoded.close()
    text = (tmp_path / "out").read_bytes().decode()
    assert text.startswith("\x1b[?25l")
    assert text.rstrip().endswith("\x1b[?25h")
    drawn = text.split("\x1b[H")
    assert len(drawn) == 2, "fifteen a second at most"
    assert "▀" in drawn[1]
    assert "30 fps\\x1b[2J" in drawn[1], "the line below cannot steer the terminal"
    assert len(drawn[1].split("\r\n")) == 13


def test_a_preview_needs_a_terminal(tmp_path: Path) -> None:
    with stdout_to(tmp_path / "out"), pytest.raises(UsageError) as error:
        Preview(lambda: "").open()
    assert "--save" in error.value.hint
    assert (tmp_path / "out").read_bytes() == b""
