"""The screen by Textual's own pilot: keys, sizes, a router that goes, colours off."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from tests.dashboard import samples
from wtp.cli import INTERRUPTED
from wtp.cli.dashboard_app import DashboardApp, LastLine

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


async def settled(pilot: Pilot[Any]) -> str:
    """The screen once everything that was asked for is drawn."""
    await pilot.pause()
    await pilot.pause()
    assert isinstance(pilot.app, DashboardApp)
    return shown(pilot.app)


async def test_80x24_shows_the_essentials_and_keys_do_their_work() -> None:
    app = DashboardApp(Source())
    async with app.run_test(size=(80, 24)) as pilot:
        text = await settled(pilot)
        for essential in ("wtp dashboard", "traffic", "latency", *NAMES, "hops of room/a/video",
                          "publish->receive", "router", "q quit"):  # fmt: skip
            assert essential in text
        assert len(text.splitlines()) <= 24
        assert max(len(line) for line in text.splitlines()) <= 80

        await pilot.press("up", "down")
        assert "hops of room/b/video" in shown(app)
        await pilot.press("end", "down")
        assert "hops of room/c/audio" in shown(app)
        await pilot.press("home", "down", "s", "s")
        text = shown(app)
        assert "p99 ms↓" in text
        assert text.index("room/c/audio") < text.index("room/a/video")
        assert "hops of room/b/video" in text
        await pilot.press("r")
        text = shown(app)
        assert "p99 ms↑" in text
        assert text.index("room/a/video") < text.index("room/c/audio")

        await pilot.press("question_mark")
        assert "sort by the next column" in shown(app)
        await pilot.press("question_mark", "enter")
        text = shown(app)
        assert "sort by the next column" not in text
        assert "capture->receive, p99 of each second, ms, most" in text
        assert "room/c/audio" not in text
        await pilot.press("enter", "ctrl+c")
    assert app.return_value == INTERRUPTED


@pytest.mark.parametrize("key", ["p", "space"])
async def test_pausing_holds_the_figures(key: str) -> None:
    source = Source()
    app = DashboardApp(source)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press(key)
        assert "PAUSED" in shown(app)
        source.now = samples.snapshot("gone")
        app.draw()
        assert "room/c/audio" in await settled(pilot)
        await pilot.press(key)
        text = await settled(pilot)
    assert "PAUSED" not in text
    assert "room/c/audio" not in text


async def test_a_filter_is_typed_and_left() -> None:
    app = DashboardApp(Source())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("slash", *"dio")
        assert "room/a/video" not in await settled(pilot)
        await pilot.press("enter", "s")
        assert "hops of room/c/audio" in await settled(pilot)
        await pilot.press("escape")
        assert "room/a/video" in await settled(pilot)
        await pilot.press("slash", "q", "w")
        assert app.query_one("#filter", Input).value == "qw"
        await pilot.press("escape", "q")
    assert app.return_value == 0


async def test_every_size_and_back() -> None:
    """20 columns say the least, many columns put panes side by side; keys work in all."""
    app = DashboardApp(Source())
    async with app.run_test(size=(20, 10)) as pilot:
        text = await settled(pilot)
        assert "30.0 obj/s" in text
        assert "too narrow" in text
        for size in ((40, 5), (1, 1), (180, 30)):
            await pilot.resize_terminal(*size)
            await pilot.press("down", "tab")
        lines = (await settled(pilot)).splitlines()
        assert any("room/a/video" in line and " up " in line for line in lines)
        await pilot.resize_terminal(80, 24)
        text = await settled(pilot)
    assert "hops of" in text
    assert "too narrow" not in text


async def test_a_router_that_goes_and_returns() -> None:
    source = Source()
    app = DashboardApp(source)
    async with app.run_test(size=(100, 30)) as pilot:
        live, source.now = source.now, samples.snapshot("gone")
        app.draw()
        text = await settled(pilot)
        assert "GONE since 21:45:03Z" in text
        assert "unknown objects/s" in text
        source.now = live
        LastLine(app).handle(logging.makeLogRecord({"msg": "careful\x1b[2J", "levelno": 30}))
        app.draw()
        assert "careful?[2J" in await settled(pilot)
        text = await settled(pilot)
    assert "(12.0 s): https" not in text
    assert "30.0 objects/s" in text


async def test_without_anything_every_key_is_harmless() -> None:
    source = Source()
    source.now = {**samples.snapshot(), "tracks": {}, "track_history": {}, "routers": [],
                  "brokers": [], "processes": [], "drops": {}, "rooms": {}}  # fmt: skip
    app = DashboardApp(source)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("down", "end", "s", "r", "enter", "tab", "x", "p", "h")
        assert app.is_running
