from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np
import pytest

from wtp.errors import MediaError, MissingLibrary, UsageError
from wtp.media.h264 import SLICE_IDR, SPS, nal_types
from wtp.media.jpeg import check_jpeg, jpeg_size, quantiser
from wtp.media.libraries import load_av
from wtp.media.picture import Picture
from wtp.media.testsrc import read_code
from wtp.media.tuning import SLICES
from wtp.media.video import Encoded, VideoDecoder, VideoEncoder

from .footage import BASE_US, drawn


def h264(count: int, size: tuple[int, int] = (320, 240), **options: int) -> list[Encoded]:
    encoder = VideoEncoder("h264", *size, 30, **options)  # type: ignore[arg-type]
    return [encoder.encode(picture)[0] for picture in drawn(*size, count)]


def starts(payload: bytes) -> list[int]:
    """Types of all NAL units."""
    return [part[0] & 0x1F for part in payload.split(b"\x00\x00\x01")[1:]]


@pytest.mark.parametrize("codec", ["h264", "jpeg"])
def test_one_object_per_picture_with_its_stamps(codec: str) -> None:
    ticks = iter(range(1000, 2000))
    encoder = VideoEncoder(codec, 320, 240, 30, now_us=lambda: next(ticks))
    for i, picture in enumerate(drawn(320, 240, 5)):
        (encoded,) = encoder.encode(picture)
        assert (encoded.pts_us, encoded.capture_us) == (picture.pts_us, picture.capture_us)
        assert encoded.encode_us == 1000 + i
        assert encoded.duration_us == 33_333
        assert type(encoded.payload) is bytes
    assert encoder.flush() == []


def test_without_a_clock_there_is_no_encode_stamp() -> None:
    assert h264(1)[0].encode_us is None


def test_content_types() -> None:
    assert VideoEncoder("h264", 64, 48, 30).content_type == "video/h264"
    assert VideoEncoder("jpeg", 64, 48, 30).content_type == "image/jpeg"


def test_key_pictures_come_with_their_parameter_sets() -> None:
    objects = h264(130)
    assert [i for i, o in enumerate(objects) if o.key] == [0, 60, 120]
    for one in objects:
        types = starts(one.payload)
        assert one.payload.startswith(b"\x00\x00\x00\x01")
        assert 1 <= types.count(1) + types.count(5) <= SLICES
        assert (SPS in types and 8 in types and SLICE_IDR in types) == one.key


@pytest.mark.parametrize(("fps", "gop", "wanted"), [(5, None, 10), (100, None, 60), (30, 7, 7)])
def test_the_length_of_a_group(fps: float, gop: int | None, wanted: int) -> None:
    encoder = VideoEncoder("h264", 64, 48, fps, gop=gop)
    keys = [encoder.encode(picture)[0].key for picture in drawn(64, 48, wanted * 2 + 1)]
    assert [i for i, key in enumerate(keys) if key] == [0, wanted, wanted * 2]


def test_the_profile_is_baseline() -> None:
    payload = h264(1)[0].payload
    sps = payload.index(b"\x00\x00\x01\x67")
    assert payload[sps + 4] == 66


def test_a_key_picture_on_request() -> None:
    encoder = VideoEncoder("h264", 320, 240, 30)
    keys = []
    for i, picture in enumerate(drawn(320, 240, 10)):
        (encoded,) = encoder.encode(picture, force_key=i == 6)
        keys.append(encoded.key)
        if i == 6:
            assert len(VideoDecoder("video/h264").decode(encoded.payload)) == 1
    assert [i for i, key in enumerate(keys) if key] == [0, 6]


def test_the_bit_rate_is_kept() -> None:
    rng = np.random.default_rng(5)
    encoder = VideoEncoder("h264", 320, 240, 30, bitrate_bps=500_000)
    sizes = []
    for picture in drawn(320, 240, 90):
        noise = rng.integers(-20, 21, picture.planes.shape)
        planes = np.clip(picture.planes + noise, 16, 235).astype(np.uint8)
        sizes.append(len(encoder.encode(Picture(planes, 320, 240))[0].payload))
    assert 300_000 < sum(sizes) * 8 / 3 < 650_000
    assert max(sizes) * 8 < 500_000 * 0.15


@pytest.mark.parametrize("codec", ["h264", "jpeg"])
def test_a_picture_of_another_size_is_refused(codec: str) -> None:
    encoder = VideoEncoder(codec, 320, 240, 30)
    (small,) = drawn(160, 120, 1)
    with pytest.raises(MediaError, match=r"160x120 .* 320x240"):
        encoder.encode(small)
    with pytest.raises(MediaError):
        encoder.encode(Picture(small.planes, 320, 240))
    (right,) = drawn(320, 240, 1)
    assert len(encoder.encode(right)) == 1


