from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wtp.consumer.save import EXTENSIONS, PICTURE_EXTENSIONS
from wtp.media.av1 import DELIMITER, is_key_unit, units, with_delimiter
from wtp.media.codecs import CODECS, codec_of, is_picture, is_start
from wtp.media.h264 import is_key_access_unit
from wtp.media.video import VideoEncoder
from wtp.media.vpx import is_vp8_key, is_vp9_key

from .footage import drawn

ALL = tuple(CODECS)
VP8_KEY = b"\x10\x02\x00\x9d\x01\x2a\x40\x01\xf0\x00"
VP9_KEY = b"\x82\x49\x83\x42\x20\x13\xf0\x0e\xf0\x00"
SEQUENCE = b"\x0a\x01\x00"
KEY_FRAME = b"\x32\x02\x10\x00"


@pytest.mark.parametrize("codec", ALL)
def test_the_bytes_tell_what_the_encoder_says(codec: str) -> None:
    encoder = VideoEncoder(codec, 160, 120, 30, gop=4)
    objects = [
        encoder.encode(picture, force_key=i == 6)[0]
        for i, picture in enumerate(drawn(160, 120, 10))
    ]
    keys = [is_start(encoder.content_type, one.payload) for one in objects]
    assert keys == [one.key for one in objects]
    wanted = range(10) if codec == "jpeg" else (0, 4, 6)
    assert [i for i, key in enumerate(keys) if key] == list(wanted)


def test_content_types_and_their_codecs() -> None:
    assert codec_of("video/VP9 ; profile=0") is CODECS["vp9"]
    assert codec_of("image/jpeg") is CODECS["jpeg"]
    for other in ("", "video/h265", "audio/opus;rate=48000", "vp8"):
        assert codec_of(other) is None
        assert not is_start(other, VP8_KEY)


def test_every_codec_is_saved_under_an_ending_of_its_own() -> None:
    endings = EXTENSIONS | PICTURE_EXTENSIONS
    assert len({endings[codec.content_type] for codec in CODECS.values()}) == len(CODECS)
    assert endings["audio/aac"] == ".aac"


def test_a_vp8_key_frame() -> None:
    assert is_vp8_key(VP8_KEY)
    assert not is_vp8_key(b"\x11" + VP8_KEY[1:])
    assert not is_vp8_key(VP8_KEY[:3] + b"\x9d\x01\x2b" + VP8_KEY[6:])
    assert not is_vp8_key(VP8_KEY[:9])


@pytest.mark.parametrize(
    ("first", "rest", "key"),
    [
        pytest.param(0b10_00_0_0_10, b"\x49\x83\x42", True, id="profile-0"),
        pytest.param(0b10_10_0_0_10, b"\x49\x83\x42", True, id="profile-1"),
        pytest.param(0b10_11_0_0_0_1, b"\x24\xc1\xa1\x00", True, id="profile-3"),
        pytest.param(0b10_11_1_0_0_1, b"\x24\xc1\xa1\x00", False, id="reserved-bit"),
        pytest.param(0b10_00_0_1_10, b"\x49\x83\x42", False, id="inter"),
        pytest.param(0b10_00_1_0_10, b"\x49\x83\x42", False, id="shown-again"),
        pytest.param(0b01_00_0_0_10, b"\x49\x83\x42", False, id="no-marker"),
        pytest.param(0b10_00_0_0_10, b"\x49\x83\x43", False, id="no-sync"),
    ],
)
def test_a_vp9_key_frame(first: int, rest: bytes, key: bool) -> None:
    assert is_vp9_key(bytes([first]) + rest + bytes(8)) == key
    assert not is_vp9_key(bytes([first]) + rest)


def test_an_av1_key_unit() -> None:
    assert is_key_unit(DELIMITER + SEQUENCE + KEY_FRAME)
    assert is_key_unit(SEQUENCE + b"\x30\x10\x00"), "the last unit may have no size"
    assert not is_key_unit(DELIMITER + KEY_FRAME)
    assert not is_key_unit(DELIMITER + SEQUENCE)
    assert not is_key_unit(SEQUENCE + b"\x32\x02\x30\x00"), "an inter frame"
    assert not is_key_unit(SEQUENCE + b"\x32\x02\x90\x00"), "a frame shown again"
    assert not is_key_unit(SEQUENCE + b"\x32\x00"), "no frame"
    assert is_key_unit(b"\x0a\x01\x18" + b"\x32\x02\xff\x00"), "a still picture is always key"


def test_av1_units() -> None:
    extended = b"\x36\x48\x02\x10\x00"
    assert list(units(DELIMITER + extended)) == [(2, b""), (6, b"\x10\x00")]
    assert list(units(b"\x0a\x81\x00\x07")) == [(1, b"\x07")], "a size of two bytes"
    for broken in (b"\x0a", b"\x0a\x05\x00", b"\x92\x00", b"\x0a" + b"\x80" * 9, b"\x36"):
        assert list(units(broken)) == []


def test_a_temporal_delimiter_comes_first_and_once() -> None:
    assert with_delimiter(SEQUENCE) == DELIMITER + SEQUENCE
    assert with_delimiter(DELIMITER + SEQUENCE) == DELIMITER + SEQUENCE
    encoder = VideoEncoder("av1", 160, 120, 30, gop=3)
    for picture in drawn(160, 120, 5):
        (one,) = encoder.encode(picture)
        kinds = [kind for kind, _ in units(one.payload)]
        assert kinds[0] == 2
        assert kinds.count(2) == 1
        assert (1 in kinds) == one.key


def test_what_is_no_picture_at_all() -> None:
    for codec in CODECS.values():
        assert not is_picture(codec, b"")
    assert [name for name in CODECS if is_picture(CODECS[name], b"hello")] == ["vp8", "jpeg"]
    assert is_picture(CODECS["h264"], b"\x00\x00\x01\x41")
    assert is_picture(CODECS["vp9"], b"\x86")
    assert is_picture(CODECS["av1"], DELIMITER + KEY_FRAME)
    assert not is_picture(CODECS["av1"], DELIMITER + SEQUENCE), "no frame"
    assert not is_picture(CODECS["av1"], KEY_FRAME + b"\x4a\x00"), "a reserved type"


@given(payload=st.binary(max_size=64), codec=st.sampled_from(ALL))
def test_any_bytes_get_an_answer(payload: bytes, codec: str) -> None:
    assert is_start(CODECS[codec].content_type, payload) in (True, False)


def test_an_access_unit_needs_parameter_sets_to_start() -> None:
    sps, idr = b"\x00\x00\x00\x01\x67a", b"\x00\x00\x01\x65c"
    assert is_key_access_unit(sps + idr)
    assert not is_key_access_unit(idr)
    assert not is_key_access_unit(sps + b"\x00\x00\x01\x41d")
