"""Rooms of pictures and sound whose times are known, and files read back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np

from tests.replayer.fakes import FakeBroker, FakeMessage, topic_of
from wtp.config.schema import Settings
from wtp.media.audio import AudioEncoder
from wtp.media.picture import Picture
from wtp.media.sound import Samples
from wtp.media.testsrc import Pattern
from wtp.media.testtone import ToneSource
from wtp.media.video import Encoded, VideoEncoder
from wtp.model import Kind, Object, to_properties
from wtp.recorder.request import RecordRequest
from wtp.recorder.run import Recorder

T0_US = 1_700_000_000_000_000
"""A whole second: beeps begin at such times."""

TYPES = {
    "h264": "video/h264", "vp8": "video/vp8", "vp9": "video/vp9", "av1": "video/av1",
    "jpeg": "image/jpeg", "opus": "audio/opus;rate=48000;channels=1",
    "pcm": "audio/pcm;format=s16le;rate=44100;channels=1",
}  # fmt: skip

FPS = 30


@cache
def pictures(
    codec: str = "h264", seconds: float = 2.0, size: tuple[int, int] = (320, 240), gop: int = 15
) -> tuple[Encoded, ...]:
    """The test picture; its code tells `T0_US` and later."""
    encoder = VideoEncoder(codec, *size, FPS, gop=gop, bitrate_bps=400_000)
    pattern = Pattern(*size)
    out: list[Encoded] = []
    for number in range(round(seconds * FPS)):
        pts_us = number * 1_000_000 // FPS
        planes = pattern.draw(T0_US + pts_us)
        out += encoder.encode(Picture(planes, *size, T0_US + pts_us, pts_us))
    return (*out, *encoder.flush())


@cache
def sound(codec: str = "opus", seconds: float = 2.0) -> tuple[Encoded, ...]:
    """The test sound, which beeps at `T0_US` and every second."""
    rate_hz = 44_100 if codec == "pcm" else 48_000
    encoder = AudioEncoder(codec, rate_hz, 1)
    out: list[Encoded] = []
    for block in ToneSource(rate_hz, 1, now_us=lambda: T0_US, pace=False).blocks():
        if block.pts_us >= seconds * 1_000_000:
            break
        out += encoder.encode(block)
    return tuple(out)


@dataclass
class Room:
    """Messages of a room by topic, in the order of their capture."""

    messages: list[tuple[int, FakeMessage]] = field(default_factory=list)
    seqs: dict[str, int] = field(default_factory=dict)

    def put(
        self,
        objects: Iterable[Encoded],
        content_type: str,
        *,
        kind: Kind = Kind.VIDEO,
        publisher: str = "cam",
        shift_us: int = 0,
        keep: Callable[[int], bool] = lambda _: True,
        instance: str = "run-1",
    ) -> Room:
        """Add a track's objects, or more of them.

        Args:
            shift_us: Moves them in time.
            keep: Which of them were published, by their number.
        """
        track = f"default/{publisher}/{kind}"
        for number, one in enumerate(objects):
            seq = self.seqs[track] = self.seqs.get(track, 0) + 1
            if not keep(number):
                continue
            at_us = (one.capture_us or 0) + shift_us
            obj = Object(
                kind=kind, seq=seq, group=1, key=one.key, payload=one.payload, capture_us=at_us,
                duration_us=one.duration_us, content_type=content_type,
            )  # fmt: skip
            self._add(at_us, track, obj, instance)
        return self

    def say(self, text: str, at_us: int, author: str = "ann") -> Room:
        """Add a chat line, at a time behind `T0_US`."""
        seq = self.seqs["chat"] = self.seqs.get("chat", 0) + 1
        obj = Object(
            kind=Kind.CHAT, seq=seq, group=seq, key=True, payload=text.encode(),
            capture_us=T0_US + at_us, content_type="text/plain", attributes={"author": author},
        )  # fmt: skip
        self._add(T0_US + at_us, f"default/{author}/chat", obj, "run-1")
        return self

    def _add(self, at_us: int, track: str, obj: Object, instance: str) -> None:
        message = FakeMessage(
            topic=topic_of(obj.kind), key=track, payload=obj.payload,
            properties=to_properties(obj, instance, "boot:1", 0),
            publish_ms=at_us // 1000 + 3, event_ms=at_us // 1000, position="1:0",
        )  # fmt: skip
        self.messages.append((at_us, message))

    def broker(self) -> FakeBroker:
        """A broker that holds it."""
        topics: dict[str, list[FakeMessage]] = {}
        for _, message in sorted(self.messages, key=lambda one: one[0]):
            log = topics.setdefault(message.topic, [])
            values = {name: getattr(message, name) for name in message.__dataclass_fields__}
            log.append(FakeMessage(**{**values, "position": f"1:{len(log)}"}))
        return FakeBroker(topics)


def room(video: str = "h264", audio: str = "opus", seconds: float = 2.0, **where: int) -> Room:
    """Pictures and sound of one publisher from `T0_US` on.

    Args:
        where: `audio_us` moves the sound in time.
    """
    out = Room().put(pictures(video, seconds), TYPES[video])
    shift_us = where.get("audio_us", 0)
    return out.put(sound(audio, seconds), TYPES[audio], kind=Kind.AUDIO, shift_us=shift_us)


async def record(
    path: Path, broker: FakeBroker, *, live: bool = False, **request: Any
) -> dict[str, Any]:
    """Record all that a broker holds; the last snapshot."""
    from wtp.replayer.when import EARLIEST

    asked = RecordRequest(path=path, **{**({} if live else {"start": EARLIEST}), **request})
    role = Recorder(Settings(), asked, broker=lambda: broker, directory=broker.directory)
    async with asyncio.timeout(60):
        await role.run(lambda _: None)
    return role.snapshot()


@dataclass
class Stream:
    """What a stream of a file holds.

    Attributes:
        codec: Its codec.
        title: Its name.
        times: Seconds of each object, in the order of the file.
        keys: Which of them are key objects.
        payloads: Themselves.
    """

    codec: str
    title: str
    times: list[float] = field(default_factory=list)
    keys: list[bool] = field(default_factory=list)
    payloads: list[bytes] = field(default_factory=list)


def read(path: Path) -> list[Stream]:
    """Read a file's streams."""
    with av.open(str(path)) as source:
        found = [
            Stream(
                stream.codec_context.name,
                stream.metadata.get("title") or stream.metadata.get("handler_name", ""),
            )
            for stream in source.streams
        ]
        for packet in source.demux():
            if packet.pts is None or packet.time_base is None:
                continue
            stream = found[packet.stream_index]
            stream.times.append(float(packet.pts * packet.time_base))
            stream.keys.append(packet.is_keyframe)
            stream.payloads.append(bytes(packet))
    return found