def test_impossible_settings() -> None:
    for codec, options in [
        ("h265", {}),
        ("h264", {"bitrate_bps": 1}),
        ("jpeg", {"quality": 0}),
        ("jpeg", {"quality": 101}),
        ("h264", {"gop": 0}),
    ]:
        with pytest.raises(UsageError) as caught:
            VideoEncoder(codec, 320, 240, 30, **options)  # type: ignore[arg-type]
        assert caught.value.hint
    with pytest.raises(UsageError, match="odd"):
        VideoEncoder("h264", 321, 240, 30)
    with pytest.raises(UsageError, match="per second"):
        VideoEncoder("h264", 320, 240, 0)


def test_a_pyav_without_x264_names_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    av = load_av()
    create = av.CodecContext.create

    class Without:
        @staticmethod
        def create(name: str, mode: str, accelerator: object) -> object:
            return create("no-such-codec" if name == "libx264" else name, mode, accelerator)

    monkeypatch.setattr(av, "CodecContext", Without)
    monkeypatch.setattr(av, "codecs_available", av.codecs_available - {"libx264"})
    with pytest.raises(MissingLibrary, match="libx264") as caught:
        VideoEncoder("h264", 320, 240, 30)
    assert "--codec jpeg" in caught.value.hint


def test_decoding_gives_the_stamps_back() -> None:
    decoder = VideoDecoder("video/h264;level=3")
    for one in h264(5):
        (shown,) = decoder.decode(one.payload, capture_us=one.capture_us, pts_us=one.pts_us)
        assert (shown.capture_us, shown.pts_us) == (one.capture_us, one.pts_us)
        assert read_code(shown.planes) == one.capture_us
        assert (shown.width, shown.height) == (320, 240)


def test_a_decoder_in_the_middle_of_a_group_waits() -> None:
    objects = h264(10, gop=6)
    decoder = VideoDecoder("video/h264")
    for one in objects[2:6]:
        assert decoder.decode(one.payload) == []
        assert decoder.waiting
    assert decoder.skipped == 4
    shown = [decoder.decode(one.payload)[0] for one in objects[6:]]
    assert not decoder.waiting
    assert decoder.skipped == 4
    assert [read_code(p.planes) for p in shown] == [one.capture_us for one in objects[6:]]


def test_a_key_picture_without_parameter_sets_is_no_start() -> None:
    payload = h264(1)[0].payload
    at = payload.rindex(b"\x00\x00\x01")
    assert payload[at + 3] & 0x1F == SLICE_IDR
    decoder = VideoDecoder("video/h264")
    assert decoder.decode(payload[at:]) == []
    assert decoder.waiting


def test_after_a_loss_it_waits_again() -> None:
    objects = h264(10, gop=6)
    decoder = VideoDecoder("video/h264")
    decoder.decode(objects[0].payload)
    decoder.reset()
    assert decoder.decode(objects[3].payload) == []
    assert read_code(decoder.decode(objects[6].payload)[0].planes) == objects[6].capture_us


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "noise"])
def test_a_damaged_access_unit(damage: str) -> None:
    objects = h264(8, gop=6)
    payload = objects[1].payload
    middle = len(payload) // 2
    damaged = {
        "empty": b"",
        "text": b"not a picture",
        "cut": payload[:middle],
        "noise": payload[: middle - 20] + b"\xaa\x5c" * 40 + payload[middle + 60 :],
    }[damage]
    decoder = VideoDecoder("video/h264")
    decoder.decode(objects[0].payload)
    with pytest.raises(MediaError) as caught:
        decoder.decode(damaged)
    assert caught.value.hint
    assert decoder.waiting
    assert decoder.decode(objects[2].payload) == []
    assert decoder.skipped == 1
    assert read_code(decoder.decode(objects[6].payload)[0].planes) == objects[6].capture_us


def test_random_bytes_never_raise_anything_else() -> None:
    rng = np.random.default_rng(11)
    objects = h264(3)
    for content_type in ("video/h264", "image/jpeg"):
        for trial in range(150):
            decoder = VideoDecoder(content_type)
            payload = bytearray(objects[trial % 3].payload)
            begin = int(rng.integers(0, len(payload)))
            payload[begin : begin + 50] = rng.bytes(50)
            try:
                decoder.decode(objects[0].payload)
                decoder.decode(bytes(payload))
            except MediaError:
                continue


def test_the_size_may_change_at_a_key_picture() -> None:
    decoder = VideoDecoder("video/h264")
    assert decoder.decode(h264(1, (320, 240))[0].payload)[0].width == 320
    (other,) = decoder.decode(h264(1, (640, 480))[0].payload)
    assert (other.width, other.height) == (640, 480)
    assert read_code(other.planes) == BASE_US


