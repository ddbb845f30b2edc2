from __future__ import annotations

import pytest
from rich.console import Console
from typer.testing import CliRunner

from tests.watcher.fakes import pictures, sounds
from wtp.cli.watch import app
from wtp.config.schema import WatchSettings
from wtp.errors import WtpError
from wtp.ui import watch as ui
from wtp.watcher.roster import Roster


def run(*args: str, env: dict[str, str] | None = None) -> tuple[int, str, BaseException | None]:
    result = CliRunner().invoke(app, list(args), env=env or {})
    return result.exit_code, result.output, result.exception


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        (["--no-window", "--no-sound"], "nothing to do"),
        (["one", "--room", "two"], "Two rooms"),
        (["video"], "named like a kind"),
        (["no/room"], "not allowed"),
    ],
)
def test_what_makes_no_sense_is_refused(args: list[str], problem: str) -> None:
    _, _, error = run(*args)
    assert isinstance(error, WtpError)
    assert problem in error.message
    assert error.hint


@pytest.mark.parametrize("delay", ["soon", "-5", "99999999", "5s"])
def test_a_delay_is_auto_or_milliseconds(delay: str) -> None:
    code, output, _ = run(f"--delay={delay}")
    assert code == 2
    assert "delay" in output


def test_without_a_display_the_way_to_hear_alone_is_named() -> None:
    _, _, error = run("--no-sound", env={"DISPLAY": ""})
    assert isinstance(error, WtpError)
    assert error.code == "no-display"
    assert "--no-window" in error.hint


def figures() -> ui.Snapshot:
    roster = Roster(
        WatchSettings(delay=100), picture_cost_us=lambda: 0, sound_cost_us=lambda: 20_000
    )
    for item in [*pictures(1), *sounds(2), *sounds(1, track="d/x\x1b/a", content_type="audio/odd")]:
        roster.offer(item)
    sync = {"n": 3, "p50_ms": 2.0, "p99_ms": 5.0}
    return {
        "state": "watching",
        "duration_s": 61.0,
        "publishers": roster.snapshot(),
        "shown": 30,
        "fps": 29.97,
        "latency": {"n": 30, "p50_ms": 80.0, "p99_ms": 90.0},
        "lip_sync_ms": sync,
        "ledger": roster.ledger().snapshot(),
        "speaker": {"state": "playing", "latency_ms": 24.2, "underruns": 1, "muted": False},
        "left_out": {"audio": {"cannot-decode": 1}},
    }


def shown(part: object) -> str:
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        console.print(part)
    return console.export_text()


def test_the_line_shows_delay_buffer_sync_and_speaker() -> None:
    line = ui.line(figures())
    for part in ("2 publishers", "cam delay 100 ms (buffer", "lip sync p50 2.00 ms", "30.0/s"):
        assert part in line
    assert "speaker playing 24 ms, under-runs 1" in line
    assert "\x1b" not in line
    muted = figures()
    muted["speaker"]["muted"] = True
    assert "speaker muted" in ui.line(muted)


def test_the_tables_name_every_track_and_what_cannot_be_decoded() -> None:
    text = shown(ui.screen(figures()))
    assert "default/cam/video" in text
    assert "cannot be decoded here" in text
    ended = shown(ui.summary(figures()))
    assert "Watched 1 min 01 s: 30 pictures shown" in ended
    assert "Lip sync off by p50 2.00 ms" in ended
    assert "Not taken of audio: 1 (cannot-decode 1)." in ended


def test_the_announcement_names_the_keys_of_a_window() -> None:
    info = {"room": "r", "kinds": ["video"], "broker": "b", "window": True, "sound": True}
    assert ui.announce(info).splitlines()[1] == ui.KEYS
    alone = {**info, "window": False, "kinds": []}
    assert ui.announce(alone) == "Watching room r (nothing yet) at b: sound."
