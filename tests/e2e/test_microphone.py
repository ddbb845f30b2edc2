"""A microphone on its whole way: the tone in the topic at both rates, a sound server that dies."""

from __future__ import annotations

import numpy as np
import pytest

from tests.e2e.stage import Message, Run, Stage, Values, balanced, wait_for
from tests.pulse import Pulse, tone, tone_hz
from tests.pulse import pulse as pulse
from wtp.media.audio import AudioDecoder

pytestmark = [pytest.mark.e2e, pytest.mark.pulseaudio, pytest.mark.timeout(90)]

TONE_HZ = 440.0


def sound(run: Run) -> Values:
    """The newest figures of its audio track."""
    return dict(run.last.get("tracks", {}).get("audio", {}))


def delivered(run: Run) -> int:
    """Objects of sound so far."""
    return int(sound(run).get("delivered", 0))


def check_tone(messages: list[Message], content_type: str, rate_hz: int) -> None:
    """The objects decode one after the other to the tone; their stamps go on evenly."""
    assert {one.properties["content_type"] for one in messages} == {content_type}
    assert {one.properties["key"] for one in messages} == {"1"}
    decoder = AudioDecoder(content_type)
    heard = np.concatenate([decoder.decode(one.payload) for one in messages])
    assert decoder.rate_hz == rate_hz
    assert len(heard) >= rate_hz
    assert tone_hz(heard, rate_hz) == pytest.approx(TONE_HZ, abs=0.7)
    steps = np.diff(np.array([one.capture_us for one in messages]))
    assert abs(np.median(steps) - 10_000) <= 20


def test_sound_is_in_the_topic_and_its_loss_stops_nothing_else(stage: Stage, pulse: Pulse) -> None:
    stage.broker()
    stage.router()
    quiet = ["--denoise", "off"]
    with pulse.playing(tone(TONE_HZ, 1.0)):
        both = stage.child(
            "publish", "--source", "testsrc", "--size", "160x120", "--mic", *quiet,
            "--name", "desk", env=pulse.env,
        )  # fmt: skip
        pcm = stage.child(
            "publish", "--mic", *quiet, "--audio-codec", "pcm", "--rate", "44100", "--name", "pcm",
            env=pulse.env,
        )  # fmt: skip
        wait_for(lambda: min(delivered(both), delivered(pcm)) > 120, "sound", 60.0)
        figures = sound(both)
        assert figures["level_db"] == pytest.approx(-12, abs=1.5)
        assert (figures["state"], figures["denoise"], figures["rate"]) == ("live", "off", 48_000)
        assert sound(pcm)["rate"] == 44_100
        assert balanced(pcm.finish()["tracks"]["audio"])
    pulse.close()
    wait_for(lambda: sound(both).get("state") == "lost", "the loss")
    mark = both.last["tracks"]["video"]["delivered"]
    wait_for(lambda: both.last["tracks"]["video"]["delivered"] > mark + 10, "video that goes on")
    assert sound(both)["state"] == "lost"
    pulse.start()
    before = delivered(both)
    wait_for(lambda: delivered(both) > before + 20, "sound that is back")
    tracks = both.finish()["tracks"]
    assert tracks["audio"]["losses"] == 1
    assert all(balanced(one) for one in tracks.values())
    assert "Microphone default is lost; everything else goes on" in both.stderr
    assert "Microphone default is back after" in both.stderr
    messages = stage.read("audio")
    by_name = {
        name: [one for one in messages if one.key == f"default/{name}/audio"]
        for name in ("desk", "pcm")
    }
    check_tone(by_name["desk"], "audio/opus;rate=48000;channels=1", 48_000)
    check_tone(by_name["pcm"], "audio/pcm;format=s16le;rate=44100;channels=1", 44_100)
