from __future__ import annotations

import numpy as np
import pytest

from tests.consumer.fakes import foreign, item, message
from tests.watcher.fakes import pictures, sounds
from wtp.config.schema import WatchSettings
from wtp.consumer.item import Item
from wtp.model import Kind
from wtp.watcher.roster import MAX_TRACKS, SILENT_US, Roster

COST_US = 30_000


def make(delay: str | int = "auto", *, sound: bool = True) -> Roster:
    return Roster(
        WatchSettings.model_validate({"delay": delay}),
        picture_cost_us=lambda: 6_000,
        sound_cost_us=lambda: COST_US if sound else None,
    )


def offer(roster: Roster, items: list[Item]) -> list[str]:
    return [roster.offer(one) for one in items]


def test_picture_and_sound_of_a_publisher_share_one_delay_that_suits_both() -> None:
    roster = make()
    offer(roster, pictures(3))
    alone_us = roster.publishers["cam"].delay.target_us
    offer(roster, sounds(3))
    both_us = roster.publishers["cam"].delay.target_us
    assert alone_us < both_us
    assert both_us == 5_000 + COST_US + 2_000
    assert list(roster.publishers) == ["cam"]


def test_each_publisher_has_a_delay_of_its_own() -> None:
    roster = make()
    offer(roster, pictures(1))
    offer(roster, pictures(1, track="default/far/video", way_us=200_000))
    delays = {name: one.delay.target_us for name, one in roster.publishers.items()}
    assert delays["far"] - delays["cam"] == 195_000


def test_pictures_follow_the_sound_that_is_heard() -> None:
    roster = make(100)
    offer(roster, pictures(1))
    offer(roster, sounds(10))
    cam = roster.publishers["cam"]
    assert cam.show_delay_us(1_100_000) == 100_000
    assert roster.mix(480, 1_112_500) is not None
    assert cam.heard_us(1_112_500) == 100_000
    roster.mix(480, 1_130_000)
    assert cam.heard_us(1_130_000) == 107_500
    assert cam.show_delay_us(1_130_000) == 107_500


def test_everybody_is_heard_at_once_and_the_sum_is_clipped() -> None:
    roster = make(100)
    offer(roster, sounds(3, value=20_000))
    offer(roster, sounds(3, value=20_000, track="default/other/audio"))
    offer(roster, sounds(3, value=-100, track="default/third/audio"))
    mixed = roster.mix(480, 1_100_000)
    assert mixed is not None
    assert mixed.shape == (480, 2)
    assert np.unique(mixed).tolist() == [32_767]
    assert roster.mix(480, 9_000_000) is None


def test_a_silent_track_leaves_and_may_return() -> None:
    roster = make()
    offer(roster, pictures(1))
    offer(roster, sounds(600))
    seen_us = roster.publishers["cam"].tracks["default/cam/audio"].seen_us
    roster.expire(1_005_000 + SILENT_US + 1)
    assert list(roster.publishers["cam"].tracks) == ["default/cam/audio"]
    roster.expire(seen_us + SILENT_US + 1)
    assert roster.publishers == {}
    assert roster.mix(480, 1_100_000) is None
    total = roster.ledger()
    assert total.balanced
    assert (total.offered, total.in_flight) == (601, 0)
    offer(roster, pictures(1))
    assert list(roster.publishers) == ["cam"]


def test_another_run_of_a_name_begins_at_a_key_frame() -> None:
    roster = make()
    offer(roster, pictures(3))
    again = pictures(7, instance="i2")
    offer(roster, again[2:])
    reel = roster.publishers["cam"].tracks["default/cam/video"].reel
    assert reel is not None
    assert [one.seq for one in reel.due(10**9)] == [1, 2, 3, 6, 7]


def test_sound_that_cannot_be_decoded_is_said_once_and_others_go_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    roster = make()
    assert offer(roster, sounds(2, content_type="audio/odd")) == ["cannot-decode"] * 2
    assert offer(roster, pictures(1)) == [""]
    assert len(caplog.records) == 1
    assert "default/cam/audio: " in caplog.text
    assert roster.snapshot()[0]["tracks"]["default/cam/audio"]["refused"]


def test_what_is_not_for_eyes_or_ears_is_left_out() -> None:
    roster = make(sound=False)
    chat = item(message(kind=Kind.CHAT, content_type="text/plain"))
    assert offer(roster, [chat, *sounds(1)]) == ["not-media", "no-speaker"]
    many = [
        pictures(1, track=f"default/p{n}/video", codec="jpeg")[0] for n in range(MAX_TRACKS + 1)
    ]
    assert offer(roster, many)[-2:] == ["", "too-many-tracks"]


def test_pictures_of_somebody_who_knows_nothing_of_us_are_taken() -> None:
    roster = make()
    jpeg = pictures(1, codec="jpeg")[0].message.payload
    assert roster.offer(item(foreign(jpeg))) == ""
    assert list(roster.publishers) == ["video"]


def test_the_figures_of_a_room_are_told_by_publisher_and_track() -> None:
    roster = make(100)
    offer(roster, pictures(2))
    offer(roster, sounds(2))
    (cam,) = roster.snapshot()
    assert (cam["name"], cam["delay_ms"], cam["clock_known"]) == ("cam", 100.0, True)
    assert set(cam["tracks"]) == {"default/cam/audio", "default/cam/video"}
    roster.close()
    assert roster.ledger().dropped["stopped"] == 4


def test_a_fixed_delay_that_is_too_short_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    roster = make(20)
    offer(roster, sounds(50))
    for _ in range(3):
        roster.expire(1_500_000)
    (record,) = caplog.records
    assert "20 ms is too short for cam, which needs about 35 ms" in record.getMessage()
