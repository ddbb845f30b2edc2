"""Sound through the codecs: the tone stays the tone, and each object knows its time."""

from __future__ import annotations

import io
from collections.abc import Callable
from itertools import pairwise
from types import SimpleNamespace

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wtp.errors import MediaError, MissingLibrary, UsageError
from wtp.media import audiocodecs
from wtp.media.audio import AudioDecoder, AudioEncoder
from wtp.media.sound import Block, Samples
from wtp.media.video import Encoded

START_US = 5_000_000


def tone(rate_hz: int, seconds: float, channels: int = 1, hz: float = 440.0) -> Samples:
    times = np.arange(round(rate_hz * seconds)) / rate_hz
    mono = np.sin(2 * np.pi * hz * times) * 8000
    return np.repeat(mono[:, None], channels, axis=1).astype(np.int16)


def blocks(samples: Samples, rate_hz: int, size: int, *, at_us: int = 0) -> list[Block]:
    cut = []
    for start in range(0, len(samples), size):
        pts_us = at_us + round(start * 1e6 / rate_hz)
        cut.append(Block(samples[start : start + size], rate_hz, START_US + pts_us, pts_us))
    return cut


def encode(encoder: AudioEncoder, given: list[Block]) -> list[Encoded]:
    return [one for block in given for one in encoder.encode(block)] + encoder.flush()


def peak_hz(samples: Samples, rate_hz: int) -> float:
    spectrum = np.abs(np.fft.rfft(samples[:, 0] * np.hanning(len(samples)), 1 << 18))
    return float(np.argmax(spectrum) * rate_hz / (1 << 18))


