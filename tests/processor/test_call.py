"""What user code is given, and what becomes of what it returns."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.processor.parcels import parcel
from wtp.media.picture import Picture
from wtp.media.testsrc import Pattern
from wtp.media.video import VideoDecoder, VideoEncoder
from wtp.model import Kind, Object
from wtp.processor.call import Caller
from wtp.processor.code import CodeFailed
from wtp.processor.info import Info
from wtp.processor.load import Loaded, Wish
from wtp.processor.measure import sample
from wtp.processor.picture import encode_jpeg
from wtp.wire.process import Parcel

SIZE = (64, 48)


def called(
    function: Callable[..., Any], sent: Parcel, wish: Wish = "object", info: bool = False
) -> list[Parcel]:
    caller = Caller(Loaded(function, False, wish, info, ""), "mine")
    try:
        return caller.call(sent)[0]
    finally:
        caller.close()


def pictures(count: int, gop: int = 4) -> list[Parcel]:
    """H.264 objects of a moving picture."""
    encoder, pattern = VideoEncoder("h264", *SIZE, 30.0, gop=gop), Pattern(*SIZE)
    units = [
        unit
        for n in range(count)
        for unit in encoder.encode(Picture(pattern.draw(n * 33_333), *SIZE))
    ]
    return [
        parcel(unit.payload, Kind.VIDEO, n, key=unit.key, content_type="video/h264")
        for n, unit in enumerate(units, 1)
    ]


def seen_by(objects: list[Parcel]) -> tuple[list[int], list[str]]:
    """Which pictures code sees, and why others are left out."""
    seen: list[int] = []

    def look(picture: Any, info: Info) -> None:
        assert picture.shape == (SIZE[1], SIZE[0], 3)
        assert picture.dtype == np.uint8
        seen.append(info.seq)

    caller = Caller(Loaded(look, False, "picture", True, ""), "mine")
    reasons = []
    for one in objects:
        try:
            reasons.append(caller.call(one)[1])
        except CodeFailed as error:
            reasons.append(error.code)
    return seen, reasons


def test_h264_is_decoded_in_order_from_a_key_frame_on() -> None:
    assert seen_by(pictures(8)[1:]) == ([5, 6, 7, 8], ["no-key"] * 3 + [""] * 4)


def test_a_gap_waits_for_the_next_key_frame() -> None:
    objects = pictures(12)
    del objects[5]
    assert seen_by(objects)[0] == [1, 2, 3, 4, 5, 9, 10, 11, 12]


def test_a_repeated_or_late_object_breaks_nothing() -> None:
    one, two, three, four, *_ = pictures(4)
    assert seen_by([one, two, two, one, two, three, four])[0] == [1, 2, 1, 2, 3, 4]
    assert seen_by([one, two, three, two, four])[0] == [1, 2, 3, 4]


def test_another_run_of_the_publisher_starts_at_a_key_frame() -> None:
    one, two, three, *_ = pictures(3)
    other = Parcel(three.track, {**three.properties, "instance": "run2"}, three.payload)
    assert seen_by([one, two, other, three])[0] == [1, 2]


def test_damage_costs_objects_up_to_the_next_key_frame() -> None:
    objects = pictures(8)
    objects[1] = replace(objects[1], payload=b"\0\0\1\x41garbage")
    seen, reasons = seen_by(objects)
    assert seen == [1, 5, 6, 7, 8]
    assert reasons[1] == "damaged"


def test_a_payload_that_is_no_picture_is_damaged() -> None:
    assert seen_by([parcel(b"hello", Kind.VIDEO)])[1] == ["damaged"]
    assert seen_by([parcel(b"hello", Kind.VIDEO, content_type="video/av1")])[1] == ["damaged"]


def test_tracks_have_decoders_of_their_own_and_not_too_many() -> None:
    first, second = pictures(2)
    tracks = [f"r/p/t{n}" for n in range(70)]
    objects = [Parcel(t, first.properties, first.payload) for t in tracks]
    objects += [Parcel(t, second.properties, second.payload) for t in tracks]
    assert seen_by(objects)[1].count("") >= 70


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(48, 64, 3), (48, 64), (47, 33, 3)])
def test_a_picture_becomes_a_jpeg_of_its_own(shape: tuple[int, ...], order: Any) -> None:
    made = np.full(shape, 128, np.uint8, order=order)
    (one,) = called(lambda _: made, parcel(b"", Kind.VIDEO, 9, key=False))
    assert one.track == "default/me/video"
    assert one.properties["content_type"] == "image/jpeg"
    assert (one.properties["key"], one.properties["group"], one.properties["seq"]) == (
        "1",
        "9",
        "9",
    )
    (back,) = VideoDecoder("image/jpeg").decode(one.payload)
    assert abs(int(back.bgr().mean()) - 128) < 3


def test_jpegs_without_opencv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wtp.processor.picture.has_cv2", lambda: False)
    grey, colour = np.full((48, 64), 90, np.uint8), np.full((48, 64, 3), 90, np.uint8)
    for picture in (grey, colour):
        (back,) = VideoDecoder("image/jpeg").decode(encode_jpeg(picture, 90))
        assert abs(int(back.bgr().mean()) - 90) < 4


def test_pcm_comes_as_samples_and_goes_as_pcm() -> None:
    content_type = "audio/pcm;format=s16le;rate=44100;channels=2"
    samples = np.arange(20, dtype="<i2").reshape(-1, 2)

    def quieter(sound: Any, info: Info) -> Any:
        assert (info.rate_hz, info.channels, sound.dtype) == (44100, 2, np.int16)
        assert (sound == samples).all()
        return sound // 2

    sent = parcel(samples.tobytes(), Kind.AUDIO, content_type=content_type)
    (one,) = called(quieter, sent, "sound", info=True)
    assert one.properties["content_type"] == content_type
    assert (np.frombuffer(one.payload, "<i2") == (samples // 2).ravel()).all()
    (loud,) = called(lambda s: np.full(4, 2.0, np.float32), sent, "sound")
    assert np.frombuffer(loud.payload, "<i2").tolist() == [32767] * 4


def test_opus_comes_as_floats() -> None:
    from wtp.media.libraries import load_av

    av = load_av()
    encoder: Any = av.CodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.format, encoder.layout = 48_000, "flt", "mono"
    tone = np.sin(np.arange(960) / 20).astype(np.float32)
    frame: Any = av.AudioFrame.from_ndarray(tone.reshape(1, -1), "flt", "mono")
    frame.sample_rate = 48_000
    payload = b"".join(bytes(unit) for unit in [*encoder.encode(frame), *encoder.encode(None)][:1])
    shapes: list[Any] = []

    def look(sound: Any, info: Info) -> None:
        shapes.append((sound.dtype, sound.shape, info.rate_hz))

    content_type = "audio/opus;rate=48000;channels=1"
    called(look, parcel(payload, Kind.AUDIO, content_type=content_type), "sound", info=True)
    assert shapes == [(np.float32, (960, 1), 48_000)] or shapes[0][1][0] > 0


@pytest.mark.parametrize(
    ("content_type", "payload"),
    [("audio/pcm;format=s16le;rate=8000;channels=2", b"123"), ("audio/mp3", b""),
     ("audio/pcm;rate=x", b""), ("audio/pcm;format=u8", b""), ("audio/pcm;channels=0", b""),
     ("audio/opus", b"\xff" * 9)],
)  # fmt: skip
def test_sound_that_cannot_be_decoded_is_damaged(content_type: str, payload: bytes) -> None:
    with pytest.raises(CodeFailed) as caught:
        called(len, parcel(payload, Kind.AUDIO, content_type=content_type), "sound")
    assert caught.value.code == "damaged"


def test_a_dict_becomes_a_data_object() -> None:
    value = {"share": np.float32(0.5), "box": np.arange(2), "word": "hä"}
    (one,) = called(lambda _: value, parcel(b"", Kind.VIDEO, 7, author="me"))
    assert json.loads(one.payload) == {"share": 0.5, "box": [0, 1], "word": "hä"}
    assert one.track == "default/me/video-mine"
    assert one.attributes == {"source_track": "default/me/video", "processor": "mine"}
    obj = one.object()
    assert (obj.kind, obj.content_type, obj.seq) == (Kind.DATA, "application/json", 7)
    assert obj.capture_us == 1_000_007


def test_objects_are_published_as_they_are() -> None:
    def other(obj: Object) -> Object:
        return replace(obj, kind=Kind.DATA, content_type="a/b", attributes={"a": "b"})

    (one,) = called(other, parcel(b"x", author="me"))
    assert one.properties["content_type"] == "a/b"
    assert one.attributes == {"a": "b", "source_track": "default/me/chat", "processor": "mine"}


def several(_: Object) -> Iterator[str | None]:
    yield "a"
    yield None
    yield "b"


async def later(_: Object) -> str:
    return "later"


async def trickle(_: Object) -> AsyncIterator[bytes]:
    yield b"1"
    yield b"2"


@pytest.mark.parametrize(
    ("function", "made"),
    [
        (lambda _: None, []),
        (lambda _: b"x", [b"x"]),
        (lambda _: bytearray(b"x"), [b"x"]),
        (lambda _: "hä", ["hä".encode()]),
        (lambda _: ("a", b"b"), [b"a", b"b"]),
        (lambda _: [None, None], []),
        (several, [b"a", b"b"]),
        (later, [b"later"]),
        (trickle, [b"1", b"2"]),
    ],
)
def test_everything_that_may_be_returned(function: Callable[..., Any], made: list[bytes]) -> None:
    assert [one.payload for one in called(function, parcel())] == made


@pytest.mark.parametrize(
    "value",
    [3.5, object(), {1, 2}, {"a": object()}, [3], "\ud800", b"x" * 20_000, np.zeros(3),
     np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8), np.zeros((2, 2), np.float64),
     ["x"] * 300, True],
)  # fmt: skip
def test_everything_else_is_a_clear_error(value: Any) -> None:
    with pytest.raises(CodeFailed) as caught:
        called(lambda _: value, parcel())
    assert caught.value.code == "wrong-type"
    assert caught.value.message.startswith("The code returned ")


@pytest.mark.parametrize(
    "change",
    [{"payload": "text"}, {"kind": "smell"}, {"seq": -1}, {"seq": "1"}, {"content_type": None},
     {"content_type": "a\r\nb"}, {"attributes": {"seq": "1"}}, {"attributes": {"a": 1}},
     {"attributes": {"a": "ä" * 2000}},
     {"group": 2**64}],
)  # fmt: skip
def test_objects_built_wrongly_are_told(change: dict[str, Any]) -> None:
    with pytest.raises(CodeFailed) as caught:
        called(lambda obj: replace(obj, **change), parcel())
    assert caught.value.code == "wrong-type"


def test_a_class_remembers_per_track() -> None:
    class Count:
        def __init__(self) -> None:
            self.n = 0

        def __call__(self, obj: Object) -> str:
            self.n += 1
            return str(self.n)

    caller = Caller(Loaded(Count, True, "object", False, ""), "mine")
    tracks = ["r/p/a", "r/p/b", "r/p/a"]
    made = [caller.call(parcel(track=track))[0][0].payload for track in tracks]
    assert made == [b"1", b"1", b"2"]


def test_long_names_stay_legal() -> None:
    track = "r/p/" + "t" * 64
    caller = Caller(Loaded(lambda _: {}, False, "object", False, ""), "c" * 64)
    one = caller.call(parcel(track=track))[0][0]
    assert len(one.object().attributes) == 2
    assert len(one.track.split("/")[2]) == 64


@pytest.mark.parametrize("kind", Kind)
def test_made_up_objects_are_objects(kind: Kind) -> None:
    assert all(one.object().kind is kind for one in sample(kind))
