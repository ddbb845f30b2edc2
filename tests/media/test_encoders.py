from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from wtp.errors import MediaError, MissingLibrary, UsageError
from wtp.media import encoders as subject
from wtp.media.avencoder import AvEncoder
from wtp.media.codecs import CODECS
from wtp.media.encoders import AUTO, EncoderInfo, list_encoders, open_encoder
from wtp.media.libraries import load_av
from wtp.media.testsrc import read_code
from wtp.media.tuning import Rebitrate, Target, tune
from wtp.media.video import VideoDecoder, VideoEncoder

from .footage import drawn

TARGET = Target(width=320, height=240, fps=30.0, bitrate_bps=1_000_000, gop=30)
CARD = "h264_nvenc"


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    """Every test tries for itself, and leaves nothing it pretended."""
    subject.problem.cache_clear()
    subject.reason.cache_clear()
    yield
    subject.problem.cache_clear()
    subject.reason.cache_clear()


class Card(AvEncoder):
    """An encoder in hardware, as far as x264 can be one."""

    def __init__(self, target: Target) -> None:
        super().__init__("libx264", target)
        self.name = CARD


class Slow(Card):
    """One that keeps a picture back."""

    def encode(self, *arguments: Any) -> list[tuple[bytes, bool, int]]:
        self._held, held = super().encode(*arguments), getattr(self, "_held", [])
        return held


class Headless(Card):
    """One whose later key pictures come without parameter sets."""

    def encode(self, *arguments: Any) -> list[tuple[bytes, bool, int]]:
        ((payload, key, number),) = super().encode(*arguments)
        return [(payload[payload.rindex(b"\x00\x00\x01") :] if number else payload, key, number)]


class Narrow(Card):
    """One that takes no small pictures."""

    def __init__(self, target: Target) -> None:
        if target.width < 640:
            raise MediaError("Too small for the card.")
        super().__init__(target)


def pretend(monkeypatch: pytest.MonkeyPatch, card: type[Card]) -> list[str]:
    """Have a graphics card; the list receives the encoders that are opened."""
    av = load_av()
    monkeypatch.setattr(av, "codecs_available", {*av.codecs_available, CARD})
    real, opened = subject._open, []

    def fake(name: str, target: Target, quality: int) -> Any:
        opened.append(name)
        return card(target) if name == CARD else real(name, target, quality)

    monkeypatch.setattr(subject, "_open", fake)
    return opened


def test_the_list_names_every_encoder_once_and_says_why_not() -> None:
    found = list_encoders()
    assert len({one.name for one in found}) == len(found)
    assert {one.codec for one in found} == set(CODECS)
    for one in found:
        assert one.works == (one.why == "")
        assert one.hardware == (one.name in CODECS[one.codec].hardware)
    works = {one.name for one in found if one.works}
    assert works >= {"libx264", "libvpx", "libvpx-vp9", "libsvtav1", "opencv", "mjpeg"}
    nvenc = next(one for one in found if one.name == CARD)
    assert nvenc == EncoderInfo(CARD, "h264", True, nvenc.works, nvenc.why)


def test_what_hardware_needs_is_said_with_what_ffmpeg_says(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str, target: Target, quality: int) -> Any:
        load_av().logging.log(16, CARD, "Cannot load the driver\n")
        raise MediaError("It does not start: error -1.")

    av = load_av()
    monkeypatch.setattr(av, "codecs_available", {*av.codecs_available, CARD})
    monkeypatch.setattr(subject, "_open", broken)
    assert (
        subject.reason(CARD) == "It needs an NVIDIA card and its driver (Cannot load the driver)."
    )
    level = av.logging.get_level()
    monkeypatch.setattr(av.logging, "log", lambda *arguments: None)
    subject.reason.cache_clear()
    assert "(It does not start: error -1)." in subject.reason(CARD)
    assert av.logging.get_level() == level
    monkeypatch.setattr(av, "codecs_available", set())
    assert subject.reason("h264_videotoolbox") == "It needs macOS (not in this build of PyAV)."


def test_auto_takes_hardware_that_works_and_tries_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = pretend(monkeypatch, Card)
    for _ in range(2):
        encoder = VideoEncoder("h264", 320, 240, 30)
        assert encoder.encoder == CARD
        assert encoder.encode(drawn(320, 240, 1)[0])[0].key
    assert opened == [CARD] * 3
    assert VideoEncoder("h264", 320, 240, 30, encoder="libx264").encoder == "libx264"
    assert VideoEncoder("h264", 320, 240, 30, encoder=CARD).encoder == CARD


