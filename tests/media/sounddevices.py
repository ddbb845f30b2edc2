"""A stand-in for the sounddevice package: devices on command, callbacks when a test says so."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

Heard = Callable[[bytes, int, Any, Any], None]


class PortAudioError(Exception):
    """As sounddevice raises it: a sentence and PortAudio's code."""


def device(
    name: str, *, inputs: int = 2, outputs: int = 0, rate_hz: int = 48_000
) -> dict[str, Any]:
    """What `query_devices` says of one."""
    return {
        "name": name,
        "hostapi": 0,
        "max_input_channels": inputs,
        "max_output_channels": outputs,
        "default_samplerate": float(rate_hz),
    }


class Stream:
    """A stream that hears what a test tells it."""

    def __init__(self, package: FakeSound, **given: Any) -> None:
        self.given = given
        self.package = package
        self.closed = False
        problem = package.problem(given)
        if problem:
            raise problem
        package.streams.append(self)
        package.opened.release()

    def start(self) -> None:
        self._hang("start")
        self.package.started.release()

    def _hang(self, doing: str) -> None:
        if self.package.hang == doing:
            self.package.let_go.wait(60)

    def abort(self) -> None:
        self._hang("abort")
        if self.closed:
            raise PortAudioError("Invalid stream pointer", -9988)

    def close(self, ignore_errors: bool = True) -> None:
        assert ignore_errors
        self.closed = True

    def hear(self, samples: np.ndarray[Any, Any], *, overflow: bool = False) -> None:
        """Call back with `n` samples, alike in all channels."""
        data = np.repeat(samples.reshape(-1, 1), self.given["channels"], axis=1).astype(np.int16)
        status = SimpleNamespace(input_overflow=overflow)
        self.given["callback"](data.tobytes(), len(data), SimpleNamespace(), status)

    def vanish(self) -> None:
        """End as a stream ends whose device is gone."""
        self.given["finished_callback"]()


class FakeSound(ModuleType):
    """The package; put it into `sys.modules["sounddevice"]`.

    Attributes:
        devices: What is there; looked at when PortAudio is initialised.
        rates_hz: Rates that can be opened.
        channels: Numbers of channels that can be opened.
        busy: Whether another program has them all.
        hang: What streams hang at, `start` or `abort`, until `let_go`.
    """

    PortAudioError = PortAudioError
    __version__ = "fake"

    def __init__(self, *devices: dict[str, Any]) -> None:
        super().__init__("sounddevice")
        self.devices = list(devices)
        self.rates_hz: tuple[int, ...] = (16_000, 44_100, 48_000)
        self.channels: tuple[int, ...] = (1, 2)
        self.busy = False
        self.hang = ""
        self.let_go = threading.Event()
        self.streams: list[Stream] = []
        self._known: list[dict[str, Any]] = []
        self.opened, self.started = threading.Semaphore(0), threading.Semaphore(0)
        self.default = SimpleNamespace(device={"input": -1, "output": -1})
        self._initialize()

    def _terminate(self) -> None:
        assert all(stream.closed for stream in self.streams), "this would end an open stream"
        self._known = []

    def _initialize(self) -> None:
        self._known = [dict(one, index=number) for number, one in enumerate(self.devices)]
        self.default.device = {
            "input": next((d["index"] for d in self._known if d["max_input_channels"]), -1),
            "output": next((d["index"] for d in self._known if d["max_output_channels"]), -1),
        }

    def _exit_handler(self) -> None:
        """What the package does when the process ends."""

    def query_devices(self) -> list[dict[str, Any]]:
        return self._known

    def problem(self, given: dict[str, Any]) -> Exception | None:
        if not self.devices:
            return PortAudioError("Error querying device -1")
        if self.busy:
            return PortAudioError("Error opening RawInputStream: Device unavailable", -9985)
        if given.get("samplerate") not in self.rates_hz:
            return PortAudioError("Error opening RawInputStream: Invalid sample rate", -9997)
        if given.get("channels", 1) not in self.channels:
            return PortAudioError("Error opening RawInputStream: Invalid number of channels", -9998)
        return None

    def RawInputStream(self, **given: Any) -> Stream:
        return Stream(self, **given)

    def check_input_settings(self, **given: Any) -> None:
        problem = self.problem(given)
        if problem:
            raise problem

    check_output_settings = check_input_settings
