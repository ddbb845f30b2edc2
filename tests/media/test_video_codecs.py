"""What every codec has in common, from the picture to the picture."""

from __future__ import annotations

import json
import subprocess
from contextlib import suppress
from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wtp.errors import MediaError, MissingLibrary
from wtp.media.codecs import CODECS
from wtp.media.libraries import load_av
from wtp.media.testsrc import read_code
from wtp.media.video import Encoded, VideoDecoder, VideoEncoder

from .footage import drawn

INTER = ("h264", "vp8", "vp9", "av1")
"""Codecs whose pictures need the ones before."""


@cache
def coded(codec: str, size: tuple[int, int] = (320, 240), count: int = 8) -> tuple[Encoded, ...]:
    """Pictures of the test pattern in groups of five."""
    encoder = VideoEncoder(codec, *size, 30, gop=5)
    return tuple(one for picture in drawn(*size, count) for one in encoder.encode(picture))


@pytest.mark.parametrize("codec", CODECS)
def test_a_picture_in_is_an_object_out_and_a_picture_again(codec: str) -> None:
    ticks = iter(range(1000, 2000))
    encoder = VideoEncoder(codec, 320, 240, 30, gop=5, now_us=lambda: next(ticks))
    decoder = VideoDecoder(encoder.content_type)
    for i, picture in enumerate(drawn(320, 240, 12)):
        (one,) = encoder.encode(picture)
        assert (one.pts_us, one.capture_us) == (picture.pts_us, picture.capture_us)
        assert (one.encode_us, one.duration_us) == (1000 + i, 33_333)
        assert one.key == (codec == "jpeg" or i % 5 == 0)
        (shown,) = decoder.decode(one.payload, capture_us=one.capture_us, pts_us=one.pts_us)
        assert (shown.capture_us, shown.pts_us) == (one.capture_us, one.pts_us)
        assert read_code(shown.planes) == one.capture_us
        assert np.abs(shown.planes.astype(int) - picture.planes).mean() < 6
    assert encoder.flush() == []
    assert decoder.skipped == 0


@pytest.mark.parametrize("codec", INTER)
def test_every_key_picture_starts_a_new_decoder(codec: str) -> None:
    encoder = VideoEncoder(codec, 320, 240, 30)
    for i, picture in enumerate(drawn(320, 240, 9)):
        (one,) = encoder.encode(picture, force_key=i in (3, 4, 7))
        decoder = VideoDecoder(encoder.content_type)
        shown = decoder.decode(one.payload)
        assert one.key == (i in (0, 3, 4, 7)) == bool(shown) == (not decoder.waiting)
        if shown:
            assert read_code(shown[0].planes) == one.capture_us


@pytest.mark.parametrize("codec", INTER)
def test_a_late_decoder_waits_and_one_after_a_loss_too(codec: str) -> None:
    objects = coded(codec, count=12)
    decoder = VideoDecoder(CODECS[codec].content_type)
    assert [len(decoder.decode(one.payload)) for one in objects[2:8]] == [0, 0, 0, 1, 1, 1]
    assert decoder.skipped == 3
    decoder.reset()
    assert decoder.waiting
    assert decoder.decode(objects[9].payload) == []
    assert read_code(decoder.decode(objects[10].payload)[0].planes) == objects[10].capture_us


