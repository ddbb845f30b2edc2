from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from tests.consumer.fakes import item, message
from tests.watcher.fakes import FakeWindow, code_of, pictures
from wtp.clock import monotonic_us
from wtp.config.schema import WatchSettings
from wtp.consumer.item import Item
from wtp.errors import MediaError
from wtp.media.grid import arrange
from wtp.watcher.roster import Roster
from wtp.watcher.screen import AT_ONCE, MAX_COST_US, Screen

pytestmark = pytest.mark.device("opencv")


class Scene:
    """A roster and a screen with a fake window."""

    def __init__(self, delay: str | int = 100, **more: Any) -> None:
        self.window = FakeWindow()
        self.closed, self.mutes = threading.Event(), 0
        self.roster = Roster(
            WatchSettings.model_validate({"delay": delay}),
            picture_cost_us=lambda: self.screen.cost_us,
            sound_cost_us=lambda: None,
        )
        self.screen = Screen(
            "title",
            lambda: self.roster,
            closed=self.closed.set,
            mute=self._mute,
            window=lambda _: self.window,
            **more,
        )

    def _mute(self) -> None:
        self.mutes += 1

    def take(self, items: list[Item]) -> list[str]:
        reasons = [self.roster.offer(one) for one in items]
        self.screen.wake()
        return reasons


@contextmanager
def scene(delay: str | int = 100, **more: Any) -> Iterator[Scene]:
    one = Scene(delay, **more)
    one.screen.open()
    try:
        yield one
    finally:
        one.screen.close()
        assert one.window.closed


def test_pictures_are_shown_in_order_and_not_before_their_time() -> None:
    first_us = monotonic_us() + 600_000
    captured = [first_us + n * 40_000 for n in range(6)]
    with scene(100) as one:
        one.take(pictures(6, first_us=first_us))
        one.window.until(lambda: one.window.codes[-1:] == captured[-1:])
        seen = [(at_us, code) for at_us, code in one.window.shown if code is not None]
    codes = [code for _, code in seen]
    assert codes == sorted(codes)
    assert set(codes) <= set(captured)
    assert all(at_us >= code + 100_000 - MAX_COST_US for at_us, code in seen)
    ledger = one.roster.ledger()
    assert (ledger.delivered, ledger.offered) == (len(seen), 6)
    assert ledger.dropped["skipped"] == 6 - len(seen)
    assert one.screen.latency.n == one.screen.shown == len(seen)


def test_a_late_joiner_sees_the_newest_picture_at_once() -> None:
    with scene() as one:
        one.take(pictures(9, first_us=monotonic_us() - 60_000_000))
        one.window.until(lambda: len(one.window.codes) and one.window.codes[-1] is not None)
        assert one.screen.shown == 1
        assert one.roster.ledger().dropped["skipped"] == 8


def test_a_long_group_is_run_through_and_its_pictures_tell_nothing_of_delays() -> None:
    with scene() as one:
        first_us = monotonic_us() - 60_000_000
        past = [replace(item, live=False) for item in pictures(60, first_us=first_us)]
        one.take(past)
        one.window.until(lambda: one.window.codes[-1:] == [first_us + 59 * 40_000])
        assert 2 <= one.screen.shown <= 60 // AT_ONCE + 3
        assert one.screen.latency.n == 0


def test_a_grid_holds_everybody_and_those_who_leave_make_room() -> None:
    with scene() as one:
        now_us = monotonic_us() - 10_000_000
        one.take(pictures(1, first_us=now_us, codec="jpeg"))
        one.take(pictures(1, first_us=now_us + 1, codec="jpeg", track="default/other/video"))
        (width, height), tiles = arrange([(320, 240), (320, 240)])
        one.window.until(
            lambda: (
                one.window.pixels.shape == (height, width, 3)
                and all(
                    code_of(one.window.pixels[:, tile.left : tile.left + 320]) == now_us + n
                    for n, tile in enumerate(tiles)
                )
            )
        )
        one.roster.publishers["cam"].tracks["default/cam/video"].seen_us = -(10**9)
        one.roster.expire(now_us)
        one.window.until(lambda: one.window.pixels.shape == (240, 320, 3))
        one.roster.close()
        one.window.until(lambda: one.window.pixels.shape == (480, 640, 3))


def test_another_size_in_the_middle_is_another_tile() -> None:
    with scene() as one:
        now_us = monotonic_us() - 10_000_000
        one.take(pictures(1, first_us=now_us))
        one.window.until(lambda: one.window.pixels.shape[:2] == (240, 320))
        one.take(pictures(1, first_us=now_us + 40_000, size=(640, 480)))
        one.window.until(lambda: one.window.codes[-1] == now_us + 40_000)
        assert one.window.pixels.shape[:2] == (480, 640)


def test_a_codec_that_cannot_be_decoded_is_said_once_in_its_tile(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with scene() as one:
        odd = [
            item(message(n, track="default/odd/video", content_type="video/odd", at_us=n))
            for n in (1, 2, 3)
        ]
        one.take(odd)
        now_us = monotonic_us() - 10_000_000
        one.take(pictures(2, first_us=now_us))
        one.window.until(lambda: one.screen.shown >= 1)
        one.window.until(lambda: bool(one.roster.publishers["odd"].tracks.popitem()[1].refused))
    assert [r.getMessage().split(":")[0] for r in caplog.records] == ["default/odd/video"]
    assert one.roster.ledger().balanced


def test_damage_costs_a_group_and_the_next_key_frame_is_shown() -> None:
    with scene() as one:
        now_us = monotonic_us() - 10_000_000
        items = pictures(7, first_us=now_us)
        broken = item(
            message(
                3, key=False, payload=b"\0\0\0\1", at_us=1, stamps={"capture_us": now_us + 80_000}
            )
        )
        one.take([*items[:2], broken, *items[3:]])
        one.window.until(lambda: one.window.codes[-1:] == [now_us + 6 * 40_000])
        dropped = one.roster.ledger().dropped
        assert dropped["damaged"] == 1
        assert dropped["no-key"] == 2


def test_keys_draw_names_mute_fill_the_screen_and_quit() -> None:
    with scene(names=True) as one:
        one.window.keys = [ord("i"), ord("m"), ord("f"), ord("m"), ord("x")]
        one.window.until(lambda: not one.window.keys and one.mutes == 2)
        assert not one.screen.names
        assert one.window.full
        one.screen.names = True
        now_us = monotonic_us() - 1_000_000
        one.take(pictures(1, first_us=now_us))
        one.window.until(lambda: one.window.codes[-1:] == [now_us])
        assert one.window.pixels[-20:].std() > 0
        one.window.going = False
        assert one.closed.wait(60)


def test_without_a_display_opening_fails() -> None:
    def refuse(_: str) -> FakeWindow:
        raise MediaError("There is no display.", code="no-display")

    one = Scene()
    screen = Screen(
        "title", lambda: one.roster, closed=one.closed.set, mute=lambda: None, window=refuse
    )
    with pytest.raises(MediaError, match="no display"):
        screen.open()
    screen.close()