@pytest.mark.parametrize(
    ("card", "why"),
    [
        pytest.param(Slow, "keeps pictures back", id="slow"),
        pytest.param(Headless, "lack what a decoder needs", id="headless"),
    ],
)
def test_hardware_unfit_for_live_video_is_not_taken(
    card: type[Card], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, card)
    assert VideoEncoder("h264", 320, 240, 30).encoder == "libx264"
    with pytest.raises(MediaError, match=why) as caught:
        VideoEncoder("h264", 320, 240, 30, encoder=CARD)
    assert "libx264" in caught.value.hint


def test_auto_goes_on_to_software_when_hardware_does_not_take_the_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pretend(monkeypatch, Narrow)
    assert VideoEncoder("h264", 320, 240, 30).encoder == "libx264"
    assert VideoEncoder("h264", 640, 480, 30).encoder == CARD
    with pytest.raises(MediaError, match="Too small"):
        VideoEncoder("h264", 320, 240, 30, encoder=CARD)


def test_an_encoder_that_cannot_be_is_refused_with_those_that_can() -> None:
    with pytest.raises(UsageError, match="libvpx makes vp8, not h264") as caught:
        open_encoder(CODECS["h264"], "libvpx", TARGET, 70)
    assert "--codec vp8" in caught.value.hint
    assert "libx264" in caught.value.hint
    with pytest.raises(UsageError, match="no encoder 'x265'") as caught:
        open_encoder(CODECS["av1"], "x265", TARGET, 70)
    assert "libsvtav1" in caught.value.hint
    with pytest.raises(MediaError, match="not in this build") as refused:
        open_encoder(CODECS["h264"], "libopenh264", TARGET, 70)
    assert "For h264 these work here: " in refused.value.hint


def test_a_codec_without_any_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    bare = replace(CODECS["av1"], hardware=(), software=("libaom-av1",))
    with pytest.raises(MissingLibrary, match="without the encoder libaom-av1") as caught:
        open_encoder(bare, AUTO, TARGET, 70)
    assert "pip install" in caught.value.hint
    with pytest.raises(UsageError) as refused:
        open_encoder(bare, "nothing", TARGET, 70)
    assert "choose another --codec" in refused.value.hint


@pytest.mark.parametrize("codec", CODECS)
def test_every_encoder_has_settings_for_live_video(codec: str) -> None:
    for name in CODECS[codec].hardware + CODECS[codec].software:
        if name in subject.OWN:
            continue
        tuning = tune(name, TARGET)
        family = name.rpartition("_")[2]
        assert tuning.options.keys() & {"maxrate", "svtav1-params"}
        assert tuning.pixel_format in ("yuv420p", "nv12")
        assert (tuning.device == "vaapi") == (family == "vaapi")
        if name in load_av().codecs_available:
            known = load_av().CodecContext.create(name, "w").supported_options
            options = {option.name: option for option in (*known.generic, *known.private)}
            for key, value in tuning.options.items():
                choices = {choice.name for choice in options[key].choices}
                assert not choices or value in choices or value.isdecimal(), (name, key)


def test_a_lower_rate_reaches_hardware_that_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tune(CARD, TARGET).rebitrate is Rebitrate.LIVE
    pretend(monkeypatch, Card)
    encoder = VideoEncoder("h264", 320, 240, 30, bitrate_bps=1_000_000)
    card: Any = encoder._codec
    for i, picture in enumerate(drawn(320, 240, 4)):
        if i == 2:
            encoder.rebitrate(400_000)
        encoder.encode(picture)
    assert card._context.bit_rate == pytest.approx(400_000, rel=0.03)


def test_an_encoder_that_takes_other_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    real = tune("libx264", TARGET)
    monkeypatch.setattr(
        "wtp.media.avencoder.tune", lambda name, target: replace(real, pixel_format="nv12")
    )
    encoder, decoder = VideoEncoder("h264", 320, 240, 30), VideoDecoder("video/h264")
    for picture in drawn(320, 240, 3):
        (one,) = encoder.encode(picture)
        assert read_code(decoder.decode(one.payload)[0].planes) == picture.capture_us


@pytest.mark.parametrize("device", ["vaapi", "no-such-kind"])
def test_an_encoder_whose_device_is_not_there(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = tune("libx264", TARGET)
    monkeypatch.setattr(
        "wtp.media.avencoder.tune", lambda name, target: replace(real, device=device)
    )
    with pytest.raises(MediaError, match="libx264 does not start") as caught:
        AvEncoder("libx264", TARGET)
    assert "wtp devices" in caught.value.hint


def test_without_pyav_the_list_still_says_what_works() -> None:
    script = """
import sys
sys.modules["av"] = None
from wtp.media.encoders import list_encoders
print([one.name for one in list_encoders() if one.works])
print(sorted({one.why for one in list_encoders() if not one.works}))
"""
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    works, why = result.stdout.splitlines()
    assert works == "['opencv']"
    assert why.count("PyAV cannot be loaded") == 1
    assert result.stderr == ""
