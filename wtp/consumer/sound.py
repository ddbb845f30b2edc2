"""`wtp consume audio --play`: hear one track at a time.

    Play(settings.watch)      is an output of the consumer; its `brief()` is a line of figures

The speaker runs at the rate of the track, so nothing is resampled.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from wtp.clock import monotonic_us
from wtp.config.schema import WatchSettings
from wtp.consumer.item import Item
from wtp.consumer.output import STALE_US, escape
from wtp.consumer.playout import Delay, Timeline
from wtp.consumer.voice import Decoder, Sound, Voice
from wtp.errors import MediaError

if TYPE_CHECKING:
    from wtp.media.sound import Samples

CALLBACK_US = 10_000
JITTER_US = 5_000
"""Beside the way through the device, sound has to be there for one callback and its lateness."""

FIRST_LATENCY_US = 25_000
"""Of a speaker, until it has told its own."""

SETTLED_US = 3_000_000

LOGGER = logging.getLogger("wtp.consumer")


class Speaker(Protocol):
    """What is used of `wtp.media.speaker.Speaker`; see there."""

    rate_hz: int
    channels: int
    state: str
    underruns: int
    muted: bool

    @property
    def latency_us(self) -> int:
        """From handing samples over to their being heard."""
        ...

    def open(self) -> None:
        """Begin to pull."""
        ...

    def close(self) -> None:
        """Stop."""
        ...


Pull = Callable[[int, int], "Samples | None"]
MakeSpeaker = Callable[[Pull, int, int], Speaker]
"""Makes a speaker out of what it pulls from, a rate and a number of channels."""

MakeDecoder = Callable[[str], Decoder]


def sound_cost_us(speaker: Speaker | None) -> int:
    """From the arrival of an object to its being heard at the earliest, µs."""
    latency_us = speaker.latency_us if speaker is not None else 0
    return (latency_us or FIRST_LATENCY_US) + CALLBACK_US + JITTER_US


class Play:
    """Plays one track; another one has its turn when that falls silent.

    Args:
        settings: The delay.
        device: Speaker, as `wtp devices` lists it; empty for the default one.
        speaker: Makes the speaker, for tests.
        decoder: Makes the decoder of a content type, for tests.

    Attributes:
        track: What is heard; empty before the first object.
        voice: Its jitter buffer.
    """

    inline = False
    lossless = False
    idle_s = 0.0

    def __init__(
        self,
        settings: WatchSettings,
        *,
        device: str = "",
        speaker: MakeSpeaker | None = None,
        decoder: MakeDecoder | None = None,
    ) -> None:
        self.settings = settings
        self.track = ""
        self.voice: Voice | None = None
        self._device = device
        self._make_speaker = speaker or self._real_speaker
        self._make_decoder = decoder or real_decoder
        self._checks = speaker is None
        self._speaker: Speaker | None = None
        self._delay = Delay(settings.delay, settings.max_delay_ms)
        self._timeline = Timeline()
        self._run = ("", "")
        self._refused = ""
        self._last_us = self._tell_us = 0

    def open(self) -> None:
        """See that sound can be played at all; the speaker is opened with the first object.

        Raises:
            MissingLibrary: sounddevice or PortAudio is not there.
            MediaError: There is no such speaker.
        """
        if self._checks:
            from wtp.media.sounddevices import find_speaker

            find_speaker(self._device)

    def take(self, items: Sequence[Item]) -> list[str]:
        """Take objects of the track that is heard.

        Raises:
            MediaError: There is no speaker.
        """
        return [self._take(item) for item in items]

    def _take(self, item: Item) -> str:
        if item.obj is None or not item.content_type.startswith("audio/"):
            return "not-sound"
        at_us = item.message.receive_monotonic_us
        if item.track != self.track:
            if self.track and at_us - self._last_us < STALE_US:
                return "other-track"
            self.track, self._run = item.track, ("", "")
            self._delay = Delay(self.settings.delay, self.settings.max_delay_ms)
            self._timeline = Timeline()
        self._last_us = at_us
        content_type = item.obj.content_type
        if content_type == self._refused:
            return "cannot-decode"
        if (item.instance, content_type) != self._run and not self._begin(item, content_type):
            return "cannot-decode"
        assert self.voice is not None  # noqa: S101 - made by _begin
        capture_us = self._timeline.place(item)
        if item.live:
            self._delay.arrived(capture_us, at_us, sound_cost_us(self._speaker))
        self.voice.put(Sound(item.obj.seq, capture_us, item.message.payload))
        if self._tell_us and at_us > self._tell_us:
            self._tell_us = 0
            self._tell()
        return ""

    def _tell(self) -> None:
        """Say once, when it has settled, how long sound takes."""
        LOGGER.info("%s", self.brief())
        if self._delay.too_short:
            LOGGER.warning(
                "The delay of %d ms is too short: sound needs about %d ms. Leave watch.delay out.",
                self._delay.target_us // 1000,
                self._delay.need_us // 1000,
            )

    def _begin(self, item: Item, content_type: str) -> bool:
        """Begin a run of a track: another publisher's run or format than before."""
        self._run = (item.instance, content_type)
        try:
            decoder = self._make_decoder(content_type)
        except MediaError as error:
            self._refused = content_type
            LOGGER.warning("%s: %s %s", escape(item.track), error.message, error.hint)
            return False
        form = (decoder.rate_hz, decoder.channels)
        if self.voice is not None:
            self.voice.close()
        voice = Voice(decoder, self._delay, rate_hz=form[0], channels=form[1])
        speaker = self._speaker
        if speaker is not None and (speaker.rate_hz, speaker.channels) != form:
            speaker.close()
            self._speaker = speaker = None
        self.voice = voice
        if speaker is None:
            self._speaker = self._make_speaker(self._pull, *form)
            self._speaker.open()
        self._tell_us = item.message.receive_monotonic_us + SETTLED_US
        LOGGER.info(
            "Playing %s: %s, %d Hz, channels %d.", escape(item.track), item.content_type, *form
        )
        return True

    def _real_speaker(self, pull: Pull, rate_hz: int, channels: int) -> Speaker:
        from wtp.media.speaker import Speaker as Real

        return Real(pull, rate_hz=rate_hz, channels=channels, device=self._device)

    def _pull(self, count: int, play_at_us: int) -> Samples | None:
        voice = self.voice
        return voice.pull(count, play_at_us) if voice is not None else None

    def idle(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Close the speaker."""
        if self._speaker is not None:
            self._speaker.close()
        if self.voice is not None:
            self.voice.close()

    def figures(self) -> dict[str, Any]:
        """What is heard, and how long after it was captured; None where nothing is known.

        Returns:
            `track`, `state` of the speaker, `delay_ms` from capture to hearing (only when the clock
            is known), `speaker_ms` of it in the device, `buffered_ms`, `underruns` of the device,
            `starved`, `concealed_ms`, and the ledger of the objects.
        """
        voice, speaker = self.voice, self._speaker
        if voice is None or speaker is None:
            return {"track": self.track or None, "state": "waiting", "delay_ms": None}
        heard_us = voice.heard_delay_us(monotonic_us())
        known = self._timeline.known and heard_us is not None
        return {
            "track": self.track,
            "state": speaker.state,
            "delay_ms": round((heard_us or 0) / 1000, 1) if known else None,
            "speaker_ms": round(speaker.latency_us / 1000, 1),
            "buffered_ms": round(voice.waiting_ms, 1),
            "underruns": speaker.underruns,
            "starved": voice.starved,
            "concealed_ms": round(voice.concealed_us / 1000, 1),
            "ledger": voice.ledger.snapshot(),
        }

    def brief(self) -> str:
        """The figures in a few words."""
        values = self.figures()
        if values["state"] == "waiting":
            return "waiting for sound"
        delay_ms = values["delay_ms"]
        delay = "unknown" if delay_ms is None else f"{delay_ms:.0f} ms"
        return (
            f"{values['state']}  delay {delay} (speaker {values['speaker_ms']:.0f} ms)"
            f"  under-runs {values['underruns']}  made up {values['concealed_ms']:.0f} ms"
        )


def real_decoder(content_type: str) -> Decoder:
    """The decoder of a content type.

    Raises:
        MediaError: It cannot be decoded here.
    """
    from wtp.media.audio import AudioDecoder

    return AudioDecoder(content_type)