@pytest.mark.parametrize(
    ("codec", "rate_hz", "channels", "size", "content_type"),
    [
        ("opus", 48_000, 1, 480, "audio/opus;rate=48000;channels=1"),
        ("opus", 48_000, 2, 512, "audio/opus;rate=48000;channels=2"),
        ("opus", 44_100, 1, 441, "audio/opus;rate=48000;channels=1"),
        ("opus", 16_000, 1, 100, "audio/opus;rate=48000;channels=1"),
        ("pcm", 44_100, 1, 300, "audio/pcm;format=s16le;rate=44100;channels=1"),
        ("pcm", 48_000, 2, 960, "audio/pcm;format=s16le;rate=48000;channels=2"),
        ("pcm", 22_050, 1, 4410, "audio/pcm;format=s16le;rate=22050;channels=1"),
    ],
)
def test_a_tone_comes_out_at_its_frequency_and_at_its_time(
    codec: str, rate_hz: int, channels: int, size: int, content_type: str
) -> None:
    encoder = AudioEncoder(codec, rate_hz, channels)
    objects = encode(encoder, blocks(tone(rate_hz, 1.0, channels), rate_hz, size))
    assert encoder.content_type == content_type
    assert all(one.key for one in objects)
    decoder = AudioDecoder(encoder.content_type)
    heard = np.concatenate([decoder.decode(one.payload) for one in objects])
    assert heard.shape[1] == decoder.channels == channels
    assert decoder.rate_hz == encoder.rate_hz
    assert abs(peak_hz(heard, decoder.rate_hz) - 440) < 0.5
    # By the stamps, the tone began at START_US: its phase says how well that holds.
    first_us = objects[0].capture_us
    assert first_us is not None
    assert abs(first_us - START_US) <= 2500
    times = (first_us - START_US) / 1e6 + np.arange(len(heard)) / decoder.rate_hz
    middle = slice(len(heard) // 4, len(heard) // 2)
    turned = np.sum(heard[middle, 0] * np.exp(-2j * np.pi * 440 * times[middle]))
    shift_us = (np.angle(turned) + np.pi / 2) / (2 * np.pi * 440) * 1e6
    assert abs(shift_us) < 30


@pytest.mark.parametrize(("codec", "rate_hz"), [("opus", 44_100), ("pcm", 44_100)])
def test_stamps_go_on_evenly_and_a_gap_stays_a_gap(codec: str, rate_hz: int) -> None:
    encoder = AudioEncoder(codec, rate_hz, 1, now_us=lambda: 77)
    before = blocks(tone(rate_hz, 0.1), rate_hz, 500)
    behind = blocks(tone(rate_hz, 0.1), rate_hz, 500, at_us=350_000)
    objects = encode(encoder, before + behind)
    assert {one.encode_us for one in objects} == {77}
    captured = [one.capture_us or 0 for one in objects]
    steps = [after - first for first, after in pairwise(captured)]
    jumps = [step for step in steps if abs(step - 10_000) > 40]
    assert len(jumps) == 1
    where = steps.index(jumps[0])
    assert captured[where + 1] == START_US + 350_000 - encoder.delay_us
    assert objects[where + 1].pts_us == 350_000 - encoder.delay_us
    assert captured[where] + 10_000 >= START_US + 100_000 - encoder.delay_us


def test_stamps_that_go_back_cut_nothing() -> None:
    encoder = AudioEncoder("opus", 44_100, 1)
    given = blocks(tone(44_100, 0.3), 44_100, 441)
    back = [Block(one.samples, one.rate_hz, None, one.pts_us * 9 // 10) for one in given]
    assert len(encode(encoder, back)) == 30


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(1, 2000), min_size=1, max_size=20), st.sampled_from([22_050, 44_100]))
def test_no_sample_is_lost_or_moved_whatever_the_blocks(sizes: list[int], rate_hz: int) -> None:
    samples = np.random.default_rng(1).integers(-30_000, 30_000, (sum(sizes), 2), np.int16)
    encoder = AudioEncoder("pcm", rate_hz, 2)
    objects: list[Encoded] = []
    start = 0
    for size in sizes:
        at_us = round(start * 1e6 / rate_hz)
        objects += encoder.encode(Block(samples[start : start + size], rate_hz, at_us, at_us))
        start += size
    objects += encoder.flush()
    heard = np.frombuffer(b"".join(one.payload for one in objects), "<i2").reshape(-1, 2)
    assert heard[: len(samples)].tolist() == samples.tolist()
    assert not heard[len(samples) :].any()
    length = round(rate_hz / 100)
    assert len(heard) - len(samples) < length
    for number, one in enumerate(objects):
        assert one.capture_us is not None
        assert abs(one.capture_us - number * length * 1e6 / rate_hz) <= 1.5


def test_sound_without_stamps_has_none() -> None:
    encoder = AudioEncoder("pcm", 8000, 1, frame_ms=20)
    (one,) = encoder.encode(Block(np.zeros((160, 1), np.int16), 8000))
    assert (one.capture_us, one.encode_us, one.duration_us) == (None, None, 20_000)
    assert len(one.payload) == 320


def test_the_log_says_that_opus_resamples(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="wtp")
    AudioEncoder("opus", 44_100, 1)
    assert "Opus carries 48000 Hz: sound of 44100 Hz is resampled." in caplog.text


@pytest.mark.parametrize(
    ("codec", "rate_hz", "channels", "bitrate_bps", "frame_ms"),
    [
        ("mp3", 48_000, 1, 64_000, 10),
        ("opus", 48_000, 3, 64_000, 10),
        ("pcm", 48_000, 0, 64_000, 10),
        ("pcm", 0, 1, 64_000, 10),
        ("pcm", 1_000_000, 1, 64_000, 10),
        ("opus", 48_000, 1, 1000, 10),
        ("opus", 48_000, 1, 64_000, 11),
    ],
)
def test_what_makes_no_sense_is_refused(
    codec: str, rate_hz: int, channels: int, bitrate_bps: int, frame_ms: int
) -> None:
    with pytest.raises(UsageError) as caught:
        AudioEncoder(codec, rate_hz, channels, bitrate_bps=bitrate_bps, frame_ms=frame_ms)
    assert caught.value.hint


def test_blocks_of_another_form_are_refused() -> None:
    encoder = AudioEncoder("pcm", 48_000, 1)
    for samples, rate_hz in ((tone(48_000, 0.01, 2), 48_000), (tone(44_100, 0.01), 44_100)):
        with pytest.raises(MediaError, match=r"came into an encoder"):
            encoder.encode(Block(samples, rate_hz))


@pytest.mark.parametrize(
    "content_type",
    [
        "audio/mp3",
        "video/h264",
        "audio/opus;channels=6",
        "audio/pcm;format=f32le",
        "audio/pcm;rate=x",
    ],
)
def test_types_that_cannot_be_decoded_are_named(content_type: str) -> None:
    with pytest.raises(MediaError) as caught:
        AudioDecoder(content_type)
    assert caught.value.hint


@pytest.mark.parametrize("content_type", ["audio/opus", "audio/aac;rate=44100;channels=2"])
@settings(deadline=None, max_examples=150)
@given(payload=st.binary(max_size=400), cut=st.integers(0, 200))
def test_damaged_objects_are_errors_and_never_more(
    content_type: str, payload: bytes, cut: int
) -> None:
    decoder = AudioDecoder(content_type)
    good = encode(AudioEncoder("opus", 48_000, 1), [Block(tone(48_000, 0.02), 48_000)])[0].payload
    for bad in (payload, good[:cut], good[:cut] + payload):
        try:
            heard = decoder.decode(bad)
        except MediaError:
            continue
        assert heard.dtype == np.int16
        assert heard.shape[1] == decoder.channels
        assert len(heard) <= decoder.rate_hz
    if content_type == "audio/opus":
        assert len(decoder.decode(good)) == 480


def test_half_a_sample_is_an_error() -> None:
    decoder = AudioDecoder("audio/pcm;format=s16le;rate=44100;channels=2")
    with pytest.raises(MediaError, match="5 bytes are no whole samples"):
        decoder.decode(b"\0" * 5)
    assert decoder.decode(b"\1\0\2\0").tolist() == [[1, 2]]


def test_a_lost_object_is_made_up_without_a_step_and_fades() -> None:
    encoder, rate_hz = AudioEncoder("pcm", 48_000, 1), 48_000
    objects = encode(encoder, blocks(tone(rate_hz, 0.2, hz=200.0), rate_hz, 480))
    decoder = AudioDecoder(encoder.content_type)
    parts = [
        decoder.conceal(480) if number == 12 else decoder.decode(one.payload)
        for number, one in enumerate(objects)
    ]
    heard = np.concatenate(parts)[:, 0].astype(float)
    steepest = 2 * np.pi * 200 / rate_hz * 8000
    assert np.abs(np.diff(heard)).max() < 1.5 * steepest
    assert np.abs(heard[12 * 480 : 13 * 480]).max() > 7000
    assert np.abs(decoder.conceal(4800)[3000:]).max() == 0
    decoder.reset()
    assert np.abs(decoder.conceal(480)).max() == 0


def adts(samples: Samples, rate_hz: int) -> list[bytes]:
    """AAC units with ADTS headers, as a file or a camera brings them."""
    file = io.BytesIO()
    with av.open(file, "w", format="adts") as container:
        stream = container.add_stream("aac", rate=rate_hz, layout="stereo")
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), "s16", "stereo")
        frame.sample_rate = rate_hz
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    data, units = file.getvalue(), []
    while data:
        length = ((data[3] & 3) << 11) | (data[4] << 3) | (data[5] >> 5)
        units.append(data[:length])
        data = data[length:]
    return units