def test_a_forged_size_is_refused() -> None:
    encoder = load_av().CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = 8400, 64, "yuv420p"
    encoder.time_base = Fraction(1, 30)
    encoder.options = {"preset": "ultrafast", "tune": "zerolatency"}
    frame = load_av().VideoFrame(8400, 64, "yuv420p")
    frame.pts = 0
    (unit,) = encoder.encode(frame)
    with pytest.raises(MediaError, match="8400x64"):
        VideoDecoder("video/h264").decode(bytes(unit))


def test_nal_types_stop_at_the_first_slice() -> None:
    unit = b"\x00\x00\x00\x01\x67a\x00\x00\x01\x68b\x00\x00\x01\x65cc\x00\x00\x01\x41d"
    assert list(nal_types(unit)) == [7, 8, 5]
    assert list(nal_types(b"\x00\x00\x01")) == []
    assert list(nal_types(b"")) == []


def test_an_unknown_content_type() -> None:
    with pytest.raises(MediaError, match="video/h265") as caught:
        VideoDecoder("video/h265")
    assert "video/h264" in caught.value.hint


def test_every_jpeg_is_a_key_picture_that_opencv_reads() -> None:
    encoder = VideoEncoder("jpeg", 320, 240, 30, quality=90)
    for picture in drawn(320, 240, 3):
        (encoded,) = encoder.encode(picture)
        assert encoded.key
        bgr = cv2.imdecode(np.frombuffer(encoded.payload, np.uint8), cv2.IMREAD_COLOR)
        assert bgr is not None
        assert np.abs(bgr.astype(int) - picture.bgr()).mean() < 3


@pytest.mark.parametrize("opencv", [True, False])
def test_quality_decides_the_size(opencv: bool) -> None:
    name = "opencv" if opencv else "mjpeg"
    (picture,) = drawn(640, 480, 1)
    sizes = []
    for quality in (20, 50, 70, 95):
        encoder = VideoEncoder("jpeg", 640, 480, 30, encoder=name, quality=quality)
        payload = encoder.encode(picture)[0].payload
        sizes.append(len(payload))
        (shown,) = VideoDecoder("image/jpeg").decode(payload)
        assert np.abs(shown.planes.astype(int) - picture.planes).mean() < 5
        assert read_code(shown.planes) == BASE_US
    assert sizes == sorted(set(sizes))


def test_quantiser_follows_quality() -> None:
    scales = [quantiser(quality) for quality in range(1, 101)]
    assert scales == sorted(scales, reverse=True)
    assert (scales[0], scales[49], scales[69], scales[99]) == (31, 8, 5, 2)


@pytest.mark.parametrize("shape", [(241, 321, 3), (240, 320)])
def test_jpegs_of_others(shape: tuple[int, ...]) -> None:
    done, data = cv2.imencode(".jpg", np.full(shape, 180, np.uint8))
    assert done
    assert jpeg_size(data.tobytes()) == (shape[1], shape[0])
    (shown,) = VideoDecoder("image/jpeg").decode(data.tobytes())
    assert (shown.width, shown.height) == (320, 240)
    assert np.abs(shown.bgr().astype(int) - 180).max() <= 3


def test_a_progressive_jpeg() -> None:
    (picture,) = drawn(320, 240, 1)
    settings = [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]
    _, data = cv2.imencode(".jpg", picture.bgr(), settings)
    (shown,) = VideoDecoder("image/jpeg").decode(data.tobytes())
    assert read_code(shown.planes) == BASE_US


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "no-frame", "huge", "noise"])
def test_a_damaged_jpeg(damage: str) -> None:
    encoder = VideoEncoder("jpeg", 320, 240, 30)
    payload = encoder.encode(drawn(320, 240, 1)[0])[0].payload
    header = payload.index(b"\xff\xc0")
    middle = len(payload) // 2
    damaged = {
        "empty": b"",
        "text": b"not a picture",
        "cut": payload[:middle],
        "no-frame": b"\xff\xd8\xff\xd9",
        "huge": payload[: header + 5] + b"\xff\xf0\xff\xf0" + payload[header + 9 :],
        "noise": payload[:middle] + b"\xff\xc4\x00\x20" * 30 + payload[middle + 120 :],
    }[damage]
    decoder = VideoDecoder("image/jpeg")
    with pytest.raises(MediaError) as caught:
        decoder.decode(damaged)
    assert caught.value.hint
    assert not decoder.waiting
    assert len(decoder.decode(payload)) == 1


def test_zeros_after_the_end_of_a_jpeg_are_allowed() -> None:
    payload = VideoEncoder("jpeg", 320, 240, 30).encode(drawn(320, 240, 1)[0])[0].payload
    check_jpeg(payload + b"\x00" * 7)
