"""What this machine can capture with, play on and encode with."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from wtp.errors import MediaError

KINDS = ("cameras", "microphones", "speakers", "screens", "encoders")
"""Every kind of device, in the order in which they are shown."""
QUICK = KINDS[:-1]
"""Those that are listed without being asked for: encoders have to be tried, which takes longer."""

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Found:
    """Devices by kind.

    Attributes:
        devices: Rows of each kind that was asked for; every row has an `id`, what the option takes,
            and a `name`.
        problems: Kinds that could not be listed, each with a sentence that says why and what to do.
    """

    devices: dict[str, list[Row]] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)


def find_devices(kinds: Iterable[str] = QUICK) -> Found:
    """List devices; blocks, encoders for some seconds.

    A library that is absent takes one kind away and is said; the others are listed all the same.

    Args:
        kinds: Which of `KINDS`.
    """
    found = Found()
    for kind in KINDS:
        if kind not in kinds:
            continue
        try:
            found.devices[kind] = _LISTS[kind]()
        except MediaError as error:
            found.devices[kind] = []
            found.problems[kind] = str(error)
    return found


def _cameras() -> list[Row]:
    from wtp.media.cameras import list_cameras
    from wtp.media.v4l2 import camera_formats

    return [
        {
            "id": str(camera.number),
            "name": camera.name,
            "path": camera.path,
            "formats": [asdict(one) for one in camera_formats(camera.path)] if camera.path else [],
        }
        for camera in list_cameras()
    ]


def _microphones() -> list[Row]:
    from wtp.media.sounddevices import list_microphones

    return [_sound(device) for device in list_microphones()]


def _speakers() -> list[Row]:
    from wtp.media.sounddevices import list_speakers

    return [_sound(device) for device in list_speakers()]


def _sound(device: Any) -> Row:
    return {
        "id": device.id,
        "name": device.name,
        "default": device.default,
        "channels": device.channels,
        "rate_hz": device.rate_hz,
        "rates_hz": list(device.rates_hz),
    }


def _screens() -> list[Row]:
    from wtp.media.screen import list_screens

    return [
        {
            "id": str(screen.number),
            "name": screen.name,
            "left": screen.left,
            "top": screen.top,
            "width": screen.width,
            "height": screen.height,
        }
        for screen in list_screens()
    ]


def _encoders() -> list[Row]:
    from wtp.media.encoders import list_encoders

    return [{"id": encoder.name, **asdict(encoder)} for encoder in list_encoders()]


_LISTS: dict[str, Callable[[], list[Row]]] = {
    "cameras": _cameras,
    "microphones": _microphones,
    "speakers": _speakers,
    "screens": _screens,
    "encoders": _encoders,
}