@pytest.mark.parametrize(("declared_hz", "channels"), [(44_100, 2), (48_000, 1)])
def test_aac_is_decoded_to_what_was_declared(declared_hz: int, channels: int) -> None:
    units = adts(tone(44_100, 0.5, 2), 44_100)
    decoder = AudioDecoder(f"audio/aac;rate={declared_hz};channels={channels}")
    heard = np.concatenate([decoder.decode(unit) for unit in units])
    assert heard.shape[1] == channels
    assert abs(len(heard) / declared_hz - 0.5) < 0.08
    assert abs(peak_hz(heard[declared_hz // 10 :], declared_hz) - 440) < 1
    assert np.abs(heard).max() > 6000
    decoder.reset()
    decoder.decode(units[5])


def test_a_build_without_libopus_names_pcm(monkeypatch: pytest.MonkeyPatch) -> None:
    def create(name: str, mode: str) -> object:
        raise ValueError(f"unknown codec {name} {mode}")

    monkeypatch.setattr(audiocodecs, "load_av", lambda: FakeAv(create))
    with pytest.raises(MissingLibrary, match="Use --audio-codec pcm"):
        AudioEncoder("opus", 48_000, 1)
    with pytest.raises(MissingLibrary, match="no decoder libopus"):
        AudioDecoder("audio/opus")
    assert AudioEncoder("pcm", 48_000, 1).content_type.startswith("audio/pcm")


class FakeAv:
    """PyAV with other codecs built in."""

    error = av.error

    def __init__(self, create: Callable[[str, str], object]) -> None:
        self.CodecContext = SimpleNamespace(create=create)
