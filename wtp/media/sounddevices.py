"""Microphones and loudspeakers of this machine: the border with PortAudio.

PortAudio lists the devices once, when it is initialised: whoever waits for one that was plugged in
or came back calls `refresh`, which does nothing while any stream of this process is open, since it
would end it. So streams are opened and closed with `opening` and `closed`.
"""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from wtp.errors import MediaError
from wtp.media.libraries import load_sounddevice

RATES_HZ = (16_000, 32_000, 44_100, 48_000, 96_000)
"""Rates that a listing asks every device for."""

INVALID_CHANNELS, INVALID_RATE, UNAVAILABLE = -9998, -9997, -9985
"""paInvalidChannelCount, paInvalidSampleRate, paDeviceUnavailable of PortAudio's portaudio.h."""

_lock = threading.RLock()
_streams: dict[int, Any] = {}
"""Streams that are open, or hang, by `id`."""
_hanging: set[int] = set()
"""Of these, those that are being closed or hang: nobody touches them."""

PATIENCE_S = 3.0
"""How long a device may take to start or to end."""

MOST_HANGING = 8
"""Each keeps a thread and memory: no stream is opened any more when so many hang."""


@dataclass(frozen=True, slots=True)
class SoundDevice:
    """One microphone or loudspeaker.

    Attributes:
        number: PortAudio's number; another one after devices came or went.
        name: What the system calls it.
        id: What `--mic` takes: the name, or the number where two have that name.
        channels: Most that it has.
        rate_hz: Its own rate.
        default: Whether it is taken when none is named.
        rates_hz: Rates it can be opened at, of `RATES_HZ`; empty when nobody asked.
    """

    number: int
    name: str
    id: str
    channels: int
    rate_hz: int
    default: bool
    rates_hz: tuple[int, ...] = ()


def list_microphones(*, rates: bool = True) -> list[SoundDevice]:
    """The microphones of this machine.

    Args:
        rates: Whether to ask each for its rates, which opens it for a moment.

    Raises:
        MissingLibrary: sounddevice or PortAudio cannot be loaded.
    """
    return _list("input", rates)


def list_speakers(*, rates: bool = True) -> list[SoundDevice]:
    """The loudspeakers of this machine; as `list_microphones`."""
    return _list("output", rates)


def find_microphone(wanted: str) -> SoundDevice:
    """The microphone with this id, number, name or part of a name; empty: the default one.

    Raises:
        MediaError: There is none, or there are several.
        MissingLibrary: sounddevice or PortAudio cannot be loaded.
    """
    return _find(wanted, _list("input", False), "microphone", "--mic")


def find_speaker(wanted: str) -> SoundDevice:
    """The loudspeaker with this id, number, name or part of a name; as `find_microphone`."""
    return _find(wanted, _list("output", False), "loudspeaker", "its id")


def refresh() -> bool:
    """Look for devices again, when no stream of this process is open.

    Returns:
        Whether the list is new.
    """
    sounddevice = load_sounddevice()
    with _lock:
        if _streams:
            return False
        # The documented interface has no way to look again (python-sounddevice issue 16).
        with sound_errors("Devices cannot be listed"):
            # It is not initialised when the last time failed.
            with suppress(sounddevice.PortAudioError):
                sounddevice._terminate()
            sounddevice._initialize()
        return True


def opening(make: Callable[[], Any]) -> Any:
    """Open a stream so that `refresh` knows of it: what `make` returns.

    Raises:
        sounddevice.PortAudioError: As `make` raises it.
        MediaError: So many hang already that this one would too.
    """
    with _lock:
        if len(_hanging) >= MOST_HANGING:
            raise MediaError(
                f"{len(_hanging)} sound devices hang; no other is opened.",
                hint="Start again.",
                code="device-hangs",
            )
        stream = make()
        _streams[id(stream)] = stream
        return stream


def start(stream: Any) -> None:
    """Start a stream that `opening` returned; one that hangs is left behind.

    Raises:
        sounddevice.PortAudioError: It cannot be started.
        MediaError: It hangs.
    """
    if not within(PATIENCE_S, stream.start):
        # Closing it would end the whole process with an assertion of PortAudio.
        _hanging.add(id(stream))
        _leave_behind()
        raise MediaError(
            "A sound device hangs instead of starting.",
            hint="It is left behind; if others cannot be opened either, start again.",
            code="device-hangs",
        )