def decoded(path: Path) -> Iterator[tuple[float, Any]]:
    """All frames of a file with their times, decoded without an error."""
    with av.open(str(path)) as source:
        for stream in source.streams:
            if stream.type != "subtitle":
                stream.codec_context.options = {"err_detect": "explode"}
        for packet in source.demux(video=0):
            for frame in packet.decode():
                yield float((frame.pts or 0) * (frame.time_base or 0)), frame


def heard(path: Path) -> tuple[float, Samples, int]:
    """The sound of a file: when it begins, its samples (gaps filled), and their rate."""
    parts: list[tuple[int, Samples]] = []
    rate_hz = 48_000
    with av.open(str(path)) as source:
        for frame in source.decode(audio=0):
            rate_hz = frame.sample_rate
            samples = frame.to_ndarray().reshape(-1).astype(np.float64)
            if frame.format.name.startswith("flt"):
                samples = samples * 32767
            at = round(float((frame.pts or 0) * (frame.time_base or 0)) * rate_hz)
            parts.append((at, samples.astype(np.int16)))
    begin = parts[0][0]
    whole = np.zeros((max(at + len(one) for at, one in parts) - begin, 1), np.int16)
    for at, one in parts:
        whole[at - begin : at - begin + len(one), 0] = one
    return begin / rate_hz, whole, rate_hz
