"""Devices are listed by kind; what cannot be listed is one sentence, the rest is there."""

from __future__ import annotations

import pytest

from wtp.errors import MissingLibrary
from wtp.media import cameras, devices, encoders, screen, sounddevices, v4l2
from wtp.media.cameras import Camera
from wtp.media.devices import KINDS, QUICK, find_devices
from wtp.media.encoders import EncoderInfo
from wtp.media.screen import Screen
from wtp.media.sounddevices import SoundDevice
from wtp.media.v4l2 import CameraFormat


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of each."""
    monkeypatch.setattr(cameras, "list_cameras", lambda: [Camera(2, "/dev/video2", "USB Cam")])
    formats = [CameraFormat("MJPG", 640, 480, (30.0,))]
    monkeypatch.setattr(v4l2, "camera_formats", lambda path: formats)
    sound = SoundDevice(3, "USB Audio", "USB Audio", 2, 48_000, True, (44_100, 48_000))
    monkeypatch.setattr(sounddevices, "list_microphones", lambda: [sound])
    monkeypatch.setattr(sounddevices, "list_speakers", lambda: [sound])
    monkeypatch.setattr(screen, "list_screens", lambda: [Screen(1, 0, 0, 800, 600, "DP-1")])
    monkeypatch.setattr(
        encoders, "list_encoders", lambda: [EncoderInfo("libx264", "h264", False, True, "")]
    )


@pytest.mark.usefixtures("machine")
def test_every_kind_has_ids_to_paste() -> None:
    found = find_devices(KINDS)
    assert list(found.devices) == list(KINDS)
    assert found.problems == {}
    ids = {kind: rows[0]["id"] for kind, rows in found.devices.items()}
    assert ids == {
        "cameras": "2", "microphones": "USB Audio", "speakers": "USB Audio", "screens": "1",
        "encoders": "libx264",
    }  # fmt: skip
    assert found.devices["cameras"][0]["formats"] == [
        {"pixels": "MJPG", "width": 640, "height": 480, "fps": (30.0,)}
    ]
    assert found.devices["microphones"][0]["rates_hz"] == [44_100, 48_000]


@pytest.mark.usefixtures("machine")
def test_encoders_are_tried_only_when_asked_for() -> None:
    assert list(find_devices().devices) == list(QUICK)
    assert list(find_devices({"encoders"}).devices) == ["encoders"]


@pytest.mark.usefixtures("machine")
def test_an_absent_library_takes_one_kind_away(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> list[SoundDevice]:
        raise MissingLibrary("PortAudio is not there.", hint="Install libportaudio2.")

    monkeypatch.setattr(sounddevices, "list_microphones", absent)
    found = devices.find_devices()
    assert found.problems == {"microphones": "PortAudio is not there. Install libportaudio2."}
    assert found.devices["microphones"] == []
    assert found.devices["speakers"]
    assert found.devices["cameras"]