def closed(stream: Any) -> None:
    """Close a stream that `opening` returned; more than once is fine, and a dead one too.

    One that hangs is left behind: `refresh` finds nothing new until it has closed after all.
    """
    sounddevice = load_sounddevice()

    def close() -> None:
        try:
            stream.abort()
        except sounddevice.PortAudioError:
            pass
        finally:
            stream.close(ignore_errors=True)
            with _lock:
                _hanging.discard(id(stream))
                _streams.pop(id(stream), None)

    with _lock:
        if id(stream) not in _streams or id(stream) in _hanging:
            return
        _hanging.add(id(stream))
    if not within(PATIENCE_S, close):
        _leave_behind()


def within(timeout_s: float, call: Callable[[], object]) -> bool:
    """Call in a thread of its own, as PortAudio waits for ever for a device that is going away.

    Its thread that reads a device may end and keep the lock of the stream (seen with 19.6 when the
    sound server dies as a stream starts).

    Returns:
        Whether it returned in time.

    Raises:
        Exception: What it raised in time.
    """
    done = threading.Event()
    errors: list[Exception] = []

    def work() -> None:
        try:
            call()
        except Exception as error:  # noqa: BLE001 - raised again in the thread that waits
            errors.append(error)
        done.set()

    threading.Thread(target=work, name="portaudio", daemon=True).start()
    if not done.wait(timeout_s):
        return False
    if errors:
        raise errors[0]
    return True


def _leave_behind() -> None:
    """Keep the end of the process from waiting for a stream that hangs."""
    atexit.unregister(getattr(load_sounddevice(), "_exit_handler", _leave_behind))


@contextmanager
def sound_errors(doing: str, hint: str = "`wtp devices` lists what is here.") -> Iterator[None]:
    """Translate PortAudio's errors.

    Args:
        doing: What failed: the beginning of the sentence.
        hint: What to do next.
    """
    sounddevice = load_sounddevice()
    try:
        yield
    except sounddevice.PortAudioError as error:
        reason = str(error.args[0] if error.args else error).rstrip(".")
        if error.args[1:2] == (UNAVAILABLE,):
            hint = f"Another program may be using it. {hint}"
        raise MediaError(f"{doing}: {reason}.", hint=hint) from error


def _list(direction: str, rates: bool) -> list[SoundDevice]:
    sounddevice = load_sounddevice()
    with _lock, sound_errors("Devices cannot be listed"):
        all_devices = sounddevice.query_devices()
    default = sounddevice.default.device["input" if direction == "input" else "output"]
    preferred = all_devices[default]["hostapi"] if 0 <= default < len(all_devices) else 0
    count = f"max_{direction}_channels"
    # Other host APIs of a system list the same devices again.
    here = [d for d in all_devices if d[count] > 0 and d["hostapi"] == preferred]
    here = here or [d for d in all_devices if d[count] > 0]
    names = [device["name"] for device in here]
    return [
        SoundDevice(
            number=device["index"],
            name=device["name"],
            id=device["name"] if names.count(device["name"]) == 1 else str(device["index"]),
            channels=device[count],
            rate_hz=round(device["default_samplerate"]),
            default=device["index"] == default,
            rates_hz=_rates(sounddevice, device["index"], direction) if rates else (),
        )
        for device in here
    ]


def _rates(sounddevice: Any, number: int, direction: str) -> tuple[int, ...]:
    check = getattr(sounddevice, f"check_{direction}_settings")
    able = []
    for rate_hz in RATES_HZ:
        try:
            check(device=number, samplerate=rate_hz, dtype="int16")
        except sounddevice.PortAudioError:
            continue
        able.append(rate_hz)
    return tuple(able)


def _find(wanted: str, here: list[SoundDevice], what: str, flag: str) -> SoundDevice:
    if not here:
        raise MediaError(
            f"No {what} was found here.",
            hint="Plug one in; in a container pass the sound server on (PULSE_SERVER) or"
            " --device /dev/snd.",
            code="no-device",
        )
    listed = ", ".join(repr(d.id) + (" (default)" if d.default else "") for d in here)
    if not wanted:
        return next((device for device in here if device.default), here[0])
    low = wanted.lower()
    for same in (
        [d for d in here if d.id == wanted or d.name == wanted],
        [d for d in here if wanted.isdecimal() and d.number == int(wanted)],
        [d for d in here if low in d.name.lower()],
    ):
        if len(same) == 1:
            return same[0]
        if same:
            raise MediaError(
                f"{len(same)} {what}s are called {wanted!r}: {', '.join(d.id for d in same)}.",
                hint=f"Name one of them with {flag}.",
                code="no-device",
            )
    raise MediaError(f"There is no {what} {wanted!r}.", hint=f"Found: {listed}.", code="no-device")
