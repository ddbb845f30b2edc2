"""Streams for pipes: opened without being told what they are, whatever the codec."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

import av
import pytest

from tests.recorder.rooms import FPS, TYPES, Room, pictures, room, sound
from wtp.config.schema import Settings
from wtp.consumer.containers import raw_output
from wtp.consumer.item import Item
from wtp.consumer.mux import MuxConsumer, _Both, _Half
from wtp.consumer.output import Sink
from wtp.consumer.request import Request
from wtp.errors import MediaError, NotFound, UsageError
from wtp.media.mux_formats import PIPES
from wtp.model import Kind
from wtp.replayer.placed import Placed, played


class Pipe(io.RawIOBase):
    """Bytes that can be read once, from the start on."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def read(self, size: int = -1) -> bytes:
        return self._data.read(size)


def items(source: Room) -> list[Item]:
    ordered = sorted(source.messages, key=lambda one: one[0])
    return [played(Placed(message, at_us, "capture", True)) for at_us, message in ordered]


@pytest.mark.parametrize(
    ("codec", "kind"),
    [
        ("h264", Kind.VIDEO), ("vp8", Kind.VIDEO), ("vp9", Kind.VIDEO), ("av1", Kind.VIDEO),
        ("jpeg", Kind.SCREEN), ("opus", Kind.AUDIO), ("pcm", Kind.AUDIO),
    ],
)  # fmt: skip
def test_a_track_alone(tmp_path: Path, codec: str, kind: Kind) -> None:
    audio = kind is Kind.AUDIO
    objects = sound(codec, 1.0) if audio else pictures(codec, 1.0)
    output = raw_output(Sink(str(tmp_path / "raw")), lossless=True)
    output.open()
    reasons = output.take(items(Room().put(objects, TYPES[codec], kind=kind)))
    output.close()
    assert set(reasons) == {""}
    with av.open(Pipe((tmp_path / "raw").read_bytes()), "r") as source:
        frames = list(source.decode(source.streams[0]))
    if audio:
        rate_hz = {frame.sample_rate for frame in frames if isinstance(frame, av.AudioFrame)}
        assert rate_hz == {44_100 if codec == "pcm" else 48_000}
        count = sum(frame.samples for frame in frames if isinstance(frame, av.AudioFrame))
        assert count == pytest.approx(next(iter(rate_hz)), abs=500)
    else:
        assert len(frames) == FPS


def test_a_stream_stays_in_its_format(tmp_path: Path) -> None:
    output = raw_output(Sink(str(tmp_path / "raw")), lossless=True)
    output.open()
    both = Room().put(pictures("vp8", 0.2), TYPES["vp8"])
    both.put(pictures("h264", 0.2), TYPES["h264"], shift_us=1_000_000)
    reasons = output.take(items(both))
    output.close()
    assert reasons == [""] * 6 + ["other-format"] * 6


@pytest.mark.parametrize("container", ["mpegts", "matroska"])
def test_both_together(tmp_path: Path, container: str) -> None:
    path = tmp_path / "out"
    both = _Both(PIPES[container], Sink(str(path)), frozenset({"pictures", "sound"}))
    halves = {True: _Half(both, True), False: _Half(both, False)}
    for half in halves.values():
        half.open()
    source = room(seconds=2.0).put(pictures("h264", 1.0), TYPES["h264"], publisher="dog")
    reasons = [halves[item.kind == "video"].take([item])[0] for item in items(source)]
    for half in halves.values():
        half.idle()
        half.close()
        half.close()
    assert reasons.count("other-publisher") == FPS
    with av.open(Pipe(path.read_bytes()), "r") as opened:
        names = [stream.codec_context.name for stream in opened.streams]
        counts = {0: 0, 1: 0}
        for packet in opened.demux():
            counts[packet.stream_index] += packet.size > 0
    assert names == ["h264", "opus"]
    assert counts[0] == 2 * FPS
    assert counts[1] >= 195


def test_mpegts_refuses_what_it_cannot_hold(tmp_path: Path) -> None:
    both = _Both(PIPES["mpegts"], Sink(str(tmp_path / "out")), frozenset({"pictures"}))
    half = _Half(both, True)
    half.open()
    with pytest.raises(MediaError, match="mpegts cannot hold video/vp8") as caught:
        half.take(items(Room().put(pictures("vp8", 0.2), TYPES["vp8"])))
    assert "--mux matroska" in caught.value.hint
    half.close()


def test_a_late_track_has_no_stream(tmp_path: Path) -> None:
    both = _Both(PIPES["matroska"], Sink(str(tmp_path / "out")), frozenset({"pictures"}))
    half = _Half(both, True)
    half.open()
    assert set(half.take(items(Room().put(pictures("h264", 1.0), TYPES["h264"])))) == {""}
    other = Room().put(pictures("h264", 0.2), TYPES["h264"], kind=Kind.SCREEN)
    assert set(half.take(items(other))) == {"no-stream"}
    half.close()


async def test_a_room_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.replayer.fakes import FakeBroker
    from wtp.consumer import mux

    async def there(*_: object, **__: object) -> None:
        return

    monkeypatch.setattr(mux, "reach", there)
    broker = FakeBroker()
    with pytest.raises(UsageError, match="no container") as caught:
        MuxConsumer(Settings(), Request(), "avi")
    assert "matroska" in caught.value.hint
    role = MuxConsumer(Settings(), Request(), "mpegts", directory=broker.directory)
    with pytest.raises(NotFound):
        await role.run(lambda _: None)
    waiting = MuxConsumer(Settings(), Request(wait=True), "mpegts", directory=broker.directory)
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(waiting.run(lambda _: None))
        await asyncio.sleep(0)
        waiting.stop()
    assert waiting.snapshot()["objects"] == 0