@pytest.mark.parametrize("codec", INTER)
def test_the_size_may_change_at_a_key_picture(codec: str) -> None:
    decoder = VideoDecoder(CODECS[codec].content_type)
    for size in ((320, 240), (640, 480), (160, 120)):
        for one in coded(codec, size, 3):
            (shown,) = decoder.decode(one.payload)
            assert (shown.width, shown.height) == size
            assert shown.planes.shape == (size[1] * 3 // 2, size[0])


@pytest.mark.parametrize("codec", INTER)
def test_after_damage_it_waits_for_the_next_key_picture(codec: str) -> None:
    objects = coded(codec)
    decoder = VideoDecoder(CODECS[codec].content_type)
    decoder.decode(objects[0].payload)
    # A VP8 picture tells only of its first partition, which its three first bytes count.
    part = 50 if codec == "vp8" else len(objects[0].payload) // 3
    for damaged in (b"", objects[0].payload[:part]):
        with pytest.raises(MediaError) as caught:
            decoder.decode(damaged)
        assert caught.value.hint
        assert decoder.waiting
        assert decoder.decode(objects[1].payload) == []
        assert read_code(decoder.decode(objects[5].payload)[0].planes) == objects[5].capture_us


@settings(deadline=None)
@given(
    codec=st.sampled_from(INTER),
    begin=st.integers(0, 400),
    noise=st.binary(max_size=40),
    cut=st.integers(0, 200),
)
def test_damaged_objects_are_pictures_or_a_media_error(
    codec: str, begin: int, noise: bytes, cut: int
) -> None:
    objects = coded(codec, (160, 120))
    decoder = VideoDecoder(CODECS[codec].content_type)
    for at, one in enumerate(objects[:3]):
        payload = one.payload
        if at:
            payload = payload[:begin] + noise + payload[begin + len(noise) : len(payload) - cut]
        try:
            pictures = decoder.decode(payload)
        except MediaError:
            assert decoder.waiting
            continue
        assert all(picture.planes.shape[0] % 3 == 0 for picture in pictures)


@given(codec=st.sampled_from(tuple(CODECS)), payload=st.binary(max_size=300))
def test_any_bytes_as_a_first_object(codec: str, payload: bytes) -> None:
    decoder = VideoDecoder(CODECS[codec].content_type)
    with suppress(MediaError):
        assert decoder.decode(payload) == []


@pytest.mark.parametrize("codec", ["vp8", "vp9", "av1"])
@pytest.mark.parametrize("size", [(8400, 64), (8192, 8192)])
def test_a_forged_size_is_refused(codec: str, size: tuple[int, int]) -> None:
    payload = flat("libsvtav1", *size) if codec == "av1" else forged(codec, *size)
    decoder = VideoDecoder(CODECS[codec].content_type)
    with pytest.raises(MediaError) as caught:
        decoder.decode(payload)
    assert caught.value.hint
    assert decoder.waiting


def forged(codec: str, width: int, height: int) -> bytes:
    """A key picture of VP8 or VP9 with another size in its header."""
    payload = coded(codec, (160, 120), 1)[0].payload
    if codec == "vp8":
        sides = width.to_bytes(2, "little") + height.to_bytes(2, "little")
        return payload[:6] + sides + payload[10:]
    # VP9 has the two sides, each less one, after 36 bits.
    bits = int.from_bytes(payload[:9], "big") & ~(0xFFFFFFFF << 4)
    bits |= ((width - 1) << 16 | (height - 1)) << 4
    return bits.to_bytes(9, "big") + payload[9:]


def test_forging_changes_only_the_size() -> None:
    for codec in ("vp8", "vp9"):
        assert forged(codec, 160, 120) == coded(codec, (160, 120), 1)[0].payload


def flat(encoder: str, width: int, height: int) -> bytes:
    """A picture of one colour."""
    av = load_av()
    context = av.CodecContext.create(encoder, "w")
    context.width, context.height, context.pix_fmt = width, height, "yuv420p"
    context.time_base = Fraction(1, 30)
    if encoder == "libsvtav1":
        context.options = {"preset": "12", "svtav1-params": "rtc=1:pred-struct=1"}
    else:
        context.options = {"deadline": "realtime", "lag-in-frames": "0"}
    frame = av.VideoFrame(width, height, "yuv420p")
    frame.pts = 0
    (unit, *_) = context.encode(frame) or context.encode(None)
    return bytes(unit)


@pytest.mark.tool("ffprobe")
@pytest.mark.parametrize(("codec", "extension"), [("h264", ".h264"), ("av1", ".obu")])
def test_objects_one_after_another_are_a_stream(codec: str, extension: str, tmp_path: Path) -> None:
    path = tmp_path / f"track{extension}"
    path.write_bytes(b"".join(one.payload for one in coded(codec, count=12)))
    entries = "stream=codec_name,width,height,pix_fmt,color_space,r_frame_rate,nb_read_frames"
    told = subprocess.run(
        ["ffprobe", "-v", "error", "-count_frames", "-show_entries", entries, "-of", "json", path],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert told.stderr == ""
    (stream,) = json.loads(told.stdout)["streams"]
    assert (stream["codec_name"], stream["width"], stream["height"]) == (codec, 320, 240)
    assert (stream["pix_fmt"], stream["color_space"]) == ("yuv420p", "smpte170m")
    assert stream["nb_read_frames"] == "12"
    if codec == "h264":
        assert stream["r_frame_rate"] == "30/1"


@pytest.mark.parametrize("codec", ["vp9", "av1"])
def test_the_colours_are_tagged(codec: str) -> None:
    context = load_av().CodecContext.create(CODECS[codec].decoders[0], "r")
    (frame, *_) = context.decode(load_av().Packet(coded(codec)[0].payload)) or context.decode(None)
    assert (frame.colorspace, frame.color_range) == (6, 1)


def test_odd_sizes_of_others_are_cropped() -> None:
    payload = flat("libvpx", 161, 121)
    (shown,) = VideoDecoder("video/vp8").decode(payload)
    assert (shown.width, shown.height) == (160, 120)


def test_a_codec_this_build_cannot_decode(monkeypatch: pytest.MonkeyPatch) -> None:
    av = load_av()
    real = av.codec.Codec

    def without(name: str, mode: str) -> object:
        return real("no-such-codec" if "dav1d" in name or "aom" in name else name, mode)

    monkeypatch.setattr(av.codec, "Codec", without)
    with pytest.raises(MissingLibrary, match="decoder for av1") as caught:
        VideoDecoder("video/av1")
    assert "pip install" in caught.value.hint
    assert VideoDecoder("video/vp9").waiting
