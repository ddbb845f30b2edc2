"""A window and a speaker without devices, and objects of a room."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from tests.consumer.fakes import DOMAIN, item, message
from wtp.clock import monotonic_us
from wtp.consumer.item import Item
from wtp.consumer.sound import Pull
from wtp.errors import MediaError
from wtp.media.picture import Picture, Pixels, empty_planes
from wtp.media.testsrc import Pattern, read_code
from wtp.media.video import VideoEncoder
from wtp.model import Kind

WIDTH, HEIGHT = 320, 240
PCM = "audio/pcm;format=s16le;rate=48000;channels=1"


def code_of(pixels: Pixels) -> int | None:
    """The block code in the top left corner of what a window shows."""
    planes = empty_planes(pixels.shape[1], pixels.shape[0])
    planes[: pixels.shape[0]] = pixels[:, :, 1]
    return read_code(planes)


class FakeWindow:
    """Remembers what it shows and when."""

    def __init__(self, title: str = "") -> None:
        self.title = title
        self.shown: list[tuple[int, int | None]] = []
        self.pixels: Pixels = np.zeros((2, 2, 3), np.uint8)
        self.key = -1
        self.keys: list[int] = []
        self.going = True
        self.full = self.closed = False
        self.news = threading.Condition()

    def show_pixels(self, pixels: Pixels) -> bool:
        with self.news:
            self.pixels = pixels.copy()
            self.shown.append((monotonic_us(), code_of(pixels)))
            self.news.notify_all()
        return self.look_after()

    def look_after(self) -> bool:
        with self.news:
            self.key = self.keys.pop(0) if self.keys else -1
            self.news.notify_all()
        return self.going

    def turn_full(self) -> None:
        self.full = not self.full

    def close(self) -> None:
        self.closed = True

    def until(self, holds: Any, timeout_s: float = 60.0) -> None:
        """Wait until something holds, which is looked at whenever the window had its turn."""
        with self.news:
            assert self.news.wait_for(holds, timeout_s)

    @property
    def codes(self) -> list[int | None]:
        return [code for _, code in self.shown]


class FakeSpeaker:
    """Pulls when a test says so."""

    def __init__(self, pull: Pull, device: str = "", *, problem: MediaError | None = None) -> None:
        self.pull, self.device = pull, device
        self.rate_hz, self.channels = 48_000, 2
        self.state, self.underruns, self.muted, self.latency_us = "closed", 0, False, 20_000
        self._problem = problem

    def open(self) -> None:
        if self._problem is not None:
            raise self._problem
        self.state = "playing"

    def close(self) -> None:
        self.state = "closed"


def pictures(
    count: int,
    *,
    codec: str = "h264",
    track: str = "default/cam/video",
    first_us: int = 1_000_000,
    way_us: int = 5_000,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    **more: Any,
) -> list[Item]:
    """Objects of a track, 40 ms apart, whose code is their capture time (CLOCK_MONOTONIC)."""
    source = Pattern(*size)
    encoder = VideoEncoder(codec, *size, 25, gop=5)
    out = []
    for seq in range(1, count + 1):
        capture_us = first_us + (seq - 1) * 40_000
        (made,) = encoder.encode(Picture(source.draw(capture_us), *size))
        of = message(
            seq, payload=made.payload, key=made.key, track=track,
            content_type=encoder.content_type, at_us=capture_us + way_us,
            stamps={"capture_us": capture_us}, **more,
        )  # fmt: skip
        out.append(item(of, receive_us=DOMAIN.anchor_us + capture_us + way_us))
    return out


def sounds(
    count: int,
    *,
    value: int = 100,
    track: str = "default/cam/audio",
    first_us: int = 1_000_000,
    way_us: int = 5_000,
    content_type: str = PCM,
    **more: Any,
) -> list[Item]:
    """Objects of 10 ms of a constant sound."""
    payload = np.full(480, value, np.int16).tobytes()
    out = []
    for seq in range(1, count + 1):
        capture_us = first_us + (seq - 1) * 10_000
        of = message(
            seq, kind=Kind.AUDIO, payload=payload, track=track, content_type=content_type,
            at_us=capture_us + way_us, stamps={"capture_us": capture_us}, **more,
        )  # fmt: skip
        out.append(item(of, receive_us=DOMAIN.anchor_us + capture_us + way_us))
    return out
