"""Names of tracks, bit rates, trust and URLs."""

from __future__ import annotations

from pathlib import Path

import pytest

from wtp.clock import Clock
from wtp.config.schema import PublishSettings
from wtp.errors import UsageError
from wtp.publisher.choice import ChatInput, DataInput, VideoInput, track_names
from wtp.publisher.feeds import open_feeds
from wtp.publisher.pictures import parse_bitrate
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
