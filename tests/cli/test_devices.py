"""`wtp devices`: tables for people, one document for programs, nothing that stops the rest."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest
from rich.console import Console

from wtp.ui.devices import FORMATS_SHOWN, device_page

FORMAT = {"pixels": "MJPG", "width": 640, "height": 480, "fps": [30.0, 15.0]}
SOUND = {
    "id": "USB Audio", "name": "USB Audio", "default": True, "channels": 2, "rate_hz": 48_000,
    "rates_hz": [44_100, 48_000],
}  # fmt: skip


def text(devices: dict[str, list[dict[str, object]]], problems: dict[str, str]) -> str:
    console = Console(width=200, record=True, file=open(os.devnull, "w"))  # noqa: SIM115 - shown nowhere
    with console.capture() as captured:
        console.print(device_page(devices, problems))
    console.file.close()
    return re.sub(" {2,}", "  ", captured.get())


def test_the_first_column_can_be_pasted() -> None:
    shown = text(
        {
            "cameras": [
                {"id": "0", "name": "Cam\x1b[2J", "path": "/dev/video0", "formats": [FORMAT] * 9}
            ],
            "microphones": [SOUND],
            "speakers": [SOUND],
            "screens": [
                {"id": "1", "name": "DP-1", "left": 0, "top": 0, "width": 800, "height": 600}
            ],
            "encoders": [
                {"id": "libx264", "name": "libx264", "codec": "h264", "hardware": False,
                 "works": True, "why": ""},
                {"id": "h264_nvenc", "name": "h264_nvenc", "codec": "h264", "hardware": True,
                 "works": False, "why": "It needs a card."},
            ],
        },
        {},
    )  # fmt: skip
    assert "--camera 0  Cam?[2J  /dev/video0, 640x480 MJPG 30/15" in shown
    assert f"and {9 - FORMATS_SHOWN} more" in shown
    assert "--mic 'USB Audio'" in shown
    assert "2 channels, 44100, 48000 Hz, default" in shown
    assert "--screen 1  DP-1  800x600 at 0,0" in shown
    assert "--codec h264 --encoder libx264" in shown
    assert "h264_nvenc: It needs a card." in shown


def test_what_is_empty_or_cannot_be_listed_is_said() -> None:
    shown = text({"cameras": [], "screens": []}, {"screens": "There is no display."})
    assert "none (a container needs --device /dev/video0" in shown
    assert "There is no display." in shown


@pytest.fixture
def bare() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}


def test_a_machine_without_a_display(bare: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "wtp", "devices", "screens", "cameras", "-o", "json"],
        capture_output=True, env=bare, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    values = json.loads(done.stdout)
    assert list(values) == ["cameras", "screens", "problems"]
    assert values["screens"] == []
    if sys.platform.startswith("linux"):
        assert "DISPLAY is not set" in values["problems"]["screens"]


def test_an_unknown_kind_is_refused(bare: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "wtp", "devices", "keyboards"],
        capture_output=True, env=bare, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert b"'cameras', 'microphones'" in done.stderr
