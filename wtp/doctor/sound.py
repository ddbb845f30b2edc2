"""Sound: PortAudio, microphones and speakers, and the way to a sound server."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from wtp.doctor.finding import Finding, State, Subject
from wtp.doctor.probe import Answer, probe

WHY_LIBRARY = "Microphones and loudspeakers need PortAudio; all else works without."
WHY_DEVICES = "wtp publish --mic and wtp watch take the default device when none is named."

CARDS = Path("/dev/snd")

PLUGIN = "libasound_module_pcm_pulse.so"
PLUGIN_FOLDERS = ("/usr/lib", "/usr/lib64", "/usr/local/lib")
"""Where Linux distributions put ALSA's plugins: LIB/[TRIPLET/]alsa-lib."""


async def look(subject: Subject) -> list[Finding]:
    """Load PortAudio and list devices in another process."""
    answers = await probe(["sound"])
    return judge(
        answers["sound"],
        server=has_server(os.environ),
        plugin=has_plugin(),
        shut=is_shut(),
    )


def judge(answer: Answer, *, server: bool, plugin: bool, shut: bool = False) -> list[Finding]:
    """Judge the answer of `probe`.

    Args:
        answer: The answer.
        server: Whether a sound server (PulseAudio, PipeWire) is there.
        plugin: Whether ALSA, through which PortAudio goes, has the way to it.
        shut: Whether there are sound cards that this user may not open.
    """
    if answer["problem"]:
        state = State.UNKNOWN if answer.get("late") else State.WARNING
        mend = answer["remedy"] or "sudo apt install libportaudio2"
        return [Finding("portaudio", state, answer["problem"], WHY_LIBRARY, mend)]
    version = answer["version"].partition(",")[0]
    library = Finding("portaudio", State.OK, version, WHY_LIBRARY)
    if server and not plugin:
        found = f"{version}; a sound server runs, but ALSA has no plugin for it"
        mend = "sudo apt install libasound2-plugins"
        library = Finding("portaudio", State.WARNING, found, WHY_LIBRARY, mend)
    return [library, *(_devices(kind, answer, shut) for kind in ("microphone", "speaker"))]


def _devices(kind: str, answer: Answer, shut: bool) -> Finding:
    names = [one["name"] for one in answer[f"{kind}s"]]
    default = [one["name"] for one in answer[f"{kind}s"] if one["default"]]
    if not names and shut:
        found = f"no {kind} for this user: the sound cards may not be opened"
        mend = "sudo usermod -aG audio $USER   # then log in again"
        return Finding(kind, State.WARNING, found, WHY_DEVICES, mend)
    if not names:
        mend = {
            "microphone": "Plug one in, or: wtp publish --mic testsrc",
            "speaker": "Plug one in, or: wtp watch --no-sound",
        }[kind]
        return Finding(kind, State.UNKNOWN, f"no {kind} here", WHY_DEVICES, mend)
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    if not default:
        found = f"no default; there is {names[0]}{more}"
        mend = f"Name one; wtp devices {kind}s lists them."
        return Finding(kind, State.WARNING, found, WHY_DEVICES, mend)
    return Finding(kind, State.OK, f"default {default[0]}{more}", WHY_DEVICES)


def is_shut(cards: Path = CARDS) -> bool:
    """Whether there are sound cards that this user may not open."""
    return any(not os.access(one, os.R_OK | os.W_OK) for one in cards.glob("pcm*"))


def has_server(environ: Mapping[str, str]) -> bool:
    """Whether a sound server is named, or has its socket where it belongs."""
    folder = environ.get("XDG_RUNTIME_DIR", "")
    socket = Path(folder) / "pulse" / "native"
    return bool(environ.get("PULSE_SERVER")) or bool(folder and socket.exists())


def has_plugin(folders: tuple[str, ...] = PLUGIN_FOLDERS) -> bool:
    """Whether ALSA's plugin for sound servers is installed."""
    return any(
        next(Path(folder).glob(pattern), None) is not None
        for folder in folders
        for pattern in (f"alsa-lib/{PLUGIN}", f"*/alsa-lib/{PLUGIN}")
    )
