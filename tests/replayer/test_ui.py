from __future__ import annotations

import io
from typing import Any

from rich.console import Console, RenderableType

from tests.replayer.fakes import SETTINGS, T0_US, foreign, message
from wtp.model import Kind
from wtp.replayer.placed import Placed
from wtp.replayer.request import Request
from wtp.replayer.run import Replayer
from wtp.ui import replay as ui


def text(shown: RenderableType) -> str:
    console = Console(file=io.StringIO(), width=160, highlight=False)
    console.print(shown, markup=False)
    out = console.file
    assert isinstance(out, io.StringIO)
    return out.getvalue()


def snapshot(**changes: Any) -> dict[str, Any]:
    role = Replayer(SETTINGS, Request(kinds=(Kind.VIDEO,), speed=2.0))
    batch = [
        Placed(message(T0_US + seq * 1_000_000, seq, publisher="cam\x1b"), T0_US, "capture", False)
        for seq in (1, 2, 5)
    ]
    batch.append(Placed(foreign(17), T0_US + 4_000_000, "publish", False))
    role.figures.add(batch)
    shot = role.snapshot()
    ends = {"from_us": T0_US, "to_us": T0_US + 8_000_000}
    return {**shot, **ends, "duration_s": 2.0, "state": "playing", **changes}


def test_the_line_says_where_and_how_fast() -> None:
    line = ui.line(snapshot())
    assert line.startswith("playing  at 2023-11-1")
    assert "2x" in line
    assert "4 objects" in line
    assert ui.line(snapshot(paused=True)).startswith("paused")
    assert "max (2x)" in ui.line(snapshot(speed=0.0))
    assert "max  " in ui.line(snapshot(speed=0.0, duration_s=0.0))
    assert "nothing for 2 min 05 s" in ui.line(snapshot(next_s=125.0))
    assert "nothing for" not in ui.line(snapshot(next_s=1.0))
    assert "as it comes" in ui.line(snapshot(state="live"))


def test_the_screen_has_a_bar_and_the_keys_only_when_they_work() -> None:
    shown = text(ui.screen(snapshot(), keys=True))
    assert "50%" in shown
    assert "space pause" in shown
    assert "\x1b" not in shown
    assert "space pause" not in text(ui.screen(snapshot()))
    assert "%" not in text(ui.screen(snapshot(from_us=None)))


def test_the_summary_labels_what_has_no_capture_stamp() -> None:
    shown = text(ui.summary(snapshot(late=3, skipped=7, live_objects=1)))
    assert "2.0 times real time" in shown
    assert "Missing 2" in shown
    assert "1 without capture stamp, placed by publish time" in shown
    assert "3 behind their turn" in shown
    assert "1 live" in shown
    assert "7 others were not asked for" in shown
    assert "(no key)" in shown


def test_many_tracks_are_cut() -> None:
    shot = snapshot()
    track = next(iter(shot["tracks"].values()))
    shot["tracks"] = {f"default/p{n}/video": track for n in range(20)}
    assert "and 8 more" in text(ui.tracks(shot))


def test_the_announcement() -> None:
    info = {"topics": ["a", "b"], "broker": "pulsar://h:1", "from_us": T0_US, "to_us": T0_US}
    assert "Replaying a, b from pulsar://h:1; kept: 2023" in ui.announce(info)
    assert "empty so far" in ui.announce({**info, "from_us": None})


def test_times_that_are_none() -> None:
    assert ui.clock(None) == "unknown"
    assert ui.clock(1 << 62).endswith(" us")
