from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.consumer.fakes import DOMAIN, item, message
from tests.consumer.test_voice import FakeDecoder
from wtp.config.schema import WatchSettings
from wtp.consumer.item import Item
from wtp.consumer.output import STALE_US
from wtp.consumer.sound import Play, Pull
from wtp.errors import MediaError
from wtp.media.sound import Samples
from wtp.model import Kind

PCM = "audio/pcm;format=s16le;rate=48000;channels=1"


class FakeSpeaker:
    """Pulls when it is told to."""

    def __init__(self, pull: Pull, rate_hz: int, channels: int) -> None:
        self.pull, self.rate_hz, self.channels = pull, rate_hz, channels
        self.state, self.underruns, self.muted, self.latency_us = "closed", 0, False, 20_000

    def open(self) -> None:
        self.state = "playing"

    def close(self) -> None:
        self.state = "closed"


class Room:
    """A Play with fakes, and the speakers it has opened."""

    def __init__(self, **settings: Any) -> None:
        self.speakers: list[FakeSpeaker] = []
        self.play = Play(WatchSettings(**settings), speaker=self._speaker, decoder=self._decoder)
        self.play.open()

    def _speaker(self, pull: Pull, rate_hz: int, channels: int) -> FakeSpeaker:
        self.speakers.append(FakeSpeaker(pull, rate_hz, channels))
        return self.speakers[-1]

    @staticmethod
    def _decoder(content_type: str) -> FakeDecoder:
        if "pcm" not in content_type:
            raise MediaError(f"{content_type} cannot be decoded here.", hint="Install it.")
        return FakeDecoder(44_100 if "44100" in content_type else 48_000)

    def hear(self, at_us: int) -> Samples | None:
        return self.speakers[-1].pull(480, at_us)


def heard(seq: int, *, value: int = 7, track: str = "default/cam/audio", **more: Any) -> Item:
    capture_us = seq * 10_000
    given: dict[str, Any] = {"content_type": PCM, "at_us": capture_us + 5_000, **more}
    payload = np.full((480, 1), value, np.int16).tobytes()
    of = message(
        seq, kind=Kind.AUDIO, track=track, payload=payload, stamps={"capture_us": capture_us},
        **given,
    )  # fmt: skip
    return item(of, receive_us=DOMAIN.anchor_us + given["at_us"])


def test_the_delay_covers_the_way_the_speaker_and_its_callback() -> None:
    room = Room()
    assert room.play.brief() == "waiting for sound"
    assert room.play.take([heard(n) for n in range(1, 6)]) == [""] * 5
    got = room.hear(10_000 + 50_000)
    assert got is not None
    assert (got == 7).all() or got[-1] == 7
    figures = room.play.figures()
    assert figures["state"] == "playing"
    assert figures["speaker_ms"] == 20.0
    assert "under-runs 0" in room.play.brief()
    room.play.close()
    assert room.speakers[0].state == "closed"
    assert room.play.figures()["ledger"]["in_flight"] == 0


def test_one_track_is_heard_until_it_is_silent() -> None:
    room = Room()
    other: dict[str, Any] = {"track": "default/other/audio"}
    taken = room.play.take([heard(1), heard(2, **other), heard(3)])
    assert taken == ["", "other-track", ""]
    assert room.play.take([heard(4, at_us=STALE_US + 40_000, **other)]) == [""]
    assert room.play.track == "default/other/audio"
    assert len(room.speakers) == 1


def test_another_rate_opens_the_speaker_anew_and_another_run_does_not() -> None:
    room = Room()
    room.play.take([heard(1)])
    room.play.take([heard(1, instance="i2")])
    assert len(room.speakers) == 1
    room.play.take([heard(2, instance="i2", content_type=PCM.replace("48000", "44100"))])
    assert [speaker.rate_hz for speaker in room.speakers] == [48_000, 44_100]
    assert room.speakers[0].state == "closed"


def test_what_cannot_be_decoded_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    room = Room()
    strange = [heard(n, content_type="audio/odd") for n in (1, 2, 3)]
    assert room.play.take(strange) == ["cannot-decode"] * 3
    assert [r.getMessage() for r in caplog.records] == [
        "default/cam/audio: audio/odd cannot be decoded here. Install it."
    ]
    assert room.play.take([item(message(1))]) == ["not-sound"]


def test_how_long_sound_takes_is_said_once_it_has_settled(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    room = Room(delay=20)
    room.play.take([heard(n) for n in range(1, 400)])
    said = [record.getMessage() for record in caplog.records]
    assert said[0].startswith("Playing default/cam/audio: audio/pcm, 48000 Hz")
    assert said[1].startswith("playing  delay ")
    assert said[2].startswith("The delay of 20 ms is too short: sound needs about")
    assert len(said) == 3
