"""The screen by Textual's own pilot: keys, sizes, a router that goes, colours off."""

from __future__ import annotations

import pytest

from tests.dashboard import samples
from wtp.cli import INTERRUPTED
from wtp.cli.dashboard_app import DashboardApp

NAMES = ("room/a/video", "room/b/video", "room/c/audio")


class Source:
    """Gives the snapshot that it was handed last."""

    def __init__(self) -> None:
        rows = {name: samples.row(float(place)) for place, name in enumerate(NAMES)}
        self.now = samples.snapshot(**rows)
        self.taken = 0

    def __call__(self) -> samples.Values:
        self.taken += 1
        return self.now


def shown(app: DashboardApp) -> str:
    """Every line of the screen as text."""
    lines = ("".join(s.text for s in strip) for strip in app.screen._compositor.render_strips())
    return "\n".join(line.rstrip() for line in lines)


async def test_80x24_shows_the_essentials() -> None:
    app = DashboardApp(Source())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        text = shown(app)
    for essential in ("wtp dashboard", "traffic", "latency", *NAMES, "hops of room/a/video",
                      "publish->receive", "router", "q quit"):  # fmt: skip
        assert essential in text
    assert len(text.splitlines()) <= 24
    assert max(len(line) for line in text.splitlines()) <= 80


async def test_arrows_choose_a_track_and_stop_at_the_ends() -> None:
    app = DashboardApp(Source())
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("up", "down")
        assert "hops of room/b/video" in shown(app)
        await pilot.press("end", "down")
        assert "hops of room/c/audio" in shown(app)
        await pilot.press("home")
        assert "hops of room/a/video" in shown(app)


async def test_s_sorts_r_turns_and_the_chosen_track_stays() -> None:
    app = DashboardApp(Source())
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("down", "s", "s")
        text = shown(app)
        assert "p99 ms↓" in text
        assert text.index("room/c/audio") < text.index("room/a/video")
        assert "hops of room/b/video" in text
        await pilot.press("r")
        text = shown(app)
        assert "p99 ms↑" in text
        assert text.index("room/a/video") < text.index("room/c/audio")


@pytest.mark.parametrize("key", ["p", "space"])
async def test_pausing_holds_the_figures(key: str) -> None:
    source = Source()
    app = DashboardApp(source)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press(key)
        assert "PAUSED" in shown(app)
        source.now = samples.snapshot("gone")
        app.draw()
        await pilot.pause()
        assert "room/c/audio" in shown(app)
        await pilot.press(key)
        assert "PAUSED" not in shown(app)
        assert "room/c/audio" not in shown(app)


async def test_enter_shows_one_track_alone() -> None:
    app = DashboardApp(Source())
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("down", "enter")
        text = shown(app)
        assert "capture->receive, p99 of each second, ms, most" in text
        assert "room/b/video" in text
        assert "room/c/audio" not in text
        await pilot.press("enter")
        assert "room/c/audio" in shown(app)


async def test_a_filter_is_typed_and_left() -> None:
    app = DashboardApp(Source())
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("slash", *"audio")
        assert "room/a/video" not in shown(app)
        await pilot.press("enter", "s")
        assert "hops of room/c/audio" in shown(app)
        await pilot.press("escape")
        assert "room/a/video" in shown(app)
        await pilot.press("slash", "q", "p")
        assert app.is_running
        assert "PAUSED" not in shown(app)
        await pilot.press("escape", "q")
    assert app.return_value == 0


async def test_help_tells_the_keys() -> None:
    app = DashboardApp(Source())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("question_mark")
        assert "sort by the next column" in shown(app)
        await pilot.press("question_mark")
        assert "sort by the next column" not in shown(app)


async def test_a_terminal_of_20_columns_and_back() -> None:
    app = DashboardApp(Source())
    async with app.run_test(size=(20, 10)) as pilot:
        await pilot.pause()
        text = shown(app)
        assert "30.0 obj/s" in text
        assert "too narrow" in text
        for size in ((80, 24), (200, 60), (40, 5), (1, 1), (100, 30)):
            await pilot.resize_terminal(*size)
            await pilot.pause()
        await pilot.press("down", "s", "p", "p", "enter", "slash", "escape")
        text = shown(app)
    assert "hops of" in text
    assert "too narrow" not in text


async def test_a_wide_terminal_has_two_columns() -> None:
    app = DashboardApp(Source())
    async with app.run_test(size=(180, 30)) as pilot:
        await pilot.pause()
        lines = shown(app).splitlines()
    assert any("room/a/video" in line and ("router" in line or "up" in line) for line in lines)


async def test_a_router_that_goes_and_returns() -> None:
    source = Source()
    app = DashboardApp(source)
    async with app.run_test(size=(100, 30)) as pilot:
        live, source.now = source.now, samples.snapshot("gone")
        app.draw()
        await pilot.pause()
        text = shown(app)
        assert "GONE since 21:45:03Z" in text
        assert "unknown objects/s" in text
        source.now = live
        app.draw()
        await pilot.pause()
        assert "GONE since 21:45:03Z (12" not in shown(app)
        assert "30.0 objects/s" in shown(app)


async def test_without_tracks_every_key_is_harmless() -> None:
    source = Source()
    source.now = {**samples.snapshot(), "tracks": {}, "track_history": {}, "routers": [],
                  "brokers": [], "processes": [], "drops": {}, "rooms": {}}  # fmt: skip
    app = DashboardApp(source)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("down", "up", "end", "s", "r", "enter", "tab", "w", "x", "p", "h", "h")
        assert app.is_running


async def test_ctrl_c_ends_with_the_code_of_an_interrupt() -> None:
    app = DashboardApp(Source())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("ctrl+c")
    assert app.return_value == INTERRUPTED
