from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType

from tests.consumer.fakes import DOMAIN, SETTINGS, item, message
from wtp.clock import monotonic_us
from wtp.consumer.files import Receive
from wtp.consumer.request import Request
from wtp.consumer.run import Consumer
from wtp.model import Kind
from wtp.ui import consume as ui


def text(shown: RenderableType) -> str:
    console = Console(file=io.StringIO(), width=160, highlight=False)
    console.print(shown, markup=False)
    out = console.file
    assert isinstance(out, io.StringIO)
    return out.getvalue()


def snapshot(*, stamped: bool) -> dict[str, Any]:
    role = Consumer(SETTINGS, Request(kind=Kind.VIDEO))
    for seq in (1, 2, 5):
        stamps = {"capture_us": 1000, "encode_us": 2000} if stamped else {}
        made = message(
            seq, track="default/cam\x1b/video", stamps=stamps, at_us=monotonic_us() + 60_000_000
        )
        role.stats.add(item(made, receive_us=DOMAIN.anchor_us + 6000 if stamped else None))
    role.ledger.drop("slow-output", 2)
    return role.snapshot()


def test_the_line_has_the_latency_with_its_ends_number_and_error() -> None:
    line = ui.line(snapshot(stamped=True))
    assert "3 objects" in line
    assert "capture->receive p50 5.0" in line
    assert "(n 3, clock error 0.00 ms)" in line
    assert "slow-output 2" in line
    assert "gaps 2" in line


def test_what_is_unknown_is_called_so_and_never_zero() -> None:
    values = snapshot(stamped=False)
    assert "latency unknown" in ui.line(values)
    assert "latency unknown" in text(ui.summary(values))
    assert "0.00" not in text(ui.summary(values))
    role = Consumer(SETTINGS, Request(kind=Kind.VIDEO))
    role.stats.add(item(message(1, stamps={"route_us": 1000, "publish_us": 2000})))
    some = text(ui.hops(role.snapshot()))
    assert some.count("unknown") == 21, "four hops and the whole, four figures each; the error"
    assert "0.00" not in some


def test_summary_and_screen_show_tracks_and_hops_without_controls() -> None:
    values = snapshot(stamped=True)
    for shown in (text(ui.summary(values)), text(ui.screen(values))):
        assert "default/cam?/video" in shown
        assert "capture->encode" in shown
        assert "encode->receive" in shown
        assert "\x1b" not in shown


def test_the_announcement_names_topics_and_broker() -> None:
    info = {"topics": ["a", "b"], "broker": "pulsar://x", "start": "latest"}
    assert ui.announce(info) == "Reading a, b from pulsar://x (latest)."


def test_the_average_is_that_of_live_objects_over_live_time() -> None:
    values = {**snapshot(stamped=True), "objects": 390, "past": 90, "duration_s": 9.5}
    values["live_s"] = 10.0
    assert "in 9.5 s, 30.0/s live:" in text(ui.summary(values))
    assert "in 9.5 s, 39.0/s:" in text(ui.summary({**values, "past": 0}))
    assert "in 9.5 s:" in text(ui.summary({**values, "past": 390}))
    assert "in 0.4 s:" in text(ui.summary({**values, "duration_s": 0.4}))


def test_one_object_is_singular() -> None:
    values = {**snapshot(stamped=True), "objects": 1}
    assert "1 object " in ui.line(values)
    assert text(ui.summary(values)).startswith("1 object,")


def test_sound_that_is_played_says_how_late_it_is_heard() -> None:
    heard = {"state": "live", "delay_ms": 38.04, "underruns": 2, "starved": 0}
    line = ui.line({**snapshot(stamped=True), "output": heard})
    assert line.endswith("heard after 38.04 ms  underruns 2")
    line = ui.line({**snapshot(stamped=True), "output": {"state": "waiting", "delay_ms": None}})
    assert line.endswith("waiting for sound")
    assert "heard" not in ui.line(snapshot(stamped=True))


def test_files_take_the_place_of_objects(tmp_path: Path) -> None:
    role = Consumer(SETTINGS, Request(kind=Kind.FILE), Receive(tmp_path / "in\x1b"))
    values = role.snapshot()
    assert ui.line(values).startswith("0 files received")
    assert text(ui.screen(values)).startswith("0 files received")
    assert text(ui.summary(values)).startswith(f"0 files received into {tmp_path}/in?")
